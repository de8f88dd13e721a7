"""A run together with its scores on a split, as report and comparison need them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.config.schema import Config
from tfseg.evaluation.evaluator import evaluate_run
from tfseg.evaluation.score_files import Evaluation, is_scored, read_scores
from tfseg.io.escaping import printable
from tfseg.runs import run_dir


@dataclass(frozen=True)
class ScoredRun:
    """A run and what came of its evaluation on a split.

    Attributes:
        folder: the run folder.
        config: its settings.
        split: the split.
        scores: the content of scores-SPLIT.json.
        ids: strings (images,), in the order in which they were scored.
        matrices: int64 (images, classes, classes), the confusion matrices of these images.
        evaluation: what was found if the run had to be scored first, else None.
    """

    folder: Path
    config: Config
    split: str
    scores: dict
    ids: np.ndarray
    matrices: np.ndarray
    evaluation: Evaluation | None = None

    def check_classes(self, classes: Sequence[str]) -> None:
        """Raises ValueError unless these are the classes of the scores, and the matrices have as many."""
        if self.scores["classes"] != [*classes] or self.matrices.shape[-1] != len(classes):
            found = f"{len(self.scores['classes'])} classes and matrices of {self.matrices.shape[-1]}"
            raise ValueError(
                f"{self.folder}: its scores of {printable(self.split)} have {found}, expected {len(classes)} of the "
                "model's names; score the run again"
            )


def open_scored_run(folder: Path, split: str | None = None) -> ScoredRun:
    """Reads what evaluation left in a run folder; evaluates first if that is not there, or older than the SavedModel.

    Args:
        folder: the run folder.
        split: its name; None: the run's validation split.

    Raises:
        ValueError: a file is damaged, or as of `evaluator.evaluate_run`.
        OSError: the folder holds no run, or as of `evaluator.evaluate_run`.
    """
    config = run_dir.read_config(folder)
    split = split or config.data.val_split
    evaluation = None if is_scored(folder, split) else evaluate_run(folder, split=split)
    return ScoredRun(folder, config, split, *read_scores(folder, split), evaluation=evaluation)
