"""Shards -> batches of bytes, as straight tf.data chains: one for training, one for evaluation.

A batch is {"image": uint8 (batch, height, width, 3), RGB, "mask": uint8 (batch, height, width), class ids}: floats
appear only on the device.

Training is one stream without an end: epoch after epoch of all pictures, each exactly once, cut into batches across the
seams. With a seed it is a function of the position in it, so that a training can go on from anywhere.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfseg.io.paths import is_local, open_path
from tfseg.io.resizing import resize_tensors
from tfseg.pipeline.arrays import Mapped, Pixels, can_be_mapped
from tfseg.pipeline.cache import open_cache
from tfseg.pipeline.crops import Windows, choose_window, place_windows
from tfseg.pipeline.order import Share, is_even, number_in_passes, read_across_passes, read_in_passes, share_out
from tfseg.pipeline.service import check_reachable
from tfseg.records import labels, verifier
from tfseg.records.class_weights import class_weights
from tfseg.records.manifest import Manifest, Split, read_manifest
from tfseg.records.parsing import parse_example, parse_features, parse_image, parse_label_ids, parse_mask, take_crop

AUTOTUNE = tf.data.AUTOTUNE
PREFETCHED = 8  # batches at most that wait for the device
UNCOUNTED = 2  # more of them: one is being filled, one is being used
MEBIBYTE = 2**20


class Buffers(NamedTuple):
    """What a training stream holds."""

    records: int  # encoded, to be shuffled
    batches: int  # decoded, waiting for the device


def make_train_batches(
    records: str | Path,
    split: str,
    *,
    size: tuple[int, int],
    batch_size: int,
    fit: str = "resize",
    windows: Windows | None = None,
    shuffle: int = 2000,
    ram_budget: int = 1024,
    seed: int | None = None,
    epoch: int = 0,
    step: int = 0,
    share: Share | None = None,
    cache: str | None = None,
    service: str | None = None,
    only_ids: bool = False,
) -> tf.data.Dataset:
    """Makes the endless stream of shuffled batches of which an epoch of training takes `count_steps`.

    Pictures that are left over at the end of an epoch come first in the next one.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        size: (height, width) of the pictures in a batch.
        batch_size: pictures in a batch of this reader.
        fit: "resize" squashes the whole picture to `size`; "crop" cuts a random window of the shape of `size`.
        windows: how windows are drawn, for "crop".
        shuffle: encoded records held for shuffling, fewer if `ram_budget` is too small for them.
        ram_budget: MiB that may wait in the stream, encoded or decoded.
        seed: makes order and windows the same on every machine; None goes as fast as it can.
        epoch: where the stream begins, in epochs of `count_steps` and ...
        step: ... steps; what comes before is passed over undecoded.
        share: the part of one of several readers, with equal steps for all; None is everything. Each picture comes
            once a pass over all, to whichever reader.
        cache: "ram" or "disk" keeps decoded pixels there, see `cache.open_cache`, and shuffles over all of them; None
            decodes anew each time, but takes raw records from where they lie, see `pixels.Mapped`, shuffled likewise.
        service: address of a tf.data service, such as grpc://localhost:5050, whose workers do all this. Batches then
            come as they are ready; a seed fixes the windows only, and the stream cannot begin in the middle.
        only_ids: whether to give the pictures' ids, string (batch,), in place of what is in them.

    Raises:
        ValueError: the split is not in the records or smaller than a batch, `ram_budget` is too small, an argument does
            not go with `service`, or no service answers.
        OSError: the records cannot be read.
    """
    if service and (share or epoch or step or cache):
        raise ValueError("a stream of a tf.data service has no shares, no place to go on from and no cache")
    if service:
        check_reachable(service)
    share, windows = share or Share(), windows or Windows()
    manifest = read_manifest(records)
    entry = check_split(manifest, records, split)
    start = (epoch * count_steps(records, split, batch_size * share.count) + step) * batch_size
    buffers = plan_buffers(records, split, size=size, batch_size=batch_size, shuffle=shuffle, ram_budget=ram_budget)
    counts = [shard.count for shard in entry.shards]
    paths = shard_paths(manifest, records, split)
    even = is_even(paths, counts, share.count)
    files = share_out(paths, counts, share if even else Share())
    in_order = seed is not None
    seed = int(np.random.default_rng().integers(2**31)) if seed is None else seed

    shrink = choose_shrink(manifest, size)
    unscaled = windows.scale == (1, 1) and manifest.size is not None and np.all(np.array(manifest.size) >= size)
    place = partial(place_windows, size=size, scale=windows.scale)

    def draw(key: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draws = tf.random.stateless_uniform([count, windows.candidates, 3], key, alg="philox")
        rare = tf.random.stateless_uniform([count], key + 1, alg="philox")
        return (draws if manifest.size is None else place(*manifest.size, draws=draws)), rare

    def decode(drawn: tuple[tf.Tensor, tf.Tensor], record: tf.Tensor) -> dict:
        picture = _Stored(record, manifest) if pixels is None else _Numbered(record, pixels)
        if fit == "resize":
            return resize({"image": picture.image(shrink=shrink), "mask": picture.mask()}, size)
        candidates, rare = drawn
        if manifest.size is None:
            candidates = place(*picture.size, draws=candidates)
        if not windows.look:
            window = candidates[0]
            example = {"image": picture.image(window), "mask": picture.mask(window)}
            return shape_as(example, size) if unscaled else resize(example, size)
        mask = picture.mask()
        window = choose_window(candidates, mask, windows, class_weights(entry), rare)
        return resize({"image": picture.image(window), "mask": take_crop(mask, window)}, size)

    def identify(_, record: tf.Tensor) -> tf.Tensor:
        return tf.gather(entry.ids, record) if numbered else parse_features(record)["id"]

    left = ram_budget * MEBIBYTE - (buffers.batches + UNCOUNTED) * batch_bytes(size, batch_size)
    numbered = bool(cache) or (can_be_mapped(records, manifest) and not service)
    if not numbered or only_ids:
        pixels = None
    else:
        pixels = open_cache(records, split, manifest, cache, left) if cache else Mapped(records, split, manifest)
    if numbered:
        data = number_in_passes(counts, draw, seed=seed, start=start, share=share)
    elif service:
        data = read_across_passes(files, draw, shuffle=buffers.records, seed=seed)
    else:
        dealt = {"share": None if even else share}
        data = read_in_passes(files, draw, shuffle=buffers.records, seed=seed, start=start, in_order=in_order, **dealt)
    data = data.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
    data = data.map(identify if only_ids else decode, num_parallel_calls=AUTOTUNE, deterministic=in_order)
    data = data.batch(batch_size, drop_remainder=True)
    if service:
        policy = tf.data.experimental.service.ShardingPolicy.DYNAMIC
        data = data.apply(tf.data.experimental.service.distribute(policy, service))
    return data.prefetch(buffers.batches)


def count_steps(records: str | Path, split: str, batch_size: int) -> int:
    """Counts the steps of an epoch: whole batches of a split, of all readers together.

    Raises:
        ValueError: the split is not in the records, or smaller than a batch.
        OSError: the records cannot be read.
    """
    count = check_split(read_manifest(records), records, split).count
    if count < batch_size:
        raise ValueError(
            f"{records}: split {split!r} has {count} pictures, fewer than train.batch_size {batch_size}; "
            "lower it or convert more pictures"
        )
    return count // batch_size


def plan_buffers(
    records: str | Path, split: str, *, size: tuple[int, int], batch_size: int, shuffle: int, ram_budget: int
) -> Buffers:
    """Shares out the memory of a training stream; arguments and errors as of `make_train_batches`."""
    entry = check_split(read_manifest(records), records, split)
    record = sum(shard.bytes for shard in entry.shards) / max(entry.count, 1)
    batch = batch_bytes(size, batch_size)
    budget = ram_budget * MEBIBYTE
    batches = int(min(max(budget // (4 * batch), 1), PREFETCHED))
    shuffled = int((budget - (batches + UNCOUNTED) * batch) / record)
    if shuffled < batch_size:
        least = int((3 * batch + batch_size * record) / MEBIBYTE) + 1
        raise ValueError(f"{records}: does not go in data.ram_budget {ram_budget}; it takes {least} MiB or more")
    return Buffers(min(shuffle, shuffled), batches)


def batch_bytes(size: tuple[int, int], batch_size: int) -> int:
    """Counts the bytes of a batch: three channels and the mask."""
    return batch_size * size[0] * size[1] * 4


def make_eval_batches(
    records: str | Path, split: str, *, size: tuple[int, int] | None, batch_size: int, names: bool = False
) -> tf.data.Dataset:
    """Makes batches of every picture of a split once, in the manifest's order, the last batch as small as it comes.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        size: (height, width) that pictures are squashed to; None leaves them as stored.
        batch_size: pictures in a batch; 1 where both `size` and the records leave each picture its own size.
        names: whether a batch has "id" and "label_ids" as well, strings (batch,): the latter the raw masks as PNG files
            at their original size, or empty.

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

    def decode(record: tf.Tensor) -> dict:
        example = resize_exactly(parse_example(record, manifest), size)
        return {**example, "label_ids": parse_label_ids(record)} if names else keep_pixels(example)

    data = data.map(decode, num_parallel_calls=AUTOTUNE)
    return data.batch(batch_size).prefetch(AUTOTUNE)


