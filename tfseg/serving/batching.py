"""Images that come one by one from many threads -> batches of one size for the one thread that runs the model.

An image is what the network is to see; its mask may be of another size.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

Size = tuple[int, int]
Classify = Callable[[np.ndarray, list[Size]], Sequence[np.ndarray]]


class QueueFull(Exception):
    """As many images wait as may."""


class Result(NamedTuple):
    """What came of one image."""

    class_ids: np.ndarray
    """(H, W) uint8."""
    waited: float
    """Seconds in the queue."""
    took: float
    """Seconds that the model took for its batch."""
    batch: int
    """How many images the model saw at once."""


class Job(NamedTuple):
    image: np.ndarray
    size: Size
    future: Future
    arrived: float


class Batcher:
    """A queue of images of limited length.

    Attributes:
        running: whether `work` takes images now.
    """

    def __init__(
        self,
        max_batch: int,
        max_pixels: int,
        wait: float,
        capacity: int,
        on_batch: Callable[[int, float], None] = lambda images, seconds: None,
    ):
        """Makes an empty queue.

        Args:
            max_batch: images that the model sees at once, at most; if there are fewer, it sees a power of two of them.
            max_pixels: pixels that it sees at once, at most, so that a batch never takes more memory than an image of
                so many; a larger image goes alone.
            wait: seconds, at most, that an image waits for others of its size while the model is free.
            capacity: images that may wait.
            on_batch: called with the number of images of each batch, and the seconds that it took.
        """
        self.max_batch, self.max_pixels, self.wait, self.capacity = max_batch, max_pixels, wait, capacity
        self.on_batch = on_batch
        self.running = False
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many images wait; those that are cancelled do not."""
        with self._changed:
            self._jobs = deque(job for job in self._jobs if not job.future.cancelled())
            return len(self._jobs)

    @property
    def is_full(self) -> bool:
        """Whether another image would be refused."""
        return len(self) >= self.capacity

    def submit(self, image: np.ndarray, size: Size) -> Future:
        """Puts an image into the queue.

        Args:
            image: (h, w, channels) uint8, as the network is to see it.
            size: (height, width) of its mask.

        Returns:
            The future `Result`. Once cancelled, the model will not see the image, unless it does already.

        Raises:
            QueueFull: there is no room.
        """
        job = Job(image, size, Future(), time.monotonic())
        with self._changed:
            if self.is_full:
                raise QueueFull
            self._jobs.append(job)
            self._changed.notify_all()
        return job.future

    def work(self, classify: Classify) -> None:
        """Takes batches out of the queue until it is closed and empty.

        Args:
            classify: images (B, h, w, channels) uint8, and the size of each mask -> B masks, uint8. What it raises is
                that of the futures of its batch.
        """
        self.running = True
        try:
            while batch := self._take():
                self._run(classify, batch)
        finally:
            self.running = False

    def close(self) -> None:
        """Lets `work` end, once nothing waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self) -> list[Job]:
        """Waits for the oldest image and others of its size; gives none when the queue is closed and empty."""
        with self._changed:
            batch = []
            while not batch:  # what was waited for may be cancelled
                self._changed.wait_for(lambda: len(self) or self._closed)
                if not self._jobs:
                    return []
                batch = self._gather(self._jobs[0])
            taken = set(map(id, batch))
            self._jobs = deque(job for job in self._jobs if id(job) not in taken)
            return batch

    def _gather(self, oldest: Job) -> list[Job]:
        """Waits until images of one size fill a batch, or as long as they may; gives as many as are to be in it."""
        shape = oldest.image.shape
        most = max(min(self.max_batch, self.max_pixels // (shape[0] * shape[1])), 1)

        def fitting() -> list[Job]:
            return [job for job in self._jobs if job.image.shape == shape and not job.future.cancelled()][:most]

        timeout = max(oldest.arrived + self.wait - time.monotonic(), 0)
        self._changed.wait_for(lambda: len(fitting()) == most or self._closed, timeout)
        batch = fitting()
        if batch and len(batch) < most:  # a runtime may keep what it prepared for each number: there are to be few
            batch = batch[: 2 ** (len(batch).bit_length() - 1)]
        return batch

    def _run(self, classify: Classify, batch: list[Job]) -> None:
        start = time.monotonic()
        batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            masks = classify(np.stack([job.image for job in batch]), [job.size for job in batch])
        except Exception as error:  # whatever the model raises; the next batch may go well
            for job in batch:
                job.future.set_exception(error)
            return
        took = time.monotonic() - start
        self.on_batch(len(batch), took)
        for job, ids in zip(batch, masks, strict=True):
            job.future.set_result(Result(ids, start - job.arrived, took, len(batch)))
