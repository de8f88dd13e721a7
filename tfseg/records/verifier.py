"""Do the records hold what their manifest says? Every byte, record, picture and sum of a folder of shards is checked.

Each thing that is wrong is a `Fault`, one line that names file and record. A shard is read once, by one worker process,
a record at a time; what can be seen without reading any is a check of its own, which answers at once.
"""

import dataclasses
import hashlib
import io
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from tqdm import tqdm

from tfseg.io import images, tfrecord
from tfseg.io.paths import open_path
from tfseg.io.workers import open_pool
from tfseg.records import labels, records
from tfseg.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    Shard,
    Split,
    count_fault,
    folder_fault,
    parse_manifest,
    parse_shard_name,
    shard_fault,
    shard_name,
)
from tfseg.records.records import Record

ADVICE = "copy what is damaged again, or convert again with: python -m tfseg.convert ... --overwrite"

# Mean and deviation of a channel are measured before JPEG, which moves them by up to 2 of 255 at the lowest quality.
JPEG_TOLERANCE = 5.0

_LABEL_IDS = "label_ids/encoded"
_TILED = {"image/encoded": "picture", "mask/encoded": "mask"}
_KINDS = dict.fromkeys((*records.KEYS, _LABEL_IDS), bytes) | dict.fromkeys(("image/height", "image/width"), int)
_KINDS |= dict.fromkeys(_TILED, bytes | list)
_SIGNATURES = {"png": images.PNG_SIGNATURE, "jpeg": images.JPEG_SIGNATURE}
_HEAD_BYTES = 12  # of a record's frame: its length and the checksum of that


class Fault(NamedTuple):
    """One thing that is wrong; as text, a line such as "DIR/x.tfrecord: record 17 (ulm_000012) is cut short"."""

    path: Path
    index: int | None  # of the record in its file, from 0; None: of the file
    id: str | None  # of the record; by the manifest if it cannot be decoded
    message: str

    def __str__(self) -> str:
        record = "" if self.index is None else f"record {self.index} "
        return f"{self.path}: {record}{'' if self.id is None else f'({self.id}) '}{self.message}"


def find_faults(directory: str | Path, quick: bool = False, workers: int = 1) -> list[Fault]:
    """Checks a folder of records.

    Args:
        directory: folder of shards and manifest.json.
        quick: leave out what needs the shards to be read.
        workers: processes that read shards; with 1 this process does it.

    Returns:
        All that is wrong: of the manifest first, then shard by shard and record by record, then of other files. The
        sums of a split (class_pixels, channel_mean, channel_std) are compared where all of its records can be decoded.
    """
    directory = open_path(directory)
    path = directory / MANIFEST_NAME
    if fault := folder_fault(directory):
        return [Fault(directory, None, None, fault)]
    try:
        manifest = parse_manifest(path)
    except ValueError as error:
        return [Fault(path, None, None, str(error))]
    contents = {} if quick else read_contents(directory, manifest, workers)
    messages = itertools.chain(manifest_faults(manifest), sum_faults(manifest, contents))
    faults = [Fault(path, None, None, message) for message in messages]
    faults += itertools.chain(shard_faults(directory, manifest, contents), id_faults(directory, manifest))
    order = {name: place for place, name in enumerate([MANIFEST_NAME, *_shards(manifest)])}
    strays = sorted(file for file in directory.glob("*.tfrecord") if file.name not in order)
    faults += [Fault(file, None, None, "is not in the manifest") for file in strays]
    return sorted(
        faults, key=lambda fault: (order.get(fault.path.name, len(order)), -1 if fault.index is None else fault.index)
    )


# ---- what needs no reading of shards


def manifest_faults(manifest: Manifest) -> Iterator[str]:
    """Says where a manifest disagrees with itself or with this program."""
    if len({*manifest.classes}) < len(manifest.classes) or manifest.classes[labels.VOID : labels.VOID + 1] != ["void"]:
        yield f"has the classes {', '.join(manifest.classes)}, expected void first, and each once"
    if manifest.codec not in records.CODECS:
        yield f"has the codec {manifest.codec}, expected one of {', '.join(records.CODECS)}"
    for value, name in manifest.label_map.items():
        if name not in manifest.classes or not 0 <= value <= 255:
            yield f"maps the mask value {value} to {name}, expected 0 to 255 and one of the classes"
    for name, split in manifest.splits.items():
        if fault := count_fault(name, split):
            yield fault
        if len(split.class_pixels) != len(manifest.classes):
            count = len(split.class_pixels)
            yield f"split {name} has class_pixels of {count} classes, expected {len(manifest.classes)}"
        for fault in name_faults(name, [shard.name for shard in split.shards]):
            yield f"split {name} lists {fault}"


