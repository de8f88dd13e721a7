"""Masks that Label Studio exports, "Brush labels to PNG": one a region, named by the number of its task.

    task-7-annotation-3-by-1-tag-road-0.png     task 7, annotation 3, by user 1, the control "tag", label road

The number says nothing of the image: that is in the export of the same tasks as JSON, which must lie beside the masks,
above them or beside the images. An uploaded image is 3ab2c1d4-0001.jpg there, one of a folder ?d=drive1/0001.jpg.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tfseg.conversion.finding.files import list_entries
from tfseg.conversion.finding.layouts import Tree
from tfseg.conversion.finding.pairing import Key
from tfseg.io.escaping import printable
from tfseg.io.json_reader import MOST_BYTES, read_json

EXPORTED = re.compile(r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-[^-]*-[^-]+-(?P<label>.+)-\d+\.(?i:png)")
_UPLOADED = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")

Images = Mapping[str, Mapping[Key, Path]]  # split -> key -> file


def read_tasks(tree: Tree, images: Images, masks: Sequence[Path]) -> dict[str, dict[Key, list[tuple[str, Path]]]]:
    """Finds the layers of each image.

    Args:
        tree: the data set.
        images: all images.
        masks: all masks.

    Returns:
        Split -> key of an image -> label and file of each of its masks.

    Raises:
        ValueError: a mask is not named as `EXPORTED`; there is no export as JSON, or it names no image, or several, for
            the task of a mask; or a task has the masks of several annotations.
        OSError: a file cannot be read.
    """
    exports = [*_find_exports(tree)]
    image_of_task = {task: name for path in exports for task, name in _read_export(path)}
    layers: dict[str, dict[Key, list[tuple[str, Path]]]] = {split: {} for split in images}
    annotation_of: dict[int, tuple[str, Path]] = {}
    by_name: dict[str, list[tuple[str, Key, Path]]] = {}
    for split, own in images.items():
        for key, path in own.items():
            by_name.setdefault(path.name, []).append((split, key, path))
    for path in sorted(masks):
        match = EXPORTED.fullmatch(path.name)
        if not match:
            raise ValueError(f"{path}: is no mask of Label Studio's export, as others beside it are; move it away")
        task = int(match["task"])
        if task not in image_of_task:
            looked = f"none of {', '.join(map(str, exports))} names" if exports else "nothing names"
            raise ValueError(
                f"{path}: is of Label Studio's task {task}, whose image {looked}; export the same tasks as JSON too "
                f"and put the file into {path.parent}"
            )
        first, other = annotation_of.setdefault(task, (match["annotation"], path))
        if first != match["annotation"]:
            raise ValueError(
                f"{path}: is of another annotation of task {task} than {other}; keep the masks of one of the two"
            )
        split, key = _find_image(tree, image_of_task[task], task, by_name)
        layers[split].setdefault(key, []).append((match["label"], path))
    return layers


def _find_exports(tree: Tree) -> Iterator[Path]:
    masks = tree.folder(1, "")
    for folder in dict.fromkeys((masks, masks.parent, tree.folder(0, ""), tree.folder(0, "").parent)):
        for name, _ in list_entries(folder):
            if name.lower().endswith(".json"):
                yield folder / name


def _read_export(path: Path) -> Iterator[tuple[int, str]]:
    """Number and image of each task; nothing of a file that is no such export."""
    tasks = read_json(path, MOST_BYTES)
    for task in tasks if isinstance(tasks, list) else ():
        if not (isinstance(task, dict) and type(task.get("id")) is int):
            continue
        data: Any = task.get("data", task)
        places = data.values() if isinstance(data, dict) else ()
        name = data.get("image") if isinstance(data, dict) and isinstance(data.get("image"), str) else None
        name = name or next((it for it in places if isinstance(it, str) and "." in it.rpartition("/")[2]), None)
        if name:
            yield task["id"], unquote(name.rpartition("?d=")[2])


def _find_image(
    tree: Tree, name: str, task: int, by_name: Mapping[str, list[tuple[str, Key, Path]]]
) -> tuple[str, Key]:
    """The image of a task: by its name and, where several have it, by its folders."""
    last = name.rpartition("/")[2]
    uploaded = _UPLOADED.fullmatch(last)
    found = by_name.get(last) or (by_name.get(uploaded["name"]) if uploaded else None) or []
    in_folders = [it for it in found if f"/{name}".endswith("/".join(["", *it[1][:-1], last]))]
    found = (in_folders or found) if len(found) > 1 else found
    if len(found) == 1:
        return found[0][:2]
    if found:
        both = f"{found[0][2]} and {found[1][2]}"
        raise ValueError(f"{tree.place}: Label Studio's task {task} could be of {both}; rename one of the two")
    raise ValueError(
        f"{tree.place}: Label Studio's task {task} is of the image {printable(name)}, which is not there; add it, or "
        "take the masks of that task away"
    )
