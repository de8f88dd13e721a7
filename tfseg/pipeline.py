"""Shards -> batches of bytes, as straight tf.data chains: one for training, one for evaluation.

A batch is {"image": uint8 (batch, height, width, 3), RGB, "mask": uint8 (batch, height, width), class ids}: floats
appear only on the device.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfseg import verify
from tfseg.paths import open_path
from tfseg.records import Manifest, Split, parse_example, read_manifest

AUTOTUNE = tf.data.AUTOTUNE


def make_train_batches(
    records: str | Path,
    split: str,
    *,
    size: tuple[int, int],
    batch_size: int,
    fit: str = "resize",
    scale: tuple[float, float] = (1.0, 1.0),
    shuffle: int = 2000,
    seed: int | None = None,
) -> tf.data.Dataset:
    """Makes one epoch of shuffled batches; each new pass over it has another order and other windows.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        size: (height, width) of the pictures in a batch.
        batch_size: pictures in a batch. The rest at an epoch's end comes in none; each time it is another rest.
        fit: "resize" squashes the whole picture to `size`; "crop" cuts a random window of the shape of `size`.
        scale: for "crop", the range of the factor by which windows are enlarged. It is raised where the window would be
            larger than the picture.
        shuffle: encoded records held for shuffling.
        seed: makes order and windows the same each time; None goes as fast as it can.

    Returns:
        Data set of known cardinality.

    Raises:
        ValueError: the split is not in the records, or smaller than a batch.
        OSError: the records cannot be read.
    """
    manifest = read_manifest(records)
    count = check_split(manifest, records, split).count
    if count < batch_size:
        raise ValueError(
            f"{records}: split {split!r} has {count} pictures, fewer than train.batch_size {batch_size}; "
            "lower it or convert more pictures"
        )

    def decode(record: tf.Tensor, seed: tf.Tensor) -> dict:
        if fit == "resize":
            return resize(parse_example(record, manifest.codec), size)
        choose_window = partial(draw_window, size=size, scale=scale, seed=seed)
        return resize(parse_example(record, manifest.codec, choose_window), size)

    # Shuffle the shards, then the records as they come from several shards at once: as good as a shuffle over all, as
    # long as the buffer holds a good part of a shard. What waits in the buffer is encoded, a tenth of its pixels.
    data = tf.data.Dataset.from_tensor_slices(shard_paths(manifest, records, split))
    data = data.shuffle(len(data), seed)
    data = data.interleave(
        tf.data.TFRecordDataset, AUTOTUNE, num_parallel_calls=AUTOTUNE, deterministic=seed is not None
    )
    data = data.shuffle(shuffle, seed)
    # Nobody can count records ahead, but the manifest has. Without it fit runs one step too many an epoch.
    data = data.apply(tf.data.experimental.assert_cardinality(count))
    # One seed a picture, others in each epoch.
    seeds = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2)
    data = tf.data.Dataset.zip(data, seeds)
    data = data.map(
        lambda record, seed: keep_pixels(decode(record, seed)),
        num_parallel_calls=AUTOTUNE,
        deterministic=seed is not None,
    )
    return data.batch(batch_size, drop_remainder=True).prefetch(AUTOTUNE)


def make_eval_batches(
    records: str | Path, split: str, *, size: tuple[int, int] | None, batch_size: int
) -> tf.data.Dataset:
    """Makes batches of every picture of a split once, in the manifest's order, the last batch as small as it comes.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        size: (height, width) that pictures are squashed to; None leaves them as stored.
        batch_size: pictures in a batch; 1 where both `size` and the records leave each picture its own size.

    Returns:
        Data set of known cardinality.

    Raises:
        ValueError: the split is not in the records.
        OSError: the records cannot be read.
    """
    manifest = read_manifest(records)
    count = check_split(manifest, records, split).count
    if size is None and manifest.size is None:
        batch_size = 1  # pictures of the source's own sizes: nothing says that they are all the same
    data = tf.data.TFRecordDataset(shard_paths(manifest, records, split))
    data = data.apply(tf.data.experimental.assert_cardinality(count))
    data = data.map(
        lambda record: keep_pixels(resize(parse_example(record, manifest.codec), size)), num_parallel_calls=AUTOTUNE
    )
    return data.batch(batch_size).prefetch(AUTOTUNE)


def read_examples(records: str | Path, split: str, *, count: int, size: tuple[int, int] | None) -> Iterator[dict]:
    """Reads single pictures, evenly spread from the first to the last of a split: to look at, not to train on.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        count: how many; all, if there are fewer.
        size: (height, width) that pictures are squashed to; None leaves them as stored.

    Yields:
        {"id": bytes, "image": uint8 (height, width, 3), "mask": uint8 (height, width)}, NumPy arrays.

    Raises:
        ValueError: the split is not in the records.
        OSError: the records cannot be read.
    """
    manifest = read_manifest(records)
    total = check_split(manifest, records, split).count
    wanted = np.unique(np.linspace(0, max(total - 1, 0), min(count, total)).round().astype(int))
    data = tf.data.TFRecordDataset(shard_paths(manifest, records, split)).enumerate()
    data = data.filter(lambda place, _: tf.reduce_any(place == wanted))  # before anything is decoded
    data = data.map(lambda _, record: resize(parse_example(record, manifest.codec), size))
    yield from data.as_numpy_iterator()


def check_split(manifest: Manifest, records: str | Path, split: str) -> Split:
    """Looks a split up, or says which there are."""
    if split not in manifest.splits:
        raise ValueError(f"{records}: has no split {split!r}, it has {', '.join(manifest.splits)}; see data.*_split")
    return manifest.splits[split]


def check_truth(records: str | Path, split: str) -> None:
    """Refuses a split that nothing can be scored on.

    Raises:
        ValueError: the split is not in the records, or holds nothing but void, as the test split of Cityscapes does.
        OSError: the records cannot be read.
    """
    if not check_split(read_manifest(records), records, split).has_truth:
        raise ValueError(f"{records}: split {split!r} holds nothing but void, so there is nothing to score against")


@contextmanager
def told_damage(records: str | Path) -> Iterator[None]:
    """Says by file and record what is damaged, where TensorFlow stops on it in words of its own.

    Args:
        records: folder of shards and manifest.json, read within.

    Raises:
        ValueError: TensorFlow raised an error, and the records have faults; the message is the first of a record.
        tf.errors.OpError: it raised one, and the records are sound, or it ran out of memory.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError:  # not of the data, whose check takes minutes
        raise
    except tf.errors.OpError as error:
        print(f"{records}: TensorFlow stopped with an error; checking the records", file=sys.stderr, flush=True)
        faults = verify.find_faults(records)
        if not faults:
            raise
        first = min(faults, key=lambda fault: fault.index is None)  # sums, files and the manifest stop no reader
        more = f"{len(faults) - 1} more: python tools/verify_tfrecords.py {records} lists all"
        raise ValueError(f"{first}; {more if len(faults) > 1 else verify.ADVICE}") from error


