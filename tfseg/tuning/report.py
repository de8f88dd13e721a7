"""What came of a search: a table, trials.csv, best.yaml, importance.png."""

import csv
import dataclasses
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfseg.config.parse import save_config
from tfseg.config.schema import Config
from tfseg.io.atomic import write_whole
from tfseg.io.command import program
from tfseg.io.escaping import csv_cell, printable
from tfseg.tuning.space import Choices, Range, Space, make_config
from tfseg.tuning.study import SCORE, brief, find_best, keep_names, value_of
from tfseg.visualization.figures import save_figure

if TYPE_CHECKING:
    import optuna

TRIALS = "trials.csv"
BEST = "best.yaml"
FIGURE = "importance.png"
# The best tenth of the trials is compared with all; Optuna advises five in that tenth.
ENOUGH = 50


def write_report(study: "optuna.Study", out: Path, config: Config, space: Space, command: Sequence[str]) -> str:
    """Writes trials.csv and, once a trial has ended with a score, best.yaml and importance.png.

    Args:
        study: of `study.open_study`.
        out: its folder.
        config: what all trials have in common.
        space: what they differ in.
        command: of the search, which best.yaml names.

    Returns:
        A table of the best trials, and where the files are.
    """
    space = keep_names(study, space)
    write_trials(study, space, out / TRIALS)
    best = find_best(study)
    if best is None:
        return f"no trial has ended with a score yet; {out / TRIALS} lists them"
    found = dataclasses.replace(make_config(config, space, best.params), run_dir=str(out / "best"))
    write_best(found, best, len(study.get_trials(deepcopy=False)), out / BEST, command)
    draw(study, space, out / FIGURE)
    files = f"{printable(out / BEST)}: the settings of trial {best.number}\n{printable(out / FIGURE)}: what mattered"
    return f"{table(study, space)}\n\n{files}"


def write_best(found: Config, best: "optuna.trial.FrozenTrial", count: int, path: Path, command: Sequence[str]) -> None:
    """Writes the settings of the best of `count` trials, for a training of its own, and how they were found."""
    lines = [
        f"{SCORE} {value_of(best):.4f} in validation on {found.data.val_split}: trial {best.number}, "
        f"the best of {count}, with",
        *(f"  {name} {brief(value)}" for name, value in best.params.items()),
        f"It was found by\n#   {shlex.join(command)}",
        f"and is trained again by\n#   {program('train')} --config {shlex.quote(str(path))}",
    ]
    with write_whole(path) as unfinished:
        save_config(found, unfinished)
        settings = unfinished.read_text(encoding="utf-8")
        unfinished.write_text("".join(f"# {line}\n" for line in lines) + f"\n{settings}", encoding="utf-8")


def write_trials(study: "optuna.Study", space: Space, path: Path) -> None:
    """Writes a line per trial: number, how it ended, score, epochs, what was drawn, and the error of a failed one."""
    with write_whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", SCORE, "epochs", *map(csv_cell, space), "error"])
        for trial in study.get_trials(deepcopy=False):
            score = score_of(trial)
            drawn = [trial.params.get(name, "") for name in space]
            drawn = [csv_cell(value) if isinstance(value, str) else value for value in drawn]
            error = csv_cell(trial.user_attrs.get("error", "").rpartition("\n")[2])
            epochs = max(trial.intermediate_values, default=0)
            writer.writerow([trial.number, how(trial), "" if score is None else f"{score:.6g}", epochs, *drawn, error])


def how(trial: "optuna.trial.FrozenTrial") -> str:
    """How a trial ended, or that it has not."""
    return {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name, "not yet ended")


def score_of(trial: "optuna.trial.FrozenTrial") -> float | None:
    """The best score of a trial so far; None before its first epoch has ended, and of one that failed."""
    from optuna.trial import TrialState

    if trial.state == TrialState.FAIL:
        return None
    curve = [score for score in trial.intermediate_values.values() if not math.isnan(score)]
    return trial.value if trial.state == TrialState.COMPLETE else max(curve, default=None)


def rank(trial: "optuna.trial.FrozenTrial") -> float:
    """By which trials are sorted: their score; those without one come last."""
    score = score_of(trial)
    return -math.inf if score is None else score


def list_scored(study: "optuna.Study") -> tuple[list["optuna.trial.FrozenTrial"], list["optuna.trial.FrozenTrial"]]:
    """Lists the trials that ran to their end, and those that were pruned, without any that have no score."""
    from optuna.trial import TrialState

    whole, pruned = (
        study.get_trials(deepcopy=False, states=(one,)) for one in (TrialState.COMPLETE, TrialState.PRUNED)
    )
    return whole, [trial for trial in pruned if score_of(trial) is not None]


