"""Scores masks against ground truth: by the classes of the records, and on Cityscapes by its official rule."""

from collections.abc import Sequence

import numpy as np

from tfseg.evaluation.ground_truth import Example
from tfseg.metrics.cityscapes import OfficialScore
from tfseg.records.labels import VOID
from tfseg.records.record_set import RecordSet
from tfseg.records.records import keeps_label_ids


class Judge:
    """Gathers the masks of a split and scores them.

    Args:
        records: where the ground truth is from.
        split: their split.
        classes: names of the classes of the masks.
        ignore_class: id of the class whose ground truth counts nowhere; None where void was learned and counts.

    Attributes:
        pixels: scores by the classes of the records; None if the masks have others.
        official: scores by the rule of Cityscapes; None elsewhere.
        ids: of the images so far.

    Raises:
        ValueError: masks of these classes cannot be scored on these records.
    """

    def __init__(self, records: RecordSet, split: str, classes: Sequence[str], ignore_class: int | None = VOID):
        from tfseg.metrics.segmentation import PixelScores  # imports Keras

        self.pixels = PixelScores(classes, ignore_class) if [*classes] == records.classes else None
        self.official = make_official(records, split, classes)
        self.records, self.ids = records, []
        if not (self.pixels or self.official):
            raise ValueError(
                f"predicts the classes {', '.join(classes)}, and {records} has {', '.join(records.classes)}; "
                "score it on records of its own classes"
            )

    def add(
        self,
        example: Example,
        mask: np.ndarray,
        probabilities: np.ndarray | None = None,
        instances: np.ndarray | None = None,
    ) -> None:
        """Adds an image.

        Args:
            example: its ground truth.
            mask: (H, W) uint8, predicted class ids.
            probabilities: (H, W, classes) float32 in 0..1, where they are known.
            instances: (H, W) integers as in *_instanceIds.png, where they are wanted.

        Raises:
            ValueError: the arrays differ in size, or hold values that are of no class; or the raw mask is missing.
        """
        self.ids.append(example.id)
        if self.pixels:
            self.pixels.add_mask(mask, example.truth, probabilities)
        if self.official:
            if example.label_ids is None:
                raise ValueError(f"{self.records}: {example.id} has no raw mask (label_ids/encoded)")
            self.official.add(example.label_ids, mask, instances)

    def result(self) -> dict:
        """Gives the scores of all images so far, as they are written to scores-SPLIT.json."""
        scores = self.pixels.result() if self.pixels else {}
        return {**scores, "official": self.official.result()} if self.official else scores

    @property
    def matrices(self) -> np.ndarray | None:
        """int64 (images, classes, classes), the confusion matrix of each image, rows are ground truth."""
        return np.array(self.pixels.matrices) if self.pixels else None


def make_official(records: RecordSet, split: str, classes: Sequence[str]) -> OfficialScore | None:
    """Makes what scores by the official rule, if records and classes are of Cityscapes, and label ids are kept."""
    if not (records.manifest.source.startswith("cityscapes") and keeps_label_ids(split)):
        return None
    try:
        return OfficialScore(classes)
    except ValueError:
        return None
