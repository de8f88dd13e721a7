"""A search for settings: trainings as processes, watched as they learn, the worse half stopped early.

The score of a trial is the mean IoU of its best validation, at the network's input size, by which it is watched.

What to try next is drawn by TPE (Bergstra et al. 2011, https://papers.nips.cc/paper/4443), of Optuna. A trial is pruned
if its best score so far is below the median of what those that ran to their end had after as many epochs (Golovin et
al. 2017, https://doi.org/10.1145/3097983.3098043). Hyperband promises more, but deals trials out to brackets, each of
which needs dozens before it separates good from bad; the median needs five trials, and no budget to be set.

OUT/study.db                       what was tried and what came of it; SQLite, since that is whole after kill -9
OUT/trial-0007/                    run folder of trial 7; weights and SavedModel stay in the best alone
OUT/trial-0007.yaml trial-0007.log its settings and what it printed
"""

import dataclasses
import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.config.schema import Config
from tfseg.io.escaping import printable
from tfseg.io.json_reader import read_json
from tfseg.io.stopped import StopWatch
from tfseg.runs import run_dir
from tfseg.runs.run_dir import remove_weights
from tfseg.tuning.processes import (
    COMMAND,
    GRACE,
    POLL,
    STOPPED,
    ask_to_end,
    close_input,
    explain_end,
    kill,
    read_curve,
    share_cores,
    start_training,
    stop,
)
from tfseg.tuning.report import write_report
from tfseg.tuning.space import Space, make_config, read_space
from tfseg.tuning.study import (
    SCORE,
    STUDY,
    brief,
    count_ended,
    find_best,
    keep_names,
    make_sampler,
    open_study,
    value_of,
)

if TYPE_CHECKING:
    import optuna

ALIKE = 3  # failures in a row that end the search


@dataclass
class Running:
    """A trial and its process."""

    trial: "optuna.Trial"
    process: subprocess.Popen
    epoch: int  # the last that was reported
    kill_at: float = math.inf  # by time.monotonic; once it is pruned


def search_settings(
    config: Config,
    space_file: str | Path,
    out: Path,
    trials: int = 40,
    parallel: int = 1,
    minutes: float = math.inf,
    seed: int = 0,
    command: Sequence[str] = (),
) -> None:
    """Searches for the settings with the best score, and leaves in a folder what `report.write_report` writes.

    What it prints are the trials as they start and end, and at last, however it ends, a table of the best. A search
    that was stopped resumes by the same call.

    Args:
        config: what all trials have in common.
        space_file: YAML file of what they differ in, see `space`.
        out: folder of the search.
        trials, parallel, minutes: as of `Search.run`.
        seed: of what is drawn.
        command: which best.yaml names as what has found it.

    Raises:
        ValueError: the space does not fit the config; or as of `open_study` and `Search.run`.
        OSError: a file cannot be read or written.
    """
    space = read_space(space_file, config, warn=not (out / STUDY).exists())
    with open_study(out, config, space) as study:
        try:
            Search(study, out, config, space, seed).run(trials, parallel, minutes)
        finally:
            print(write_report(study, out, config, space, command))
            if (ended := count_ended(study)) < trials:
                print(f"{ended} of {trials} trials have ended; the same command resumes the search")


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
        self.study, self.out, self.config, self.seed = study, out, config, seed
        self.space = keep_names(study, space)
        self.running: dict[int, Running] = {}
        self.failures: list[str] = []  # the last in a row
        self.kept: set[str] = set()  # what could not be deleted, and why
        self.stop_watch = StopWatch()

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
                self.end_stopped()
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
        """Starts the training of a trial, or resumes it; what has ended already is only noted."""
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
        print(f"trial {trial.number}{' resumes' if run.exists() else ''}: {printable(text)}", flush=True)
        config = dataclasses.replace(config, run_dir=str(run), overwrite=False)
        process = start_training(COMMAND, config, cores, f"trial {trial.number}")
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
            close_input(process)
            del self.running[slot]
            if running.kill_at == math.inf:
                self.finish(trial, process.returncode)
            self.tidy()

    def end_stopped(self) -> None:
        """Ends trainings that a signal such as SIGSTOP has stopped, and notes why; nothing else would ever end them."""
        stopped = self.stop_watch.look(running.process.pid for running in self.running.values())
        for slot, running in list(self.running.items()):
            if running.process.pid in stopped:
                kill(running.process)
                del self.running[slot]
                if running.kill_at == math.inf:
                    self.fail(running.trial, STOPPED)

    def report(self, trial: "optuna.Trial", epoch: int) -> int:
        """Reports the epochs of a training after one, and returns the last."""
        for number, score in read_curve(self.run_of(trial.number)):
            if number > epoch:
                trial.report(score, number)
                epoch = number
        return epoch

    def prune(self, running: Running) -> None:
        """Notes that a training is not worth continuing, and asks it to end."""
        from optuna.trial import TrialState

        trial = running.trial
        self.study.tell(trial, state=TrialState.PRUNED)
        print(f"trial {trial.number}: pruned after epoch {running.epoch}", flush=True)
        self.failures.clear()
        ask_to_end(running.process)
        running.kill_at = time.monotonic() + GRACE

    def finish(self, trial: "optuna.Trial", code: int = 0) -> None:
        """Notes the score of a training that has ended, or why it has none."""
        run = self.run_of(trial.number)
        if not (run / run_dir.METRICS).exists():
            self.fail(trial, explain_end(run.with_suffix(".log"), code))
            return
        score = read_best(run)
        if score is None:
            self.fail(trial, f"{SCORE} is not a number")
            return
        self.study.tell(trial, score)
        self.failures.clear()
        best = find_best(self.study)
        leading = f"; best {value_of(best):.4f}, trial {best.number}" if best else ""
        print(f"trial {trial.number}: {SCORE} {score:.4f}{leading}", flush=True)

    def fail(self, trial: "optuna.Trial", reason: str) -> None:
        """Notes that a trial has no score; raises if it is always the same that goes wrong."""
        from optuna.trial import TrialState

        trial.set_user_attr("error", reason)
        self.study.tell(trial, state=TrialState.FAIL)
        run, line = self.run_of(trial.number), reason.splitlines()[-1]
        print(f"trial {trial.number}: failed: {printable(line)}", flush=True)
        self.failures.append(line.replace(str(run), ""))
        if len(self.failures) >= ALIKE and len(set(self.failures[-ALIKE:])) == 1:
            raise ValueError(f"{ALIKE} trials in a row failed in the same way, the last with: {line}")

    def tidy(self) -> None:
        """Deletes checkpoints and weights of trials that have ended; the best keeps its weights."""
        best = find_best(self.study)
        running = {one.trial.number for one in self.running.values()}
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.is_finished() and trial.number not in running:
                run = self.run_of(trial.number)
                left = remove_weights(run, best=best is not None and trial.number == best.number)
                if left and left not in self.kept:
                    self.kept.add(left)
                    print(f"{printable(left)}; it is kept", flush=True)

    def run_of(self, number: int) -> Path:
        return self.out / f"trial-{number:04d}"


def read_best(run: Path) -> float | None:
    """Reads the best score of a training's validations, as in its curve; None: it is not a number.

    Not that of the exported model, at the ground truth's size, which metrics.json has beside it: trials are pruned by
    their curves, and runs of before have no other.
    """
    metrics = read_json(run / run_dir.METRICS)
    return metrics.get("validation", metrics)[SCORE]
