"""Trainings as processes: started on their share of the cores, and ended."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

GRACE = 60  # seconds that a process has for its end


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
    """Ends processes: at first by SIGTERM, so that they can resume; after a minute, or one more Ctrl-C, at once."""
    if processes:
        print("stopping the trials after their steps; once more stops them at once", flush=True)
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
