"""Samples -> shards: decode, check, remap, resize and encode every picture, once, before any training.

Worker processes do all the work on pixels; this one puts their records into shards, in the order of the samples, so the
files are the same for any number of workers. A folder of records is whole or not there, and a conversion that was
interrupted goes on where it stopped: see journal.py.

After the first bad file nothing is encoded any more: the files that are left are only read, so that all bad ones are
named at once.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from tfseg.conversion import evidence, journal
from tfseg.conversion.evidence import Evidence, Palettes
from tfseg.conversion.journal import Entry
from tfseg.conversion.sources import Sample, Source, Traits, named, read_traits
from tfseg.io import images as pictures
from tfseg.io import resizing
from tfseg.io.paths import open_path
from tfseg.io.workers import open_pool
from tfseg.records import labels, records
from tfseg.records.manifest import SCHEMA_VERSION, Manifest, Split, read_manifest, shard_name, write_manifest
from tfseg.visualization.tables import plain_table

MASK_RESIZES = ("nearest", "majority")
EXIF_MODES = ("rotate", "ignore")
MOST_NAMED = 20  # bad files, the others are counted
FEW_MASKS = 8  # that tell in nearly every case whether masks are of Cityscapes


@dataclass(frozen=True)
class Settings:
    """What is done to every sample."""

    label_map: labels.LabelMap
    size: tuple[int, int] | None  # height, width; None keeps each picture's own
    codec: str
    quality: int | None  # of JPEG, 1..100
    mask_resize: str  # of MASK_RESIZES
    tile_width: int | None = None  # see `records.choose_tile_width`
    exif: str = "rotate"  # of EXIF_MODES


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
    evidence: Evidence


class Fault(NamedTuple):
    """Why a sample cannot be converted, with the name of the file."""

    message: str


class BadFilesError(ValueError):
    """Files of the source cannot be converted.

    Attributes:
        faults: of the first `MOST_NAMED` of them, a line each.
        count: of all.
    """

    def __init__(self, faults: Sequence[str], count: int | None = None):
        self.count = len(faults) if count is None else count
        self.faults = list(faults[:MOST_NAMED])
        more = f"; and {self.count - len(self.faults)} bad files more" if self.count > len(self.faults) else ""
        super().__init__("; ".join(self.faults) + more)


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
        size: height and width to squash every picture to; None keeps each picture's own.
        codec: of the stored pictures: "jpeg" (small), "png" (exact) or "raw" (exact, large, nothing to decode).
        quality: of JPEG, 1..100.
        mask_resize: "nearest" takes the value in the middle of each cell, "majority" the one that covers most of it.
        exif: "rotate" turns pictures upright as their EXIF data say, "ignore" takes them as stored; masks likewise.
        workers: processes that decode and encode; with 1 this process does it.
        limit: at most so many pictures of each split.
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
    out = open_path(out).resolve()
    if journal.is_there(out) and not overwrite:
        manifest = _reuse(out, blank, parts)
        journal.clear(out)
        print(f"{out}: is there already, made with the same settings")
        return manifest
    look_at_ids(source, parts)
    write_parts = write_parts or functools.partial(_write_parts_here, workers=workers)
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
    quality = quality if codec == "jpeg" else None
    return Settings(source.label_map, size, codec, quality, mask_resize, records.choose_tile_width(size), exif)


def _reuse(out: Path, wanted: Manifest, parts: Sequence[Part]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = [
        f"{name} is {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in ("source", "size", "codec", "quality", "mask_resize", "mask_codec", "tile_width", "exif")
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
            parts.append(Part(shard_name(split, index, count), split, own))
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
    for split, samples in _samples_by_split(parts).items():
        own = [entries[part.name] for part in parts if part.split == split]
        mean, deviation = _channel_statistics(own)
        class_pixels = np.sum([entry.class_pixels for entry in own], axis=0)
        ids = [sample.id for sample in samples]
        splits[split] = Split(ids, [entry.shard for entry in own], class_pixels.tolist(), mean, deviation)
    if source is None:
        return dataclasses.replace(blank, splits=splits)
    total = evidence.merge(entries[part.name].evidence for part in parts)
    size = tuple(blank.size) if blank.size else None
    found = evidence.findings(total, source.folders, source.assumed, source.left_out, size)
    return dataclasses.replace(blank, splits=splits, findings=found)


# ---- what the files tell


def look_at_ids(source: Source, parts: Sequence[Part]) -> None:
    """Looks into a few masks, before all the work, whether they can be of Cityscapes; see `check_evidence`.

    Nearly every true mask tells. Where none of the first does, all are looked at until one does; a file that cannot be
    read is told of later, with all the others.

    Raises:
        ValueError: no mask of a split can be.
    """
    if not source.assumed:
        return
    for split, samples in _samples_by_split(parts).items():
        values: set[int] = set()
        for number, sample in enumerate(samples):
            try:
                mask = pictures.decode_mask(sample.mask.read_bytes())
            except (ValueError, OSError):
                break
            values |= {*np.flatnonzero(pictures.count_values(mask)).tolist()}
            if number + 1 >= FEW_MASKS and evidence.is_without_truth(values):
                break
            if not values.isdisjoint(evidence.OBJECTS):
                break
        else:
            _refuse_other_ids(split, samples, values)


def check_evidence(source: Source, parts: Sequence[Part], entries: dict[str, Entry]) -> None:
    """Refuses masks that contradict each other over shards, or cannot be what their names say.

    Raises:
        BadFilesError: a palette differs from that of other masks.
        ValueError: masks are named as those of Cityscapes, and no mask of a split has a value that streets have.
    """
    palettes = Palettes(source.label_map)
    for part in parts:
        if fault := palettes.add(entries[part.name].evidence):
            raise BadFilesError([fault])
    if source.assumed:
        for split, samples in _samples_by_split(parts).items():
            total = evidence.merge(entries[part.name].evidence for part in parts if part.split == split)
            _refuse_other_ids(split, samples, np.flatnonzero(total.holders).tolist())


def _refuse_other_ids(split: str, samples: Sequence[Sample], values: Iterable[int]) -> None:
    if evidence.is_no_cityscapes(values):
        raise ValueError(evidence.cityscapes_fault(split, len(samples), sorted(values), samples[0].mask))


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
    inspection = Inspection(settings.label_map, (entries[part.name].evidence for part in parts if part.name in entries))
    # One stream over all shards, so that no worker waits for the end of one; a job is made when there is room for it.
    jobs = ((part.split, sample, not inspection.count) for part, _ in missing for sample in part.samples)
    with open_pool(workers) as mapper:
        outcomes = mapper(functools.partial(attempt, settings=settings), jobs)
        outcomes = iter(tqdm(outcomes, total=total, initial=total - remaining, unit="picture", disable=None))
        for part, sources in missing:
            encoded = inspection.take(part.samples, outcomes)
            if inspection.count:
                inspection.drain(encoded)
                continue
            try:
                entries[part.name] = write_part(part, folder, encoded, sources)
            except BadFilesError:
                continue
            journal.write_entries(folder, journal_settings, entries)
    inspection.conclude()
    return entries


class Inspection:
    """Passes on what becomes of samples, and keeps what is wrong with some of them.

    Args:
        label_map: of the conversion.
        seen: of the shards that are finished.
        most: faults to keep, the others are counted.
    """

    def __init__(self, label_map: labels.LabelMap, seen: Iterable[Evidence] = (), most: int = MOST_NAMED):
        self.most = most
        self.palettes = Palettes(label_map)
        self.faults: list[str] = []  # of the first bad samples
        self.count = 0  # of all of them
        for finished in seen:
            if fault := self.palettes.add(finished):
                self.note(fault)

    def note(self, fault: str) -> None:
        """Keeps a fault."""
        self.count += 1
        if len(self.faults) < self.most:
            self.faults.append(fault)

    def take(self, samples: Sequence[Sample], outcomes: Iterator["Encoded | Evidence | Fault"]) -> Iterator[Encoded]:
        """Yields what is to be stored of the samples of a shard; looks through them to the end if one is bad.

        Raises:
            BadFilesError: one is bad, or one before was.
        """
        for _, outcome in zip(samples, outcomes, strict=False):
            if isinstance(outcome, Fault):
                self.note(outcome.message)
            elif fault := self.palettes.add(outcome.evidence if isinstance(outcome, Encoded) else outcome):
                self.note(fault)
            elif isinstance(outcome, Encoded) and not self.count:
                yield outcome
        self.conclude()

    def drain(self, encoded: Iterator[Encoded]) -> None:
        """Looks through the samples of a shard that will not be written."""
        try:
            for _ in encoded:
                pass
        except BadFilesError:
            pass

    def conclude(self) -> None:
        """Raises BadFilesError if any sample was bad."""
        if self.count:
            raise BadFilesError(self.faults, self.count)


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
    counts, seen = [], []

    def count(sample: Encoded) -> bytes:
        example, *numbers, evidence = sample
        counts.append(numbers)
        seen.append(evidence)
        return example

    shard = records.write_shard(folder / part.name, map(count, encoded))
    sums = (np.sum(numbers, axis=0).tolist() for numbers in zip(*counts, strict=True))
    return Entry(shard, sources, *sums, evidence.merge(seen))


# ---- one sample, in a worker


def attempt(job: tuple[str, Sample, bool], settings: Settings) -> Encoded | Evidence | Fault:
    """Makes the record of a sample, or only looks at it, or says why that cannot be.

    Args:
        job: name of the split, sample, and whether to make the record.
        settings: what to make of it.

    Raises:
        OSError: something else than a file of the sample cannot be read.
    """
    split, sample, is_wanted = job
    try:
        return encode_sample((split, sample), settings) if is_wanted else check_sample(sample, settings)[2]
    except ValueError as error:
        return Fault(str(error))
    except (cv2.error, MemoryError) as error:
        reason = " ".join(str(error).split()) or "there is not enough memory for it"
        return Fault(f"{sample.image}: cannot be converted with its mask: {reason}")
    except OSError as error:
        if error.filename is None or str(error.filename) not in (str(sample.image), str(sample.mask)):
            raise
        return Fault(f"{error.filename}: cannot be read: {error.strerror}")


def check_sample(sample: Sample, settings: Settings) -> tuple[np.ndarray, np.ndarray, Evidence, Traits, bytes]:
    """Reads one picture and its mask.

    Returns:
        The picture (H, W, 3) uint8, its raw mask (H, W) uint8, what was seen in them, the same as a whole, and the file
        of the mask.

    Raises:
        ValueError, OSError: as of `encode_sample`.
    """
    (image, label_ids, _, mask_file), traits = read_traits(sample, settings.exif, settings.label_map.lookup)
    with named(sample.mask):
        _check_known(label_ids, traits, settings)
    values = np.flatnonzero(pictures.count_values(label_ids)).tolist()
    return image, label_ids, evidence.of_sample(sample.mask, traits, values), traits, mask_file


def _check_known(label_ids: np.ndarray, traits: Traits, settings: Settings) -> None:
    try:
        labels.check_known(label_ids, settings.label_map.lookup)
    except ValueError as error:
        read = {pictures.GREYS: "greys, whose values are read", pictures.COLORS: "colours, whose indexes are read"}
        if traits.mask.kind not in read:
            raise
        raise ValueError(f"{error}; it has a palette of {read[traits.mask.kind]}") from None


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
    image, label_ids, seen, traits, mask_file = check_sample(sample, settings)
    size = settings.size or label_ids.shape
    with named(sample.image):
        image, mask = resizing.resize(image, size), make_mask(label_ids, size, settings)
        kept = None
        if records.keeps_label_ids(split):
            as_it_came = traits.mask.kind == pictures.GREY
            kept = pictures.as_grey_png(label_ids, mask_file) if as_it_came else pictures.encode_mask(label_ids)
        example = encode_pixels(sample.id, image, mask, settings, label_ids=kept)
    class_pixels = pictures.count_values(mask)[: len(settings.label_map.classes)].tolist()
    return Encoded(example, class_pixels, *pictures.channel_sums(image), seen)


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
    """Makes a table of the splits: pictures, size on disk and each class's share of the pixels; then what was decided.

    Many classes take a row each.
    """
    heads = ["split", "pictures", "shards", "MB", *(f"{name} %" for name in manifest.classes)]
    lines = plain_table([heads, *(_summary_row(name, split) for name, split in manifest.splits.items())])
    for name, split in manifest.splits.items():
        if not split.has_truth:
            lines.append(
                f"warning: split {name} has no ground truth, all its pixels are void: no score can be had on it"
            )
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):  # a manifest that someone has edited
        decided, warnings = evidence.in_words(manifest)
        width = max(map(len, decided), default=0)
        lines += [f"warning: {warning}" for warning in warnings]
        lines += ["", *(f"{name.ljust(width)}  {text}" for name, text in decided.items())] if decided else []
    return "\n".join(lines)


def _summary_row(name: str, split: Split) -> Sequence[str]:
    megabytes = sum(shard.bytes for shard in split.shards) / 1e6
    shares = np.array(split.class_pixels) / sum(split.class_pixels) * 100
    return [name, str(split.count), str(len(split.shards)), f"{megabytes:.1f}", *(f"{share:.2f}" for share in shares)]
