"""Which crop of an image is cut: its scale and place, and which classes it shows. TensorFlow, for tf.data's map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfseg.records.labels import VOID

CANDIDATES = 10  # crops to choose from, as mmsegmentation's RandomCrop tries
COUNTED = 40  # classes are counted on so many rows of the smallest side


@dataclass(frozen=True)
class RandomCrop:
    """How crops are drawn, as "RandomCrop" of mmsegmentation with a scale.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> import tfseg
        >>> tfseg.RandomCrop(scale=(0.5, 2.0), rare_class_sampling=0.5).candidates
        10
    """

    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the factor by which a crop is enlarged, drawn evenly on a log scale: half and double come alike."""
    cat_max_ratio: float = 1.0
    """No class but void should take more than this share of a crop's ground truth: of 10 the first that keeps to it is
    taken, and if none does, the one that comes nearest (as `cat_max_ratio` of mmsegmentation)."""
    rare_class_sampling: float = 0.0
    """Probability of taking, of 10 crops, the one with the most of rare classes, by `records.class_weights`."""

    def __post_init__(self):
        try:
            low, high = map(float, self.scale)
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        if isinstance(self.scale, str) or not 0 < low <= high < math.inf:
            raise ValueError(f"scale: expected two numbers above 0, the lower one first, got {self.scale!r}")
        object.__setattr__(self, "scale", (low, high))
        if not 0 < self.cat_max_ratio <= 1:
            raise ValueError(f"cat_max_ratio: expected a share above 0, at most 1, got {self.cat_max_ratio}")
        if not 0 <= self.rare_class_sampling <= 1:
            raise ValueError(f"rare_class_sampling: expected a probability in 0..1, got {self.rare_class_sampling}")

    @property
    def by_classes(self) -> bool:
        """Whether the mask must be seen before a crop is taken."""
        return self.cat_max_ratio < 1 or self.rare_class_sampling > 0

    @property
    def candidates(self) -> int:
        """How many crops are drawn, to take one."""
        return CANDIDATES if self.by_classes else 1


def place_crops(height, width, *, size: tuple[int, int], scale: tuple[float, float], draws: tf.Tensor) -> tf.Tensor:
    """Makes crops of the shape of `size` in an image of (height, width).

    Enlargement by s means a crop of size / s. s is raised where the crop would be larger than the image.

    Args:
        height: of the image, integer scalar.
        width: of the image, integer scalar.
        size: (height, width) that crops are to be enlarged to.
        scale: range of s.
        draws: float32 (..., 3), from 0 to 1: scale, and place down and across.

    Returns:
        (..., 4) int32: top, left, height, width.
    """
    available = tf.cast(tf.stack([height, width]), tf.float32)
    wanted = tf.constant(size, tf.float32)
    lowest = tf.math.log(tf.reduce_max(wanted / available))  # the crop is the whole image, in one direction
    low, high = (tf.maximum(tf.math.log(tf.constant(s, tf.float32)), lowest) for s in scale)
    enlargement = tf.exp(low + draws[..., :1] * (high - low))  # pyright: ignore[reportArgumentType]  the stub lacks "..."
    crops = tf.clip_by_value(tf.round(wanted / enlargement), 1, available)
    corners = tf.floor(draws[..., 1:] * (available - crops + 1))  # pyright: ignore[reportArgumentType]  likewise
    return tf.cast(tf.concat([corners, crops], axis=-1), tf.int32)


def choose_crop(
    candidates: tf.Tensor, mask: tf.Tensor, settings: RandomCrop, weights: Sequence[float], draw: tf.Tensor
) -> tf.Tensor:
    """Takes one of several crops by the classes that it shows, see `RandomCrop`.

    Args:
        candidates: (count, 4) int32, from `place_crops`.
        mask: (H, W) uint8 class ids of the whole image.
        settings: what is wanted.
        weights: of each class, by class id; rare classes have more.
        draw: float32 from 0 to 1: whether rare classes are asked for.

    Returns:
        (4,) int32, the one that is taken.
    """
    shares = class_shares(candidates, mask, len(weights))
    heaviest = tf.reduce_max(shares, axis=1)
    allowed = heaviest <= settings.cat_max_ratio
    rarity = tf.linalg.matvec(shares, tf.constant(weights, tf.float32))
    is_rare = draw < settings.rare_class_sampling
    in_order = -tf.range(tf.shape(candidates)[0])
    value = tf.where(is_rare, rarity, tf.cast(in_order, tf.float32))
    best = tf.argmax(tf.where(allowed, value, -tf.float32.max))
    return candidates[tf.where(tf.reduce_any(allowed), best, tf.argmin(heaviest))]


def class_shares(crops: tf.Tensor, mask: tf.Tensor, classes: int) -> tf.Tensor:
    """Counts what crops show: (count, 4) int32, (H, W) uint8 -> (count, classes) float32 shares, void left out.

    The shares of a crop add up to 1, or are all 0 if it is all void. Large masks are counted on some rows and columns
    only.
    """
    stride = tf.maximum(tf.reduce_min(crops[:, 2:]) // COUNTED, 1)
    seen = tf.cast(mask[::stride, ::stride, None] == tf.cast(tf.range(classes), tf.uint8), tf.int32)
    seen *= tf.cast(tf.range(classes) != VOID, tf.int32)
    sums = tf.pad(tf.cumsum(tf.cumsum(seen, axis=0), axis=1), [[1, 0], [1, 0], [0, 0]])  # of all above and to the left
    top, left, height, width = tf.unstack(crops, axis=1)
    # The rows 0, stride, 2 stride, ... before a place.
    top, bottom, left, right = (-(-place // stride) for place in (top, top + height, left, left + width))

    def at(row, column):
        return tf.gather_nd(sums, tf.stack([row, column], axis=1))

    counts = tf.cast(at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left), tf.float32)
    return tf.math.divide_no_nan(counts, tf.reduce_sum(counts, axis=1, keepdims=True))
