"""YOLO's text files of segments: one line an object, with the number of its class and a polygon.

Format: Ultralytics, "Instance Segmentation Datasets Overview". Masks are drawn as by its `polygons2masks_overlap`: the
smaller an object is, the later it is drawn. Of two of one size that tool leaves the order to its sorting; here the
later one of the file lies over the other. The polygons are not sampled anew first, as its training does. There are no
holes; tools that have them join both outlines into one.
"""

import codecs
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfseg.annotations.geometries import NormalizedPolygon
from tfseg.annotations.shapes import MOST_SHAPES, Document, Shape, check_label, describe
from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file
from tfseg.io.yaml_reader import LARGEST, read_yaml

BEYOND = 0.01  # of the image's side, by which a point may lie outside, as Ultralytics checks it
BOX = 5  # numbers in a line of a box
MOST_CLASSES = 1_000_000
MOST_NUMBERS = 2_000_000  # of a file
_BLANKS = (b" ", b"\t", b"\v", b"\f")  # at which a line of bytes is parted


def read_yolo(data: bytes) -> Document:
    """Reads a file of YOLO's segments.

    Args:
        data: lines of `class x1 y1 x2 y2 ...`, the points in shares of the image's width and height. A file without a
            line says that there is nothing on the image.

    Returns:
        Shapes whose labels are the numbers of their classes, as text; see `number_labels`.

    Raises:
        ValueError: a line is none of a segment: it is of a box, has an odd number of numbers, or pixels.

    Example:
        >>> [(shape.label, shape.place) for shape in read_yolo(b"0 0.1 0.1 0.9 0.1 0.5 0.8").shapes]
        [('0', 'line 1')]
    """
    ends = data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")
    if ends > MOST_SHAPES or sum(map(data.count, _BLANKS)) > MOST_NUMBERS:
        raise ValueError(
            f"has more than {MOST_SHAPES:,} lines or {MOST_NUMBERS:,} numbers, which are not drawn of one image"
        )
    try:
        data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"is no text ({len(data):,} bytes)") from None
    # Text would be parted at many more letters than bytes are, those that were counted.
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines()
    shapes = [_read_line(line, f"line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    return Document(shapes, small_over_large=True)


def _read_line(line: bytes, place: str) -> Shape:
    try:
        numbers = np.array([float(word) for word in line.split()], np.float64)
    except ValueError:
        raise ValueError(f"{place}: expected numbers, got '{shorten(line.decode(), 60)}'") from None
    if not np.isfinite(numbers).all():
        raise ValueError(f"{place}: expected finite numbers, got '{shorten(line.decode(), 60)}'")
    if len(numbers) == BOX:
        raise ValueError(f"{place}: is a box, of which no mask can be made; export segments, or delete the line")
    if len(numbers) % 2 == 0 or len(numbers) < 1 + 6:
        raise ValueError(
            f"{place}: has {len(numbers)} numbers, expected a class and x and y of three points or more; does it end "
            "with a confidence?"
        )
    if not 0 <= numbers[0] < MOST_CLASSES or numbers[0] != int(numbers[0]):
        raise ValueError(f"{place}: expected the number of a class first, got {numbers[0]:g}")
    points = numbers[1:].reshape(-1, 2)
    beyond = (points < -BEYOND) | (points > 1 + BEYOND)
    if beyond.any():
        raise ValueError(
            f"{place}: has the coordinate {points[beyond][0]:g}, expected shares of the image's width and height, in "
            "0..1; are they pixels?"
        )
    return Shape(str(int(numbers[0])), place, NormalizedPolygon(points.astype(np.float32)))


def read_class_names(path: Path) -> dict[int, str]:
    """Reads the names of YOLO's classes.

    Args:
        path: of `data.yaml`, whose `names` are a list or a mapping of numbers, or of `classes.txt`, one name a line.

    Returns:
        Number of a class -> its name, in the order of the numbers.

    Raises:
        ValueError: it is no such file, or `nc` is another number than there are names; with the path.
        OSError: it cannot be read.

    Example:
        >>> _ = Path("data.yaml").write_text("nc: 2\\nnames: {0: car, 1: road}")
        >>> read_class_names(Path("data.yaml"))
        {0: 'car', 1: 'road'}
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        names = _take_names(read_yaml(path), printable(path))
    else:
        try:
            lines = read_file(path, LARGEST).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{printable(path)}: is no text in UTF-8; save it as UTF-8") from None
        while lines and not lines[-1].strip():
            lines.pop()
        names = {number: line.strip() for number, line in enumerate(lines)}
    if not names:
        raise ValueError(f"{printable(path)}: has no names of classes")
    return {number: check_label(names[number], f"{printable(path)}: class {number}") for number in sorted(names)}


def _take_names(document: object, place: str) -> dict[int, object]:
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        raise ValueError(f"{place}: expected `names: [first, second]` or `names: {{0: first, 1: second}}`")
    if odd := [number for number in names if type(number) is not int or number < 0]:
        raise ValueError(f"{place}: names: expected the numbers of classes, got {describe(odd[0])}")
    count = document.get("nc")  # pyright: ignore[reportAttributeAccessIssue]  a mapping, see above
    if count is not None and count != len(names):
        raise ValueError(f"{place}: has {len(names)} names, but nc: {describe(count)}; make them agree")
    if odd := [name for name in names.values() if type(name) not in (str, int)]:
        raise ValueError(f"{place}: names: expected names, got {describe(odd[0])}; in quotes it is text")
    return {number: str(name) for number, name in names.items()}


def number_labels(names: Mapping[int, str], by_label: Mapping[str, int]) -> dict[str, int]:
    """Turns class ids by name into class ids by YOLO's numbers, which alone its files of segments hold.

    Args:
        names: number of a class -> its name, see `read_class_names`.
        by_label: name -> class id.

    Returns:
        Number, as text -> class id; without those of which `by_label` has no name.

    Example:
        >>> number_labels({0: "car", 1: "road", 2: "dog"}, {"road": 1, "car": 2})
        {'0': 2, '1': 1}
    """
    return {str(number): by_label[name] for number, name in names.items() if name in by_label}
