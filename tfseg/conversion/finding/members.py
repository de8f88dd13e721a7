"""The images of a data set with their masks, paired, and the ids that they get.

The id of an image is its name, with the folders below that of its split in front: seq/0001.jpg is seq_0001. Where two
images would have one id so, 0001 in train/ and in val/ or a_b/c and a/b_c, the ids of the whole data set are paths:
train/a_b/c. Which of the two it is depends on all that is converted, and nothing else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.files import File, Found, make_key
from tfseg.conversion.finding.layouts import MADE_BESIDE, Layout, Tree
from tfseg.conversion.finding.pairing import Affix, Affixes, Key, find_affixes
from tfseg.io.escaping import printable

Files = dict[str, dict[Key, Path]]  # split -> key -> file


class Member(NamedTuple):
    """An image with its mask."""

    split: str  # that its folder is of; empty in a data set without folders of splits
    key: Key
    image: Path
    mask: Path  # or the folder of its layers
    layers: tuple[tuple[str, Path], ...] = ()  # see `samples.Sample`
    data: bytes = b""  # likewise

    @property
    def path(self) -> str:
        """Folders below that of its split, and name, with / between: what lists and groups go by."""
        return "/".join(self.key)

    @property
    def whole_path(self) -> str:
        return "/".join([self.split, *self.key] if self.split else self.key)


def key_files(tree: Tree, found: Mapping[str, Found]) -> tuple[Files, Files, Affixes]:
    """Gives images and masks the keys by which they pair.

    Args:
        tree: the data set.
        found: the files of each split.

    Returns:
        Images and masks by split and key, and what was taken off their names.

    Raises:
        ValueError: two images, or two masks, have the same name but for the kind of file; or the names can be paired in
            two ways.
    """
    halves = [
        {split: _by_key(tree.layout, own, ends) for split, own in of_half.items()}
        for of_half, ends in zip(
            ({split: files.images for split, files in found.items()}, _masks(tree.layout, found)),
            tree.endings,
            strict=True,
        )
    ]
    if tree.layout.is_cityscapes:
        return halves[0], halves[1], Affixes()
    keys = [[(split, *key) for split, files in half.items() for key in files] for half in halves]
    has_affix = [any(not ending.startswith(".") for ending in ends) for ends in tree.endings]
    try:
        affixes = find_affixes(keys[0], keys[1], (has_affix[0], has_affix[1]))
    except ValueError as error:
        raise ValueError(f"{tree.place}: {error}") from None
    return _strip(halves[0], affixes.image), _strip(halves[1], affixes.mask), affixes


def _masks(layout: Layout, found: Mapping[str, Found]) -> dict[str, list[File]]:
    """The files of masks; without those that Cityscapes' tools make beside them, where there are others."""
    masks = {split: files.masks for split, files in found.items()}
    if layout.is_cityscapes:
        return masks
    kept = {split: [file for file in files if not MADE_BESIDE.fullmatch(file.name)] for split, files in masks.items()}
    return kept if any(kept.values()) else masks


def _by_key(layout: Layout, files: Iterable[File], endings: tuple[str, ...]) -> dict[Key, Path]:
    taken: dict[Key, Path] = {}
    for file in files:
        key = make_key(layout, file, endings)
        if key in taken:
            raise ValueError(
                f"{file.path}: has the same id, {printable('_'.join(key))}, as {taken[key]}; rename one of the two, or "
                "let --image-suffix or --mask-suffix choose"
            )
        taken[key] = file.path
    return taken


def _strip(files: Files, affix: Affix) -> Files:
    return {split: {affix.strip(key): path for key, path in own.items()} for split, own in files.items()}


def make_ids(members: Sequence[Member]) -> list[str]:
    """Makes the ids of all images that are converted, see this module's head.

    Example:
        >>> make_ids([Member("", ("a", "0"), image, mask), Member("", ("a_0",), other, its_mask)])
        ['a/0', 'a_0']
    """
    short = ["_".join(member.key) for member in members]
    return short if len({*short}) == len(short) else [member.whole_path for member in members]


def repeated_ids(members: Sequence[Member]) -> list[str]:
    """The short ids that more than one image would have, sorted."""
    counts = Counter("_".join(member.key) for member in members)
    return sorted(id for id, count in counts.items() if count > 1)
