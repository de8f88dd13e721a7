"""The standard streams of a command: closed before it began, or while it prints."""

import os
import select
import sys


def fill_closed_streams() -> None:
    """Has streams that are closed lead nowhere.

    Else the next files to be opened, such as the pipe to a process, would take their numbers, and what libraries print
    there would end up in them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is this
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def finish_output() -> OSError | None:
    """Writes out what was printed; what prevents that, such as a full disk or a reader that has ended.

    The output leads nowhere then, since Python would complain once more at its end.
    """
    try:
        sys.stdout.flush()
        if _lacks_reader():
            raise BrokenPipeError
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return error
    return None


def _lacks_reader() -> bool:
    """Whether standard output is a pipe that nobody reads; unbuffered, it keeps nothing whose writing would fail."""
    if not hasattr(select, "poll"):  # on Windows
        return False
    poll = select.poll()
    poll.register(1, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
