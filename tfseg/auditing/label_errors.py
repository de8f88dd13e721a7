"""Label errors, ranked: what distinguishes a wrong ground truth from a wrong model, learnt from errors made on purpose.

A model contradicts the ground truth in many regions, and mostly it is the model that errs: in strips along borders,
between classes that it often confuses, with little confidence. As in confident learning (Northcutt et al. 2021), the
evidence is held against what the model usually says: its confidence against its mean confidence in the class, and the
pair of classes against how often it confuses them in regions as large. How these go together is fitted on the data
itself: a logistic regression between the regions that there are and those that appear when objects of the same masks
are given another class. The former hold the real errors, too; they are few among many.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from tfseg.auditing.calibration import MOST_SCORE
from tfseg.auditing.findings import Finding
from tfseg.auditing.judging import Judgement
from tfseg.auditing.regions import Region

PRIOR = 0.2  # errors of an image, as far as one can say before looking: of some ten objects 1 of 50
UNSURE = 20  # observed regions at which the regression is believed by half: few are separated by any line
SHOWN = 0.02  # score from which a region is worth a line
PENALTY = 1.0  # of squared weights, for features of deviation 1
STEPS = 50  # of Newton's method, which needs some ten


class Confusions:
    """How often a model contradicts one class with another, in regions of how many pixels."""

    def __init__(self, regions: Iterable[Region], images: int):
        sizes: dict[tuple[int, int], list[int]] = defaultdict(list)
        for region in regions:
            sizes[region.given, region.predicted].append(region.pixels)
        self.sizes = {pair: np.sort(pixels) for pair, pixels in sizes.items()}
        self.images = images

    def rarity(self, region: Region, counted: bool) -> float:
        """Gives -log of how many such regions as large an image holds, the region itself left out if it is counted."""
        sizes = self.sizes.get((region.given, region.predicted), np.empty(0))
        as_large = len(sizes) - int(np.searchsorted(sizes, region.pixels)) - counted
        return float(-np.log((as_large + 0.5) / self.images))


def describe_region(region: Region, thresholds: np.ndarray, rarity: float) -> list[float]:
    """Gives the features of a region; see `regions.Region`."""
    return [
        float(np.log(region.pixels)),
        region.log_odds,
        region.confidence - float(thresholds[region.predicted]),
        region.coverage,
        region.own,
        region.outline,
        rarity,
    ]


class Separator:
    """A logistic regression, with products of all pairs of features, between regions that are there and simulated ones.

    Args:
        observed: float (N, F).
        simulated: float (M, F).

    Example:
        >>> separator = Separator(np.zeros((30, 1)), np.ones((30, 1)))
        >>> bool(separator.odds(np.array([[1.0]]))[0] > 0)
        True
    """

    def __init__(self, observed: np.ndarray, simulated: np.ndarray):
        features = _with_products(np.concatenate([observed, simulated]))
        made = np.repeat([0.0, 1.0], [len(observed), len(simulated)])
        self.mean, self.deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-9)
        inputs = self._scale(features)
        penalty = PENALTY * np.eye(inputs.shape[1])
        penalty[-1, -1] = 1e-6  # the constant is free
        self.weights = np.zeros(inputs.shape[1])
        for _ in range(STEPS):
            likely = _sigmoid(inputs @ self.weights)
            gradient = inputs.T @ (likely - made) + penalty @ self.weights
            curvature = (inputs * (likely * (1 - likely))[:, np.newaxis]).T @ inputs + penalty
            step = np.linalg.solve(curvature, gradient)
            self.weights -= step
            if np.abs(step).max() < 1e-6:
                break
        self.ratio = np.log(len(simulated) / len(observed))

    def odds(self, features: np.ndarray) -> np.ndarray:
        """Gives log p(features of a made error) - log p(features of a region that is there): float (N, F) -> (N,)."""
        return self._scale(_with_products(features)) @ self.weights - self.ratio

    def _scale(self, features: np.ndarray) -> np.ndarray:
        scaled = (features - self.mean) / self.deviation
        return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)


def find_label_errors(judgements: Sequence[Judgement], thresholds: np.ndarray, classes: Sequence[str]) -> list[Finding]:
    """Ranks the regions in which a model contradicts the ground truth.

    Args:
        judgements: of all images.
        thresholds: float (C,), mean confidence of the model in each class, see `judging.ClassSums`.
        classes: the C names.

    Returns:
        A finding for each region of the score `SHOWN` or more.
    """
    places = [(one, region) for one in judgements for region in one.regions]
    made = [one.simulated for one in judgements if one.simulated is not None]
    if not places:
        return []
    scores = _score([region for _, region in places], made, thresholds, len(judgements))
    return [
        _report(one, region, score, classes)
        for (one, region), score in zip(places, scores.tolist(), strict=True)
        if score >= SHOWN
    ]


def _score(regions: Sequence[Region], made: Sequence[Region], thresholds: np.ndarray, images: int) -> np.ndarray:
    """Gives the expected share of errors among regions like each: float (N,), 0..`MOST_SCORE`.

    By Bayes: errors that look so are expected `PRIOR` times `images` times their density among simulated ones; against
    them stand all regions that look so. The fewer a model contradicts in all, the more one of them means.
    """
    confusions = Confusions(regions, images)
    observed, simulated = (
        np.array([describe_region(one, thresholds, confusions.rarity(one, counted)) for one in group])
        for group, counted in ((regions, True), (made, False))
    )
    odds = Separator(observed, simulated).odds(observed) if made else np.zeros(len(regions))
    odds *= len(regions) / (len(regions) + UNSURE)
    return np.minimum(_sigmoid(odds + np.log(PRIOR * images / len(regions))), MOST_SCORE)


def _report(one: Judgement, region: Region, score: float, classes: Sequence[str]) -> Finding:
    given, predicted = classes[region.given], classes[region.predicted]
    return Finding(
        "label_errors",
        one.split,
        one.id,
        f"{region.pixels:,} pixels are {given}, and {predicted} by the model",
        score,
        box=region.box,
        details={
            "given": given,
            "predicted": predicted,
            "pixels": region.pixels,
            "mean_log_odds": round(region.log_odds, 3),
            "evidence": round(region.log_odds * region.pixels, 1),
            "confidence": round(region.confidence, 4),
        },
    )


def _with_products(features: np.ndarray) -> np.ndarray:
    """Adds squares and products: (N, F) -> (N, F + F (F + 1) / 2)."""
    first, second = np.triu_indices(features.shape[1])
    return np.concatenate([features, features[:, first] * features[:, second]], axis=1)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))
