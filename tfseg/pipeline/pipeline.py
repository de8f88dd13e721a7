"""Shards -> batches of bytes, as straight tf.data chains: one for training, one for evaluation.

A batch is {"image": uint8 (batch, height, width, channels), "mask": uint8 (batch, height, width), class ids}: floats
appear only on the device.

Training is one stream without an end: epoch after epoch of all images, each exactly once, cut into batches across the
seams. With a seed it is a function of the position in it, so that a training can resume anywhere.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfseg.pipeline.fitting import Fitting, resize_exactly
from tfseg.pipeline.order import Share, count_iterations, do_not_convert
from tfseg.pipeline.readers import choose_reader
from tfseg.pipeline.service import check_reachable
from tfseg.pipeline.settings import TrainSettings, plan_buffers
from tfseg.records.parsing import parse_example, parse_label_ids
from tfseg.records.record_set import RecordSet

AUTOTUNE = tf.data.AUTOTUNE
BATCHED = 2  # batches that are put together at a time: as many as the machine likes would take its memory


class TrainStream:
    """The images of a split, opened once, as endless streams of shuffled batches that begin where one likes.

    Args:
        records: whose images they are.
        split: name of the split.
        settings: what a batch is, and how it is read. Without a seed, one is drawn for all streams.

    Raises:
        ValueError: the split is not in the records or smaller than a batch, `ram_budget` is too small, or there is a
            cache and a service.
    """

    def __init__(self, records: RecordSet, split: str, settings: TrainSettings):
        if settings.service and settings.cache:
            raise ValueError("a stream of a tf.data service has no cache")
        self.records, self.split, self.settings, self.seed = records, split, settings, choose_seed(settings)
        self.buffers = plan_buffers(records, split, settings)
        self.reader = choose_reader(records, split, settings, self.buffers)
        self.fitting = Fitting(records, split, settings)

    @property
    def only_copies(self) -> bool:
        """Whether images become parts of a batch by nothing but being copied."""
        return self.reader.only_copies and self.fitting.only_copies

    @do_not_convert
    def decode(self, drawn: tuple[tf.Tensor, tf.Tensor], item: tf.Tensor) -> dict:
        """Makes image and mask of an item, in tf.data's map."""
        return self.fitting.fit(drawn, self.reader.open(item))

    @do_not_convert
    def identify(self, _: tuple[tf.Tensor, tf.Tensor], item: tf.Tensor) -> tf.Tensor:
        """Gives the id of an item, in tf.data's map."""
        return self.reader.identify(item)

    def batches(
        self, *, epoch: int = 0, step: int = 0, share: Share | None = None, only_ids: bool = False
    ) -> tf.data.Dataset:
        """Makes a stream of which an epoch of training takes `RecordSet.count_steps`.

        Images that are left over at the end of an epoch come first in the next one.

        Args:
            epoch: where the stream begins, in epochs of `count_steps` and ...
            step: ... steps; what comes before is passed over undecoded.
            share: the part of one of several readers, with equal steps for all; None is everything. Each image comes
                once a pass over all, to whichever reader.
            only_ids: whether to give the images' ids, string (batch,), in place of what is in them.

        Returns:
            Data set of infinite cardinality.

        Raises:
            ValueError: an argument does not go with `service`, no service answers, or the records are damaged.
            OSError: the records cannot be read.
        """
        settings, reader = self.settings, self.reader
        if settings.service:
            if epoch or step or share:
                raise ValueError("a stream of a tf.data service has no shares and no place to resume at")
            check_reachable(settings.service)
        share = share or Share()
        steps = epoch * self.records.count_steps(self.split, settings.batch_size * share.count) + step
        if not only_ids:
            reader.prepare()

        # Items are shuffled before they are decoded: encoded, they take a tenth of the memory. What is drawn for an
        # item comes with it, so that its crop does not depend on the buffer that shuffles.
        data = reader.read(self.fitting.draw, self.seed, steps * settings.batch_size, share)
        data = data.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        # Passes follow each other without a seam, so no image is dropped here: a batch may hold the end of one pass and
        # the beginning of the next.
        data = map_to_batches(
            data,
            self.identify if only_ids else self.decode,
            settings,
            at_once=self.only_copies and not only_ids,
        )
        if settings.service:  # its workers do all that stands above
            policy = tf.data.experimental.service.ShardingPolicy.DYNAMIC
            data = data.apply(tf.data.experimental.service.distribute(policy, settings.service))
        return data.prefetch(self.buffers.batches)


