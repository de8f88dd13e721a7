"""Regions whose ground truth a model is sure to be wrong, and what distinguishes them from its own errors."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from tfseg.auditing.alignment import find_borders
from tfseg.auditing.findings import Box
from tfseg.records.labels import VOID

LEAST_SHARE = 1 / 2000  # of the image: smaller regions are not looked at, 86 pixels of 360x480
MOSTLY = 0.5  # share of an object from which what is contradicted of it is one region
MOST_OF_IMAGE = 12  # regions that are kept of an image, those with the most evidence
MOST_ODDS = 12.0  # log-odds of a pixel at most; networks that are trained with Dice know no doubt
LEAST_PROBABILITY = 1e-7  # whose logarithm is taken for that of 0
SIMULATED_SHARES = 1 / 450, 1 / 5  # of the image, of an object that is given another class on purpose


class Region(NamedTuple):
    """Connected pixels of one class by the ground truth, and of others by the model."""

    given: int  # class id by the ground truth
    predicted: int  # by the model, at most of its pixels
    box: Box
    pixels: int
    log_odds: float  # mean over the pixels of log p(likeliest) - log p(given), each at most `MOST_ODDS`
    confidence: float  # mean p(predicted)
    coverage: float  # share of its connected region of the ground truth that it is
    own: float  # share of the connected region of the prediction that lies in it
    outline: float  # share of its own outline at which the ground truth has a border, too


def find_regions(probabilities: np.ndarray, mask: np.ndarray, learns_void: bool = False) -> list[Region]:
    """Finds where a model contradicts the ground truth of an image.

    Args:
        probabilities: float32 (H, W, C), of the model.
        mask: uint8 (H, W), class ids of the ground truth; void is none unless it is learnt.
        learns_void: whether void is a class like the others.

    Returns:
        At most `MOST_OF_IMAGE`, those with the most evidence first: mean log-odds times pixels.
    """
    predicted = predict(probabilities, learns_void)
    regions = list(_list_regions(probabilities, predicted, mask, learns_void))
    regions.sort(key=lambda region: -region.log_odds * region.pixels)
    return regions[:MOST_OF_IMAGE]


def predict(probabilities: np.ndarray, learns_void: bool) -> np.ndarray:
    """Chooses the likeliest class of each pixel: float32 (H, W, C) -> uint8 (H, W); void only if it is learnt."""
    first = 0 if learns_void else VOID + 1
    return (probabilities[..., first:].argmax(axis=-1) + first).astype(np.uint8)


def _list_regions(
    probabilities: np.ndarray,
    predicted: np.ndarray,
    mask: np.ndarray,
    learns_void: bool,
    only_given: int | None = None,
) -> Iterator[Region]:
    wrong = predicted != mask if learns_void else (predicted != mask) & (mask != VOID)
    borders = cv2.dilate(find_borders(mask), np.ones((3, 3), np.uint8))
    truth, prediction = Components(mask), Components(predicted)
    likeliest = probabilities[..., 0 if learns_void else VOID + 1 :].max(axis=-1)
    least = max(2, round(LEAST_SHARE * mask.size))
    for given in np.flatnonzero(np.bincount(mask[wrong]) >= least).tolist():
        if only_given not in (None, given):
            continue
        for box, part in _part_contested(wrong & (mask == given), truth, given, least):
            top, left, height, width = box
            window = slice(top, top + height), slice(left, left + width)
            # The model may see an object as two classes by halves: the one with more pixels names the region.
            chosen = int(np.bincount(predicted[window][part]).argmax())
            of_chosen = part & (predicted[window] == chosen)
            row, column = np.argwhere(of_chosen)[0].tolist()
            place, pixels = (top + row, left + column), int(np.count_nonzero(part))
            of_given = np.maximum(probabilities[window][..., given][part], LEAST_PROBABILITY)
            odds = np.log(np.maximum(likeliest[window][part], LEAST_PROBABILITY)) - np.log(of_given)
            yield Region(
                given=given,
                predicted=chosen,
                box=box,
                pixels=pixels,
                log_odds=float(np.minimum(odds, MOST_ODDS).mean()),
                confidence=float(probabilities[window][..., chosen][part].mean()),
                coverage=pixels / truth.area(given, place),
                own=min(1.0, int(np.count_nonzero(of_chosen)) / prediction.area(chosen, place)),
                outline=_outline_share(part, borders[window]),
            )


def _part_contested(
    contested: np.ndarray, truth: "Components", given: int, least: int
) -> Iterator[tuple[Box, np.ndarray]]:
    """Parts what the model contradicts of a class: an object that is mostly contradicted as one, else piece by piece.

    Yields:
        Box, and bool (height, width) of it, of each part of at least so many pixels.
    """
    objects, areas = truth.find(given)
    mostly = np.bincount(objects[contested], minlength=len(areas)) >= MOSTLY * areas
    mostly[0] = False
    whole = contested & mostly[objects]
    for labels in (np.where(whole, objects, 0), Components((contested & ~whole).astype(np.uint8)).find(1)[0]):
        for label, (rows, columns) in _find_boxes(labels, least):
            box = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
            yield box, labels[rows, columns] == label


def _find_boxes(labels: np.ndarray, least: int) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Yields each label of at least so many pixels, 0 left out, with the rows and columns of its box."""
    rows, columns = np.nonzero(labels)
    values = labels[rows, columns]
    order = np.argsort(values, kind="stable")
    rows, columns, values = rows[order], columns[order], values[order]
    ends = np.append(np.flatnonzero(np.diff(values)) + 1, len(values))
    start = 0
    for end in ends.tolist():
        if end - start >= least:
            own = rows[start:end], columns[start:end]
            box = [slice(int(along.min()), int(along.max()) + 1) for along in own]
            yield int(values[start]), (box[0], box[1])
        start = end


