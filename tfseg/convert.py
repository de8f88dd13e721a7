"""Samples -> shards: decode, check, remap, resize and encode every picture, once, before any training.

Worker processes do the work on pixels with OpenCV and NumPy and never import TensorFlow; the parent puts their bytes
into records. Results come back in the order of the samples, so the files are the same for any number of workers.
A folder of records is whole or not there: it is written beside its place and renamed at the end.
"""

import dataclasses
import functools
import hashlib
import itertools
import math
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from tfseg import labels, pictures, records
from tfseg.records import Manifest, Shard, Split
from tfseg.sources import Sample, Source

try:
    import fcntl
except ImportError:  # Windows: two conversions of one folder are the user's to avoid
    fcntl = None

LOCK = ".lock"  # in a folder that is being written


@dataclass(frozen=True)
class Settings:
    """What is done to every sample."""

    lookup: np.ndarray  # (256,) uint8, value of a raw mask -> category id
    size: tuple[int, int] | None  # height, width; None keeps each picture's own
    codec: str
    quality: int | None  # of JPEG, 1..100


class Encoded(NamedTuple):
    """One sample on its way from a worker to a shard."""

    id: str
    image: bytes
    mask: bytes
    label_ids: bytes | None
    height: int
    width: int
    class_pixels: np.ndarray  # (8,) int64
    histogram: np.ndarray  # (3, 256) int64: how often each value occurs in red, green and blue


# ---- the whole data set


def convert(
    source: Source,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    codec: str = "jpeg",
    quality: int = 95,
    workers: int = 1,
    limit: int | None = None,
    overwrite: bool = False,
) -> Manifest:
    """Converts a raw data set to a folder of shards and a manifest.

    Records that are there already are kept if they hold the same ids, made with the same settings. Changed pixels of
    the source are not noticed: `overwrite` is for them.

    Args:
        source: from `sources.open_source`.
        out: folder to make.
        size: height and width to squash every picture to; None keeps each picture's own.
        codec: of the stored pictures: "jpeg" (small), "png" (exact) or "raw" (exact, large, nothing to decode).
        quality: of JPEG, 1..100.
        workers: processes that decode and encode; with 1 this process does it.
        limit: at most so many pictures of each split.
        overwrite: replace records that are there.

    Raises:
        ValueError: an argument or a file of the source is bad, or `out` holds something else.
        OSError: a file cannot be read or written.
    """
    _check_arguments(size, codec, quality, workers, limit)
    out = Path(out).resolve()
    settings = Settings(source.lookup, size, codec, quality if codec == "jpeg" else None)
    samples = {split: storage_order(split, members)[:limit] for split, members in source.splits.items()}
    if _is_there(out) and not overwrite:
        manifest = _reuse(out, _manifest(source, settings), samples)
        print(f"{out}: is there already, made with the same settings")
        return manifest
    with _whole_or_nothing(out) as folder, _mapper(workers) as mapper:
        splits = {split: _convert_split(split, samples[split], folder, settings, mapper) for split in samples}
        manifest = dataclasses.replace(_manifest(source, settings), splits=splits)
        records.write_manifest(folder, manifest)
    return manifest


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


def _check_arguments(size: tuple[int, int] | None, codec: str, quality: int, workers: int, limit: int | None) -> None:
    if size is not None and min(size) < 1:
        raise ValueError(f"expected a height and width of at least 1 pixel, got {size}")
    if codec not in records.CODECS:
        raise ValueError(f"expected a codec of {', '.join(records.CODECS)}, got {codec!r}")
    if not 1 <= quality <= 100:
        raise ValueError(f"expected a JPEG quality in 1..100, got {quality}")
    if workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")
    if limit is not None and limit < 1:
        raise ValueError(f"expected a limit of at least 1 picture, got {limit}")


def _manifest(source: Source, settings: Settings) -> Manifest:
    return Manifest(
        schema_version=records.SCHEMA_VERSION,
        source=source.name,
        label_map=source.label_map,
        classes=list(labels.CATEGORIES),
        size=list(settings.size) if settings.size else None,
        codec=settings.codec,
        quality=settings.quality,
        splits={},
    )


