"""Label Studio's JSON: one file of all tasks, with polygons, brushes, rectangles and ellipses.

Format: "Label Studio JSON format of annotated tasks", as its export "JSON" has it (not "JSON-MIN"). Places and lengths
are in percent of the image. Label Studio itself makes no masks of polygons: it exports them to COCO, whose tool then
draws them, and so are polygons and rectangles drawn here; of an ellipse the pixels whose middle lies in it, and of a
brush all that is not transparent. The document does not define which of two regions lies over the other; here it is the
later one of the list, the one that was drawn last. There are no holes but those of brushes.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tfseg.annotations.geometries import PercentEllipse, PercentPolygon, PercentRectangle
from tfseg.annotations.run_lengths import BrushRuns
from tfseg.annotations.shapes import (
    Document,
    Geometry,
    ImageEntry,
    Shape,
    Size,
    as_object,
    as_points,
    check_label,
    describe,
    read_object,
    take_list,
    take_number,
    take_shapes,
    take_size,
)
from tfseg.io.escaping import printable
from tfseg.io.images import IMAGE_SUFFIXES
from tfseg.io.json_stream import Entry, iterate_json

# Regions that cover pixels, as they are called with labels of their own, and where labels are a tag beside them.
REGIONS = ("polygon", "brush", "rectangle", "ellipse")
LABELED = tuple(f"{region}labels" for region in REGIONS)
LABELS = "labels"  # the type of a region, whose labels are a tag beside it
LOCAL_FILES = "/data/local-files"
_RADII, _SIDES = ("radiusX", "radiusY"), ("width", "height")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")


def index_label_studio(path: Path) -> Iterator[ImageEntry]:
    """Reads a file of Label Studio, task by task.

    Args:
        path: of the file, of any size.

    Yields:
        (file name, (height, width), data) of each task. The file name is what its image's address ends in, or what
        follows `?d=` where it was served from a local folder; of uploaded files see `without_upload_prefix`. The size
        is None, and the data b"", where a task has not been annotated, or was skipped by all annotators.

    Raises:
        ValueError: it is no such file, or a task has no image or more than one, or more than one annotation of which
            none is marked as ground truth; with the path.
        OSError: it cannot be read.

    Example:
        >>> file_name, size, data = next(index_label_studio(Path("project-1.json")))
        >>> mask = draw_mask("label_studio", data, size, by_label={"road": 1, "car": 2}, background=0)
    """
    for entry in iterate_json(path):
        try:
            if entry.key or entry.index is None:
                raise ValueError("is no list of tasks; export the project as JSON")
            yield _read_task(entry)
        except ValueError as error:
            raise ValueError(f"{printable(path)}: {error}") from None


def without_upload_prefix(file_name: str) -> str:
    """Leaves out what Label Studio puts before the name of an uploaded file: eight digits and a dash.

    Example:
        >>> without_upload_prefix("0f3a9c1e-street 1.jpg"), without_upload_prefix("street-1.jpg")
        ('street 1.jpg', 'street-1.jpg')
    """
    return _UPLOADED.sub("", file_name, count=1) if _UPLOADED.match(file_name) else file_name


def _read_task(entry: Entry) -> ImageEntry:
    task = as_object(entry.value, entry.place)
    place = f"{entry.place} (task {describe(task['id'])})" if "id" in task else entry.place
    if "annotations" not in task or not isinstance(task.get("data"), dict):
        raise ValueError(f"{place}: has no 'data' and 'annotations'; export the project as JSON, not as JSON-MIN")
    file_name = _find_image(task["data"], place)
    results = _choose_annotation(task, place)
    if results is None:
        return ImageEntry(file_name, None, b"")
    data = json.dumps({"place": place, "result": results}, separators=(",", ":"), ensure_ascii=False)
    size = _find_size(results, place)
    return ImageEntry(file_name, size, data.encode("utf-8", "surrogatepass"))


def _find_image(data: dict[str, Any], place: str) -> str:
    names = {key: _file_name(value) for key, value in data.items() if isinstance(value, str)}
    images = {key: name for key, name in names.items() if name.lower().endswith(IMAGE_SUFFIXES)}
    if len(images) != 1:
        found = ", ".join(sorted(images)) or "none"
        raise ValueError(f"{place}: expected one image in its 'data', got {printable(found)}")
    return check_label(next(iter(images.values())), place)


def _file_name(address: str) -> str:
    """The name of the file that an address leads to, in its folders if it was served from a local one."""
    try:
        parts = urlsplit(address)
        if parts.path.rstrip("/").endswith(LOCAL_FILES) and (local := parse_qs(parts.query).get("d")):
            return local[0].lstrip("/")
        return unquote(parts.path).replace("\\", "/").rpartition("/")[2]
    except ValueError:  # of an address with a bracket that nothing closes
        return ""


def _choose_annotation(task: dict[str, Any], place: str) -> list[Any] | None:
    """The results of the one annotation of a task that counts; None: there is none."""
    annotations = [as_object(value, place) for value in take_list(task, "annotations", place)]
    left = [annotation for annotation in annotations if not annotation.get("was_cancelled")]
    if len(left) > 1:
        left = [annotation for annotation in left if annotation.get("ground_truth")]
        if len(left) != 1:
            raise ValueError(
                f"{place}: has {len(annotations)} annotations, of which {len(left)} are marked as ground truth; mark "
                "the one that counts, or export it alone"
            )
    return take_list(left[0], "result", place) if left else None


def _find_size(results: list[Any], place: str) -> Size | None:
    """The size of the image by what all its regions say; ValueError if they differ."""
    found: set[Size] = set()
    for index, result in enumerate(results):
        where = f"{place}, result[{index}]"
        size = take_size(as_object(result, where), "original_height", "original_width", where)
        if size and _is_region(result):
            found.add(size)
    if len(found) > 1:
        sizes = " and ".join("{}x{}".format(*size) for size in sorted(found)[:2])
        raise ValueError(f"{place}: has regions of images of {sizes}, expected one size")
    return found.pop() if found else None


def _is_region(result: dict[str, Any]) -> bool:
    return result.get("type") in (*REGIONS, *LABELED, LABELS)


def read_label_studio(data: bytes) -> Document:
    """Reads what `index_label_studio` made of one task; results that cover no pixels, as choices and key points, are
    left out.

    Args:
        data: JSON with `result`, the list of the annotation that counts.

    Raises:
        ValueError: a region has no label or more than one, is of a turned image, or lacks something; with its task.
    """
    document = read_object(data)
    task = str(document.get("place", "the task"))
    regions = [(f"{task}, {place}", result) for place, result in take_shapes(document, "result", task)]
    regions = [(place, result) for place, result in regions if _is_region(result)]
    # Where labels are a tag beside the region, it is there twice: as what it is, and with its labels.
    labeled = {str(result.get("id")) for _, result in regions if result["type"] not in REGIONS}
    shapes = []
    for place, result in regions:
        if result["type"] in REGIONS and str(result.get("id")) in labeled:
            continue
        if result.get("image_rotation"):
            raise ValueError(f"{place}: is of an image that was turned in Label Studio; annotate it as it is stored")
        value = as_object(result.get("value"), f"{place}.value")
        shapes.append(Shape(_find_label(result, value, place), place, _read_geometry(value, place)))
    return Document(shapes, _find_size([result for _, result in regions], task))


def _find_label(result: dict[str, Any], value: dict[str, Any], place: str) -> str:
    labels = value.get(result["type"]) if result["type"] not in REGIONS else None
    if not isinstance(labels, list) or len(labels) != 1:
        count = len(labels) if isinstance(labels, list) else "no"
        raise ValueError(f"{place}: is a region with {count} labels, expected one; label it, or delete it")
    return check_label(labels[0], place)


def _read_geometry(value: dict[str, Any], place: str) -> Geometry:
    """By what it has: where labels are a tag beside the region, its type does not say what it is."""
    place = f"{place}.value"
    if "rle" in value:
        return BrushRuns(take_list(value, "rle", place))
    if "points" in value:
        return PercentPolygon(as_points(value["points"], place))
    is_ellipse = "radiusX" in value
    width, height = (take_number(value, key, place) for key in (_RADII if is_ellipse else _SIDES))
    x, y = take_number(value, "x", place), take_number(value, "y", place)
    rotation = take_number(value, "rotation", place) if value.get("rotation") is not None else 0.0
    kind = PercentEllipse if is_ellipse else PercentRectangle
    return kind(x, y, width, height, rotation)
