"""TIFF files of 8 or 16 bits and any number of channels, pixels exactly as they are stored.

Pillow reads neither 16 bits in colour nor more than four channels. But what compresses a TIFF without loss works on
bytes: a strip of pixels is as well one of a grey image that is as many times as wide as a pixel has bytes. So Pillow
unpacks strips and tiles as such images, and their bytes are taken for what they are here.
"""

import io
import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfseg.io.image_containers import TYPE_SIZES, Entries, Order, read_directory, read_head
from tfseg.io.image_headers import DAMAGED, MOST_PIXELS, TooLarge, byte_order
from tfseg.io.pixel_formats import MOST_CHANNELS

MOST_BYTES = 3 * MOST_PIXELS  # of an image that is decoded, as of one in RGB
PIECE = 2**26  # bytes that Pillow unpacks at a time; of more than 178 million it takes fright
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIPS, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_NONE = 1
# Values of the tag of compression that work on bytes: none, LZW, Deflate, PackBits, LZMA, Zstandard.
BYTEWISE = frozenset({_NONE, 5, 8, 32946, 32773, 34925, 50000})
WHITE_IS_ZERO, BLACK_IS_ZERO, COLORED = 0, 1, 2  # values of photometric interpretation
ALPHA = (1, 2)  # of ExtraSamples
_UNSIGNED, _PLANES, _DIFFERENCES = 1, 2, 2  # of SampleFormat, PlanarConfiguration, Predictor


class Tiff(NamedTuple):
    """How the pixels of a TIFF are stored."""

    width: int
    height: int
    bits: int  # a channel; 0: not all have as many
    samples: int  # channels
    photometric: int
    extras: tuple[int, ...]  # what the channels are that are no colours; 0 says nothing
    numbers: int  # SampleFormat: 1 unsigned, 2 signed, 3 floats
    compression: int
    predictor: int
    is_planar: bool  # one channel after the other
    is_tiled: bool  # else in strips
    piece: tuple[int, int]  # (height, width) of a strip or a tile
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]  # bytes of each piece
    order: Order


def read_tiff(data: bytes) -> Tiff:
    """Reads how the pixels of a TIFF are stored, which `read_head` must have accepted.

    Raises:
        TooLarge, ValueError: as of `read_head`, or the directory contradicts itself.
    """
    head = read_head(data)
    order = byte_order(data[:4])
    if order is None:
        raise ValueError(DAMAGED.format(len(data)))
    entries = read_directory(data, int.from_bytes(data[4:8], order), order)

    def values(tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        return _read_values(data, entries, tag, order) or default

    samples = values(_SAMPLES, (1,))[0]
    bits = values(_BITS, (1,))
    numbers = values(_FORMAT, (_UNSIGNED,))
    is_tiled = _TILES in entries
    height = values(_TILE_HEIGHT, (0,))[0] if is_tiled else min(values(_ROWS, (head.height,))[0], head.height)
    width = values(_TILE_WIDTH, (0,))[0] if is_tiled else head.width
    if not 1 <= samples <= MOST_CHANNELS or min(height, width) < 1:
        raise ValueError(DAMAGED.format(len(data)))
    if values(_FILL_ORDER, (1,))[0] != 1:
        raise ValueError("is a TIFF file whose bits are in reversed order; save it anew")
    return Tiff(
        head.width,
        head.height,
        bits[0] if len({*bits}) == 1 else 0,
        samples,
        values(_PHOTOMETRIC, (BLACK_IS_ZERO,))[0],
        values(_EXTRA),
        numbers[0] if len({*numbers}) == 1 else 0,
        values(_COMPRESSION, (_NONE,))[0],
        values(_PREDICTOR, (1,))[0],
        values(_PLANAR, (1,))[0] == _PLANES and samples > 1,
        is_tiled,
        (height, width),
        values(_TILES if is_tiled else _STRIPS),
        values(_TILE_BYTES if is_tiled else _STRIP_BYTES),
        order,
    )


def _read_values(data: bytes, entries: Entries, tag: int, order: Order) -> tuple[int, ...]:
    """The values of a tag of whole numbers, wherever they lie; none if it is not there."""
    kind, count, value = entries.get(tag, (0, 0, b""))
    if kind not in (1, 3, 4):
        return ()
    size = TYPE_SIZES[kind]
    start = int.from_bytes(value, order)
    held = value if size * count <= 4 else data[start : start + size * count]
    if len(held) < size * count:
        raise ValueError(DAMAGED.format(len(data)))
    kinds = np.dtype(f"{'<' if order == 'little' else '>'}u{size}")
    return tuple(np.frombuffer(held, kinds, count).tolist())


def is_exact(tiff: Tiff) -> bool:
    """Whether `decode_tiff` reads such a file: others are of few bits, have palettes, or were compressed with loss."""
    return (
        tiff.bits in (8, 16)
        and tiff.numbers == _UNSIGNED
        and tiff.compression in BYTEWISE
        and tiff.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, COLORED)
    )