class Components:
    """Connected regions of an array of class ids, uint8 (H, W), of a class when it is first asked for."""

    def __init__(self, ids: np.ndarray):
        self.ids = ids
        self.found: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def find(self, class_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Gives the number of each pixel's region, (H, W), 0 outside of the class, and the regions' areas."""
        if class_id not in self.found:
            of_class = (self.ids == class_id).astype(np.uint8)
            _, labels, stats, _ = cv2.connectedComponentsWithStats(of_class, connectivity=8)
            self.found[class_id] = labels, stats[:, cv2.CC_STAT_AREA]
        return self.found[class_id]

    def area(self, class_id: int, place: tuple[int, int]) -> int:
        """Pixels of the region of a class at a place, row and column."""
        labels, areas = self.find(class_id)
        return int(areas[labels[place]])


def _outline_share(part: np.ndarray, borders: np.ndarray) -> float:
    """The share of the outline of a region at which the ground truth has a border, within a pixel."""
    # The box ends where the region does: a frame of nothing around it shows its outline there.
    framed = cv2.copyMakeBorder(part.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    outline = part & (cv2.erode(framed, np.ones((3, 3), np.uint8))[1:-1, 1:-1] == 0)
    return float(borders[outline].mean())


def simulate(
    probabilities: np.ndarray, mask: np.ndarray, random: np.random.Generator, learns_void: bool = False
) -> Region | None:
    """Gives an object of the ground truth another class on purpose, and finds the region by which that shows.

    Args:
        probabilities: as of `find_regions`.
        mask: as of `find_regions`; it is left as it is.
        random: draws the object and the class.
        learns_void: as of `find_regions`.

    Returns:
        None where no object is of a fitting size, or where the model does not contradict its new class.
    """
    drawn = draw_object(mask, random)
    if drawn is None:
        return None
    given = int(mask[drawn][0])
    others = [one for one in range(VOID + 1, probabilities.shape[-1]) if one != given]
    if not others:
        return None
    changed = mask.copy()
    changed[drawn] = new = int(random.choice(others))
    predicted = predict(probabilities, learns_void)
    regions = _list_regions(probabilities, predicted, changed, learns_void, only_given=new)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    own = int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
    touching = [region for region in regions if _overlap(region.box, own)]
    return max(touching, key=lambda region: (_overlap(region.box, own), region.pixels), default=None)


def draw_object(mask: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """Draws a connected region of a class, void left out, of `SIMULATED_SHARES` of the image: bool (H, W), or None."""
    least, most = (share * mask.size for share in SIMULATED_SHARES)
    objects = []
    for class_id in np.unique(mask).tolist():
        if class_id == VOID:
            continue
        count, labels, stats, _ = cv2.connectedComponentsWithStats((mask == class_id).astype(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        objects += [(labels, label) for label in range(1, count) if least <= areas[label] <= most]
    if not objects:
        return None
    labels, label = objects[int(random.integers(len(objects)))]
    return labels == label


def _overlap(one: Box, other: Box) -> int:
    height = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    width = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return max(height, 0) * max(width, 0)
