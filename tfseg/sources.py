"""A raw data set on disk -> samples: the id, the picture and the mask of each, per split.

Cityscapes as it is unpacked, with its fine masks or, if asked for, its coarse ones:

    leftImg8bit/<split>/<city>/<id>_leftImg8bit.png      gtFine/<split>/<city>/<id>_gtFine_labelIds.png
                                                         gtCoarse/<split>/<city>/<id>_gtCoarse_labelIds.png

The same files in renamed folders, images/ for leftImg8bit/ or masks/ for gtFine/ or both, with or without <city>/:

    images/<split>/<id>_leftImg8bit.png                  masks/<split>/<id>_gtFine_labelIds.png

Any other data set, with a label map:

    images/<split>/<id>.png (or .jpg, .jpeg)             masks/<split>/<id>.png

The names of the files tell the last two apart. A root may be a place in a store, such as gs://bucket/folder.
Pictures and masks are paired by name and never by order: one lost file must not shift all others.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg import labels, paths, pictures


class Sample(NamedTuple):
    """One picture with its mask, not yet read."""

    id: str
    image: Path
    mask: Path


class Decoded(NamedTuple):
    """The files of a sample and what is in them."""

    image: np.ndarray  # (H, W, 3) uint8 RGB
    label_ids: np.ndarray  # (H, W) uint8, the raw mask
    image_file: bytes
    mask_file: bytes


@dataclass(frozen=True)
class Source:
    """A raw data set that was found whole."""

    name: str  # of the layout: "cityscapes", "cityscapes_coarse" or "folders"
    root: Path
    label_map: labels.LabelMap
    splits: dict[str, list[Sample]]  # each sorted by id
    warnings: list[str] = field(default_factory=list)  # a line each, of what is odd but may be meant


class _Layout(NamedTuple):
    """Where a data set keeps its pictures and masks; a name less its ending is the id."""

    name: str
    image_folder: str
    mask_folder: str
    image_endings: tuple[str, ...]
    mask_ending: str
    counts: dict[str, int]  # pictures a split has when nothing is lost

    @property
    def is_cityscapes(self) -> bool:
        return self.name != "folders"


_PICTURE = ("_leftImg8bit.png",)
_FINE = ("_gtFine_labelIds.png", {"train": 2975, "val": 500, "test": 1525})
_COARSE = ("_gtCoarse_labelIds.png", {"train": 2975, "train_extra": 19998, "val": 500})

LAYOUTS = (  # the first that fits is taken
    _Layout("cityscapes", "leftImg8bit", "gtFine", _PICTURE, *_FINE),
    _Layout("cityscapes", "leftImg8bit", "masks", _PICTURE, *_FINE),
    _Layout("cityscapes", "images", "gtFine", _PICTURE, *_FINE),
    _Layout("cityscapes", "images", "masks", _PICTURE, *_FINE),
    _Layout("folders", "images", "masks", (".png", ".jpg", ".jpeg"), ".png", {}),
)
COARSE_LAYOUTS = (
    _Layout("cityscapes_coarse", "leftImg8bit", "gtCoarse", _PICTURE, *_COARSE),
    _Layout("cityscapes_coarse", "images", "gtCoarse", _PICTURE, *_COARSE),
)
SAMPLE_CITY = "sample_city.json"  # marks the generated data set, which has the files of Cityscapes but not their number

_CITYSCAPES_NAME = re.compile(r".+_(leftImg8bit\.png|gtFine_\w+\.(png|json))", re.IGNORECASE)
# What lies beside the masks in Cityscapes, or is made of them, the likeliest mistake first.
_OTHER_KINDS = {
    "labelTrainIds": "holds the 19 train ids, from which the categories cannot be had again",
    "instanceTrainIds": "numbers single objects",
    "instanceIds": "numbers single objects",
    "color": "holds colours to look at",
    "polygons": "holds the polygons that masks are drawn from",
}
_OTHER_KIND = re.compile(rf"(?P<stem>(?P<id>.+?)(_gtFine|_gtCoarse)?_(?P<kind>{'|'.join(_OTHER_KINDS)}))\.(png|json)")
_FILE_SUFFIXES = (".png", ".jpg", ".jpeg", ".json")

_FilesById = dict[str, dict[str, Path]]  # split -> id -> file


def open_source(
    root: str | Path, splits: Sequence[str] | None = None, label_map: str | Path | None = None, coarse: bool = False
) -> Source:
    """Finds the samples of a raw data set; reads no picture.

    Args:
        root: folder in one of the layouts of this module's head, on this machine or in a store.
        splits: names of the splits to take, which must be whole; None takes all that have both pictures and masks.
        label_map: YAML file as `labels.read_label_map` reads it, which data sets other than Cityscapes need; of
            Cityscapes also a name of `labels.CITYSCAPES`, and None for the 8 categories.
        coarse: take the coarse masks of Cityscapes, in gtCoarse/, in the place of the fine.

    Raises:
        FileNotFoundError: the folder or a split is missing, or a link leads nowhere.
        ValueError: the layout is unknown, a picture or mask lacks its partner, or two pictures have one id.
    """
    root = paths.open_path(root)
    layout = _detect(root, splits, coarse)
    names, left_out = _choose_splits(layout, root, splits)
    chosen = _choose_label_map(layout, root, label_map)
    images = {split: _files_by_id(layout, root / layout.image_folder / split, layout.image_endings) for split in names}
    masks = {split: _files_by_id(layout, root / layout.mask_folder / split, (layout.mask_ending,)) for split in names}
    _check_pairs(layout, root, images, masks)
    samples = {
        split: [Sample(id, images[split][id], masks[split][id]) for id in sorted(images[split])] for split in names
    }
    _check_no_overlap(root, samples)
    return Source(layout.name, root, chosen, samples, left_out + _odd_counts(layout, root, samples))


def read_sample(sample: Sample) -> Decoded:
    """Reads a picture and its mask.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood, or their sizes differ; the message begins
            with the path.
        OSError: a file cannot be read.
    """
    image_file, mask_file = sample.image.read_bytes(), sample.mask.read_bytes()
    with named(sample.image):
        image = pictures.decode_picture(image_file)
    with named(sample.mask):
        label_ids = pictures.decode_mask(mask_file)
    if image.shape[:2] != label_ids.shape:
        sizes = ["x".join(map(str, shape)) for shape in (image.shape[:2], label_ids.shape)]
        raise ValueError(f"{sample.image}: is {sizes[0]}, but its mask {sample.mask} is {sizes[1]}; make them agree")
    return Decoded(image, label_ids, image_file, mask_file)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Begins the errors about a file's content with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# ---- the layout


def _detect(root: Path, splits: Sequence[str] | None, coarse: bool) -> _Layout:
    if not _is_folder(root):
        raise FileNotFoundError(f"{root}: no such folder")
    layouts = COARSE_LAYOUTS if coarse else LAYOUTS
    for layout in layouts:
        if _is_folder(root / layout.image_folder) and _is_folder(root / layout.mask_folder):
            renamed = layout.is_cityscapes and (layout.image_folder, layout.mask_folder) == ("images", "masks")
            if not renamed or _has_cityscapes_names(layout, root, splits):
                return layout
    wanted = " or ".join(f"{it.image_folder}/ and {it.mask_folder}/" for it in (layouts[0], layouts[-1]))
    got = _some(path.name for path in root.iterdir()) or "nothing"
    advice = "; only Cityscapes has coarse masks: unpack its gtCoarse/ there, or leave --coarse out" if coarse else ""
    if not coarse and _is_folder(root / "gtCoarse"):
        advice = "; --coarse takes the masks of gtCoarse/"
    raise ValueError(f"{root}: expected {wanted} in it, got {got}{advice}")


def _has_cityscapes_names(layout: _Layout, root: Path, splits: Sequence[str] | None) -> bool:
    return any(
        _CITYSCAPES_NAME.fullmatch(name)
        for folder in (root / layout.image_folder, root / layout.mask_folder)
        for split in splits or _split_names(folder)
        for _, name, _ in _files(layout, folder / split)
    )


# ---- the splits


def _choose_splits(layout: _Layout, root: Path, wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Names of the splits to take, and a warning for each that has no pictures or no masks and is left out."""
    there = _split_names(root / layout.image_folder) | _split_names(root / layout.mask_folder)
    if not wanted and not there:
        raise FileNotFoundError(f"{root}: {layout.image_folder}/ holds no folder of a split, such as train/")
    missing = [name for name in wanted or () if name not in there]
    if missing:
        raise FileNotFoundError(f"{root}: no split {', '.join(missing)}; there is {', '.join(sorted(there)) or 'none'}")
    lacks = {name: _what_lacks(layout, root, name) for name in wanted or sorted(there)}
    whole = [name for name, lack in lacks.items() if not lack]
    halves = [lack for lack in lacks.values() if lack]
    if halves and (wanted or not whole):
        raise ValueError(f"{root}: {'; '.join(halves)}; add what is missing, or choose other splits with --splits")
    return whole, [f"{root}: {lack}; it is left out" for lack in halves]