def name_faults(split: str, names: list[str]) -> Iterator[str]:
    """Says where the names of a split's shards do not make a row without gaps, such as 0 to 15 of 16."""
    numbers = {}
    for name in names:
        if name in numbers:
            yield f"{name} twice"
        try:
            numbers[name] = parse_shard_name(name)
        except ValueError:
            yield f"{name}, which is not a shard name such as {shard_name(split, 0, 16)}"
    counts = Counter(count for named, _, count in numbers.values() if named == split)
    if not counts:
        return
    total = counts.most_common(1)[0][0]
    row = f"though its shards are numbered 0 to {total - 1} of {total}"
    for name, (_, index, _) in numbers.items():
        if index >= total or name != shard_name(split, index, total):
            yield f"{name}, {row}"
    whole = (shard_name(split, index, total) for index in range(total))
    if lacking := _some(name for name in whole if name not in numbers):
        yield f"no {lacking}, {row}"


def id_faults(directory: Path, manifest: Manifest) -> Iterator[Fault]:
    """Finds ids that the manifest has twice, in one split or in two."""
    first: dict[str, tuple[str, str]] = {}
    for name, split in manifest.splits.items():
        for id, (path, index) in zip(split.ids, _places(directory, split), strict=False):
            if id not in first:
                first[id] = name, path.name if index is None else f"record {index} of {path.name}"
                continue
            other, place = first[id]
            twice = "is there twice" if other == name else f"is in split {other} too"
            yield Fault(path, index, id, f"{twice}: {place} has the same id")


def _places(directory: Path, split: Split) -> Iterator[tuple[Path, int | None]]:
    """File and index of the record of each id, without an end: ids that no shard counts are the manifest's alone."""
    for shard in split.shards:
        yield from ((directory / shard.name, index) for index in range(shard.count))
    yield from itertools.repeat((directory / MANIFEST_NAME, None))


# ---- one shard, in a worker


class Job(NamedTuple):
    """One shard to read, with what the manifest says of it."""

    path: Path
    split: str
    shard: Shard
    ids: list[str] | None  # of its records; None where the manifest's ids and counts disagree
    manifest: Manifest  # without its splits


@dataclass
class Content:
    """What was found in a shard."""

    sha256: str | None = None  # None: it could not be read to its end
    faults: list[Fault] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)  # of its records; None: it cannot be decoded
    mask_values: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # how often each occurs
    # Sums of the values and of their squares in red, green and blue.
    channel_sums: np.ndarray = field(default_factory=lambda: np.zeros((2, 3), np.int64))


def read_contents(directory: Path, manifest: Manifest, workers: int) -> dict[str, Content]:
    """Reads all shards that are there, each once; what is in them by name."""
    jobs = [job for job in _jobs(directory, manifest) if job.path.is_file()]
    with open_pool(min(workers, max(len(jobs), 1))) as mapper:
        progress = tqdm(mapper(read_content, jobs), total=len(jobs), unit="shard", disable=None)
        return {job.shard.name: content for job, content in zip(jobs, progress, strict=True)}


def _jobs(directory: Path, manifest: Manifest) -> Iterator[Job]:
    alone = dataclasses.replace(manifest, splits={})
    for name, split in manifest.splits.items():
        start, agrees = 0, count_fault(name, split) is None
        for shard in split.shards:
            ids = split.ids[start : start + shard.count] if agrees else None
            yield Job(directory / shard.name, name, shard, ids, alone)
            start += shard.count


def read_content(job: Job) -> Content:
    """Reads one shard and checks each of its records."""
    content = Content()
    try:
        with job.path.open("rb") as file:
            _read_records(_HashingReader(file), job, content)
    except OSError as error:
        content.faults.append(Fault(job.path, None, None, f"cannot be read: {error.strerror or error}"))
    return content


