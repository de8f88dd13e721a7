import os

import pytest

from tfseg.io.cores import count_cores


@pytest.mark.parametrize(("threads", "count"), [(None, 3), ("2", 2), ("8", 3), ("0", 3), ("many", 3)])
def test_cores_are_those_that_the_process_may_use(monkeypatch, threads, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 5, 6}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert count_cores() == count
