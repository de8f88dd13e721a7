"""The loss of a run: a weighted sum of the losses over pixels."""

import math
from functools import partial
from numbers import Integral, Real

import keras

from tfseg.config.checks import check
from tfseg.config.tables import OHEM_MIN_KEPT
from tfseg.losses.functions import (
    auxiliary_loss,
    check_shapes,
    cross_entropy_loss,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_loss,
    put_first,
    tversky_loss,
)
from tfseg.records.labels import VOID


@keras.saving.register_keras_serializable("tfseg")
class SegmentationLoss(keras.losses.Loss):
    """Weighted sum of the losses of `functions`.

    Called with (mask, logits), it leaves out that of an auxiliary head. Labels and logits are as of `losses.DiceLoss`.

    Args:
        dice, cross_entropy, jaccard, tversky, focal, lovasz: weights, 0 or more; a loss of weight 0 is not computed.
        auxiliary: weight of the auxiliary head's cross-entropy, which is part of training alone, see `terms`.
        tversky_alpha, tversky_beta, focal_gamma, label_smoothing, ohem_threshold, ohem_min_kept: as of the losses.
        class_weights: a number of 0 or more a class, as a list, a tuple or an array; None: all 1.
        ignore_class: as of `losses.DiceLoss`, but void, 0, unless another is given.

    Raises:
        ValueError: an argument is out of range; or, when called, as of `losses.DiceLoss`.

    Example:
        >>> import numpy as np
        >>> from tfseg import SegmentationLoss
        >>> loss = SegmentationLoss(dice=1.0, cross_entropy=0.5, ignore_class=None)
        >>> round(float(loss(np.array([[[0, 1]]]), np.zeros((1, 1, 2, 2), np.float32))), 4)
        0.8466
    """

    def __init__(
        self,
        dice=1.0,
        cross_entropy=0.0,
        jaccard=0.0,
        tversky=0.0,
        focal=0.0,
        lovasz=0.0,
        auxiliary=0.0,
        tversky_alpha=0.3,
        tversky_beta=0.7,
        focal_gamma=2.0,
        label_smoothing=0.0,
        ohem_threshold=None,
        ohem_min_kept=OHEM_MIN_KEPT,
        class_weights=None,
        ignore_class=VOID,
        name="segmentation_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.weights = {
            "dice": dice,
            "cross_entropy": cross_entropy,
            "jaccard": jaccard,
            "tversky": tversky,
            "focal": focal,
            "lovasz": lovasz,
            "auxiliary": auxiliary,
        }
        for key, weight in self.weights.items():
            check(isinstance(weight, Real) and 0 <= weight < math.inf, key, weight, "a weight of 0 or more")
        check(0 <= tversky_alpha < math.inf, "tversky_alpha", tversky_alpha, "0 or more")
        check(0 < tversky_beta < math.inf, "tversky_beta", tversky_beta, "above 0")
        check(0 <= focal_gamma < math.inf, "focal_gamma", focal_gamma, "0 or more")
        check(0 <= label_smoothing < 1, "label_smoothing", label_smoothing, "0 to below 1")
        fits = ohem_threshold is None or 0 < ohem_threshold < 1
        check(fits, "ohem_threshold", ohem_threshold, "a number between 0 and 1, or None")
        check(0 <= ohem_min_kept <= 1, "ohem_min_kept", ohem_min_kept, "0 to 1")
        check(isinstance(ignore_class, Integral | None), "ignore_class", ignore_class, "a whole number, or None")
        self.tversky_alpha = tversky_alpha
        self.tversky_beta = tversky_beta
        self.focal_gamma = focal_gamma
        self.label_smoothing = label_smoothing
        self.ohem_threshold = ohem_threshold
        self.ohem_min_kept = ohem_min_kept
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        self.ignore_class = ignore_class

    def terms(self, mask, logits, auxiliary_logits=None):
        """Computes the losses whose weight is not 0: name -> float32 (batch,), unweighted, in the order above.

        Args:
            mask: integers (batch, height, width), class ids.
            logits: float (batch, height, width, classes).
            auxiliary_logits: those of the auxiliary head, see `auxiliary_loss`; None: its loss is left out.
        """
        smoothing = {"label_smoothing": self.label_smoothing}
        ohem = {"ohem_threshold": self.ohem_threshold, "ohem_min_kept": self.ohem_min_kept}
        losses = {
            "dice": dice_loss,
            "cross_entropy": partial(cross_entropy_loss, **smoothing, **ohem),
            "jaccard": jaccard_loss,
            "tversky": partial(tversky_loss, alpha=self.tversky_alpha, beta=self.tversky_beta),
            "focal": partial(focal_loss, **smoothing, gamma=self.focal_gamma),
            "lovasz": lovasz_loss,
            "auxiliary": partial(auxiliary_loss, **smoothing),
        }
        predictions = {name: auxiliary_logits if name == "auxiliary" else logits for name in losses}
        return {
            name: losses[name](*put_first(mask, predictions[name], self.ignore_class, self.class_weights))
            for name, weight in self.weights.items()
            if weight and predictions[name] is not None
        }

    def call(self, mask, logits):
        terms = self.terms(check_shapes(mask, logits), logits)
        return sum(self.weights[name] * term for name, term in terms.items())

    def get_config(self):
        settings = {
            "tversky_alpha": self.tversky_alpha,
            "tversky_beta": self.tversky_beta,
            "focal_gamma": self.focal_gamma,
            "label_smoothing": self.label_smoothing,
            "ohem_threshold": self.ohem_threshold,
            "ohem_min_kept": self.ohem_min_kept,
            "class_weights": self.class_weights,
            "ignore_class": self.ignore_class,
        }
        return {**super().get_config(), **self.weights, **settings}