def read_examples(records: str | Path, split: str, *, count: int, size: tuple[int, int] | None) -> Iterator[dict]:
    """Reads so many pictures, see `spread`, of a split: to look at, not to train on. Otherwise as `read_places`."""
    total = check_split(read_manifest(records), records, split).count
    yield from read_places(records, split, spread(total, count), size=size)


def spread(total: int, count: int) -> list[int]:
    """Spreads `count` places evenly from the first to the last of `total`; all, if there are fewer."""
    return np.unique(np.linspace(0, max(total - 1, 0), min(count, total)).round().astype(int)).tolist()


def read_places(
    records: str | Path, split: str, places: Sequence[int], *, size: tuple[int, int] | None
) -> Iterator[dict]:
    """Reads single pictures of a split, in the split's order, whatever that of `places`.

    Args:
        records: folder of shards and manifest.json.
        split: name of the split.
        places: which, counted from 0 in the manifest's order.
        size: (height, width) that pictures are squashed to; None leaves them as stored.

    Yields:
        {"id": bytes, "image": uint8 (height, width, 3), "mask": uint8 (height, width), "label_ids": bytes}, NumPy
        arrays; the last is the raw mask as a PNG file at its original size, or empty.

    Raises:
        ValueError: the split is not in the records.
        OSError: the records cannot be read.
    """
    manifest = read_manifest(records)
    check_split(manifest, records, split)
    wanted = np.array(places, np.int64)
    data = tf.data.TFRecordDataset(shard_paths(manifest, records, split)).enumerate()
    data = data.filter(lambda place, _: tf.reduce_any(place == wanted))  # before anything is decoded
    data = data.map(
        lambda _, record: {
            **resize_exactly(parse_example(record, manifest), size),
            "label_ids": parse_label_ids(record),
        }
    )
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


