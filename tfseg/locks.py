"""Locks on open files, which the system lets go of when the process ends, however it ends."""

from typing import IO

try:
    import fcntl
except ImportError:  # Windows: two processes at one thing are the user's to avoid
    fcntl = None


def take(file: IO, wait: bool = False) -> bool:
    """Locks a file for as long as this process, or one that it was handed to as it is, has it open.

    Args:
        file: open.
        wait: until another process lets go of it.

    Returns:
        Whether it was free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
