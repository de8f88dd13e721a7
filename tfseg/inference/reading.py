"""Image files -> pixels, by the one decoder of the project, with errors that name the file."""

from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import Size
from tfseg.io import channels, images
from tfseg.io.escaping import printable
from tfseg.io.image_headers import TooLarge
from tfseg.io.listing import check_readable
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.io.regular_files import read_file, read_start

START = 2**20  # bytes that hold the head of an image; not of a TIFF, whose head may come last


def read_image(path: str | Path, pixels: PixelFormat = RGB) -> np.ndarray:
    """Reads an image file, turned upright as its EXIF data say.

    Args:
        path: of the file.
        pixels: what the image is to be: that of the model which sees it.

    Returns:
        (H, W, channels) uint8.

    Raises:
        TooLarge, ValueError: as of `io.channels`; the message begins with the path.
        OSError: the file cannot be read.
    """
    return decode_image(read_file(path), printable(path), pixels)


def read_input(path: Path, pixels: PixelFormat = RGB) -> np.ndarray:
    """Does what `read_image` does, and first refuses what is no file, which might never end, as of `check_readable`."""
    check_readable(path)
    return read_image(path, pixels)


def decode_image(content: bytes, name: str, pixels: PixelFormat = RGB) -> np.ndarray:
    """Does what `read_image` does for the content of a file; `name` stands in its errors."""
    try:
        return channels.decode_image(content, pixels)
    except TooLarge as error:
        raise TooLarge(f"{name} {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def read_size(path: Path) -> Size | None:
    """Reads (height, width) of the upright image from its header; None if there is none that can be read."""
    try:
        start = read_start(path, START)
        return images.read_upright_size(read_file(path) if images.format_of(start) == "TIFF" else start)
    except (ValueError, OSError):  # it is named when the file is read whole
        return None
