"""Samples -> shards: decode, check, remap, resize and encode every image, once, before any training.

Worker processes do all the work on pixels; this one puts their records into shards, in the order of the samples, so the
files are the same for any number of workers. A folder of records is whole or not there. Interrupted conversions resume
and produce byte-identical shards: see journal.py.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Unpack

from tfseg.conversion import existing
from tfseg.conversion.checks import check_evidence, choose_reading, look_at_ids
from tfseg.conversion.finding.sources import Source, SourceOptions, open_source
from tfseg.conversion.proposing.proposed_file import Show, add_proposal
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.writing import image_formats, journal, shards, skipping, updates
from tfseg.conversion.writing.encoding import make_settings
from tfseg.conversion.writing.image_formats import ValueRange
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.manifests import blank_manifest, complete_manifest
from tfseg.conversion.writing.plan import Part, journal_settings, limit_source, plan_parts
from tfseg.conversion.writing.rows import gather_rows
from tfseg.conversion.writing.updates import Old
from tfseg.io import staging
from tfseg.io.escaping import printable
from tfseg.io.paths import is_local, open_path
from tfseg.io.staging import resolve_place
from tfseg.records.manifest import (
    Manifest,
    write_manifest,
)
from tfseg.records.record_set import RecordSet, open_records

# Writes the shards that are not finished yet: parts, folder, settings, settings of the journal -> entries of all parts.
# An update hands on the old records, too, as `old`.
WriteParts = Callable[..., dict[str, Entry]]


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
    skip_bad: bool = False,
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
        workers, limit, overwrite, update, skip_bad, write_parts: likewise.
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
    source = open_source(
        root, splits, label_map, coarse, may_lack_label_map=on_proposal is not None, skip_bad=skip_bad, **where
    )
    for note in source.notes:
        print(printable(note))
    for warning in source.warnings:
        warn(warning)
    if source.lacks_label_map and on_proposal is not None:
        counted = limit_source(source, limit)
        source = add_proposal(source, out, on_proposal, workers, mask_values, skip_bad, counted)
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
        skip_bad=skip_bad,
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
    skip_bad: bool = False,
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
        skip_bad: leave out samples that are bad, and list them in tfseg-skipped.jsonl beside the shards, see
            `skipping`. Files that contradict each other are refused all the same. False: bad files are refused, too.
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
    pixels, notes, cautions = image_formats.choose_format(parts, channels, value_range, workers)
    for note in notes:
        print(printable(note))
    for caution in cautions:
        warn(caution)
    settings = image_formats.with_format(settings, pixels, codec, quality)
    out = open_path(out)
    out = resolve_place(out) if (overwrite or update) and is_local(out) else out.resolve()
    if skip_bad:
        folders = [out, staging.staging_path(out) / staging.NEW] if is_local(out) else [out]
        source = skipping.recall_bad(source, limit, settings, folders, workers)
        parts = plan_parts(source, limit)
    blank = blank_manifest(source, settings)
    if update and is_local(out):
        staging.tidy(out, journal.RECORDS)
    old, data, there = None, b"", journal.is_there(out)
    if there and update:
        old, data = existing.open_old(out, blank, parts, warn)
        if manifest := existing.find_up_to_date(old, data, blank, parts, source):
            journal.discard(out)
            journal.clear(out)
            _report(out, old, source, parts)
            return manifest
        if not is_local(out):
            old.forget("lies in a store, where records are written in place")
        if old.reason:
            print(f"{printable(out)}: {printable(old.reason)}; all {old.planned} images are encoded again")
    elif there and not overwrite:
        manifest = existing.reuse(out, blank, parts)
        journal.clear(out)
        print(f"{printable(out)}: is there already, made with the same settings")
        _report(out, None, source, parts)
        return manifest
    look_at_ids(source, parts)
    write_all: WriteParts = write_parts or functools.partial(shards.write_parts, workers=workers)
    with journal.open_folder(out, overwrite or update) as folder:
        if old is not None and is_local(out):
            existing.check_still_old(old, data)
        if not source.skipped:
            skipping.write_skipped(folder, [])  # of an earlier conversion
        while True:
            write: WriteParts = write_all if old is None else functools.partial(write_all, old=old)
            try:
                with image_formats.explain_mixture(parts, pixels, workers):
                    entries = write(parts, folder, settings, journal_settings(blank, parts))
                break
            except BadFilesError as error:
                if not skip_bad:
                    raise
                source = skipping.go_on_without(source, error.all, folder)
            parts = plan_parts(source, limit)
            print(f"{printable(folder)}: {len(source.skipped)} bad samples so far; going on without them")
            old = old and existing.compare_again(old, blank, parts)
        check_evidence(source, parts, entries)
        manifest = complete_manifest(blank, parts, entries, source)
        gather_rows(folder, parts, entries)
        skipping.write_skipped(folder, source.skipped)
        write_manifest(folder, manifest)
    _report(out, old, source, parts)
    return manifest


def _report(out: Path, old: Old | None, source: Source, parts: Sequence[Part]) -> None:
    """Prints a line of what an update did, and two of what was left out."""
    lines = [updates.summarise_update(old, parts)] if old is not None else []
    for line in [*lines, *skipping.summarise_skipped(source, parts)]:
        print(printable(f"{out}: {line}"))
