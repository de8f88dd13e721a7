"""COCO's JSON: one file of all images of a split, with polygons and run lengths.

Format: "COCO data format", "Object Detection" and "Stuff Segmentation". The order of overlapping objects is nowhere
defined there: in COCO's own instances they hardly overlap. Here later annotations of the file lie over earlier ones, as
in pycocotools' `showAnns`, but those of crowds (`iscrowd: 1`) lie below all others: they stand for a region in which
single objects were not separated, which may be outlined all the same. Holes need run lengths: the polygons of one
annotation are united.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfseg.annotations.coco_polygons import CocoPolygons
from tfseg.annotations.run_lengths import CocoRuns
from tfseg.annotations.shapes import (
    MOST_SHAPES,
    Document,
    Geometry,
    ImageEntry,
    Shape,
    Size,
    as_numbers,
    as_object,
    check_label,
    describe,
    read_object,
    take_shapes,
    take_size,
)
from tfseg.io.escaping import printable
from tfseg.io.json_stream import Entry, iterate_json
from tfseg.io.names import check_text

Id = int | str
_Images = dict[Id, tuple[str, Size | None]]  # name of the file, and size
_Annotations = defaultdict[Id, list[tuple[Id, bytes]]]  # id of an image -> category, and JSON of what is drawn
MOST_FILE_NAME = 4096  # bytes


class CocoIndex:
    """The images of a file of COCO, in its order; they can be iterated once, and are forgotten on the way."""

    def __init__(self, categories: dict[Id, str], images: _Images, annotations: _Annotations):
        self.categories = tuple(categories[id] for id in sorted(categories, key=lambda id: (isinstance(id, str), id)))
        self._names, self._images, self._annotations = categories, images, annotations

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[ImageEntry]:
        for id, (file_name, size) in self._images.items():
            annotations = self._annotations.pop(id, [])
            names = {str(category): self._names[category] for category, _ in annotations}
            head = {"height": size and size[0], "width": size and size[1], "categories": names}
            # The annotations are JSON already.
            body = b'"annotations":[%s]}' % b",".join(data for _, data in annotations)
            yield ImageEntry(file_name, size, _to_bytes(head)[:-1] + b"," + body)


def index_coco(path: Path) -> CocoIndex:
    """Reads a file of COCO, and takes apart what it says of each image.

    Args:
        path: of the file, of any size; about as much memory is used as it has bytes.

    Returns:
        An iterator of (file name, (height, width), data), in the order of the file, and the names of all
        `categories` in the order of their ids. The data hold the names, so that `draw_mask` needs nothing else.

    Raises:
        ValueError: it is no such file, or something in it is missing, twice, or of the wrong kind; with the path.
        OSError: it cannot be read.

    Example:
        >>> index = index_coco(Path("annotations/instances_val2017.json"))
        >>> index.categories[:3]
        ('person', 'bicycle', 'car')
        >>> file_name, size, data = next(iter(index))
        >>> mask = draw_mask("coco", data, size, by_label={"person": 1, "car": 2}, background=0, default=0)
    """
    images: _Images = {}
    categories: dict[Id, str] = {}
    annotations: _Annotations = defaultdict(list)
    places: dict[Id, str] = {}  # of the first annotation of each category, for the error that it is missing
    names: set[str] = set()  # of files
    found: set[str] = set()  # keys
    try:
        for entry in iterate_json(path):
            found.add(entry.key)
            if entry.key == "images" and entry.index is not None:
                id, image = _read_image(entry)
                if image[0] in names:
                    raise ValueError(f"{entry.place}: has the file_name {describe(image[0])}, as another one before it")
                names.add(image[0])
                _add(images, id, image, entry.place)
            elif entry.key == "categories" and entry.index is not None:
                category = as_object(entry.value, entry.place)
                category_id = _take_id(category, "id", entry.place)
                # What is said of an image names its categories in text.
                other = int(category_id) if str(category_id).isdecimal() else category_id
                if category_id not in categories and {str(category_id), other} & categories.keys():
                    raise ValueError(
                        f"{entry.place}: has the id {describe(category_id)}, as another one before it, once as a "
                        "number and once as text"
                    )
                _add(categories, category_id, _name_of(category, entry.place), entry.place)
            elif entry.key == "annotations" and entry.index is not None:
                image_id, category_id, data = _read_annotation(entry)
                annotations[image_id].append((category_id, data))
                places.setdefault(category_id, entry.place)
        _check_whole(found)
        for category_id, place in places.items():
            if category_id not in categories:
                raise ValueError(f"{place}: has the category_id {describe(category_id)}, which is not in 'categories'")
        if lost := [id for id in annotations if id not in images]:
            raise ValueError(f"has annotations of the image_id {describe(lost[0])}, which is not in 'images'")
    except ValueError as error:
        start = f"{printable(path)}: "
        raise ValueError(start + str(error).removeprefix(start)) from None
    return CocoIndex(categories, images, annotations)


def read_categories(path: Path) -> list[str]:
    """Reads the names of all categories of a file of COCO, in its order.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read.
    """
    entries = (entry for entry in iterate_json(path) if entry.key == "categories" and entry.index is not None)
    return [_name_of(as_object(entry.value, entry.place), entry.place) for entry in entries]


def _check_whole(found: set[str]) -> None:
    missing = [key for key in ("images", "annotations", "categories") if key not in found]
    if missing:
        raise ValueError(f"is no COCO file of objects: it lacks {' and '.join(missing)}")


def _add(values: dict[Id, Any], id: Id, value: object, place: str) -> None:
    if id in values:
        raise ValueError(f"{place}: has the id {describe(id)}, as another one before it")
    values[id] = value


def _read_image(entry: Entry) -> tuple[Id, tuple[str, Size | None]]:
    image = as_object(entry.value, entry.place)
    name = image.get("file_name")
    if not isinstance(name, str):
        raise ValueError(f"{entry.place}: expected a file name as 'file_name', got {describe(name)}")
    try:
        check_text(name, "file name", MOST_FILE_NAME)
    except ValueError as error:
        raise ValueError(f"{entry.place}: {error}") from None
    return _take_id(image, "id", entry.place), (name, take_size(image, "height", "width", entry.place))


def _name_of(category: dict[str, Any], place: str) -> str:
    return check_label(category.get("name"), place)


def _take_id(entry: dict[str, Any], key: str, place: str) -> Id:
    id = entry.get(key)
    if isinstance(id, bool) or not isinstance(id, int | str):
        raise ValueError(f"{place}: expected an integer or text as '{key}', got {describe(id)}")
    return id


def _read_annotation(entry: Entry) -> tuple[Id, Id, bytes]:
    """The ids of image and category, and JSON of what is drawn."""
    annotation = as_object(entry.value, entry.place)
    if "segments_info" in annotation:
        raise ValueError("holds panoptic segments, whose masks are PNG files; take COCO's file of instances or stuff")
    kept = {key: annotation[key] for key in ("id", "category_id", "iscrowd", "segmentation") if key in annotation}
    # Where it stands in the whole file, for errors about its polygons, which are found when they are drawn.
    data = _to_bytes({"place": entry.place, **kept})
    ids = (_take_id(annotation, key, entry.place) for key in ("image_id", "category_id"))
    return *ids, data  # pyright: ignore[reportReturnType]  two of them


def _to_bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_coco(data: bytes) -> Document:
    """Reads what `index_coco` made of one image.

    Args:
        data: JSON with height, width, categories by id, and annotations in the order of the file.

    Raises:
        ValueError: a segmentation is missing, or is none of COCO's; with the place in the whole file.
    """
    document = read_object(data)
    names = as_object(document.get("categories"), "categories")
    crowds, others = [], []
    for place, annotation in take_shapes(document, "annotations", "the image"):
        place = str(annotation.get("place", place))
        if "id" in annotation:
            place = f"{place} (id {describe(annotation['id'])})"
        label = check_label(names.get(str(annotation.get("category_id"))), place)
        shape = Shape(label, place, _read_segmentation(annotation.get("segmentation"), place))
        (crowds if annotation.get("iscrowd") else others).append(shape)
    size = take_size(document, "height", "width", "the image")
    _check_polygons(crowds + others, size)
    return Document(crowds + others, size)


def _check_polygons(shapes: list[Shape], size: Size | None) -> None:
    """Refuses too many polygons, and those that seem to hold shares of the image's sides, in 0..1, for pixels."""
    drawn = [(shape.place, shape.geometry.polygons) for shape in shapes if isinstance(shape.geometry, CocoPolygons)]
    polygons = [polygon for _, own in drawn for polygon in own]
    if len(polygons) > MOST_SHAPES:
        count = f"{len(polygons):,}"
        raise ValueError(f"the image: has {count} polygons; more than {MOST_SHAPES:,} of one image are not drawn")
    if polygons and max(size or (2,)) > 1 and all(it.min() >= 0 and it.max() <= 1 for it in polygons):
        raise ValueError(
            f"{drawn[0][0]}: no coordinate of any polygon on this image is above 1; these seem to be shares of its "
            "width and height, where COCO has pixels; multiply them, or delete polygons that lie within the first pixel"
        )


def _read_segmentation(segmentation: object, place: str) -> Geometry:
    if segmentation is None or segmentation == []:
        raise ValueError(f"{place}: has no segmentation, as annotations of boxes alone; a mask needs one")
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int for side in size):
            raise ValueError(f"{place}: expected [height, width] as the 'size' of run lengths, got {describe(size)}")
        if not isinstance(counts, str | list):
            raise ValueError(f"{place}: expected text or a list as 'counts', got {describe(counts)}")
        return CocoRuns(counts, (size[0], size[1]))
    if not isinstance(segmentation, list):
        raise ValueError(f"{place}: expected polygons or run lengths as 'segmentation', got {describe(segmentation)}")
    polygons = []
    for polygon in segmentation:
        if not isinstance(polygon, list):
            raise ValueError(f"{place}: expected polygons [x, y, x, y, ...], got {describe(polygon)}")
        numbers = as_numbers(polygon, place)
        if len(numbers) % 2 or len(numbers) < 6:
            raise ValueError(
                f"{place}: has a polygon of {len(numbers)} numbers, expected x and y of three points or more; draw it "
                "anew or delete it"
            )
        polygons.append(numbers.reshape(-1, 2))
    return CocoPolygons(polygons)
