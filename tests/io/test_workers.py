"""Processes that share out a job: results in order, errors raised, nothing left running."""

import multiprocessing
import operator
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import connection
from pathlib import Path

import pytest

from tfseg.io import stopped, workers


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


class NeedsTwo(Exception):
    """Cannot be made again from its message alone."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def raise_needs_two(_):
    raise NeedsTwo("one", "two")


def test_what_cannot_be_pickled_is_an_error_and_no_hang():
    with workers.open_pool(2) as mapper, pytest.raises(TypeError, match="NeedsTwo"):
        list(mapper(raise_needs_two, [0]))
    with workers.open_pool(2) as mapper, pytest.raises(RuntimeError, match="cannot pickle 'module' object"):
        list(mapper(__import__, ["math"]))


def send_signal(name):
    os.kill(os.getpid(), getattr(signal, name))
    return bytes(1_000_000)


def send_half_an_answer(name):
    """Ends or stops its process with half a message in the pipe."""
    send = connection.Connection._send

    def send_half(pipe, data, *_):
        send(pipe, data[: len(data) // 2])
        send_signal(name)

    connection.Connection._send = send_half
    return bytes(1_000_000)


SIGNALS = ["SIGKILL", "SIGTERM", "SIGSEGV"] if sys.platform != "win32" else []
STOPPED = "a worker process was stopped by a signal, as by SIGSTOP, and did not continue"
ENDS = [(name, workers.KILLED) for name in SIGNALS] + ([("SIGSTOP", STOPPED)] if SIGNALS else [])


@pytest.fixture
def quick_looks(monkeypatch):
    monkeypatch.setattr(stopped, "LOOK", 0.05)
    monkeypatch.setattr(stopped, "PATIENCE", 0.25)


def test_a_killed_worker_is_told():
    message = "a worker process was killed, perhaps for want of memory; try fewer --workers"
    with pytest.raises(OSError, match=message), workers.open_pool(2) as mapper:
        list(mapper(os._exit, [1]))


def test_a_script_without_the_guard_is_told_of_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from tfseg.io.workers import open_pool\nwith open_pool(2) as mapper:\n    list(mapper(len, ['a']))\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr.splitlines()[-1] == (
        "OSError: a worker process ended before its work, with the error above; a script that starts workers must do "
        "so below if __name__ == '__main__':, and lie in a file"
    )


@pytest.mark.long
@pytest.mark.parametrize(("name", "message"), ENDS)
@pytest.mark.parametrize("job", [send_signal, send_half_an_answer])
def test_a_worker_that_ends_or_stops_at_work_ends_the_pool(job, name, message, quick_looks):
    began = time.monotonic()
    with pytest.raises(OSError, match=message), workers.open_pool(2) as mapper:
        list(mapper(job, [name, name, name]))
    assert time.monotonic() - began < 10
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("name", "message"), ENDS)
@pytest.mark.parametrize("item", [b"small", bytes(10_000_000)])  # the large one fills the pipe
def test_a_worker_that_ends_or_stops_before_it_takes_a_job_ends_the_pool(item, name, message, quick_looks):
    with pytest.raises(OSError, match=message), workers.open_pool(2) as mapper:
        for process in multiprocessing.active_children():  # which have not yet imported anything
            os.kill(process.pid, getattr(signal, name))
        list(mapper(len, [item] * 4))


@pytest.mark.parametrize("name", [name for name, _ in ENDS])
def test_a_worker_that_ends_or_stops_after_its_work_changes_nothing(name):
    with workers.open_pool(2) as mapper:
        assert list(mapper(abs, [-1, -2])) == [1, 2]
        for process in multiprocessing.active_children():
            os.kill(process.pid, getattr(signal, name))
    assert not multiprocessing.active_children()


def test_a_slow_worker_is_waited_for(quick_looks):
    with workers.open_pool(2) as mapper:
        assert list(mapper(time.sleep, [0.5, 0.5])) == [None, None]


COMMAND = """
import multiprocessing, time
from tfseg.io import stopped, workers
if __name__ == "__main__":
    stopped.LOOK, stopped.PATIENCE = 0.1, 0.5
    with workers.open_pool(2) as mapper:
        list(mapper(abs, range(4)))
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        print(list(mapper(time.sleep, [0.5] * 4)), flush=True)
"""


@pytest.fixture
def command(tmp_path):
    """A command in a process group of its own, with two workers at work, whose numbers it has printed."""
    (tmp_path / "command.py").write_text(COMMAND, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, tmp_path / "command.py"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    ) as process:
        yield process
        process.kill()


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("whole", [True, False], ids=["Ctrl-Z", "parent alone"])
def test_a_command_that_is_stopped_and_continued_goes_on(command, whole):
    send = os.killpg if whole else os.kill
    command.stdout.readline()
    send(command.pid, signal.SIGSTOP)
    time.sleep(1)  # twice as long as a worker may be stopped alone
    send(command.pid, signal.SIGCONT)
    assert command.stdout.read() == "[None, None, None, None]\n"
    assert command.wait() == 0


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks into /proc")
def test_workers_end_with_a_parent_that_is_killed(command):
    pids = command.stdout.readline().split()
    command.kill()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/status").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


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


def test_a_worker_that_may_start_no_thread_reports_it(monkeypatch):
    def refuse(**_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers.threading, "Thread", refuse)
    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)  # this is no process of its own
    monkeypatch.setattr(workers.cv2, "setNumThreads", lambda _: None)
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        workers._work(theirs)
        assert ours.recv() is True
        _, error, _ = ours.recv()
    assert (type(error), str(error)) == (RuntimeError, "can't start new thread")


def test_refuses_none():
    with pytest.raises(ValueError, match="expected at least 1 worker, got 0"), workers.open_pool(0):
        pass