def _read_records(reader: "_HashingReader", job: Job, content: Content) -> None:
    """Fills in what the records hold."""
    ids = content.ids
    try:
        for data in _read_past_damage(reader):
            record, messages = (None, [data]) if isinstance(data, str) else examine(data, job)
            content.faults += (_record_fault(job, len(ids), record, message) for message in messages)
            ids.append(None if record is None else record.id)
            if record is not None:
                content.mask_values += images.count_values(record.mask)
                content.channel_sums += images.channel_sums(record.image)
    except tfrecord.DamagedRecordError as error:
        content.faults.append(_lost_fault(job, len(ids), error.reason, reader.remaining()))
    else:
        content.sha256 = reader.digest.hexdigest()
        if len(ids) != job.shard.count:
            content.faults.append(Fault(job.path, None, None, _count_message(job, ids)))
            return  # from the first lost record on, no place would agree
    for index, (id, expected) in enumerate(zip(ids, job.ids or [], strict=False)):
        if id not in (None, expected):
            content.faults.append(Fault(job.path, index, id, f"stands where the manifest has {expected}"))


def _record_fault(job: Job, index: int, record: Record | None, message: str) -> Fault:
    by_manifest = job.ids[index] if job.ids and index < len(job.ids) else None
    return Fault(job.path, index, by_manifest if record is None else record.id, message)


def _lost_fault(job: Job, index: int, reason: str, remaining: int) -> Fault:
    """The fault of a record after which no other can be found."""
    left = job.shard.count - index - 1
    if left < 0:
        return Fault(job.path, None, None, f"has {remaining} bytes after its last record")
    lost = f", so the {_count(range(left), 'record')} after it cannot be checked" if left else ""
    return _record_fault(job, index, None, reason + lost)


def _count_message(job: Job, ids: list[str | None]) -> str:
    message = f"has {_count(ids, 'record')}, the manifest says {job.shard.count}"
    if job.ids is None or None in ids:
        return message
    lacking, besides = (_some((Counter(a) - Counter(b)).elements()) for a, b in ((job.ids, ids), (ids, job.ids)))
    return message + (f"; it lacks {lacking}" if lacking else "") + (f"; it has {besides} besides" if besides else "")


def _read_past_damage(reader: "_HashingReader") -> Iterator[bytes | str]:
    """Reads the records of a shard; where only the data of one are damaged, what is wrong with it.

    Raises:
        DamagedRecordError: a length is damaged, and with it lost where the next record begins.
    """
    while True:
        reader.begin()
        try:
            for data in tfrecord.read_records(reader):
                yield data
                reader.begin()
            return
        except tfrecord.DamagedRecordError as error:
            if reader.done() <= _HEAD_BYTES:
                raise
            yield error.reason


