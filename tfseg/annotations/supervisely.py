"""Supervisely's JSON: one file an image, with polygons, bitmaps and rectangles.

Format: "Supervisely Annotation JSON Format". Drawn as by its `Annotation.draw`: later objects of the list lie over
earlier ones. Polygons have holes (`interior`), and so have bitmaps.
"""

import re
from typing import Any

import numpy as np

from tfseg.annotations.bitmaps import Bitmap
from tfseg.annotations.geometries import FilledPolygon, PillowShape
from tfseg.annotations.shapes import (
    Document,
    Geometry,
    Shape,
    as_numbers,
    as_object,
    as_points,
    check_reach,
    describe,
    read_object,
    take_label,
    take_list,
    take_shapes,
    take_size,
)

POINT = "point"  # covers no pixels, and is left out
_COLOR = re.compile(r"#([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})([0-9A-Fa-f]{2})")


def read_supervisely(data: bytes) -> Document:
    """Reads a file of Supervisely; points, which cover no pixels, are left out.

    Args:
        data: JSON with `size` and `objects`.

    Raises:
        ValueError: it is no such file, or an object is a line, a cuboid, or something else without an area.

    Example:
        >>> data = b'''{"size": {"height": 4, "width": 8}, "objects": [{"classTitle": "car", "geometryType": "polygon",
        ...     "points": {"exterior": [[0, 0], [7, 0], [7, 2]], "interior": []}}]}'''
        >>> [(shape.label, shape.place) for shape in read_supervisely(data).shapes]
        [('car', 'objects[0]')]
    """
    document = read_object(data)
    shapes = []
    for place, entry in take_shapes(document, "objects", "the file"):
        # The first versions write no type, but both of these, of which one is null.
        kind = entry.get("geometryType") or ("bitmap" if entry.get("bitmap") else "polygon")
        if kind != POINT:
            shapes.append(Shape(take_label(entry, "classTitle", place), place, _read_geometry(kind, entry, place)))
    size = as_object(document.get("size"), "size")
    return Document(shapes, take_size(size, "height", "width", "size"))


def _read_geometry(kind: object, entry: dict[str, Any], place: str) -> Geometry:
    if kind == "bitmap":
        return _read_bitmap(as_object(entry.get("bitmap"), f"{place}.bitmap"), f"{place}.bitmap")
    if kind not in ("polygon", "rectangle"):
        raise ValueError(
            f"{place}: has the geometryType {describe(kind)}, of which no mask can be made; expected polygon, bitmap "
            "or rectangle: change the shape of its class, or delete it"
        )
    points = as_object(entry.get("points"), f"{place}.points")
    exterior = _round(points.get("exterior"), f"{place}.points.exterior", 2 if kind == "rectangle" else 3)
    if kind == "rectangle":
        if len(exterior) != 2:
            raise ValueError(f"{place}: has {len(exterior)} points, expected 2 corners of a rectangle")
        return PillowShape("rectangle", exterior.astype(np.float64))
    holes = take_list(points, "interior", f"{place}.points") if points.get("interior") is not None else []
    interiors = [_round(hole, f"{place}.points.interior[{index}]", 3) for index, hole in enumerate(holes)]
    return FilledPolygon(exterior, tuple(interiors))


def _round(value: object, place: str, least: int) -> np.ndarray:
    """Takes points as (N, 2) int32, rounded as the tool does."""
    points = as_points(value, place, least)
    try:
        check_reach(points, (10**6, 10**6))  # before they become integers
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return np.rint(points).astype(np.int32)


def _read_bitmap(bitmap: dict[str, Any], place: str) -> Bitmap:
    text, origin = bitmap.get("data"), bitmap.get("origin")
    if not isinstance(text, str):
        raise ValueError(f"{place}: expected text as 'data', got {describe(text)}")
    if not isinstance(origin, list) or len(origin) != 2:
        raise ValueError(f"{place}: expected [x, y] as 'origin', got {describe(origin)}")
    left, top = _round([as_numbers(origin, place).tolist()], place, 1)[0].tolist()
    return Bitmap(text, left, top, may_reach_out=False)


def read_supervisely_classes(data: bytes) -> dict[str, tuple[int, int, int] | None]:
    """Reads the classes of a project of Supervisely.

    Args:
        data: content of its `meta.json`.

    Returns:
        Name of a class -> its RGB colour, or None if it has none; in the order of the file.

    Raises:
        ValueError: it is no such file, or has a class twice.

    Example:
        >>> read_supervisely_classes(b'{"classes": [{"title": "car", "shape": "polygon", "color": "#FF0080"}]}')
        {'car': (255, 0, 128)}
    """
    classes: dict[str, tuple[int, int, int] | None] = {}
    for place, entry in take_shapes(read_object(data), "classes", "the file"):
        title, color = take_label(entry, "title", place), entry.get("color")
        if title in classes:
            raise ValueError(f"{place}: has the title {describe(title)}, as another one before it")
        parts = _COLOR.fullmatch(color) if isinstance(color, str) else None
        if color is not None and parts is None:
            raise ValueError(f"{place}: expected a colour such as #FF0080, got {describe(color)}")
        classes[title] = (int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)) if parts else None
    return classes
