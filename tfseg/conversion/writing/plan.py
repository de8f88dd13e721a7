"""Which samples go into which shard, in which order: a plan that is the same on every machine."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.reading.samples import Sample
from tfseg.records.manifest import Manifest, manifest_fields, shard_name


class Part(NamedTuple):
    """What becomes one shard."""

    name: str  # of the shard
    split: str
    samples: list[Sample]


def plan_parts(source: Source, limit: int | None = None) -> list[Part]:
    """Decides the shards: their names, and the samples of each in order."""
    parts = []
    for split, members in limit_source(source, limit).splits.items():
        samples = storage_order(split, members)
        total, count = len(samples), shard_count(len(samples))
        for index in range(count):
            # All of one size, or one more.
            own = samples[total * index // count : total * (index + 1) // count]
            parts.append(Part(shard_name(split, index, count), split, own))
    return parts


def limit_source(source: Source, limit: int | None) -> Source:
    """Leaves of each split what is converted with a limit; None: all.

    Raises:
        ValueError: the limit is below 1.
    """
    if limit is None:
        return source
    if limit < 1:
        raise ValueError(f"expected a limit of at least 1 image, got {limit}")
    taken = {split: storage_order(split, members)[:limit] for split, members in source.splits.items()}
    splits = {split: sorted(members, key=lambda sample: sample.id) for split, members in taken.items()}
    return dataclasses.replace(source, splits=splits)


def storage_order(split: str, samples: Iterable[Sample]) -> list[Sample]:
    """Mixes samples, always in the same way.

    Sorted by id, the images of one city or one drive would fill a shard of their own, and the training shuffles only
    over a buffer of records. Sorting by a hash mixes them, the same on every machine, and `limit` takes a fair share.
    """
    return sorted(samples, key=lambda sample: hashlib.sha256(f"{split}/{sample.id}".encode()).digest())


def shard_count(images: int) -> int:
    """Chooses the number of shards of a split.

    128 images of Cityscapes in JPEG are some 150 MB, the 100 to 200 MB that TensorFlow advises: long enough to read
    at full speed, short enough to copy again. Smaller splits get up to 8 all the same, for as many parallel reads,
    but no shard of fewer than 8 images where that can be.
    """
    return max(math.ceil(images / 128), min(8, math.ceil(images / 8)))


def samples_by_split(parts: Sequence[Part]) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for part in parts:
        samples.setdefault(part.split, []).extend(part.samples)
    return samples


def journal_settings(blank: Manifest, parts: Sequence[Part]) -> dict:
    """What two conversions must share for one to resume the other."""
    samples = [[part.name, *(sample.id for sample in part.samples)] for part in parts]
    settings = manifest_fields(blank) | {"plan": hashlib.sha256(json.dumps(samples).encode()).hexdigest()}
    return json.loads(json.dumps(settings))  # as it will be read again
