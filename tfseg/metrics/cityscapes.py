"""The official Cityscapes score: what `cityscapesscripts` computes from images of label ids, to the last digit.

All but the instances comes from one confusion matrix over the label ids of a whole split, at full resolution. Ground
truth of an ignored label (`Label.ignore_in_eval`) counts for nothing, though it may have a category, as parking has; on
all other ground truth it is an error to predict one. Void has no label that counts, so that "IoU category" is a mean
over 7.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np

from tfseg.records.labels import BY_TRAIN_ID, CATEGORIES, LABELS

IDS = 1 + max(label.id for label in LABELS)  # 34
EXACT = 2**24  # pixels that OpenCV counts exactly, in float32
NO_ID = 255  # -1 as a byte: license plates, which the official images do not show
COUNTED_IDS = [label.id for label in BY_TRAIN_ID]
BY_ID = {label.id: label for label in LABELS}

# Mean size in pixels of the instances of a class in the training split: each instance weighs as if it had that size.
MEAN_SIZES = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
# Categories of nothing but instances -> all their label ids: what is found of an instance may be of any of them.
INSTANCE_CATEGORIES = {
    category: [label.id for label in LABELS if label.category == category and label.id >= 0]
    for category in CATEGORIES
    if all(label.has_instances for label in LABELS if label.category == category and label.id >= 0)
}


class OfficialScore:
    """Gathers images and gives their official score.

    Args:
        classes: names of the predicted classes: the 8 categories, or the 19 classes of the benchmark, with or without
            void before them.

    Raises:
        ValueError: the names are neither.
    """

    def __init__(self, classes: Sequence[str] = CATEGORIES):
        self.label_ids = np.pad(label_ids_of(classes), (0, 256 - len(classes)))  # of each byte
        self.by_class = tuple(classes) != CATEGORIES
        self.matrix = np.zeros((IDS, IDS), np.int64)
        self.weighted = {name: np.zeros(2) for name in (*MEAN_SIZES, *INSTANCE_CATEGORIES)}  # pixels found and missed
        self.has_instances = False

    def add(self, truth: np.ndarray, predicted: np.ndarray, instances: np.ndarray | None = None) -> None:
        """Adds an image.

        Args:
            truth: uint8 (height, width), label ids of the ground truth.
            predicted: uint8 of the same shape, class ids.
            instances: integers of the same shape, as in *_instanceIds.png: below 1000 label ids; else 1000 times the
                label id, plus a number.

        Raises:
            ValueError: shapes differ, or truth or instances have a value that is of no label.
        """
        shapes = [array.shape for array in (truth, predicted, instances) if array is not None]
        if len({*shapes}) > 1:
            raise ValueError(f"expected truth, prediction and instances of one shape, got {shapes}")
        label_ids = cv2.LUT(predicted, self.label_ids)
        self.matrix += count_label_ids(truth, label_ids)
        if instances is not None:
            self.has_instances = True
            self.add_instances(instances, label_ids)

    def add_instances(self, instances: np.ndarray, label_ids: np.ndarray) -> None:
        """Adds what is found of each instance, by its class and by its category; arguments as of `add`."""
        there = instances > 1000
        values, predicted = instances[there].astype(np.int64), label_ids[there]
        sizes = np.bincount(values)
        numbers = np.flatnonzero(sizes)
        rows = np.cumsum(sizes > 0) - 1  # of the counts, by instance
        counts = np.bincount(rows[values] * IDS + predicted, minlength=len(numbers) * IDS).reshape(-1, IDS)
        for instance, count in zip(numbers.tolist(), counts, strict=True):
            if instance // 1000 not in BY_ID:
                raise ValueError(f"expected instance ids of 1000 times a label id and a number, got {instance}")
            label = BY_ID[instance // 1000]
            if label.ignore_in_eval:
                continue
            size = count.sum()
            weight = MEAN_SIZES[label.name] / size
            for name, ids in ((label.name, [label.id]), (label.category, INSTANCE_CATEGORIES[label.category])):
                found = count[ids].sum()
                self.weighted[name] += float(found) * weight, float(size - found) * weight

    def result(self) -> dict:
        """Gives the score of all images so far.

        Returns:
            `category_iou`, a category's name -> IoU in 0..1, nan where nothing is of it, and its mean over those that
            have one, `mean_category_iou`; with instances `category_iiou` (human, vehicle) and its mean likewise; of
            the 19 classes the same by class; and `confusion_matrix`, lists (34, 34), rows are ground truth.
        """
        by_category = {name: [id for id in COUNTED_IDS if BY_ID[id].category == name] for name in CATEGORIES}
        result = self.result_by("category", by_category)
        if self.by_class:
            result |= self.result_by("class", {label.name: [label.id] for label in BY_TRAIN_ID})
        return {**result, "confusion_matrix": self.matrix.tolist()}

    def result_by(self, kind: str, ids_by_name: Mapping[str, Sequence[int]]) -> dict:
        """Gives the scores by category or by class, and their means."""
        scores = {f"{kind}_iou": {name: self.iou(ids) for name, ids in ids_by_name.items()}}
        if self.has_instances:
            names = [name for name in ids_by_name if name in self.weighted]
            scores[f"{kind}_iiou"] = {name: self.instance_iou(name) for name in names}
        result = {}
        for name, values in scores.items():
            result |= {name: values, f"mean_{name}": mean(values.values())}
        return result

    def iou(self, ids: Sequence[int]) -> float:
        """TP / (TP + FP + FN) of label ids together."""
        if not ids:
            return math.nan
        others = [id for id in COUNTED_IDS if id not in ids]
        hits = self.matrix[np.ix_(ids, ids)].sum()
        return divide(hits, self.matrix[ids].sum() + self.matrix[np.ix_(others, ids)].sum())

    def instance_iou(self, name: str) -> float:
        """iTP / (iTP + FP + iFN) of a class or category, each instance weighing its class's mean size over its own."""
        ids = INSTANCE_CATEGORIES.get(name) or [label.id for label in BY_TRAIN_ID if label.name == name]
        others = [id for id in COUNTED_IDS if id not in ids]
        found, missed = self.weighted[name].tolist()
        return divide(found, found + float(self.matrix[np.ix_(others, ids)].sum()) + missed)


