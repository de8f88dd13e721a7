"""Which processes are stopped, as by SIGSTOP or Ctrl-Z: they neither end nor go on.

A stopped process and a slow one, such as one that waits for memory from the disk, are distinguished by what the system
says of them. Silence would not do: a decoder may keep Python's lock for as long as one image takes.
"""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

LOOK = 1.0  # seconds between two looks
PATIENCE = 5.0  # seconds that a process may be stopped
_PROC = Path("/proc")  # of Linux
_STOPPED = "T"  # and "t" in a debugger, which is left alone


class StopWatch:
    """Looks for processes that are stopped and do not continue."""

    def __init__(self):
        self._last = time.monotonic()
        self._seconds: dict[int, float] = {}  # for how long each has been found stopped

    def look(self, processes: Iterable[int | None]) -> set[int]:
        """Finds those of some processes, by their numbers, that have been stopped for too long; to be called often."""
        now = time.monotonic()
        if now - self._last < LOOK / 2:
            return set()
        # At most, since time passes, too, while this process is stopped, with the others or alone.
        passed = min(now - self._last, LOOK)
        self._last = now
        self._seconds = {pid: self._seconds.get(pid, 0) + passed for pid in find_stopped(processes)}
        return {pid for pid, seconds in self._seconds.items() if seconds > PATIENCE}


def find_stopped(processes: Iterable[int | None]) -> set[int]:
    """Finds those of some processes, by their numbers, that are stopped; none on Windows, which knows no such state."""
    pids = {pid for pid in processes if pid is not None}
    if (_PROC / "self/stat").exists():
        return {pid for pid in pids if _read_state(pid) == _STOPPED}
    return {pid for pid, state in _list_states(pids).items() if state.startswith(_STOPPED)}


def _read_state(pid: int) -> str | None:
    """The state of a process in one letter, on Linux; None: there is no such process."""
    try:
        stat = (_PROC / f"{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[0]  # the name before it is in brackets, and may hold any


def _list_states(pids: Iterable[int]) -> dict[int, str]:
    """The states of processes, on macOS and other kinds of Unix."""
    command = ["ps", "-o", "pid=,state=", "-p", ",".join(map(str, sorted(pids)))]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {int(pid): state for pid, state in map(str.split, listed.splitlines())}
