"""Images and masks as records store them: encoded, packed or plain, whole or in tiles."""

import math
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from tfseg.io import channels as image_channels
from tfseg.io.image_headers import (
    DAMAGED,
    JPEG_LIMIT,
    JPEG_SIGNATURE,
    PNG_SIGNATURE,
    read_jpeg_frame,
    read_png_head,
)
from tfseg.io.masks import decode_mask
from tfseg.io.pixel_formats import RGB, PixelFormat

# Codec -> channels that its files hold; raw holds any.
CODEC_CHANNELS = {"jpeg": (1, 3), "png": (1, 3, 4)}
LONGEST_SIDE = {".jpg": 65_500, ".png": 1_000_000}  # of the files that can be written


def encode_image(image: np.ndarray, codec: str, quality: int | None) -> bytes:
    """Encodes (H, W, channels) uint8 as "jpeg" of a quality in 1..100, as "png", or as "raw", its plain bytes.

    Raises:
        ValueError: it is larger than such a file can be, or of more channels, see `CODEC_CHANNELS`.
    """
    if codec == "raw":
        return image.tobytes()
    count = image.shape[2]
    if count not in CODEC_CHANNELS[codec]:
        raise ValueError(f"has {count} channels, which {codec} does not hold; take --codec raw")
    turned = {1: cv2.COLOR_GRAY2BGR, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[count]
    ordered = image if count == 1 else cv2.cvtColor(image, turned)
    if codec == "png":
        return _encode(".png", ordered)
    if quality is None:
        raise ValueError("expected a quality for JPEG, got None")
    if count == 1:
        return _encode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality])
    # Colour at full resolution (4:4:4): the usual half blurs it across the thin poles and signs.
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return _encode(".jpg", ordered, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])


def _encode(ending: str, array: np.ndarray, options: Sequence[int] = ()) -> bytes:
    if max(array.shape[:2]) > LONGEST_SIDE[ending]:  # OpenCV would write lines of its own about it
        kind, size = {".jpg": "JPEG", ".png": "PNG"}[ending], "x".join(map(str, array.shape[:2]))
        advice = "take --codec png, or a smaller --size" if ending == ".jpg" else "take a smaller --size"
        raise ValueError(f"is {size}, and a {kind} file has at most {LONGEST_SIDE[ending]:,} pixels a side; {advice}")
    return cv2.imencode(ending, array, [*options])[1].tobytes()


def encode_mask(mask: np.ndarray) -> bytes:
    """Encodes (H, W) uint8 as a grey PNG."""
    # A mask is areas of one value: each row less the one above is nearly all zero, and runs of zeros pack best. Of all
    # filters and strategies of PNG this is the smallest, and a fifth slower than the fastest.
    filtering = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)
    packing = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return _encode(".png", mask, [*filtering, *packing])


def pack_mask(mask: np.ndarray) -> bytes:
    """Packs (H, W) uint8 for training: zlib, which TensorFlow unpacks in half of the time that a PNG takes."""
    # Of all levels this one is the fastest both ways; the smallest, 9, saves half of 5 % of a record for 15 times the
    # work.
    return zlib.compress(mask.tobytes(), 3)


def unpack_mask(data: bytes | memoryview, height: int, width: int) -> np.ndarray:
    """Unpacks what `pack_mask` made of a mask of a height, or decodes a PNG, as (height, W) uint8.

    Args:
        data: packed.
        height: of the mask.
        width: that it has at most; nothing more is unpacked, however much a few bytes may stand for.

    Raises:
        ValueError: the data are damaged, do not fill rows, or are of more pixels.
    """
    if data[: len(PNG_SIGNATURE)] == PNG_SIGNATURE:
        data = bytes(data)
        _check_size("a mask", read_file_size(data), (height, width))
        return decode_mask(data)
    unpacking = zlib.decompressobj()
    try:
        pixels = unpacking.decompress(data, height * width + 1)
    except zlib.error:
        pixels = b""
    if len(pixels) > height * width:
        raise ValueError(f"has a mask of more than {height}x{width}")
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"has a mask that is cut short or damaged ({len(data)} bytes)")
    return as_rows(pixels, height)


