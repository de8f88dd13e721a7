"""Polygons and other annotations on disk: which tool wrote them, and which file says what of which image."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tfseg.annotations.coco import index_coco
from tfseg.annotations.label_studio import index_label_studio, without_upload_prefix
from tfseg.annotations.shapes import ImageEntry, find_near
from tfseg.annotations.yolo import number_labels, read_class_names
from tfseg.conversion.finding.files import Found, make_key, some, walk
from tfseg.conversion.finding.layouts import IMAGE_SUFFIXES, Layout, Tree
from tfseg.conversion.finding.pairing import Key
from tfseg.conversion.reading.faults import Skipped
from tfseg.io.escaping import printable
from tfseg.io.json_reader import parse_json
from tfseg.io.json_stream import iterate_json
from tfseg.io.names import quote
from tfseg.io.regular_files import read_file
from tfseg.records.labels import LabelMap

# What the names of annotations end with, where each image has a file of its own.
ENDINGS = {
    "labelme": (".json",),
    "yolo": (".txt",),
    "cityscapes_polygons": ("_gtFine_polygons.json",),
    "supervisely": (*(f"{suffix}.json" for suffix in IMAGE_SUFFIXES), ".json"),
}
YOLO_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
NO_NAMES = ("classes.txt", "labels.txt", "notes.json", "train.txt", "val.txt", "test.txt", "meta.json", "config.json")


class Annotated(NamedTuple):
    """What files of many images say of those of a data set."""

    images: dict[str, dict[Key, Path]]  # split -> key -> an image that they say something of
    files: dict[str, dict[Key, Path]]  # split -> key -> the file that annotates the image
    data: dict[str, dict[Key, bytes]]  # what it says of it
    left_out: int  # images of which it says nothing


# ---- which tool


def find_form(folder: Path) -> str | None:
    """Says of which form the annotations in a folder are, by the first file that is one; None if there are none."""
    for file in walk(folder):
        name = file.name.lower()
        if name in NO_NAMES or not name.endswith((".json", ".txt")):
            continue
        if form := _form_of_lines(read_file(file.path)) if name.endswith(".txt") else form_of(read_file(file.path)):
            return form
    return None


def _form_of_lines(data: bytes) -> str | None:
    """YOLO's are lines of numbers; a file without a line says nothing."""
    words = data.decode("utf-8-sig", "replace").split("\n", 1)[0].split()
    are_numbers = all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", word, re.IGNORECASE) for word in words)
    return "yolo" if words and are_numbers else None


def form_of(data: bytes) -> str | None:
    """Says of which form the annotations of one image are, in JSON; None if they are of none that is known."""
    try:
        document = parse_json(data)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if "shapes" in document:
        return "labelme"
    if "objects" in document:
        return "cityscapes_polygons" if "imgHeight" in document else "supervisely"
    return None


def form_of_index(path: Path) -> str:
    """Says of which form a file of many images is.

    Raises:
        ValueError: it is of none.
        OSError: it cannot be read.
    """
    first = next(iterate_json(path), None)
    if first is not None and not first.key and first.index is not None:
        return "label_studio"
    if first is not None and any(entry.key in ("images", "annotations", "categories") for entry in iterate_json(path)):
        return "coco"
    raise ValueError(
        f"{path}: is neither a file of COCO nor one of Label Studio; --masks takes such a file, or the folder of all "
        "masks or annotations"
    )


def has_form(form: str, root: Path, layout: Layout, splits: set[str]) -> bool:
    """Whether the annotations of a layout are of a form, by the first of them."""
    folders = [root / layout.masks.format(split=split) for split in sorted(splits)] or [root / layout.masks]
    return next((found for folder in folders if (found := find_form(folder))), None) == form


# ---- what of which image


