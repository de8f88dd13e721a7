"""Online hard example mining (OHEM): which pixels of a batch a loss learns from, found without sorting.

Metal's sorting cannot be trusted, and XLA takes no shapes that depend on numbers. So the limit between what is kept and
what is not is found by counting the pixels above it, with half of its range gone each time.
"""

import math

from keras import ops

from tfseg import backend  # noqa: F401 - Keras' defaults are settled with it

HALVINGS = 16  # of the factor between the limit's bounds, at most some 10**8, which leave 0.03 % of it
LEAST = 1e-8  # of a pixel's loss: what is below is 0, since the least that float32's log softmax gives is 1e-7


def keep_hardest(losses, valid, threshold: float, min_kept: float):
    """Marks the pixels that OHEM keeps (Shrivastava et al. 2016, arXiv:1604.03540).

    Kept is each valid pixel whose true class has at most the probability `threshold`. Where those are fewer than the
    share `min_kept` of the batch's valid pixels, the hardest are, as many as that share. It is the rule of
    mmsegmentation's OHEMPixelSampler, but for a share in the place of a number. Of devices that share a batch each
    chooses in its part.

    Kept are never fewer than the share, and more only by pixels that are as hard as the last one, to 0.03 % of its
    loss: where all but a few pixels have no loss left, all are kept.

    Args:
        losses: float32 (batch, height, width), -log of the probability of the true class, 0 or more.
        valid: float32 of the same shape, 1 or 0: whether the pixel counts.
        threshold: a probability, above 0 and below 1; 0.7 is usual.
        min_kept: 0..1.

    Returns:
        float32 (batch, height, width), 1 or 0, without a gradient.

    Example:
        Of pixels with the probabilities 0.9, 0.8, 0.95 and 0.6, with `threshold` 0.7 and `min_kept` 0.5, the second
        and the last are kept: one alone is at most 0.7, and half of them are two.
    """
    losses = ops.where(valid > 0, ops.stop_gradient(ops.convert_to_tensor(losses)), -1.0)
    wanted = min_kept * _sum(valid)

    def suffices(limit):
        return _sum(ops.cast(losses >= limit, "float32")) >= wanted

    highest = -math.log(threshold)
    least = min(LEAST, highest)
    low, high = 0.0, highest  # enough pixels have a loss of `low` or more; too few have `high`, or it is the limit
    for _ in range(HALVINGS):
        middle = ops.sqrt(ops.maximum(low, least) * high)
        enough = suffices(middle)
        low, high = ops.where(enough, middle, low), ops.where(enough, high, middle)
    return ops.cast(losses >= ops.where(suffices(highest), highest, low), "float32")


def _sum(x):
    """(batch, height, width) -> (): a row, an image, a batch, since one float32 sum over all is off."""
    return ops.sum(ops.sum(ops.sum(x, axis=2), axis=1))
