"""Decoded images and masks of a split, so that nothing is decoded twice: in memory, or in a file mapped into it.

A file is written once, beside the records, and used for as long as the shards are the same.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfseg.io import locks
from tfseg.io.atomic import UNFINISHED, write_whole
from tfseg.io.escaping import printable
from tfseg.io.paths import is_local
from tfseg.io.removal import remove_files
from tfseg.pipeline.arrays import GIBIBYTE, Decoded, map_file, map_memory
from tfseg.pipeline.order import do_not_convert
from tfseg.records.parsing import parse_example
from tfseg.records.record_set import RecordSet

MEBIBYTE = 2**20


def open_cache(records: RecordSet, split: str, place: str, allowed: int) -> Decoded:
    """Decodes a split, or opens what an earlier call left on disk; says first what it takes.

    Args:
        records: from `open_records`.
        split: name of the split.
        place: "ram" or "disk".
        allowed: bytes that may be taken in memory.

    Raises:
        ValueError: the images are of several sizes, or too large for the memory that is allowed.
        OSError: there is no room on the disk, or the records cannot be read.
    """
    count, size = records.split(split).count, records.size
    if size is None:
        raise ValueError(f"{records}: data.cache needs images of one size; convert them with --size")
    channels = records.manifest.channels
    total = Decoded.count_bytes(count, size, channels)
    needs = f"{count:,} images of {size[0]}x{size[1]} take {total / GIBIBYTE:.1f} GiB decoded"
    if place == "ram":
        if total > allowed:
            more = -(-(total - allowed) // MEBIBYTE)
            raise ValueError(f"{records}: {needs}; raise data.ram_budget by {more} MiB or set data.cache to disk")
        print(f"cache: {needs}, in memory", file=sys.stderr, flush=True)
        buffer = map_memory(total)
        _fill(Decoded(count, size, buffer, channels), records, split)
        return Decoded(count, size, buffer, channels)
    path = cache_path(records, split)
    if not _is_whole(path, total):
        path.parent.mkdir(exist_ok=True)
        with _alone(path.parent):  # a training that is started beside another waits for what the other writes
            if not _is_whole(path, total):
                _write(path, records, split, size, needs)
    return Decoded(count, size, map_file(path), channels)


def cache_path(records: RecordSet, split: str) -> Path:
    """Names the file of a split's pixels after what is in its shards.

    Raises:
        ValueError: the records are not on this machine.
    """
    if not is_local(records.path):
        raise ValueError(f"{records}: data.cache disk lies beside the records, which must be on this machine")
    shards = " ".join(shard.sha256 for shard in records.split(split).shards)
    digest = hashlib.sha256(f"{shards} {records.manifest.size}".encode()).hexdigest()[:16]
    folder = records.path.absolute()
    return folder.with_name(folder.name + ".cache") / f"{split}-{digest}.pixels"


def _is_whole(path: Path, total: int) -> bool:
    return path.is_file() and path.stat().st_size == total


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with locks.open_lock(folder / ".lock") as file:
        locks.take_or_say(file, folder, wait=True)
        yield


def _write(path: Path, records: RecordSet, split: str, size: tuple[int, int], needs: str) -> None:
    """Writes the file of a split's pixels in the place of those of other shards, or of a run that was killed."""
    # In full: what begins with train- may as well be of a split train-night.
    remove_files(path.parent, rf"({UNFINISHED})?{re.escape(split)}-[0-9a-f]+\.pixels")
    count, channels = records.split(split).count, records.manifest.channels
    total = Decoded.count_bytes(count, size, channels)
    free = shutil.disk_usage(path.parent).free
    print(f"cache: {needs}, {free / GIBIBYTE:.1f} GiB are free; writing {printable(path)}", file=sys.stderr, flush=True)
    if total > free:
        raise OSError(f"{path.parent}: {needs}, {free / GIBIBYTE:.1f} GiB are free; make room or unset data.cache")
    with write_whole(path) as unfinished:
        _allocate(unfinished, total)
        buffer = np.memmap(unfinished, np.uint8, "r+")
        _fill(Decoded(count, size, buffer, channels), records, split)
        buffer.flush()


def _allocate(path: Path, size: int) -> None:
    """Takes the room at once, so that a full disk is an error here, not a crash at some page later."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _fill(pixels: Decoded, records: RecordSet, split: str) -> None:
    data = tf.data.TFRecordDataset(records.shard_paths(split)).map(
        do_not_convert(lambda record: parse_example(record, records.manifest)), num_parallel_calls=tf.data.AUTOTUNE
    )
    for place, example in enumerate(data.prefetch(2).as_numpy_iterator()):
        pixels.images[place], pixels.masks[place] = example["image"], example["mask"]
