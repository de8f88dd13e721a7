"""Losses over pixels as Keras has them, for any `compile`.

Each is a thin class over a function of `functions`, where the mathematics is: in float32, over the whole batch, on
every backend.

Labels are class ids, integers (batch, height, width) or (batch, height, width, 1). Predictions are floats (batch,
height, width, classes). A label that is no class id, such as 255, counts nowhere.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import keras
from keras import ops

from tfseg.backend import is_at_hand
from tfseg.config.checks import check
from tfseg.config.tables import OHEM_MIN_KEPT
from tfseg.losses.functions import (
    check_shapes,
    cross_entropy_loss,
    dice_loss,
    focal_loss,
    jaccard_loss,
    lovasz_loss,
    put_first,
    tversky_loss,
)


class _PixelLoss(keras.losses.Loss):
    """What the losses have in common; each gives its function, see `per_image`."""

    def __init__(self, from_logits, ignore_class, class_weights, reduction, name, dtype):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check(self.dtype in ("float32", "float64"), "dtype", self.dtype, "float32: half precision loses pixels and ids")
        check(isinstance(ignore_class, Integral | None), "ignore_class", ignore_class, "a whole number, or None")
        self.from_logits = from_logits
        self.ignore_class = None if ignore_class is None else int(ignore_class)
        self.class_weights = None if class_weights is None else [float(weight) for weight in class_weights]
        fit = all(0 <= weight < math.inf for weight in self.class_weights or ())
        check(fit, "class_weights", self.class_weights, "numbers of 0 or more, one a class")

    def per_image(self, mask, logits, ignore_class, class_weights):
        """Computes the loss, float32 (batch,); `ignore_class` is 0 or None."""
        raise NotImplementedError

    def __call__(self, y_true, y_pred, sample_weight=None):
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight, self.dtype)
            shape = tuple(sample_weight.shape)
            if any(size != 1 for size in shape[1:]):
                raise ValueError(
                    f"sample_weight: expected one number an image, (batch,), got the shape {shape}; weigh classes by "
                    "class_weights, and give pixels that are not to count the label ignore_class"
                )
            if len(shape) > 2:  # (batch, 1, 1), as the losses of Keras over pixels want it
                sample_weight = ops.reshape(sample_weight, (-1,))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        mask = check_shapes(y_true, y_pred)
        logits = y_pred if self.from_logits else _to_logits(y_pred)
        return self.per_image(*put_first(mask, logits, self.ignore_class, self.class_weights))

    def get_config(self):
        shared = ("from_logits", "ignore_class", "class_weights", "dtype")
        return {**super().get_config(), **{name: getattr(self, name) for name in shared}}


def _to_logits(probabilities):
    """Their logarithms; what is below Keras' epsilon, 1e-7, counts as that, as in Keras' own losses."""
    if is_at_hand(probabilities):
        low, high = float(ops.min(probabilities)), float(ops.max(probabilities))
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(
                f"y_pred: expected probabilities in 0..1, got {low:.3g} to {high:.3g}; for logits pass from_logits=True"
            )
    return ops.log(ops.maximum(probabilities, keras.config.epsilon()))


@keras.saving.register_keras_serializable("tfseg")
class DiceLoss(_PixelLoss):
    """Soft Dice loss (Milletari et al. 2016, arXiv:1606.04797): 1 - mean of the classes' Dice coefficients.

    Intersections and sizes are summed over the whole batch; a class absent from its labels has no part in the mean.

    Args:
        from_logits: whether `y_pred` holds logits; False: probabilities.
        ignore_class: id of the label whose pixels count nowhere, neither in the labels nor in the predictions: that of
            a class, which then has no part in the mean and in label smoothing either, or a value that is no class,
            such as 255. Wrongly predicted on other pixels, the class is an error there. None: all classes count.
        class_weights: a number of 0 or more a class, by class id, in the mean over classes. None: all 1.
        reduction: as in Keras; "sum_over_batch_size" is the mean over images, None gives the loss of each.
        name: of the loss.
        dtype: float32 or float64, in which Keras reduces; None: Keras' default.

    Call with:
        y_true: integers (batch, height, width) or (batch, height, width, 1), class ids.
        y_pred: floats (batch, height, width, classes), 2 classes or more.
        sample_weight: a number an image, (batch,); None: all 1.

    Returns:
        float32, a number in 0..1; with `reduction=None` (batch,), the batch's value repeated.

    Raises:
        ValueError: an argument is out of range, or, when called, a shape is wrong, there are not as many class_weights
            as classes, or probabilities are not in 0..1.

    Example:
        Half of the pixels are of class 1, half of class 2; one is mistaken. Dice is 2/3 and 4/5.

        >>> import numpy as np
        >>> from tfseg import DiceLoss
        >>> mask = np.array([[[1, 1, 2, 2]]])
        >>> probabilities = np.eye(3)[np.array([[[1, 2, 2, 2]]])]
        >>> loss = DiceLoss(from_logits=False, ignore_class=0)
        >>> round(float(loss(mask, probabilities)), 4)
        0.2667
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "dice_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)

    def per_image(self, mask, logits, ignore_class, class_weights):
        return dice_loss(mask, logits, ignore_class, class_weights)


