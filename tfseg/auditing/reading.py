"""Records, read one at a time for an audit, without TensorFlow."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfseg.io.paths import open_path
from tfseg.records.record_set import RecordSet
from tfseg.records.records import decode_example, read_shard


class ShardJob(NamedTuple):
    """One shard of a split, to be read by one process."""

    path: str
    split: str
    first: int  # place of its first record in the split
    count: int
    classes: int


class Image(NamedTuple):
    """One image of a split with its ground truth, both as stored."""

    split: str
    id: str
    pixels: np.ndarray  # (H, W, 3) uint8 RGB
    mask: np.ndarray  # (H, W) uint8 class ids


def list_jobs(records: RecordSet, splits: list[str]) -> list[ShardJob]:
    """Lists the shards of some splits, in the manifest's order."""
    jobs = []
    for name in splits:
        first = 0
        for path, shard in zip(records.shard_paths(name), records.split(name).shards, strict=True):
            jobs.append(ShardJob(path, name, first, shard.count, len(records.classes)))
            first += shard.count
    return jobs


def read_images(job: ShardJob, wanted: set[int] | None = None) -> Iterator[Image]:
    """Reads the images of a shard, one at a time.

    Args:
        job: the shard.
        wanted: places in the split of those to decode; None: all.

    Raises:
        ValueError: a record is damaged, or its mask holds values that are of no class; the message names file and
            record.
        OSError: the shard cannot be read.
    """
    path = open_path(job.path)
    index = -1
    for index, data in enumerate(read_shard(path)):
        if wanted is not None and job.first + index not in wanted:
            continue
        try:
            record = decode_example(data)
        except ValueError as error:
            raise ValueError(f"{path}: record {index}: {error}") from None
        if int(record.mask.max()) >= job.classes:
            wrong = [value for value in np.unique(record.mask).tolist() if value >= job.classes]
            raise ValueError(
                f"{path}: record {index} ({record.id}) has a mask with the values {wrong}, expected 0 to "
                f"{job.classes - 1}; make the records again"
            )
        yield Image(job.split, record.id, record.image, record.mask)
    if index + 1 != job.count:
        raise ValueError(f"{path}: holds {index + 1} records, the manifest counts {job.count}; make the records again")
