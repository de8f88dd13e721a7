"""Scores: one int64 confusion matrix over a whole split -> IoU and F1 by class, and their means under their own names.

Two readings of the same matrix, since both are in use:

* `iou`, `f1`, and their means over all classes but void, `mean_iou` and `mean_f1`: void ground truth counts nowhere,
  void predicted on any other pixel is a miss. This is the rule of Cityscapes, here on the records' masks.
* `iou_with_void`, `f1_with_void`, and their means over all, `mean_iou_with_void` and `mean_f1_with_void`: void is a
  class like the others, over all pixels.

A class that is neither in the truth nor predicted has no score (nan) and no part in a mean.
"""

import keras
import numpy as np
from keras import ops

from tfseg.fused import as_floats
from tfseg.labels import CATEGORIES, VOID


def confusion_matrix(mask, predicted, num_classes: int):
    """Counts the pixels of each picture by truth and prediction.

    Args:
        mask: integers (batch, height, width), true class ids in 0..num_classes-1.
        predicted: integers of the same shape and range.
        num_classes: number of classes.

    Returns:
        int32 (batch, num_classes, num_classes): rows are truth, columns are prediction. Exact for pictures of up to
        2**24 pixels, as far as float32 counts.
    """
    truth = ops.one_hot(_flat(mask), num_classes, dtype="float32")  # (B, H*W, C)
    prediction = ops.one_hot(_flat(predicted), num_classes, dtype="float32")
    return ops.cast(ops.matmul(ops.transpose(truth, (0, 2, 1)), prediction), "int32")


def _flat(mask):
    batch, height, width = ops.shape(mask)
    return ops.reshape(ops.cast(mask, "int32"), (batch, height * width))


class Scorer(keras.Model):
    """A network with its truth beside it: batches in, confusion matrices and losses out, a row a picture.

    Called with {"image": (batch, height, width, 3) in 0..255 or as `fused.as_floats` takes them, "mask": integers
    (batch, height, width)}; gives {"matrix": int32 (batch, classes, classes), "loss": float32 (batch,)}.
    """

    def __init__(self, network: keras.Model, loss, classes: tuple[str, ...] = CATEGORIES):
        super().__init__()
        self.network = network
        self.loss_function = loss
        self.classes = classes

    def call(self, batch):
        logits = self.network(as_floats(batch["image"]), training=False)
        predicted = ops.argmax(logits, axis=-1)
        matrix = confusion_matrix(batch["mask"], predicted, logits.shape[-1])
        # `call` is the loss before Keras reduces it, so that a smaller last batch counts by its pictures.
        return {"matrix": matrix, "loss": self.loss_function.call(batch["mask"], logits)}


def score(scorer: Scorer, batches, *callbacks: keras.callbacks.Callback) -> dict:
    """Runs a network over a split once.

    Args:
        scorer: the network and its loss.
        batches: data set of {"image", "mask"} batches, see `Scorer`; the last one may be smaller.
        callbacks: of `keras.Model.predict`.

    Returns:
        `scores` of the int64 sum of all matrices, and `loss`, the mean over pictures.
    """
    rows = scorer.predict(batches, verbose=0, callbacks=[*callbacks])
    return {"loss": float(rows["loss"].mean()), **scores(rows["matrix"].sum(axis=0, dtype=np.int64), scorer.classes)}


def scores(matrix, classes: tuple[str, ...] = CATEGORIES) -> dict:
    """Derives all scores from a confusion matrix.

    Args:
        matrix: integers (classes, classes), rows are truth; class `VOID` (0) is void.
        classes: their names.

    Returns:
        Dict of lists with one float a class (`iou`, `f1`, `iou_with_void`, `f1_with_void`), of floats (`mean_iou`,
        `mean_f1`, `mean_iou_with_void`, `mean_f1_with_void`, `pixel_accuracy` over non-void truth), `classes`,
        `support` (pixels of each class in the truth) and `confusion_matrix`. All floats in 0..1, or nan.
    """
    matrix = np.asarray(matrix, np.int64)
    valid = matrix.copy()
    valid[VOID] = 0
    iou, f1 = iou_and_f1(valid)
    iou[VOID] = f1[VOID] = np.nan
    iou_with_void, f1_with_void = iou_and_f1(matrix)
    return {
        "classes": list(classes),
        "iou": iou.tolist(),
        "f1": f1.tolist(),
        "iou_with_void": iou_with_void.tolist(),
        "f1_with_void": f1_with_void.tolist(),
        "support": matrix.sum(axis=1).tolist(),
        "mean_iou": mean_of_numbers(iou),
        "mean_f1": mean_of_numbers(f1),
        "mean_iou_with_void": mean_of_numbers(iou_with_void),
        "mean_f1_with_void": mean_of_numbers(f1_with_void),
        "pixel_accuracy": float(np.trace(valid) / valid.sum()) if valid.any() else float("nan"),
        "confusion_matrix": matrix.tolist(),
    }


def iou_and_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU = TP / (TP + FP + FN) and F1 = 2 TP / (2 TP + FP + FN) of each class; nan where the class does not occur."""
    hits = np.diag(matrix).astype(np.float64)
    truth_and_prediction = matrix.sum(axis=0) + matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 = nan is what we mean
        return hits / (truth_and_prediction - hits), 2 * hits / truth_and_prediction


def mean_of_numbers(values: np.ndarray) -> float:
    """The mean of those that are not nan; nan if all are."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
