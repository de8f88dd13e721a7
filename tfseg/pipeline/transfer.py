"""How batches get to the device: as bytes, and ahead of the step that takes them."""

import tensorflow as tf

from tfseg.pipeline.order import do_not_convert


def to_device(batches: tf.data.Dataset, signed: bool, ahead: bool, device: str = "/GPU:0") -> tf.data.Dataset:
    """Sends batches to the device, always as bytes.

    Args:
        batches: of `pipeline.TrainStream` or `pipeline.make_eval_batches`.
        signed: whether as int8, see `as_signed`.
        ahead: whether the next one is sent while the step computes on the one before.
        device: to which they are sent ahead.

    Returns:
        The same batches. If sent ahead, nothing can be done with them but take one after the other.
    """
    if signed:
        batches = batches.map(do_not_convert(as_signed))
    if ahead:
        batches = batches.apply(tf.data.experimental.prefetch_to_device(device, buffer_size=1))
    return batches


def as_signed(batch: dict) -> dict:
    """Takes the bytes of a batch as int8, the same eight bits: Metal has no kernel that takes uint8."""
    return {key: tf.bitcast(pixels, tf.int8) for key, pixels in batch.items()}
