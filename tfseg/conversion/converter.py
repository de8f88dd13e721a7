"""Samples -> shards: decode, check, remap, resize and encode every image, once, before any training.

Worker processes do all the work on pixels; this one puts their records into shards, in the order of the samples, so the
files are the same for any number of workers. A folder of records is whole or not there. Interrupted conversions resume
and produce byte-identical shards: see journal.py.
"""

import dataclasses
import functools
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from tfseg.conversion import evidence, image_formats, journal, shards, updates
from tfseg.conversion.checks import check_evidence, choose_reading, look_at_ids
from tfseg.conversion.encoding import Settings, make_settings
from tfseg.conversion.fingerprints import fingerprint_part
from tfseg.conversion.image_formats import ValueRange
from tfseg.conversion.journal import Entry
from tfseg.conversion.plan import Part, journal_settings, plan_parts, samples_by_split
from tfseg.conversion.proposed_file import Show, add_proposal
from tfseg.conversion.rows import gather_rows
from tfseg.conversion.sources import Source, SourceOptions, open_source
from tfseg.conversion.updates import Old
from tfseg.io import staging
from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import parse_json
from tfseg.io.paths import is_local, open_path
from tfseg.io.staging import resolve_place
from tfseg.records.manifest import (
    Manifest,
    Split,
    manifest_text,
    parse_sound_manifest,
    read_manifest,
    read_manifest_bytes,
    schema_version_of,
    write_manifest,
)
from tfseg.records.record_set import RecordSet, open_records

# Writes the shards that are not finished yet: parts, folder, settings, settings of the journal -> entries of all parts.
# An update hands on the old records, too, as `old`.
WriteParts = Callable[..., dict[str, Entry]]

# Fields of a manifest that a user, or the source, decides.
CHOSEN = ("source", "size", "codec", "quality", "mask_resize", "exif", "channels", "value_range")


