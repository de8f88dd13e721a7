"""Single images of a split: to look at, not to train on."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import tensorflow as tf

from tfseg.pipeline.fitting import resize_exactly
from tfseg.pipeline.order import do_not_convert
from tfseg.records.parsing import parse_example, parse_label_ids
from tfseg.records.record_set import RecordSet


def read_examples(records: RecordSet, split: str, *, count: int, size: tuple[int, int] | None) -> Iterator[dict]:
    """Reads so many images, see `spread`, of a split. Otherwise as `read_places`."""
    yield from read_places(records, split, spread(records.split(split).count, count), size=size)


def spread(total: int, count: int) -> list[int]:
    """Spreads `count` places evenly from the first to the last of `total`; all, if there are fewer."""
    return np.unique(np.linspace(0, max(total - 1, 0), min(count, total)).round().astype(int)).tolist()


def read_places(
    records: RecordSet, split: str, places: Sequence[int], *, size: tuple[int, int] | None
) -> Iterator[dict]:
    """Reads single images of a split, in the split's order, whatever that of `places`.

    Args:
        records: whose images they are.
        split: name of the split.
        places: which, counted from 0 in the manifest's order.
        size: (height, width) that images are resized to; None leaves them as stored.

    Yields:
        {"id": bytes, "image": uint8 (height, width, channels), "mask": uint8 (height, width), "label_ids": bytes},
        NumPy arrays; the last is the raw mask as a PNG file at its original size, or empty.

    Raises:
        ValueError: the split is not in the records.
        OSError: the records cannot be read.
    """
    wanted = np.array(places, np.int64)

    @do_not_convert
    def decode(_: tf.Tensor, record: tf.Tensor) -> dict:
        example = resize_exactly(parse_example(record, records.manifest), size)
        return {**example, "label_ids": parse_label_ids(record)}

    data = tf.data.TFRecordDataset(records.shard_paths(split)).enumerate()
    # Before anything is decoded.
    data = data.filter(do_not_convert(lambda place, _: tf.reduce_any(tf.equal(place, wanted))))
    yield from cast(Iterator[dict], data.map(decode).as_numpy_iterator())
