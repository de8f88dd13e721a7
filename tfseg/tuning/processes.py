"""Trainings as processes: started on their share of the cores, followed, and ended."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tfseg.config.parse import save_config
from tfseg.config.schema import Config
from tfseg.io import locks
from tfseg.runs import run_dir
from tfseg.tuning.study import SCORE

COMMAND = (sys.executable, "-m", "tfseg.tuning.trial")  # trains what --config names, into its run_dir
POLL = 0.2  # seconds between two looks at the trainings
STOPPED = "was stopped by a signal, as by SIGSTOP, and did not continue"
GRACE = 60  # seconds that a process has for its end


def share_cores(parallel: int) -> list[list[int]]:
    """Shares out the cores that this process may use; the threads of one core, counted far apart, stay together."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not 1 <= parallel <= len(cores):
        raise ValueError(
            f"expected 1 to {len(cores)} trainings at a time, as many as there are cores here, got {parallel}"
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


def start_training(command: Sequence[str], config: Config, cores: list[int], name: str) -> subprocess.Popen:
    """Starts a training; its settings and what it prints are in files beside its run folder, RUN.yaml and RUN.log.

    Args:
        command: that trains what --config names.
        config: its settings.
        cores: that it may use.
        name: for what is printed while a process that an earlier start has left is waited for.
    """
    run = Path(config.run_dir)
    save_config(config, run.with_suffix(".yaml"))
    with run.with_suffix(".log").open("a", encoding="utf-8") as log:
        if not locks.take_or_say(log, run):
            print(f"{name}: waiting for its process to end, which an earlier start left", flush=True)
            locks.take(log, wait=True)  # held by that process, since it writes there
        return start_process([*command, "--config", str(run.with_suffix(".yaml"))], log, cores)


def stop(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes: at first by SIGTERM, so that they can resume; after a minute, or one more Ctrl-C, at once."""
    if processes:
        print("stopping the trainings after their steps; once more stops them at once", flush=True)
    for process in processes:
        ask_to_end(process)
    end = time.monotonic() + GRACE
    try:
        for process in processes:
            process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            kill(process)


def kill(process: subprocess.Popen) -> None:
    """Ends a process that `start_process` started, if it has not ended, at once."""
    process.kill()
    process.wait()
    close_input(process)


def ask_to_end(process: subprocess.Popen) -> None:
    """Sends SIGTERM to a process, and has it continue if it is stopped, so that it can do as it is asked."""
    process.terminate()
    if hasattr(signal, "SIGCONT"):
        process.send_signal(signal.SIGCONT)


def close_input(process: subprocess.Popen) -> None:
    """Closes the pipe to a process that `start_process` started."""
    if process.stdin:
        process.stdin.close()


def last_lines(log: Path, count: int = 5) -> str:
    """The last lines of what a process printed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-count:]) or "ended without a word"


def explain_end(log: Path, code: int) -> str:
    """The last lines of what a training printed that ended too early, and the signal that ended it, if one did."""
    killed = f"\nkilled by {signal.Signals(-code).name}, perhaps for want of memory" if code < 0 else ""
    return last_lines(log) + killed


def read_curve(run: Path) -> list[tuple[int, float]]:
    """Reads (epoch, score on the validation split) of each epoch that a training has ended and validated."""
    path = run / run_dir.HISTORY
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines()  # the last line may not be
    scored = ((int(row["epoch"]), row[f"val_{SCORE}"]) for row in csv.DictReader(whole))
    return [(epoch, float(score)) for epoch, score in scored if score]
