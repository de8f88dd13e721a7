"""Errors that come of limits of the system say which, and what to do."""

import errno
import sys

import pytest

from tfseg.io import command, limits


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a.png"), limits.FILES),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), limits.PROCESSES),
        (RuntimeError("can't start new thread"), limits.PROCESSES),
    ],
)
def test_a_limit_is_named_in_one_line(error, advice, monkeypatch):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["verify"])
    with pytest.raises(SystemExit) as exit:
        command.run(main)
    assert exit.value.code == f"verify: error: {advice}"


def test_other_errors_are_no_limits():
    assert limits.advise_limit(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert limits.advise_limit(RuntimeError("the model is odd")) is None