def _split_names(folder: Path) -> set[str]:
    found = [(folder / name, is_link) for name, is_link in _entries(folder)]
    return {path.name for path, is_link in found if path.is_dir() or (is_link and not path.exists())}


def _what_lacks(layout: _Layout, root: Path, split: str) -> str:
    """Says which half of a split has no file at all; nothing if both have some."""
    folders = (root / layout.image_folder / split, root / layout.mask_folder / split)
    pictures, masks = (any(_files(layout, folder)) for folder in folders)
    if pictures and masks:
        return ""
    if pictures:
        return f"split {split} has pictures in {layout.image_folder}/ but no masks in {layout.mask_folder}/"
    if masks:
        return f"split {split} has masks in {layout.mask_folder}/ but no pictures in {layout.image_folder}/"
    return f"the split {split} is empty; expected files named *{' or *'.join(layout.image_endings)}"


def _choose_label_map(layout: _Layout, root: Path, label_map: str | Path | None) -> labels.LabelMap:
    if layout.is_cityscapes:
        if label_map is None:
            label_map = "categories"
        if label_map in labels.CITYSCAPES:
            return labels.CITYSCAPES[label_map]
    elif label_map is None or label_map in labels.CITYSCAPES:
        raise ValueError(
            f"{root}: its masks need a label map, a YAML file of `mask value: class` lines; give --label-map"
        )
    return labels.read_label_map(label_map)


