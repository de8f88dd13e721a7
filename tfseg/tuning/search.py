"""A search for settings: trainings as processes, watched as they learn, the worse half stopped early.

What to try next is drawn by TPE (Bergstra et al. 2011, https://papers.nips.cc/paper/4443), of Optuna. A trial is pruned
if its best score so far is below the median of what those that ran to their end had after as many epochs (Golovin et
al. 2017, https://doi.org/10.1145/3097983.3098043). Hyperband promises more, but deals trials out to brackets, each of
which wants dozens before it tells good from bad; the median needs five trials, and no budget to be set.

OUT/study.db                       what was tried and what came of it; SQLite, since that is whole after kill -9
OUT/trial-0007/                    run folder of trial 7; weights and SavedModel stay in the best alone
OUT/trial-0007.yaml trial-0007.log its settings and what it printed
"""

import csv
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from tfseg.config.parse import save_config
from tfseg.config.renames import rename_settings
from tfseg.config.schema import Config
from tfseg.io import locks
from tfseg.runs import run_dir
from tfseg.training import checkpoints
from tfseg.tuning.space import Space, find_start, make_config

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
LOCK = ".lock"
SCORE = "mean_iou"
COMMAND = (sys.executable, "-m", "tfseg.tuning.trial")  # trains what --config names, into its run_dir
POLL = 0.2  # seconds
GRACE = 60  # seconds that a process has for its end
ALIKE = 3  # failures in a row that end the search


@dataclass
class Running:
    """A trial and its process."""

    trial: "optuna.Trial"
    process: subprocess.Popen
    epoch: int  # the last that was reported
    kill_at: float = math.inf  # by time.monotonic; once it is pruned


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
    with (out / LOCK).open("w") as lock:
        if not locks.take(lock):
            raise ValueError(f"{out}: another search is running here; wait for it, or give another --out")
        if not (out / STUDY).exists() and {path.name for path in out.iterdir()} != {LOCK}:
            raise ValueError(f"{out}: is not empty and holds no search ({STUDY} is missing); give another --out")
        study = optuna.create_study(
            storage=f"sqlite:///{out / STUDY}",
            study_name="search",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_warmup(config)),
        )
        _check_same(out, study, config, space)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(find_start(config, space))
        yield study


def _warmup(config: Config) -> int:
    """The first epoch that may be the last: a quarter of all, after that of the rising rate."""
    return max(math.ceil(config.train.epochs / 4), math.ceil(config.optimizer.warmup_epochs) + 1)


def _check_same(out: Path, study: "optuna.Study", config: Config, space: Space) -> None:
    ranges = {f"the range of {name}": dataclasses.asdict(parameter) for name, parameter in space.items()}
    now = json.loads(json.dumps(run_dir.list_lasting(config) | ranges))
    before, manifest = study.user_attrs.get("settings"), study.user_attrs.get("manifest")
    if before is not None:  # under the names of the version that began the search
        before = rename_settings(before.items(), set())
    if before is None:
        study.set_user_attr("settings", now)
        study.set_user_attr("manifest", run_dir.identify(config.data.records))
        return
    if manifest == run_dir.identify(config.data.records):  # the same records, wherever they lie now
        before.pop("data.records", None), now.pop("data.records")
    elif manifest and before.get("data.records") == now["data.records"]:
        before, now = before | {"manifest.json": manifest}, now | {"manifest.json": "another"}
    if changed := run_dir.list_changes(before, now):
        raise ValueError(f"{out}: holds a search with other settings ({changed}); give another --out")


