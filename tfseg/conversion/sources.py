"""A raw data set on disk -> samples: the id, the image and the mask of each, per split.

Cityscapes as it is unpacked, with its fine masks or, if asked for, its coarse ones:

    leftImg8bit/<split>/<city>/<id>_leftImg8bit.png      gtFine/<split>/<city>/<id>_gtFine_labelIds.png
                                                         gtCoarse/<split>/<city>/<id>_gtCoarse_labelIds.png

The same files in renamed folders, images/ for leftImg8bit/ or masks/ for gtFine/ or both, with or without <city>/:

    images/<split>/<id>_leftImg8bit.png                  masks/<split>/<id>_gtFine_labelIds.png

Any other data set, with a label map:

    images/<split>/<id>.png (or .jpg, .jpeg)             masks/<split>/<id>.png
    images/<split>/<folder>/<name>.png                   masks/<split>/<folder>/<name>.png, the id is <folder>_<name>

The names of the files distinguish the last two, and a label map, where one is given, if more files pair by it. A root
may be a place in a store, such as gs://bucket/folder. Images and masks are paired by name and never by order: one
lost file must not shift all others. What lies there and is not taken is counted, by reason, in a warning a split.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.conversion.detection import choose_label_map, choose_splits, detect_layout
from tfseg.conversion.files import Passed, find_files, in_words, some, walk, warn_of_strays
from tfseg.conversion.layouts import OTHER_KIND, OTHER_KINDS, SAMPLE_CITY, Layout
from tfseg.conversion.samples import Sample
from tfseg.io import paths
from tfseg.io.names import check_name
from tfseg.records import labels

_FilesById = dict[str, dict[str, Path]]  # split -> id -> file


@dataclass(frozen=True)
class Source:
    """A raw data set that was found whole."""

    name: str  # of the layout: "cityscapes", "cityscapes_coarse" or "folders"
    root: Path
    label_map: labels.LabelMap
    splits: dict[str, list[Sample]]  # each sorted by id
    warnings: list[str] = field(default_factory=list)  # a line each, of what is odd but may be meant
    folders: tuple[str, str] = ("images", "masks")  # of images and masks
    assumed: bool = False  # masks are taken for label ids of Cityscapes by their names alone, no label map says so
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)  # split -> what is not taken of it -> files


def open_source(
    root: str | Path, splits: Sequence[str] | None = None, label_map: str | Path | None = None, coarse: bool = False
) -> Source:
    """Finds the samples of a raw data set; reads no image.

    What is there and is not taken, for its name, its kind or its place, is counted in the warnings.

    Args:
        root: folder in one of the layouts of this module's head, on this machine or in a store.
        splits: names of the splits to take, which must be whole; None takes all that have both images and masks.
        label_map: YAML file as `labels.read_label_map` reads it, which data sets other than Cityscapes need; of
            Cityscapes also a name of `labels.CITYSCAPES`, and None for the 8 categories.
        coarse: take the coarse masks of Cityscapes, in gtCoarse/, in the place of the fine.

    Raises:
        FileNotFoundError: the folder or a split is missing, or a link leads nowhere.
        ValueError: the layout is unknown, an image or mask lacks its partner, or two images have one id.
    """
    root = paths.open_path(root)
    layout = detect_layout(root, splits, coarse, label_map)
    names, halves = choose_splits(layout, root, splits)
    for name in names:
        try:
            check_name(name, "split")
        except ValueError as error:
            raise ValueError(f"{root}: {error}; rename the folder") from None
    chosen = choose_label_map(layout, root, label_map)
    found = {split: find_files(layout, root, split) for split in names}
    images = {split: files.images for split, files in found.items()}
    masks = {split: files.masks for split, files in found.items()}
    passed = {split: files.passed for split, files in found.items() if files.passed}
    _check_pairs(layout, root, images, masks, passed)
    samples = {
        split: [Sample(id, images[split][id], masks[split][id]) for id in sorted(images[split])] for split in names
    }
    _check_no_overlap(root, samples)
    warnings = halves + _odd_counts(layout, root, samples)
    warnings += [f"{root}: split {split}: left out {in_words(reasons)}" for split, reasons in passed.items()]
    warnings += warn_of_strays(layout, root)
    return Source(
        layout.name,
        root,
        chosen,
        samples,
        warnings,
        (layout.image_folder, layout.mask_folder),
        # Which classes are distinguished says nothing about the masks.
        layout.is_cityscapes and label_map in (None, "train_ids"),
        {split: {reason: len(files) for reason, files in reasons.items()} for split, reasons in passed.items()},
    )


# ---- the checks


def _check_pairs(layout: Layout, root: Path, images: _FilesById, masks: _FilesById, passed: dict[str, Passed]) -> None:
    """Refuses images without a mask and masks without an image, those of all splits in one message."""
    image_names, mask_name = "*" + " or *".join(layout.image_endings), "*" + layout.mask_ending
    for split in images:
        if not images[split] and not masks[split]:
            raise ValueError(f"{root}: no file of split {split} is named {image_names} or {mask_name}")
    unmasked = {f"{split}/{id}" for split in images for id in images[split].keys() - masks[split].keys()}
    imageless = {f"{split}/{id}" for split in images for id in masks[split].keys() - images[split].keys()}
    complaints = []
    if unmasked:
        complaints.append(f"{len(unmasked)} of the images have no mask {mask_name}: {some(unmasked, 10)}")
    if imageless:
        complaints.append(f"{len(imageless)} of the masks have no image {image_names}: {some(imageless, 10)}")
    if complaints:
        complaints += _other_kind(layout, root, unmasked, imageless)
        complaints += ["add what is missing, or choose other splits with --splits"]
        complaints += [f"split {split} holds besides {in_words(reasons)}" for split, reasons in passed.items()]
        raise ValueError(f"{root}: {'; '.join(complaints)}")


def _other_kind(layout: Layout, root: Path, unmasked: set[str], imageless: set[str]) -> Iterator[str]:
    """Says what lies in the place of the masks, where that is another kind of Cityscapes' files."""
    kinds = list(OTHER_KINDS)
    others = []
    for split in {name.split("/")[0] for name in unmasked | imageless}:
        for file in walk(root / layout.mask_folder / split):
            match = OTHER_KIND.fullmatch(unicodedata.normalize("NFC", file.name))
            if match and (f"{split}/{match['id']}" in unmasked or f"{split}/{match['stem']}" in imageless):
                others.append((kinds.index(match["kind"]), file.path))
    if others:
        kind, path = min(others)
        advice = f"move such files out of {layout.mask_folder}/"
        if layout.is_cityscapes:
            advice = "labelIds come with the download, or are drawn from *_polygons.json by "
            advice += "`python -m cityscapesscripts.preparation.json2labelImg`"
        yield f"{path} is of the kind {kinds[kind]}, which {OTHER_KINDS[kinds[kind]]}; {advice}"


def _check_no_overlap(root: Path, samples: dict[str, list[Sample]]) -> None:
    """An image in two splits would be scored by a network that was trained on it."""
    split_of: dict[str, str] = {}
    for split, members in samples.items():
        shared = [member.id for member in members if member.id in split_of]
        if shared:
            raise ValueError(
                f"{root}: {len(shared)} ids of split {split} are in split {split_of[shared[0]]} too: {some(shared)}; "
                f"the names of all images must differ"
            )
        split_of |= dict.fromkeys((member.id for member in members), split)


def _odd_counts(layout: Layout, root: Path, samples: dict[str, list[Sample]]) -> list[str]:
    """Warnings of splits with more or fewer images than Cityscapes has."""
    if (root / SAMPLE_CITY).is_file():
        return []
    warnings = []
    for split, members in samples.items():
        found, expected = len(members), layout.counts.get(split, len(members))
        if found != expected:
            warnings.append(f"{root}: split {split} has {found} images, in Cityscapes it has {expected}")
        if (found, expected) == (2974, 2975):
            warnings[-1] += "; a known accident: one file was lost by an incomplete download or unpacking"
    return warnings
