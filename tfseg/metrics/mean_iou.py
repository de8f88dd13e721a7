"""The mean IoU as Keras has metrics: one confusion matrix over all batches of an epoch or an evaluation."""

from numbers import Integral

import keras
import numpy as np
from keras import ops

from tfseg.backend import as_ids, check_ids, is_at_hand
from tfseg.metrics.confusion import count_pairs

BASE = 2**16  # a count is high * BASE + low, in two int32: JAX has no int64, and 2**31 pixels are 1,000 images


@keras.saving.register_keras_serializable("tfseg")
class MeanIoU(keras.metrics.Metric):
    """Mean IoU over classes: of each TP / (TP + FP + FN), from the pixels of all batches together.

    It is `mean_iou` of `confusion.scores`, and so of `score` and of `tfseg evaluate`: a class that is neither in the
    ground truth nor predicted has no part in the mean, and without any class it is nan. Pixels are counted exactly, up
    to 2**46 of them, on every backend, and over all replicas.

    Args:
        num_classes: number of classes, 2 or more.
        ignore_class: id of the class whose ground truth counts nowhere, and which has no part in the mean; predicted on
            other pixels it is a miss there. Or a value that is no class, such as 255. None: all classes count.
        name: of the metric.
        dtype: a floating type, that of the result; None: Keras' default.

    Raises:
        ValueError: an argument is out of range.

    Example:
        Class 1 is found in one pixel of two, and class 2 in one with one too many; void counts nowhere.

        >>> import numpy as np
        >>> from tfseg import MeanIoU
        >>> metric = MeanIoU(3, ignore_class=0)
        >>> metric.update_state(np.array([[[0, 1, 1, 2]]]), np.array([[[1, 1, 2, 2]]]))
        >>> float(metric.result())
        0.5
        >>> [float(iou) for iou in metric.result_per_class()]
        [nan, 0.5, 0.5]
    """

    def __init__(self, num_classes: int, ignore_class: int | None = None, name: str = "mean_iou", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if not isinstance(num_classes, Integral) or num_classes < 2:
            raise ValueError(f"num_classes: expected a whole number of 2 or more, got {num_classes!r}")
        if not isinstance(ignore_class, Integral | None):
            raise ValueError(f"ignore_class: expected a whole number, or None, got {ignore_class!r}")
        if "float" not in self.dtype:
            raise ValueError(f"dtype: expected a floating type, got {self.dtype}")
        self.num_classes = int(num_classes)
        self.ignore_class = None if ignore_class is None else int(ignore_class)
        self._direction = "up"  # for callbacks that choose the best epoch
        shape = (2, self.num_classes, self.num_classes)
        self._counts = self.add_variable(shape, "zeros", "int32", aggregation="sum", name="counts")  # low, high
        self._lost = self.add_variable((), "zeros", "float32", aggregation="sum", name="lost")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts the pixels of a batch.

        Args:
            y_true: integers (batch, height, width) or (batch, height, width, 1), class ids.
            y_pred: floats (batch, height, width, num_classes), logits or probabilities; or integers of the shapes of
                `y_true`, class ids.
            sample_weight: None, since pixels are counted whole.

        Raises:
            ValueError: a shape is wrong, there are weights, or an id is that of no class. Within a compiled step ids
                are not looked at, and `result` raises it after the epoch.
        """
        if sample_weight is not None:
            raise ValueError(
                f"{self.name}: expected no sample_weight, since it counts whole pixels; list it in metrics, not in "
                "weighted_metrics, and give pixels that are not to count the label ignore_class"
            )
        truth, predicted = self._find_ids(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
        check_ids(truth, self.num_classes, "y_true", self.ignore_class)
        check_ids(predicted, self.num_classes, "y_pred")
        width = ops.shape(truth)[-1]  # one matrix a row: float32 counts no further than 2**24
        truth, predicted = (ops.reshape(ids, (-1, 1, width)) for ids in (truth, predicted))
        matrix = ops.sum(count_pairs(truth, predicted, self.num_classes, self.ignore_class), axis=0)
        counted = ops.ones_like(truth) if self.ignore_class is None else ops.cast(truth != self.ignore_class, "int32")
        low, high = ops.unstack(ops.convert_to_tensor(self._counts))
        low = low + matrix % BASE
        self._counts.assign(ops.stack([low % BASE, high + matrix // BASE + low // BASE]))
        self._lost.assign(self._lost + ops.cast(ops.sum(counted) - ops.sum(matrix), "float32"))

    def _find_ids(self, y_true, y_pred):
        """Returns the class ids of both, int32 (batch, height, width)."""
        true_shape, shape = tuple(y_true.shape), tuple(y_pred.shape)
        if len(true_shape) == 4 and true_shape[3] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        of_ids = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if of_ids and len(shape) == 4:
            y_pred = ops.squeeze(y_pred, axis=-1)
        fits = len(y_true.shape) == 3 and all(
            a == b for a, b in zip(y_true.shape, shape, strict=False) if None not in (a, b)
        )
        if not fits or not (of_ids or (len(shape) == 4 and shape[3] in (self.num_classes, None))):
            raise ValueError(
                f"{self.name}: expected y_true of class ids (batch, height, width), and y_pred of logits or "
                f"probabilities (batch, height, width, {self.num_classes}), or of class ids; got the shapes "
                f"{true_shape} and {shape}"
            )
        if of_ids and "float" in keras.backend.standardize_dtype(y_pred.dtype):
            raise ValueError(
                f"{self.name}: expected y_pred of class ids as integers, got {y_pred.dtype} of the shape {shape}; "
                f"probabilities have a last axis of {self.num_classes} classes"
            )
        return as_ids(y_true), as_ids(y_pred) if of_ids else ops.cast(ops.argmax(y_pred, axis=-1), "int32")

    def result(self):
        """Computes the mean IoU, a number in 0..1, or nan where no class occurs.

        Raises:
            ValueError: pixels had ids of no class, see `update_state`.
        """
        self._check_lost()
        iou = self._iou()
        occurs = iou == iou
        mean = ops.sum(ops.where(occurs, iou, 0.0)) / ops.sum(ops.cast(occurs, "float32"))
        return ops.cast(mean, self.dtype)

    def result_per_class(self):
        """Computes the IoU of each class, (num_classes,), nan where it is ignored or does not occur."""
        self._check_lost()
        return ops.cast(self._iou(), self.dtype)

    def confusion_matrix(self) -> np.ndarray:
        """Gives the pixels so far, int64 (num_classes, num_classes): rows are ground truth, columns are prediction.

        Those of the ignored class are left out. `confusion.scores` takes it.
        """
        low, high = ops.convert_to_numpy(self._counts).astype(np.int64)
        return high * BASE + low

    def _iou(self):
        counts = ops.convert_to_tensor(self._counts)
        hits = ops.diagonal(counts, axis1=1, axis2=2)
        union = ops.sum(counts, axis=1) + ops.sum(counts, axis=2) - hits  # (2, classes)
        (low, high), (low_union, high_union) = (ops.unstack(ops.cast(words, "float32")) for words in (hits, union))
        union = high_union * BASE + low_union
        occurs = union > 0
        if self.ignore_class is not None:
            occurs = ops.logical_and(occurs, ops.arange(self.num_classes) != self.ignore_class)
        return ops.where(occurs, (high * BASE + low) / ops.maximum(union, 1.0), np.nan)

    def _check_lost(self):
        lost = self._lost + 0.0  # the number of a variable
        if is_at_hand(lost) and (count := float(lost)) > 0:
            raise ValueError(
                f"{self.name}: expected class ids in 0..{self.num_classes - 1} in y_true and y_pred, got others in "
                f"{count:,.0f} pixels; name a value that is no class, such as 255, as ignore_class"
            )

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "ignore_class": self.ignore_class}
