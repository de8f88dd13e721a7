"""Which split each image of a data set goes into, the id that it gets, and what is odd about the splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfseg.conversion.finding.files import some
from tfseg.conversion.finding.layouts import SAMPLE_CITY, Layout, Tree
from tfseg.conversion.finding.members import Member, make_ids, repeated_ids
from tfseg.conversion.finding.splitting import TRAIN, VAL, Splitting, find_lists, part_by_lists, part_by_share
from tfseg.conversion.reading.faults import Skipped
from tfseg.conversion.reading.samples import Sample


class Placed(NamedTuple):
    """The images of each split."""

    members: dict[str, list[Member]]
    notes: list[str]  # on what was decided
    warnings: list[str]
    how: str  # "by their folders", "by lists" or "by a hash"


def place_members(
    tree: Tree,
    members: list[Member],
    splits: Sequence[str] | None,
    splitting: Splitting,
    skipped: list[Skipped] | None = None,
) -> Placed:
    """Decides the split of each image; `skipped` as of `files.find_files`."""
    notes, warnings, how = [], [], "by lists"
    names: Sequence[str | None]
    lists = find_lists(tree.folder(0, "").parent / tree.layout.lists) if tree.layout.lists else {}
    if splitting.by_share:
        names, note = part_by_share(members, splitting, tree.place)
        notes.append(note)
        how = "by a hash"
    elif splitting.lists or (lists and not any(member.split for member in members)):
        own = splitting.lists or lists
        names, warnings = part_by_lists(members, own, tree.place, not splitting.lists, skipped)
        lost = [member.whole_path for member, name in zip(members, names, strict=True) if name is None]
        if lost:
            text = f"{len(lost)} of {len(members)} images are in no list: {some(lost)}"
            (warnings if splitting.lists else notes).append(
                f"{tree.place}: {text}; they are left out" if splitting.lists else text
            )
        notes.append("splits by the lists " + ", ".join(f"{split} {file}" for split, file in own.items()))
    elif all(member.split for member in members):
        names = [member.split for member in members]
        placed = {split: [m for m in members if m.split == split] for split in dict.fromkeys(names)}
        return Placed(placed, notes, warnings, "by their folders")
    else:
        folders = " ".join(f"{tree.words(half)}/{split}" for half in (0, 1) for split in (TRAIN, VAL))
        raise ValueError(
            f"{tree.place}: nothing says which split its {len(members)} images belong to; part them by --val-share 0.1 "
            "(or 0: all become train), or name them in lists by --split train=train.txt --split val=val.txt"
            + ("" if tree.layout.is_indexed else f", or move them into folders: mkdir {folders}")
        )
    there = {name for name in names if name is not None}
    if missing := [split for split in splits or () if split not in there]:
        raise FileNotFoundError(
            f"{tree.place}: no split {', '.join(missing)}; there is {', '.join(sorted(there)) or 'none'}"
        )
    placed: dict[str, list[Member]] = {split: [] for split in splits or sorted(there)}
    for member, name in zip(members, names, strict=True):
        if name in placed:
            placed[name].append(member)
    return Placed(placed, notes, warnings, how)


def make_samples(tree: Tree, placed: dict[str, list[Member]]) -> dict[str, list[Sample]]:
    """Gives every image its id.

    Raises:
        ValueError: two images of Cityscapes, whose names differ all over the world, have one name.
    """
    if tree.layout.is_cityscapes:
        _check_no_overlap(tree.place, placed)
    everyone = [member for members in placed.values() for member in members]
    ids = iter(make_ids(everyone))
    samples = {
        split: [_make_sample(tree, next(ids), member) for member in members] for split, members in placed.items()
    }
    return {split: sorted(own, key=lambda sample: sample.id) for split, own in samples.items()}


def _make_sample(tree: Tree, id: str, member: Member) -> Sample:
    form = "layers" if member.layers else tree.layout.form
    return Sample(id, member.image, member.mask, form, member.data, member.layers)


# ---- the checks


def _check_no_overlap(place: Path, placed: dict[str, list[Member]]) -> None:
    """An image in two splits would be scored by a network that was trained on it."""
    split_of: dict[str, str] = {}
    for split, members in placed.items():
        shared = [member.path for member in members if member.path in split_of]
        if shared:
            raise ValueError(
                f"{place}: {len(shared)} ids of split {split} are in split {split_of[shared[0]]} too: {some(shared)}; "
                f"the names of all images must differ"
            )
        split_of |= dict.fromkeys((member.path for member in members), split)


def repeated_names(tree: Tree, placed: dict[str, list[Member]]) -> list[str]:
    """Warns of names that several images have, for these may be the same image."""
    repeated = repeated_ids([member for members in placed.values() for member in members])
    if not repeated:
        return []
    return [
        f"{tree.place}: {len(repeated)} names are those of several images, such as {some(repeated, 1)}: the ids of all "
        "are their paths; look whether an image is in two splits, where a network would be scored on what it was "
        "trained on"
    ]


def odd_counts(tree: Tree, samples: dict[str, list[Sample]]) -> list[str]:
    """Warnings of splits with more or fewer images than Cityscapes has."""
    layout: Layout = tree.layout
    if not layout.counts or (tree.place / SAMPLE_CITY).is_file():
        return []
    warnings = []
    for split, members in samples.items():
        found, expected = len(members), layout.counts.get(split, len(members))
        if found != expected:
            warnings.append(f"{tree.place}: split {split} has {found} images, in Cityscapes it has {expected}")
        if (found, expected) == (2974, 2975):
            warnings[-1] += "; a known accident: one file was lost by an incomplete download or unpacking"
    return warnings
