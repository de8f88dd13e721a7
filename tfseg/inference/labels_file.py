"""labels.json, which lies in every exported model and every run: classes, colours, and how the model was validated."""

import json
from pathlib import Path

import numpy as np

from tfseg.inference.image_segmenter import Size


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
        entries = json.loads(path.read_text(encoding="utf-8"))["classes"]
        ids = [entry["id"] for entry in entries]
        names = [str(entry["name"]) for entry in entries]
        colors = np.array([entry["color"] for entry in entries])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no list of classes with id, name and color: {error!r}") from None
    if not ids or ids != list(range(len(ids))):
        raise ValueError(f"{path}: expected the ids 0, 1, 2 and so on, got {ids}")
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
    sizes = json.loads(path.read_text(encoding="utf-8")).get("resize")
    if sizes is None:
        return None
    if not isinstance(sizes, list) or not all(map(_is_size, sizes)):
        raise ValueError(f"{path}: resize: expected a list of [height, width], got {json.dumps(sizes)[:100]}")
    return [(height, width) for height, width in sizes]


def _is_size(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and all(type(side) is int and side > 0 for side in entry)


def learns_void(path: Path) -> bool:
    """Reads whether void is a class that the network learned, and that counts in its scores."""
    return json.loads(path.read_text(encoding="utf-8")).get("learn_void", False) is True
