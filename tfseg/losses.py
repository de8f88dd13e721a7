"""Losses over pixels: pure functions of (mask, logits), each one value a picture, and their weighted sum.

All arithmetic is float32, whatever the network's precision: a sum over 320x320 pixels overflows float16.

Void pixels: unless `learn_void`, they count nowhere, neither as truth nor as prediction. Class 0 then has no truth and,
like every class that is absent from the truth, no part in the Dice loss.
"""

import keras
from keras import ops

VOID = 0


def dice_loss(mask, logits, learn_void: bool = False):
    """Soft Dice loss (Milletari et al. 2016): 1 - mean of 2 |truth x prediction| / (|truth| + |prediction|) by class.

    The sums run over the whole batch: a class too rare for one picture still has a steady share. A class absent from
    the batch's truth is left out of the mean: its Dice is 0 for any prediction, so it could only add a constant. What
    is wrongly taken for it is missing from the class it belongs to. A batch without any truth has the loss 0.

    Args:
        mask: integers (batch, height, width), class ids.
        logits: float (batch, height, width, classes).
        learn_void: whether class 0 is a class like the others.

    Returns:
        float32 (batch,) in 0..1: the batch's value, repeated, so that a mean over several devices' pictures is right.
    """
    logits = ops.cast(logits, "float32")
    truth = _one_hot(mask, logits.shape[-1], learn_void)  # (B, H, W, C), all zero where void
    prediction = ops.softmax(logits) * ops.sum(truth, axis=-1, keepdims=True)
    intersection = _sum_over_pixels(truth * prediction)  # (C,)
    truth_size = _sum_over_pixels(truth)
    present = ops.cast(truth_size > 0, "float32")
    dice = 2 * intersection / ops.maximum(truth_size + _sum_over_pixels(prediction), 1)  # a present class has >= 1
    classes = ops.sum(present)
    loss = (classes - ops.sum(present * dice)) / ops.maximum(classes, 1)
    return ops.broadcast_to(loss, ops.shape(mask)[:1])


def cross_entropy_loss(mask, logits, learn_void: bool = False):
    """Softmax cross-entropy, averaged over the batch's valid pixels.

    Args and shapes as in `dice_loss`.

    Returns:
        float32 (batch,), >= 0: each picture's sum over the batch's mean count of valid pixels, so that the mean over
        pictures is the mean over pixels. 0 for a batch without any truth.
    """
    logits = ops.cast(logits, "float32")
    truth = _one_hot(mask, logits.shape[-1], learn_void)
    sums = -ops.sum(ops.sum(truth * ops.log_softmax(logits), axis=(2, 3)), axis=1)  # (B,)
    valid = ops.sum(ops.sum(truth, axis=(2, 3)), axis=1)
    return sums / ops.maximum(ops.mean(valid), 1)


def _sum_over_pixels(x):
    """(batch, height, width, classes) -> (classes,)."""
    # A row, a picture, a batch: one float32 sum over a million pixels at once is off by a percent on TensorFlow's CPU.
    return ops.sum(ops.sum(ops.sum(x, axis=2), axis=1), axis=0)


def _one_hot(mask, classes: int, learn_void: bool):
    truth = ops.one_hot(ops.cast(mask, "int32"), classes, dtype="float32")
    return truth if learn_void else truth * ops.cast(ops.arange(classes) != VOID, "float32")


@keras.saving.register_keras_serializable("tfseg")
class SegmentationLoss(keras.losses.Loss):
    """Weighted sum of the losses above; called with (mask, logits)."""

    def __init__(self, dice=1.0, cross_entropy=0.0, learn_void=False, name="segmentation_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.dice = dice
        self.cross_entropy = cross_entropy
        self.learn_void = learn_void

    def call(self, mask, logits):
        loss = ops.zeros(ops.shape(mask)[:1], "float32")
        if self.dice:
            loss += self.dice * dice_loss(mask, logits, self.learn_void)
        if self.cross_entropy:
            loss += self.cross_entropy * cross_entropy_loss(mask, logits, self.learn_void)
        return loss

    def get_config(self):
        settings = {"dice": self.dice, "cross_entropy": self.cross_entropy, "learn_void": self.learn_void}
        return {**super().get_config(), **settings}
