"""In which order records come: an endless stream, pass after pass over all of them, that can begin anywhere.

With a seed the order of each pass is a function of (seed, number of the pass), on every machine.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

AUTOTUNE = tf.data.AUTOTUNE
READERS = 8  # shards that are read at once: not left to the machine, since the order depends on it


class Share(NamedTuple):
    """The part of the records that one of several readers takes: replicas, or machines."""

    index: int = 0
    count: int = 1


class File(NamedTuple):
    """What a reader takes of one shard: all of its records, or from `first` on one of every `every`."""

    path: str
    total: int  # records of the shard
    place: int  # number of its first record in the split
    first: int = 0
    every: int = 1

    @property
    def count(self) -> int:
        """Records that the reader takes."""
        return len(range(self.first, self.total, self.every))


# (key, count) -> what is drawn for so many records of a shard: tensors of `count` rows. All at once: a dozen small
# operations for each record would take as long as a tenth of its decoding.
Draw = Callable[[tf.Tensor, tf.Tensor], object]


def share_out(paths: Sequence[str], counts: Sequence[int], share: Share) -> list[File]:
    """Shares shards out among readers: no record twice, none left out.

    Where the shards cannot be shared evenly, each reader reads all of them and takes its share of the records.

    Args:
        paths: of the shards.
        counts: records of each.
        share: which part.
    """
    places = itertools.accumulate(counts, initial=0)
    files = [File(*of_shard) for of_shard in zip(paths, counts, places, strict=False)]  # there is a place at the end
    if len(files) % share.count == 0:
        return files[share.index :: share.count]
    # Shifted from shard to shard, since each may have a rest.
    firsts = [(share.index + number) % share.count for number in range(len(files))]
    return [file._replace(first=first, every=share.count) for file, first in zip(files, firsts, strict=True)]


def read_in_passes(
    files: Sequence[File], draw: Draw, *, shuffle: int, seed: int, start: int = 0, in_order: bool = True
) -> tf.data.Dataset:
    """Reads pass after pass over all records, each exactly once a pass.

    Several shards are read at once, into a buffer: as good as a shuffle over all, as long as the buffer holds a good
    part of a shard.

    Args:
        files: what to read.
        draw: what comes with each record; a function of seed, pass and record alone.
        shuffle: records held for shuffling; still encoded, they take a tenth of their pixels.
        seed: of the order, and of what is drawn.
        start: records to pass over at the beginning; the order stays what it would have been.
        in_order: whether the order must be the seed's; else records come as they are ready.

    Returns:
        (what was drawn; serialised record, string), without an end.
    """
    first, passed = divmod(start, sum(file.count for file in files))

    def read_pass(number: tf.Tensor) -> tf.data.Dataset:
        visits = tf.data.Dataset.range(number * len(files), (number + 1) * len(files))
        data = _read_visits(visits, files, draw, seed, in_order)
        tf.random.set_seed(seed + 1)  # in a function it is the function's alone; 0 would be none
        data = data.shuffle(shuffle, number, reshuffle_each_iteration=False)
        return data.skip(tf.where(number == first, tf.constant(passed, tf.int64), 0))

    return tf.data.Dataset.counter(first).flat_map(read_pass)


def read_across_passes(files: Sequence[File], draw: Draw, *, shuffle: int, seed: int) -> tf.data.Dataset:
    """Reads as `read_in_passes`, in no certain order and with soft seams between the passes.

    This is for a tf.data service, which gives each worker other elements of the first data set: here these are visits
    to one shard each, there whole passes.
    """
    return _read_visits(tf.data.Dataset.counter(), files, draw, seed, in_order=False).shuffle(shuffle)


def _read_visits(
    visits: tf.data.Dataset, files: Sequence[File], draw: Draw, seed: int, in_order: bool
) -> tf.data.Dataset:
    """Numbers of visits, each to one shard in one pass -> (what was drawn, record)."""
    paths, totals, places, firsts, everys = (tf.constant(column) for column in zip(*files, strict=True))

    def read_shard(visit: tf.Tensor) -> tf.data.Dataset:
        number, turn = visit // len(files), visit % len(files)
        file = tf.random.experimental.stateless_shuffle(tf.range(len(files)), [seed, number], alg="philox")[turn]
        drawn = draw(_key(seed, number, places[file]), totals[file])
        data = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(drawn), tf.data.TFRecordDataset(paths[file]))
        if any(file.every > 1 for file in files):
            data = data.shard(tf.cast(everys[file], tf.int64), tf.cast(firsts[file], tf.int64))
        return data

    return visits.interleave(read_shard, READERS, num_parallel_calls=AUTOTUNE, deterministic=in_order)


def _key(seed: int, number: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Of what is drawn for a shard in a pass, whoever reads it when."""
    return tf.stack([number * 2**32 + seed, tf.cast(place, tf.int64)])


def number_in_passes(
    counts: Sequence[int], draw: Draw, *, seed: int, start: int = 0, share: Share | None = None
) -> tf.data.Dataset:
    """Numbers pictures that can be had in any order: as `read_in_passes`, shuffled over all of them.

    Args:
        counts: pictures of each shard.
        draw: what comes with each number; the same as with the record.
        seed: of the order, and of what is drawn.
        start: numbers to pass over at the beginning.
        share: the part of one of several readers; None is everything.

    Returns:
        (what was drawn; number of the picture, int64), without an end.
    """
    share = share or Share()
    own = tf.range(share.index, sum(counts), share.count, tf.int64)
    first, passed = divmod(start, len(own))
    shards = list(zip(itertools.accumulate(counts, initial=0), counts, strict=False))

    def number_pass(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(own, [seed, number], alg="philox")
        drawn = [draw(_key(seed, number, place), tf.constant(count)) for place, count in shards]
        drawn = tf.nest.map_structure(lambda *rows: tf.gather(tf.concat(rows, axis=0), order), *drawn)
        data = tf.data.Dataset.from_tensor_slices((drawn, order))
        return data.skip(tf.where(number == first, tf.constant(passed, tf.int64), 0))

    return tf.data.Dataset.counter(first).flat_map(number_pass)