def check_learnable(records: str | Path, train_split: str, val_split: str, learn_void: bool = False) -> None:
    """Refuses a training that could measure nothing: by the manifest alone, before anything is computed.

    Args:
        records: folder of shards and manifest.json.
        train_split: to learn from.
        val_split: to score on.
        learn_void: whether void is a class like the others.

    Raises:
        ValueError: a split is not in the records or holds nothing but void, or there is one class to learn.
        OSError: the records cannot be read.
    """
    manifest = read_manifest(records)
    split = check_split(manifest, records, train_split)
    there = [name for name, pixels in zip(manifest.classes, split.class_pixels, strict=False) if pixels]
    learnt = [name for name in there if learn_void or name != "void"]
    if not learnt:
        raise ValueError(f"{records}: split {train_split!r} holds nothing but void, so there is nothing to learn from")
    if len(learnt) == 1:
        fault = (None if learn_void else labels.one_class_fault(manifest.classes)) or (
            f"split {train_split!r} has pixels of one class alone, {learnt[0]}: one class is left to learn; "
            "add images with others, or name the background as a class"
        )
        raise ValueError(f"{records}: {fault}")
    check_truth(records, val_split)


@contextmanager
def told_damage(records: str | Path) -> Iterator[None]:
    """Says by file and record what is damaged, where TensorFlow stops on it in words of its own.

    Args:
        records: folder of shards and manifest.json, read within.

    Raises:
        ValueError: TensorFlow raised an error, and the records have faults; the message is the first of a record.
        tf.errors.OpError: it raised one, and the records are sound, or it ran out of memory or lost another process.
    """
    not_of_data = tf.errors.ResourceExhaustedError, tf.errors.UnavailableError, tf.errors.AbortedError
    try:
        yield
    except not_of_data:  # whose check takes minutes
        raise
    except tf.errors.OpError as error:
        print(f"{records}: TensorFlow stopped with an error; checking the records", file=sys.stderr, flush=True)
        faults = verifier.find_faults(records)
        if not faults:
            raise
        first = min(faults, key=lambda fault: fault.index is None)  # sums, files and the manifest stop no reader
        more = f"{len(faults) - 1} more: python -m tfseg.verify {records} lists all"
        raise ValueError(f"{first}; {more if len(faults) > 1 else verifier.ADVICE}") from error