# ---- the files


def _files_by_id(layout: _Layout, split_folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    files = {}
    for folder, name, is_link in _files(layout, split_folder):
        ending = next((ending for ending in endings if name.lower().endswith(ending.lower())), None)
        if ending is None:
            continue
        path = folder / name
        id = unicodedata.normalize("NFC", name[: -len(ending)])  # a Mac may take the ü of one of two names apart
        if is_link:
            _refuse_broken(path)
        if id in files:
            raise ValueError(f"{path}: has the same id, {id}, as {files[id]}; rename one of the two")
        files[id] = path
    return files


def _files(layout: _Layout, folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """The files of a split in order: folder, name and whether it is a link; in Cityscapes those of its cities too."""
    for name, is_link in _entries(folder) if _is_folder(folder) else ():
        if name.lower().endswith(_FILE_SUFFIXES):  # no look at the file itself, which is slow on a network disk
            yield folder, name, is_link
        elif layout.is_cityscapes and _is_folder(city := folder / name):
            yield from ((city, *entry) for entry in _entries(city) if entry[0].lower().endswith(_FILE_SUFFIXES))


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, each with whether it is a link; an OSError if the folder cannot be read."""
    if paths.is_local(folder):
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_symlink()) for entry in found]
    else:
        entries = [(path.name, False) for path in folder.iterdir()]  # a store has no links
    # macOS leaves ._copies of every file on foreign disks.
    return sorted(entry for entry in entries if not entry[0].startswith("."))


def _is_folder(path: Path) -> bool:
    if path.is_dir():
        return True
    _refuse_broken(path)
    return False


def _refuse_broken(path: Path) -> None:
    """Refuses a link to nowhere: passed over in silence, what it stood for would never be missed."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path}: is a link to {path.readlink()}, which is not there; mend or remove it")


# ---- the checks


def _check_pairs(layout: _Layout, root: Path, images: _FilesById, masks: _FilesById) -> None:
    """Refuses pictures without a mask and masks without a picture, those of all splits in one message."""
    image_names, mask_name = "*" + " or *".join(layout.image_endings), "*" + layout.mask_ending
    for split in images:
        if not images[split] and not masks[split]:
            raise ValueError(f"{root}: no file of split {split} is named {image_names} or {mask_name}")
    unmasked = {f"{split}/{id}" for split in images for id in images[split].keys() - masks[split].keys()}
    unpictured = {f"{split}/{id}" for split in images for id in masks[split].keys() - images[split].keys()}
    complaints = []
    if unmasked:
        complaints.append(f"{len(unmasked)} of the pictures have no mask {mask_name}: {_some(unmasked, 10)}")
    if unpictured:
        complaints.append(f"{len(unpictured)} of the masks have no picture {image_names}: {_some(unpictured, 10)}")
    if complaints:
        complaints += _other_kind(layout, root, unmasked, unpictured)
        raise ValueError(f"{root}: {'; '.join(complaints)}; add what is missing, or choose other splits with --splits")


def _other_kind(layout: _Layout, root: Path, unmasked: set[str], unpictured: set[str]) -> Iterator[str]:
    """Says what lies in the place of the masks, where that is another kind of Cityscapes' files."""
    kinds = list(_OTHER_KINDS)
    others = []
    for split in {name.split("/")[0] for name in unmasked | unpictured}:
        for folder, name, _ in _files(layout, root / layout.mask_folder / split):
            match = _OTHER_KIND.fullmatch(unicodedata.normalize("NFC", name))
            if match and (f"{split}/{match['id']}" in unmasked or f"{split}/{match['stem']}" in unpictured):
                others.append((kinds.index(match["kind"]), folder / name))
    if others:
        kind, path = min(others)
        advice = f"move such files out of {layout.mask_folder}/"
        if layout.is_cityscapes:
            advice = "labelIds come with the download, or are drawn from *_polygons.json by "
            advice += "`python -m cityscapesscripts.preparation.json2labelImg`"
        yield f"{path} is of the kind {kinds[kind]}, which {_OTHER_KINDS[kinds[kind]]}; {advice}"


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


def _odd_counts(layout: _Layout, root: Path, samples: dict[str, list[Sample]]) -> list[str]:
    """Warnings of splits with more or fewer pictures than Cityscapes has."""
    if (root / SAMPLE_CITY).is_file():
        return []
    warnings = []
    for split, members in samples.items():
        found, expected = len(members), layout.counts.get(split, len(members))
        if found != expected:
            warnings.append(f"{root}: split {split} has {found} pictures, in Cityscapes it has {expected}")
        if (found, expected) == (2974, 2975):
            warnings[-1] += "; a known accident: one file was lost by an incomplete download or unpacking"
    return warnings


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