def shard_paths(manifest: Manifest, records: str | Path, split: str) -> list[str]:
    return [str(open_path(records) / shard.name) for shard in manifest.splits[split].shards]


def keep_pixels(example: dict) -> dict:
    """Leaves out what the device cannot take: ids are strings."""
    return {"image": example["image"], "mask": example["mask"]}


def resize(example: dict, size: tuple[int, int] | None) -> dict:
    """Squashes picture (averaging over what it shrinks) and mask (nearest) to (height, width)."""
    if size is None:
        return example
    fits = tf.reduce_all(tf.shape(example["mask"]) == size)  # as most windows do
    image, mask = tf.cond(fits, lambda: (example["image"], example["mask"]), lambda: _squash(example, size))
    return {**example, "image": tf.ensure_shape(image, (*size, 3)), "mask": tf.ensure_shape(mask, size)}


def _squash(example: dict, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.image.resize(tf.cast(example["image"], tf.float32), size, antialias=True)
    mask = tf.image.resize(example["mask"][..., None], size, method="nearest")[..., 0]
    return tf.saturate_cast(tf.round(image), tf.uint8), mask


def draw_window(
    height: tf.Tensor, width: tf.Tensor, *, size: tuple[int, int], scale: tuple[float, float], seed: tf.Tensor
) -> tf.Tensor:
    """Draws a window of the shape of `size` in a picture of (height, width): (4,) int32 top, left, height, width.

    Enlargement by s means a window of size / s. s is drawn evenly on a log scale, so that half and double come alike.
    """
    available = tf.cast(tf.stack([height, width]), tf.float32)
    wanted = tf.constant(size, tf.float32)
    draws = tf.random.stateless_uniform([3], seed)
    lowest = tf.reduce_max(wanted / available)  # the window is the whole picture, in one direction
    low, high = (tf.maximum(tf.math.log(tf.constant(s, tf.float32)), tf.math.log(lowest)) for s in scale)
    enlargement = tf.exp(low + draws[0] * (high - low))
    window = tf.minimum(tf.round(wanted / enlargement), available)
    corner = tf.floor(draws[1:] * (available - window + 1))
    return tf.cast(tf.concat([corner, window], axis=0), tf.int32)
