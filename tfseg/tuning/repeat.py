"""A repeat: one training with several seeds, each in its own process, and what they scored together.

A training in the same process as another would share Keras' global state with it. See `runs.repeat_dir` for the folder.
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfseg.config.schema import Config
from tfseg.evaluation.repeat_report import Failure, RepeatReport, describe_failure, report_repeat
from tfseg.io.escaping import printable
from tfseg.io.json_reader import read_json
from tfseg.io.stopped import StopWatch
from tfseg.runs import repeat_dir, run_dir
from tfseg.tuning.processes import (
    COMMAND,
    POLL,
    STOPPED,
    close_input,
    explain_end,
    kill,
    read_curve,
    share_cores,
    start_training,
    stop,
)
from tfseg.tuning.study import SCORE


def repeat_training(config: Config, seeds: int | Sequence[int] = 3, parallel: int = 1) -> RepeatReport:
    """Trains a config once a seed, scores each, and leaves in its `run_dir` what `repeat_dir` and the report have.

    What it prints are the trainings as they start, learn and end. A repeat that was stopped resumes by the same call:
    seeds that have ended are not trained again, and one that was stopped resumes. Seeds that ended before in the same
    folder count in the report, whether they are asked for or not.

    Args:
        config: what all trainings have in common; `run_dir` is the folder of the repeat.
        seeds: the values of `train.seed`; or how many, see `choose_seeds`.
        parallel: how many train at a time, each on its share of the cores.

    Returns:
        The report; its `failures` are the trainings that did not end, which the same call tries again.

    Raises:
        ValueError: the folder holds another repeat or something else, or seeds of fewer epochs that are not asked for;
            or another process trains there; or all trainings failed, or scores cannot be compared.
        OSError: the folder cannot be written, or what is needed for scores is not there.
    """
    repeat = Repeat(config, choose_seeds(seeds, config.train.seed), parallel)
    with run_dir.hold_run(Path(config.run_dir)) as fault:
        if fault:
            print(f"{printable(fault)}; nothing keeps a second repeat from this run_dir: see to it that there is none")
        folder = repeat_dir.open_repeat(config)
        repeat.check_others()
        try:
            repeat.run()
        finally:
            if waiting := repeat.list_waiting():
                again = f"the same command{', without overwrite,' if config.overwrite else ''} resumes the repeat"
                count = len(repeat.configs)
                print(f"{count - len(waiting)} of {count} seeds have ended; {again}", flush=True)
        if not repeat_dir.list_ended(folder):
            raise ValueError(f"{folder}: no training ended; {describe_failure(repeat.failures[-1])}")
        return report_repeat(folder, config.data.val_split, repeat.failures)


def choose_seeds(seeds: int | Sequence[int], own: int | None) -> list[int]:
    """Lists the seeds of a repeat.

    Args:
        seeds: themselves; or how many, counted from the config's own.
        own: `train.seed` of the config; None counts as 0.

    Raises:
        ValueError: there is none, or one twice.

    Example:
        >>> choose_seeds(3, own=0), choose_seeds([0, 5, 9], own=0)
        ([0, 1, 2], [0, 5, 9])
    """
    if isinstance(seeds, int):
        seeds = range(own or 0, (own or 0) + seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected one or more, each once, got {', '.join(map(str, seeds)) or 'none'}")
    return [*seeds]


@dataclass
class Running:
    """The training of a seed."""

    seed: int
    process: subprocess.Popen
    epoch: int  # the last that was reported


class Repeat:
    """Runs the trainings of a repeat.

    Attributes:
        configs: of each seed.
        failures: of the trainings that did not end.
    """

    def __init__(self, config: Config, seeds: Sequence[int], parallel: int = 1):
        """
        Args:
            config: what all trainings have in common.
            seeds: to train with.
            parallel: how many train at a time, each on its share of the cores.

        Raises:
            ValueError: more at a time than there are cores, or a seed is none that `train.seed` can be.
        """
        self.config, self.folder = config, Path(config.run_dir)
        self.configs = {seed: repeat_dir.config_of(config, seed) for seed in seeds}
        self.shares = share_cores(parallel)
        self.running: dict[int, Running] = {}
        self.failures: list[Failure] = []
        self.stop_watch = StopWatch()

    def check_others(self) -> None:
        """Raises ValueError if seeds that are not asked for ended after fewer epochs, and so could not be summed up."""
        others = [seed for seed in repeat_dir.list_ended(self.folder) if seed not in self.configs]
        others = [seed for seed in others if not repeat_dir.has_ended(repeat_dir.config_of(self.config, seed))]
        if others:
            every = ",".join(map(str, sorted([*self.configs, *others])))
            raise ValueError(
                f"{self.folder}: train.epochs is more than those of seed {', '.join(map(str, others))}, which ended "
                f"before; give --seeds {every} to continue all, or another run_dir"
            )

    def list_waiting(self) -> list[int]:
        """Lists the seeds whose training has not ended."""
        return [seed for seed, config in self.configs.items() if not repeat_dir.has_ended(config)]

    def run(self) -> None:
        """Runs the trainings that have not ended; one that fails ends no other.

        Raises:
            OSError: a file cannot be written.
        """
        waiting = self.list_waiting()
        for seed in self.configs.keys() - {*waiting}:
            print(f"seed {seed}: has ended before, {self.describe_score(seed)}", flush=True)
        try:
            while waiting or self.running:
                for slot in set(range(len(self.shares))) - set(self.running):
                    if waiting:
                        self.start(slot, waiting.pop(0), self.shares[slot])
                time.sleep(POLL)
                self.end_stopped()
                for slot in list(self.running):
                    self.watch(slot)
        finally:
            stop([running.process for running in self.running.values()])
            self.running.clear()

    def start(self, slot: int, seed: int, cores: list[int]) -> None:
        """Starts the training of a seed, or resumes it."""
        config = self.configs[seed]
        run = Path(config.run_dir)
        resumes = run_dir.has_learnt(run)
        print(
            f"seed {seed}: {'resumes' if resumes else 'starts'}; output in {printable(run.with_suffix('.log'))}",
            flush=True,
        )
        epoch = max((number for number, _ in read_curve(run)), default=0) if resumes else 0
        self.running[slot] = Running(seed, start_training(COMMAND, config, cores, f"seed {seed}"), epoch)

    def watch(self, slot: int) -> None:
        """Reports new epochs of a training, and its end."""
        running = self.running[slot]
        code = running.process.poll()  # asked before the curve is read: then that is whole
        curve = read_curve(repeat_dir.run_of(self.folder, running.seed))
        for epoch, score in (point for point in curve if point[0] > running.epoch):
            running.epoch = epoch
            if not self.config.quiet:
                epochs = self.config.train.epochs
                print(f"seed {running.seed}: epoch {epoch} of {epochs}, {SCORE} {score:.4f} in validation", flush=True)
        if code is not None:
            close_input(running.process)
            del self.running[slot]
            self.finish(running.seed, code)

    def finish(self, seed: int, code: int) -> None:
        """Reports the score of a training whose process has ended, or why it has none."""
        if repeat_dir.has_ended(self.configs[seed]):
            print(f"seed {seed}: has ended, {self.describe_score(seed)}", flush=True)
        else:
            self.fail(seed, code, explain_end(repeat_dir.run_of(self.folder, seed).with_suffix(".log"), code))

    def end_stopped(self) -> None:
        """Ends trainings that a signal such as SIGSTOP has stopped; nothing else would ever end them."""
        stopped = self.stop_watch.look(running.process.pid for running in self.running.values())
        for slot, running in list(self.running.items()):
            if running.process.pid in stopped:
                kill(running.process)
                del self.running[slot]
                self.fail(running.seed, running.process.returncode, STOPPED)

    def fail(self, seed: int, code: int, message: str) -> None:
        """Notes, and reports, that a training has not come to its end."""
        self.failures.append(Failure(seed, code, message))
        print(printable(describe_failure(self.failures[-1])), flush=True)

    def describe_score(self, seed: int) -> str:
        """Words the score of a training's exported model."""
        metrics = read_json(repeat_dir.run_of(self.folder, seed) / run_dir.METRICS)
        score = metrics.get(SCORE)
        return f"{SCORE} {'-' if score is None else f'{score:.4f}'}"
