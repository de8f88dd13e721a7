"""Small masks inside of a file of annotations: PNG files written as text."""

import base64
import binascii
import io
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfseg.annotations.shapes import Size
from tfseg.io.image_headers import PNG_SIGNATURE, check_png, keep_pixels, read_png_head

SPARE_BYTES = 2**16  # of a PNG, beside its pixels


class Bitmap(NamedTuple):
    """A mask of a part of an image."""

    text: str  # base64 of a PNG, or of zlib of one
    left: int  # the column, and the row, of the image that its first pixel covers
    top: int
    may_reach_out: bool  # what lies outside the image is left out, rather than an error

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the bitmap covers."""
        height, width = mask.shape
        inside = decode_bitmap(self.text, mask.shape)
        bottom, right = self.top + inside.shape[0], self.left + inside.shape[1]
        if not self.may_reach_out and (min(self.left, self.top) < 0 or bottom > height or right > width):
            raise ValueError(
                f"has a bitmap over the columns {self.left} to {right - 1} and the rows {self.top} to {bottom - 1}, "
                f"which reach out of an image of {height}x{width}; was it annotated on another image?"
            )
        # Of the image, which a bitmap may as well lie beside.
        rows = slice(*np.clip((self.top, bottom), 0, height).tolist())
        columns = slice(*np.clip((self.left, right), 0, width).tolist())
        part = inside[
            rows.start - self.top : rows.stop - self.top, columns.start - self.left : columns.stop - self.left
        ]
        mask[rows, columns][part] = value


def decode_bitmap(text: str, size: Size) -> np.ndarray:
    """Decodes the text of a bitmap.

    Args:
        text: base64 of a PNG file, or of zlib of one. Grey pixels cover something where they are not black; of a PNG
            with colours and an alpha channel, or a palette with a transparent colour, all that is not transparent.
        size: height and width of the image; nothing of more than twice as much a side is decoded.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: it is damaged, too large, or of a kind of which nobody knows what covers something.
    """
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"has a bitmap that is no base64 ({len(text):,} letters)") from None
    is_packed = not data.startswith(PNG_SIGNATURE)
    if is_packed:
        data = _unpack(data, size)
    if not data.startswith(PNG_SIGNATURE):
        raise ValueError(f"has a bitmap that is no PNG ({len(data):,} bytes)")
    try:
        return _decode_png(data, size, is_packed)
    except ValueError as error:
        raise ValueError(f"has a bitmap that {error}") from None


def _unpack(data: bytes, size: Size) -> bytes:
    most = 4 * 5 * size[0] * size[1] + SPARE_BYTES  # 4 times the image's pixels, of four channels and some
    unpacking = zlib.decompressobj()
    try:
        unpacked = unpacking.decompress(data, most)
    except zlib.error:
        raise ValueError(f"has a bitmap that is neither a PNG nor zlib ({len(data):,} bytes)") from None
    if len(unpacked) >= most:
        raise ValueError(f"has a bitmap that unpacks to more than an image of {size[0]}x{size[1]} takes")
    if not unpacking.eof:
        raise ValueError(f"has a bitmap that is cut short ({len(data):,} bytes)")
    return unpacked


def _decode_png(data: bytes, size: Size, by_alpha: bool) -> np.ndarray:
    """Which pixels of a PNG cover something (H, W) bool; `by_alpha`: black ones that are not transparent do, too."""
    png = read_png_head(data)
    if png.height > 2 * size[0] or png.width > 2 * size[1]:
        raise ValueError(f"is {png.height}x{png.width}, in an image of {size[0]}x{size[1]}")
    if png.depth == 16 or png.color == "RGB" or (png.color == "palette" and not png.transparency):
        raise ValueError(f"is {png.depth}-bit {png.color} without transparency, expected grey or transparent pixels")
    check_png(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a large size, which was held against the image's
            with Image.open(io.BytesIO(keep_pixels(data)), formats=("PNG",)) as image:
                if png.color == "grey":
                    return np.array(image.convert("L")) > 0
                channels = np.array(image.convert("RGBA"))
    except MemoryError:
        raise
    except Exception:  # of many kinds, by what in the file is broken
        raise ValueError(f"is cut short or damaged ({len(data):,} bytes)") from None
    if by_alpha or png.color == "palette":
        return channels[..., 3] > 0
    return np.asarray(channels.any(axis=-1))
