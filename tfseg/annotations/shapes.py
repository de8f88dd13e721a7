"""What a file of annotations holds, once it is read: shapes with a label each, in the order in which they are drawn."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np

from tfseg.io.escaping import shorten
from tfseg.io.json_reader import parse_json
from tfseg.io.names import check_text, quote

Size = tuple[int, int]  # height, width

MOST_SHAPES = 50_000  # of an image; each may have to be drawn over all of it
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


class OtherSizeError(ValueError):
    """Annotations are of an image of another size."""


class Geometry(Protocol):
    """The pixels of a shape."""

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the shape covers.

        Raises:
            ValueError: what the file says of the shape is wrong, or lies too far outside the image.
        """
        ...


class Shape(NamedTuple):
    """One object of an image."""

    label: str
    place: str  # in the file, for errors: objects[3], line 4
    geometry: Geometry


class Document(NamedTuple):
    """What a file says of one image."""

    shapes: list[Shape]  # later ones lie over earlier ones
    size: Size | None = None  # of the image; None: the file does not say it
    small_over_large: bool = False  # instead of that, the fewer pixels a shape has, the later it is drawn


class ImageEntry(NamedTuple):
    """What a file of many images says of one of them."""

    file_name: str  # as it is written there; it may lead anywhere, so look it up rather than open it
    size: Size | None  # height and width; None: the file does not say it
    data: bytes  # JSON for `draw_mask`; b"": nobody has annotated the image


def read_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object by the rules of `json_reader`.

    Raises:
        ValueError: it is none, or is broken.
    """
    return as_object(parse_json(data), "the file")


def as_object(value: object, place: str) -> dict[str, Any]:
    """Gives a JSON object back; ValueError for anything else."""
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object, got {describe(value)}")
    return value


def take_list(entry: dict[str, Any], key: str, place: str) -> list[Any]:
    """Takes a list out of a JSON object; ValueError if it is missing or of another kind, or of too many shapes."""
    value = entry.get(key)
    if not isinstance(value, list):
        got = describe(value) if key in entry else "nothing"
        raise ValueError(f"{place}: expected a list as '{key}', got {got}")
    return value


def take_shapes(entry: dict[str, Any], key: str, place: str) -> list[tuple[str, dict[str, Any]]]:
    """Takes the list of the objects of an image out of a JSON object, each with its place in the file."""
    values = take_list(entry, key, place)
    if len(values) > MOST_SHAPES:
        raise ValueError(f"{place}: has {len(values):,} {key}; more than {MOST_SHAPES:,} of one image are not drawn")
    return [(f"{key}[{index}]", as_object(value, f"{key}[{index}]")) for index, value in enumerate(values)]


def take_label(entry: dict[str, Any], key: str, place: str) -> str:
    """Takes the label of a shape out of a JSON object; ValueError if it is no text, or none that fits into a line."""
    return check_label(entry.get(key), place)


def check_label(label: object, place: str) -> str:
    """Gives a label back that is the name of a class; ValueError for anything else."""
    if not isinstance(label, str):
        raise ValueError(f"{place}: expected a label, got {describe(label)}")
    try:
        return check_text(label, "label")
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def find_near(label: str, known: Iterable[str]) -> str | None:
    """Finds a known label that differs by capitals, spaces or marks alone, and is most likely what is meant.

    Example:
        >>> find_near("Traffic light", ["car", "traffic-light"])
        'traffic-light'
    """
    return next((other for other in known if _simplify(other) == _simplify(label)), None)


def _simplify(label: str) -> str:
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())


def take_size(entry: dict[str, Any], height: str, width: str, place: str) -> Size | None:
    """Takes the size of an image out of a JSON object by the names of its height and its width.

    Returns:
        None: both are missing or null.

    Raises:
        ValueError: they are no positive integers.
    """
    values = [entry.get(height), entry.get(width)]
    if values == [None, None]:
        return None
    found = [int(value) for value in values if _is_number(value) and value == int(value) and value > 0]
    if len(found) < 2:
        shown = " and ".join(describe(value) for value in values)
        raise ValueError(f"{place}: expected positive integers as '{height}' and '{width}', got {shown}")
    return found[0], found[1]


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number; true and false, which Python takes for 1 and 0, are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def take_number(entry: dict[str, Any], key: str, place: str) -> float:
    """Takes a finite number out of a JSON object; ValueError if it is missing or of another kind."""
    value = entry.get(key)
    if not _is_number(value):
        raise ValueError(f"{place}: expected a number as '{key}', got {describe(value)}")
    return float(value)


def as_points(value: object, place: str, least: int = 3) -> np.ndarray:
    """Takes a JSON list of [x, y] as points.

    Args:
        value: the list.
        place: of the list in the file, for errors.
        least: number of points that the shape needs; three for a polygon.

    Returns:
        (N, 2) float64, x and y.

    Raises:
        ValueError: it is no such list, has fewer points, or numbers that are not finite.
    """
    if not isinstance(value, list):
        raise ValueError(f"{place}: expected a list of points [x, y], got {describe(value)}")
    if odd := [point for point in value if not isinstance(point, list) or len(point) != 2]:
        raise ValueError(f"{place}: expected points [x, y], got {shorten(repr(odd[0]), 60)}")
    numbers = as_numbers([number for point in value for number in point], place)
    if len(value) < least:
        raise ValueError(f"{place}: has {len(value)} points, expected at least {least}; draw it anew or delete it")
    return numbers.reshape(-1, 2)


def as_numbers(values: Sequence[object], place: str) -> np.ndarray:
    """Takes finite JSON numbers as (N,) float64; ValueError for anything else."""
    if odd := [value for value in values if type(value) not in (int, float)]:
        raise ValueError(f"{place}: expected numbers, got {describe(odd[0])}")
    numbers = np.array(values, np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{place}: has the number {numbers[~np.isfinite(numbers)][0]}, expected finite ones")
    return numbers


def check_reach(points: np.ndarray, size: Size) -> None:
    """Refuses points (N, 2), x and y, so far outside an image that drawing them takes long, or overflows.

    Tools let polygons reach somewhat beyond an image; ten times its longer side is an error of units.
    """
    most = 10 * max(size) + 1000
    beyond = np.abs(points).max(axis=-1) > most
    if beyond.any():
        x, y = points[beyond][0].tolist()
        raise ValueError(f"has the point ({x:g}, {y:g}), far outside an image of {size[0]}x{size[1]}; are they pixels?")


def check_size(found: Size | None, size: Size) -> None:
    """Refuses annotations that were made for an image of another size, height and width."""
    if found is not None and found != tuple(size):
        raise OtherSizeError(
            "was annotated on an image of {}x{}, but the image is {}x{}, height x width; take the image that was "
            "annotated, or annotate this one".format(*found, *size)
        )


def describe(value: object) -> str:
    """Says what kind of JSON value something is, for an error."""
    if isinstance(value, str):
        return quote(value)
    return _KINDS.get(type(value)) or shorten(str(value), 60)
