"""A raw data set on disk -> samples: the id, the picture and the mask of each, per split.

Two layouts are understood:

    leftImg8bit/<split>/<city>/<id>_leftImg8bit.png      images/<split>/<id>.png (or .jpg, .jpeg)
    gtFine/<split>/<city>/<id>_gtFine_labelIds.png       masks/<split>/<id>.png, with a label map

Pictures and masks are paired by name and never by order: one lost file must not shift all others.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg import labels


class Sample(NamedTuple):
    """One picture with its mask, not yet read."""

    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Source:
    """A raw data set that was found whole."""

    name: str  # of the layout: "cityscapes" or "folders"
    root: Path
    lookup: np.ndarray  # (256,) uint8, value of a raw mask -> category id, see `labels.remap`
    splits: dict[str, list[Sample]]  # each sorted by id

    @property
    def label_map(self) -> dict[int, str]:
        """Value of a raw mask -> category, for reading; `lookup` holds the same for work."""
        return {
            int(value): labels.CATEGORIES[self.lookup[value]] for value in np.flatnonzero(self.lookup != labels.UNKNOWN)
        }


class _Layout(NamedTuple):
    """Where a data set keeps its pictures and masks; a name less its ending is the id."""

    name: str
    image_folder: str
    mask_folder: str
    pattern: str  # of files below a split's folder
    image_endings: tuple[str, ...]
    mask_endings: tuple[str, ...]


LAYOUTS = (
    _Layout("cityscapes", "leftImg8bit", "gtFine", "*/*", ("_leftImg8bit.png",), ("_gtFine_labelIds.png",)),
    _Layout("folders", "images", "masks", "*", (".png", ".jpg", ".jpeg"), (".png",)),
)


def open_source(root: str | Path, splits: Sequence[str] | None = None, label_map: str | Path | None = None) -> Source:
    """Finds the samples of a raw data set; reads no picture.

    Args:
        root: folder in one of the two layouts of this module's head.
        splits: names of the splits to take; None takes all that are there.
        label_map: YAML file as `labels.read_label_map` reads it; for images/ + masks/ only, and needed there.

    Raises:
        FileNotFoundError: the folder or a split is missing.
        ValueError: the layout is unknown, a picture or mask lacks its partner, or two pictures have one id.
    """
    root = Path(root)
    layout = _detect(root)
    lookup = _read_lookup(layout, root, label_map)
    names = _choose_splits(layout, root, splits)
    samples = {name: _read_split(layout, root, name) for name in names}
    _check_no_overlap(root, samples)
    return Source(layout.name, root, lookup, samples)


def _detect(root: Path) -> _Layout:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    for layout in LAYOUTS:
        if (root / layout.image_folder).is_dir() and (root / layout.mask_folder).is_dir():
            return layout
    wanted = " or ".join(f"{layout.image_folder}/ and {layout.mask_folder}/" for layout in LAYOUTS)
    raise ValueError(f"{root}: expected {wanted} in it, got {_some(p.name for p in root.iterdir()) or 'nothing'}")


def _read_lookup(layout: _Layout, root: Path, label_map: str | Path | None) -> np.ndarray:
    if layout.name == "cityscapes":
        if label_map is not None:
            raise ValueError(f"{root}: is a Cityscapes tree, whose labels are built in; leave {label_map} out")
        return labels.CITYSCAPES_LOOKUP
    if label_map is None:
        raise ValueError(
            f"{root}: its masks need a label map, a YAML file of `mask value: category name` lines; give --label-map"
        )
    return labels.read_label_map(label_map)


def _choose_splits(layout: _Layout, root: Path, wanted: Sequence[str] | None) -> list[str]:
    there = sorted(
        {
            path.name
            for folder in (layout.image_folder, layout.mask_folder)
            for path in (root / folder).iterdir()
            if path.is_dir() and not path.name.startswith(".")
        }
    )
    if wanted is None and not there:
        raise FileNotFoundError(f"{root}: {layout.image_folder}/ holds no folder of a split, such as train/")
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise FileNotFoundError(f"{root}: no split {', '.join(missing)}; there is {', '.join(there) or 'none'}")
    return list(wanted) if wanted else there


def _read_split(layout: _Layout, root: Path, split: str) -> list[Sample]:
    images = _files_by_id(root / layout.image_folder / split, layout.pattern, layout.image_endings)
    masks = _files_by_id(root / layout.mask_folder / split, layout.pattern, layout.mask_endings)
    if not images and not masks:
        raise ValueError(
            f"{root}: the split {split} is empty; expected files named *{' or *'.join(layout.image_endings)}"
        )
    for kind, partner, unpaired in (
        ("pictures", "mask", images.keys() - masks.keys()),
        ("masks", "picture", masks.keys() - images.keys()),
    ):
        if unpaired:
            raise ValueError(
                f"{root}: {len(unpaired)} of the {kind} in split {split} have no {partner}: {_some(unpaired)}; "
                f"add what is missing, or choose other splits with --splits"
            )
    return [Sample(id, images[id], masks[id]) for id in sorted(images)]


def _files_by_id(folder: Path, pattern: str, endings: tuple[str, ...]) -> dict[str, Path]:
    files = {}
    for path in sorted(folder.glob(pattern)):
        ending = next((ending for ending in endings if path.name.lower().endswith(ending.lower())), None)
        if ending is None or path.name.startswith("."):  # macOS leaves ._copies of every file on foreign disks
            continue
        id = path.name[: -len(ending)]
        if id in files:
            raise ValueError(f"{path}: has the same id, {id}, as {files[id]}; rename one of the two")
        files[id] = path
    return files


def _check_no_overlap(root: Path, samples: dict[str, list[Sample]]) -> None:
    """A picture in two splits would be scored by a network that was trained on it."""
    split_of: dict[str, str] = {}
    for split, members in samples.items():
        shared = [member.id for member in members if member.id in split_of]
        if shared:
            raise ValueError(
                f"{root}: {len(shared)} ids of split {split} are in split {split_of[shared[0]]} too: {_some(shared)}; "
                f"the names of all pictures must differ"
            )
        split_of |= dict.fromkeys((member.id for member in members), split)


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
