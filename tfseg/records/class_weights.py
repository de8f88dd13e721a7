"""Weights of the classes in a loss, from how many pixels each has."""

from collections.abc import Sequence

import numpy as np

from tfseg.records import labels
from tfseg.records.manifest import Split


def class_weights(split: Split, with_void: bool = False) -> list[float]:
    """Weights that balance the classes of a split in a loss, from its manifest alone; see `balance_classes`."""
    return balance_classes(split.class_pixels, with_void)


def balance_classes(class_pixels: Sequence[int], with_void: bool = False) -> list[float]:
    """Median-frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734): weight = median frequency / frequency.

    A class's frequency is its share of all pixels that are not void; the paper's is its share of those images alone
    that contain it, which a manifest does not tell. The weights are then divided by the mean over the classes that
    occur, so that a loss keeps its scale.

    Args:
        class_pixels: of each class, by class id.
        with_void: whether void is a class like the others.

    Returns:
        A weight a class. Void, unless it is one, and classes without pixels have 0, the P others more than 0 and at
        most P, 1 on average.
    """
    pixels = np.array(class_pixels, np.float64)
    if not with_void:
        pixels[labels.VOID] = 0
    weights, present = np.zeros_like(pixels), pixels > 0
    if present.any():
        weights[present] = np.median(pixels[present]) / pixels[present]
        weights /= weights[present].mean()
    return weights.tolist()
