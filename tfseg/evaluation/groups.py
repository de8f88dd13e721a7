"""Groups of runs that differ in their seed alone, and what they scored: means over seeds, with intervals.

A run that stands by itself is a group of one, of which nothing is known of how seeds differ.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.config.checks import show
from tfseg.config.schema import Config
from tfseg.evaluation.scored_run import ScoredRun, open_scored_run
from tfseg.io import command
from tfseg.io.escaping import shorten
from tfseg.metrics.bootstrap import count_pixels, draw_scores, iou_and_mean
from tfseg.metrics.seeds import deviation_over_seeds, interval_over_seeds, mean_over_seeds
from tfseg.runs import repeat_dir, run_dir


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
class SeedScores:
    """What each seed of a group scored: IoU, shares, or nan; null in JSON.

    Attributes:
        seeds: of the runs.
        iou: of each seed, one a class.
        mean_iou: of each seed.
        iou_deviation: of each class, over the seeds, by n - 1; nan of a single one.
        mean_iou_deviation: that of the mean.
    """

    seeds: list[int]
    iou: list[list[float]]
    mean_iou: list[float]
    iou_deviation: list[float]
    mean_iou_deviation: float

    @classmethod
    def from_dict(cls, entry: dict) -> "SeedScores":
        """Reads an entry of compare.json or repeat.json."""
        return cls(**{field.name: numbers_of(entry[field.name]) for field in dataclasses.fields(cls)})


@dataclass(frozen=True)
class ComparedRun:
    """A run, or a group of runs that differ in their seed, beside others.

    Attributes:
        name: in tables.
        folder: of the run, or of the repeat.
        scores: of the run, or means over seeds.
        difference: to the first run or group.
        of_seeds: what each seed of a group scored; None: it is a single run.
    """

    name: str
    folder: Path
    scores: IouScores
    difference: IouScores | None = None
    of_seeds: SeedScores | None = None

    @property
    def runs(self) -> dict[str, Path]:
        """Run folders by name."""
        if self.of_seeds is None:
            return {self.name: self.folder}
        return {f"{self.name}, seed {seed}": repeat_dir.run_of(self.folder, seed) for seed in self.of_seeds.seeds}

    @classmethod
    def from_dict(cls, entry: dict) -> "ComparedRun":
        """Reads an entry of compare.json."""
        change, seeds = entry.get("difference"), entry.get("seeds")
        return cls(
            name=entry["name"],
            folder=Path(entry["folder"]),
            scores=IouScores.from_dict(entry),
            difference=IouScores.from_dict(change) if change else None,
            of_seeds=SeedScores.from_dict(seeds) if seeds else None,
        )

    def to_dict(self) -> dict:
        """Gives it as in compare.json."""
        entry = {"name": self.name, "folder": str(self.folder), **dataclasses.asdict(self.scores)}
        entry |= {"seeds": dataclasses.asdict(self.of_seeds)} if self.of_seeds else {}
        return entry | ({"difference": dataclasses.asdict(self.difference)} if self.difference else {})


def numbers_of(values: Any) -> Any:
    """Gives numbers of JSON, or lists of them, with nan for null."""
    if isinstance(values, list):
        return [numbers_of(value) for value in values]
    return math.nan if values is None else values


@dataclass(frozen=True)
class ScoredGroup:
    """Runs that differ in their seed, or a single run, with their scores on a split.

    Attributes:
        folder: of the repeat, or of the run.
        runs: with their images sorted by id.
        seeds: of the runs; None: it is a single run.
    """

    folder: Path
    runs: list[ScoredRun]
    seeds: list[int] | None = None

    @property
    def settings(self) -> Config:
        """Of the first run; the others differ from it in `train.seed`."""
        return self.runs[0].config


def list_seeds(folder: Path) -> list[int] | None:
    """Lists the seeds of a repeat whose trainings have ended; None: the folder is not that of a repeat.

    Raises:
        FileNotFoundError: none has ended.
    """
    if not repeat_dir.is_repeat(folder):
        return None
    if not (seeds := repeat_dir.list_ended(folder)):
        raise FileNotFoundError(f"{folder}: no training of this repeat has ended; the command that began it resumes it")
    return seeds


def list_runs(folder: Path) -> list[Path]:
    """Lists the runs of a repeat that have ended; of any other folder, itself.

    Raises:
        FileNotFoundError: as of `list_seeds`.
        ValueError: its runs differ in more than their seed.
    """
    seeds = list_seeds(folder)
    if seeds is None:
        return [folder]
    runs = [repeat_dir.run_of(folder, seed) for seed in seeds]
    first, *others = map(list_settings, runs)
    for run, settings in zip(runs[1:], others, strict=True):
        if changed := run_dir.list_changes(first, settings):
            raise ValueError(f"{run}: is no repeat of {runs[0]}, it has other settings ({changed}); move it away")
    return runs


def list_settings(run: Path) -> dict[str, object]:
    """The settings that runs of a repeat have in common; records are the same wherever they lie."""
    settings, noted = run_dir.list_lasting(run_dir.read_config(run)), run_dir.read_noted(run)
    records = f"manifest.json {noted['manifest'][:12]}" if noted else settings["data.records"]
    return settings | {"train.seed": None, "data.records": records}


def open_group(folder: Path, split: str | None = None) -> ScoredGroup:
    """Reads the scores of a run, or of the runs of a repeat that have ended; those without are scored first.

    Args:
        folder: of the run, or of the repeat.
        split: its name; None: the validation split.

    Raises:
        ValueError, OSError: as of `list_runs` and `scored_run.open_scored_run`.
    """
    runs = [sort_by_id(open_scored_run(run, split)) for run in list_runs(folder)]
    return ScoredGroup(folder, runs, list_seeds(folder))


def sort_by_id(run: ScoredRun) -> ScoredRun:
    """Sorts the images of a run by their ids."""
    order = np.argsort(run.ids)
    return dataclasses.replace(run, ids=run.ids[order], matrices=run.matrices[order])


def check_groups(groups: Sequence[ScoredGroup]) -> None:
    """Raises ValueError unless all runs of all groups can be compared, see `check_alike`."""
    runs = [run for group in groups for run in group.runs]
    for run in runs[1:]:
        check_alike(runs[0], run)
    for run in runs:
        run.check_classes(run.scores["classes"])


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


def measure(groups: Sequence[ScoredGroup], ignore_class: int | None) -> list[ComparedRun]:
    """Scores groups, with intervals over images, and seeds where there are several, and differences to the first."""
    matrices = np.stack([run.matrices for group in groups for run in group.runs], axis=1)
    scores = iou_and_mean(count_pixels(matrices.sum(axis=0), ignore_class), ignore_class)
    draws = draw_scores(matrices, ignore_class=ignore_class)
    starts = np.cumsum([len(group.runs) for group in groups])[:-1]
    of_runs = np.split(scores, starts)  # each (seeds, classes + 1)
    drawn = [mean_over_seeds(part, axis=1) for part in np.split(draws, starts, axis=1)]
    measured = []
    for index, (group, name) in enumerate(zip(groups, name_runs([group.folder for group in groups]), strict=True)):
        own = summarize(mean_over_seeds(of_runs[index]), drawn[index], [of_runs[index]])
        change = mean_over_seeds(of_runs[index]) - mean_over_seeds(of_runs[0])
        both = [of_runs[index], of_runs[0]]
        difference = summarize(change, drawn[index] - drawn[0], both, least=-1) if index else None
        of_seeds = name_scores(group.seeds, of_runs[index]) if group.seeds is not None else None
        measured.append(ComparedRun(name, group.folder, own, difference, of_seeds))
    return measured


def summarize(scores: np.ndarray, draws: np.ndarray, groups: Sequence[np.ndarray], least: float = 0) -> IouScores:
    """Gives scores, or differences of scores, their names and intervals.

    Args:
        scores: float64 (classes + 1,), means over seeds of what `bootstrap.iou_and_mean` gives.
        draws: float64 (draws, classes + 1), the same on each draw of images.
        groups: float64 (seeds, classes + 1), the scores that the means, or the differences of means, are made of.
        least: that they can be: 0, or -1 for differences; the most is 1.
    """
    *iou, mean = scores.tolist()
    columns = [[group[:, column] for group in groups] for column in range(len(scores))]
    intervals = np.clip(list(map(interval_over_seeds, [*iou, mean], draws.T, columns)), least, 1).tolist()
    return IouScores(iou, mean, intervals[:-1], intervals[-1])


def name_scores(seeds: Sequence[int], scores: np.ndarray) -> SeedScores:
    """Gives the scores (seeds, classes + 1) of runs and their deviations their names."""
    *deviations, of_mean = map(deviation_over_seeds, scores.T)
    return SeedScores([*seeds], scores[:, :-1].tolist(), scores[:, -1].tolist(), deviations, of_mean)


def name_runs(folders: Sequence[Path]) -> list[str]:
    """The names of folders, or where two are alike, their whole paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))
