"""Processes that share out a job, and end with it: after an error, after Ctrl-C, and when their parent is killed.

Processes, since decoding is Python and C by turns; spawned, since a fork would copy the threads of whatever the parent
has loaded. The functions they run work on pixels with OpenCV and NumPy and never import TensorFlow.
"""

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import cv2

Mapper = Callable[[Callable, Iterable], Iterator]


@contextmanager
def open_pool(workers: int) -> Iterator[Mapper]:
    """Gives a `map` that works in processes, keeps the order and holds only a few results at a time.

    Args:
        workers: how many; with 1 this process does the work, when the results are asked for.

    Raises:
        ValueError: fewer than 1.
        OSError: a process was killed from outside.
    """
    if workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        with _deaf_to_ctrl_c():
            for _ in range(workers):
                pool.submit(int)  # starts one process
        yield functools.partial(_map_in_order, pool, 4 * workers)
    except BrokenProcessPool:
        raise OSError("a worker process was killed, perhaps for want of memory; try fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _map_in_order(pool: ProcessPoolExecutor, ahead: int, function: Callable, items: Iterable) -> Iterator:
    """Yields results in the order of the items, while at most `ahead` of them are waited for."""
    pending = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


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


def _start_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # a process a core is parallel enough


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os._exit(1)  # the parent was killed; nobody else would ever end this process
