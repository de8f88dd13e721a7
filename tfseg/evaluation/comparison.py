"""Compares runs that were scored on the same images.

IoU side by side, differences to the first run with intervals by bootstrap over the images (see `bootstrap`), and the
settings in which they differ. The intervals say what other images might have changed; of what another seed of the
training might, they say nothing.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.config.checks import show
from tfseg.config.schema import Config, list_settings
from tfseg.evaluation.score_files import Evaluation
from tfseg.evaluation.scored_run import ScoredRun, open_scored_run
from tfseg.io import command
from tfseg.io.escaping import shorten
from tfseg.metrics.bootstrap import DRAWS, count_pixels, draw_scores, interval, iou_and_mean
from tfseg.records.labels import VOID
from tfseg.runs import run_dir

# Settings that say nothing of what is trained.
NO_MATTER = ("run_dir", "overwrite", "quiet", "log.")


@dataclass(frozen=True)
class IouScores:
    """IoU with intervals, or differences of IoU: shares, or nan; null in JSON.

    Attributes:
        iou: one a class.
        mean_iou: their mean.
        iou_intervals: [low, high] of each class.
        mean_iou_interval: that of the mean.
    """

    iou: list[float]
    mean_iou: float
    iou_intervals: list[list[float]]
    mean_iou_interval: list[float]

    @classmethod
    def from_dict(cls, entry: dict) -> "IouScores":
        """Reads an entry of compare.json."""
        return cls(**{field.name: numbers_of(entry[field.name]) for field in dataclasses.fields(cls)})


@dataclass(frozen=True)
class ComparedRun:
    """A run beside others: its name in tables, its folder, its scores, and their difference to the first run's."""

    name: str
    folder: Path
    scores: IouScores
    difference: IouScores | None = None

    @classmethod
    def from_dict(cls, entry: dict) -> "ComparedRun":
        """Reads an entry of compare.json."""
        change = entry.get("difference")
        scores = IouScores.from_dict(entry)
        return cls(entry["name"], Path(entry["folder"]), scores, IouScores.from_dict(change) if change else None)

    def to_dict(self) -> dict:
        """Gives it as in compare.json."""
        entry = {"name": self.name, "folder": str(self.folder), **dataclasses.asdict(self.scores)}
        return entry | ({"difference": dataclasses.asdict(self.difference)} if self.difference else {})


def numbers_of(values: Any) -> Any:
    """Gives numbers of JSON, or lists of them, with nan for null."""
    if isinstance(values, list):
        return [numbers_of(value) for value in values]
    return math.nan if values is None else values


@dataclass(frozen=True)
class Comparison:
    """What sets runs apart.

    Attributes:
        split: on which they were scored.
        classes: names of the classes.
        ignore_class: id of the class that counts nowhere, void; None: it counts, which it does if all runs learn it.
        images: how many there are.
        draws: of the bootstrap.
        runs: one by one, the first is the baseline.
        settings: dotted key -> its value in each run, where they differ.
        evaluations: of the runs that had to be scored first.
    """

    split: str
    classes: list[str]
    ignore_class: int | None
    images: int
    draws: int
    runs: list[ComparedRun]
    settings: dict[str, list]
    evaluations: list[Evaluation] = field(default_factory=list)

    @classmethod
    def from_dict(cls, content: dict) -> "Comparison":
        """Reads the content of compare.json."""
        return cls(
            split=content["split"],
            classes=content["classes"],
            ignore_class=None if content.get("learn_void") else VOID,
            images=content["pictures"],
            draws=content["draws"],
            runs=[ComparedRun.from_dict(entry) for entry in content["runs"]],
            settings=content["settings"],
        )

    def to_dict(self) -> dict:
        """Gives the content of compare.json."""
        return {
            "split": self.split,
            "classes": self.classes,
            "learn_void": self.ignore_class is None,
            "pictures": self.images,
            "draws": self.draws,
            "runs": [run.to_dict() for run in self.runs],
            "settings": self.settings,
        }


def compare_runs(folders: Sequence[str | Path], split: str | None = None) -> Comparison:
    """Compares runs; those that were not scored yet, or before their SavedModel was written, are scored first.

    Args:
        folders: of the runs, the first is the baseline.
        split: on which; None: the validation split of them all.

    Raises:
        ValueError: fewer than two runs, or such as cannot be compared: see `check_alike`.
        OSError: a folder holds no run, or what it lacks cannot be made.
    """
    folders = [Path(folder) for folder in folders]
    check_folders(folders)
    configs = [run_dir.read_config(folder) for folder in folders]
    split = choose_split(folders, configs, split)
    runs = [sort_by_id(open_scored_run(folder, split)) for folder in folders]
    for run in runs[1:]:
        check_alike(runs[0], run)
    for run in runs:
        run.check_classes(run.scores["classes"])
    ignore_class = choose_ignored(configs)
    return Comparison(
        split=split,
        classes=runs[0].scores["classes"],
        ignore_class=ignore_class,
        images=len(runs[0].ids),
        draws=DRAWS,
        runs=measure(runs, ignore_class),
        settings=list_differences(configs),
        evaluations=[run.evaluation for run in runs if run.evaluation],
    )


