"""Sizes: images in whole numbers, so that NumPy and TensorFlow give the same bytes on every machine; probabilities.

Along each axis by itself: where an image shrinks, a pixel is the mean over the area that it covers; where it grows, it
lies linearly between the middles of pixels. Both are sums with weights that are whole numbers, divided by their total,
and halves are rounded up. Conversion, validation, every way of prediction and the graph inside a SavedModel resize by
this one rule, so that the network sees of a file what it was validated on.
"""

import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

MOST_CHANNELS = 128  # that OpenCV resizes at a time
STRIP = 2**24  # probabilities that are enlarged at a time, 64 MiB: all of a large image's would take gigabytes
EXACT = 25_000  # up to which OpenCV's float32 sums distinguish whole numbers, see `_by_opencv`


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes an image; the aspect ratio is not kept.

    Args:
        image: uint8 (H, W, channels).
        size: (height, width).

    Returns:
        uint8 (height, width, channels): the image itself if it has that size.
    """
    if image.shape[:2] == tuple(size):
        return image
    if (quick := _by_opencv(image, size)) is not None:
        return quick
    total = 1
    for axis, after in enumerate(size):
        first, weights, whole = weigh(image.shape[axis], after, np)
        last = image.shape[axis] - 1
        shape = [-1 if place == axis else 1 for place in range(3)]
        terms = (
            np.take(image, np.minimum(first + tap, last), axis) * weights(tap).reshape(shape)
            for tap in range(count_taps(image.shape[axis], after))
        )
        image = functools.reduce(np.add, terms)
        total *= whole
    return ((2 * image + total) // (2 * total)).astype(np.uint8)


def resize_along(image: np.ndarray, sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Resizes an image, uint8 (H, W, channels), to one size after another."""
    for size in sizes:
        image = resize(image, size)
    return image


