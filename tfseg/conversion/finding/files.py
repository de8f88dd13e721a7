"""The files of a split: which are its images and masks, by their names, and what else lies there."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.layouts import (
    DEEPEST,
    FILE_SUFFIXES,
    IMAGE_SUFFIXES,
    NOTE_SUFFIXES,
    OTHER_KIND,
    SPLIT,
    Layout,
    Tree,
    id_of,
)
from tfseg.conversion.reading.faults import Skipped
from tfseg.io import paths
from tfseg.io.escaping import printable
from tfseg.io.names import check_id, has_control


class File(NamedTuple):
    """A file below the folder of a split."""

    way: tuple[str, ...]  # the folders between
    folder: Path
    name: str
    is_link: bool

    @property
    def path(self) -> Path:
        return self.folder / self.name


Passed = dict[str, list[Path]]  # why files are not taken -> these


class Found(NamedTuple):
    """The files of a split."""

    images: list[File]
    masks: list[File]
    passed: Passed


YOLO_CLASSES = "classes.txt"  # names the classes; labelImg and others write it among the annotations
UNPAIRED = "in folders that "  # begins the reason of a file whose folder has no counterpart


def find_files(tree: Tree, split: str, skipped: list[Skipped] | None = None) -> Found:
    """Finds the images and masks in the folder of a split, and what else lies there.

    Args:
        tree: the data set.
        split: name of the folder.
        skipped: takes links that lead nowhere; None: they are refused.

    Raises:
        FileNotFoundError: a link leads nowhere.
        OSError: a folder cannot be read.
    """
    layout, endings = tree.layout, tree.endings
    files = _list_halves(tree, split)
    if layout.form == "yolo":
        images = {(*file.way, id_of(file.name, endings[0])) for file in files[0]}
        files[1] = [
            file
            for file in files[1]
            if file.name != YOLO_CLASSES or (*file.way, id_of(file.name, endings[1])) in images
        ]
    ways = [{file.way for file in own if id_of(file.name, ends)} for own, ends in zip(files, endings, strict=True)]
    passed: Passed = defaultdict(list)
    found: list[list[File]] = [[], []]
    for half, ends in enumerate(endings):
        for file in files[half]:
            reason = _why_not(layout, file, ends)
            alone = file.way and file.way not in ways[1 - half] and not layout.is_indexed
            if not reason and not layout.is_cityscapes and alone:
                reason = f"{UNPAIRED}{tree.words(1 - half)}/ does not have,"
            if reason:
                passed[f"{reason} in {tree.words(half)}/"].append(file.path)
            elif id_of(file.name, ends):
                try:
                    if file.is_link:
                        refuse_broken(file.path)
                except FileNotFoundError as error:
                    if skipped is None:
                        raise
                    image, mask = ("", str(file.path)) if half else (str(file.path), "")
                    skipped.append(Skipped(split, id_of(file.name, ends) or "", image, mask, str(error)))
                    continue
                found[half].append(file)
    return Found(found[0], found[1], dict(passed))


def _list_halves(tree: Tree, split: str) -> list[list[File]]:
    """All files in the folders of images and of masks of a split; where that is one folder, parted by their endings."""
    if tree.layout.is_indexed:
        return [list(walk(tree.folder(0, split))), []]
    if not tree.is_shared:
        return [list(walk(tree.folder(half, split))) for half in (0, 1)]
    files = list(walk(tree.folder(0, split)))
    masks = [file for file in files if id_of(file.name, tree.layout.mask_endings)]
    others = [file for file in files if not id_of(file.name, tree.layout.mask_endings)]
    return [others, masks]


def _why_not(layout: Layout, file: File, endings: tuple[str, ...]) -> str:
    """Says why a file is not taken; nothing if it is, or if nobody would expect it to be."""
    name = file.name.lower()
    if name.endswith(NOTE_SUFFIXES) or ("." not in name and file.name.isupper()):  # README
        return ""
    if layout.is_cityscapes and len(file.way) > 1:
        return "deeper than the folders of the cities"
    if id_of(file.name, endings):
        return ""
    if layout.is_cityscapes:
        if endings == layout.mask_endings and name.endswith(endings[0].lower()):
            _refuse_other_capitals(layout, file.path)
        if OTHER_KIND.fullmatch(file.name):
            return ""
    if name.endswith(endings_of_kind := kinds_of(endings)) and endings != endings_of_kind:
        capitals = " (capitals count)" if layout.is_cityscapes else ""
        return f"not named {in_endings(endings)}{capitals}"
    suffix = "." + name.rpartition(".")[2] if "." in name else "without an ending"
    return f"of a kind that is not read ({suffix})"


def kinds_of(endings: tuple[str, ...]) -> tuple[str, ...]:
    """The kinds of files that have some endings: .png of _mask.png."""
    return tuple(dict.fromkeys(f".{ending.rpartition('.')[2].lower()}" for ending in endings))


def in_endings(endings: tuple[str, ...], prefix: str = "", suffix: str = "") -> str:
    """Names of files with some endings, and with what all have in common before that.

    Example:
        >>> in_endings((".png", ".bmp", ".tif"), suffix="_mask")
        '*_mask.png (or .bmp, .tif)'
    """
    others = kinds_of(endings)[1:] if endings == kinds_of(endings) else ()
    return f"{prefix}*{suffix}{endings[0]}" + (f" (or {', '.join(others)})" if others else "")


def _refuse_other_capitals(layout: Layout, path: Path) -> None:
    """Refuses masks of a data set that is named as Cityscapes but for the capitals: its ids mean something else."""
    raise ValueError(
        f"{path}: expected *{layout.mask_endings[0]}, in which capitals count; rename it if it is, or put such masks "
        "into masks/ and the images into images/, under the same names, and give --label-map"
    )


def make_key(layout: Layout, file: File, endings: tuple[str, ...]) -> tuple[str, ...]:
    """What a file is paired by: the folders below that of its split, of Cityscapes none, and its name less the ending.

    Raises:
        ValueError: the name cannot be written in UTF-8, or would break a line, or can be no id.
    """
    way = () if layout.is_cityscapes else file.way
    return tuple(_checked_id("/".join([*way, id_of(file.name, endings) or ""]), file.path).split("/"))


def _checked_id(id: str, path: Path) -> str:
    """Writes an id in one way on all systems, and refuses what cannot be written, or would break a line."""
    try:
        id = os.fsencode(id).decode()  # the same whatever Python took the bytes of the name for
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise ValueError(f"{ascii(str(path))[1:-1]}: its name is not in UTF-8; rename it") from None
    if has_control(id):
        raise ValueError(f"{ascii(str(path))[1:-1]}: its name has a line break or another control character; rename it")
    id = unicodedata.normalize("NFC", id)  # a Mac may take the ü of one of two names apart
    try:
        return check_id(id)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}; rename it") from None


def walk(folder: Path, way: tuple[str, ...] = ()) -> Iterator[File]:
    """The files in a folder and the folders below it, in order."""
    for name, is_link in list_entries(folder) if way or is_folder(folder) else ():
        if name.lower().endswith(FILE_SUFFIXES) or len(way) == DEEPEST or not is_folder(folder / name):
            yield File(way, folder, name, is_link)
        elif not (is_link and _leads_back(folder, name)):
            yield from walk(folder / name, (*way, name))


def _leads_back(folder: Path, name: str) -> bool:
    """Whether a link leads to a folder that it is in."""
    return (folder / name).resolve() in {above.resolve() for above in (folder, *folder.parents)}


def warn_of_strays(tree: Tree) -> list[str]:
    """A warning of files beside the folders of the splits."""
    warnings = []
    for half, path in enumerate((tree.layout.images, tree.layout.masks)):
        head, _, tail = path.partition(SPLIT)
        if tail or not path.endswith(SPLIT):  # nobody puts images there
            continue
        folder = tree.roots[half] / head.rstrip("/") if head else tree.roots[half]
        names = [name for name, _ in list_entries(folder) if name.lower().endswith(IMAGE_SUFFIXES)]
        if names:
            files = in_words({"beside the folders of the splits": [folder / name for name in names]})
            warnings.append(f"{tree.place}: {tree.words(half)}/: left out {files}")
    return warnings


def in_words(passed: Passed) -> str:
    return ", ".join(
        f"{len(files)} {reason}, such as {printable(min(files))}" for reason, files in sorted(passed.items())
    )


def list_entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, each with whether it is a link; an OSError if the folder cannot be read."""
    if paths.is_local(folder):
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_symlink()) for entry in found]
    else:
        entries = [(path.name, False) for path in folder.iterdir()]  # a store has no links
    return sorted(entry for entry in entries if not paths.is_hidden(entry[0]))


def is_folder(path: Path) -> bool:
    if path.is_dir():
        return True
    refuse_broken(path)
    return False


def refuse_broken(path: Path) -> None:
    """Refuses a link to nowhere: passed over in silence, what it stood for would never be missed."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path}: is a link to {path.readlink()}, which is not there; mend or remove it")


def some(names: Iterable[str], limit: int = 3) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
