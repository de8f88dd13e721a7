"""Flags that several commands share, or that one has many of: where raw data lie, how they are split and stored."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from tfseg.conversion.finding.sources import SourceOptions
from tfseg.conversion.reading.readings import MASK_VALUES
from tfseg.conversion.writing.encoding import EXIF_MODES, MASK_RESIZES
from tfseg.conversion.writing.image_formats import VALUE_RANGES, ValueRange
from tfseg.io.command import parse_size, program
from tfseg.records.label_map_files import packaged_names
from tfseg.records.records import CODECS


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that `read_source_flags` reads, beside --root, --label-map, --coarse and --splits."""
    where = parser.add_argument_group("where images and masks lie, in the place of --root")
    where.add_argument("--images", metavar="DIR", help="folder of all images, in folders of any depth")
    masks_help = "folder of all masks, in the same folders; train/, val/ and test/ directly below are splits, other "
    where.add_argument("--masks", metavar="DIR", help=masks_help + "folders become part of the ids")
    names = parser.add_argument_group("how they are named, where the files leave it open")
    suffix_help = "what the names of the {} end with, such as {} (default: what all have in common)"
    names.add_argument("--mask-suffix", metavar="END", help=suffix_help.format("masks", "_mask or _mask.png"))
    names.add_argument("--image-suffix", metavar="END", help=suffix_help.format("images", "_rgb or .jpg"))
    layout_help = (
        "which of several layouts that fit, such as mapillary_v2.0 (default: what the folders are named after)"
    )
    names.add_argument("--layout", metavar="NAME", help=layout_help)
    parts = parser.add_argument_group("which split, without folders of splits")
    share_help = "share of the images that become val, such as 0.1; a hash of each path decides, so that later images "
    share_help += "move no others; the rest is train; 0 makes all train"
    parts.add_argument("--val-share", type=float, metavar="SHARE", help=share_help)
    parts.add_argument("--test-share", type=float, metavar="SHARE", help="likewise of test")
    parts.add_argument("--seed", type=int, default=0, help="of that hash (default 0)")
    group_help = "regular expression that finds in a path, drive1/0001, what stays in one split: '^[^/]+' is the folder"
    parts.add_argument("--group-by", metavar="REGEX", help=group_help)
    list_help = (
        "ids or file names of a split, one a line, such as train=train.txt; once a split, in the place of shares"
    )
    parts.add_argument("--split", action="append", type=parse_list, metavar="NAME=FILE", help=list_help)


def add_label_map_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --label-map, and what is done without."""
    map_help = "classes to learn: categories (8, default) or train_ids (19) of Cityscapes, "
    map_help += f"{', '.join(packaged_names())}, or a YAML file of `mask value: class` lines; the classes are the 8 "
    map_help += "categories unless the file has an entry `classes` of `name: [red, green, blue]` lines; void, which "
    map_help += "counts nowhere, is put before them if it is not their first"
    parser.add_argument("--label-map", metavar="MAP", help=map_help)
    yes_help = "go on with the label map that is proposed where one is needed and none is given, without a look at it"
    parser.add_argument("--yes", action="store_true", help=yes_help)


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how much is converted, and what becomes of records that are there."""
    add = parser.add_argument
    add("--limit", type=int, help="at most so many images of each split, to try things out")
    add("--overwrite", action="store_true", help="replace records that are there, once the new are whole")
    update_help = "bring records that are there up to date: encode what is new or changed, leave out what is gone"
    add("--update", action="store_true", help=update_help)
    skip_help = "leave out images and masks that are bad, and list them in tfseg-skipped.jsonl beside the shards"
    add("--skip-bad", action="store_true", help=skip_help)