# ---- the output folder


def _is_there(out: Path) -> bool:
    """Whether `out` holds records; refuses whatever else it holds, which is never touched."""
    if out.is_mount():
        raise ValueError(f"{out}: is a mount point, which cannot be renamed; choose a folder in it with --out")
    if not out.exists():
        return False
    if not out.is_dir():
        raise ValueError(f"{out}: is a file, not a folder; choose another --out")
    _check_only_records(out)
    return any(out.iterdir())


def _check_only_records(folder: Path) -> None:
    """Refuses a folder that holds what no conversion wrote: it is about to be replaced."""
    foreign = [path.name for path in sorted(folder.iterdir()) if not _is_ours(path)] if folder.exists() else []
    if foreign:
        raise ValueError(f"{folder}: holds other files than records, such as {foreign[0]}; choose another --out")


def _is_ours(path: Path) -> bool:
    # .DS_Store is left by macOS in every folder it shows.
    if path.name in (records.MANIFEST_NAME, "manifest.tmp", LOCK, ".DS_Store"):
        return path.is_file()
    try:
        records.parse_shard_name(path.name)
    except ValueError:
        return False
    return path.is_file()


def _reuse(out: Path, wanted: Manifest, samples: dict[str, list[Sample]]) -> Manifest:
    """Returns the manifest of `out` if it is what a conversion would make."""
    try:
        there = records.read_manifest(out)
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{error}; --overwrite replaces the damaged folder") from None
    differences = [
        f"{name} is {getattr(there, name)}, not {getattr(wanted, name)}"
        for name in ("source", "size", "codec", "quality")
        if getattr(there, name) != getattr(wanted, name)
    ]
    if (there.label_map, there.classes) != (wanted.label_map, wanted.classes):
        differences.append("the label map is another one")
    ids = {split: [sample.id for sample in members] for split, members in samples.items()}
    for split in sorted(there.splits.keys() | ids.keys()):
        found = there.splits[split].ids if split in there.splits else []
        if found != ids.get(split, []):
            differences.append(f"split {split} has {len(found)} pictures, not the same {len(ids.get(split, []))}")
    if differences:
        raise ValueError(f"{out}: holds other records: {'; '.join(differences)}; choose another --out, or --overwrite")
    return there


