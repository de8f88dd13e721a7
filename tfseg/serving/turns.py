"""Turns of what keeps Python's lock for long, so that other threads run in between."""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from tfseg.serving.uploads import Refused

SHARE = 1 / 3  # of the time, at most, that is given to it
MOST_WAITING = 16  # with the one whose turn it is; each holds a thread


class Turns:
    """One after the other, and then a pause."""

    def __init__(self, share: float = SHARE, waiting: int = MOST_WAITING):
        """Begins with nobody waiting; as of `SHARE` and `MOST_WAITING`."""
        self._share = share
        self._places, self._one = threading.BoundedSemaphore(waiting), threading.Lock()
        self._next = 0.0  # when the next turn may begin, by `time.monotonic`

    @contextmanager
    def take(self, deadline: float, place: AbstractContextManager | None = None) -> Iterator[None]:
        """Waits for a turn; in it, Python collects no garbage.

        It would go through each list that is made there, which takes twice the time of making them.

        Args:
            deadline: until when, by `time.monotonic`.
            place: entered when the turn has come, if there is one; what is waited for there is no part of the turn.

        Raises:
            Refused: too many wait already, or it does not come in time.
        """
        refused = Refused(503, "too many images as numbers at once; send them as files, or as binary tensors")
        if not self._places.acquire(blocking=False):
            raise refused
        try:
            if not self._one.acquire(timeout=max(deadline - time.monotonic(), 0)):
                raise refused
            try:
                time.sleep(max(min(self._next, deadline) - time.monotonic(), 0))
                if time.monotonic() >= deadline:
                    raise refused
                with place or nullcontext(), self._begin():
                    yield
            finally:
                self._one.release()
        finally:
            self._places.release()

    @contextmanager
    def _begin(self) -> Iterator[None]:
        start = time.monotonic()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            now = time.monotonic()
            self._next = now + (now - start) * (1 / self._share - 1)