def weigh(before, after, library):
    """Weighs the pixels along one axis that a pixel of the result is made of.

    Args:
        before: length of the axis, an int or an int64 scalar tensor.
        after: length of the result, likewise.
        library: numpy or tensorflow.

    Returns:
        `first`, int64 (after,), the first source pixel of each; a function of `tap` = 0, 1, ... `count_taps` - 1 that
        gives the weights of the source pixels `first + tap`, int64 (after,), 0 beyond the end; and their sum.
    """
    where, low, high = library.where, library.minimum, library.maximum
    place = library.arange(after) if library is np else library.range(after)
    if library is np:
        place = place.astype(np.int64)
    shrinks = after <= before
    # Shrinking, on a ruler on which a source pixel is `after` long, and one of the result `before`.
    start, end = place * before, (place + 1) * before
    # Growing, on a ruler on which the middles of source pixels are 2 * `after` apart, and the first is at 0.
    middle = low(high((2 * place + 1) * before - after, 0 * place), 0 * place + (before - 1) * 2 * after)
    first = where(shrinks, start // after, middle // (2 * after))

    def weights(tap):
        pixel = first + tap
        covered = high(low((pixel + 1) * after, end) - high(pixel * after, start), 0 * place)
        near = high(2 * after - abs(middle - pixel * 2 * after), 0 * place)
        return where(shrinks, covered, near)

    return first, weights, where(shrinks, before, 2 * after)


def count_taps(before, after):
    """How many source pixels along an axis a pixel of the result is made of, at most."""
    return before // after + 2


def _by_opencv(image: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """Does what `resize` does, in a fraction of its time, for the common sizes; None for others.

    OpenCV averages areas in float32. Where all results are multiples of a fraction that is large beside its error, the
    whole number of such fractions that it meant is known.
    """
    if any(after > before for before, after in zip(image.shape, size, strict=False)) or image.shape[2] not in (1, 3, 4):
        return None
    ratios = [before // math.gcd(before, after) for before, after in zip(image.shape, size, strict=False)]
    total = math.prod(ratios)
    if ratios == [2, 2] and all(before == 2 * after for before, after in zip(image.shape, size, strict=False)):
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA).reshape(*size, -1)  # in whole numbers
    taps = sum(count_taps(before, after) for before, after in zip(image.shape, size, strict=False))
    if taps * total > EXACT:
        return None
    means = cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA).reshape(*size, -1)
    sums = np.rint(means * np.float32(total)).astype(np.int32)
    return ((2 * sums + total) // (2 * total)).astype(np.uint8)


def resize_tensors(images, size: tuple[int, int]):
    """Does what `resize` does, with TensorFlow, in graphs, too.

    Args:
        images: uint8 (B, H, W, channels), a tensor.
        size: (height, width).

    Returns:
        uint8 (B, height, width, channels).
    """
    import tensorflow as tf

    def change():
        rows, row_total = _sum_along(images, 1, size[0])
        sums, column_total = _sum_along(rows, 2, size[1])
        total = row_total * column_total
        return tf.cast((2 * sums + total) // (2 * total), tf.uint8)

    fits = tf.reduce_all(tf.shape(images)[1:3] == tf.constant(size))
    resized = tf.cond(fits, lambda: tf.identity(images), change)
    return tf.ensure_shape(resized, [images.shape[0], *size, images.shape[3]])


def _sum_along(values, axis: int, after: int):
    """Sums weighed pixels along one axis of whole numbers (B, H, W, channels): int64 sums, and the total of weights."""
    import tensorflow as tf

    before, wanted = tf.shape(values, tf.int64)[axis], tf.constant(after, tf.int64)
    first, weights, total = weigh(before, wanted, tf)

    def add(tap, sums):
        taken = tf.cast(tf.gather(values, tf.minimum(first + tap, before - 1), axis=axis), tf.int64)
        return tap + 1, sums + taken * tf.reshape(weights(tap), [-1 if place == axis else 1 for place in range(4)])

    shape = tf.tensor_scatter_nd_update(tf.shape(values, tf.int64), [[axis]], [wanted])
    taps = (tf.constant(0, tf.int64), tf.zeros(shape, tf.int64))
    free = tf.TensorShape([values.shape[0], None, None, values.shape[3]])
    shapes = (tf.TensorShape([]), free)
    _, sums = tf.while_loop(lambda tap, _: tap < count_taps(before, wanted), add, taps, shape_invariants=shapes)
    return sums, total


# ---- probabilities


def enlarge(probabilities, size):
    """Gives the probabilities of images of another size, linearly between the middles of pixels.

    Args:
        probabilities: float32 (B, h, w, classes), an array or a tensor.
        size: (height, width), ints or int32 scalar tensors.

    Returns:
        float32 tensor (B, height, width, classes).
    """
    import tensorflow as tf

    probabilities = tf.convert_to_tensor(probabilities)
    size = tf.stack([tf.cast(size[0], tf.int32), tf.cast(size[1], tf.int32)])
    fits = tf.reduce_all(tf.shape(probabilities)[1:3] == size)
    return tf.cond(fits, lambda: tf.identity(probabilities), lambda: tf.image.resize(probabilities, size))


def enlarge_array(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Does what `enlarge` does to one image, without TensorFlow, up to what float32 rounds.

    Args:
        probabilities: float32 (h, w, classes).
        size: (height, width).

    Returns:
        float32 (height, width, classes).
    """
    if probabilities.shape[:2] == tuple(size):
        return probabilities
    return _mix_rows(_widen(probabilities, size[1]), size[0], 0, size[0])


def choose_classes_of_array(probabilities: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Does what `choose_classes` does to one image, without TensorFlow, up to what float32 rounds.

    Args:
        probabilities: float32 (h, w, classes).
        size: (height, width).

    Returns:
        uint8 (height, width).
    """
    height, width = size
    if probabilities.shape[:2] == (height, width):
        return probabilities.argmax(axis=-1).astype(np.uint8)
    columns = _widen(probabilities, width)
    rows = max(STRIP // 16 // (width * probabilities.shape[2]), 1)
    chosen = np.empty((height, width), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        chosen[top:bottom] = _mix_rows(columns, height, top, bottom).argmax(axis=-1)
    return chosen


def _widen(values: np.ndarray, width: int) -> np.ndarray:
    """Resizes float32 (h, w, classes) linearly to (h, width, classes), so many classes at a time as OpenCV takes."""
    parts = [values[..., first : first + MOST_CHANNELS] for first in range(0, values.shape[2], MOST_CHANNELS)]
    resized = [cv2.resize(np.ascontiguousarray(part), (width, len(values))) for part in parts]
    return np.concatenate([part.reshape(len(values), width, -1) for part in resized], axis=-1)


def _mix_rows(values: np.ndarray, height: int, top: int, bottom: int) -> np.ndarray:
    """Gives the rows `top` to `bottom` of float32 (h, w, classes) resized linearly to `height` rows, as `_mix` does."""
    middle = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5)) * np.float32(len(values) / height)
    middle -= np.float32(0.5)
    first = np.floor(middle).astype(np.int64)
    share = (middle - np.floor(middle)).reshape(-1, 1, 1)
    low, high = values[np.maximum(first, 0)], values[np.minimum(first + 1, len(values) - 1)]
    high -= low
    high *= share
    high += low
    return high


def choose_classes(probabilities, size):
    """Chooses the likeliest class of each pixel of images of another size.

    Args:
        probabilities: float32 (B, h, w, classes), an array or a tensor.
        size: (height, width) of the images, ints or int32 scalar tensors.

    Returns:
        uint8 tensor (B, height, width): the argmax of what `enlarge` gives, without having all of it at once where that
        would be much.
    """
    import tensorflow as tf

    probabilities = tf.convert_to_tensor(probabilities)
    height, width = tf.cast(size[0], tf.int32), tf.cast(size[1], tf.int32)
    batch, *_, classes = tf.unstack(tf.shape(probabilities))
    rows = tf.maximum(STRIP // (batch * width * classes), 1)  # of a strip

    def choose_strips():
        columns = _mix(probabilities, 2, width, tf.range(width))

        def choose(top):
            return likeliest(_mix(columns, 1, height, tf.minimum(tf.range(top, top + rows), height - 1)))

        strips = tf.map_fn(
            choose,
            tf.range(0, height, rows),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec((None, None, None), tf.uint8),
        )
        # The batch comes before strips. tf.transpose does the same, but first prints that oneDNN has none for bytes.
        strips = tf.reshape(strips, tf.stack([-1, 1, tf.shape(strips)[2], width]))
        strips = tf.batch_to_space(strips, tf.stack([tf.shape(strips)[0] // batch, 1]), [[0, 0], [0, 0]])
        return tf.reshape(strips, tf.stack([batch, -1, width]))[:, :height]

    whole = tf.logical_or(rows >= height, tf.reduce_all(tf.shape(probabilities)[1:3] == tf.stack([height, width])))
    chosen = tf.cond(whole, lambda: likeliest(enlarge(probabilities, (height, width))), choose_strips)
    return tf.ensure_shape(chosen, [probabilities.shape[0], None, None])


def likeliest(scores):
    """The class ids of logits or probabilities, uint8, which is no output type of argmax."""
    import tensorflow as tf

    return tf.cast(tf.argmax(scores, axis=-1, output_type=tf.int32), tf.uint8)


def _mix(values, axis: int, after, wanted):
    """Gives the `wanted` places, int32, of float32 (B, h, w, classes) resized linearly to `after` along an axis.

    It computes as `tf.image.resize` does, to the last bit.
    """
    import tensorflow as tf

    before = tf.shape(values)[axis]
    scale = tf.cast(before, tf.float32) / tf.cast(after, tf.float32)
    middle = (tf.cast(wanted, tf.float32) + 0.5) * scale - 0.5
    first = tf.cast(tf.floor(middle), tf.int32)
    share = tf.reshape(middle - tf.floor(middle), [-1 if place == axis else 1 for place in range(4)])
    low = tf.gather(values, tf.maximum(first, 0), axis=axis)
    high = tf.gather(values, tf.minimum(first + 1, before - 1), axis=axis)
    return low + (high - low) * share
