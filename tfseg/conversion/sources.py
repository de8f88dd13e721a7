"""A raw data set on disk -> samples: the id, the picture and the mask of each, per split.

Cityscapes as it is unpacked, with its fine masks or, if asked for, its coarse ones:

    leftImg8bit/<split>/<city>/<id>_leftImg8bit.png      gtFine/<split>/<city>/<id>_gtFine_labelIds.png
                                                         gtCoarse/<split>/<city>/<id>_gtCoarse_labelIds.png

The same files in renamed folders, images/ for leftImg8bit/ or masks/ for gtFine/ or both, with or without <city>/:

    images/<split>/<id>_leftImg8bit.png                  masks/<split>/<id>_gtFine_labelIds.png

Any other data set, with a label map:

    images/<split>/<id>.png (or .jpg, .jpeg)             masks/<split>/<id>.png
    images/<split>/<folder>/<name>.png                   masks/<split>/<folder>/<name>.png, the id is <folder>_<name>

The names of the files tell the last two apart, and a label map, where one is given, if more files pair by it. A root
may be a place in a store, such as gs://bucket/folder. Pictures and masks are paired by name and never by order: one
lost file must not shift all others. What lies there and is not taken is counted, by reason, in a warning a split.
"""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io import images as pictures
from tfseg.io import paths
from tfseg.records import labels


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


class Traits(NamedTuple):
    """How the files of a sample were read, where they can be read in more ways than one."""

    size: tuple[int, int]  # height, width of both
    orientation: int  # of the picture, by its EXIF data: 1 to 8
    mask: pictures.Mask


@dataclass(frozen=True)
class Source:
    """A raw data set that was found whole."""

    name: str  # of the layout: "cityscapes", "cityscapes_coarse" or "folders"
    root: Path
    label_map: labels.LabelMap
    splits: dict[str, list[Sample]]  # each sorted by id
    warnings: list[str] = field(default_factory=list)  # a line each, of what is odd but may be meant
    folders: tuple[str, str] = ("images", "masks")  # of pictures and masks
    assumed: bool = False  # masks are taken for label ids of Cityscapes by their names alone, no label map says so
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)  # split -> what is not taken of it -> files


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