@keras.saving.register_keras_serializable("tfseg")
class JaccardLoss(_PixelLoss):
    """Soft Jaccard loss (Rahman and Wang 2016, doi:10.1007/978-3-319-50835-1_22): 1 - mean of the classes' soft IoU.

    Of sure predictions it is 1 - mean IoU. All else is as of `DiceLoss`.

    Example:
        The IoU of the two classes is 1/2 and 2/3.

        >>> import numpy as np
        >>> from tfseg import JaccardLoss
        >>> mask = np.array([[[1, 1, 2, 2]]])
        >>> probabilities = np.eye(3)[np.array([[[1, 2, 2, 2]]])]
        >>> loss = JaccardLoss(from_logits=False, ignore_class=0)
        >>> round(float(loss(mask, probabilities)), 4)
        0.4167
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "jaccard_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)

    def per_image(self, mask, logits, ignore_class, class_weights):
        return jaccard_loss(mask, logits, ignore_class, class_weights)


@keras.saving.register_keras_serializable("tfseg")
class TverskyLoss(_PixelLoss):
    """Tversky loss (Salehi et al. 2017, arXiv:1706.05721): 1 - mean of TP / (TP + alpha FP + beta FN) by class.

    With more beta than alpha, more of a class is found, and more is wrongly taken for it. With both 0.5 it is the Dice
    loss, with both 1 the Jaccard loss.

    Args:
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, above 0.
        from_logits, ignore_class, class_weights, reduction, name, dtype: as of `DiceLoss`, like all else.

    Example:
        Of class 1, one pixel is found and one missed; of class 2, two are found, and one is wrongly taken for it.

        >>> import numpy as np
        >>> from tfseg import TverskyLoss
        >>> mask = np.array([[[1, 1, 2, 2]]])
        >>> probabilities = np.eye(3)[np.array([[[1, 2, 2, 2]]])]
        >>> loss = TverskyLoss(alpha=0.1, beta=0.6, from_logits=False, ignore_class=0)
        >>> round(float(loss(mask, probabilities)), 4)
        0.2113
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)
        check(0 <= alpha < math.inf, "alpha", alpha, "0 or more")
        check(0 < beta < math.inf, "beta", beta, "above 0")
        self.alpha, self.beta = alpha, beta

    def per_image(self, mask, logits, ignore_class, class_weights):
        return tversky_loss(mask, logits, ignore_class, class_weights, self.alpha, self.beta)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable("tfseg")
