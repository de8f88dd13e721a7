"""What the processes of the service know of each other, in memory that all of them have."""

import mmap
import struct
import zlib

HEAD = struct.Struct("<II")  # of a text: its length and its checksum
MOST_FATE = 4096  # bytes
READY = b"ready"


class SharedTexts:
    """A text in each of some places, which one process writes and others read; made before they are forked."""

    def __init__(self, places: int, most: int):
        """Makes empty ones.

        Args:
            places: how many.
            most: bytes of each; what does not fit is cut off.
        """
        self.places, self._most = places, most
        self._memory = mmap.mmap(-1, places * most)

    def write(self, place: int, text: bytes) -> None:
        """Replaces a text."""
        text = text[: self._most - HEAD.size]
        start = place * self._most
        self._memory[start : start + HEAD.size + len(text)] = HEAD.pack(len(text), zlib.crc32(text)) + text

    def read(self, place: int) -> bytes:
        """Gives a text; nothing where there is none yet, or where it is being written."""
        start = place * self._most
        length, checksum = HEAD.unpack(self._memory[start : start + HEAD.size])
        text = self._memory[start + HEAD.size : start + HEAD.size + min(length, self._most)]
        return text if zlib.crc32(text) == checksum else b""


class Fates:
    """What became of the model in each worker."""

    def __init__(self, workers: int):
        """Begins with nothing known of any of so many."""
        self.workers = workers
        self._texts = SharedTexts(workers + 1, MOST_FATE)  # the last: whether all have been ready

    def begin(self, worker: int) -> None:
        """Forgets the model of a worker which is gone; why one was not loaded is kept."""
        if self.is_ready(worker):
            self._texts.write(worker, b"")

    def succeed(self, worker: int) -> None:
        """Notes that the model is loaded."""
        self._texts.write(worker, READY)
        if all(map(self.is_ready, range(self.workers))):
            self._texts.write(self.workers, READY)

    def fail(self, worker: int, reason: str) -> None:
        """Notes why it is not."""
        self._texts.write(worker, reason.encode(errors="backslashreplace"))  # paths may be no Unicode

    def is_known(self, worker: int) -> bool:
        """Whether it is loaded, or known not to be."""
        return bool(self._texts.read(worker))

    def is_ready(self, worker: int) -> bool:
        """Whether it is loaded."""
        return self._texts.read(worker) == READY

    def leaves_to_others(self, worker: int) -> bool:
        """Whether a worker that replaces another may wait for its model, since others are there meanwhile."""
        others = (self.is_ready(other) for other in range(self.workers) if other != worker)
        return self.have_begun and not self.is_ready(worker) and any(others)

    @property
    def have_begun(self) -> bool:
        """Whether the model has been loaded in all workers at a time."""
        return self.is_ready(self.workers)

    @property
    def error(self) -> str | None:
        """Why it is not loaded in one of them; None: nothing is known against any."""
        texts = map(self._texts.read, range(self.workers))
        return next((text.decode(errors="replace") for text in texts if text not in (b"", READY)), None)
