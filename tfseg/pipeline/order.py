"""In which order records come: an endless stream, pass after pass over all of them, that can begin anywhere.

With a seed the order of each pass is a function of (seed, number of the pass), on every machine.

Several readers take equally many records at a time. Where their shares can be equal, each has the same in every pass.
Where not, a reader whose share is shorter would come round sooner, and repeat its records more often than others; so
the shares change from pass to pass: of one endless row of passes, reader i of n takes as many records of each as there
are places i, i + n, i + 2n ... in it. All readers are then in the same pass, to within a record.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

AUTOTUNE = tf.data.AUTOTUNE
do_not_convert = tf.autograph.experimental.do_not_convert  # by AutoGraph, which takes seconds, and finds nothing to do
DEALT = 0x5EA7  # seed of who reads what, the same for all readers, also those that draw without a seed
READERS = 8  # shards that are read at once: not left to the machine, since the order depends on it


_shuffle = tf.random.experimental.stateless_shuffle  # pyright: ignore[reportAttributeAccessIssue]  the stub lacks it


class Share(NamedTuple):
    """The part of the records that one of several readers takes: replicas, or machines."""

    index: int = 0
    count: int = 1

    def before(self, records):
        """How many of so many first records, a number or a tensor, are of this reader."""
        return (records + self.count - 1 - self.index) // self.count

    def find_pass(self, start: int, total: int) -> tuple[int, int]:
        """Returns the pass over `total` records in which this reader's record `start` is, and its place there."""
        number = (start * self.count + self.index) // total
        return number, start - self.before(number * total)


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
Draw = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]


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


def is_even(paths: Sequence[str], counts: Sequence[int], readers: int) -> bool:
    """Whether `share_out` gives all of so many readers equally many records."""
    shares = [share_out(paths, counts, Share(index, readers)) for index in range(readers)]
    return len({sum(file.count for file in files) for files in shares}) == 1