_CITYSCAPES_NAME = re.compile(r".+_(leftImg8bit\.(?i:png)|gtFine_\w+\.(?i:png|json))")
_IDD = "_gtFine_labelids.png"  # ends a mask of the India Driving Dataset, which has other ids
# What lies beside the masks in Cityscapes, or is made of them, the likeliest mistake first.
_OTHER_KINDS = {
    "labelTrainIds": "holds the 19 train ids, from which the categories cannot be had again",
    "instanceTrainIds": "numbers single objects",
    "instanceIds": "numbers single objects",
    "color": "holds colours to look at",
    "polygons": "holds the polygons that masks are drawn from",
}
_OTHER_KIND = re.compile(rf"(?P<stem>(?P<id>.+?)(_gtFine|_gtCoarse)?_(?P<kind>{'|'.join(_OTHER_KINDS)}))\.(png|json)")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Pictures of other kinds, and masks.
_UNREAD_SUFFIXES = (
    *(".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".jfif", ".jpe", ".ppm", ".pgm", ".pnm", ".heic", ".heif"),
    *(".avif", ".exr", ".tga", ".dng", ".cr2", ".nef", ".arw", ".npy", ".npz", ".mat", ".svg"),
)
_NOTE_SUFFIXES = (".json", ".txt", ".md", ".xml", ".csv", ".yaml", ".yml", ".html", ".pdf", ".log", ".py", ".sh")
# No look at such a file itself, which is slow on a network disk.
_FILE_SUFFIXES = (*_PICTURE_SUFFIXES, *_UNREAD_SUFFIXES, *_NOTE_SUFFIXES)
_DEEPEST = 16  # folders in folders that are looked into

_FilesById = dict[str, dict[str, Path]]  # split -> id -> file


def open_source(
    root: str | Path, splits: Sequence[str] | None = None, label_map: str | Path | None = None, coarse: bool = False
) -> Source:
    """Finds the samples of a raw data set; reads no picture.

    What is there and is not taken, for its name, its kind or its place, is counted in the warnings.

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
    layout = _detect(root, splits, coarse, label_map)
    names, halves = _choose_splits(layout, root, splits)
    chosen = _choose_label_map(layout, root, label_map)
    found = {split: _find_files(layout, root, split) for split in names}
    images = {split: files.images for split, files in found.items()}
    masks = {split: files.masks for split, files in found.items()}
    passed = {split: files.passed for split, files in found.items() if files.passed}
    _check_pairs(layout, root, images, masks, passed)
    samples = {
        split: [Sample(id, images[split][id], masks[split][id]) for id in sorted(images[split])] for split in names
    }
    _check_no_overlap(root, samples)
    warnings = halves + _odd_counts(layout, root, samples)
    warnings += [f"{root}: split {split}: left out {_in_words(reasons)}" for split, reasons in passed.items()]
    warnings += _stray_pictures(layout, root)
    return Source(
        layout.name,
        root,
        chosen,
        samples,
        warnings,
        (layout.image_folder, layout.mask_folder),
        # Which classes are told apart says nothing about the masks.
        layout.is_cityscapes and label_map in (None, "train_ids"),
        {split: {reason: len(files) for reason, files in reasons.items()} for split, reasons in passed.items()},
    )


def read_sample(sample: Sample, exif_mode: str = "rotate", lookup: np.ndarray | None = None) -> Decoded:
    """Reads a picture and its mask; see `read_traits`."""
    return read_traits(sample, exif_mode, lookup)[0]


def read_traits(sample: Sample, exif_mode: str = "rotate", lookup: np.ndarray | None = None) -> tuple[Decoded, Traits]:
    """Reads a picture and its mask, and tells how.

    Args:
        sample: the files.
        exif_mode: "rotate" turns both upright as their EXIF data say, as viewers do; "ignore" takes both as stored.
        lookup: (256,) uint8 of the label map, `labels.UNKNOWN` where it has no class: of a palette with colours of
            which a mask has nothing but greys, the indexes are read unless it knows the greys alone.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood, or their sizes differ; the message begins
            with the path.
        OSError: a file cannot be read.
    """
    image_file, mask_file = sample.image.read_bytes(), sample.mask.read_bytes()
    with named(sample.image):
        image = pictures.decode_picture(image_file, upright=exif_mode == "rotate")
        orientation = pictures.read_orientation(image_file)
    with named(sample.mask):
        mask = pictures.read_mask(mask_file)
    label_ids = mask.values
    if mask.greys is not None and lookup is not None and not _knows(lookup, mask.values) and _knows(lookup, mask.greys):
        label_ids, mask = mask.greys, mask._replace(kind=pictures.GREYS)
    if exif_mode == "rotate":
        label_ids = pictures.turn(label_ids, pictures.read_orientation(mask_file))
    if image.shape[:2] != label_ids.shape:
        raise ValueError(_size_fault(sample, image, label_ids, orientation, exif_mode))
    traits = Traits(label_ids.shape, orientation, mask)
    return Decoded(image, label_ids, image_file, mask_file), traits


def _knows(lookup: np.ndarray, values: np.ndarray) -> bool:
    return bool((lookup[np.unique(values)] != labels.UNKNOWN).all())


def _size_fault(sample: Sample, image: np.ndarray, mask: np.ndarray, orientation: int, exif_mode: str) -> str:
    is_turned = orientation >= pictures.SIDEWAYS and image.shape[:2] == mask.shape[::-1]
    taken, other = ("upright", "as it is stored") if exif_mode == "rotate" else ("as it is stored", "upright")
    sizes = ["x".join(map(str, shape)) for shape in (image.shape[:2], mask.shape)]
    if not is_turned:
        return f"{sample.image}: is {sizes[0]}, but its mask {sample.mask} is {sizes[1]}; make them agree"
    advice = "ignore takes all pictures as they are stored" if exif_mode == "rotate" else "rotate turns all upright"
    return (
        f"{sample.image}: is {sizes[0]} {taken}, with the orientation {orientation} of its EXIF data, but its mask "
        f"{sample.mask} is {sizes[1]}, as of the picture {other}; make them agree, or --exif {advice}"
    )


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Begins the errors about a file's content with its name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


# ---- the layout


def _detect(root: Path, splits: Sequence[str] | None, coarse: bool, label_map: str | Path | None) -> _Layout:
    if not _is_folder(root):
        raise FileNotFoundError(f"{root}: no such folder")
    layouts = COARSE_LAYOUTS if coarse else LAYOUTS
    for layout in layouts:
        if _is_folder(root / layout.image_folder) and _is_folder(root / layout.mask_folder):
            renamed = layout.is_cityscapes and (layout.image_folder, layout.mask_folder) == ("images", "masks")
            if not renamed or _has_cityscapes_names(layout, root, splits, label_map):
                return layout
    wanted = " or ".join(f"{it.image_folder}/ and {it.mask_folder}/" for it in (layouts[0], layouts[-1]))
    got = _some(path.name for path in root.iterdir()) or "nothing"
    advice = "; only Cityscapes has coarse masks: unpack its gtCoarse/ there, or leave --coarse out" if coarse else ""
    if not coarse and _is_folder(root / "gtCoarse"):
        advice = "; --coarse takes the masks of gtCoarse/"
    raise ValueError(f"{root}: expected {wanted} in it, got {got}{advice}")


def _has_cityscapes_names(
    layout: _Layout, root: Path, splits: Sequence[str] | None, label_map: str | Path | None
) -> bool:
    """Whether images/ and masks/ hold the files of Cityscapes: by any name, or with a label map by most pairs."""
    folders = [root / layout.image_folder, root / layout.mask_folder]
    wanted = splits or sorted(_split_names(folders[0]) | _split_names(folders[1]))
    names = [[{file.name for file in _walk(folder / split)} for split in wanted] for folder in folders]
    if label_map is None or label_map in labels.CITYSCAPES:
        return any(_CITYSCAPES_NAME.fullmatch(name) for of_folder in names for found in of_folder for name in found)
    pairs = {}
    for candidate in (layout, LAYOUTS[-1]):
        endings = candidate.image_endings, (candidate.mask_ending,)
        of_images, of_masks = (
            [{_id_of(name, own) for name in found} - {None} for found in of_folder]
            for of_folder, own in zip(names, endings, strict=True)
        )
        pairs[candidate.name] = sum(len(images & masks) for images, masks in zip(of_images, of_masks, strict=True))
    return pairs[layout.name] > pairs["folders"]


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
    pictures, masks = (any(_could_be(layout, file) for file in _walk(folder)) for folder in folders)
    if pictures and masks:
        return ""
    if pictures:
        lack = f"split {split} has pictures in {layout.image_folder}/ but no masks in {layout.mask_folder}/"
    elif masks:
        lack = f"split {split} has masks in {layout.mask_folder}/ but no pictures in {layout.image_folder}/"
    else:
        lack = f"the split {split} is empty; expected files named *{' or *'.join(layout.image_endings)}"
    passed = _find_files(layout, root, split).passed
    others = {reason: files for reason, files in passed.items() if not reason.startswith(_UNPAIRED)}
    return f"{lack}, and holds {_in_words(others)}" if others else lack


def _could_be(layout: _Layout, file: "_File") -> bool:
    """Whether a file is where pictures and masks are looked for, and of a kind that they or their companions have."""
    if not file.name.lower().endswith((*_PICTURE_SUFFIXES, ".json")):
        return False
    return len(file.way) <= 1 if layout.is_cityscapes else True


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


class _File(NamedTuple):
    """A file below the folder of a split."""

    way: tuple[str, ...]  # the folders between
    folder: Path
    name: str
    is_link: bool

    @property
    def path(self) -> Path:
        return self.folder / self.name


_Passed = dict[str, list[Path]]  # why files are not taken -> these


class _Found(NamedTuple):
    """The files of a split."""

    images: dict[str, Path]  # by id
    masks: dict[str, Path]
    passed: _Passed


_UNPAIRED = "in folders that "  # begins the reason of a file whose folder has no counterpart


def _find_files(layout: _Layout, root: Path, split: str) -> _Found:
    """Finds the pictures and masks of a split, and what else lies there."""
    names, endings = (layout.image_folder, layout.mask_folder), (layout.image_endings, (layout.mask_ending,))
    files = [list(_walk(root / name / split)) for name in names]
    ways = [{file.way for file in own if _id_of(file.name, ends)} for own, ends in zip(files, endings, strict=True)]
    passed: _Passed = defaultdict(list)
    found: list[dict[str, Path]] = [{}, {}]
    for place, (name, ends) in enumerate(zip(names, endings, strict=True)):
        for file in files[place]:
            reason = _why_not(layout, file, ends)
            if not reason and not layout.is_cityscapes and file.way and file.way not in ways[1 - place]:
                reason = f"{_UNPAIRED}{names[1 - place]}/ does not have,"
            if reason:
                passed[f"{reason} in {name}/"].append(file.path)
            elif _id_of(file.name, ends):
                _take(layout, file, ends, found[place])
    return _Found(*found, dict(passed))


def _why_not(layout: _Layout, file: _File, endings: tuple[str, ...]) -> str:
    """Says why a file is not taken; nothing if it is, or if nobody would expect it to be."""
    name = file.name.lower()
    if name.endswith(_NOTE_SUFFIXES) or ("." not in name and file.name.isupper()):  # README
        return ""
    if layout.is_cityscapes and len(file.way) > 1:
        return "deeper than the folders of the cities"
    if _id_of(file.name, endings):
        return ""
    if layout.is_cityscapes:
        if name.endswith(layout.mask_ending.lower()) and endings == (layout.mask_ending,):
            _refuse_other_capitals(layout, file.path)
        if _OTHER_KIND.fullmatch(file.name):
            return ""
        if name.endswith(_PICTURE_SUFFIXES):
            return f"not named *{' or *'.join(endings)} (capitals count)"
    suffix = "." + name.rpartition(".")[2] if "." in name else "without an ending"
    return f"of a kind that is not read ({suffix})"


def _refuse_other_capitals(layout: _Layout, path: Path) -> None:
    """Refuses masks of a data set that is named as Cityscapes but for the capitals: its ids mean something else."""
    advice = "or put such masks into masks/ and the pictures into images/, under the same names, and give --label-map"
    if path.name.endswith(_IDD):
        raise ValueError(
            f"{path}: *{_IDD} is a mask of the India Driving Dataset (IDD), whose ids are not those of Cityscapes' "
            f"*{layout.mask_ending}; put its masks {advice.removeprefix('or put such masks ')}"
        )
    raise ValueError(f"{path}: expected *{layout.mask_ending}, in which capitals count; rename it if it is, {advice}")


def _take(layout: _Layout, file: _File, endings: tuple[str, ...], taken: dict[str, Path]) -> None:
    """Adds a file under its id."""
    id = _id_of(file.name, endings)
    if not layout.is_cityscapes:
        id = "_".join([*file.way, id])
    if file.is_link:
        _refuse_broken(file.path)
    id = _checked_id(id, file.path)
    if id in taken:
        raise ValueError(f"{file.path}: has the same id, {id}, as {taken[id]}; rename one of the two")
    taken[id] = file.path


def _id_of(name: str, endings: tuple[str, ...]) -> str | None:
    """A name less its ending, of which capitals count up to the last dot; None if it has none of the endings."""
    for ending in endings:
        kind, _, suffix = ending.rpartition(".")
        if name.lower().endswith(f".{suffix}") and name[: -len(suffix) - 1].endswith(kind) and len(name) > len(ending):
            return name[: -len(ending)]
    return None


def _checked_id(id: str, path: Path) -> str:
    """Writes an id in one way on all systems, and refuses what cannot be written, or would break a line."""
    try:
        id = os.fsencode(id).decode()  # the same whatever Python took the bytes of the name for
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise ValueError(f"{ascii(str(path))[1:-1]}: its name is not in UTF-8; rename it") from None
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in id):
        raise ValueError(f"{ascii(str(path))[1:-1]}: its name has a line break or another control character; rename it")
    return unicodedata.normalize("NFC", id)  # a Mac may take the ü of one of two names apart


def _walk(folder: Path, way: tuple[str, ...] = ()) -> Iterator[_File]:
    """The files in a folder and the folders below it, in order."""
    for name, is_link in _entries(folder) if way or _is_folder(folder) else ():
        if name.lower().endswith(_FILE_SUFFIXES) or len(way) == _DEEPEST or not _is_folder(folder / name):
            yield _File(way, folder, name, is_link)
        elif not (is_link and _leads_back(folder, name)):
            yield from _walk(folder / name, (*way, name))


def _leads_back(folder: Path, name: str) -> bool:
    """Whether a link leads to a folder that it is in."""
    return (folder / name).resolve() in {above.resolve() for above in (folder, *folder.parents)}


def _stray_pictures(layout: _Layout, root: Path) -> list[str]:
    """A warning of files beside the folders of the splits."""
    warnings = []
    for folder in (layout.image_folder, layout.mask_folder):
        names = [name for name, _ in _entries(root / folder) if name.lower().endswith(_PICTURE_SUFFIXES)]
        if names:
            files = _in_words({"beside the folders of the splits": [root / folder / name for name in names]})
            warnings.append(f"{root}: {folder}/: left out {files}")
    return warnings


def _in_words(passed: _Passed) -> str:
    return ", ".join(
        f"{len(files)} {reason}, such as {_escaped(min(files))}" for reason, files in sorted(passed.items())
    )


def _escaped(path: Path) -> str:
    return str(path).encode(errors="backslashreplace").decode()


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, each with whether it is a link; an OSError if the folder cannot be read."""
    if paths.is_local(folder):
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_symlink()) for entry in found]
    else:
        entries = [(path.name, False) for path in folder.iterdir()]  # a store has no links
    return sorted(entry for entry in entries if not paths.is_hidden(entry[0]))


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


def _check_pairs(
    layout: _Layout, root: Path, images: _FilesById, masks: _FilesById, passed: dict[str, _Passed]
) -> None:
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
        complaints += ["add what is missing, or choose other splits with --splits"]
        complaints += [f"split {split} holds besides {_in_words(reasons)}" for split, reasons in passed.items()]
        raise ValueError(f"{root}: {'; '.join(complaints)}")


def _other_kind(layout: _Layout, root: Path, unmasked: set[str], unpictured: set[str]) -> Iterator[str]:
    """Says what lies in the place of the masks, where that is another kind of Cityscapes' files."""
    kinds = list(_OTHER_KINDS)
    others = []
    for split in {name.split("/")[0] for name in unmasked | unpictured}:
        for file in _walk(root / layout.mask_folder / split):
            match = _OTHER_KIND.fullmatch(unicodedata.normalize("NFC", file.name))
            if match and (f"{split}/{match['id']}" in unmasked or f"{split}/{match['stem']}" in unpictured):
                others.append((kinds.index(match["kind"]), file.path))
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
