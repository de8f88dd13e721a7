"""labels.json, which lies in every exported model and every run: classes, colours, and how the model was validated."""

import json
from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import Size
from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import read_json
from tfseg.io.pixel_formats import RGB, PixelFormat, make_format

LARGEST = 2**20  # bytes; 256 classes take 30,000
MOST_SIDE = 2**16  # pixels to which an image may be resized


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads the classes.

    Returns:
        The C names, and (C, 3) uint8 RGB colours, in the order of the ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or its classes are not ids 0, 1, 2 ... with a name and an RGB colour each.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected a folder written by tfseg train or tfseg export")
    try:
        entries = read_json(path, LARGEST)["classes"]  # pyright: ignore[reportIndexIssue]  which is caught
        ids = [entry["id"] for entry in entries]
        names = [str(entry["name"]) for entry in entries]
        colors = np.array([entry["color"] for entry in entries])
    except (ValueError, KeyError, TypeError) as error:
        reason = shorten(repr(error))
        raise ValueError(f"{printable(path)} is no list of classes with id, name and color: {reason}") from None
    if not ids or len(ids) > 256 or ids != list(range(len(ids))):
        raise ValueError(f"{printable(path)}: expected the ids 0, 1, 2 and so on, got {shorten(ids)}")
    if colors.shape != (len(ids), 3) or colors.dtype.kind != "i" or colors.min() < 0 or colors.max() > 255:
        raise ValueError(f"{path}: expected each color as three integers in 0..255")
    return names, colors.astype(np.uint8)


def read_sizes(path: Path) -> list[Size] | None:
    """Reads the sizes to which images are resized, one after the other; None where the file names none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or the sizes are not pairs of whole numbers above 0.
    """
    read_labels(path)  # its errors say what is wrong with a damaged file
    sizes = _read(path).get("resize")
    if sizes is None:
        return None
    if not isinstance(sizes, list) or not all(map(_is_size, sizes)):
        raise ValueError(f"{path}: resize: expected a list of [height, width], got {json.dumps(sizes)[:100]}")
    return [(height, width) for height, width in sizes]


def _is_size(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == 2
        and all(type(side) is int and 0 < side <= MOST_SIDE for side in entry)
    )


def read_pixels(path: Path) -> PixelFormat:
    """Reads what the images are that the model was trained on; 8-bit RGB where the file says nothing else.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or says what no image is.
    """
    read_labels(path)  # its errors say what is wrong with a damaged file
    content = _read(path)
    try:
        return make_format(content.get("channels", RGB.channels), content.get("value_range"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def learns_void(path: Path) -> bool:
    """Reads whether void is a class that the network learned, and that counts in its scores."""
    return _read(path).get("learn_void", False) is True


def _read(path: Path) -> dict:
    content = read_json(path, LARGEST)
    return content if isinstance(content, dict) else {}
