"""What is in the shards: each is read once, by one worker process, and each record in it is checked."""

import dataclasses
import hashlib
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from tfseg.io import codecs, image_headers, masks, tfrecord
from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import MOST_VALUES
from tfseg.io.pixel_formats import MOST_CHANNELS, RGB
from tfseg.io.progress import track
from tfseg.io.words import count_of
from tfseg.io.workers import open_pool
from tfseg.records import labels, records, storage
from tfseg.records.manifest import Manifest, Shard, count_fault
from tfseg.records.records import Record
from tfseg.records.storage import MASK_CODECS

MOST_FAULTS = 1000  # of a shard, and of the manifest; more are counted

_LABEL_IDS = "label_ids/encoded"
_TILED = {"image/encoded": "an image", "mask/encoded": "a mask"}
_KINDS = dict.fromkeys((*records.KEYS, _LABEL_IDS), bytes) | dict.fromkeys(("image/height", "image/width"), int)
_KINDS |= dict.fromkeys(_TILED, bytes | list)
_SIGNATURES = {"png": image_headers.PNG_SIGNATURE, "jpeg": image_headers.JPEG_SIGNATURE}
_HEAD_BYTES = 12  # of a record's frame: its length and the checksum of that


class Fault(NamedTuple):
    """One thing that is wrong; as text, a line such as "DIR/x.tfrecord: record 17 (ulm_000012) is cut short"."""

    path: Path
    index: int | None  # of the record in its file, from 0; None: of the file
    id: str | None  # of the record; by the manifest if it cannot be decoded
    message: str

    def __str__(self) -> str:
        record = "" if self.index is None else f"record {self.index} "
        return printable(f"{self.path}: {record}{'' if self.id is None else f'({self.id}) '}{self.message}")


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
    faults: list[Fault] = field(default_factory=list)  # the first `MOST_FAULTS`
    passed_over: int = 0  # faults besides
    ids: list[str | None] = field(default_factory=list)  # of its records; None: it cannot be decoded
    mask_values: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # how often each occurs
    # Sums of the values and of their squares in each channel.
    channel_sums: np.ndarray = field(default_factory=lambda: np.zeros((2, RGB.channels), np.int64))

    def add(self, fault: Fault) -> None:
        """Keeps a fault, or counts it if there are many."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
        else:
            self.passed_over += 1


def read_contents(directory: Path, manifest: Manifest, workers: int) -> dict[str, Content]:
    """Reads all shards that are there, each once; what is in them by name."""
    jobs = [job for job in _jobs(directory, manifest) if job.path.is_file()]
    with open_pool(min(workers, max(len(jobs), 1))) as mapper:
        progress = track(mapper(read_content, jobs), total=len(jobs), unit="shard")
        return {job.shard.name: content for job, content in zip(jobs, progress, strict=True)}


def _jobs(directory: Path, manifest: Manifest) -> Iterator[Job]:
    alone = dataclasses.replace(manifest, splits={}, findings=None)
    taken = set()  # a manifest may list a shard twice
    for name, split in manifest.splits.items():
        start, agrees = 0, count_fault(name, split) is None
        for shard in split.shards:
            ids = split.ids[start : start + shard.count] if agrees else None
            if shard.name not in taken:
                yield Job(directory / shard.name, name, shard, ids, alone)
            taken.add(shard.name)
            start += shard.count


def read_content(job: Job) -> Content:
    """Reads one shard and checks each of its records."""
    channels = job.manifest.channels if 1 <= job.manifest.channels <= MOST_CHANNELS else RGB.channels
    content = Content(channel_sums=np.zeros((2, channels), np.int64))
    job = job._replace(manifest=dataclasses.replace(job.manifest, channels=channels))
    try:
        with job.path.open("rb") as file:
            _read_records(_HashingReader(file), job, content)
    except OSError as error:
        content.add(Fault(job.path, None, None, f"cannot be read: {error.strerror or error}"))
    if content.passed_over:
        content.faults.append(Fault(job.path, None, None, f"has {content.passed_over:,} faults more"))
    return content


def _read_records(reader: "_HashingReader", job: Job, content: Content) -> None:
    """Fills in what the records hold."""
    ids, most = content.ids, min(job.shard.count, MOST_VALUES) + MOST_FAULTS
    try:
        for data in _read_past_damage(reader):
            if len(ids) >= most:
                content.add(Fault(job.path, None, None, f"has {most:,} records or more, not {job.shard.count:,}"))
                return
            record, messages = (None, [data]) if isinstance(data, str) else examine(data, job)
            for message in messages:
                content.add(_record_fault(job, len(ids), record, message))
            ids.append(None if record is None else record.id)
            if record is not None:
                content.mask_values += masks.count_values(record.mask)
                content.channel_sums += codecs.channel_sums(record.image)
    except tfrecord.DamagedRecordError as error:
        content.add(_lost_fault(job, len(ids), error.reason, reader.remaining()))
    else:
        content.sha256 = reader.digest.hexdigest()
        if len(ids) != job.shard.count:
            content.add(Fault(job.path, None, None, _count_message(job, ids)))
            return  # from the first lost record on, no place would agree
    for index, (id, expected) in enumerate(zip(ids, job.ids or [], strict=False)):
        if id not in (None, expected):
            content.add(Fault(job.path, index, id, f"stands where the manifest has {expected}"))


def _record_fault(job: Job, index: int, record: Record | None, message: str) -> Fault:
    by_manifest = job.ids[index] if job.ids and index < len(job.ids) else None
    return Fault(job.path, index, by_manifest if record is None else record.id, message)


def _lost_fault(job: Job, index: int, reason: str, remaining: int) -> Fault:
    """The fault of a record after which no other can be found."""
    left = job.shard.count - index - 1
    if left < 0:
        return Fault(job.path, None, None, f"has {remaining} bytes after its last record")
    lost = f", so the {count_of(left, 'record')} after it cannot be checked" if left else ""
    return _record_fault(job, index, None, reason + lost)


def _count_message(job: Job, ids: list[str | None]) -> str:
    message = f"has {count_of(len(ids), 'record')}, the manifest says {job.shard.count}"
    known = [id for id in ids if id is not None]
    if job.ids is None or len(known) < len(ids):
        return message
    lacking, besides = (some((Counter(a) - Counter(b)).elements()) for a, b in ((job.ids, known), (known, job.ids)))
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
        odd += sorted({*tfrecord.list_others(data)} & {*_KINDS})
        if odd:
            raise ValueError(records.WRONG_KIND.format(", ".join(odd)))
        messages += _storage_messages(features, job.manifest)
        record = records.decode_example(data, job.manifest.channels)
    except ValueError as error:
        return None, [*messages, str(error)]
    except MemoryError:
        return None, [*messages, "takes more memory than there is"]
    return record, [*messages, *_disagreements(record, job)]


def _storage_messages(features: dict[str, tfrecord.Value], manifest: Manifest) -> Iterator[str]:
    """Says what is stored in another way than the manifest promises to those who decode by it."""
    tiles = {key: records.take_tiles(features, key) if key in features else [b""] for key in _TILED}
    stored = records.take_text(features, "image/format") if "image/format" in features else ""
    if stored and stored != manifest.codec:
        yield f"is stored as {shorten(stored)}, the manifest says {manifest.codec}"
    elif not all(tile.startswith(_SIGNATURES.get(stored, b"")) for tile in tiles["image/encoded"]):
        yield f"says that its image is stored as {stored}, which it is not"
    pngs = [tile for tile in tiles["mask/encoded"] if tile.startswith(image_headers.PNG_SIGNATURE)]
    if "mask/encoded" in features and manifest.mask_codec in MASK_CODECS:
        mask_codec = "png" if pngs else "zlib"
        if mask_codec != manifest.mask_codec:
            yield f"has a mask stored as {mask_codec}, the manifest says {manifest.mask_codec}"
    for png in map(image_headers.read_png_head, pngs):
        if (png.depth, png.color) != (8, "grey"):  # TensorFlow reads the greys that its colours make
            yield f"has a mask stored as {png.depth}-bit {png.color}, expected 8-bit grey"
    if any(storage.faults(manifest)):
        return
    for key, expected in zip(_TILED, storage.tile_widths(manifest, 1), strict=True):
        if key in features and len(tiles[key]) != len(expected):
            yield f"has {_TILED[key]} in {len(tiles[key])} tiles, by the manifest it must have {len(expected)}"


def _disagreements(record: Record, job: Job) -> Iterator[str]:
    if job.manifest.size not in (None, list(record.mask.shape)):
        yield f"is {size_text(record.mask.shape)}, the manifest says {shorten(size_text(job.manifest.size))}"
    elif not any(storage.faults(job.manifest)):
        expected = storage.tile_widths(job.manifest, record.mask.shape[1])
        for name, own, widths in zip(_TILED.values(), (record.image_widths, record.mask_widths), expected, strict=True):
            if len(own) == len(widths) and [*own] != widths:
                yield f"has {name} in tiles of {_list(own)} columns, by the manifest they must have {_list(widths)}"
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
        elif keeps and (record.mask < len(job.manifest.classes)).all():
            yield from _label_map_messages(record.mask, record.label_ids, job.manifest)


def _label_map_messages(mask: np.ndarray, label_ids: np.ndarray, manifest: Manifest) -> Iterator[str]:
    """Says whether a mask is other than what conversion makes of its raw mask."""
    try:
        lookup = labels.make_lookup(manifest.classes, manifest.label_map)
    except ValueError:  # a fault of the manifest
        return
    if manifest.classes[labels.VOID] != "void":  # likewise
        return
    if manifest.mask_resize == "majority":
        expected = masks.resize_majority(labels.remap(label_ids, lookup), (mask.shape[0], mask.shape[1]))
        tolerated = mask.size // 1000  # areas that are as good as equal, rounded on another machine
    else:
        expected = labels.remap(masks.resize_nearest(label_ids, (mask.shape[0], mask.shape[1])), lookup)
        tolerated = 0
    wrong = int(np.count_nonzero(expected != mask))
    if wrong > tolerated:
        yield f"has a mask that {wrong:,} of {mask.size:,} pixels of its label ids contradict, by the label map"


def _values(mask: np.ndarray) -> list[int]:
    return np.flatnonzero(masks.count_values(mask)).tolist()


# ---- words


def some(names: Iterable[str], limit: int = 3) -> str:
    names = list(itertools.islice(names, limit + 1))
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _list(numbers: Iterable[int]) -> str:
    return some(map(str, numbers), 10)


def size_text(size: Iterable[int]) -> str:
    return "x".join(map(str, size))
