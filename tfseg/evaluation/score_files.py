"""What an evaluation leaves: scores-SPLIT.json and the confusion matrix of each image in matrices-SPLIT.npz."""

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfseg.inference.tta import InferenceSettings
from tfseg.io import command
from tfseg.io.atomic import write_json, write_whole
from tfseg.io.escaping import printable, shorten
from tfseg.io.outputs import write_alone
from tfseg.metrics.scores import Scores
from tfseg.runs import run_dir
from tfseg.visualization.scores import read_scores as read_scores_file

SCORES, MATRICES = "scores-{}.json", "matrices-{}.npz"  # of a split


@dataclass(frozen=True)
class Evaluation:
    """What was found on a split.

    Attributes:
        split: its name.
        records: where they are, from the root on.
        content: of scores-SPLIT.json; empty of a split without ground truth.
        ids: of the images, in the manifest's order.
        matrices: int64 (images, classes, classes), the confusion matrix of each image, rows are ground truth; None
            where the classes are others than those of the records.
        notes: what the reader should know of how it was scored.
        palette: (classes, 3) RGB, integers 0..255, the colours of the classes; None where they are not known.
    """

    split: str
    records: str
    content: dict = field(repr=False)
    ids: list[str] = field(repr=False)
    matrices: np.ndarray | None = field(repr=False)
    notes: tuple[str, ...] = ()
    palette: np.ndarray | None = field(default=None, repr=False)

    @property
    def scores(self) -> Scores | None:
        """The scores of masks of the ground truth's size; None of a split without ground truth."""
        return Scores.from_dict(self.content, self.palette) if self.content else None

    @property
    def official(self) -> dict | None:
        """The official score of Cityscapes, as of `cityscapes.OfficialScore`; None of other data sets."""
        return self.content.get("official")

    def to_dict(self) -> dict:
        """Gives the content of scores-SPLIT.json."""
        return self.content

    def _repr_html_(self) -> str | None:
        """Shows itself in a notebook: its scores."""
        return self.scores._repr_html_() if self.scores else None


def write_scores(evaluation: Evaluation, folder: Path) -> None:
    """Writes both files into a folder, which is made; raises OSError where that cannot be done."""
    folder.mkdir(parents=True, exist_ok=True)
    with write_alone(folder):
        write_json(evaluation.content, folder / SCORES.format(evaluation.split))
        if evaluation.matrices is not None:
            path = folder / MATRICES.format(evaluation.split)
            with write_whole(path) as unfinished, unfinished.open("wb") as file:
                np.savez_compressed(file, ids=evaluation.ids, matrices=evaluation.matrices)


def is_scored(run: Path, split: str) -> bool:
    """Whether a run folder has scores and matrices of a split, none older than its SavedModel, if that is there.

    Scores of masks of the network's size, as they were once, do not count.
    """
    scores, matrices = paths = [run / name.format(split) for name in (SCORES, MATRICES)]
    if not (scores.is_file() and matrices.is_file()):
        return False
    text = scores.read_text(encoding="utf-8", errors="replace")
    if '"confusion_matrix"' in text and '"resize"' not in text:
        return False
    model = run / run_dir.SAVED_MODEL / "saved_model.pb"
    return not model.is_file() or model.stat().st_mtime <= min(path.stat().st_mtime for path in paths)


def read_scores(run: Path, split: str) -> tuple[dict, np.ndarray, np.ndarray]:
    """Reads both files from a run folder.

    Returns:
        The content of scores-SPLIT.json; ids of the images, strings (images,), and their confusion matrices, int64
        (images, classes, classes), in the order in which they were scored.

    Raises:
        ValueError: a file is damaged.
        OSError: a file is missing or cannot be read.
    """
    paths = [run / name.format(split) for name in (SCORES, MATRICES)]
    try:
        scores = read_scores_file(paths[0], ("classes", "resize", "inference"))
        InferenceSettings.from_json(scores["inference"])
        with np.load(paths[1]) as arrays:
            ids, matrices = arrays["ids"], arrays["matrices"]
        check_matrices(ids, matrices)
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        remedy = f"make them again by {command.program('evaluate')} --run {printable(run)} --split {printable(split)}"
        places = ", ".join(map(printable, paths))
        raise ValueError(f"{places}: one is damaged ({shorten(error, 400)}); {remedy}") from None
    return scores, ids, matrices


def check_matrices(ids: np.ndarray, matrices: np.ndarray) -> None:
    """Raises ValueError unless arrays are ids of images, and a confusion matrix of each."""
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(f"ids: expected names, got {ids.dtype} {list(ids.shape)}")
    if matrices.shape != (len(ids), *matrices.shape[-1:] * 2) or matrices.dtype.kind not in "iu":
        wanted = f"[{len(ids)}, classes, classes]"
        raise ValueError(f"matrices: expected integers {wanted}, got {matrices.dtype} {list(matrices.shape)}")
    if matrices.size and matrices.min() < 0:
        raise ValueError("matrices: expected numbers of pixels, got some below 0")
