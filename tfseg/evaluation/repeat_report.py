"""What came of a repeat, a training with several seeds: repeat.json and repeat.md in its folder.

Scores are of masks of the ground truth's size, as of `evaluator`. Each is the mean over the seeds that have ended, with
their standard deviation, an interval over seeds and images together (see `seeds`), and the scores of each seed.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.evaluation.comparison import choose_ignored
from tfseg.evaluation.comparison_page import write_interval
from tfseg.evaluation.groups import IouScores, SeedScores, check_groups, measure, open_group
from tfseg.evaluation.score_files import Evaluation
from tfseg.io.atomic import write_json, write_text
from tfseg.io.escaping import markdown
from tfseg.io.json_reader import read_json
from tfseg.metrics.bootstrap import DRAWS, LEVEL
from tfseg.runs import repeat_dir, run_dir
from tfseg.runs.contents import PAGE, SUMMARY
from tfseg.visualization.curves import read_history
from tfseg.visualization.tables import percent, table


@dataclass(frozen=True)
class SeedTraining:
    """The training of a seed: its epochs, the best of them, and the seconds that they took; None: not known."""

    seed: int
    epochs: int
    best_epoch: int | None
    seconds: float | None


@dataclass(frozen=True)
class Failure:
    """A training that did not end: its exit code, negative for the signal that ended it, and what it said last."""

    seed: int
    exit_code: int
    message: str


@dataclass(frozen=True)
class RepeatReport:
    """What came of a repeat.

    Attributes:
        split: on which its seeds were scored.
        classes: names of the classes.
        ignore_class: id of the class that counts nowhere, void; None: it counts.
        images: how many the split has.
        folder: of the repeat.
        scores: means over the seeds, with intervals.
        seeds: what each seed scored, and the deviations.
        trainings: of the seeds that have ended.
        failures: of those that have not.
        evaluations: of the runs that had to be scored first.
    """

    split: str
    classes: list[str]
    ignore_class: int | None
    images: int
    folder: Path
    scores: IouScores
    seeds: SeedScores
    trainings: list[SeedTraining]
    failures: Sequence[Failure] = ()
    evaluations: list[Evaluation] = field(default_factory=list)

    def to_dict(self) -> dict:
        """Gives the content of repeat.json."""
        return {
            "split": self.split,
            "classes": self.classes,
            "learn_void": self.ignore_class is None,
            "images": self.images,
            "draws": DRAWS,
            "folder": str(self.folder),
            **dataclasses.asdict(self.scores),
            "seeds": dataclasses.asdict(self.seeds),
            "trainings": [dataclasses.asdict(training) for training in self.trainings],
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
        }


def report_repeat(folder: str | Path, split: str | None = None, failures: Sequence[Failure] = ()) -> RepeatReport:
    """Sums up the seeds of a repeat that have ended, and writes repeat.json and repeat.md into its folder.

    Seeds that were not scored yet, or before their SavedModel was written, are scored first.

    Args:
        folder: of the repeat.
        split: on which; None: the validation split of its runs.
        failures: the trainings that did not end.

    Raises:
        ValueError: its runs differ in more than their seed, or were not scored alike, or a file is damaged.
        OSError: no training has ended, what a run lacks cannot be made, or a file cannot be written.
    """
    folder = Path(folder)
    report = sum_up(folder, split, failures)
    write_json(report.to_dict(), folder / SUMMARY)
    write_text(lay_out(report) + "\n", folder / PAGE)
    return report


def sum_up(folder: Path, split: str | None, failures: Sequence[Failure]) -> RepeatReport:
    """Does what `report_repeat` says, without writing files."""
    group = open_group(folder, split)
    check_groups([group])
    first, ignore_class = group.runs[0], choose_ignored([group.settings])
    measured = measure([group], ignore_class)[0]
    if measured.of_seeds is None:
        raise ValueError(f"{folder}: is the folder of a run, expected that of a repeat")
    return RepeatReport(
        split=first.split,
        classes=first.scores["classes"],
        ignore_class=ignore_class,
        images=len(first.ids),
        folder=folder,
        scores=measured.scores,
        seeds=measured.of_seeds,
        trainings=[read_training(folder, seed) for seed in measured.of_seeds.seeds],
        failures=failures,
        evaluations=[run.evaluation for run in group.runs if run.evaluation],
    )


def read_training(folder: Path, seed: int) -> SeedTraining:
    """Reads how long the training of a seed took, by history.csv, where the time of all its starts adds up."""
    run = repeat_dir.run_of(folder, seed)
    history = read_history(run / run_dir.HISTORY)
    best = read_json(run / run_dir.METRICS).get("epoch")
    seconds = round(sum(history["seconds"]), 1) if "seconds" in history else None
    return SeedTraining(seed, int(max(history["epoch"])), best, seconds)


def lay_out(report: RepeatReport) -> str:
    """Lays a report out as Markdown: scores, what they are, the trainings, and those that failed."""
    parts = [scores_table(report), describe(report), trainings_table(report.trainings)]
    if report.failures:
        parts.append("\n".join(f"* {markdown(describe_failure(failure))}" for failure in report.failures))
    return "\n\n".join(parts)


def scores_table(report: RepeatReport) -> str:
    """A row a class, then the mean: mean over seeds, deviation, interval, and a column a seed."""
    scores, seeds = report.scores, report.seeds
    rows = [["IoU %", "mean", "deviation", f"{LEVEL} % interval", *(f"seed {seed}" for seed in seeds.seeds)]]
    known = [id for id in range(len(report.classes)) if id != report.ignore_class]
    for id in known:
        row = [report.classes[id], percent(scores.iou[id]), percent(seeds.iou_deviation[id])]
        rows.append([*row, write_interval(scores.iou_intervals[id]), *(percent(of_seed[id]) for of_seed in seeds.iou)])
    void = "counted" if report.ignore_class is None else "left out"
    row = [f"mean over {len(known)}, void {void}", percent(scores.mean_iou), percent(seeds.mean_iou_deviation)]
    rows.append([*row, write_interval(scores.mean_iou_interval), *map(percent, seeds.mean_iou)])
    return table(rows)


def describe(report: RepeatReport) -> str:
    """Says what the numbers are."""
    count = len(report.trainings)
    note = f"{report.images} images of {markdown(report.split)}, at the ground truth's size. "
    if count == 1:
        return f"{note}Of a single seed, intervals show what other images might\nchange, not what another seed might."
    return (
        f"{note}Means over {count} seeds; deviation is the standard\ndeviation over them. Intervals show what other "
        f"images and other seeds might change, together: by {DRAWS:,}\ndraws of images, and Student's t for the seeds."
    )


def trainings_table(trainings: Sequence[SeedTraining]) -> str:
    """A row a seed: epochs, the best of them, and minutes."""
    rows = [["training", "epochs", "best epoch", "minutes"]]
    for one in trainings:
        best = "-" if one.best_epoch is None else str(one.best_epoch)
        minutes = "-" if one.seconds is None else f"{one.seconds / 60:.1f}"
        rows.append([f"seed {one.seed}", str(one.epochs), best, minutes])
    return table(rows)


def describe_failure(failure: Failure) -> str:
    """The line on a training that failed."""
    last = failure.message.splitlines()[-1] if failure.message else "ended without a word"
    return f"seed {failure.seed}: failed with exit code {failure.exit_code}: {last}"