def as_rows(data: bytes | memoryview, height: int, *channels: int) -> np.ndarray:
    """Takes plain bytes as (height, W, *channels) uint8, without a copy.

    Raises:
        ValueError: they do not fill rows.
    """
    row = height * math.prod(channels)
    if not row or len(data) % row:
        raise ValueError(f"has {len(data)} raw bytes, which do not fill {height} rows")
    return np.frombuffer(data, np.uint8).reshape(height, -1, *channels)


def cut_tiles(array: np.ndarray, width: int | None, pad: bool = False) -> list[np.ndarray]:
    """Cuts (H, W, ...) into tiles of a width, from left to right; None: one tile.

    The last is as wide as it comes, or is padded with zeros.
    """
    if width is None:
        return [array]
    if pad:
        missing = -array.shape[1] % width
        array = np.pad(array, [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2))
    return [np.ascontiguousarray(array[:, left : left + width]) for left in range(0, array.shape[1], width)]


def as_grey_png(mask: np.ndarray, file: bytes) -> bytes:
    """Gives the file that a mask was decoded from, if it is a plain 8-bit grey PNG, or encodes the mask as one."""
    png = read_png_head(file)
    return file if (png.depth, png.color) == (8, "grey") and png.plain else encode_mask(mask)


def decode_stored_image(data: bytes, codec: str, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Decodes what `encode_image` made of an image of a height, as (height, W, channels) uint8, as it is stored.

    Args:
        data: encoded.
        codec: as of `encode_image`.
        height: of the image.
        width: that it has at most; nothing larger is decoded.
        channels: of the image; a grey file is taken as RGB, too.

    Raises:
        ValueError: the data are damaged, of more pixels or other channels, or for "raw" do not fill rows.
    """
    if codec == "raw":
        return as_rows(data, height, channels)
    _check_size("an image", read_file_size(data), (height, width))
    if channels != RGB.channels and (kind := image_channels.read_kind(data)).channels != channels:
        raise ValueError(f"has an image that is {kind}, expected {PixelFormat(channels)}")
    return image_channels.decode_image(data, PixelFormat(channels), upright=False)


def read_file_size(data: bytes) -> tuple[int, int]:
    """Reads height and width of a PNG or JPEG file.

    Raises:
        ValueError: it is neither, is damaged before its pixels, or too short for so many.
    """
    if data.startswith(PNG_SIGNATURE):
        png = read_png_head(data)
        return png.height, png.width
    if not data.startswith(JPEG_SIGNATURE):
        raise ValueError(f"is no PNG or JPEG image ({len(data)} bytes)")
    height, width, _ = read_jpeg_frame(data)
    if not height or not width or height * width > JPEG_LIMIT * len(data):
        raise ValueError(DAMAGED.format(len(data)))
    return height, width


def _check_size(what: str, size: tuple[int, int], most: tuple[int, int]) -> None:
    if size[0] > most[0] or size[1] > most[1]:
        raise ValueError("has {} of {}x{}, expected at most {}x{}".format(what, *size, *most))


def channel_sums(image: np.ndarray) -> tuple[list[int], list[int]]:
    """Sums the values and their squares in each channel of an image (H, W, channels) uint8, exactly."""
    pixels = image.shape[0] * image.shape[1]
    parts = [image[..., first : first + 4] for first in range(0, image.shape[2], 4)]  # OpenCV takes four at a time
    measured = [cv2.meanStdDev(np.ascontiguousarray(part)) for part in parts]
    mean, deviation = (np.concatenate(arrays)[:, 0] for arrays in zip(*measured, strict=True))
    # OpenCV makes its means of whole numbers, in float64, which holds these sums to far below 1.
    return [round(value) for value in mean * pixels], [round(value) for value in (deviation**2 + mean**2) * pixels]
