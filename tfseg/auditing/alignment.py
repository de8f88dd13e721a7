"""Whether a mask lies where its image is: its borders against the edges of the image, at every translation.

The normalised cross-correlation of the two, over all translations up to 1/12 of the longer side, has its peak where
they fit best. Of a mask in place that is the centre. How far the peak stands above the centre, in deviations of all
translations, is the measure; it ranks, and proves nothing: borders may lie beside edges for good reasons.
"""

from typing import NamedTuple

import cv2
import numpy as np

SIDE = 240  # pixels of the longer side at which the two are compared: a shift of 1 % is two of them
REACH = 12  # the longest shift that is tried is this part of the longer side
NEAR = 1  # pixels around the centre that count as in place, since masks are drawn by hand
SMALLEST = 32  # pixels of the shorter side, below which nothing is said
FAINT = 4.0  # grey levels of gradient that count as no edge, however even the surroundings are
STRONGEST = 3.0  # times the surroundings' mean: one bright edge does not outweigh all others
LEAST_BORDER = 0.002  # share of pixels that must be of a border


class Shift(NamedTuple):
    """How a mask should move to fit its image best."""

    measure: float  # peak above the centre, in deviations; 0 of a mask in place
    down: int  # pixels of the stored image by which the mask should move, negative is up
    right: int


class Aligner:
    """An image whose edges are found once, against which masks can be held.

    Args:
        image: (H, W, 3) uint8 RGB.
    """

    def __init__(self, image: np.ndarray):
        height, width = image.shape[:2]
        self.scale = min(1.0, SIDE / max(height, width))
        self.size = max(1, round(height * self.scale)), max(1, round(width * self.scale))
        self.reach = max(2, round(max(self.size) / REACH))
        self.large_enough = min(self.size) >= SMALLEST
        if self.large_enough:
            edges = find_edges(cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA))
            self.deviation = float(np.sqrt(np.square(edges).sum()))
            self.edges = np.pad(edges, self.reach)

    def find_shift(self, mask: np.ndarray) -> Shift | None:
        """Finds the translation at which a mask, (H, W) uint8, fits best.

        Returns:
            None where nothing can be said: the image is small or even, or the mask has hardly any border.
        """
        if not self.large_enough or not self.deviation:
            return None
        borders = find_borders(mask)
        if borders.mean() < LEAST_BORDER:
            return None
        borders = cv2.resize(borders, self.size[::-1], interpolation=cv2.INTER_AREA)
        borders -= borders.mean()
        fit = cv2.matchTemplate(self.edges, borders, cv2.TM_CCORR) / self.deviation / np.sqrt(np.square(borders).sum())
        centre = slice(self.reach - NEAR, self.reach + NEAR + 1)
        best = np.unravel_index(int(fit.argmax()), fit.shape)
        above = float((fit.max() - fit[centre, centre].max()) / max(float(fit.std()), 1e-9))
        if not above:
            return Shift(0.0, 0, 0)
        down, right = (round((int(place) - self.reach) / self.scale) for place in best)
        return Shift(above, down, right)


def find_edges(image: np.ndarray) -> np.ndarray:
    """Finds the edges of an image, (h, w, 3) uint8, by their strength against the surroundings'.

    Returns:
        float32 (h, w), of mean 0.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), 1).astype(np.float32)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    strength = np.sqrt(np.square(across) + np.square(down)).max(axis=-1)
    around = cv2.GaussianBlur(strength, (0, 0), max(image.shape) / 16)
    relative = np.minimum(strength / (around + FAINT), STRONGEST)
    return relative - relative.mean()


def find_borders(mask: np.ndarray) -> np.ndarray:
    """Marks pixels that have a neighbour of another class: (H, W) uint8 -> (H, W) float32, 0 or 1."""
    borders = np.zeros(mask.shape, np.float32)
    for axis in (0, 1):
        differs = np.diff(mask.astype(np.int16), axis=axis) != 0
        before, after = (np.moveaxis(borders, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        before[np.moveaxis(differs, axis, 0)] = 1
        after[np.moveaxis(differs, axis, 0)] = 1
    return borders


def shift_mask(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """Moves a mask, (H, W); what comes in from outside repeats its border."""
    height, width = mask.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return mask[rows[:, np.newaxis], columns]
