"""A training batch as the network sees it, to be looked at."""

import dataclasses
from pathlib import Path

import numpy as np

from tfseg.config.schema import Config
from tfseg.records.record_set import RecordSet, open_records


def show_batch(config: Config, path: str | Path, epoch: int = 0, step: int = 0) -> tuple[int, ...]:
    """Draws one batch of a training, after crops and augmentation, with its masks laid over it, as a PNG.

    Args:
        config: of the training.
        path: of the PNG.
        epoch: counted from 0.
        step: of the epoch, counted from 0.

    Returns:
        (batch, height, width, channels) of the images.

    Raises:
        ValueError: a setting does not fit the records, or a record is damaged.
        OSError: the records cannot be read, or the PNG cannot be written.
    """
    from tfseg.visualization.batch_sheet import draw_batch

    records = open_records(config.data.records)
    images, masks = read_batch(config, records, epoch, step)
    title = f"seed {config.train.seed}, epoch {epoch}, step {step}"
    draw_batch(images, masks, records.classes, records.palette, title, path)
    return images.shape


def read_batch(config: Config, records: RecordSet, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch and augments it as the step of a training does.

    Returns:
        uint8 images (batch, height, width, channels) and class ids (batch, height, width).

    Raises:
        ValueError: a setting does not fit the records, or a record is damaged.
        OSError: the records cannot be read.
    """
    from keras import ops

    from tfseg.augmentation.augmenter import Augmenter
    from tfseg.pipeline.damage import explain_read_errors
    from tfseg.training.batches import open_batches

    batches = open_batches(config, records)(epoch, step)
    with explain_read_errors(records):
        batch = next(iter(batches))
    augment, num_classes = dataclasses.asdict(config.augment), len(records.classes)
    channels = records.manifest.channels
    augmentation = Augmenter(**augment, channels=channels, num_classes=num_classes, seed=config.train.seed)
    steps = records.count_steps(config.data.train_split, config.train.batch_size)
    image, mask = augmentation(batch["image"], batch["mask"], step=epoch * steps + step)
    image, mask = ops.convert_to_numpy(image), ops.convert_to_numpy(mask)
    return np.rint(image).astype(np.uint8), mask.astype(np.uint8)
