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

import numpy as np

from tfseg.conversion import evidence, journal, shards
from tfseg.conversion.checks import check_evidence, look_at_ids
from tfseg.conversion.encoding import EXIF_MODES, MASK_RESIZES, Settings
from tfseg.conversion.journal import Entry
from tfseg.conversion.plan import Part, journal_settings, plan_parts, samples_by_split
from tfseg.conversion.sources import Source, open_source
from tfseg.io.escaping import shorten
from tfseg.io.paths import is_local, open_path
from tfseg.io.staging import resolve_place
from tfseg.records import records
from tfseg.records.manifest import SCHEMA_VERSION, Manifest, Split, read_manifest, write_manifest
from tfseg.records.record_set import RecordSet, open_records

# Writes the shards that are not finished yet: parts, folder, settings, settings of the journal -> entries of all parts.
WriteParts = Callable[[Sequence[Part], Path, Settings, dict], dict[str, Entry]]


def convert_dataset(
    root: str | Path,
    out: str | Path,
    *,
    splits: Sequence[str] | None = None,
    label_map: str | Path | None = None,
    coarse: bool = False,
    size: tuple[int, int] | None = None,
    codec: str = "jpeg",
    quality: int = 95,
    mask_resize: str = "nearest",
    exif: str = "rotate",
    workers: int = 1,
    limit: int | None = None,
    overwrite: bool = False,
    write_parts: WriteParts | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> RecordSet:
    """Converts a raw data set to records; resumes a conversion that was interrupted, and keeps one that is finished.

    Args:
        root: folder of the raw data set, or its place in a store, see `sources`.
        out: folder to make, for shards and manifest.json; also a place in a store.
        splits: names of the splits to convert, such as ["train", "val"]; None converts all that are there.
        label_map: "categories" (8 classes) or "train_ids" (19) of Cityscapes, or a YAML file of `mask value: class`
            lines, which other data sets need. None: the categories.
        coarse: whether to take the coarse masks of Cityscapes, in gtCoarse/.
        size, codec, quality, mask_resize, exif, workers, limit, overwrite, write_parts: as of `convert`.
        warn: called with each warning of what is odd but may be meant.

    Returns:
        The records, opened.

    Raises:
        BadFilesError: files of the source are bad, or contradict each other.
        ValueError: an argument is bad, the layout is unknown, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    source = open_source(root, splits, label_map, coarse)
    for warning in source.warnings:
        warn(warning)
    convert(
        source,
        out,
        size=size,
        codec=codec,
        quality=quality,
        mask_resize=mask_resize,
        exif=exif,
        workers=workers,
        limit=limit,
        overwrite=overwrite,
        write_parts=write_parts,
    )
    return open_records(open_path(out).resolve())  # as it was made: out/.. need not be there


def convert(
    source: Source,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    codec: str = "jpeg",
    quality: int = 95,
    mask_resize: str = "nearest",
    exif: str = "rotate",
    workers: int = 1,
    limit: int | None = None,
    overwrite: bool = False,
    write_parts: WriteParts | None = None,
) -> Manifest:
    """Converts a raw data set to a folder of shards and a manifest.

    Records that are there already are kept if they hold the same ids, made with the same settings. Changed pixels of
    the source are not noticed then: `overwrite` is for them.

    Args:
        source: from `sources.open_source`.
        out: folder to make.
        size: height and width to resize every image to; None keeps each image's own.
        codec: of the stored images: "jpeg" (small), "png" (exact) or "raw" (exact, large, nothing to decode).
        quality: of JPEG, 1..100.
        mask_resize: "nearest" takes the value in the middle of each cell, "majority" the one that covers most of it.
        exif: "rotate" turns images upright as their EXIF data say, "ignore" takes them as stored; masks likewise.
        workers: processes that decode and encode; with 1 this process does it.
        limit: at most so many images of each split.
        overwrite: replace records that are there.
        write_parts: does the work elsewhere, see beam.py; None does it here, with `workers`.

    Raises:
        BadFilesError: files of the source are bad, or contradict each other.
        ValueError: an argument is bad, the masks cannot be what their names say, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    settings = make_settings(source, size, codec, quality, mask_resize, exif)
    parts = plan_parts(source, limit)
    blank = blank_manifest(source, settings)
    out = open_path(out)
    out = resolve_place(out) if overwrite and is_local(out) else out.resolve()
    if journal.is_there(out) and not overwrite:
        manifest = _reuse(out, blank, parts)
        journal.clear(out)
        print(f"{out}: is there already, made with the same settings")
        return manifest
    look_at_ids(source, parts)
    write_parts = write_parts or functools.partial(shards.write_parts, workers=workers)
    with journal.open_folder(out, overwrite) as folder:
        entries = write_parts(parts, folder, settings, journal_settings(blank, parts))
        check_evidence(source, parts, entries)
        manifest = complete_manifest(blank, parts, entries, source)
        write_manifest(folder, manifest)
    return manifest


def make_settings(
    source: Source, size: tuple[int, int] | None, codec: str, quality: int, mask_resize: str, exif: str = "rotate"
) -> Settings:
    """Checks what `convert` was asked for."""
    if size is not None and min(size) < 1:
        raise ValueError(f"expected a height and width of at least 1 pixel, got {size}")
    if codec not in records.CODECS:
        raise ValueError(f"expected a codec of {', '.join(records.CODECS)}, got {codec!r}")
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a JPEG quality in 1..100, got {quality}")
    if mask_resize not in MASK_RESIZES:
        raise ValueError(f"expected a way to resize masks of {', '.join(MASK_RESIZES)}, got {mask_resize!r}")
    if exif not in EXIF_MODES:
        raise ValueError(f"expected a way to take EXIF data of {', '.join(EXIF_MODES)}, got {exif!r}")
    used_quality = quality if codec == "jpeg" else None
    return Settings(source.label_map, size, codec, used_quality, mask_resize, records.choose_tile_width(size), exif)


def _reuse(out: Path, wanted: Manifest, parts: Sequence[Part]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = [
        f"{name} is {shorten(getattr(there, name))}, not {getattr(wanted, name)}"
        for name in ("source", "size", "codec", "quality", "mask_resize", "mask_codec", "tile_width", "exif")
        if getattr(there, name) != getattr(wanted, name)
    ]
    label_maps = [(m.label_map, m.classes, m.palette.tolist()) for m in (there, wanted)]
    if label_maps[0] != label_maps[1]:
        differences.append("the label map is another one")
    ids = {split: [sample.id for sample in samples] for split, samples in samples_by_split(parts).items()}
    for split in sorted(there.splits.keys() | ids.keys()):
        found = there.splits[split].ids if split in there.splits else []
        if found != ids.get(split, []):
            differences.append(f"split {split} has {len(found)} images, not the same {len(ids.get(split, []))}")
    if differences:
        raise ValueError(f"{out}: holds other records: {'; '.join(differences)}; choose another --out, or --overwrite")
    return there


def blank_manifest(source: Source, settings: Settings) -> Manifest:
    """Makes a manifest that lacks only its splits."""
    return Manifest(
        schema_version=SCHEMA_VERSION,
        source=source.name,
        label_map=source.label_map.names,
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
    return dataclasses.replace(blank, splits=splits, findings=found)


def _channel_statistics(entries: Sequence[Entry]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue."""
    pixels = sum(sum(entry.class_pixels) for entry in entries)
    mean = np.sum([entry.channel_sums for entry in entries], axis=0) / pixels
    mean_square = np.sum([entry.channel_squares for entry in entries], axis=0) / pixels
    return mean.tolist(), np.sqrt((mean_square - mean**2).clip(0)).tolist()
