"""The study of a search: what was tried and what came of it, kept by Optuna in a file of SQLite."""

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfseg.config.renames import rename_settings
from tfseg.config.schema import Config
from tfseg.io import locks
from tfseg.io.paths import is_leftover
from tfseg.io.renamed import SETTINGS
from tfseg.runs import run_dir
from tfseg.tuning.space import Space, find_start

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
LOCK = ".lock"
SCORE = "mean_iou"


@contextmanager
def open_study(out: Path, config: Config, space: Space) -> Iterator["optuna.Study"]:
    """Gives the study of a folder, which no other process has meanwhile; a new one begins with the config's own values.

    Raises:
        ValueError: another search runs there, or the folder holds another search or something else.
        OSError: the folder cannot be written.
    """
    import optuna  # here and below: --help answers without it

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / STUDY).exists() and any(path.name != LOCK and not is_leftover(path.name) for path in out.iterdir()):
        raise ValueError(f"{out}: is not empty and holds no search ({STUDY} is missing); give another --out")
    with locks.open_lock(out / LOCK) as lock:
        if not locks.take_or_say(lock, out):
            raise ValueError(f"{out}: another search is running here; wait for it, or give another --out")
        study = optuna.create_study(
            storage=f"sqlite:///{out / STUDY}",
            study_name="search",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_warmup(config)),
        )
        _check_same(out, study, config, space)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(find_start(config, keep_names(study, space)))
        yield study


def _warmup(config: Config) -> int:
    """The first epoch that may be the last: a quarter of all, after those in which the learning rate rises."""
    return max(math.ceil(config.train.epochs / 4), math.ceil(config.optimizer.warmup_epochs) + 1)


def _check_same(out: Path, study: "optuna.Study", config: Config, space: Space) -> None:
    ranges = {_range_of(name): dataclasses.asdict(parameter) for name, parameter in keep_names(study, space).items()}
    now = json.loads(json.dumps(run_dir.list_lasting(config) | ranges))
    before, manifest = study.user_attrs.get("settings"), study.user_attrs.get("manifest")
    if before is None:
        study.set_user_attr("settings", now)
        study.set_user_attr("manifest", run_dir.identify(config.data.records))
        return
    before = _rename_stored(before)
    if manifest == run_dir.identify(config.data.records):  # the same records, wherever they lie now
        before.pop("data.records", None)
        now.pop("data.records")
    elif manifest and before.get("data.records") == now["data.records"]:
        before, now = before | {"manifest.json": manifest}, now | {"manifest.json": "another"}
    if changed := run_dir.list_changes(before, now):
        raise ValueError(f"{out}: holds a search with other settings ({changed}); give another --out")


def keep_names(study: "optuna.Study", space: Space) -> Space:
    """Gives the parameters of a space the names that they have in a study.

    A search that an earlier version began has drawn some of them under names that settings no longer have.
    """
    begun = study.user_attrs.get("settings", {})
    names = {new: old for old, new in SETTINGS.items() if _range_of(old) in begun}
    named = {names.get(name, name): parameter for name, parameter in space.items()}
    return {name: dataclasses.replace(parameter, name=name) for name, parameter in named.items()}


def _rename_stored(settings: dict) -> dict:
    """Gives what a study was begun with the names that settings have now; parameters keep theirs."""
    renamed = rename_settings(settings.items(), set())
    for name, value in renamed.items():
        if isinstance(value, dict) and "multiplies" in value:
            renamed[name] = {**value, "multiplies": [SETTINGS.get(one, one) for one in value["multiplies"]]}
    return renamed


def _range_of(name: str) -> str:
    return f"the range of {name}"


def make_sampler(seed: int, number: int) -> "optuna.samplers.BaseSampler":
    """Makes what draws trial `number`. One for all would begin anew with the same draws whenever a search resumes."""
    from optuna.samplers import TPESampler

    seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=seed, constant_liar=True)  # a trial that runs counts as bad, or all would try the same


def find_best(study: "optuna.Study") -> "optuna.trial.FrozenTrial | None":
    """Finds the trial with the highest score, the first of equals; None: none has ended with one."""
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=value_of, default=None)


def value_of(trial: "optuna.trial.FrozenTrial") -> float:
    """The score of a trial that has ended with one; nan of any other."""
    return math.nan if trial.value is None else trial.value


def count_ended(study: "optuna.Study") -> int:
    """Counts the trials that need no more work."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def brief(value: float | str) -> str:
    """A drawn value, as short as one reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
