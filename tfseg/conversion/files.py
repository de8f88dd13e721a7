"""The files of a split: which are its images and masks, by their names, and what else lies there."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.layouts import (
    DEEPEST,
    FILE_SUFFIXES,
    IDD,
    IMAGE_SUFFIXES,
    NOTE_SUFFIXES,
    OTHER_KIND,
    Layout,
    id_of,
)
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

    images: dict[str, Path]  # by id
    masks: dict[str, Path]
    passed: Passed


UNPAIRED = "in folders that "  # begins the reason of a file whose folder has no counterpart


def find_files(layout: Layout, root: Path, split: str) -> Found:
    """Finds the images and masks of a split, and what else lies there."""
    names, endings = (layout.image_folder, layout.mask_folder), (layout.image_endings, (layout.mask_ending,))
    files = [list(walk(root / name / split)) for name in names]
    ways = [{file.way for file in own if id_of(file.name, ends)} for own, ends in zip(files, endings, strict=True)]
    passed: Passed = defaultdict(list)
    found: list[dict[str, Path]] = [{}, {}]
    for place, (name, ends) in enumerate(zip(names, endings, strict=True)):
        for file in files[place]:
            reason = _why_not(layout, file, ends)
            if not reason and not layout.is_cityscapes and file.way and file.way not in ways[1 - place]:
                reason = f"{UNPAIRED}{names[1 - place]}/ does not have,"
            if reason:
                passed[f"{reason} in {name}/"].append(file.path)
            elif id_of(file.name, ends):
                _take(layout, file, ends, found[place])
    return Found(found[0], found[1], dict(passed))


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
        if name.endswith(layout.mask_ending.lower()) and endings == (layout.mask_ending,):
            _refuse_other_capitals(layout, file.path)
        if OTHER_KIND.fullmatch(file.name):
            return ""
        if name.endswith(IMAGE_SUFFIXES):
            return f"not named *{' or *'.join(endings)} (capitals count)"
    suffix = "." + name.rpartition(".")[2] if "." in name else "without an ending"
    return f"of a kind that is not read ({suffix})"


def _refuse_other_capitals(layout: Layout, path: Path) -> None:
    """Refuses masks of a data set that is named as Cityscapes but for the capitals: its ids mean something else."""
    advice = "or put such masks into masks/ and the images into images/, under the same names, and give --label-map"
    if path.name.endswith(IDD):
        raise ValueError(
            f"{path}: *{IDD} is a mask of the India Driving Dataset (IDD), whose ids are not those of Cityscapes' "
            f"*{layout.mask_ending}; put its masks {advice.removeprefix('or put such masks ')}"
        )
    raise ValueError(f"{path}: expected *{layout.mask_ending}, in which capitals count; rename it if it is, {advice}")


def _take(layout: Layout, file: File, endings: tuple[str, ...], taken: dict[str, Path]) -> None:
    """Adds a file under its id."""
    id = id_of(file.name, endings) or ""
    if not layout.is_cityscapes:
        id = "_".join([*file.way, id])
    if file.is_link:
        _refuse_broken(file.path)
    id = _checked_id(id, file.path)
    if id in taken:
        raise ValueError(f"{file.path}: has the same id, {id}, as {taken[id]}; rename one of the two")
    taken[id] = file.path


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


def warn_of_strays(layout: Layout, root: Path) -> list[str]:
    """A warning of files beside the folders of the splits."""
    warnings = []
    for folder in (layout.image_folder, layout.mask_folder):
        names = [name for name, _ in list_entries(root / folder) if name.lower().endswith(IMAGE_SUFFIXES)]
        if names:
            files = in_words({"beside the folders of the splits": [root / folder / name for name in names]})
            warnings.append(f"{root}: {folder}/: left out {files}")
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
    _refuse_broken(path)
    return False


def _refuse_broken(path: Path) -> None:
    """Refuses a link to nowhere: passed over in silence, what it stood for would never be missed."""
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path}: is a link to {path.readlink()}, which is not there; mend or remove it")


def some(names: Iterable[str], limit: int = 3) -> str:
    names = sorted(names)
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
