"""Decoded pictures and masks of a split, so that nothing is decoded twice: in memory, or in a file mapped into it.

A file is written once, beside the records, and used for as long as the shards are the same.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfseg.io.paths import is_local, open_path
from tfseg.pipeline.arrays import Decoded
from tfseg.records.manifest import Manifest
from tfseg.records.parsing import parse_example

try:
    import fcntl
except ImportError:  # Windows: two trainings that write one cache are the user's to avoid
    fcntl = None

MEBIBYTE, GIBIBYTE = 2**20, 2**30
CHANNELS = 4  # three of the picture and the mask


def open_cache(records: str | Path, split: str, manifest: Manifest, place: str, allowed: int) -> Decoded:
    """Decodes a split, or opens what an earlier call left on disk; says first what it takes.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        manifest: of the records.
        place: "ram" or "disk".
        allowed: bytes that may be taken in memory.

    Raises:
        ValueError: the pictures are of several sizes, or too large for the memory that is allowed.
        OSError: there is no room on the disk, or the records cannot be read.
    """
    entry = manifest.splits[split]
    if manifest.size is None:
        raise ValueError(f"{records}: data.cache needs pictures of one size; convert them with --size")
    size = tuple(manifest.size)
    total = entry.count * size[0] * size[1] * CHANNELS
    what = f"{entry.count:,} pictures of {size[0]}x{size[1]} take {total / GIBIBYTE:.1f} GiB decoded"
    if place == "ram":
        if total > allowed:
            more = -(-(total - allowed) // MEBIBYTE)
            raise ValueError(f"{records}: {what}; raise data.ram_budget by {more} MiB or set data.cache to disk")
        print(f"cache: {what}, in memory", file=sys.stderr, flush=True)
        buffer = np.empty(total, np.uint8)
        _fill(Decoded(entry.count, size, buffer), records, split, manifest)
        return Decoded(entry.count, size, buffer)
    path = cache_path(records, split, manifest)
    path.parent.mkdir(exist_ok=True)
    with _alone(path.parent):  # a training that is started beside another waits for what the other writes
        if not path.exists():
            for older in path.parent.glob(f"{split}-*"):  # of other shards, or of a run that was killed
                older.unlink()
            free = shutil.disk_usage(path.parent).free
            print(f"cache: {what}, {free / GIBIBYTE:.1f} GiB are free; writing {path}", file=sys.stderr, flush=True)
            if total > free:
                raise OSError(
                    f"{path.parent}: {what}, {free / GIBIBYTE:.1f} GiB are free; make room or unset data.cache"
                )
            incomplete = path.with_name(path.name + ".incomplete")
            try:
                _allocate(incomplete, total)
                buffer = np.memmap(incomplete, np.uint8, "r+")
                _fill(Decoded(entry.count, size, buffer), records, split, manifest)
                buffer.flush()
                incomplete.replace(path)
            finally:
                incomplete.unlink(missing_ok=True)
    return Decoded(entry.count, size, np.memmap(path, np.uint8, "r"))


def cache_path(records: str | Path, split: str, manifest: Manifest) -> Path:
    """Names the file of a split's pixels after what is in its shards.

    Raises:
        ValueError: the records are not on this machine.
    """
    folder = open_path(records)
    if not is_local(folder):
        raise ValueError(f"{records}: data.cache disk lies beside the records, which must be on this machine")
    shards = " ".join(shard.sha256 for shard in manifest.splits[split].shards)
    digest = hashlib.sha256(f"{shards} {manifest.size}".encode()).hexdigest()[:16]
    folder = folder.absolute()
    return folder.with_name(folder.name + ".cache") / f"{split}-{digest}.pixels"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _allocate(path: Path, size: int) -> None:
    """Takes the room at once, so that a full disk is an error here, not a crash at some page later."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _fill(pixels: Decoded, records: str | Path, split: str, manifest: Manifest) -> None:
    shards = [str(open_path(records) / shard.name) for shard in manifest.splits[split].shards]
    data = tf.data.TFRecordDataset(shards).map(
        lambda record: parse_example(record, manifest), num_parallel_calls=tf.data.AUTOTUNE
    )
    for place, example in enumerate(data.prefetch(2).as_numpy_iterator()):
        pixels.images[place], pixels.masks[place] = example["image"], example["mask"]
