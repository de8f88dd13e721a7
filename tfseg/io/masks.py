"""Mask files -> arrays of their values, and masks of another size.

What a decoder would mend in silence is refused: a mask whose values would become colours. Errors say what is wrong and
leave it to the caller to say where.
"""

from typing import NamedTuple

import cv2
import numpy as np

from tfseg.io.image_headers import PNG_END, PNG_SIGNATURE, check_png, read_png_head
from tfseg.io.images import decode_plain_png
from tfseg.io.rasters import decode_indexes

MEAN_RUN = 16  # pixels of one value in a row, from which on a mask is counted by its runs


class Mask(NamedTuple):
    """What a file of a mask holds."""

    values: np.ndarray  # (H, W) uint8, the raw values
    kind: str  # of MASK_KINDS
    colors: dict[int, tuple[int, int, int]]  # RGB of the entries of a palette that pixels have
    palette: bytes = b""  # all of its entries, three bytes each
    greys: np.ndarray | None = None  # (H, W) uint8, the other reading of a palette of which only greys are used


GREY, GREYS, COLORS = MASK_KINDS = ("grey", "palette of greys", "palette of colours")


def decode_mask(data: bytes) -> np.ndarray:
    """Decodes a grey or palette PNG file as (H, W) uint8 raw values; see `read_mask`.

    Raises:
        ValueError: it is damaged, cut short, no PNG, or of a kind whose values are not those of a mask.
    """
    return read_mask(data).values


def read_mask(data: bytes) -> Mask:
    """Decodes a grey or palette PNG file of a mask.

    The values of a palette of nothing but greys are the greys: any program that makes files smaller writes a grey
    image so, and numbers the greys as it likes. Greys of 1, 2 or 4 bits are read as all programs show them: the
    white of 1 bit is 255. Of a palette with colours the values are the indexes.

    Raises:
        ValueError: it is damaged, cut short, no PNG, or of a kind whose values are not those of a mask.
    """
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"is no PNG file ({len(data)} bytes); a mask must be one, since JPEG changes its values")
    png = read_png_head(data)
    if (png.depth, png.color) == (8, "grey") and png.plain and data.endswith(PNG_END):
        check_png(data, but=b"IDAT")  # whose checksums fail where it is decoded
        return Mask(decode_plain_png(data, png), GREY, {})
    if png.color != "palette" and (png.color != "grey" or png.depth > 8):
        hint = {"16-bit grey": ", perhaps an *_instanceIds.png", "8-bit RGBA": ", perhaps a *_color.png"}
        kind = f"{png.depth}-bit {png.color}"
        raise ValueError(f"is {kind}{hint.get(kind, '')}; a mask must be an 8-bit grey or palette PNG")
    check_png(data)
    values, palette = decode_indexes(data, png)
    return Mask(values, GREY, {}) if png.color != "palette" else read_palette(values, palette)


def decode_instances(data: bytes) -> np.ndarray:
    """Decodes a grey PNG file of 16 bits or less, such as Cityscapes' instance ids, as (H, W) int32.

    Raises:
        ValueError: it is damaged, cut short, or no such PNG.
    """
    if not data.startswith(PNG_SIGNATURE) or (png := read_png_head(data)).color != "grey":
        raise ValueError("is no grey PNG file, as instance ids are")
    check_png(data)
    return decode_indexes(data, png, keep=True)[0].astype(np.int32)


def read_palette(indexes: np.ndarray, palette: bytes) -> Mask:
    """Reads the indexes of a palette, (H, W) uint8, by the rule of `read_mask`; `palette` has three bytes an entry."""
    table = np.frombuffer(palette[: len(palette) // 3 * 3], np.uint8).reshape(-1, 3)
    used = np.flatnonzero(count_values(indexes))
    there = used[used < len(table)]  # a palette of the classes alone may well end before 255, which stands for void
    colors = {int(index): tuple(table[index].tolist()) for index in there}
    are_grey = (table == table[:, :1]).all(axis=1)
    if not are_grey[there].all():
        return Mask(indexes, COLORS, colors, palette)
    greys = None
    if len(there) == len(used):
        greys = cv2.LUT(indexes, np.resize(table[:, 0], 256))
    elif len(table) and not are_grey.all():
        return Mask(indexes, COLORS, colors, palette)
    elif not len(there) or (table[there, 0] != there).any():
        raise ValueError(
            f"has pixels of entry {used[-1]} of its palette of greys, which has {len(table)} entries; save it anew"
        )
    else:
        greys = indexes  # each grey stands at its own index
    return Mask(greys, GREYS, colors, palette) if are_grey.all() else Mask(indexes, COLORS, colors, palette, greys)


def count_values(mask: np.ndarray) -> np.ndarray:
    """Counts the values of a mask (H, W) uint8: (256,) int64."""
    values = mask.ravel()
    changes = values[1:] != values[:-1]
    if len(values) < MEAN_RUN * np.count_nonzero(changes):
        if len(values) > 2**24:  # OpenCV counts in float32
            return np.bincount(values, minlength=256)
        return cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    # Most masks are areas of one value: to count by runs takes half of the time.
    starts = np.concatenate([np.zeros(min(len(values), 1), np.int64), np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=len(values))
    return np.bincount(values[starts], lengths, 256).astype(np.int64)  # float64 holds whole numbers to 2**53


def resize_nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a mask (H, W) uint8 to (height, width): of each cell the value in its middle."""
    # The exact kind of nearest: the plain one is off by half a pixel against the image.
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def resize_majority(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a mask (H, W) uint8 to (height, width): of each cell the value that covers most of it.

    Of two that cover the same, the lower value. A mask that grows in a direction is resized by `resize_nearest`.
    """
    height, width = size
    if height > mask.shape[0] or width > mask.shape[1]:
        return resize_nearest(mask, size)
    result, most = np.zeros(size, np.uint8), np.full(size, -1, np.int16)
    for value in np.unique(mask):
        # 255 where it is, else 0.
        present = cv2.compare(mask, float(value), cv2.CMP_EQ)  # pyright: ignore  the stub lacks numbers
        area = cv2.resize(present, (width, height), interpolation=cv2.INTER_AREA)
        result[area > most] = value
        most = np.maximum(most, area)
    return result
