"""Images and masks -> the size of a batch: the whole image resized, or a crop of it."""

from functools import partial

import numpy as np
import tensorflow as tf

from tfseg.io.resizing import resize_tensors
from tfseg.pipeline.crops import choose_crop, place_crops
from tfseg.pipeline.readers import Image
from tfseg.pipeline.settings import TrainSettings
from tfseg.records.manifest import Manifest
from tfseg.records.parsing import take_crop
from tfseg.records.record_set import RecordSet

Drawn = tuple[tf.Tensor, tf.Tensor]


class Fitting:
    """Brings images to the size of a batch, by what was drawn for them.

    Args:
        records: whose images they are.
        split: name of the split.
        settings: of the stream.
    """

    def __init__(self, records: RecordSet, split: str, settings: TrainSettings):
        self.size, self.crop, self.stored_size = settings.size, settings.crop, records.size
        self.fit = self.fit_by_resize if settings.fit == "resize" else self.fit_by_crop
        self.shrink = choose_shrink(records.manifest, settings.size)
        self.weights = records.class_weights(split)
        self.place = partial(place_crops, size=settings.size, scale=settings.crop.scale)
        fits = records.size is not None and bool(np.all(np.array(records.size) >= settings.size))
        self.is_unscaled = fits and settings.crop.scale == (1, 1)
        self.only_copies = self.is_unscaled and settings.fit == "crop" and not settings.crop.by_classes

    def draw(self, key: tf.Tensor, count: tf.Tensor) -> Drawn:
        """Draws the crops of so many records at once: (count, candidates, 4), or (count, candidates, 3) numbers from
        0 to 1 where the size of each image is still to be read; and (count,) whether rare classes are asked for."""
        draws = tf.random.stateless_uniform(tf.stack([count, self.crop.candidates, 3]), key, alg="philox")
        rare = tf.random.stateless_uniform(tf.stack([count]), key + 1, alg="philox")
        return (draws if self.stored_size is None else self.place(*self.stored_size, draws=draws)), rare

    def fit_by_resize(self, drawn: Drawn, image: Image) -> dict:
        """Resizes the whole image."""
        return resize({"image": image.image(shrink=self.shrink), "mask": image.mask()}, self.size)

    def fit_by_crop(self, drawn: Drawn, image: Image) -> dict:
        """Takes a crop; if its classes matter, the whole mask is decoded first."""
        candidates, rare = drawn
        if self.stored_size is None:
            candidates = self.place(*image.size, draws=candidates)
        if not self.crop.by_classes:
            crop = candidates[0]
            example = {"image": image.image(crop), "mask": image.mask(crop)}
            return shape_as(example, self.size) if self.is_unscaled else resize(example, self.size)
        mask = image.mask()
        crop = choose_crop(candidates, mask, self.crop, self.weights, rare)
        return resize({"image": image.image(crop), "mask": take_crop(mask, crop)}, self.size)


def choose_shrink(manifest: Manifest, size: tuple[int, int]) -> int:
    """Chooses how far a JPEG may shrink while it is decoded, to be resized to (height, width); see `parse_image`."""
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


def resize(example: dict, size: tuple[int, int]) -> dict:
    """Resizes an image and its mask (nearest) to (height, width), for training.

    The image is as of `resizing` but for what it is rounded to: less exact, in a fraction of the time.
    """
    shapes = tf.stack([tf.shape(example["image"])[:2], tf.shape(example["mask"])])
    fits = tf.reduce_all(shapes == size)  # as most crops do
    image, mask = tf.cond(fits, lambda: (example["image"], example["mask"]), lambda: _resize_both(example, size))
    return shape_as({**example, "image": image, "mask": mask}, size)


def shape_as(example: dict, size: tuple[int, int]) -> dict:
    """Says that image and mask are of (height, width)."""
    shapes = {"image": (*size, example["image"].shape[-1]), "mask": size}
    return {**example, **{key: tf.ensure_shape(example[key], shape) for key, shape in shapes.items()}}


def _resize_both(example: dict, size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    image, mask = example["image"], example["mask"]
    shrinks = tf.reduce_all(tf.shape(image)[:2] >= tf.constant(size))
    small = tf.cond(
        shrinks,
        lambda: tf.image.resize(image, size, method="area"),
        lambda: tf.image.resize(tf.cast(image, tf.float32), size, antialias=True),
    )
    mask = tf.image.resize(mask[..., None], size, method="nearest")[..., 0]
    return tf.saturate_cast(tf.round(small), tf.uint8), mask
