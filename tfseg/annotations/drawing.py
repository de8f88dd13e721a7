"""Annotations of any format -> masks of class ids, and the labels that they have."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from tfseg.annotations.cityscapes import known_label, read_cityscapes
from tfseg.annotations.coco import read_coco
from tfseg.annotations.geometries import PillowShape
from tfseg.annotations.label_studio import read_label_studio
from tfseg.annotations.labelme import read_labelme
from tfseg.annotations.shapes import Document, Shape, Size, check_size, find_near
from tfseg.annotations.supervisely import read_supervisely
from tfseg.annotations.yolo import read_yolo
from tfseg.io.names import quote

READERS: dict[str, Callable[[bytes], Document]] = {
    "coco": read_coco,
    "labelme": read_labelme,
    "yolo": read_yolo,
    "cityscapes_polygons": read_cityscapes,
    "supervisely": read_supervisely,
    "label_studio": read_label_studio,
}
MOST_SHOWN = 5  # labels in an error


class _Drawn(NamedTuple):
    shape: Shape
    value: int


def list_labels(form: str, data: bytes) -> Counter[str]:
    """Counts the shapes of each label in what a file says of one image.

    Args:
        form: of `READERS`.
        data: content of the file, or what an index of a file of many images gives.

    Raises:
        ValueError: it is no such file.

    Example:
        >>> list_labels("yolo", b"0 0.1 0.1 0.9 0.1 0.5 0.8")
        Counter({'0': 1})
    """
    return Counter(shape.label for shape in READERS[form](data).shapes)


def draw_mask(
    form: str,
    data: bytes,
    size: Size,
    by_label: Mapping[str, int],
    background: int,
    default: int | None = None,
) -> np.ndarray:
    """Draws what a file says of one image, with the pixels that the format's own tool would give.

    Args:
        form: of `READERS`.
        data: content of the file, or what an index of a file of many images gives.
        size: height and width of the image.
        by_label: label -> class id, in 0..255; the labels of YOLO are numbers, see `yolo.number_labels`.
        background: class id of what no shape covers.
        default: class id of labels that `by_label` does not have, unless one differs by capitals or marks alone; None:
            they are an error.

    Returns:
        (H, W) uint8, class ids.

    Raises:
        ValueError: it is no such file, is of an image of another size, or has an unknown label or a shape that cannot
            be drawn; with the place in the file, whose name is left to the caller.

    Example:
        >>> draw_mask("yolo", b"7 0 0 0.5 0 0.5 1 0 1", (2, 4), by_label={"7": 3}, background=0)
        array([[3, 3, 3, 0],
               [3, 3, 3, 0]], dtype=uint8)
    """
    document = READERS[form](data)
    check_size(document.size, size)
    drawn = _choose_values(form, document.shapes, by_label, default)
    if document.small_over_large:
        areas = [_count_pixels(item.shape, size) for item in drawn]
        # Stable: of two of one area, the later one of the file lies over the other.
        drawn = [drawn[index] for index in np.argsort(-np.array(areas, np.int64), kind="stable")]
    return _paint(drawn, np.full(size, background, np.uint8))


def _choose_values(form: str, shapes: list[Shape], by_label: Mapping[str, int], default: int | None) -> list[_Drawn]:
    """Gives each shape its class id; ValueError names all labels that have none.

    The default is not for a label that is a known one but for its capitals or marks: that is a slip.
    """
    drawn, unknown = [], []
    values: dict[str, int | None] = {}
    for shape in shapes:
        label = known_label(shape.label, by_label) if form == "cityscapes_polygons" else shape.label
        if label is not None and label not in values:
            values[label] = by_label.get(label, None if find_near(label, by_label) else default)
        value = values[label] if label is not None else None
        if value is not None:
            drawn.append(_Drawn(shape, value))
        elif label is not None:
            unknown.append(shape)
    if unknown:
        counts = Counter(shape.label for shape in unknown)
        first = {shape.label: shape.place for shape in reversed(unknown)}
        shown = [
            f"{quote(label)} ({count} {'shape' if count == 1 else 'shapes'}, the first at {first[label]})"
            for label, count in counts.most_common(MOST_SHOWN)
        ]
        more = f" and {len(counts) - MOST_SHOWN} more" if len(counts) > MOST_SHOWN else ""
        near = {label: other for label in counts if (other := find_near(label, by_label))}
        hints = "".join(f"; is {quote(label)} {quote(other)}?" for label, other in [*near.items()][:MOST_SHOWN])
        raise ValueError(
            f"has labels that are not in the label map: {', '.join(shown)}{more}{hints}; add them to the label map"
            + ("" if len(near) == len(counts) else ", or give it a class for all others")
        )
    return drawn


def _count_pixels(shape: Shape, size: Size) -> int:
    mask = np.zeros(size, np.uint8)
    shape.geometry.paint(mask, 1)
    return cv2.countNonZero(mask)


def _paint(drawn: list[_Drawn], mask: np.ndarray) -> np.ndarray:
    """Draws shapes over a mask (H, W) uint8; consecutive ones of Pillow on one image of it, since each is a copy."""
    canvas: Image.Image | None = None
    for shape, value in drawn:
        try:
            if isinstance(shape.geometry, PillowShape):
                canvas = Image.fromarray(mask) if canvas is None else canvas
                shape.geometry.draw(canvas, value)
                continue
            if canvas is not None:
                mask, canvas = np.array(canvas), None
            shape.geometry.paint(mask, value)
        except ValueError as error:
            raise ValueError(f"{shape.place}: {error}") from None
    return mask if canvas is None else np.array(canvas)
