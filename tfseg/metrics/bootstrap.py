"""How far scores might lie elsewhere had other images been at hand: the bootstrap over images.

Images are drawn from the split with replacement, as many as there are, and scored; again and again. What the draws
have in common is an interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13: percentiles).
All runs are scored on the same draws, so that what makes an image hard for all has no part in a difference.

It takes images as independent. Frames of one drive are not, and their intervals are too narrow.
"""

import numpy as np

from tfseg.records.labels import VOID

DRAWS = 10_000
CHUNK = 500  # draws at a time, for the memory that they take
LEVEL = 95  # percent of the draws that lie in an interval


def count_pixels(matrices: np.ndarray, ignore_class: int | None = VOID) -> np.ndarray:
    """Counts the pixels that IoU is computed from.

    Args:
        matrices: int64 (..., classes, classes), confusion matrices, rows are ground truth.
        ignore_class: id of the class whose ground truth is left out; None: all count.

    Returns:
        int64 (..., 2, classes): pixels of the intersections, and of the unions.
    """
    valid = matrices.copy()
    if ignore_class is not None:
        valid[..., ignore_class, :] = 0
    hits = np.diagonal(valid, axis1=-2, axis2=-1)
    return np.stack([hits, valid.sum(axis=-1) + valid.sum(axis=-2) - hits], axis=-2)


def iou_and_mean(pixels: np.ndarray, ignore_class: int | None = VOID) -> np.ndarray:
    """Computes the IoU of each class and their mean, the very numbers of `confusion.scores`.

    Args:
        pixels: numbers (..., 2, classes), as `count_pixels` gives them.
        ignore_class: as of `count_pixels`.

    Returns:
        float64 (..., classes + 1), in 0..1, the mean last; nan for the ignored class and for one that does not occur,
        which have no part in the mean.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0 = nan is what we mean
        iou = pixels[..., 0, :] / pixels[..., 1, :]
        if ignore_class is not None:
            iou[..., ignore_class] = np.nan
        occurs = np.isfinite(iou)
        mean = np.where(occurs, iou, 0).sum(axis=-1) / occurs.sum(axis=-1)
    return np.concatenate([iou, mean[..., np.newaxis]], axis=-1)


def draw_scores(matrices: np.ndarray, seed: int = 0, ignore_class: int | None = VOID) -> np.ndarray:
    """Scores runs on `DRAWS` draws of their images.

    Args:
        matrices: int64 (images, ..., classes, classes), confusion matrices.
        seed: of the draws.
        ignore_class: as of `count_pixels`.

    Returns:
        float64 (draws, ..., classes + 1), as of `iou_and_mean`.
    """
    rng, count = np.random.default_rng(seed), len(matrices)
    pixels = count_pixels(matrices, ignore_class).astype(np.float64)  # for BLAS; exact up to 2**53
    scores = []
    for _ in range(DRAWS // CHUNK):
        times = rng.multinomial(count, np.full(count, 1 / count), size=CHUNK)  # that each image is drawn
        scores.append(iou_and_mean(np.tensordot(times.astype(np.float64), pixels, 1), ignore_class))
    return np.concatenate(scores)


def interval(draws: np.ndarray) -> list[float]:
    """Gives the bounds between which `LEVEL` percent of the draws that are numbers lie; nan if none is."""
    draws = draws[np.isfinite(draws)]
    outside = (100 - LEVEL) / 2
    return np.percentile(draws, [outside, 100 - outside]).tolist() if len(draws) else [np.nan, np.nan]
