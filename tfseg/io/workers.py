"""Processes that share out a job, and end with it: after an error, after Ctrl-C, and when their parent is killed.

Processes, since decoding is Python and C by turns; spawned, since a fork would copy the threads of whatever the parent
has loaded. The functions they run work on pixels with OpenCV and NumPy and never import TensorFlow.

Each process has a pipe of its own, and a thread here that sends it one job at a time and waits for the answer. They
share no queue and no lock, unlike those of ProcessPoolExecutor, where a process that is killed while it holds one, or
with half an answer sent, keeps all others and the parent waiting for ever. Here its own pipe ends, and its thread
raises. One that is stopped ends nothing: whoever waits for an answer looks for it every second.
"""

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import connection

import cv2

from tfseg.io import stopped

Mapper = Callable[[Callable, Iterable], Iterator]

PATIENCE = 1  # seconds from the end of a process's pipe to its own
KILLED = "a worker process was killed, perhaps for want of memory; try fewer --workers"
FAILED = (
    "a worker process ended before its work, with the error above; a script that starts workers must do so below "
    "if __name__ == '__main__':, and lie in a file"
)
STOPPED = "a worker process was stopped by a signal, as by SIGSTOP, and did not continue, so it was ended; run it again"


@contextmanager
def open_pool(workers: int) -> Iterator[Mapper]:
    """Gives a `map` that works in processes, keeps the order and holds only a few results at a time.

    Errors of the function are raised here with their type, caused by the traceback of the process.

    Args:
        workers: how many; with 1 this process does the work, when the results are asked for.

    Raises:
        ValueError: fewer than 1.
        OSError: a process could not be started, or was killed or stopped from outside.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")
    if workers == 1:
        yield map
        return
    pool = _Pool(workers)
    try:
        with _deaf_to_ctrl_c():
            for _ in range(workers):
                pool.start_worker()
        yield pool.map
    finally:
        with _deaf_to_ctrl_c():
            pool.end()


class _Pool:
    """Processes, and as many threads, each of which waits for one of them at a time."""

    def __init__(self, count: int):
        self.workers: list[_Worker] = []
        self.idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self.threads = ThreadPoolExecutor(count)
        self.watch = stopped.StopWatch()
        self.most_pending = 4 * count

    def start_worker(self) -> None:
        worker = _Worker()
        self.workers.append(worker)
        self.idle.put(worker)

    def map(self, function: Callable, items: Iterable) -> Iterator:
        """Yields results in the order of the items, while only a few of them are waited for."""
        pending = deque()
        for item in items:
            pending.append(self.threads.submit(self._ask_idle, function, item))
            if len(pending) >= self.most_pending:
                yield self._wait_for(pending.popleft())
        while pending:
            yield self._wait_for(pending.popleft())

    def _ask_idle(self, function: Callable, item):
        worker = self.idle.get()
        try:
            return worker.ask(function, item)
        finally:
            self.idle.put(worker)

    def _wait_for(self, future: Future):
        while not wait([future], stopped.LOOK).done:
            if self.watch.look(worker.process.pid for worker in self.workers):
                raise OSError(STOPPED)
        return future.result()

    def end(self) -> None:
        """Ends all processes, whatever they do, and then the threads, whose pipes end with them."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for worker in self.workers:
            if not connection.wait([worker.process.sentinel], 0):  # else its number may be another's by now
                worker.process.kill()
        for worker in self.workers:
            worker.process.join()
        self.threads.shutdown()
        for worker in self.workers:
            worker.pipe.close()


class _Worker:
    """A process and the pipe to it."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, other_end = context.Pipe()
        self.has_begun = False  # else the file that called us has failed in the process, which imports it first
        self.process = context.Process(target=_work, args=(other_end,), daemon=True)
        with other_end:  # closed here, so that the pipe ends with the process
            self.process.start()

    def ask(self, function: Callable, item):
        """Has the process call a function; raises what that raises."""
        try:
            self.pipe.send((function, item))
            self.has_begun = self.has_begun or self.pipe.recv()
            result, error, lines = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            raise OSError(KILLED if self.has_begun or self.process.exitcode != 1 else FAILED) from None
        if error is not None:
            raise error from _WorkerTraceback(lines)
        return result


class _WorkerTraceback(Exception):
    """Shows where in a process an error was raised."""


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignores Ctrl-C, and so do processes that are started meanwhile: their parent alone hears it, and ends them."""
    if threading.current_thread() is not threading.main_thread():  # where Python lets no signals be handled
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


# ---- in the processes


def _work(pipe: connection.Connection) -> None:
    """Answers jobs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which Windows does not pass on
    cv2.setNumThreads(1)  # a process a core is parallel enough
    try:
        pipe.send(True)  # that it has begun
        threading.Thread(target=_end_with_parent, daemon=True).start()
    except OSError:
        return  # the parent is gone
    except RuntimeError as error:  # no more threads may be started
        _send(pipe, (None, error, traceback.format_exc()))
        return
    try:
        while True:
            _send(pipe, _answer(*pipe.recv()))
    except (EOFError, OSError):
        pass


def _answer(function: Callable, item) -> tuple:
    """The result of a function, or the error it raises and where."""
    try:
        return function(item), None, None
    except Exception as error:
        return None, error, f"in a worker process:\n{traceback.format_exc()}"


def _send(pipe: connection.Connection, answer: tuple) -> None:
    try:
        pipe.send(answer)
    except (EOFError, OSError):
        raise
    except Exception as error:  # the answer cannot be pickled, of which nothing is sent then
        pipe.send((None, RuntimeError(f"{type(error).__name__}: {error}"), traceback.format_exc()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os._exit(1)  # the parent was killed; nobody else would ever end this process