def check_folders(folders: Sequence[Path]) -> None:
    """Raises ValueError unless there are two or more folders, each given once."""
    if len(folders) < 2:
        raise ValueError(f"expected two or more runs to compare, got {len(folders)}")
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{folder}: is given twice; a run compared with itself does not differ")


def choose_split(folders: Sequence[Path], configs: Sequence[Config], split: str | None) -> str:
    """Gives the split that is asked for, else that on which all runs were validated."""
    if split:
        return split
    splits = [config.data.val_split for config in configs]
    if len(set(splits)) > 1:
        words = ", ".join(f"{folder} on {name}" for folder, name in zip(folders, splits, strict=True))
        raise ValueError(f"the runs were validated on different splits ({words}); choose one by --split")
    return splits[0]


def sort_by_id(run: ScoredRun) -> ScoredRun:
    """Sorts the images of a run by their ids."""
    order = np.argsort(run.ids)
    return dataclasses.replace(run, ids=run.ids[order], matrices=run.matrices[order])


def check_alike(first: ScoredRun, run: ScoredRun) -> None:
    """Raises ValueError unless two runs predict the same classes and were scored alike, against the same masks.

    Masks of another size are refused, too: small ones lack the thin things that are hard to find, so that a difference
    of scores would be one of the masks.
    """
    classes, others = run.scores["classes"], first.scores["classes"]
    if classes != others:
        names, of_first = (shorten(", ".join(names), 1000) for names in (classes, others))
        raise ValueError(f"{run.folder}: predicts the classes {names}, and {first.folder} {of_first}")
    inference, other = run.scores["inference"], first.scores["inference"]
    if inference != other:
        raise ValueError(
            f"{run.folder}: was scored by {show(inference)}, and {first.folder} by {show(other)}; "
            f"score both alike by {command.program('evaluate')} --run"
        )
    if strangers := sorted({*run.ids} ^ {*first.ids}):
        raise ValueError(
            f"{run.folder}: was scored on {len(run.ids)} images and {first.folder} on {len(first.ids)}; "
            f"{len(strangers)} are not in both, such as {shorten(strangers[0])}"
        )
    pixels = (one.matrices.sum(axis=-1) for one in (first, run))
    differs = np.not_equal(*pixels).any(axis=-1)
    if differs.any():
        raise ValueError(
            f"{run.folder}: was scored on other masks ({describe_masks(run)}) than {first.folder} "
            f"({describe_masks(first)}); {differs.sum()} differ, such as that of {shorten(run.ids[differs][0])}. Score "
            f"both on the same by {command.program('evaluate')} --run DIR --records DIR"
        )


def describe_masks(run: ScoredRun) -> str:
    """Says how large the masks of a run are."""
    pixels = np.unique(run.matrices.sum(axis=(1, 2)))
    return " to ".join(map(str, pixels[[0, -1]])) + " pixels"


def choose_ignored(configs: Sequence[Config]) -> int | None:
    """Gives the class that counts in no run's scores: void, unless all runs learn it."""
    return None if all(config.loss.ignore_class is None for config in configs) else VOID


def measure(runs: Sequence[ScoredRun], ignore_class: int | None) -> list[ComparedRun]:
    """Scores runs, with intervals, and their differences to the first."""
    matrices = np.stack([run.matrices for run in runs], axis=1)
    scores = iou_and_mean(count_pixels(matrices.sum(axis=0), ignore_class), ignore_class)
    draws = draw_scores(matrices, ignore_class=ignore_class)
    names = name_runs([run.folder for run in runs])
    measured = []
    for index, (run, name) in enumerate(zip(runs, names, strict=True)):
        own = summarize(scores[index], draws[:, index])
        change = summarize(scores[index] - scores[0], draws[:, index] - draws[:, 0]) if index else None
        measured.append(ComparedRun(name, run.folder, own, change))
    return measured


def summarize(scores: np.ndarray, draws: np.ndarray) -> IouScores:
    """Gives scores, or differences of scores, their names and intervals.

    Args:
        scores: float64 (classes + 1,), as of `bootstrap.iou_and_mean`.
        draws: float64 (draws, classes + 1), the same on each draw.
    """
    *iou, mean = scores.tolist()
    *intervals, of_mean = map(interval, draws.T)
    return IouScores(iou, mean, intervals, of_mean)


def name_runs(folders: Sequence[Path]) -> list[str]:
    """The names of folders, or where two are alike, their whole paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))


def list_differences(configs: Sequence[Config]) -> dict[str, list]:
    """Lists the settings, by dotted key, that are not the same in all runs, with the value in each."""
    settings = [list_settings(config) for config in configs]
    values = {key: [one[key] for one in settings] for key in settings[0] if not key.startswith(NO_MATTER)}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}
