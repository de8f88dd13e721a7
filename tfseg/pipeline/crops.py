"""Which window of a picture is cut: its scale and place, and which classes it shows. TensorFlow, for tf.data's map."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfseg.records.labels import VOID

CANDIDATES = 10  # windows to choose from, as mmsegmentation's RandomCrop tries
COUNTED = 40  # classes are counted on so many rows of the smallest side


@dataclass(frozen=True)
class Windows:
    """How windows are drawn."""

    scale: tuple[float, float] = (1.0, 1.0)
    """Range of the factor by which a window is enlarged, drawn evenly on a log scale: half and double come alike."""
    max_class_share: float = 1.0
    """No class but void should take more than this share of a window's truth: of 10 the first that keeps to it is
    taken, and if none does, the one that comes nearest (`cat_max_ratio` of mmsegmentation)."""
    rare_classes: float = 0.0
    """Probability of taking, of 10 windows, the one with the most of rare classes, by `records.class_weights`."""

    @property
    def look(self) -> bool:
        """Whether the mask must be seen before a window is taken."""
        return self.max_class_share < 1 or self.rare_classes > 0

    @property
    def candidates(self) -> int:
        """How many windows are drawn, to take one."""
        return CANDIDATES if self.look else 1


def place_windows(height, width, *, size: tuple[int, int], scale: tuple[float, float], draws: tf.Tensor) -> tf.Tensor:
    """Makes windows of the shape of `size` in a picture of (height, width).

    Enlargement by s means a window of size / s. s is raised where the window would be larger than the picture.

    Args:
        height: of the picture, integer scalar.
        width: of the picture, integer scalar.
        size: (height, width) that windows are to be enlarged to.
        scale: range of s.
        draws: float32 (..., 3), from 0 to 1: scale, and place down and across.

    Returns:
        (..., 4) int32: top, left, height, width.
    """
    available = tf.cast(tf.stack([height, width]), tf.float32)
    wanted = tf.constant(size, tf.float32)
    lowest = tf.math.log(tf.reduce_max(wanted / available))  # the window is the whole picture, in one direction
    low, high = (tf.maximum(tf.math.log(tf.constant(s, tf.float32)), lowest) for s in scale)
    enlargement = tf.exp(low + draws[..., :1] * (high - low))
    windows = tf.minimum(tf.round(wanted / enlargement), available)
    corners = tf.floor(draws[..., 1:] * (available - windows + 1))
    return tf.cast(tf.concat([corners, windows], axis=-1), tf.int32)


def choose_window(
    candidates: tf.Tensor, mask: tf.Tensor, windows: Windows, weights: Sequence[float], draw: tf.Tensor
) -> tf.Tensor:
    """Takes one of several windows by the classes that it shows, see `Windows`.

    Args:
        candidates: (count, 4) int32, from `place_windows`.
        mask: (H, W) uint8 class ids of the whole picture.
        windows: what is wanted.
        weights: of each class, by class id; rare classes have more.
        draw: float32 from 0 to 1: whether rare classes are asked for.

    Returns:
        (4,) int32, the one that is taken.
    """
    shares = class_shares(candidates, mask, len(weights))
    heaviest = tf.reduce_max(shares, axis=1)
    allowed = heaviest <= windows.max_class_share
    rarity = tf.linalg.matvec(shares, tf.constant(weights, tf.float32))
    is_rare = draw < windows.rare_classes
    in_order = -tf.range(tf.shape(candidates)[0])
    value = tf.where(is_rare, rarity, tf.cast(in_order, tf.float32))
    best = tf.argmax(tf.where(allowed, value, -tf.float32.max))
    return candidates[tf.where(tf.reduce_any(allowed), best, tf.argmin(heaviest))]


def class_shares(windows: tf.Tensor, mask: tf.Tensor, classes: int) -> tf.Tensor:
    """Counts what windows show: (count, 4) int32, (H, W) uint8 -> (count, classes) float32 shares, void left out.

    The shares of a window add up to 1, or are all 0 if it is all void. Large masks are counted on some rows and columns
    only.
    """
    stride = tf.maximum(tf.reduce_min(windows[:, 2:]) // COUNTED, 1)
    seen = tf.cast(mask[::stride, ::stride, None] == tf.cast(tf.range(classes), tf.uint8), tf.int32)
    seen *= tf.cast(tf.range(classes) != VOID, tf.int32)
    sums = tf.pad(tf.cumsum(tf.cumsum(seen, axis=0), axis=1), [[1, 0], [1, 0], [0, 0]])  # of all above and to the left
    top, left, height, width = tf.unstack(windows, axis=1)
    # The rows 0, stride, 2 stride, ... before a place.
    top, bottom, left, right = (-(-place // stride) for place in (top, top + height, left, left + width))

    def at(row, column):
        return tf.gather_nd(sums, tf.stack([row, column], axis=1))

    counts = tf.cast(at(bottom, right) - at(top, right) - at(bottom, left) + at(top, left), tf.float32)
    return tf.math.divide_no_nan(counts, tf.reduce_sum(counts, axis=1, keepdims=True))