class Search:
    """Runs the trials of a study."""

    def __init__(self, study: "optuna.Study", out: Path, config: Config, space: Space, seed: int = 0):
        """
        Args:
            study: of `open_study`.
            out: its folder.
            config: what all trials have in common.
            space: what they differ in.
            seed: of what is drawn. One trial at a time, a search that was stopped draws as if it never was.
        """
        self.study, self.out, self.config, self.space, self.seed = study, out, config, space, seed
        self.running: dict[int, Running] = {}
        self.failures: list[str] = []  # the last in a row

    def run(self, trials: int, parallel: int = 1, minutes: float = math.inf) -> None:
        """Runs trials until there are so many, with those before.

        Args:
            trials: how many there shall be in all.
            parallel: how many run at a time, each on its share of the cores.
            minutes: after which it ends, however many there are.

        Raises:
            ValueError: more trials at a time than cores, or trials fail one after the other in the same way.
            OSError: a file cannot be written.
        """
        shares, end = share_cores(parallel), time.monotonic() + 60 * minutes
        try:
            while time.monotonic() < end:
                for slot in set(range(parallel)) - set(self.running):
                    while slot not in self.running and (trial := self.next_trial(trials)):
                        self.start(slot, trial, shares[slot])
                if not self.running:
                    return
                time.sleep(POLL)
                for slot in list(self.running):
                    self.watch(slot)
        finally:
            stop([running.process for running in self.running.values()])
            self.running.clear()
            self.tidy()

    def next_trial(self, trials: int) -> "optuna.Trial | None":
        """Takes up a trial of a search that was stopped, or draws another; None: there are enough."""
        from optuna.trial import Trial, TrialState

        running = {running.trial.number for running in self.running.values()}
        known = self.study.get_trials(deepcopy=False)
        for number in (trial.number for trial in known if trial.state == TrialState.RUNNING):
            if number not in running:
                return Trial(self.study, known[number]._trial_id)
        count = sum(trial.state != TrialState.WAITING for trial in known)
        return self.study.ask() if count < trials else None

    def start(self, slot: int, trial: "optuna.Trial", cores: list[int]) -> None:
        """Starts the training of a trial, or lets it go on; what has ended already is only noted."""
        self.study.sampler = make_sampler(self.seed, trial.number)
        values = {name: parameter.suggest(trial) for name, parameter in self.space.items()}
        run = self.run_of(trial.number)
        try:
            config = make_config(self.config, self.space, values)
        except ValueError as error:
            self.fail(trial, str(error))
            return
        epoch = max(self.study.get_trials(deepcopy=False)[trial.number].intermediate_values, default=0)
        if (run / run_dir.METRICS).exists():
            self.report(trial, epoch)
            self.finish(trial)
            return
        text = ", ".join(f"{name} {brief(value)}" for name, value in values.items())
        print(f"trial {trial.number}{' goes on' if run.exists() else ''}: {text}", flush=True)
        save_config(dataclasses.replace(config, run_dir=str(run), overwrite=False), run.with_suffix(".yaml"))
        with run.with_suffix(".log").open("a", encoding="utf-8") as log:
            if not locks.take(log):
                print(f"trial {trial.number}: waiting for its process to end, which the last search left", flush=True)
                locks.take(log, wait=True)  # held by that process, since it writes there
            process = start_process([*COMMAND, "--config", str(run.with_suffix(".yaml"))], log, cores)
        self.running[slot] = Running(trial, process, epoch)

    def watch(self, slot: int) -> None:
        """Reports new epochs of a training, prunes it if they are bad, and notes its end."""
        running = self.running[slot]
        trial, process = running.trial, running.process
        ended = process.poll() is not None  # asked before the curve is read: then that is whole
        if running.kill_at == math.inf:
            before, running.epoch = running.epoch, self.report(trial, running.epoch)
            if before < running.epoch < self.config.train.epochs and not ended and trial.should_prune():
                self.prune(running)
        elif time.monotonic() > running.kill_at:
            process.kill()
        if ended:
            process.stdin.close()
            del self.running[slot]
            if running.kill_at == math.inf:
                self.finish(trial, process.returncode)
            self.tidy()

    def report(self, trial: "optuna.Trial", epoch: int) -> int:
        """Reports the epochs of a training after one, and returns the last."""
        for number, score in read_curve(self.run_of(trial.number)):
            if number > epoch:
                trial.report(score, number)
                epoch = number
        return epoch

    def prune(self, running: Running) -> None:
        """Notes that a training is not worth going on with, and asks it to end."""
        from optuna.trial import TrialState

        trial = running.trial
        self.study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: pruned after epoch {running.epoch}", flush=True)
        self.failures.clear()
        running.process.terminate()
        running.kill_at = time.monotonic() + GRACE

    def finish(self, trial: "optuna.Trial", code: int = 0) -> None:
        """Notes the score of a training that has ended, or why it has none."""
        run = self.run_of(trial.number)
        if not (run / run_dir.METRICS).exists():
            killed = f"\nkilled by {signal.Signals(-code).name}, perhaps for want of memory" if code < 0 else ""
            self.fail(trial, last_lines(run.with_suffix(".log")) + killed)
            return
        score = json.loads((run / run_dir.METRICS).read_text(encoding="utf-8"))[SCORE]
        if score is None:
            self.fail(trial, f"{SCORE} is not a number")
            return
        self.study.tell(trial, score)
        self.failures.clear()
        best = find_best(self.study)
        print(f"trial {trial.number}: {SCORE} {score:.4f}; best {best.value:.4f}, trial {best.number}", flush=True)

    def fail(self, trial: "optuna.Trial", reason: str) -> None:
        """Notes that a trial has no score; raises if it is always the same that goes wrong."""
        from optuna.trial import TrialState

        trial.set_user_attr("error", reason)
        self.study.tell(trial, state=TrialState.FAIL)
        run, line = self.run_of(trial.number), reason.splitlines()[-1]
        print(f"trial {trial.number}: failed: {line}", flush=True)
        self.failures.append(line.replace(str(run), ""))
        if len(self.failures) >= ALIKE and len(set(self.failures[-ALIKE:])) == 1:
            raise ValueError(f"{ALIKE} trials in a row failed in the same way, the last with: {line}")

    def tidy(self) -> None:
        """Deletes states and weights of trials that have ended; the best keeps its weights."""
        best = find_best(self.study)
        running = {one.trial.number for one in self.running.values()}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in running:
                run = self.run_of(trial.number)
                shutil.rmtree(run / checkpoints.FOLDER, ignore_errors=True)
                if best is None or trial.number != best.number:
                    shutil.rmtree(run / run_dir.SAVED_MODEL, ignore_errors=True)
                    (run / run_dir.BEST_WEIGHTS).unlink(missing_ok=True)

    def run_of(self, number: int) -> Path:
        return self.out / f"trial-{number:04d}"