def add_storage_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how images and masks are read and stored, each named as the argument of `convert`."""
    add = parser.add_argument
    size_help = "HEIGHTxWIDTH that every image is resized to, such as 512x1024; original: as it is (default)"
    add("--size", default="original", help=size_help)
    codec_help = (
        "of the stored images: jpeg is small (default of 1 and 3 channels), png exact (default of 4), raw exact "
    )
    codec_help += "and large with nothing to decode (default of others)"
    add("--codec", choices=CODECS, help=codec_help)
    add("--quality", type=int, default=95, help="of JPEG, 1 to 100 (default 95)")
    resize_help = (
        "a smaller mask takes the value in the middle of each cell (default) or the one that covers most of it"
    )
    add("--mask-resize", default="nearest", choices=MASK_RESIZES, help=resize_help)
    exif_help = "turn images and masks upright as their EXIF data say (default), or take both as they are stored: for "
    exif_help += "masks that were drawn on images that a program had not turned"
    add("--exif", default="rotate", choices=EXIF_MODES, help=exif_help)
    channels_help = (
        "of each image (default: by the files; those of 8-bit grey and RGB become 3): 1 takes grey as it is, "
    )
    channels_help += "4 takes RGBA with its alpha, and others all channels of a TIFF"
    add("--channels", type=int, metavar="N", help=channels_help)
    range_help = "which values of 16-bit images become 0 and 255: percentiles, 0.1 and 99.9 of the training split "
    range_help += "(default), full, 0 and 65535, or LOW,HIGH, once or for each channel"
    add("--value-range", nargs="+", default=["percentiles"], metavar="RANGE", help=range_help)
    add_reading_flags(parser)


def parse_range(words: Sequence[str]) -> ValueRange:
    """Reads --value-range: one of `VALUE_RANGES`, or pairs such as 0,4095.

    Raises:
        ValueError: it is none of these.
    """
    if len(words) == 1 and words[0] in VALUE_RANGES:
        return words[0]
    try:
        pairs = [[int(value) for value in word.split(",")] for word in words]
        if all(len(pair) == 2 for pair in pairs):
            return pairs
    except ValueError:
        pass
    raise ValueError(f"--value-range: expected {', '.join(VALUE_RANGES)} or LOW,HIGH, got {' '.join(words)}")


def add_reading_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how masks are read."""
    add = parser.add_argument
    values_help = "what of a mask is read: index, its values; color, its colours, through those of the label map; red, "
    values_help += "green, blue, that channel; one rule for all masks (default: auto, by what the masks are)"
    add("--mask-values", default="auto", choices=MASK_VALUES, help=values_help)
    tolerance_help = "a colour is of the class whose colour is nearest, at most so far in any channel (default 0)"
    add("--color-tolerance", type=int, default=0, metavar="LEVELS", help=tolerance_help)


class StorageOptions(TypedDict):
    """What `add_storage_flags` gives, as `converter.convert` takes it."""

    size: tuple[int, int] | None
    codec: str | None
    quality: int
    mask_resize: str
    exif: str
    mask_values: str
    color_tolerance: int
    channels: int | None
    value_range: ValueRange


def read_storage_flags(options: argparse.Namespace) -> StorageOptions:
    """Makes of flags the arguments of the same names.

    Raises:
        ValueError: --size is neither original nor HEIGHTxWIDTH, or --value-range is none.
    """
    return {
        "size": None if options.size == "original" else parse_size(options.size),
        "codec": options.codec,
        "quality": options.quality,
        "mask_resize": options.mask_resize,
        "exif": options.exif,
        "mask_values": options.mask_values,
        "color_tolerance": options.color_tolerance,
        "channels": options.channels,
        "value_range": parse_range(options.value_range),
    }


def conversion_words(words: Sequence[str]) -> str:
    """Writes the command that converts what such words say; where to is for its reader to choose."""
    return f"{program('convert')} {shlex.join(words)} --out OUT"


def parse_list(text: str) -> tuple[str, str]:
    """Reads "train=ids.txt" as ("train", "ids.txt").

    Raises:
        argparse.ArgumentTypeError: one of the two is missing.
    """
    split, equals, file = text.partition("=")
    if not (split and equals and file):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, such as train=train.txt, got {text!r}")
    return split, file


def read_source_flags(options: argparse.Namespace) -> SourceOptions:
    """Makes of flags what `sources.open_source` takes besides root, splits, label map and coarse.

    Raises:
        ValueError: a split has two lists.
    """
    lists: dict[str, str | Path] = {}
    for split, file in options.split or ():
        if split in lists:
            raise ValueError(f"--split: {split} has two lists, {lists[split]} and {file}; put them into one file")
        lists[split] = file
    return {
        "images": options.images,
        "masks": options.masks,
        "layout": options.layout,
        "image_suffix": options.image_suffix,
        "mask_suffix": options.mask_suffix,
        "val_share": options.val_share,
        "test_share": options.test_share,
        "seed": options.seed,
        "group_by": options.group_by,
        "split_lists": lists,
    }


def source_words(
    root: str | Path | None,
    label_map: str | Path | None,
    coarse: bool,
    splits: Sequence[str] | None,
    where: SourceOptions,
) -> list[str]:
    """Writes what says where raw data lie as words of the command line, as `add_source_flags` reads them."""
    given = {"root": root, "label_map": label_map, **where, "seed": where.get("seed") or None}
    given.pop("split_lists", None)
    words = []
    for name, value in given.items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    words += ["--coarse"] if coarse else []
    lists = (where.get("split_lists") or {}).items()
    words += [text for split, file in lists for text in ("--split", f"{split}={file}")]
    return words + (["--splits", *splits] if splits else [])


def is_any_given(options: argparse.Namespace) -> bool:
    """Whether any of these flags is given: 0 is a share, too."""
    given = read_source_flags(options)
    return any(value not in (None, {}) for name, value in given.items() if name != "seed") or options.seed != 0