class LovaszLoss(_PixelLoss):
    """Lovasz-Softmax (Berman et al. 2018, arXiv:1705.08790): the IoU's own extension to probabilities.

    Of sure predictions it is 1 - mean IoU, as the Jaccard loss, which has other gradients. It sorts all pixels, which
    takes its time, see `functions.lovasz_loss`. All else is as of `DiceLoss`.

    Example:
        The IoU of the two classes is 1/2 and 2/3.

        >>> import numpy as np
        >>> from tfseg import LovaszLoss
        >>> mask = np.array([[[1, 1, 2, 2]]])
        >>> probabilities = np.eye(3)[np.array([[[1, 2, 2, 2]]])]
        >>> loss = LovaszLoss(from_logits=False, ignore_class=0)
        >>> round(float(loss(mask, probabilities)), 4)
        0.4167
    """

    def __init__(
        self,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "lovasz_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)

    def per_image(self, mask, logits, ignore_class, class_weights):
        return lovasz_loss(mask, logits, ignore_class, class_weights)


@keras.saving.register_keras_serializable("tfseg")
class CrossEntropyLoss(_PixelLoss):
    """Softmax cross-entropy, averaged over the batch's pixels that count, or over the hardest of them.

    The mean is that of `keras.losses.SparseCategoricalCrossentropy`, with class weights, label smoothing (Szegedy et
    al. 2016, arXiv:1512.00567) and online hard example mining (OHEM; Shrivastava et al. 2016, arXiv:1604.03540).

    Args:
        label_smoothing: share of the truth that is spread evenly over the classes that count; 0 to below 1.
        ohem_threshold: above 0, below 1: only pixels count whose true class has at most this probability; 0.7 is
            usual. None: all do.
        ohem_min_kept: with it, share of the pixels, 0..1, that count at least: the hardest.
        class_weights: a number of 0 or more a class; the mean over pixels is weighted by those of their true classes.
        from_logits, ignore_class, reduction, name, dtype: as of `DiceLoss`, like what it is called with and raises.

    Returns:
        float32, 0 or more; with `reduction=None` (batch,), whose mean is the mean over pixels. 0 without any truth.

    Example:
        Of two pixels, the true classes have the probabilities 0.5 and 0.25.

        >>> import numpy as np
        >>> from tfseg import CrossEntropyLoss
        >>> mask = np.array([[[0, 1, 255]]])
        >>> probabilities = np.array([[[[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]]])
        >>> loss = CrossEntropyLoss(from_logits=False, ignore_class=255)
        >>> round(float(loss(mask, probabilities)), 4)
        1.0397
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        ohem_threshold: float | None = None,
        ohem_min_kept: float = OHEM_MIN_KEPT,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cross_entropy_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)
        _check_smoothing(label_smoothing)
        fits = ohem_threshold is None or 0 < ohem_threshold < 1
        check(fits, "ohem_threshold", ohem_threshold, "a number between 0 and 1, or None")
        check(0 <= ohem_min_kept <= 1, "ohem_min_kept", ohem_min_kept, "0 to 1")
        self.label_smoothing = label_smoothing
        self.ohem_threshold, self.ohem_min_kept = ohem_threshold, ohem_min_kept

    def per_image(self, mask, logits, ignore_class, class_weights):
        return cross_entropy_loss(mask, logits, ignore_class, class_weights, **self._own())

    def _own(self):
        names = ("label_smoothing", "ohem_threshold", "ohem_min_kept")
        return {name: getattr(self, name) for name in names}

    def get_config(self):
        return {**super().get_config(), **self._own()}


@keras.saving.register_keras_serializable("tfseg")
class FocalLoss(_PixelLoss):
    """Focal loss (Lin et al. 2017, arXiv:1708.02002): each pixel's cross-entropy times (1 - p) ** gamma.

    p is the probability of its true class: pixels that are right already count little. The paper's alpha is
    `class_weights` here.

    Args:
        gamma: 0 or more; 0 is the cross-entropy.
        label_smoothing, class_weights: as of `CrossEntropyLoss`, like what is returned.
        from_logits, ignore_class, reduction, name, dtype: as of `DiceLoss`, like what it is called with and raises.

    Example:
        Of two pixels, the true classes have the probabilities 0.5 and 0.25.

        >>> import numpy as np
        >>> from tfseg import FocalLoss
        >>> mask = np.array([[[0, 1, 255]]])
        >>> probabilities = np.array([[[[0.5, 0.5], [0.75, 0.25], [0.1, 0.9]]]])
        >>> loss = FocalLoss(gamma=1, from_logits=False, ignore_class=255)
        >>> round(float(loss(mask, probabilities)), 4)
        0.6931
    """

    def __init__(
        self,
        gamma: float = 2.0,
        label_smoothing: float = 0.0,
        *,
        from_logits: bool = True,
        ignore_class: int | None = None,
        class_weights: Sequence[float] | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_loss",
        dtype: str | None = None,
    ):
        super().__init__(from_logits, ignore_class, class_weights, reduction, name, dtype)
        check(0 <= gamma < math.inf, "gamma", gamma, "0 or more")
        _check_smoothing(label_smoothing)
        self.gamma, self.label_smoothing = gamma, label_smoothing

    def per_image(self, mask, logits, ignore_class, class_weights):
        return focal_loss(mask, logits, ignore_class, class_weights, self.label_smoothing, self.gamma)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma, "label_smoothing": self.label_smoothing}


def _check_smoothing(share: float) -> None:
    check(0 <= share < 1, "label_smoothing", share, "0 to below 1")