def decode_tiff(data: bytes) -> np.ndarray:
    """Decodes a TIFF of which `is_exact` holds, as it is stored: not turned.

    Returns:
        (H, W, samples), uint8 or uint16.

    Raises:
        TooLarge: it would take too much to decode.
        ValueError: it is damaged.
    """
    tiff = read_tiff(data)
    planes = tiff.samples if tiff.is_planar else 1
    channels, size = tiff.samples // planes, tiff.bits // 8
    down, across = (math.ceil(side / part) for side, part in zip((tiff.height, tiff.width), tiff.piece, strict=True))
    if tiff.height * tiff.width * tiff.samples * size > MOST_BYTES:
        raise TooLarge(f"has more than {MOST_BYTES:,} bytes of pixels; cut it into tiles first")
    if len(tiff.offsets) != planes * down * across or len(tiff.sizes) != len(tiff.offsets):
        raise ValueError(DAMAGED.format(len(data)))
    pixels = np.empty((tiff.height, tiff.width, tiff.samples), np.dtype(f"u{size}"))
    for plane in range(planes):
        first = plane * down * across
        shown = slice(plane, plane + 1) if tiff.is_planar else slice(None)
        for row in range(0, down, _rows_at_a_time(tiff, channels * size)):
            rows = min(_rows_at_a_time(tiff, channels * size), down - row)
            top = row * tiff.piece[0]
            height = min(rows * tiff.piece[0], tiff.height - top)
            pieces = range(first + row * across, first + (row + rows) * across)
            unpacked = _unpack(data, tiff, pieces, height, channels * size)
            stored = unpacked.view(f"{'<' if tiff.order == 'little' else '>'}u{size}")
            pixels[top : top + height, :, shown] = stored.reshape(height, tiff.width, channels)
    if tiff.predictor == _DIFFERENCES:
        _sum_differences(pixels, tiff.piece[1])
    elif tiff.predictor != 1:
        raise ValueError(f"is a TIFF file of the predictor {tiff.predictor}; save it anew without one")
    return np.iinfo(pixels.dtype).max - pixels if tiff.photometric == WHITE_IS_ZERO else pixels


def _rows_at_a_time(tiff: Tiff, pixel: int) -> int:
    """How many strips, or rows of tiles, of pixels of so many bytes are unpacked at once."""
    return max(PIECE // (tiff.piece[0] * max(tiff.width, tiff.piece[1]) * pixel), 1)


def _unpack(data: bytes, tiff: Tiff, pieces: range, height: int, pixel: int) -> np.ndarray:
    """Unpacks strips or tiles that lie below each other, of pixels of so many bytes: uint8 (height, width * pixel)."""
    parts = [data[tiff.offsets[place] : tiff.offsets[place] + tiff.sizes[place]] for place in pieces]
    if any(len(part) < tiff.sizes[place] for part, place in zip(parts, pieces, strict=True)):
        raise ValueError(DAMAGED.format(len(data)))
    width = tiff.width * pixel
    if tiff.compression == _NONE and not tiff.is_tiled:
        content = b"".join(parts)
        if len(content) < height * width:
            raise ValueError(DAMAGED.format(len(data)))
        return np.frombuffer(content, np.uint8, height * width).reshape(height, width)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large size, which was held against the file's
            with Image.open(io.BytesIO(_as_grey(tiff, parts, height, pixel)), formats=("TIFF",)) as image:
                return np.array(image)
    except Image.DecompressionBombError:
        raise TooLarge("is packed in one piece of more than is unpacked; save it in tiles or strips") from None
    except MemoryError:
        raise
    except Exception:  # of many kinds, by what in the file is broken
        raise ValueError(DAMAGED.format(len(data))) from None


def _as_grey(tiff: Tiff, parts: list[bytes], height: int, pixel: int) -> bytes:
    """Makes a TIFF of one grey channel of 8 bits of the packed strips or tiles of another."""
    head, place, offsets = b"II*\0", 8, []
    for part in parts:
        offsets.append(place)
        place += len(part)
    sizes = [len(part) for part in parts]
    tags = {_WIDTH: [tiff.width * pixel], _HEIGHT: [height], _BITS: [8], _COMPRESSION: [tiff.compression]}
    tags |= {_PHOTOMETRIC: [BLACK_IS_ZERO], _SAMPLES: [1]}
    if tiff.is_tiled:
        tags |= {_TILE_WIDTH: [tiff.piece[1] * pixel], _TILE_HEIGHT: [tiff.piece[0]]}
        tags |= {_TILES: offsets, _TILE_BYTES: sizes}
    else:
        tags |= {_STRIPS: offsets, _ROWS: [tiff.piece[0]], _STRIP_BYTES: sizes}
    place += place % 2  # a directory begins at an even place
    directory = b"".join(_entries(tags, place + 6 + 12 * len(tags)))
    body = b"".join(parts)
    return head + place.to_bytes(4, "little") + body + bytes(place - 8 - len(body)) + directory


def _entries(tags: dict[int, list[int]], beyond: int) -> Iterator[bytes]:
    """A directory of whole numbers of four bytes; what does not fit lies behind it, from a place on."""
    yield len(tags).to_bytes(2, "little")
    more = b""
    for tag, values in sorted(tags.items()):
        held = np.array(values, "<u4").tobytes()
        if len(values) > 1:
            held, more = (beyond + len(more)).to_bytes(4, "little"), more + held
        yield tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + len(values).to_bytes(4, "little") + held
    yield bytes(4) + more


def _sum_differences(pixels: np.ndarray, width: int) -> None:
    """Makes values, in place, of differences along rows, which begin anew in each strip or tile of a width."""
    for left in range(0, pixels.shape[1], width):
        piece = pixels[:, left : left + width]
        np.cumsum(piece, axis=1, dtype=pixels.dtype, out=piece)