def index_images(
    tree: Tree, folders: Mapping[str, str], found: Mapping[str, Found], skipped: list[Skipped] | None = None
) -> Annotated:
    """Finds what files of many images say of each image.

    Args:
        tree: the data set.
        folders: of each split.
        found: the images of each split.
        skipped: takes what a file says of images that are not there; None: it is refused.

    Raises:
        ValueError: a file is damaged, or names images that are not there, or one twice, or none at all.
        OSError: a file cannot be read.
    """
    images: dict[str, dict[Key, Path]] = {}
    files: dict[str, dict[Key, Path]] = {}
    data: dict[str, dict[Key, bytes]] = {}
    left_out = 0
    for split, folder in folders.items():
        path = tree.folder(1, folder)
        places = _Places(tree, tree.folder(0, folder), found[split])
        own: dict[Key, bytes] = {}
        lost: list[str] = []
        for entry in _read_index(tree.layout.form, path):
            if not entry.data:
                continue  # nobody has looked at it
            key = places.find(entry.file_name)
            if key is None:
                lost.append(entry.file_name)
            elif key in own:
                raise ValueError(f"{path}: has more than one entry for the image {places.images[key]}; remove one")
            else:
                own[key] = entry.data
        if skipped is not None:
            fault = f"{path}: names an image that is not there, or several have the name; add it, or take its entry out"
            skipped += [Skipped(split, name, "", str(path), fault) for name in lost]
        elif lost:
            raise ValueError(
                f"{path}: names {len(lost)} images that are not in {tree.folder(0, folder)}, or of which several have "
                f"the name: {some(lost, 10)}; add them, or take their entries out"
            )
        if not own:
            raise ValueError(f"{path}: says nothing of any image in {tree.folder(0, folder)}")
        left_out += len(places.images) - len(own)
        images[split] = {key: places.images[key] for key in own}
        files[split], data[split] = dict.fromkeys(own, path), own
    return Annotated(images, files, data, left_out)


def _read_index(form: str, path: Path) -> Iterator[ImageEntry]:
    return iter(index_coco(path)) if form == "coco" else index_label_studio(path)


class _Places:
    """Finds images by what annotation files call them: a path, or the name alone where only one image has it."""

    def __init__(self, tree: Tree, folder: Path, found: Found):
        self.folder = folder.absolute().name
        self.images: dict[Key, Path] = {}
        self.by_path: dict[str, Key] = {}
        self.by_name: dict[str, list[Key]] = {}
        for file in found.images:
            key = make_key(tree.layout, file, tree.endings[0])
            self.images[key] = file.path
            self.by_path["/".join([*file.way, file.name])] = key
            self.by_name.setdefault(file.name, []).append(key)

    def find(self, file_name: str) -> Key | None:
        """The key of an image; None if there is none, or several could be meant."""
        path = PurePosixPath(file_name.replace("\\", "/"))
        for start in range(len(path.parts)):
            if key := self.by_path.get("/".join(path.parts[start:])):
                # b/0.jpg may be lost, rather than be the 0.jpg that lies beside a/0.jpg.
                is_bare = start == len(path.parts) - 1 and start and path.parts[start - 1] != self.folder
                return None if is_bare and len(self.by_name[path.name]) > 1 else key
        for name in (path.name, without_upload_prefix(path.name)):
            if len(keys := self.by_name.get(name, [])) == 1:
                return keys[0]
        return None


def with_numbers(label_map: LabelMap, tree: Tree) -> tuple[LabelMap, str]:
    """Lets a label map know the numbers of classes that YOLO's files hold, by the names that lie beside them.

    Returns:
        The label map; and the file of the names, empty if there is none: then the label map has to name numbers.

    Raises:
        ValueError: the file is damaged, or has names that the label map does not know and numbers that it does.
    """
    labels = tree.folder(1, "").parent if tree.layout.has_splits else tree.folder(1, "")
    for folder in (tree.place, labels, labels.parent, tree.folder(1, "")):
        for name in YOLO_NAMES:
            if (folder / name).is_file():
                path = folder / name
                names = read_class_names(path)
                numbers = number_labels(names, label_map.by_label)
                _check_names(path, names, numbers, label_map)
                if not numbers:
                    return label_map, ""
                return replace(label_map, by_label={**label_map.by_label, **numbers}), str(path)
    return label_map, ""


def _check_names(path: Path, names: Mapping[int, str], numbers: Mapping[str, int], label_map: LabelMap) -> None:
    """Refuses names of YOLO's classes that the label map lacks, where their numbers would be taken for others."""
    lacking = {number: name for number, name in names.items() if str(number) not in numbers}
    for name in lacking.values():
        if near := find_near(name, label_map.by_label):
            raise ValueError(
                f"{path}: has the class {quote(name)}, but the label map has {quote(near)}; write them alike"
            )
    known = {number: name for number, name in lacking.items() if str(number) in label_map.by_label}
    if not numbers and len(known) < len(names):
        raise ValueError(
            f"{path}: names the classes {printable(some(names.values(), 10))}, of which the label map has none; add "
            "lines of `label: class`"
        )
    if numbers and known:
        number, name = min(known.items())
        its_class = label_map.classes[label_map.by_label[str(number)]]
        raise ValueError(
            f"{path}: says that {number} is {quote(name)}, which the label map lacks, while the mask value {number} is "
            f"{quote(its_class)} there; add a line `{printable(name)}: CLASS` to the label map"
        )