def table(study: "optuna.Study", space: Space, rows: int = 10) -> str:
    """Lays out the best trials, those that were pruned below those that were not, and counts how all ended."""
    whole, pruned = (sorted(trials, key=rank, reverse=True) for trials in list_scored(study))
    cells = [["trial", SCORE, "epochs", *space]]
    for trial in [*whole, *pruned][:rows]:
        epochs = f"{max(trial.intermediate_values)}{' pruned' if trial in pruned else ''}"
        cells.append(
            [str(trial.number), f"{score_of(trial):.4f}", epochs, *(brief(trial.params[name]) for name in space)]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    states = [how(trial) for trial in study.get_trials(deepcopy=False)]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return "\n".join([*lines, f"{len(states)} trials: {counts}"])


def weigh(study: "optuna.Study") -> dict[str, float]:
    """Says how much of being among the best tenth each parameter decides, by PED-ANOVA; the shares add up to 1.

    Pruned trials are part of what the best are compared with, at the score they had. Optuna leaves them out, and so
    would not see what the bad ones have in common.

    Watanabe et al. 2023, https://arxiv.org/abs/2304.10255

    Returns:
        {parameter: share}, the largest first; empty for fewer than 4 trials.
    """
    import optuna

    whole, pruned = list_scored(study)
    ended = [*whole, *pruned]
    if len(ended) < 4:
        return {}
    copy = optuna.create_study(direction="maximize")
    for trial in ended:
        copy.add_trial(
            optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=score_of(trial))
        )
    return optuna.importance.get_param_importances(copy, evaluator=optuna.importance.PedAnovaImportanceEvaluator())


def draw(study: "optuna.Study", space: Space, path: Path) -> None:
    """Draws what mattered, the scores in the order of the trials, and the scores over each parameter, as a PNG."""
    from matplotlib.figure import Figure  # here: --help answers without it

    whole, pruned = list_scored(study)
    columns = max(2, min(4, len(space)))
    rows = math.ceil(len(space) / columns)
    figure = Figure((4 * columns, 3.6 * (1 + rows)), layout="constrained")
    (above,), (below,) = figure.subfigures(2, squeeze=False, height_ratios=(1, rows))
    shares, order = above.subplots(1, 2)
    _draw_shares(shares, weigh(study), len(whole) + len(pruned))
    _draw_points(order, whole, pruned, [trial.number for trial in whole], [trial.number for trial in pruned])
    best = np.maximum.accumulate([value_of(trial) for trial in whole])
    order.step([trial.number for trial in whole], best, where="post", color="C0", alpha=0.5, label="best so far")
    order.set(xlabel="trial", ylabel=SCORE)
    order.legend(fontsize=8)
    axes = below.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    axes[0].set_ylabel(SCORE)
    for axis, (name, parameter) in zip(axes, space.items(), strict=False):
        _draw_points(axis, whole, pruned, *([_place(parameter, trial) for trial in some] for some in (whole, pruned)))
        axis.set_xlabel(name)
        if isinstance(parameter, Choices):
            axis.set_xticks(range(len(parameter.values)), parameter.values)
        elif parameter.log:
            axis.set_xscale("log")
    for unused in axes[len(space) :]:
        unused.remove()
    save_figure(figure, path)


def _draw_shares(axis, shares: dict[str, float], trials: int) -> None:
    axis.barh(list(shares), list(shares.values()), color="C0")
    axis.set_xlim(0, 1)
    axis.invert_yaxis()
    axis.set_title("what decided whether a trial was among the best tenth", fontsize=10)
    if not shares:
        axis.text(0.5, 0.5, f"{trials} trials are too few to say", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
    elif trials < ENOUGH:
        axis.set_xlabel(f"share; no more than a hint, from {trials} trials: {ENOUGH} say more")
    else:
        axis.set_xlabel(f"share, from {trials} trials")


def _draw_points(axis, whole: list, pruned: list, whole_places: list, pruned_places: list) -> None:
    axis.scatter(whole_places, [score_of(trial) for trial in whole], s=18, color="C0", label="to its end")
    axis.scatter(pruned_places, [score_of(trial) for trial in pruned], s=18, color="C7", marker="x", label="pruned")


def _place(parameter: Range | Choices, trial: "optuna.trial.FrozenTrial") -> float:
    """Where a trial is on the axis of a parameter."""
    value = trial.params[parameter.name]
    return list(parameter.values).index(value) if isinstance(parameter, Choices) else value