@contextmanager
def _whole_or_nothing(out: Path) -> Iterator[Path]:
    """Gives a folder to write into, which becomes `out` if all goes well and is removed if anything does not.

    What a killed conversion left beside `out` is cleared away first; that of one still running is refused.
    """
    incomplete, replaced = (out.with_name(out.name + ending) for ending in (".incomplete", ".replaced"))
    for leftover in (incomplete, replaced):
        _check_only_records(leftover)
    if incomplete.exists():
        with _lock(incomplete):
            shutil.rmtree(incomplete)
    if replaced.exists():  # killed between the two renames below, or just after
        shutil.rmtree(replaced) if out.exists() else replaced.rename(out)
    incomplete.mkdir(parents=True)
    try:
        with _lock(incomplete):
            yield incomplete
        (incomplete / LOCK).unlink()
        if out.exists():
            out.rename(replaced)
        incomplete.rename(out)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(incomplete, ignore_errors=True)
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds a folder for this process; the system lets go of it when the process ends, however it ends."""
    with (folder / LOCK).open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{folder}: another conversion is writing here; wait for it") from None
        yield


# ---- the workers

Mapper = Callable[[Callable, Iterable], Iterator]


@contextmanager
def _mapper(workers: int) -> Iterator[Mapper]:
    """Gives a `map` that works in processes and holds only a few results at a time."""
    if workers == 1:
        yield map
        return
    # A fork would copy the parent's TensorFlow, whose threads it does not survive.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        yield functools.partial(_map_in_order, pool, 4 * workers)
    except BrokenProcessPool:
        raise OSError("a worker process was killed, perhaps for want of memory; try fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _map_in_order(pool: ProcessPoolExecutor, ahead: int, function: Callable, items: Iterable) -> Iterator:
    """Yields results in the order of the items, while at most `ahead` of them are waited for."""
    pending = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)  # a process a core is parallel enough


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)  # the parent was killed; nobody else would ever end this process


# ---- one split


def _convert_split(split: str, samples: list[Sample], folder: Path, settings: Settings, mapper: Mapper) -> Split:
    encode = functools.partial(encode_sample, settings=settings, keep_label_ids=records.keeps_label_ids(split))
    statistics = _Statistics()
    progress = tqdm(mapper(encode, samples), desc=split, total=len(samples), unit="picture", disable=None)
    examples = (_serialise(statistics.add(encoded), settings.codec) for encoded in progress)
    shards = _write_shards(split, examples, len(samples), folder)
    return Split([sample.id for sample in samples], shards, *statistics.results())


def _write_shards(split: str, examples: Iterator[bytes], total: int, folder: Path) -> list[Shard]:
    count = shard_count(total)
    shards = []
    for index in range(count):
        size = total * (index + 1) // count - total * index // count  # all alike, or one more
        path = folder / records.shard_name(split, index, count)
        shards.append(records.write_shard(path, itertools.islice(examples, size)))
    return shards


def _serialise(encoded: Encoded, codec: str) -> bytes:
    return records.encode_example(
        id=encoded.id,
        image=encoded.image,
        codec=codec,
        height=encoded.height,
        width=encoded.width,
        mask=encoded.mask,
        label_ids=encoded.label_ids,
    )


class _Statistics:
    """Sums over a split; integers, so that they are exact."""

    def __init__(self) -> None:
        self.class_pixels = np.zeros(len(labels.CATEGORIES), np.int64)
        self.histogram = np.zeros((3, 256), np.int64)

    def add(self, encoded: Encoded) -> Encoded:
        self.class_pixels += encoded.class_pixels
        self.histogram += encoded.histogram
        return encoded

    def results(self) -> tuple[list[int], list[float], list[float]]:
        """Pixels of each class, mean and standard deviation of each channel."""
        values = np.arange(256)
        pixels = self.histogram.sum(axis=1)
        mean = self.histogram @ values / pixels
        variance = self.histogram @ values**2 / pixels - mean**2
        return self.class_pixels.tolist(), mean.tolist(), np.sqrt(variance.clip(0)).tolist()


# ---- one sample, in a worker


def encode_sample(sample: Sample, settings: Settings, keep_label_ids: bool) -> Encoded:
    """Reads one picture and its mask and encodes them as they are stored.

    Raises:
        ValueError: a file is damaged or of a kind that is not understood; the message begins with its path.
    """
    image = pictures.read_image(sample.image)
    label_ids = pictures.read_mask(sample.mask)
    if image.shape[:2] != label_ids.shape:
        sizes = ["x".join(map(str, shape)) for shape in (image.shape[:2], label_ids.shape)]
        raise ValueError(f"{sample.image}: is {sizes[0]}, but its mask {sample.mask} is {sizes[1]}; make them agree")
    try:
        mask = labels.remap(label_ids, settings.lookup)
    except ValueError as error:
        raise ValueError(f"{sample.mask}: {error}") from None
    image, mask = pictures.resize(image, mask, settings.size or mask.shape)
    return Encoded(
        id=sample.id,
        image=pictures.encode_image(image, settings.codec, settings.quality),
        mask=pictures.encode_mask(mask),
        label_ids=pictures.encode_mask(label_ids) if keep_label_ids else None,
        height=mask.shape[0],
        width=mask.shape[1],
        class_pixels=np.bincount(mask.ravel(), minlength=len(labels.CATEGORIES)),
        histogram=np.stack([np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(3)]),
    )


# ---- the summary


def summarise(manifest: Manifest) -> str:
    """Makes a table of the splits: pictures, size on disk and each category's share of the pixels."""
    heads = ["split", "pictures", "shards", "MB", *(f"{name} %" for name in manifest.classes)]
    rows = [_summary_row(name, split) for name, split in manifest.splits.items()]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows]]
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
