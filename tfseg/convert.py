"""Samples -> shards: decode, check, remap, resize and encode every picture, once, before any training.

Worker processes do all the work on pixels; this one puts their records into shards, in the order of the samples, so the
files are the same for any number of workers. A folder of records is whole or not there, and a conversion that was
interrupted goes on where it stopped: see journal.py.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfseg import journal, labels, pictures, records, resizing
from tfseg.journal import Entry
from tfseg.paths import open_path
from tfseg.records import Manifest, Split
from tfseg.sources import Sample, Source, named, read_sample
from tfseg.tables import plain_table
from tfseg.workers import open_pool

MASK_RESIZES = ("nearest", "majority")


@dataclass(frozen=True)
class Settings:
    """What is done to every sample."""

    label_map: labels.LabelMap
    size: tuple[int, int] | None  # height, width; None keeps each picture's own
    codec: str
    quality: int | None  # of JPEG, 1..100
    mask_resize: str  # of MASK_RESIZES
    tile_width: int | None = None  # see `records.choose_tile_width`


class Part(NamedTuple):
    """What becomes one shard."""

    name: str  # of the shard
    split: str
    samples: list[Sample]


class Encoded(NamedTuple):
    """One sample on its way from a worker to a shard; what is counted is exact, in integers."""

    example: bytes  # the serialised record
    class_pixels: list[int]
    channel_sums: list[int]  # of red, green, blue
    channel_squares: list[int]


# Writes the shards that are not finished yet: parts, folder, settings, settings of the journal -> entries of all parts.
WriteParts = Callable[[Sequence[Part], Path, Settings, dict], dict[str, Entry]]


# ---- the whole data set


def convert(
    source: Source,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    codec: str = "jpeg",
    quality: int = 95,
    mask_resize: str = "nearest",
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
        size: height and width to squash every picture to; None keeps each picture's own.
        codec: of the stored pictures: "jpeg" (small), "png" (exact) or "raw" (exact, large, nothing to decode).
        quality: of JPEG, 1..100.
        mask_resize: "nearest" takes the value in the middle of each cell, "majority" the one that covers most of it.
        workers: processes that decode and encode; with 1 this process does it.
        limit: at most so many pictures of each split.
        overwrite: replace records that are there.
        write_parts: does the work elsewhere, see beam.py; None does it here, with `workers`.

    Raises:
        ValueError: an argument or a file of the source is bad, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    settings = make_settings(source, size, codec, quality, mask_resize)
    parts = plan_parts(source, limit)
    blank = blank_manifest(source, settings)
    out = open_path(out).resolve()
    if journal.is_there(out) and not overwrite:
        manifest = _reuse(out, blank, parts)
        journal.clear(out)
        print(f"{out}: is there already, made with the same settings")
        return manifest
    write_parts = write_parts or functools.partial(_write_parts_here, workers=workers)
    with journal.open_folder(out, overwrite) as folder:
        entries = write_parts(parts, folder, settings, journal_settings(blank, parts))
        manifest = complete_manifest(blank, parts, entries)
        records.write_manifest(folder, manifest)
    return manifest


def make_settings(source: Source, size: tuple[int, int] | None, codec: str, quality: int, mask_resize: str) -> Settings:
    """Checks what `convert` was asked for."""
    if size is not None and min(size) < 1:
        raise ValueError(f"expected a height and width of at least 1 pixel, got {size}")
    if codec not in records.CODECS:
        raise ValueError(f"expected a codec of {', '.join(records.CODECS)}, got {codec!r}")
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a JPEG quality in 1..100, got {quality}")
    if mask_resize not in MASK_RESIZES:
        raise ValueError(f"expected a way to resize masks of {', '.join(MASK_RESIZES)}, got {mask_resize!r}")
    quality = quality if codec == "jpeg" else None
    return Settings(source.label_map, size, codec, quality, mask_resize, records.choose_tile_width(size))


def _reuse(out: Path, wanted: Manifest, parts: Sequence[Part]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = records.read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = [
        f"{name} is {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in ("source", "size", "codec", "quality", "mask_resize", "mask_codec", "tile_width")
        if getattr(there, name) != getattr(wanted, name)
    ]
    label_maps = [(m.label_map, m.classes, m.palette.tolist()) for m in (there, wanted)]
    if label_maps[0] != label_maps[1]:
        differences.append("the label map is another one")
    ids = {split: [sample.id for sample in samples] for split, samples in _samples_by_split(parts).items()}
    for split in sorted(there.splits.keys() | ids.keys()):
        found = there.splits[split].ids if split in there.splits else []
        if found != ids.get(split, []):
            differences.append(f"split {split} has {len(found)} pictures, not the same {len(ids.get(split, []))}")
    if differences:
        raise ValueError(f"{out}: holds other records: {'; '.join(differences)}; choose another --out, or --overwrite")
    return there


# ---- the plan


def plan_parts(source: Source, limit: int | None = None) -> list[Part]:
    """Decides the shards: their names, and the samples of each in order."""
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 picture, got {limit}")
    parts = []
    for split, members in source.splits.items():
        samples = storage_order(split, members)[:limit]
        total, count = len(samples), shard_count(len(samples))
        for index in range(count):
            # All of one size, or one more.
            own = samples[total * index // count : total * (index + 1) // count]
            parts.append(Part(records.shard_name(split, index, count), split, own))
    return parts


def storage_order(split: str, samples: Iterable[Sample]) -> list[Sample]:
    """Mixes samples, always in the same way.

    Sorted by id, the pictures of one city or one drive would fill a shard of their own, and the training shuffles only
    over a window of records. Sorting by a hash mixes them, the same on every machine, and `limit` takes a fair share.
    """
    return sorted(samples, key=lambda sample: hashlib.sha256(f"{split}/{sample.id}".encode()).digest())


def shard_count(pictures: int) -> int:
    """Chooses the number of shards of a split.

    128 pictures of Cityscapes in JPEG are some 150 MB, the 100 to 200 MB that TensorFlow advises: long enough to read
    at full speed, short enough to copy again. Smaller splits get up to 8 all the same, for as many parallel reads,
    but no shard of fewer than 8 pictures where that can be.
    """
    return max(math.ceil(pictures / 128), min(8, math.ceil(pictures / 8)))


def _samples_by_split(parts: Sequence[Part]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for part in parts:
        samples.setdefault(part.split, []).extend(part.samples)
    return samples


def journal_settings(blank: Manifest, parts: Sequence[Part]) -> dict:
    """What two conversions must share for one to go on where the other stopped."""
    samples = [[part.name, *(sample.id for sample in part.samples)] for part in parts]
    settings = dataclasses.asdict(blank) | {"plan": hashlib.sha256(json.dumps(samples).encode()).hexdigest()}
    return json.loads(json.dumps(settings))  # as it will be read again


# ---- the manifest


def blank_manifest(source: Source, settings: Settings) -> Manifest:
    """Makes a manifest that lacks only its splits."""
    return Manifest(
        schema_version=records.SCHEMA_VERSION,
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
    )


def complete_manifest(blank: Manifest, parts: Sequence[Part], entries: dict[str, Entry]) -> Manifest:
    """Adds the splits, every shard of which is finished."""
    splits = {}
    for split, samples in _samples_by_split(parts).items():
        own = [entries[part.name] for part in parts if part.split == split]
        mean, deviation = _channel_statistics(own)
        class_pixels = np.sum([entry.class_pixels for entry in own], axis=0)
        ids = [sample.id for sample in samples]
        splits[split] = Split(ids, [entry.shard for entry in own], class_pixels.tolist(), mean, deviation)
    return dataclasses.replace(blank, splits=splits)


def _channel_statistics(entries: Sequence[Entry]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue."""
    pixels = sum(sum(entry.class_pixels) for entry in entries)
    mean = np.sum([entry.channel_sums for entry in entries], axis=0) / pixels
    mean_square = np.sum([entry.channel_squares for entry in entries], axis=0) / pixels
    return mean.tolist(), np.sqrt((mean_square - mean**2).clip(0)).tolist()


