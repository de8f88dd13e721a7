"""Scores of a split from probabilities and masks, picture by picture, so that none depends on how they are batched."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from tfseg.backend import check_ids
from tfseg.metrics.confusion import mean_of_numbers, scores
from tfseg.records.labels import CATEGORIES, VOID

BINS = 15  # of confidence, equally wide
BOUNDARY = 0.02  # of the diagonal: how far a boundary reaches into its region
BATCH = 8  # pictures over which the batch means are taken
SMOOTH = 1e-5


class PixelScores:
    """Gathers pictures and gives their scores.

    Args:
        classes: names of the classes; the one at `VOID` is void, and its truth is left out unless said otherwise.
        learn_void: whether void is a class that the network learns, as with `loss.ignore_class`: its truth then counts
            like that of the others, everywhere.
    """

    def __init__(self, classes: Sequence[str] = CATEGORIES, learn_void: bool = False):
        self.classes, self.learn_void = tuple(classes), learn_void
        self.matrices = []  # of each picture
        self.boundaries = np.zeros((2, len(classes)), np.int64)  # pixels of the intersections, of the unions
        self.bins = np.zeros((3, BINS))  # pixels, sum of confidences, right ones
        self.sure = []  # of each picture, by class: pixels of more than 0.5, those of them that are right, true ones

    def add(self, probabilities: np.ndarray, mask: np.ndarray) -> None:
        """Adds a picture.

        Args:
            probabilities: float32 (height, width, classes), in 0..1.
            mask: uint8 (height, width), class ids.

        Raises:
            ValueError: the two have not the same size, or other classes than there are names.
        """
        count = len(self.classes)
        if probabilities.shape != (*mask.shape, count):
            raise ValueError(f"probabilities: expected the shape {(*mask.shape, count)}, got {probabilities.shape}")
        self.add_mask(probabilities.argmax(axis=-1).astype(np.uint8), mask, probabilities)

    def add_mask(self, predicted: np.ndarray, mask: np.ndarray, probabilities: np.ndarray | None = None) -> None:
        """Does what `add` does where the predicted mask is known, uint8 (height, width), and perhaps no probabilities.

        Raises:
            ValueError: the masks have not the same size, or other classes than there are names.
        """
        count = len(self.classes)
        if predicted.shape != mask.shape:
            raise ValueError(f"predicted: expected the shape {mask.shape} of the mask, got {predicted.shape}")
        check_ids(mask, count, "mask")
        check_ids(predicted, count, "predicted")
        pairs = mask.astype(np.int64) * count + predicted
        self.matrices.append(np.bincount(pairs.ravel(), minlength=count**2).reshape(count, count))
        self.add_boundaries(predicted, mask)
        if probabilities is None:
            return
        self.add_confidence(probabilities.max(axis=-1), predicted, mask)
        sure = probabilities > 0.5
        right = np.take_along_axis(sure, mask[..., None].astype(np.int64), axis=-1)[..., 0]
        true = (np.bincount(pixels, minlength=count) for pixels in (mask[right], mask.ravel()))
        self.sure.append([sure.sum(axis=(0, 1)), *true])

    def add_boundaries(self, predicted: np.ndarray, mask: np.ndarray) -> None:
        """Adds, of each class, what the boundaries of prediction and truth have in common, and together.

        Pixels of void truth, and those that it is within a boundary's width of, are left out: of whether there is a
        boundary there, the truth says nothing.
        """
        width = max(round(BOUNDARY * math.hypot(*mask.shape)), 1)
        void = np.zeros(mask.shape, bool) if self.learn_void else mask == VOID
        known = cv2.dilate(void.astype(np.uint8), square(width)) == 0
        for place in np.union1d(mask, predicted):
            ours, truth = (find_boundary(pixels == place, width) & known for pixels in (predicted, mask))
            self.boundaries[:, place] += (ours & truth).sum(), (ours | truth).sum()

    def add_confidence(self, confidence: np.ndarray, predicted: np.ndarray, mask: np.ndarray) -> None:
        """Adds how sure, and how often right, the prediction is where there is truth."""
        there = np.ones(mask.shape, bool) if self.learn_void else mask != VOID
        confidence, right = confidence[there].astype(np.float64), (predicted == mask)[there]
        places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        for row, weights in zip(self.bins, (None, confidence, right), strict=True):
            row += np.bincount(places, weights, minlength=BINS)

    def result(self) -> dict:
        """Gives the scores of all pictures so far.

        Returns:
            What `metrics.scores` gives of the int64 sum of all matrices, and

            * `boundary_iou`, a float a class, and `mean_boundary_iou`: IoU of the boundaries alone, pixels of a class
              no farther than 2 % of the diagonal from another or the picture's edge (Cheng et al. 2021, Boundary IoU),
              summed over the split; void truth is left out, and so is what lies that near to it;
            * `calibration_error`: mean over pixels of |confidence - share that is right| by 15 bins of confidence, the
              highest probability (Guo et al. 2017, expected calibration error); void truth is left out;
            * `batch_mean_iou_with_void`, `batch_mean_f1_with_void`: what segmentation_models prints in training:
              probabilities above 0.5, void as a class, the mean over classes of each `BATCH` pictures, absent ones
              counting as 1, then the mean of those. They depend on the order of the pictures, and are no score of the
              split.

            Where void is learnt, no truth is left out. The last three are missing unless all had probabilities.
        """
        union = self.boundaries[1]
        boundary_iou = np.where(union > 0, self.boundaries[0] / np.maximum(union, 1), np.nan)
        if not self.learn_void:
            boundary_iou[VOID] = np.nan
        result = {
            **scores(np.sum(self.matrices, axis=0), self.classes, self.learn_void),
            "boundary_iou": boundary_iou.tolist(),
            "mean_boundary_iou": mean_of_numbers(boundary_iou),
        }
        if len(self.sure) < len(self.matrices):
            return result
        pixels, confidence, right = self.bins
        sure = np.array(self.sure, np.float64)
        batches = np.add.reduceat(sure, range(0, len(sure), BATCH))
        said, hits, true = batches.transpose(1, 0, 2)
        return {
            **result,
            "calibration_error": float(np.abs(confidence - right).sum() / pixels.sum()) if pixels.any() else math.nan,
            "batch_mean_iou_with_void": float(((hits + SMOOTH) / (said + true - hits + SMOOTH)).mean()),
            "batch_mean_f1_with_void": float(((2 * hits + SMOOTH) / (said + true + SMOOTH)).mean()),
        }


def find_boundary(region: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a region, bool (height, width), that have another pixel, or an edge, within a square of `width`."""
    inner = cv2.erode(region.astype(np.uint8), square(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return region & (inner == 0)


def square(width: int) -> np.ndarray:
    """What is no farther than `width` from a pixel, for OpenCV."""
    return np.ones((2 * width + 1, 2 * width + 1), np.uint8)
