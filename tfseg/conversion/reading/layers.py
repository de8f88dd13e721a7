"""Layers, an image a class, -> one mask: whatever is not black in a layer is of its class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.annotations.shapes import find_near
from tfseg.conversion.reading.readings import LAYERS
from tfseg.io import masks
from tfseg.io.escaping import shorten
from tfseg.io.image_headers import turn
from tfseg.io.rasters import Raster, read_any_orientation, read_raster
from tfseg.io.regular_files import read_file
from tfseg.records import labels
from tfseg.records.labels import LabelMap

_SIZE_FAULT = "{}: is {}, but the layer {} is {}; make them agree"


def read_layers(
    layers: Sequence[tuple[str, Path]], label_map: LabelMap, size: tuple[int, int], upright: bool = True
) -> masks.Mask:
    """Reads layers as a mask of class ids.

    Args:
        layers: label and file of each; the label map says which class a label is.
        label_map: whose `by_label` is taken, `uncovered` for pixels of no layer, and `later_wins` where two overlap.
        size: height and width that the mask has if there is no layer.
        upright: whether to turn each layer as its EXIF data say.

    Raises:
        ValueError: a layer is damaged or of another size, its label is unknown, or two of different classes overlap.
        OSError: a file cannot be read.

    Example:
        read_layers([("road", Path("0001/road.png")), ("car", Path("0001/car.png"))], label_map, (4, 6)).values
    """
    class_ids = {label: find_class_id(label, path, label_map) for label, path in layers}
    order = sorted(layers, key=lambda layer: class_ids[layer[0]]) if label_map.later_wins else layers
    mask = np.full(size, labels.UNKNOWN, np.uint8)
    drawn: list[tuple[int, Path, np.ndarray]] = []
    for label, path in order:
        class_id = class_ids[label]
        covered = read_layer(path, upright)
        if not drawn:
            mask = np.full(covered.shape, labels.UNKNOWN, np.uint8)
        elif covered.shape != mask.shape:
            sizes = ["x".join(map(str, shape)) for shape in (covered.shape, mask.shape)]
            raise ValueError(_SIZE_FAULT.format(path, sizes[0], drawn[0][1], sizes[1]))
        if not label_map.later_wins:
            _check_overlap(path, class_id, covered, drawn)
        mask[covered] = class_id
        drawn.append((class_id, path, covered))
    mask[mask == labels.UNKNOWN] = label_map.uncovered
    return masks.Mask(mask, LAYERS, {})


def find_class_id(label: str, path: Path, label_map: LabelMap) -> int:
    """Finds the class of a label, or the default; ValueError if there is none."""
    class_id = label_map.by_label.get(label)
    if class_id is None and not find_near(label, label_map.by_label):
        class_id = label_map.default
    if class_id is None:
        raise ValueError(
            f"{path}: is of the label {shorten(label)}, which the label map lacks; it knows "
            f"{shorten(', '.join(label_map.by_label))}; add a line `{shorten(label)}: CLASS`, or an entry `default`"
        )
    return class_id


def read_layer(path: Path, upright: bool) -> np.ndarray:
    """Reads where a layer is not black, (H, W) bool.

    Args:
        path: of its file.
        upright: whether to turn it as its EXIF data say.

    Raises:
        ValueError: it is damaged; the message begins with the path.
        OSError: it cannot be read.
    """
    data = read_file(path)
    try:
        covered = _is_covered(read_raster(data))
        return turn(covered, read_any_orientation(data)) if upright else covered
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _is_covered(raster: Raster) -> np.ndarray:
    if raster.pixels.ndim == 3:
        return raster.pixels.max(axis=2) > 0
    if raster.palette is None:
        return raster.pixels != 0
    table = np.frombuffer(raster.palette[: len(raster.palette) // 3 * 3], np.uint8).reshape(-1, 3)
    if int(raster.pixels.max(initial=0)) >= len(table):
        raise ValueError(f"has pixels beyond the {len(table)} entries of its palette; save it anew")
    return (table.max(axis=1) > 0)[raster.pixels]


def _check_overlap(path: Path, class_id: int, covered: np.ndarray, drawn: Sequence[tuple[int, Path, np.ndarray]]):
    for other_id, other_path, other in drawn:
        if other_id != class_id and (count := int(np.count_nonzero(covered & other))):
            raise ValueError(
                f"{path}: covers {count:,} pixels that {other_path} covers too, of another class; let each pixel be "
                "in one of them, or write `overlap: later` into the label map: the later one of its classes wins"
            )
