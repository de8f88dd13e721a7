"""The batches of a training and of its validations."""

from typing import TYPE_CHECKING, Protocol

from tfseg.config.schema import Config
from tfseg.io.command import parse_size
from tfseg.records.record_set import RecordSet

if TYPE_CHECKING:
    import tensorflow as tf


class OpenBatches(Protocol):
    """Makes the training batches from a step of an epoch on, both counted from 0; or the ids of their images."""

    def __call__(self, epoch: int = 0, step: int = 0, *, only_ids: bool = False) -> "tf.data.Dataset": ...


def open_batches(config: Config, records: RecordSet, share: tuple[int, int] = (0, 1)) -> OpenBatches:
    """Opens a worker's training images once, whether or not a training resumes within an epoch.

    Args:
        config: which describes the batches.
        records: of which they are made.
        share: which worker of how many.
    """
    from tfseg.pipeline.crops import RandomCrop
    from tfseg.pipeline.order import Share
    from tfseg.pipeline.pipeline import TrainStream
    from tfseg.pipeline.settings import TrainSettings

    data = config.data
    low, high = data.crop_scale
    settings = TrainSettings(
        size=parse_size(data.size),
        batch_size=config.train.batch_size // share[1],
        fit=data.fit,
        crop=RandomCrop((low, high), data.cat_max_ratio, data.rare_class_sampling),
        shuffle_buffer=data.shuffle_buffer,
        ram_budget=data.ram_budget,
        seed=config.train.seed,
        cache=data.cache,
        service=data.service,
    )
    stream, own = TrainStream(records, data.train_split, settings), Share(*share) if share[1] > 1 else None

    def make(epoch: int = 0, step: int = 0, *, only_ids: bool = False) -> "tf.data.Dataset":
        if data.service:
            epoch = step = 0  # its batches come as they are ready: there is no place to resume from
        return stream.batches(epoch=epoch, step=step, share=own, only_ids=only_ids)

    return make


def make_val_batches(config: Config, records: RecordSet, replicas: int = 1) -> "tf.data.Dataset":
    """Makes the validation batches; `replicas` are the devices of all workers."""
    from tfseg.pipeline.pipeline import make_eval_batches

    data = config.data
    records.check_truth(data.val_split)
    batch_size = count_validated(config, records, replicas)
    return make_eval_batches(records, data.val_split, size=data.eval_size, batch_size=batch_size)


def count_validated(config: Config, records: RecordSet, replicas: int = 1) -> int:
    """How many images are validated at once: `train.val_batch_size`, else what needs no more memory than training does.

    By default that is 1 where images are larger than those of training, as whole images beside crops; else as many as
    have no more pixels than one device trains on. Images of different sizes are validated one at a time. What is set is
    at most the whole split: for a batch of 10**12 images, tf.data would not come to its end.

    Scores are those of the whole split, whatever this is; losses that are sums over a batch, as Dice, are of these.

    Args:
        config: of the run.
        records: with the validation split.
        replicas: devices that share a training batch; the first of them validates.
    """
    trained, size = parse_size(config.data.size), find_size(config, records)
    if size is None:
        return 1
    if config.train.val_batch_size is not None:
        return min(config.train.val_batch_size, records.split(config.data.val_split).count)
    pixels, most = size[0] * size[1], trained[0] * trained[1]
    return 1 if pixels > most else max(config.train.batch_size // replicas * most // pixels, 1)


def find_size(config: Config, records: RecordSet) -> tuple[int, int] | None:
    """(height, width) of the images, and masks, in the validations between epochs; None: each image has its own."""
    return config.data.eval_size or records.size


def describe_size(config: Config, records: RecordSet) -> str:
    """Words `find_size`."""
    size = find_size(config, records)
    return f"{size[0]}x{size[1]}" if size else "each image's own size"


def describe_validations(config: Config, records: RecordSet, replicas: int = 1) -> str:
    """Words at which size the validation after epochs scores, and how many images at a time."""
    freq = config.train.validation_freq
    when = "each epoch" if freq == 1 else f"every {freq} epochs"
    count, split = records.split(config.data.val_split).count, config.data.val_split
    return (
        f"validation after {when}: {count:,} images of {split} at {describe_size(config, records)}, "
        f"{count_validated(config, records, replicas)} at a time; at the end the best epoch is scored at the ground "
        "truth's size"
    )