# ---- shards


def _write_parts_here(
    parts: Sequence[Part], folder: Path, settings: Settings, journal_settings: dict, workers: int
) -> dict[str, Entry]:
    """Writes the shards that are not finished yet with processes of this machine, noting each in the journal."""
    entries, missing = find_finished(parts, folder, journal_settings)
    total = sum(len(part.samples) for part in parts)
    remaining = sum(len(part.samples) for part, _ in missing)
    encode = functools.partial(encode_sample, settings=settings)
    with open_pool(workers) as mapper:
        # One stream over all shards, so that no worker waits for the end of one.
        encoded = mapper(encode, ((part.split, sample) for part, _ in missing for sample in part.samples))
        encoded = iter(tqdm(encoded, total=total, initial=total - remaining, unit="picture", disable=None))
        for part, sources in missing:
            own = itertools.islice(encoded, len(part.samples))
            entries[part.name] = write_part(part, folder, own, sources)
            journal.write_entries(folder, journal_settings, entries)
    return entries


def find_finished(
    parts: Sequence[Part], folder: Path, journal_settings: dict
) -> tuple[dict[str, Entry], list[tuple[Part, str]]]:
    """Tells what an earlier conversion has finished from what is left to do: parts, each with its fingerprint."""
    fingerprints = {part.name: fingerprint(part) for part in parts}
    entries = journal.read_entries(folder, journal_settings, fingerprints)
    if entries:
        print(f"{folder}: goes on, {len(entries)} of {len(parts)} shards are finished")
    return entries, [(part, fingerprints[part.name]) for part in parts if part.name not in entries]


