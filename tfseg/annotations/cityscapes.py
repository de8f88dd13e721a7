"""Cityscapes' polygons: one *_gtFine_polygons.json an image, as IDD and other data sets have them, too.

Format: "Annotation" of cityscapesScripts, drawn with `json2labelImg`. Later objects of the list lie over earlier ones,
from the background to the front; there are no holes.
"""

from collections.abc import Container

import numpy as np

from tfseg.annotations.geometries import PillowShape
from tfseg.annotations.shapes import (
    Document,
    Shape,
    as_points,
    read_object,
    take_label,
    take_shapes,
    take_size,
)

GROUP = "group"  # ends the label of several objects drawn as one: cargroup
NOT_DRAWN = "license plate"  # has the id -1, and what is below it shows


def read_cityscapes(data: bytes) -> Document:
    """Reads a file of Cityscapes' polygons; what is marked as deleted is left out.

    Args:
        data: JSON with `imgHeight`, `imgWidth` and `objects`.

    Raises:
        ValueError: it is no such file.

    Example:
        >>> data = b'{"imgHeight": 4, "imgWidth": 8, "objects": [{"label": "sky", "polygon": [[0, 0], [7, 0]]}]}'
        >>> [(shape.label, shape.place) for shape in read_cityscapes(data).shapes]
        [('sky', 'objects[0]')]
    """
    document = read_object(data)
    shapes = []
    for place, entry in take_shapes(document, "objects", "the file"):
        if entry.get("deleted"):
            continue
        # A line of two points is drawn there, too.
        points = as_points(entry.get("polygon"), place, least=2)
        shapes.append(Shape(take_label(entry, "label", place), place, PillowShape("polygon", np.array(points))))
    return Document(shapes, take_size(document, "imgHeight", "imgWidth", "the file"))


def known_label(label: str, known: Container[str]) -> str | None:
    """Finds the label that an object is drawn as, as `json2labelImg` does.

    Args:
        label: of the object.
        known: labels that have a class.

    Returns:
        The label, or without its ending "group" if only that is known; None: it is a license plate that nobody has
        given a class, which is not drawn.

    Example:
        >>> known_label("cargroup", {"car"}), known_label("tree", {"car"}), known_label("license plate", {"car"})
        ('car', 'tree', None)
    """
    if label in known:
        return label
    if label.endswith(GROUP) and label.removesuffix(GROUP) in known:
        return label.removesuffix(GROUP)
    return None if label == NOT_DRAWN else label