def read_in_passes(
    files: Sequence[File],
    draw: Draw,
    *,
    shuffle: int,
    seed: int,
    start: int = 0,
    in_order: bool = True,
    share: Share | None = None,
    passes: tf.data.Dataset | None = None,
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
        share: of several readers that all have all `files`: the part that this one takes, another in each pass. None:
            `files` are all its own.
        passes: numbers of the passes to make, int64, if not all from that of `start` on.

    Returns:
        (what was drawn; serialised record, string), without an end, unless `passes` has one.
    """
    total = sum(file.count for file in files)
    first, passed = share.find_pass(start, total) if share else divmod(start, total)

    @do_not_convert
    def read_pass(number: tf.Tensor) -> tf.data.Dataset:
        visits = tf.data.Dataset.range(number * len(files), (number + 1) * len(files))
        if share:
            visits = _list_visits(files, number, seed, share)
        data = _read_visits(visits, files, draw, seed, in_order, share)
        tf.random.set_seed(seed + 1)  # in a function it is the function's alone; 0 would be none
        data = data.shuffle(shuffle, number, reshuffle_each_iteration=False)  # pyright: ignore[reportArgumentType]
        return data.skip(tf.where(number == first, tf.constant(passed, tf.int64), 0)) if passed else data

    return (passes or tf.data.Dataset.counter(first)).flat_map(read_pass)


def count_iterations(first: int = 0) -> tf.data.Dataset:
    """Gives one number, int64: `first` in the first iteration over what is made of it, and one more in each after."""
    with tf.device("CPU:0"):
        following = tf.Variable(tf.constant(first, tf.int64), trainable=False)
    return tf.data.Dataset.range(1).map(do_not_convert(lambda _: following.assign_add(1, read_value=True) - 1))


def read_across_passes(files: Sequence[File], draw: Draw, *, shuffle: int, seed: int) -> tf.data.Dataset:
    """Reads as `read_in_passes`, in no certain order and with soft seams between the passes.

    This is for a tf.data service, which gives each worker other elements of the first data set: here these are visits
    to one shard each, there whole passes.
    """
    return _read_visits(tf.data.Dataset.counter(), files, draw, seed, in_order=False).shuffle(shuffle)


def _read_visits(
    visits: tf.data.Dataset,
    files: Sequence[File],
    draw: Draw,
    seed: int,
    in_order: bool,
    share: Share | None = None,
) -> tf.data.Dataset:
    """Numbers of visits, each to one shard in one pass -> (what was drawn, record)."""
    paths, totals, places, firsts, everys = (tf.constant(column) for column in zip(*files, strict=True))

    @do_not_convert
    def read_shard(visit: tf.Tensor) -> tf.data.Dataset:
        number, turn = visit // len(files), tf.math.floormod(visit, len(files))
        file = _shuffle_files(files, seed, number)[turn]
        drawn = draw(_key(seed, number, places[file]), totals[file])
        data = tf.data.Dataset.zip(tf.data.Dataset.from_tensor_slices(drawn), tf.data.TFRecordDataset(paths[file]))
        if any(file.every > 1 for file in files):
            data = data.shard(tf.cast(everys[file], tf.int64), tf.cast(firsts[file], tf.int64))
        if share:
            begin, end = _deal([file.total for file in files], number, share)
            data = data.skip(begin[file]).take(end[file] - begin[file])
        return data

    return visits.interleave(read_shard, READERS, num_parallel_calls=AUTOTUNE, deterministic=in_order)


def _shuffle_files(files: Sequence[File], seed: int, number: tf.Tensor) -> tf.Tensor:
    """The order in which the shards are visited in a pass."""
    return _shuffle(tf.range(len(files)), [seed, number], alg="philox")


def _list_visits(files: Sequence[File], number: tf.Tensor, seed: int, share: Share) -> tf.data.Dataset:
    """Lists those visits of a pass to shards of which something is a reader's."""
    begin, end = _deal([file.total for file in files], number, share)
    order = _shuffle_files(files, seed, number)
    turns = tf.boolean_mask(tf.range(len(files), dtype=tf.int64), tf.gather(begin < end, order))
    return tf.data.Dataset.from_tensor_slices(number * len(files) + turns)


def _deal(counts: Sequence[int], number: tf.Tensor, share: Share) -> tuple[tf.Tensor, tf.Tensor]:
    """Deals the records of a pass out among readers: to each a row of shards, whole but for the first and the last.

    Returns:
        Of each shard, the first record that is this reader's, and the one after its last, int64.
    """
    total = sum(counts)
    row = _shuffle(tf.range(len(counts)), [DEALT, number], alg="philox")
    lengths = tf.gather(tf.constant(counts, tf.int64), row)
    ahead = [Share(index, share.count) for index in range(share.index)]
    sizes = [one.before((number + 1) * total) - one.before(number * total) for one in (*ahead, share)]
    first = tf.add_n([tf.zeros((), tf.int64), *sizes[:-1]])
    places = tf.cumsum(lengths, exclusive=True)  # of each shard of the row
    begin, end = (tf.clip_by_value(at - places, 0, lengths) for at in (first, first + sizes[-1]))
    back = tf.argsort(row)
    return tf.gather(begin, back), tf.gather(end, back)


def _key(seed: int, number: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    """Of what is drawn for a shard in a pass, whoever reads it when."""
    return tf.stack([number * 2**32 + seed, tf.cast(place, tf.int64)])


def number_in_passes(
    counts: Sequence[int],
    draw: Draw,
    *,
    seed: int,
    start: int = 0,
    share: Share | None = None,
    passes: tf.data.Dataset | None = None,
) -> tf.data.Dataset:
    """Numbers images that can be had in any order: as `read_in_passes`, shuffled over all of them.

    Args:
        counts: images of each shard.
        draw: what comes with each number; the same as with the record.
        seed: of the order, and of what is drawn.
        start: numbers to pass over at the beginning.
        share: the part of one of several readers; None is everything.
        passes: numbers of the passes to make, int64, if not all from that of `start` on.

    Returns:
        (what was drawn; number of the image, int64), without an end, unless `passes` has one.
    """
    share, total = share or Share(), sum(counts)
    even = total % share.count == 0
    own = tf.range(share.index, total, share.count, tf.int64)
    first, passed = divmod(start, len(own)) if even else share.find_pass(start, total)
    shards = list(zip(itertools.accumulate(counts, initial=0), counts, strict=False))

    def deal(number: tf.Tensor) -> tf.Tensor:
        """The numbers that are this reader's in a pass."""
        row = _shuffle(tf.range(total, dtype=tf.int64), [DEALT, number], alg="philox")
        return row[tf.math.floormod(share.index - number * total, share.count) :: share.count]

    @do_not_convert
    def number_pass(number: tf.Tensor) -> tf.data.Dataset:
        mine = own if even else deal(number)
        order = _shuffle(mine, [seed, number], alg="philox")
        drawn = [draw(_key(seed, number, place), tf.constant(count)) for place, count in shards]
        drawn = tf.nest.map_structure(lambda *rows: tf.gather(tf.concat(rows, axis=0), order), *drawn)
        data = tf.data.Dataset.from_tensor_slices((drawn, order))
        return data.skip(tf.where(number == first, tf.constant(passed, tf.int64), 0)) if passed else data

    return (passes or tf.data.Dataset.counter(first)).flat_map(number_pass)
