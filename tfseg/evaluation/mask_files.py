"""Masks in files, as `tfseg predict` writes them: found by the id of their image, and read."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfseg.inference.files import ENDINGS
from tfseg.io import masks
from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file

MASK_ENDING = ENDINGS[0]


def list_masks(folder: Path) -> dict[str, list[Path]]:
    """Lists the masks in a folder and below: each by its name less the ending, and by the names of folders before it.

    seq/0001/007_classes.png is found as 007, 0001_007 and seq_0001_007, as the records name images in folders. Of one
    name the masks in the fewest folders come first.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder of masks")
    masks = {}
    for path in sorted(folder.rglob(f"*{MASK_ENDING}"), key=lambda path: (len(path.parts), path)):
        *folders, name = path.relative_to(folder).parts
        words = [*folders, name.removesuffix(MASK_ENDING)]
        for first in range(len(words)):
            masks.setdefault(unicodedata.normalize("NFC", "_".join(words[first:])), []).append(path)
    return masks


def _agrees(folders: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the folders that a mask lies in can be the last ones of an id, or hold all of them."""
    shared = min(len(folders), len(wanted))
    tail = [unicodedata.normalize("NFC", name) for name in folders[len(folders) - shared :]]
    return tail == [*wanted[len(wanted) - shared :]]


def find_mask(masks: Mapping[str, list[Path]], id: str, folder: Path) -> Path:
    """Finds the mask of an image among those that `list_masks` found in a folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, none of which lies in fewer folders than the others.
    """
    words = id.split("/")  # an id that is a path may have been predicted from any of its folders
    ends = ["_".join(words[first:]) for first in range(len(words))]
    names = [*ends, f"{words[-1]}_leftImg8bit"]
    paths = next((masks[name] for name in names if name in masks), [])
    if len(words) > 1:  # 0001 of another folder is another image
        paths = [path for path in paths if _agrees(path.relative_to(folder).parts[:-1], words[:-1])]
    if not paths:
        missing = " or ".join(f"{name}{MASK_ENDING}" for name in names)
        raise FileNotFoundError(f"{folder}: has no {shorten(missing)}")
    if len(paths) > 1 and len(paths[0].parts) == len(paths[1].parts):
        both = f"{printable(paths[0])} and {printable(paths[1])}"
        raise ValueError(f"{folder}: has {len(paths)} masks of {printable(id)}, {both}; remove one")
    return paths[0]


def read_mask(path: Path, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Reads a mask, uint8 (height, width) class ids.

    Raises:
        ValueError: it is damaged, has another shape, or holds ids that are not below `classes`.
        OSError: it cannot be read.
    """
    try:
        mask = masks.decode_mask(read_file(path))
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None
    if mask.shape != shape or mask.max(initial=0) >= classes:
        raise ValueError(
            f"{printable(path)}: expected {'x'.join(map(str, shape))} pixels of class ids below {classes}, as tfseg "
            f"predict writes them, got {'x'.join(map(str, mask.shape))} with values up to {mask.max(initial=0)}"
        )
    return mask
