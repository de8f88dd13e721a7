"""LabelMe's JSON: one file an image, with polygons, rectangles, circles, lines, points and masks.

Format: what LabelMe 5 and 6 save and draw with `labelme.utils.shapes_to_label`. Later shapes of the list lie over
earlier ones, as there; there are no holes but those of masks.
"""

from typing import Any

import numpy as np

from tfseg.annotations.bitmaps import Bitmap
from tfseg.annotations.geometries import PillowShape
from tfseg.annotations.shapes import (
    Document,
    Geometry,
    Shape,
    as_points,
    check_reach,
    describe,
    read_object,
    take_label,
    take_shapes,
    take_size,
)

# Type of a shape -> how it is drawn, and how many points it has at least and at most.
_KINDS: dict[str, tuple[str, int, int | None]] = {
    "polygon": ("polygon", 3, None),
    "oriented_rectangle": ("polygon", 4, 4),
    "rectangle": ("rectangle", 2, 2),
    "circle": ("circle", 2, 2),
    "line": ("line", 2, 2),
    "linestrip": ("line", 2, None),
    "point": ("point", 1, 1),
    "mask": ("mask", 2, 2),
}


def read_labelme(data: bytes) -> Document:
    """Reads a file of LabelMe.

    Args:
        data: JSON with `shapes` and, in all but the oldest files, `imageHeight` and `imageWidth`.

    Raises:
        ValueError: it is no such file, or a shape is of an unknown type or has other points than its type.

    Example:
        >>> data = b'{"shapes": [{"label": "car", "shape_type": "rectangle", "points": [[1, 1], [3, 2]]}]}'
        >>> [(shape.label, shape.place) for shape in read_labelme(data).shapes]
        [('car', 'shapes[0]')]
    """
    document = read_object(data)
    shapes = [
        Shape(take_label(shape, "label", place), place, _read_geometry(shape, place))
        for place, shape in take_shapes(document, "shapes", "the file")
    ]
    return Document(shapes, take_size(document, "imageHeight", "imageWidth", "the file"))


def _read_geometry(shape: dict[str, Any], place: str) -> Geometry:
    name = shape.get("shape_type") or "polygon"  # which the first versions do not write
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"{place}: has the shape_type {describe(name)}, expected one of {', '.join(_KINDS)}")
    kind, least, most = _KINDS[name]
    points = as_points(shape.get("points"), place, least)
    if most is not None and len(points) > most:
        raise ValueError(f"{place}: has {len(points)} points, expected {most} of a {name}")
    return PillowShape(kind, points) if kind != "mask" else _read_mask(shape, points, place)


def _read_mask(shape: dict[str, Any], points: np.ndarray, place: str) -> Bitmap:
    text = shape.get("mask")
    if not isinstance(text, str):
        raise ValueError(f"{place}: expected text of a PNG as 'mask', got {describe(text)}")
    try:
        check_reach(points, (10**6, 10**6))  # before it becomes an integer
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    left, top = np.trunc(points[0]).astype(int).tolist()
    return Bitmap(text, left, top, may_reach_out=True)