def label_ids_of(classes: Sequence[str]) -> np.ndarray:
    """Gives the label id that stands for each class in a prediction.

    Args:
        classes: names, in the order of the class ids.

    Returns:
        uint8 (classes,). A category is stood for by the first of its labels that counts, void by "unlabeled".

    Raises:
        ValueError: they are neither the 8 categories nor the 19 classes of the benchmark.
    """
    if tuple(classes) == CATEGORIES:
        firsts = [next((label.id for label in BY_TRAIN_ID if label.category == name), 0) for name in CATEGORIES]
        return np.array(firsts, np.uint8)
    by_name = {label.name: label.id for label in BY_TRAIN_ID}
    if list(classes) in ([*by_name], ["void", *by_name]):
        return np.array([by_name.get(name, 0) for name in classes], np.uint8)
    raise ValueError(
        f"the Cityscapes score is of its 8 categories ({', '.join(CATEGORIES)}) or of its 19 classes by train id; "
        f"got {', '.join(classes)}"
    )


def count_label_ids(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Counts pairs of label ids; ground truth without one counts for nothing.

    Args:
        truth: uint8 (...), label ids, or 255.
        predicted: uint8 of the same shape, label ids.

    Returns:
        int64 (34, 34): rows are ground truth, columns prediction.

    Raises:
        ValueError: a value is no label id.
    """
    counts = np.zeros((256, 256), np.int64)
    for first in range(0, truth.size, EXACT):
        strips = [np.ravel(array)[None, first : first + EXACT] for array in (truth, predicted)]
        counts += cv2.calcHist(strips, [0, 1], None, [256, 256], [0, 256, 0, 256]).astype(np.int64)
    known = counts[:IDS, :IDS]
    if known.sum() + counts[NO_ID].sum() != truth.size:
        rows, columns = np.nonzero(counts)
        wrong = {*rows.tolist(), *columns.tolist()} - {*range(IDS), NO_ID}
        raise ValueError(f"expected label ids in 0..{IDS - 1}, got {sorted(wrong)}")
    return known


def divide(hits: float, total: float) -> float:
    """Divides; nan where there is nothing to divide by."""
    return float(hits) / float(total) if total else math.nan


def mean(values: Iterable[float]) -> float:
    """Gives the mean of those that are numbers; nan if none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan
