"""A process that dies while it changes files, without being one: from some call on, the system does nothing."""

import os
from contextlib import contextmanager, suppress

CHANGES = ("mkdir", "rename", "replace", "unlink", "rmdir")


class Killed(BaseException):
    """What a killed process would have done next."""


@contextmanager
def killed_at(monkeypatch, number):
    """Has the call of that number that changes names in folders fail, and all after it, those that clean up as well.

    Gives a list that is empty in the end if there were not so many calls.
    """
    calls, failed = [], []

    def wrap(function):
        def call(*arguments, **options):
            calls.append(function.__name__)
            if len(calls) > number:
                failed.append(function.__name__)
                raise Killed(function.__name__)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, wrap(getattr(os, name)))
        with suppress(Killed):
            yield failed


def moments(monkeypatch, prepare, work, most=200):
    """Does some work again and again, from the beginning each time, killed one call later each time; until it is not.

    Args:
        monkeypatch: of the test.
        prepare: called without arguments before each.
        work: called without arguments.
        most: calls that it may take.

    Yields:
        The number of each moment, for the test to look at what is left.
    """
    for number in range(most):
        prepare()
        with killed_at(monkeypatch, number) as failed:
            work()
        yield number
        if not failed:
            return
    raise AssertionError(f"more than {most} calls")