class _HashingReader:
    """A file that is hashed as it is read, once and in order; its start is where it was when `begin` was called."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.start, self.digest = file, 0, hashlib.sha256()

    def begin(self) -> None:
        self.start = self.file.tell()

    def done(self) -> int:
        return self.file.tell() - self.start

    def remaining(self) -> int:
        return self.file.seek(0, io.SEEK_END) - self.start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.file.seek(offset if whence else self.start + offset, whence) - self.start

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.digest.update(data)
        return data


# ---- one record


def examine(data: bytes, job: Job) -> tuple[Record | None, list[str]]:
    """Decodes one record, None if that cannot be, and says what is wrong with it."""
    messages = []
    try:
        features = tfrecord.decode_example(data)
        odd = [key for key, kind in _KINDS.items() if key in features and not isinstance(features[key], kind)]
        if odd:
            raise ValueError(f"has a value of the wrong kind as {', '.join(odd)}")
        messages += _storage_messages(features, job.manifest)
        record = records.decode_example(data)
    except UnicodeDecodeError:
        return None, ["has something else than text as id or image/format"]
    except ValueError as error:
        return None, [*messages, str(error)]
    return record, [*messages, *_disagreements(record, job)]


def _storage_messages(features: dict[str, tfrecord.Value], manifest: Manifest) -> Iterator[str]:
    """Says what is stored in another way than the manifest promises to those who decode by it."""
    tiles = {key: features.get(key, b"") for key in _TILED}
    tiles = {key: [value] if isinstance(value, bytes) else value for key, value in tiles.items()}
    stored = features.get("image/format", b"").decode()
    if stored and stored != manifest.codec:
        yield f"is stored as {stored}, the manifest says {manifest.codec}"
    elif not all(tile.startswith(_SIGNATURES.get(stored, b"")) for tile in tiles["image/encoded"]):
        yield f"says that its picture is stored as {stored}, which it is not"
    mask_is_png = any(tile.startswith(images.PNG_SIGNATURE) for tile in tiles["mask/encoded"])
    if mask_is_png and manifest.mask_codec != "png":
        yield f"has a mask stored as png, the manifest says {manifest.mask_codec}"
    width = manifest.tile_width
    expected = math.ceil(manifest.size[1] / width) if width else 1
    for key, name in _TILED.items():
        if key in features and len(tiles[key]) != expected:
            yield f"has a {name} in {len(tiles[key])} tiles, by the manifest it must have {expected}"


def _disagreements(record: Record, job: Job) -> Iterator[str]:
    if job.manifest.size not in (None, list(record.mask.shape)):
        yield f"is {_size(record.mask.shape)}, the manifest says {_size(job.manifest.size)}"
    if wrong := [value for value in _values(record.mask) if value >= len(job.manifest.classes)]:
        yield f"has a mask with the values {wrong}, expected 0 to {len(job.manifest.classes) - 1}"
    keeps = records.keeps_label_ids(job.split)
    if keeps and record.label_ids is None:
        yield f"lacks {_LABEL_IDS}, which split {job.split} must have"
    if record.label_ids is not None:
        if not keeps:
            yield f"has {_LABEL_IDS}, which split {job.split} must not have"
        if wrong := [value for value in _values(record.label_ids) if value not in job.manifest.label_map]:
            yield f"has label ids with the values {wrong}, which the label map lacks"


def _values(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(images.count_values(mask)).tolist()


# ---- what was read against the manifest


def shard_faults(directory: Path, manifest: Manifest, contents: dict[str, Content]) -> Iterator[Fault]:
    """Says what is wrong with each shard; where `contents` lacks it, as far as can be seen without reading it."""
    owners = {shard.sha256: name for name, shard in _shards(manifest).items()}
    held = {name: owners.get(content.sha256) for name, content in contents.items()}  # whose content each has
    for name, shard in _shards(manifest).items():
        path, content = directory / name, contents.get(name, Content(shard.sha256))
        owner = held.get(name)
        if owner is not None and content.sha256 != shard.sha256:
            swapped = "; the two are swapped" if held.get(owner) == name else ""
            yield Fault(path, None, None, f"holds the content of {owner}, by its SHA-256{swapped}")
            continue
        if fault := shard_fault(path, shard):
            yield Fault(path, None, None, fault)
        yield from content.faults
        if content.sha256 != shard.sha256 and not content.faults:
            hashes = f"it is {content.sha256[:12]}..., not {shard.sha256[:12]}..."
            yield Fault(
                path, None, None, f"content differs from the manifest (SHA-256), though every record reads: {hashes}"
            )


def sum_faults(manifest: Manifest, contents: dict[str, Content]) -> Iterator[str]:
    """Compares what was measured on each split; one that is not there in full cannot agree, and is passed over."""
    for name, split in manifest.splits.items():
        own = [contents[shard.name] for shard in split.shards if shard.name in contents]
        ids = [id for content in own for id in content.ids]
        if not ids or None in ids or sorted(ids) != sorted(split.ids):
            continue
        masks = sum(content.mask_values for content in own)
        mean, mean_square = sum(content.channel_sums for content in own) / masks.sum()
        class_pixels = masks[: len(manifest.classes)].tolist()
        if class_pixels != split.class_pixels and sum(class_pixels) == masks.sum():
            yield f"split {name} has class_pixels {split.class_pixels}, its masks have {class_pixels}"
        statistics = {
            "channel_mean": (split.channel_mean, mean),
            "channel_std": (split.channel_std, np.sqrt((mean_square - mean**2).clip(0))),
        }
        for key, (there, found) in statistics.items():
            if not _agree(there, found, manifest.codec):
                yield f"split {name} has {key} {_numbers(there)}, its pictures have {_numbers(found)}"


def _agree(there: list[float], found: np.ndarray, codec: str) -> bool:
    tolerance = JPEG_TOLERANCE if codec == "jpeg" else 1e-5  # what rounding makes of a deviation of 0
    return len(there) == len(found) and np.allclose(there, found, rtol=1e-6, atol=tolerance)


# ---- words


def _shards(manifest: Manifest) -> dict[str, Shard]:
    return {shard.name: shard for split in manifest.splits.values() for shard in split.shards}


def _count(items: Sized, word: str) -> str:
    return f"{len(items):,} {word}{'' if len(items) == 1 else 's'}"


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(itertools.islice(names, limit + 1))
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _size(size: Iterable[int]) -> str:
    return "x".join(map(str, size))


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:.8g}' for value in values)}]"
