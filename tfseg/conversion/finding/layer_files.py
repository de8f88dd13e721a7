"""Masks of one class each: which of them are the layers of which image.

    masks/0001/road.png, masks/0001/sky.png              a folder for each image
    masks/road/0001.png, masks/sky/0001.png              a folder for each class
    masks/0001_road.png, masks/0001_sky.png              the class at the end of the name
    masks/task-7-annotation-3-by-1-tag-road-0.png        as Label Studio exports them, see `label_studio_files`

They are looked for where no image has a mask of its own name, and classes are what the label map knows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.files import File, make_key, refuse_broken, some, walk
from tfseg.conversion.finding.label_studio_files import EXPORTED, read_tasks
from tfseg.conversion.finding.layouts import Layout, Tree, id_of
from tfseg.conversion.finding.pairing import Key
from tfseg.io.escaping import printable
from tfseg.records.labels import LabelMap

PARTING = "_-. "  # signs between the names of an image and of a class
Layer = tuple[str, Path]  # label of a class, and the mask of its pixels
Place = tuple[Key, str]  # key of an image, and the label


class Layers(NamedTuple):
    """The images of a data set, and the layers of each."""

    images: dict[str, dict[Key, Path]]  # split -> key -> file
    layers: dict[str, dict[Key, list[Layer]]]
    words: str  # how they lie


def _folder_of_image(key: Key, names: Mapping[str, str], images: Set[Key]) -> Place | None:
    label = names.get(key[-1])
    return (key[:-1], label) if label and key[:-1] in images else None


def _first_folder_of_class(key: Key, names: Mapping[str, str], images: Set[Key]) -> Place | None:
    label = names.get(key[0])
    return (key[1:], label) if label and key[1:] in images else None


def _last_folder_of_class(key: Key, names: Mapping[str, str], images: Set[Key]) -> Place | None:
    if len(key) < 2:
        return None
    image, label = (*key[:-2], key[-1]), names.get(key[-2])
    return (image, label) if label and image in images else None


def _end_of_name(key: Key, names: Mapping[str, str], images: Set[Key]) -> Place | None:
    name = key[-1]
    for end in range(1, len(name)):
        label = names.get(name[end + 1 :])
        if name[end] in PARTING and label and (*key[:-1], name[:end]) in images:
            return (*key[:-1], name[:end]), label
    return None


Style = Callable[[Key, Mapping[str, str], Set[Key]], Place | None]
STYLES: tuple[tuple[str, Style], ...] = (
    ("a folder of masks for each image, a mask a class", _folder_of_image),
    ("a folder of masks for each class", _first_folder_of_class),
    ("a folder of masks for each class", _last_folder_of_class),
    ("masks named after image and class", _end_of_name),
)


def find_layers(tree: Tree, folders: Mapping[str, str], label_map: LabelMap) -> Layers | None:
    """Finds the layers of a data set whose images have no masks of their own names.

    Args:
        tree: the data set.
        folders: split -> its folder.
        label_map: says which names are those of classes; of `samples.NO_LABEL_MAP`, any name may be one.

    Returns:
        The images and their layers; None if there are no layers.

    Raises:
        ValueError: a mask fits no image, or a class that the label map does not know; or two files have one name.

    Example:
        >>> find_layers(tree, {"train": "train"}, label_map).layers["train"]["0001",]
        [('road', Path('masks/train/0001/road.png')), ('sky', Path('masks/train/0001/sky.png'))]
    """
    if tree.is_shared:
        return None
    halves = [
        {split: _by_key(tree.layout, [*walk(tree.folder(half, folder))], ends) for split, folder in folders.items()}
        for half, ends in enumerate(tree.endings)
    ]
    images, masks = halves
    paths = [path for own in masks.values() for path in own.values()]
    if any(EXPORTED.fullmatch(path.name) for path in paths):
        return Layers(images, read_tasks(tree, images, paths), "masks that Label Studio has exported, one a region")
    known = label_map.by_label if label_map.classes else _all_names(masks)
    names = {spelled: name for name in known for spelled in (name, name.replace(" ", "_"))}
    found = [(words, _place_all(style, names, images, masks)) for words, style in STYLES]
    words, places = max(found, key=lambda it: len(it[1]))
    if not places:
        return None
    _refuse_strangers(tree, masks, places)
    layers = {split: {} for split in images}
    for (split, mask), (image, label) in sorted(places.items()):
        layers[split].setdefault(image, []).append((label, masks[split][mask]))
    return Layers(images, layers, words)


def _by_key(layout: Layout, files: Sequence[File], endings: tuple[str, ...]) -> dict[Key, Path]:
    taken: dict[Key, Path] = {}
    for file in files:
        if id_of(file.name, endings):
            if file.is_link:
                refuse_broken(file.path)
            key = make_key(layout, file, endings)
            if key in taken:
                raise ValueError(f"{file.path}: has the same name as {taken[key]}; rename one of the two")
            taken[key] = file.path
    return taken


def _all_names(masks: Mapping[str, Mapping[Key, Path]]) -> Iterator[str]:
    """What could be the name of a class: folders, and names of masks, whole and behind each sign that parts them."""
    for key in (key for own in masks.values() for key in own):
        yield from key
        yield from (key[-1][end + 1 :] for end, letter in enumerate(key[-1]) if letter in PARTING)


def _place_all(
    style: Style,
    names: Mapping[str, str],
    images: Mapping[str, Mapping[Key, Path]],
    masks: Mapping[str, Mapping[Key, Path]],
) -> dict[tuple[str, Key], Place]:
    """(split, key of a mask) -> image and label, of the masks that have both."""
    places = {}
    for split, own in masks.items():
        keys = images[split].keys()
        for key in own:
            if place := style(key, names, keys):
                places[split, key] = place
    return places


def _refuse_strangers(
    tree: Tree, masks: Mapping[str, Mapping[Key, Path]], places: Mapping[tuple[str, Key], Place]
) -> None:
    strangers = [str(path) for split, own in masks.items() for key, path in own.items() if (split, key) not in places]
    if strangers:
        raise ValueError(
            f"{tree.place}: {len(strangers)} of {len(strangers) + len(places)} masks are layers of no image and no "
            f"class of the label map: {printable(some(strangers))}; name their classes in the label map, or move them "
            "away"
        )
