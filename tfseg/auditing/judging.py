"""A model that looks at each image of the records once: what it says of the ground truth, summed up or cut out."""

import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.auditing.alignment import Shift, shift_mask
from tfseg.auditing.reading import Image
from tfseg.auditing.regions import Region, find_regions, predict, simulate
from tfseg.records.labels import VOID
from tfseg.records.record_set import RecordSet, check_pixels

Segment = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Model:
    """A model as an audit needs it.

    Attributes:
        name: its folder, for messages.
        segment: uint8 RGB (H, W, 3) -> float32 probabilities (H, W, C) of the classes of the records.
        learns_void: whether void is a class that it learned.
    """

    name: str
    segment: Segment
    learns_void: bool = False


class Judgement(NamedTuple):
    """What a model says of one image."""

    split: str
    id: str
    regions: list[Region]
    simulated: Region | None  # of an object that was given another class on purpose, if there was one and it shows
    agreement: tuple[float, float] | None  # share of agreeing pixels of the mask as it is, and shifted; None: no shift


class ClassSums:
    """Sums of a model's confidence over images, by the class of the ground truth."""

    def __init__(self, classes: int):
        self.confidence = np.zeros(classes)
        self.pixels = np.zeros(classes, np.int64)

    def add(self, probabilities: np.ndarray, mask: np.ndarray) -> None:
        """Adds an image: float32 (H, W, C), uint8 (H, W)."""
        flat = mask.ravel()
        own = np.take_along_axis(probabilities.reshape(len(flat), -1), flat[:, np.newaxis].astype(np.int64), axis=1)
        self.confidence += np.bincount(flat, weights=own[:, 0], minlength=len(self.confidence))
        self.pixels += np.bincount(flat, minlength=len(self.pixels))

    @property
    def thresholds(self) -> np.ndarray:
        """Mean probability of each class where the ground truth has it: float64 (C,), 1 for a class without pixels.

        A model that is never sure of a class is taken at its word sooner there (Northcutt et al. 2021).
        """
        return np.where(self.pixels > 0, self.confidence / np.maximum(self.pixels, 1), 1.0)


def open_model(path: str | Path, records: RecordSet) -> Model:
    """Loads a model and checks that its classes are those of the records.

    Args:
        path: folder of a run or of a SavedModel.
        records: what it is to look at.

    Raises:
        FileNotFoundError: there is no model.
        ValueError: it is damaged, or it predicts other classes.
    """
    from tfseg.inference.labels_file import learns_void, read_labels, read_pixels
    from tfseg.inference.model_folder import LABELS, find_model
    from tfseg.inference.predictor import load_segmenter

    directory = find_model(Path(path))
    classes, _ = read_labels(directory / LABELS)  # before TensorFlow is loaded
    if classes != records.classes:
        raise ValueError(
            f"{path}: predicts the classes {', '.join(classes)}, and {records} has {', '.join(records.classes)}; "
            "audit with a model of the records' own classes"
        )
    check_pixels(read_pixels(directory / LABELS), records, path)
    _, segmenter = load_segmenter(Path(path))

    def segment(pixels: np.ndarray) -> np.ndarray:
        probabilities = segmenter.probabilities(segmenter.prepare(pixels)[np.newaxis])[0]
        return (
            probabilities
            if probabilities.shape[:2] == pixels.shape[:2]
            else segmenter.enlarge(probabilities, pixels.shape[:2])
        )

    return Model(str(path), segment, learns_void(directory / LABELS))


def judge_images(
    model: Model, images: Iterable[Image], shifts: dict[tuple[str, str], Shift], sums: ClassSums
) -> Iterable[Judgement]:
    """Has a model look at images, one at a time.

    Args:
        model: which looks.
        images: with their ground truth.
        shifts: (split, id) -> how a mask should move by the edges of its image; these are tried.
        sums: to which each image is added.

    Yields:
        A judgement of each image.
    """
    for image in images:
        probabilities = model.segment(image.pixels)
        sums.add(probabilities, image.mask)
        random = np.random.default_rng(zlib.crc32(f"{image.split}/{image.id}".encode(errors="surrogateescape")))
        simulated = simulate(probabilities, image.mask, random, model.learns_void)
        shift = shifts.get((image.split, image.id))
        yield Judgement(
            image.split,
            image.id,
            find_regions(probabilities, image.mask, model.learns_void),
            simulated,
            None if shift is None else compare_shift(predict(probabilities, model.learns_void), image.mask, shift),
        )


def compare_shift(predicted: np.ndarray, mask: np.ndarray, shift: Shift) -> tuple[float, float]:
    """Gives the shares of pixels at which a mask agrees with a prediction, as it is and shifted; void is left out."""
    return _agreement(predicted, mask), _agreement(predicted, shift_mask(mask, shift.down, shift.right))


def _agreement(predicted: np.ndarray, mask: np.ndarray) -> float:
    known = mask != VOID
    return float((predicted == mask)[known].mean()) if known.any() else 0.0