def make_epoch_batches(
    records: RecordSet, split: str, settings: TrainSettings, *, epoch: int = 0, drop_remainder: bool = True
) -> tf.data.Dataset:
    """Makes the shuffled batches of one epoch: each iteration over them is the next epoch, in another order.

    Args:
        records: whose images they are.
        split: name of the split.
        settings: what a batch is, and how it is read; without `service`.
        epoch: number of the first iteration, from 0 on. With a seed, order and crops are a function of both.
        drop_remainder: whether to leave out the images of an epoch that fill no batch, other ones each time.

    Returns:
        Data set of known cardinality.

    Raises:
        ValueError, OSError: as of `TrainStream`.
    """
    if drop_remainder:
        steps = records.count_steps(split, settings.batch_size)
    else:
        steps = -(-records.split(split).count // settings.batch_size)
    stream = TrainStream(records, split, settings)
    stream.reader.prepare()
    data = stream.reader.read(stream.fitting.draw, stream.seed, 0, Share(), count_iterations(epoch))
    data = map_to_batches(data, stream.decode, settings, drop_remainder=drop_remainder, at_once=stream.only_copies)
    return data.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(stream.buffers.batches)


def map_to_batches(
    data: tf.data.Dataset, decode: Callable, settings: TrainSettings, *, drop_remainder: bool = True, at_once: bool
) -> tf.data.Dataset:
    """Applies a function to each element, and joins the results to batches, as many as `BATCHED` at a time.

    Args:
        data: elements.
        decode: which takes one.
        settings: with the size of a batch; with a seed, the order stays.
        drop_remainder: whether to leave out what fills no batch.
        at_once: whether one call makes a whole batch, so that the passing on of single elements does not take longer
            than what is done with them.
    """
    in_order = settings.seed is not None
    if not (at_once and drop_remainder):
        data = data.map(decode, num_parallel_calls=AUTOTUNE, deterministic=in_order)
        return data.batch(settings.batch_size, drop_remainder, BATCHED, deterministic=in_order)

    @do_not_convert
    def decode_all(*batch) -> dict:
        rows = zip(*(tf.unstack(column, settings.batch_size) for column in tf.nest.flatten(batch)), strict=True)
        made = [decode(*tf.nest.pack_sequence_as(batch, row)) for row in rows]
        return tf.nest.map_structure(lambda *results: tf.stack(results), *made)

    return data.batch(settings.batch_size, True).map(decode_all, num_parallel_calls=BATCHED, deterministic=in_order)


def choose_seed(settings: TrainSettings) -> int:
    """That of the settings, or one that nobody knows."""
    return int(np.random.default_rng().integers(2**31)) if settings.seed is None else settings.seed


def make_eval_batches(
    records: RecordSet,
    split: str,
    *,
    size: tuple[int, int] | None,
    batch_size: int,
    names: bool = False,
) -> tf.data.Dataset:
    """Makes batches of every image of a split once, in the manifest's order, the last batch as small as it comes.

    Args:
        records: whose images they are.
        split: name of the split.
        size: (height, width) that images are resized to; None leaves them as stored.
        batch_size: images in a batch; 1 where both `size` and the records leave each image its own size.
        names: whether a batch has "id" and "label_ids" as well, strings (batch,): the latter the raw masks as PNG files
            at their original size, or empty.

    Returns:
        Data set of known cardinality.

    Raises:
        ValueError: the split is not in the records.
        OSError: the records cannot be read.
    """
    count = records.split(split).count
    if size is None and records.size is None:
        batch_size = 1  # images of the source's own sizes: nothing says that they are all the same

    @do_not_convert
    def decode(record: tf.Tensor) -> dict:
        example = resize_exactly(parse_example(record, records.manifest), size)
        if names:
            return {**example, "label_ids": parse_label_ids(record)}
        return {"image": example["image"], "mask": example["mask"]}  # the device cannot take the id, a string

    data = tf.data.TFRecordDataset(records.shard_paths(split))
    # Known before anything is read, so that a progress bar has an end.
    data = data.apply(tf.data.experimental.assert_cardinality(count))
    data = data.map(decode, num_parallel_calls=AUTOTUNE)  # the order stays the manifest's
    return data.batch(batch_size).prefetch(AUTOTUNE)
