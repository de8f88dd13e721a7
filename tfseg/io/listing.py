"""Images in folders: in the order that people read their names in, without litter, and with a word on what is left out.

Nothing is opened but folders; what a file holds shows when it is read.
"""

import functools
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.io.escaping import printable
from tfseg.io.images import FORMATS, IMAGE_SUFFIXES, register_heif
from tfseg.io.paths import is_hidden
from tfseg.io.regular_files import check_regular

SUFFIXES = IMAGE_SUFFIXES
HEIC = (".heic", ".heif")
HEIC_HINT = "pip install 'tf-segmentation[heic]' lets them be read"


class Listing(NamedTuple):
    """Images, and what is to be reported of the folders that they lie in."""

    images: dict[Path, Path]
    """Each with the folder below that of the results where its own go."""
    left_out: list[str]
    """One line for each folder that holds something else, too."""


def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, HEIC among them where its extra is installed."""
    return (*FORMATS, "HEIF") if register_heif() else FORMATS


def check_heic(name: str) -> None:
    """Raises ValueError for the name of a HEIC image where the extra that reads them is not installed."""
    if name.lower().endswith(HEIC) and not register_heif():
        raise ValueError(f"{printable(name)} is a HEIC image; {HEIC_HINT}")


def check_readable(path: Path) -> None:
    """Raises ValueError for what cannot be read as an image whatever it holds: HEIC without its extra, no file."""
    check_heic(str(path))
    if path.exists():
        check_regular(path)


def natural_order(path: Path) -> tuple:
    """Makes a key by which names sort as people read them: frame_2 before frame_10, whatever their case.

    Names that differ in nothing but case or leading zeros follow each other as text.
    """
    *folders, name = path.parts
    words = [*folders, path.stem if name else ""]
    return [_split_numbers(word) for word in words], _split_numbers(path.suffix), str(path)


def _split_numbers(text: str) -> list:
    """ "a10b" -> ["a", 10, "b"]: text at even places, numbers at odd ones."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", text.casefold()))]


def list_images(paths: Iterable[Path], out: Path, endings: tuple[str, ...] = ()) -> Listing:
    """Replaces each folder by the images in it and below, in natural order; an image that is named twice stays once.

    Args:
        paths: files and folders.
        out: folder of results. What an earlier run wrote there is left out, if it lies below one of the folders.
        endings: of the names of such results.

    Raises:
        ValueError: a folder holds no image.
        OSError: a folder cannot be read.
    """
    images, left_out, known = {}, [], set()
    real = functools.cache(Path.resolve)  # of folders, which have many files each
    for path in paths:
        found = {path: Path()}
        if path.is_dir():
            listed, others = list_folder(path, out, endings)
            rest = _describe(others)
            if not listed:
                holds = f"; it holds {rest}" if rest else ""
                raise ValueError(f"{printable(path)} holds no {', '.join(SUFFIXES)} file{holds}")
            if rest:
                left_out.append(f"{printable(path)}: {rest} left out, as no images that are read")
            found = {file: file.relative_to(path).parent for file in listed}
        for file, place in found.items():
            key = real(file.parent) / file.name  # a link is a file of its own, as its results have its name
            if key not in known:
                known.add(key)
                images[file] = place
    return Listing(images, left_out)


def list_folder(folder: Path, out: Path, endings: tuple[str, ...] = ()) -> tuple[list[Path], Counter]:
    """Lists the images in a folder and below, in natural order, and counts what else is there by its suffix."""
    real = functools.cache(Path.resolve)
    below = real(out).is_relative_to(real(folder)) and real(out) != real(folder)
    images, others = [], Counter()
    for path in _walk(folder, others):
        if below and path.name.endswith(endings) and real(path.parent).is_relative_to(real(out)):
            continue  # among the images themselves, results could not be distinguished from them
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES and not (suffix in HEIC and register_heif()):
            others[suffix or "without a suffix"] += 1
        elif not _may_be_file(path):
            others["no file"] += 1
        else:
            images.append(path)
    return sorted(images, key=natural_order), others


def _walk(folder: Path, others: Counter) -> Iterator[Path]:
    """Gives all that is in a folder and below, but folders and litter; counts links to folders, which lead round."""

    def fail(error: OSError):
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not is_hidden(name)]
        others["link to a folder"] += sum(Path(place, name).is_symlink() for name in folders)
        yield from (Path(place, name) for name in names if not is_hidden(name))


def _may_be_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # a link to nowhere, say: it is named when it is read


def _describe(others: Counter) -> str:
    """Words counts: 3 .txt, 1 .gif."""
    hints = dict.fromkeys(HEIC, f" ({HEIC_HINT})")
    return ", ".join(f"{count} {kind}{hints.get(kind, '')}" for kind, count in others.most_common() if count)