def shard_paths(manifest: Manifest, records: str | Path, split: str) -> list[str]:
    """Addresses of a split's shards; on this machine from the root on, for readers that were started elsewhere."""
    folder = open_path(records)
    folder = folder.absolute() if is_local(folder) else folder
    return [str(folder / shard.name) for shard in manifest.splits[split].shards]


def to_device(batches: tf.data.Dataset, signed: bool, ahead: bool, device: str = "/GPU:0") -> tf.data.Dataset:
    """Says how batches get to the device, always as bytes.

    Args:
        batches: of the functions above.
        signed: whether as int8, see `as_signed`.
        ahead: whether the next one is sent while the step computes on the one before.
        device: to which they are sent ahead.

    Returns:
        The same batches. If sent ahead, nothing can be done with them but take one after the other.
    """
    if signed:
        batches = batches.map(as_signed)
    if ahead:
        batches = batches.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=1))
    return batches


def as_signed(batch: dict) -> dict:
    """Takes the bytes of a batch as int8, the same eight bits: Metal has no kernel that takes uint8."""
    return {key: tf.bitcast(pixels, tf.int8) for key, pixels in batch.items()}


def keep_pixels(example: dict) -> dict:
    """Leaves out what the device cannot take: ids are strings."""
    return {"image": example["image"], "mask": example["mask"]}


def choose_shrink(manifest: Manifest, size: tuple[int, int]) -> int:
    """Chooses how far a JPEG may shrink while it is decoded, to be squashed to (height, width); see `parse_image`."""
    if manifest.codec != "jpeg" or manifest.size is None:
        return 1
    least = min(stored // wanted for stored, wanted in zip(manifest.size, size, strict=True))
    return max((shrink for shrink in (1, 2, 4, 8) if shrink <= least), default=1)


def resize_exactly(example: dict, size: tuple[int, int] | None) -> dict:
    """Resizes an image by the rule of `resizing`, as predictions do, and its mask (nearest) to (height, width)."""
    if size is None:
        return example
    image = resize_tensors(example["image"][tf.newaxis], size)[0]
    mask = tf.image.resize(example["mask"][..., tf.newaxis], size, method="nearest")[..., 0]
    return shape_as({**example, "image": image, "mask": mask}, size)


def resize(example: dict, size: tuple[int, int] | None) -> dict:
    """Resizes an image and its mask (nearest) to (height, width), for training.

    The image is as of `resizing` but for what it is rounded to: less exact, in a fraction of the time.
    """
    if size is None:
        return example
    shapes = tf.stack([tf.shape(example["image"])[:2], tf.shape(example["mask"])])
    fits = tf.reduce_all(shapes == size)  # as most windows do
    image, mask = tf.cond(fits, lambda: (example["image"], example["mask"]), lambda: _squash(example, size))
    return shape_as({**example, "image": image, "mask": mask}, size)


def shape_as(example: dict, size: tuple[int, int]) -> dict:
    """Says that picture and mask are of (height, width)."""
    shapes = {"image": (*size, 3), "mask": size}
    return {**example, **{key: tf.ensure_shape(example[key], shape) for key, shape in shapes.items()}}


def _squash(example: dict, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    image, mask = example["image"], example["mask"]
    shrinks = tf.reduce_all(tf.shape(image)[:2] >= tf.constant(size))
    small = tf.cond(
        shrinks,
        lambda: tf.image.resize(image, size, method="area"),
        lambda: tf.image.resize(tf.cast(image, tf.float32), size, antialias=True),
    )
    mask = tf.image.resize(mask[..., None], size, method="nearest")[..., 0]
    return tf.saturate_cast(tf.round(small), tf.uint8), mask


class _Stored:
    """A picture in a record, decoded where it is cut."""

    def __init__(self, record: tf.Tensor, manifest: Manifest):
        self.features, self.manifest = parse_features(record), manifest
        self.size = self.features["image/height"], self.features["image/width"]

    def image(self, window: tf.Tensor | None = None, shrink: int = 1) -> tf.Tensor:
        return parse_image(self.features, self.manifest, window, shrink)

    def mask(self, window: tf.Tensor | None = None) -> tf.Tensor:
        return parse_mask(self.features, self.manifest, window)


class _Numbered:
    """A picture that can be had by its number."""

    def __init__(self, place: tf.Tensor, pixels: Pixels):
        self.place, self.pixels = place, pixels

    def image(self, window: tf.Tensor | None = None, shrink: int = 1) -> tf.Tensor:
        return self.pixels.image(self.place, window)  # nothing to decode

    def mask(self, window: tf.Tensor | None = None) -> tf.Tensor:
        return self.pixels.mask(self.place, window)
