"""Reads FlatBuffers that may be damaged: every offset and length is looked at before it is followed.

Google's package flatbuffers has no such look, and what it generates for .tflite files comes with TensorFlow alone,
which takes seconds to import; the few tables that are wanted here take fewer lines than either would.
"""

import struct
from typing import Any


class Damaged(ValueError):
    """The bytes say something that cannot be."""


class Buffer:
    """The bytes of a file.

    Attributes:
        data: all of them.
        allowance: how many more elements of vectors may be read. A whole file has fewer than bytes; a damaged one may
            have thousands of tables share one vector.
    """

    def __init__(self, data: bytes):
        self.data, self.allowance = data, len(data)

    def unpack(self, form: str, place: int, count: int = 1) -> tuple:
        """Reads numbers of one kind, little-endian; raises `Damaged` beyond the end."""
        size = struct.calcsize(f"<{form}") * count
        if not 0 <= place <= len(self.data) - size:
            raise Damaged(f"it points to byte {place:,} of {len(self.data):,}")
        return struct.unpack_from(f"<{count}{form}", self.data, place)

    def root(self) -> "Table":
        """The table that the file begins with."""
        return Table(self, self.unpack("I", 0)[0])


class Table:
    """A table: fields by their slot, of which any may be left out."""

    def __init__(self, buffer: Buffer, place: int):
        self.buffer, self.place = buffer, place
        fields = place - buffer.unpack("i", place)[0]
        size = buffer.unpack("H", fields)[0]
        self.offsets = buffer.unpack("H", fields + 4, max(0, size // 2 - 2))

    def find(self, slot: int) -> int | None:
        """Where a field lies; None: it is left out."""
        offset = self.offsets[slot] if slot < len(self.offsets) else 0
        return self.place + offset if offset else None

    def number(self, slot: int, form: str, default: float = 0) -> Any:
        """A number, bool or float."""
        place = self.find(slot)
        return default if place is None else self.buffer.unpack(form, place)[0]

    def follow(self, slot: int) -> int | None:
        """Where what a field points to lies."""
        place = self.find(slot)
        return None if place is None else place + self.buffer.unpack("I", place)[0]

    def table(self, slot: int) -> "Table | None":
        """A table within this one."""
        place = self.follow(slot)
        return None if place is None else Table(self.buffer, place)

    def numbers(self, slot: int, form: str) -> tuple:
        """A vector of numbers."""
        place, count = self.measure(slot)
        self.spend(count)
        return self.buffer.unpack(form, place, count)

    def tables(self, slot: int) -> list["Table"]:
        """A vector of tables."""
        place, count = self.measure(slot)
        self.spend(count)
        offsets = self.buffer.unpack("I", place, count)
        return [Table(self.buffer, place + 4 * index + offset) for index, offset in enumerate(offsets)]

    def text(self, slot: int) -> str:
        """A string; bytes that are no UTF-8 are shown as such."""
        return self.content(slot).decode(errors="backslashreplace")

    def content(self, slot: int, most: int = 1024) -> bytes:
        """The first bytes of a vector of bytes."""
        return bytes(self.view(slot)[:most])

    def view(self, slot: int) -> memoryview:
        """A vector of bytes, which is not copied."""
        place, count = self.measure(slot)
        self.buffer.unpack("B", place + max(count, 1) - 1)  # its end, too
        return memoryview(self.buffer.data)[place : place + count]

    def measure(self, slot: int) -> tuple[int, int]:
        """Where the elements of a vector lie, and how many they are."""
        place = self.follow(slot)
        return (0, 0) if place is None else (place + 4, self.buffer.unpack("I", place)[0])

    def spend(self, count: int) -> None:
        """Counts elements that are about to be read."""
        self.buffer.allowance -= count
        if self.buffer.allowance < 0:
            raise Damaged(f"it names more elements than its {len(self.buffer.data):,} bytes can hold")
