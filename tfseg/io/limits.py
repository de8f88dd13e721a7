"""Errors that come of limits of the system, with the limit and what to do about it."""

import errno

FILES = "no more files may be opened; allow more with ulimit -n 1024"
PROCESSES = "no more processes or threads may be started; allow more with ulimit -u, or lower --workers if it has any"


def advise_limit(error: BaseException) -> str | None:
    """The line on a limit that an error comes of; None: of no limit."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return FILES
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and str(error) == "can't start new thread"):
        return PROCESSES
    return None
