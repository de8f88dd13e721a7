"""How far scores might lie elsewhere had other pictures been at hand: the bootstrap over pictures.

Pictures are drawn from the split with replacement, as many as there are, and scored; again and again. What the draws
have in common is an interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13: percentiles).
All runs are scored on the same draws, so that what makes a picture hard for all has no part in a difference.

It takes pictures as independent. Frames of one drive are not, and their intervals are too narrow.
"""

import numpy as np

from tfseg.records.labels import VOID

DRAWS = 10_000
CHUNK = 500  # draws at a time, for the memory that they take
LEVEL = 95  # percent of the draws that lie in an interval


def count_pixels(matrices: np.ndarray, learn_void: bool = False) -> np.ndarray:
    """Counts what IoU is made of, void truth left out.

    Args:
        matrices: int64 (..., classes, classes), confusion matrices, rows are truth.
        learn_void: whether void is a class like the others, and not left out.

    Returns:
        int64 (..., 2, classes): pixels of the intersections, and of the unions.
    """
    valid = matrices.copy()
    if not learn_void:
        valid[..., VOID, :] = 0
    hits = np.diagonal(valid, axis1=-2, axis2=-1)
    return np.stack([hits, valid.sum(axis=-1) + valid.sum(axis=-2) - hits], axis=-2)


def iou_and_mean(pixels: np.ndarray, learn_void: bool = False) -> np.ndarray:
    """IoU of each class and their mean, the very numbers of `metrics.scores`, from what `count_pixels` gives.

    Returns:
        float64 (..., classes + 1), in 0..1, the mean last; nan for void, unless it is learnt, and for a class that does
        not occur, which has no part in the mean.
    """
    with np.errstate(invalid="ignore"):  # 0 / 0 = nan is what we mean
        iou = pixels[..., 0, :] / pixels[..., 1, :]
        if not learn_void:
            iou[..., VOID] = np.nan
        occurs = np.isfinite(iou)
        mean = np.where(occurs, iou, 0).sum(axis=-1) / occurs.sum(axis=-1)
    return np.concatenate([iou, mean[..., np.newaxis]], axis=-1)


def draw_scores(matrices: np.ndarray, seed: int = 0, learn_void: bool = False) -> np.ndarray:
    """Scores runs on `DRAWS` draws of their pictures.

    Args:
        matrices: int64 (pictures, ..., classes, classes), confusion matrices.
        seed: of the draws.
        learn_void: as of `count_pixels`.

    Returns:
        float64 (draws, ..., classes + 1), as of `iou_and_mean`.
    """
    rng, count = np.random.default_rng(seed), len(matrices)
    pixels = count_pixels(matrices, learn_void).astype(np.float64)  # for BLAS; exact up to 2**53
    scores = []
    for _ in range(DRAWS // CHUNK):
        times = rng.multinomial(count, np.full(count, 1 / count), size=CHUNK)  # that each picture is drawn
        scores.append(iou_and_mean(np.tensordot(times.astype(np.float64), pixels, 1), learn_void))
    return np.concatenate(scores)


def interval(draws: np.ndarray) -> list[float]:
    """The bounds between which `LEVEL` percent of the draws that are numbers lie; nan if none is."""
    draws = draws[np.isfinite(draws)]
    outside = (100 - LEVEL) / 2
    return np.percentile(draws, [outside, 100 - outside]).tolist() if len(draws) else [np.nan, np.nan]
