"""Processes that share out a job: results in order, errors raised, nothing left running."""

import multiprocessing
import operator
import os
import re
import signal
from pathlib import Path

import pytest

from tfseg.io import workers


def fail_on_three(number):
    if number == 3:
        raise ValueError("three.png: is damaged")
    return number


@pytest.mark.parametrize("count", [1, 2])
def test_keeps_the_order_and_tells_errors(count):
    with workers.open_pool(count) as mapper:
        assert list(mapper(operator.neg, range(20))) == [-number for number in range(20)]
        results = mapper(fail_on_three, range(10))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match=r"^three\.png: is damaged$"):
            next(results)


def test_takes_only_a_few_items_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with workers.open_pool(2) as mapper:
        results = mapper(abs, items())
        next(results)
        assert len(taken) == 8


def test_a_killed_worker_is_told():
    message = "a worker process was killed, perhaps for want of memory; try fewer --workers"
    with pytest.raises(OSError, match=message), workers.open_pool(2) as mapper:
        list(mapper(os._exit, [1]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_workers_are_deaf_to_ctrl_c_from_their_first_moment():
    """A terminal sends it to all processes, and one that is still importing would print its own traceback."""
    before = signal.getsignal(signal.SIGINT)
    with workers.open_pool(2) as mapper:
        for process in multiprocessing.active_children():
            ignored = int(re.search(r"SigIgn:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1], 16)
            assert ignored >> (signal.SIGINT - 1) & 1
        assert len(multiprocessing.active_children()) == 2
        assert list(mapper(abs, [-1])) == [1]
    assert signal.getsignal(signal.SIGINT) == before


def test_refuses_none():
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"), workers.open_pool(0):
        pass
