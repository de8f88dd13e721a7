"""Which classes occur where, and masks that are empty or unlike all others; all from counts of pixels."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tfseg.auditing.calibration import Calibration
from tfseg.auditing.features import Features
from tfseg.auditing.findings import Finding
from tfseg.io.words import are, count_of
from tfseg.records.labels import VOID

FEW_IMAGES = 5  # fewer of a class in a split, and neither learning nor a score of it can be relied on
MANY = 0.2  # share of a split from which masks of one class are how the data set is, such as tiles without an object
REFERENCES = 1000  # masks with which each is compared
NEAREST = 5  # how many of these must be near: a fault of a few masks does not excuse them
ODD_PRIOR = 0.001  # masks that were made with another label map: 1 of 1,000
ODD_NARROWEST = 0.02  # of distances in 0..1
ODD_SHOWN = 0.05  # score from which such a mask is worth a line
# Expected share of faults.
ALL_VOID, ONE_CLASS, MANY_OF_ONE_CLASS, NO_TRUTH = 0.9, 0.6, 0.15, 0.1
ABSENT, FEW, UNUSED = 0.8, 0.4, 0.3


def find_gaps(features: Sequence[Features], classes: Sequence[str], few_images: int = FEW_IMAGES) -> list[Finding]:
    """Finds classes that are absent from a split, in one split alone, or in fewer than so many images of one.

    Splits without any ground truth are left out.
    """
    images = {split: count_images(own) for split, own in _by_split(features).items()}
    images = {split: counts for split, counts in images.items() if counts[VOID + 1 :].any()}
    findings = []
    for class_id, name in enumerate(classes):
        counts = {split: int(found[class_id]) for split, found in images.items()}
        if class_id != VOID and counts:
            findings += _gaps_of(name, counts, few_images)
    return findings


def _gaps_of(name: str, counts: dict[str, int], few_images: int) -> Iterator[Finding]:
    there = [split for split, count in counts.items() if count]
    absent = [split for split in counts if split not in there]
    details = {"class": name, "images": counts}
    if not there:
        yield Finding("coverage", ", ".join(counts), "", f"class {name} is in no image", UNUSED, details=details)
        return
    where = ", ".join(f"{counts[split]:,} of {split}" for split in there)
    for split in absent:
        alone = f"; it is in {there[0]} alone" if len(there) == 1 and len(counts) > 2 else ""
        what = f"class {name} is in no image here, but in {where}{alone}"
        yield Finding("coverage", split, "", what, ABSENT, details=details)
    for split in there:
        if counts[split] < few_images:
            what = f"class {name} is in {count_of(counts[split], 'image')}, fewer than {few_images}"
            yield Finding("coverage", split, "", what, FEW, details=details)


def count_images(features: Sequence[Features]) -> np.ndarray:
    """Counts the images that hold each class: int64 (C,)."""
    return np.sum([one.class_pixels > 0 for one in features], axis=0)


def find_constant(features: Sequence[Features], classes: Sequence[str]) -> list[Finding]:
    """Finds masks that are all void, or of one class alone."""
    findings = []
    for split, own in _by_split(features).items():
        of_class: dict[int, list[Features]] = defaultdict(list)
        for one in own:
            present = np.flatnonzero(one.class_pixels)
            if len(present) == 1:
                of_class[int(present[0])].append(one)
        for class_id, found in of_class.items():
            findings += _constant(split, len(own), classes[class_id], class_id == VOID, found)
    return findings


def _constant(split: str, total: int, name: str, void: bool, found: list[Features]) -> Iterator[Finding]:
    details = {"class": name, "images": [one.id for one in found]}
    if void and len(found) == total:
        what = "has no ground truth: all its masks are void"
        yield Finding("constant_masks", split, "", what, NO_TRUTH, details=details)
    elif len(found) > MANY * total and not void:
        what = f"{len(found):,} of {count_of(total, 'mask')} {are(len(found))} {name} alone"
        yield Finding("constant_masks", split, "", what, MANY_OF_ONE_CLASS, details=details)
    else:
        for one in found:
            what = f"the mask is all {name}" + (", so that nothing is learnt from it" if void else "")
            yield Finding("constant_masks", split, one.id, what, ALL_VOID if void else ONE_CLASS, details={})


def find_odd(features: Sequence[Features], classes: Sequence[str]) -> list[Finding]:
    """Finds masks whose shares of classes are far from those of all others, as of another label map.

    The measure is the Hellinger distance, 0..1, to the fifth nearest of up to 1,000 other masks. It is calibrated on
    the same masks with their classes exchanged.
    """
    usable = [one for one in features if np.count_nonzero(one.class_pixels[VOID + 1 :]) > 1]
    if len(usable) <= NEAREST:
        return []
    roots = np.sqrt(np.stack([_shares(one.class_pixels) for one in usable]))
    chosen = np.linspace(0, len(usable) - 1, min(REFERENCES, len(usable))).astype(int)
    observed = np.array([_distance(root, roots[chosen]) for root in roots])
    random = np.random.default_rng(0)
    exchanged = [_exchange(roots[place], random) for place in chosen]
    simulated = np.array([_distance(root, roots[chosen]) for root in exchanged])
    calibration = Calibration(observed, simulated, ODD_PRIOR, ODD_NARROWEST)
    usual = np.median(np.square(roots), axis=0)
    findings = []
    for one, root, measure in zip(usable, roots, observed.tolist(), strict=True):
        score = calibration.score(measure)
        if calibration.known and score >= ODD_SHOWN:
            oddest = int(np.abs(np.square(root) - usual).argmax())
            what = (
                f"the shares of the classes are unlike those of other masks: {100 * root[oddest] ** 2:.0f} % "
                f"{classes[oddest]}, usual are {100 * usual[oddest]:.0f} %"
            )
            details = {"distance": round(measure, 4)}
            findings.append(Finding("odd_masks", one.split, one.id, what, score, details=details))
    return findings


def _shares(class_pixels: np.ndarray) -> np.ndarray:
    counted = class_pixels.astype(np.float64)
    counted[VOID] = 0
    return counted / counted.sum()


def _distance(root: np.ndarray, others: np.ndarray) -> float:
    """Hellinger distance to the fifth nearest; one more is passed over, itself where it is among them."""
    distances = np.sqrt(np.square(others - root).sum(axis=1) / 2)
    return float(np.partition(distances, NEAREST)[NEAREST])


def _exchange(root: np.ndarray, random: np.random.Generator) -> np.ndarray:
    exchanged = root.copy()
    exchanged[VOID + 1 :] = random.permutation(root[VOID + 1 :])
    return exchanged


def _by_split(features: Sequence[Features]) -> dict[str, list[Features]]:
    splits: dict[str, list[Features]] = defaultdict(list)
    for one in features:
        splits[one.split].append(one)
    return splits
