"""Run lengths -> pixels: COCO's, by columns, as a list or as text; and those of Label Studio's brush."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfseg.annotations.shapes import Size, check_size, describe

LONGEST_COUNT = 7  # letters of a count in COCO's text, of five bits each: more than 32 bits
_FEWEST, _LETTERS = ord("0"), 64  # the first letter, and how many there are


class CocoRuns(NamedTuple):
    """The pixels of COCO's run lengths."""

    counts: str | Sequence[object]
    size: Size  # height and width that they are of

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the runs cover."""
        runs = _read_runs(self.counts, self.size, mask.shape)
        height = mask.shape[0]
        # Of the columns that are covered alone, since of many an object these are few.
        left = int(runs[0]) // height
        after = int(runs[-1]) if len(runs) % 2 else 0  # pixels behind the last that is inside
        right = mask.shape[1] - after // height
        if len(runs) < 2 or right <= left:
            return
        runs[0] -= left * height
        runs[-1] -= (after // height) * height
        mask[:, left:right][_expand(runs, height)] = value


def decode_coco_runs(counts: str | Sequence[object], found: Size, size: Size) -> np.ndarray:
    """Decodes COCO's run lengths: pixels outside, inside, outside and so on, column by column.

    Args:
        counts: the numbers, or pycocotools' text of them.
        found: height and width that they were made for.
        size: height and width of the image.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: the sizes differ, the text is none of pycocotools, or the runs do not fill the image exactly.

    Example:
        >>> decode_coco_runs([1, 2, 3], (2, 3), (2, 3)).astype(int)
        array([[0, 1, 0],
               [1, 0, 0]])
    """
    return _expand(_read_runs(counts, found, size), size[0])


def _expand(runs: np.ndarray, height: int) -> np.ndarray:
    """The pixels (height, W) bool of runs (N,) that fill their columns."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(-1, height).T


def _read_runs(counts: str | Sequence[object], found: Size, size: Size) -> np.ndarray:
    """Run lengths (N,) int64, N > 0, that fill an image of a size; see `decode_coco_runs`."""
    check_size(found, size)
    height, width = size
    most = height * width + 1  # runs, of which the first may be empty
    longest = most * (LONGEST_COUNT if isinstance(counts, str) else 1)
    if len(counts) > longest:
        raise ValueError(f"has run lengths of {len(counts):,} entries, more than an image of {height}x{width} takes")
    runs = _parse_text(counts) if isinstance(counts, str) else _parse_numbers(counts)
    if len(runs) and (runs.min() < 0 or runs.max() >= most):
        raise ValueError(f"has a run of {runs[(runs < 0) | (runs >= most)][0]} pixels in an image of {height}x{width}")
    if (total := int(runs.sum())) != height * width:
        raise ValueError(f"has runs of {total:,} pixels, but {height}x{width} are {height * width:,}; is it cut short?")
    return runs


def _parse_numbers(counts: Sequence[object]) -> np.ndarray:
    if odd := [count for count in counts if type(count) is not int]:
        raise ValueError(f"expected integers as run lengths, got {describe(odd[0])}")
    return np.array(counts, np.int64)


def _parse_text(text: str) -> np.ndarray:
    """Parses text of pycocotools: numbers of 5 bits a letter, the lowest first; from the fourth on, differences.

    Returns:
        (N,) int64.
    """
    letters = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - _FEWEST
    if len(letters) and not 0 <= letters.min() <= letters.max() < _LETTERS:
        raise ValueError("has run lengths with letters that pycocotools does not write; is it compressed otherwise?")
    ends = np.flatnonzero(letters & 0x20 == 0)  # the last letter of each number
    if not len(ends) or ends[-1] != len(letters) - 1:
        raise ValueError("has run lengths that are cut short")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > LONGEST_COUNT:
        raise ValueError("has a run length of more than 32 bits")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(letters)) - np.repeat(starts, lengths))
    numbers = np.add.reduceat((letters & 0x1F) << shifts, starts)
    numbers -= np.where(letters[ends] & 0x10, np.int64(1) << (5 * lengths), 0)  # the highest bit is the sign
    # Each from the fourth on is written as what it has more than the one before the last.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


class BrushRuns(NamedTuple):
    """The pixels of a brush of Label Studio."""

    values: Sequence[object]  # bytes, as numbers

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that are brushed."""
        mask[decode_brush(self.values, mask.shape)] = value


def decode_brush(values: Sequence[object], size: Size) -> np.ndarray:
    """Decodes the run lengths of Label Studio's brush, in the format of @thi.ng/rle-pack.

    They are bits: 32 of the number of values, 5 of the bits of a value less one, four times 4 of the bits of a length
    less one; then blocks. A block has a bit that says whether one value is repeated, 2 of which length it has, the
    length less one, and the value or the values. The values are RGBA, row by row; what is not transparent is brushed.

    Args:
        values: the bytes, each in 0..255.
        size: height and width of the image.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: they are no bytes, cut short, or of more or fewer values than the image has.
    """
    try:
        data = bytes(values)  # pyright: ignore[reportArgumentType]  what else is in it raises TypeError
    except (TypeError, ValueError):
        raise ValueError("expected brush run lengths of integers in 0..255") from None
    bits = _Bits(data)
    count, word = bits.read(32), bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    if count != 4 * size[0] * size[1] or word != 8:
        raise ValueError(
            f"has a brush of {count:,} values of {word} bits, but an image of {size[0]}x{size[1]} has "
            f"{4 * size[0] * size[1]:,} of 8, in RGBA; was it annotated on another image?"
        )
    pixels, done = np.zeros(count, np.uint8), 0
    while done < count:
        is_repeated = bits.read(1)
        length = bits.read(lengths[bits.read(2)]) + 1
        if done + length > count:
            raise ValueError(f"has a brush of more than the {count:,} values that it begins with; is it damaged?")
        pixels[done : done + length] = bits.read(8) if is_repeated else bits.read_bytes(length)
        done += length
    return pixels.reshape(*size, 4)[..., 3] > 0


class _Bits:
    """Bytes, of which bits are read from the highest on."""

    def __init__(self, data: bytes):
        self.data, self.place = data, 0

    def read(self, count: int) -> int:
        """Reads a number of so many bits."""
        end = self.place + count
        if end > 8 * len(self.data):
            raise ValueError(f"has a brush that is cut short, of {len(self.data):,} bytes")
        part = int.from_bytes(self.data[self.place // 8 : -(-end // 8)])
        self.place = end
        return part >> (-end % 8) & ((1 << count) - 1)

    def read_bytes(self, count: int) -> np.ndarray:
        """Reads (count,) uint8."""
        start, shift = self.place // 8, self.place % 8
        end = self.place + 8 * count
        if end > 8 * len(self.data):
            raise ValueError(f"has a brush that is cut short, of {len(self.data):,} bytes")
        self.place = end
        part = np.frombuffer(self.data[start : -(-end // 8)], np.uint8)
        if not shift:
            return part
        return (part[:-1] << shift) | (part[1:] >> (8 - shift))