def make_sampler(seed: int, number: int) -> "optuna.samplers.BaseSampler":
    """Makes what draws trial `number`. One for all would begin anew with the same draws whenever a search goes on."""
    from optuna.samplers import TPESampler

    seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return TPESampler(seed=seed, constant_liar=True)  # a trial that runs counts as bad, or all would try the same


def find_best(study: "optuna.Study") -> "optuna.trial.FrozenTrial | None":
    """Finds the trial with the highest score, the first of equals; None: none has ended with one."""
    from optuna.trial import TrialState

    whole = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(whole, key=lambda trial: trial.value, default=None)


def count_ended(study: "optuna.Study") -> int:
    """Counts the trials that need no more work."""
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def share_cores(parallel: int) -> list[list[int]]:
    """Shares out the cores that this process may use; the threads of one core, counted far apart, stay together."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not 1 <= parallel <= len(cores):
        raise ValueError(
            f"expected 1 to {len(cores)} trials at a time, as many as there are cores here, got {parallel}"
        )
    return [cores[index::parallel] for index in range(parallel)]


def start_process(command: Sequence[str], log: IO, cores: list[int]) -> subprocess.Popen:
    """Starts a command on some cores, its output in a file, its input a pipe that this process holds open."""
    threads = str(len(cores))
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # a terminal's Ctrl-C is for the search, which then stops them in its own way
        env={"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads, **os.environ},
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, cores)  # it has not yet begun any thread
    return process


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes: at first by SIGTERM, so that they can go on; after a minute, or one more Ctrl-C, at once."""
    if processes:
        print("stopping the trials after their steps; once more stops them at once", flush=True)
    for process in processes:
        process.terminate()
    end = time.monotonic() + GRACE
    try:
        for process in processes:
            process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdin.close()


def read_curve(run: Path) -> list[tuple[int, float]]:
    """Reads (epoch, score on the validation split) of each epoch that a training has ended."""
    path = run / run_dir.HISTORY
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()  # the last line may not be
    return [(int(row["epoch"]), float(row[f"val_{SCORE}"])) for row in csv.DictReader(whole)]


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of what a process printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-count:]) or "ended without a word"


def brief(value: float | str) -> str:
    """A drawn value, as short as one reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
