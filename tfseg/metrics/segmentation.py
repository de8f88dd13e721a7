"""Scores of a split from probabilities and masks, image by image, so that none depends on how they are batched."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from tfseg.backend import check_ids
from tfseg.metrics.confusion import mean_of_numbers, scores
from tfseg.records.labels import CATEGORIES, VOID

BINS = 15  # of confidence, equally wide
BOUNDARY = 0.02  # of the diagonal: how far a boundary reaches into its region
BATCH = 8  # images over which the batch means are taken
SMOOTH = 1e-5


class PixelScores:
    """Gathers images and gives their scores.

    Args:
        classes: names of the classes.
        ignore_class: id of the class whose ground truth is left out everywhere, that of void; or a value that is no
            class, such as 255, whose pixels count nowhere. None: all count, as for a network that learns void.
    """

    def __init__(self, classes: Sequence[str] = CATEGORIES, ignore_class: int | None = VOID):
        self.classes, self.ignore_class = tuple(classes), ignore_class
        self.ignored = ignore_class if ignore_class in range(len(classes)) else None  # if it is a class
        self.matrices: list[np.ndarray] = []  # of each image
        self.boundaries = np.zeros((2, len(classes)), np.int64)  # pixels of the intersections, of the unions
        self.bins = np.zeros((3, BINS))  # pixels, sum of confidences, correct ones
        self.confident: list[list[np.ndarray]] = []  # of each image, see `count_confident`

    def add(self, probabilities: np.ndarray, mask: np.ndarray) -> None:
        """Adds an image.

        Args:
            probabilities: float32 (height, width, classes), in 0..1.
            mask: uint8 (height, width), class ids of the ground truth.

        Raises:
            ValueError: the two have not the same size, or other classes than there are names.
        """
        count = len(self.classes)
        if probabilities.shape != (*mask.shape, count):
            raise ValueError(f"probabilities: expected the shape {(*mask.shape, count)}, got {probabilities.shape}")
        self.add_mask(probabilities.argmax(axis=-1).astype(np.uint8), mask, probabilities)

    def add_mask(self, predicted: np.ndarray, mask: np.ndarray, probabilities: np.ndarray | None = None) -> None:
        """Adds an image whose predicted mask is known, and perhaps its probabilities.

        Args:
            predicted: uint8 (height, width), predicted class ids.
            mask: the same of the ground truth.
            probabilities: as of `add`; None: they are not known.

        Raises:
            ValueError: the masks have not the same size, or other classes than there are names.
        """
        count = len(self.classes)
        if predicted.shape != mask.shape:
            raise ValueError(f"predicted: expected the shape {mask.shape} of the mask, got {predicted.shape}")
        counted, known = self.find_counted(mask), slice(None)
        if self.ignore_class != self.ignored:  # what is of no class may be of any: it counts nowhere
            mask, predicted, known = np.where(counted, mask, 0), np.where(counted, predicted, 0), counted.ravel()
        check_ids(mask, count, "mask")
        check_ids(predicted, count, "predicted")
        pairs = mask.astype(np.int64) * count + predicted
        self.matrices.append(np.bincount(pairs.ravel()[known], minlength=count**2).reshape(count, count))
        self.add_boundaries(predicted, mask, counted)
        if probabilities is not None:
            self.add_confidence(probabilities.max(axis=-1), predicted == mask, counted)
            self.confident.append(count_confident(probabilities.reshape(-1, count)[known], mask.ravel()[known]))

    def add_boundaries(self, predicted: np.ndarray, mask: np.ndarray, counted: np.ndarray) -> None:
        """Adds, of each class, what the boundaries of prediction and ground truth have in common, and together.

        Pixels that are ignored, and those that are within a boundary's width of it, are left out: the ground truth
        does not say whether there is a boundary.
        """
        width = max(round(BOUNDARY * math.hypot(*mask.shape)), 1)
        ignored = cv2.dilate((~counted).astype(np.uint8), square(width)) != 0
        for place in np.union1d(mask, predicted):
            ours, truth = (find_boundary(pixels == place, width) & ~ignored for pixels in (predicted, mask))
            self.boundaries[:, place] += (ours & truth).sum(), (ours | truth).sum()

    def add_confidence(self, confidence: np.ndarray, correct: np.ndarray, counted: np.ndarray) -> None:
        """Adds how confident, and how often correct, the prediction is where the ground truth counts."""
        confidence, correct = confidence[counted].astype(np.float64), correct[counted]
        places = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        for row, weights in zip(self.bins, (None, confidence, correct), strict=True):
            row += np.bincount(places, weights, minlength=BINS)

    def find_counted(self, mask: np.ndarray) -> np.ndarray:
        """Finds the pixels whose ground truth counts, bool (height, width)."""
        return np.ones(mask.shape, bool) if self.ignore_class is None else mask != self.ignore_class

    def result(self) -> dict:
        """Gives the scores of all images so far.

        Returns:
            What `confusion.scores` gives of the int64 sum of all matrices, and

            * `boundary_iou`, a float a class, and `mean_boundary_iou`: IoU of the boundaries alone, pixels of a class
              no farther than 2 % of the diagonal from another or the image's edge (Cheng et al. 2021, Boundary IoU),
              summed over the split; the ignored class is left out, and so is what lies that near to it;
            * `calibration_error`: mean over pixels of |confidence - share that is correct| by 15 bins of confidence,
              the highest probability (Guo et al. 2017, expected calibration error); without the ignored class;
            * `batch_mean_iou_with_void`, `batch_mean_f1_with_void`: what segmentation_models prints in training:
              probabilities above 0.5, void as a class, the mean over classes of each `BATCH` images, absent ones
              counting as 1, then the mean of those. They depend on the order of the images, and are no score of the
              split.

            The last three are missing unless all images had probabilities.
        """
        union = self.boundaries[1]
        boundary_iou = np.where(union > 0, self.boundaries[0] / np.maximum(union, 1), np.nan)
        if self.ignored is not None:
            boundary_iou[self.ignored] = np.nan
        result = {
            **scores(np.sum(self.matrices, axis=0), self.classes, self.ignored),
            "boundary_iou": boundary_iou.tolist(),
            "mean_boundary_iou": mean_of_numbers(boundary_iou),
        }
        if len(self.confident) < len(self.matrices):
            return result
        return {**result, "calibration_error": self.calibration_error(), **self.batch_means()}

    def calibration_error(self) -> float:
        """Computes the expected calibration error; nan where no pixel counts."""
        pixels, confidence, correct = self.bins
        return float(np.abs(confidence - correct).sum() / pixels.sum()) if pixels.any() else math.nan

    def batch_means(self) -> dict[str, float]:
        """Computes the means over batches that segmentation_models prints."""
        images = np.array(self.confident, np.float64)  # (images, 3, classes)
        batches = np.add.reduceat(images, range(0, len(images), BATCH))
        predicted, hits, true = batches.transpose(1, 0, 2)
        return {
            "batch_mean_iou_with_void": float(((hits + SMOOTH) / (predicted + true - hits + SMOOTH)).mean()),
            "batch_mean_f1_with_void": float(((2 * hits + SMOOTH) / (predicted + true + SMOOTH)).mean()),
        }


def count_confident(probabilities: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
    """Counts by class, int64 (classes,): pixels of more than 0.5, those of them that are correct, and true ones.

    Args:
        probabilities: (pixels, classes).
        mask: (pixels,), class ids of the ground truth.
    """
    count = probabilities.shape[-1]
    confident = probabilities > 0.5
    correct = np.take_along_axis(confident, mask[..., None].astype(np.int64), axis=-1)[..., 0]
    true = (np.bincount(pixels, minlength=count) for pixels in (mask[correct], mask))
    return [confident.sum(axis=0), *true]


def find_boundary(region: np.ndarray, width: int) -> np.ndarray:
    """Finds the pixels of a region, bool (height, width), that have another pixel, or an edge, within a square."""
    inner = cv2.erode(region.astype(np.uint8), square(width), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return region & (inner == 0)


def square(width: int) -> np.ndarray:
    """Makes the square of what is no farther than `width` from a pixel, for OpenCV."""
    return np.ones((2 * width + 1, 2 * width + 1), np.uint8)
