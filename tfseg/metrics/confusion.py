"""Scores: one int64 confusion matrix over a whole split -> IoU and F1 by class, and their means under their own names.

Two readings of the same matrix, since both are in use:

* `iou`, `f1`, and their means over all classes but void, `mean_iou` and `mean_f1`: void ground truth counts nowhere,
  void predicted on any other pixel is a miss. This is the rule of Cityscapes, here on the records' masks. Of a network
  that learns void as a class (`loss.ignore_class`) it is what counts in them too: what is learnt is what is scored.
* `iou_with_void`, `f1_with_void`, and their means over all, `mean_iou_with_void` and `mean_f1_with_void`: void is a
  class like the others, over all pixels.

A class that is neither in the ground truth nor predicted has no score (nan) and no part in a mean.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from tfseg.backend import as_floats, as_ids, check_ids, one_hot
from tfseg.records.labels import CATEGORIES, VOID


def confusion_matrix(mask, predicted, num_classes: int, ignore: int | None = None):
    """Counts the pixels of each image by ground truth and prediction.

    Args:
        mask: integers (batch, height, width), true class ids in 0..num_classes-1; or int8, see `backend.as_ids`.
        predicted: integers of the same shape and range.
        num_classes: number of classes.
        ignore: true id, of any value, whose pixels are left out, such as 255; None: there is none.

    Returns:
        int32 (batch, num_classes, num_classes): rows are ground truth, columns are prediction. Exact for
        images of up to 2**24 pixels, as far as float32 counts.

    Raises:
        ValueError: an id is out of range. Within a compiled step it is not looked at, and the pixel is missing from the
            sum of the matrix, by which `score` finds it.
    """
    check_ids(mask, num_classes, "mask", ignore)
    check_ids(predicted, num_classes, "predicted")
    return count_pairs(mask, predicted, num_classes, ignore)


def count_pairs(mask, predicted, num_classes: int, ignore: int | None = None):
    """As `confusion_matrix`, whatever the ids are."""
    truth, prediction = (ops.convert_to_tensor(ids) for ids in (mask, predicted))
    truth, prediction = (_one_hot(as_ids(ids), num_classes, but) for ids, but in ((truth, ignore), (prediction, None)))
    return ops.cast(ops.matmul(ops.transpose(truth, (0, 2, 1)), prediction), "int32")


def _one_hot(ids, num_classes: int, ignore: int | None):
    """(batch, height, width) -> float32 (batch, height * width, classes), all zero where there is no class."""
    batch, height, width = ops.shape(ids)
    ids = ops.reshape(ids, (batch, height * width))
    return one_hot(ids if ignore is None else ops.where(ids == ignore, -1, ids), num_classes)


class Scorer(keras.Model):
    """A network with the ground truth beside it: batches in, confusion matrices and losses out, a row per image.

    Called with {"image": (batch, height, width, 3) in 0..255 or as `backend.as_floats` takes them, "mask": integers
    (batch, height, width)}; gives {"matrix": int32 (batch, classes, classes), "loss": float32 (batch,), "lost": int32
    (batch,), how many pixels of each mask are of no class}. Void is a class like the others if the loss learns it.

    Args:
        network: pixels -> logits.
        loss: called with (mask, logits).
        classes: names of the network's classes; None: their ids.
    """

    def __init__(self, network: keras.Model, loss, classes: Sequence[str] | None = None):
        super().__init__()
        self.network = network
        self.loss_function = loss
        self.classes = tuple(classes or map(str, range(network.output_shape[-1])))

    def call(self, batch):
        logits, mask = self.network(as_floats(batch["image"]), training=False), as_ids(batch["mask"])
        predicted = ops.argmax(logits, axis=-1)
        matrix = count_pairs(mask, predicted, logits.shape[-1])
        _, height, width = ops.shape(mask)
        lost = height * width - ops.sum(matrix, axis=(1, 2))
        # `call` is the loss before Keras reduces it, so that a smaller last batch counts by its images.
        return {"matrix": matrix, "loss": self.loss_function.call(mask, logits), "lost": lost}


def score(scorer: Scorer, batches, *callbacks: keras.callbacks.Callback) -> dict:
    """Runs a network over a split once.

    Args:
        scorer: the network and its loss.
        batches: data set of {"image", "mask"} batches, see `Scorer`; the last one may be smaller.
        callbacks: of `keras.Model.predict`.

    Returns:
        `scores` of the int64 sum of all matrices, and `loss`, the mean over images.

    Raises:
        ValueError: a mask has pixels of no class.
    """
    rows = scorer.predict(batches, verbose=0, callbacks=[*callbacks])
    if lost := int(rows["lost"].sum(dtype=np.int64)):
        raise ValueError(
            f"mask: expected class ids in 0..{len(scorer.classes) - 1}, got others in {lost:,} pixels of "
            f"{(rows['lost'] > 0).sum()} images"
        )
    matrix = rows["matrix"].sum(axis=0, dtype=np.int64)
    ignore_class = getattr(scorer.loss_function, "ignore_class", VOID)
    return {"loss": float(rows["loss"].mean()), **scores(matrix, scorer.classes, ignore_class)}


def scores(matrix, classes: Sequence[str] = CATEGORIES, ignore_class: int | None = VOID) -> dict:
    """Derives all scores from a confusion matrix.

    Args:
        matrix: integers (classes, classes), rows are ground truth; class `VOID` (0) is void.
        classes: their names.
        ignore_class: id of the class whose ground truth counts nowhere; None: all count, as where void is learned.

    Returns:
        Dict of lists with one float a class (`iou`, `f1`, `iou_with_void`, `f1_with_void`), of floats (`mean_iou`,
        `mean_f1`, `mean_iou_with_void`, `mean_f1_with_void`, `pixel_accuracy` over non-void ground truth), `classes`,
        `support` (pixels of each class in the ground truth), `confusion_matrix`, and `learn_void`, whether no class is
        ignored: then `iou` is `iou_with_void`, and so on. All floats in 0..1, or nan.

    Raises:
        ValueError: the matrix is not square, holds what are no counts, or has other classes than there are names; or
            the class to ignore is none of them.
    """
    matrix = check_matrix(matrix, classes)
    if ignore_class is not None and not 0 <= ignore_class < len(classes):
        raise ValueError(f"ignore_class: expected a class id in 0..{len(classes) - 1}, or None, got {ignore_class}")
    iou_with_void, f1_with_void = iou_and_f1(matrix)
    iou, f1, valid = iou_with_void, f1_with_void, matrix
    if ignore_class is not None:
        valid = matrix.copy()
        valid[ignore_class] = 0
        iou, f1 = iou_and_f1(valid)
        iou[ignore_class] = f1[ignore_class] = np.nan
    return {
        "classes": list(classes),
        "learn_void": ignore_class is None,
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


def check_matrix(matrix, classes: Sequence[str]) -> np.ndarray:
    """Returns a confusion matrix as int64, or raises ValueError unless it is one of these classes."""
    found = np.asarray(matrix)
    if found.shape != (len(classes), len(classes)):
        raise ValueError(
            f"matrix: expected {len(classes)} x {len(classes)} counts, one row and column for each of "
            f"{', '.join(map(str, classes))}; got {' x '.join(map(str, found.shape)) or 'a number'}. Name its classes"
        )
    counts = found.astype(np.int64)
    if (counts != found).any() or counts.min(initial=0) < 0:
        raise ValueError("matrix: expected counts of pixels, whole numbers of 0 or more")
    return counts


def iou_and_f1(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU = TP / (TP + FP + FN) and F1 = 2 TP / (2 TP + FP + FN) of each class; nan where the class does not occur."""
    hits = np.diag(matrix).astype(np.float64)
    truth_and_prediction = matrix.sum(axis=0) + matrix.sum(axis=1)
    with np.errstate(invalid="ignore"):  # 0 / 0 = nan is what we mean
        return hits / (truth_and_prediction - hits), 2 * hits / truth_and_prediction


def mean_of_numbers(values: np.ndarray) -> float:
    """The mean of those that are not nan; nan if all are."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