def fingerprint(part: Part) -> str:
    """Tells the files of a part from those of the same names at another time."""
    return journal.fingerprint([path for sample in part.samples for path in (sample.image, sample.mask)])


def write_part(part: Part, folder: Path, encoded: Iterable[Encoded], sources: str) -> Entry:
    """Writes one shard of what `encode_sample` made of its samples."""
    counts = []

    def count(sample: Encoded) -> bytes:
        example, *numbers = sample
        counts.append(numbers)
        return example

    shard = records.write_shard(folder / part.name, map(count, encoded))
    return Entry(shard, sources, *(np.sum(numbers, axis=0).tolist() for numbers in zip(*counts, strict=True)))


# ---- one sample, in a worker


def encode_sample(item: tuple[str, Sample], settings: Settings) -> Encoded:
    """Reads one picture and its mask and makes the record of them.

    Args:
        item: name of the split and sample.
        settings: what to make of it.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood; the message begins with its path.
        OSError: a file cannot be read.
    """
    split, sample = item
    image, label_ids, _, mask_file = read_sample(sample)
    with named(sample.mask):
        labels.check_known(label_ids, settings.label_map.lookup)
    size = settings.size or label_ids.shape
    image, mask = resizing.resize(image, size), make_mask(label_ids, size, settings)
    example = encode_pixels(
        sample.id,
        image,
        mask,
        settings,
        label_ids=pictures.as_grey_png(label_ids, mask_file) if records.keeps_label_ids(split) else None,
    )
    class_pixels = pictures.count_values(mask)[: len(settings.label_map.classes)].tolist()
    return Encoded(example, class_pixels, *pictures.channel_sums(image))


def encode_pixels(
    id: str, image: np.ndarray, mask: np.ndarray, settings: Settings, label_ids: bytes | None = None
) -> bytes:
    """Makes the record of a picture (height, width, 3) and its mask (height, width), of the size to be stored."""
    codec, width = settings.codec, settings.tile_width
    # Plain bytes are read tile after tile of one length, so the last is padded.
    image_tiles = pictures.cut_tiles(image, width, pad=codec == "raw")
    mask_tiles = pictures.cut_tiles(mask, width, pad=True)
    return records.encode_example(
        id=id,
        image=[pictures.encode_image(tile, codec, settings.quality) for tile in image_tiles],
        codec=codec,
        height=mask.shape[0],
        width=mask.shape[1],
        mask=[pictures.pack_mask(tile) for tile in mask_tiles],
        label_ids=label_ids,
    )


def make_mask(label_ids: np.ndarray, size: tuple[int, int], settings: Settings) -> np.ndarray:
    """Makes (height, width) uint8 class ids of a raw mask (H, W) uint8."""
    if settings.mask_resize == "majority":  # of classes: the labels of one class must not split its vote
        return pictures.resize_majority(labels.remap(label_ids, settings.label_map.lookup), size)
    return labels.remap(pictures.resize_nearest(label_ids, size), settings.label_map.lookup)


# ---- the summary


def summarise(manifest: Manifest) -> str:
    """Makes a table of the splits: pictures, size on disk and each class's share of the pixels."""
    heads = ["split", "pictures", "shards", "MB", *(f"{name} %" for name in manifest.classes)]
    lines = plain_table([heads, *(_summary_row(name, split) for name, split in manifest.splits.items())])
    for name, split in manifest.splits.items():
        if not split.has_truth:
            lines.append(
                f"warning: split {name} has no ground truth, all its pixels are void: no score can be had on it"
            )
    return "\n".join(lines)


def _summary_row(name: str, split: Split) -> Sequence[str]:
    megabytes = sum(shard.bytes for shard in split.shards) / 1e6
    shares = np.array(split.class_pixels) / sum(split.class_pixels) * 100
    return [name, str(split.count), str(len(split.shards)), f"{megabytes:.1f}", *(f"{share:.2f}" for share in shares)]
