"""A raw data set on disk -> samples: the id, the image and the mask of each, per split.

Cityscapes as it is unpacked, with its fine masks or, if asked for, its coarse ones:

    leftImg8bit/<split>/<city>/<id>_leftImg8bit.png      gtFine/<split>/<city>/<id>_gtFine_labelIds.png
                                                         gtCoarse/<split>/<city>/<id>_gtCoarse_labelIds.png

The same files in renamed folders, images/ for leftImg8bit/ or masks/ for gtFine/ or both, with or without <city>/:

    images/<split>/<id>_leftImg8bit.png                  masks/<split>/<id>_gtFine_labelIds.png

Any other data set, with a label map:

    images/<split>/<id>.png (or .jpg, .tif, ...)         masks/<split>/<id>.png (or <id>_mask.png, ...)
    images/<split>/<folder>/<name>.png                   masks/<split>/<folder>/<name>.png, the id is <folder>_<name>

The names of the files distinguish the last two, and a label map, where one is given, if more files pair by it. The
layouts of public data sets are recognised too, see `known_layouts`; so are two folders of any names, and data sets
without folders of splits, which `splitting` parts. A root may be a place in a store, such as gs://bucket/folder. Images
and masks are paired by name and never by order: one lost file must not shift all others. What lies there and is not
taken is counted, by reason, in a warning a split.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from tfseg.conversion.finding.annotation_files import index_images, with_numbers
from tfseg.conversion.finding.detection import (
    choose_label_map,
    choose_splits,
    detect_tree,
    is_split,
    open_halves,
    with_endings,
)
from tfseg.conversion.finding.files import Found, Passed, find_files, in_words, warn_of_strays
from tfseg.conversion.finding.known_layouts import split_names
from tfseg.conversion.finding.layer_files import find_layers
from tfseg.conversion.finding.layouts import Tree
from tfseg.conversion.finding.members import Member, key_files
from tfseg.conversion.finding.pair_checks import check_pairs, leave_out_unpaired
from tfseg.conversion.finding.pairing import Affixes, Key
from tfseg.conversion.finding.placing import make_samples, odd_counts, place_members, repeated_names
from tfseg.conversion.finding.splitting import Splitting
from tfseg.conversion.reading.faults import Skipped
from tfseg.conversion.reading.samples import Sample
from tfseg.io import paths
from tfseg.io.names import check_name
from tfseg.records import labels


class SourceOptions(TypedDict, total=False):
    """What `open_source` takes besides, for functions that pass it on."""

    images: str | Path | None
    masks: str | Path | None
    layout: str | None
    image_suffix: str | None
    mask_suffix: str | None
    val_share: float | None
    test_share: float | None
    seed: int
    group_by: str | None
    split_lists: Mapping[str, str | Path] | None


@dataclass(frozen=True)
class Source:
    """A raw data set that was found whole."""

    name: str  # of the layout: "cityscapes", "cityscapes_coarse", "folders", or of `known_layouts`
    root: Path
    label_map: labels.LabelMap
    splits: dict[str, list[Sample]]  # each sorted by id
    warnings: list[str] = field(default_factory=list)  # a line each, of what is odd but may be meant
    folders: tuple[str, str] = ("images", "masks")  # of images and masks
    assumed: bool = False  # masks are taken for label ids of Cityscapes by their names alone, no label map says so
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)  # split -> what is not taken of it -> files
    notes: list[str] = field(default_factory=list)  # a line each, of what was recognised and decided
    skipped: list[Skipped] = field(default_factory=list)  # what is bad, where that is left out and not refused
    parted_by: str = "by their folders"  # how the split of each image was decided, see `placing.Placed`

    @property
    def lacks_label_map(self) -> bool:
        """Whether nothing says what its masks mean, so that it cannot be converted yet."""
        return not self.label_map.classes


def open_source(
    root: str | Path | None = None,
    splits: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    *,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    layout: str | None = None,
    image_suffix: str | None = None,
    mask_suffix: str | None = None,
    val_share: float | None = None,
    test_share: float | None = None,
    seed: int = 0,
    group_by: str | None = None,
    split_lists: Mapping[str, str | Path] | None = None,
    may_lack_label_map: bool = False,
    skip_bad: bool = False,
) -> Source:
    """Finds the samples of a raw data set; reads no image.

    What is there and is not taken, for its name, its kind or its place, is counted in the warnings.

    Args:
        root: folder in one of the layouts of this module's head, on this machine or in a store; or ...
        splits: names of the splits to take, which must be whole; None takes all that have both images and masks.
        label_map: as of `label_map_files.read_label_map`, which data sets other than Cityscapes need; of
            Cityscapes also a name of `labels.CITYSCAPES`, and None for the 8 categories.
        coarse: take the coarse masks of Cityscapes, in gtCoarse/, in the place of the fine.
        images, masks: ... folders of all images and of all masks, in folders of any depth that both have.
        layout: name of the layout, where two fit; None takes the first.
        image_suffix, mask_suffix: what the names of images and masks end with before they are the same, such as
            "_mask" or "_mask.png"; None finds what all have in common.
        val_share, test_share: share of the images, 0..1, that become the splits val and test of a data set without
            folders of splits, or with one; the rest is train.
        seed: of the hash that decides which.
        group_by: regular expression that finds in the path of an image, drive1/0001, what stays in one split.
        split_lists: split -> file with the ids or file names of its images, one a line, in the place of shares.
        may_lack_label_map: whether to open what needs a label map without one too, to propose one, see `proposal`.
        skip_bad: whether to leave out and list images without a mask, masks without an image, links that lead nowhere,
            and what annotations or lists name and is not there; of a split at least one pair must remain.

    Raises:
        FileNotFoundError: a folder or a split is missing, or a link leads nowhere.
        ValueError: the layout is unknown, an image or mask lacks its partner, two images have one name, or nothing says
            which split images belong to.

    Example:
        >>> source = open_source("data/mine", None, "data/mine/map.yaml", val_share=0.1)
        >>> {split: len(samples) for split, samples in source.splits.items()}
        {'train': 91, 'val': 9}
    """
    splitting = Splitting(val_share, test_share, seed, group_by, split_lists or {})
    splitting.check()
    tree = _open_tree(root, images, masks, splits, label_map, coarse, layout, mask_suffix, splitting)
    tree = with_endings(tree, image_suffix, mask_suffix)
    folders, warnings = _choose_folders(tree, splits, splitting)
    chosen, its_name = choose_label_map(tree, label_map, may_lack_label_map)
    named_by = ""
    if tree.layout.form == "yolo" and chosen.classes:
        chosen, named_by = with_numbers(chosen, tree)
    skipped: list[Skipped] | None = [] if skip_bad else None
    found = {split: find_files(tree, folder, skipped) for split, folder in folders.items()}
    passed = {split: files.passed for split, files in found.items() if files.passed}
    members, affixes, unmasked, layered = _pair(tree, folders, found, passed, chosen, skipped)
    if skipped and splitting.is_asked_for:  # its folder is no split
        skipped = [one._replace(split="") for one in skipped]
    placed, notes, doubts, parted_by = place_members(tree, members, splits, splitting, skipped)
    samples = make_samples(tree, placed)
    warnings += [*doubts, *repeated_names(tree, placed)]
    warnings += [] if splitting.is_asked_for else odd_counts(tree, samples)
    warnings += [
        f"{tree.place}: {f'split {split}: ' if split else ''}left out {in_words(reasons)}"
        for split, reasons in passed.items()
    ]
    warnings += warn_of_strays(tree)
    if unmasked:
        notes.append(f"{unmasked} images have no mask and are no part of it")
    if named_by:
        notes.append(f"the numbers of classes are named by {named_by}")
    return Source(
        tree.layout.name,
        tree.place,
        chosen,
        samples,
        warnings,
        (tree.words(0), tree.words(1)),
        # Which classes are distinguished says nothing about the masks.
        tree.layout.is_cityscapes and tree.layout.form == "mask" and label_map in (None, "train_ids"),
        {split: {reason: len(files) for reason, files in reasons.items()} for split, reasons in passed.items()},
        [f"{tree.place}: {note}" for note in [*_recognised(tree, affixes, its_name, layered), *notes]],
        sorted(one if one.split in samples else one._replace(split="") for one in skipped or ()),
        parted_by,
    )


# ---- the steps


def _open_tree(
    root: str | Path | None,
    images: str | Path | None,
    masks: str | Path | None,
    splits: Sequence[str] | None,
    label_map: str | Path | None,
    coarse: bool,
    layout: str | None,
    mask_suffix: str | None,
    splitting: Splitting,
) -> Tree:
    if root is not None and images is None and masks is None:
        return detect_tree(
            paths.open_path(root),
            splits=splits,
            label_map=label_map,
            coarse=coarse,
            layout=layout,
            mask_suffix=mask_suffix,
            without_splits=splitting.is_asked_for,
        )
    if root is not None or images is None or masks is None:
        raise ValueError("expected either --root, or both --images and --masks")
    if coarse or layout is not None:
        raise ValueError(f"{'--coarse' if coarse else '--layout'} is for --root; --masks names the folder of the masks")
    return open_halves(paths.open_path(images), paths.open_path(masks), label_map)


def _choose_folders(tree: Tree, splits: Sequence[str] | None, splitting: Splitting) -> tuple[dict[str, str], list[str]]:
    """Split -> its folder, and warnings of those that are left out; of a data set without such folders, "" alone."""
    if not tree.layout.has_splits:
        return {"": ""}, []
    parted = splitting.is_asked_for
    folders, warnings = choose_splits(tree, None if parted or _is_pooled(tree) else splits)
    if splitting.by_share and len(folders) > 1 and not _is_pooled(tree):
        raise ValueError(
            f"{tree.place}: has the splits {', '.join(folders)}; --val-share parts images without folders of splits, "
            "or with one; leave it out, or list the ids of each split: --split train=train.txt --split val=val.txt"
        )
    for name in () if parted else folders:
        try:
            check_name(name, "split")
        except ValueError as error:
            raise ValueError(f"{tree.place}: {error}; rename the folder") from None
    return folders, warnings


def _is_pooled(tree: Tree) -> bool:
    """Whether no folder has the name of a split, so that they are part of the ids."""
    if not (tree.layout.has_splits and tree.layout.joins_folders):
        return False
    halves = zip(tree.roots, (tree.layout.images, tree.layout.masks), strict=True)
    return not any(is_split(name) for root, path in halves for name in split_names(root, path, tree.layout))


def _pair(
    tree: Tree,
    folders: dict[str, str],
    found: dict[str, Found],
    passed: dict[str, Passed],
    label_map: labels.LabelMap,
    skipped: list[Skipped] | None,
) -> tuple[list[Member], Affixes, int, str]:
    """Pairs images and masks by their names.

    Returns:
        The images with their masks; what was taken off the names; how many images have no mask and need none; and how
        masks of one class each lie, in words.
    """
    images, masks, affixes = key_files(tree, found)
    own_layers: dict[str, dict[Key, tuple[tuple[str, Path], ...]]] = {}
    words, unmasked = "", 0
    data: dict[str, dict[Key, bytes]] = {}
    if tree.layout.is_indexed:
        images, masks, data, unmasked = index_images(tree, folders, found, skipped)
        affixes = Affixes()
    elif not any(images[split].keys() & masks[split].keys() for split in images):
        layers = find_layers(tree, folders, label_map)
        if layers:
            passed.clear()  # what looked like a mask without an image is a layer
            images, affixes, words = layers.images, Affixes(), layers.words
            own_layers = {split: {key: tuple(it) for key, it in own.items()} for split, own in layers.layers.items()}
            masks = {split: {key: it[0][1].parent for key, it in own.items()} for split, own in own_layers.items()}
    if tree.layout.lists:
        for split in images:
            there = {key: path for key, path in images[split].items() if key in masks[split]}
            unmasked += len(images[split]) - len(there)
            images[split] = there
    if skipped is not None:
        skipped += leave_out_unpaired(images, masks)
    check_pairs(tree, images, masks, affixes, passed)
    pooled = _is_pooled(tree)
    members = [
        Member(
            "" if pooled else split,
            (split, *key) if pooled else key,
            path,
            masks[split][key],
            own_layers.get(split, {}).get(key, ()),
            data.get(split, {}).get(key, b""),
        )
        for split, own in images.items()
        for key, path in own.items()
    ]
    return members, affixes, unmasked, words


def _recognised(tree: Tree, affixes: Affixes, label_map: str | None, layered: str) -> Iterator[str]:
    """Says what was recognised, where that is more than the trees of ever."""
    if tree.found:
        yield f"read as {tree.found}"
    if layered:
        yield f"read as {layered}"
    for kind, affix in (("images", affixes.image), ("masks", affixes.mask)):
        if affix.prefix or affix.suffix:
            yield f"all {kind} are named {affix.prefix}*{affix.suffix}, which is taken off to pair them"
    if label_map:
        yield f"label map {label_map}, of the values that the makers of the data set have laid down"