def convert_dataset(
    root: str | Path | None,
    out: str | Path,
    *,
    splits: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    size: tuple[int, int] | None = None,
    codec: str | None = None,
    quality: int = 95,
    mask_resize: str = "nearest",
    exif: str = "rotate",
    mask_values: str = "auto",
    color_tolerance: int = 0,
    channels: int | None = None,
    value_range: ValueRange = "percentiles",
    workers: int = 1,
    limit: int | None = None,
    overwrite: bool = False,
    update: bool = False,
    write_parts: WriteParts | None = None,
    warn: Callable[[str], object] = warnings.warn,
    on_proposal: Show | None = None,
    **where: Unpack[SourceOptions],
) -> RecordSet:
    """Converts a raw data set to records; resumes a conversion that was interrupted, and keeps one that is finished.

    Args:
        root: folder of the raw data set, or its place in a store, see `sources`; None where `images` and `masks` name
            two folders.
        out: folder to make, for shards and manifest.json; also a place in a store.
        splits: names of the splits to convert, such as ["train", "val"]; None converts all that are there.
        label_map: "categories" (8 classes) or "train_ids" (19) of Cityscapes, or what other data sets need: a YAML
            file of `mask value: class` lines, or the name of one of the package, see `label_map_files`. None: the
            categories.
        coarse: whether to take the coarse masks of Cityscapes, in gtCoarse/.
        size, codec, quality, mask_resize, exif, mask_values, color_tolerance, channels, value_range: as of `convert`.
        workers, limit, overwrite, update, write_parts: likewise.
        warn: called with each warning of what is odd but may be meant.
        on_proposal: where a data set needs a label map and none is given, one is proposed by what its masks hold, and
            written beside `out`, see `proposed_file`; this is called with the `Proposal` and the path of the file, and
            the conversion continues with it unless this raises. None: such a data set is refused.
        where: images, masks, layout, image_suffix, mask_suffix, val_share, test_share, seed, group_by and split_lists,
            as of `sources.open_source`.

    Returns:
        The records, opened.

    Raises:
        BadFilesError: files of the source are bad, or contradict each other.
        ValueError: an argument is bad, the layout is unknown, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    source = open_source(root, splits, label_map, coarse, may_lack_label_map=on_proposal is not None, **where)
    for note in source.notes:
        print(printable(note))
    for warning in source.warnings:
        warn(warning)
    if source.lacks_label_map and on_proposal is not None:
        source = add_proposal(source, out, on_proposal, workers, mask_values)
    convert(
        source,
        out,
        size=size,
        codec=codec,
        quality=quality,
        mask_resize=mask_resize,
        exif=exif,
        mask_values=mask_values,
        color_tolerance=color_tolerance,
        channels=channels,
        value_range=value_range,
        workers=workers,
        limit=limit,
        overwrite=overwrite,
        update=update,
        write_parts=write_parts,
        warn=warn,
    )
    return open_records(open_path(out).resolve())  # as it was made: out/.. need not be there


def convert(
    source: Source,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    codec: str | None = None,
    quality: int = 95,
    mask_resize: str = "nearest",
    exif: str = "rotate",
    mask_values: str = "auto",
    color_tolerance: int = 0,
    channels: int | None = None,
    value_range: ValueRange = "percentiles",
    workers: int = 1,
    limit: int | None = None,
    overwrite: bool = False,
    update: bool = False,
    write_parts: WriteParts | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Manifest:
    """Converts a raw data set to a folder of shards and a manifest.

    Records that are there already are kept if they hold the same ids, made with the same settings. Changed pixels of
    the source are not noticed then: `update` and `overwrite` are for them.

    Args:
        source: from `sources.open_source`.
        out: folder to make.
        size: height and width to resize every image to; None keeps each image's own.
        codec: of the stored images: "jpeg" (small), "png" (exact) or "raw" (exact, large, nothing to decode). None:
            JPEG of 1 or 3 channels, PNG of 4, raw of others.
        quality: of JPEG, 1..100.
        mask_resize: "nearest" takes the value in the middle of each cell, "majority" the one that covers most of it.
        exif: "rotate" turns images upright as their EXIF data say, "ignore" takes them as stored; masks likewise.
        mask_values: how masks are read, one rule for all: "index" by their values, "color" by the colours of the label
            map, "red", "green" or "blue" by the values of that channel; "auto" chooses "index" or "color" by a few.
        color_tolerance: the largest difference of a channel, 0..255, at which a colour of a mask is still taken for
            the nearest of the label map.
        channels: of each image; None: as the files say, see `image_formats.choose_format`.
        value_range: which values of 16 bits become 0 and 255, see there.
        workers: processes that decode and encode; with 1 this process does it.
        limit: at most so many images of each split.
        overwrite: replace records that are there.
        update: bring records that are there up to date: images that are new or have changed are encoded, those that are
            gone are left out, and all others stay as they are stored. What comes out is, byte for byte, what a
            conversion from nothing makes. Images count as changed if name, size or time of a file has.
        write_parts: does the work elsewhere, see beam.py; None does it here, with `workers`.
        warn: called with each warning of an update: what of the old records is damaged.

    Raises:
        BadFilesError: files of the source are bad, or contradict each other.
        ValueError: an argument is bad, the masks cannot be what their names say, or `out` holds something else, or for
            an update records with other settings.
        OSError: a file cannot be read or written.
    """
    if update and overwrite:
        raise ValueError("expected update or overwrite, got both: an update keeps what is there as far as it can")
    settings = make_settings(source, size, codec or "jpeg", quality, mask_resize, exif, mask_values, color_tolerance)
    settings = choose_reading(source, settings)
    if settings.rule.gives_class_ids:
        source = dataclasses.replace(source, assumed=False)  # raw values are no label ids of Cityscapes
    parts = plan_parts(source, limit)
    pixels, notes, warnings = image_formats.choose_format(parts, channels, value_range, workers)
    for note in notes:
        print(printable(note))
    for warning in warnings:
        warn(warning)
    settings = image_formats.with_format(settings, pixels, codec, quality)
    blank = blank_manifest(source, settings)
    out = open_path(out)
    out = resolve_place(out) if (overwrite or update) and is_local(out) else out.resolve()
    if update and is_local(out):
        staging.tidy(out, journal.RECORDS)
    old, there = None, journal.is_there(out)
    if there and update:
        old, data = _open_old(out, blank, parts, warn)
        if manifest := _find_up_to_date(old, data, blank, parts, source):
            journal.clear(out)
            print(f"{out}: {updates.summarise_update(old, parts)}")
            return manifest
        if not is_local(out):
            old.forget("lies in a store, where records are written in place")
        if old.reason:
            print(f"{out}: {old.reason}; all {old.planned} images are encoded again")
    elif there and not overwrite:
        manifest = _reuse(out, blank, parts)
        journal.clear(out)
        print(f"{out}: is there already, made with the same settings")
        return manifest
    look_at_ids(source, parts)
    write_parts = write_parts or functools.partial(shards.write_parts, workers=workers)
    with journal.open_folder(out, overwrite or update) as folder:
        if old is not None:
            if is_local(out):
                _check_still_old(old, data)
            write_parts = functools.partial(write_parts, old=old)
        with image_formats.explain_mixture(parts, settings.pixels, workers):
            entries = write_parts(parts, folder, settings, journal_settings(blank, parts))
        check_evidence(source, parts, entries)
        manifest = complete_manifest(blank, parts, entries, source)
        gather_rows(folder, parts, entries)
        write_manifest(folder, manifest)
    if old is not None:
        print(f"{out}: {updates.summarise_update(old, parts)}")
    return manifest


def _reuse(out: Path, wanted: Manifest, parts: Sequence[Part]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = _setting_differences(there, wanted, (*CHOSEN, *updates.FORMAT))
    ids = {split: [sample.id for sample in samples] for split, samples in samples_by_split(parts).items()}
    for split in sorted(there.splits.keys() | ids.keys()):
        found = there.splits[split].ids if split in there.splits else []
        if found != ids.get(split, []):
            differences.append(f"split {split} has {len(found)} images, not the same {len(ids.get(split, []))}")
    if differences:
        raise ValueError(f"{out}: holds other records: {'; '.join(differences)}; choose another --out, or --overwrite")
    return there


def _setting_differences(there: Manifest, wanted: Manifest, fields: Sequence[str]) -> list[str]:
    """Says how records that are there were made in another way than is wanted now."""
    differences = [
        f"{name} is {shorten(getattr(there, name))}, not {getattr(wanted, name)}"
        for name in fields
        if getattr(there, name) != getattr(wanted, name)
    ]
    label_maps = [(m.label_map, m.classes, m.palette.tolist()) for m in (there, wanted)]
    if label_maps[0] != label_maps[1]:
        differences.append("the label map is another one")
    readings = [evidence.reading_of(manifest.findings) for manifest in (there, wanted)]
    if readings[0] != readings[1]:
        differences.append("masks were read by another rule, or by other colours or labels of the label map")
    return differences


# ---- updates


def _open_old(out: Path, blank: Manifest, parts: Sequence[Part], warn: Callable[[str], object]) -> tuple[Old, bytes]:
    """Opens records that are to be brought up to date, and finds what has changed; also what their manifest holds.

    Raises:
        ValueError: they have other settings, or their manifest is damaged.
    """
    try:
        data = read_manifest_bytes(out)
        there = parse_sound_manifest(out, data)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = _setting_differences(there, blank, CHOSEN)
    lacking = sorted(there.splits.keys() - samples_by_split(parts).keys())
    differences += [f"split {name}, of {there.splits[name].count} images, is not taken now" for name in lacking]
    if differences:
        raise ValueError(
            f"{out}: was made with other settings: {'; '.join(differences)}; an update keeps them, so give the same, "
            "or --overwrite, which converts everything anew with those given"
        )
    sources = {part.name: fingerprint_part(part) for part in parts}
    return updates.compare(out, there, blank, parts, sources, warn), data


def _find_up_to_date(old: Old, data: bytes, blank: Manifest, parts: Sequence[Part], source: Source) -> Manifest | None:
    """Returns the manifest of records that are what a conversion from nothing would make; None if they are not."""
    entries = updates.kept_entries(old, parts)
    if entries is None:
        return None
    check_evidence(source, parts, entries)
    manifest = complete_manifest(blank, parts, entries, source)
    text = manifest_text(manifest)
    # In a store, all would be encoded again because of an indentation.
    same = (
        data.replace(b"\r\n", b"\n") == text.encode() if is_local(old.folder) else parse_json(data) == json.loads(text)
    )
    if not same or not updates.are_sound(old, entries):
        return None
    old.adopted |= entries.keys()
    return manifest


def _check_still_old(old: Old, data: bytes) -> None:
    """Raises ValueError if other records came meanwhile, before this process had the place for itself."""
    if read_manifest_bytes(old.folder) != data:
        raise ValueError(f"{old.folder}: another conversion has just replaced it; update again")


# ---- the manifest


def blank_manifest(source: Source, settings: Settings) -> Manifest:
    """Makes a manifest that lacks only its splits, and of the findings all but how the ground truth is read."""
    rule = settings.rule
    of_cityscapes = source.name.startswith("cityscapes")
    return Manifest(
        schema_version=schema_version_of(settings.pixels),
        # By the name of Cityscapes, raw values would be scored as its label ids.
        source="folders" if rule.gives_class_ids and of_cityscapes else source.name,
        label_map=rule.stored_map.names,
        classes=list(source.label_map.classes),
        size=list(settings.size) if settings.size else None,
        codec=settings.codec,
        quality=settings.quality,
        splits={},
        mask_resize=settings.mask_resize,
        mask_codec="zlib",
        tile_width=settings.tile_width,
        colors=source.label_map.colors.tolist(),
        exif=settings.exif,
        findings=evidence.describe_reading(rule) or None,
        channels=settings.pixels.channels,
        value_range=settings.pixels.to_json().get("value_range"),
    )


def complete_manifest(
    blank: Manifest, parts: Sequence[Part], entries: dict[str, Entry], source: Source | None = None
) -> Manifest:
    """Adds the splits, every shard of which is finished, and with the source what was found in it."""
    splits = {}
    for split, samples in samples_by_split(parts).items():
        own = [entries[part.name] for part in parts if part.split == split]
        mean, deviation = _channel_statistics(own)
        class_pixels = np.sum([entry.class_pixels for entry in own], axis=0)
        ids = [sample.id for sample in samples]
        splits[split] = Split(ids, [entry.shard for entry in own], class_pixels.tolist(), mean, deviation)
    if source is None:
        return dataclasses.replace(blank, splits=splits)
    total = evidence.merge(entries[part.name].evidence for part in parts)
    size = (blank.size[0], blank.size[1]) if blank.size else None
    found = evidence.findings(total, source.folders, source.assumed, source.left_out, size)
    return dataclasses.replace(blank, splits=splits, findings=found | (blank.findings or {}))


def _channel_statistics(entries: Sequence[Entry]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel."""
    pixels = sum(sum(entry.class_pixels) for entry in entries)
    mean = np.sum([entry.channel_sums for entry in entries], axis=0) / pixels
    mean_square = np.sum([entry.channel_squares for entry in entries], axis=0) / pixels
    return mean.tolist(), np.sqrt((mean_square - mean**2).clip(0)).tolist()
