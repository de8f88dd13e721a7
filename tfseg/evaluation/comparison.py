"""Compares runs, or repeats of them with several seeds, that were scored on the same images.

IoU side by side, differences to the first with intervals, and the settings in which they differ. The intervals say what
other images might have changed (see `bootstrap`), and between repeats what other images and seeds might (see `seeds`).
Of what another seed of a single run might change, they say nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from tfseg.config.schema import Config
from tfseg.config.settings import list_settings
from tfseg.evaluation.groups import ComparedRun, ScoredGroup, check_groups, list_runs, measure, open_group
from tfseg.evaluation.score_files import Evaluation
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.notebooks import html_table
from tfseg.io.progress import show_progress
from tfseg.metrics.bootstrap import DRAWS
from tfseg.records.labels import VOID
from tfseg.runs import run_dir

# Settings that say nothing of what is trained.
NO_MATTER = ("run_dir", "overwrite", "quiet", "log.")


@dataclass(frozen=True)
class Comparison:
    """What sets runs apart; printed, or shown in a notebook, it is a table.

    Attributes:
        split: on which they were scored.
        classes: names of the classes.
        ignore_class: id of the class that counts nowhere, void; None: it counts, which it does if all runs learn it.
        images: how many there are.
        draws: of the bootstrap.
        runs: runs and repeats one by one, the first is the baseline.
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

    def __str__(self) -> str:
        from tfseg.evaluation.comparison_page import lay_out

        return lay_out(self)

    def _repr_html_(self) -> str:
        """Shows itself in a notebook: the scores, and how to read them."""
        from tfseg.evaluation.comparison_page import describe_intervals, scores_rows

        head, *rows = [[*map(escape, row)] for row in scores_rows(self)]
        return html_table(head, rows) + f"<p>{describe_intervals(self, escape)}</p>"


@note_arguments()
def compare_runs(
    folders: Sequence[str | os.PathLike], split: str | None = None, *, progress: bool = True
) -> Comparison:
    """Compares runs; those that were not scored yet, or before their SavedModel was written, are scored first.

    Args:
        folders: of runs, or of repeats, whose runs count as one; the first is the baseline.
        split: on which; None: the validation split of them all.
        progress: whether a terminal shows how far scoring is.

    Raises:
        ValueError: fewer than two folders, or runs of other classes, or scored on other images or masks.
        OSError: a folder holds no run, or what it lacks cannot be made.
    """
    paths = [Path(folder) for folder in folders]
    runs_of = check_folders(paths)
    configs = [run_dir.read_config(runs[0]) for runs in runs_of]
    split = choose_split(paths, configs, split)
    with show_progress(progress):
        groups = [open_group(path, split) for path in paths]
    check_groups(groups)
    first, ignore_class = groups[0].runs[0], choose_ignored(configs)
    return Comparison(
        split=split,
        classes=first.scores["classes"],
        ignore_class=ignore_class,
        images=len(first.ids),
        draws=DRAWS,
        runs=measure(groups, ignore_class),
        settings=list_differences(groups),
        evaluations=[run.evaluation for group in groups for run in group.runs if run.evaluation],
    )


def check_folders(folders: Sequence[Path]) -> list[list[Path]]:
    """Lists the runs of each folder.

    Raises:
        ValueError: there are fewer than two folders, a run is given twice, or as of `groups.list_runs`.
        FileNotFoundError: as of `groups.list_runs`.
    """
    if len(folders) < 2:
        raise ValueError(f"expected two or more runs to compare, got {len(folders)}")
    runs_of = [list_runs(folder) for folder in folders]
    places = [run.resolve() for runs in runs_of for run in runs]
    for folder, runs in zip(folders, runs_of, strict=True):
        if any(places.count(run.resolve()) > 1 for run in runs):
            raise ValueError(f"{folder}: is given twice; a run compared with itself does not differ")
    return runs_of


def choose_split(folders: Sequence[Path], configs: Sequence[Config], split: str | None) -> str:
    """Gives the split that is asked for, else that on which all runs were validated."""
    if split:
        return split
    splits = [config.data.val_split for config in configs]
    if len(set(splits)) > 1:
        words = ", ".join(f"{folder} on {name}" for folder, name in zip(folders, splits, strict=True))
        raise ValueError(f"the runs were validated on different splits ({words}); choose one by --split")
    return splits[0]


def choose_ignored(configs: Sequence[Config]) -> int | None:
    """Gives the class that counts in no run's scores: void, unless all runs learn it."""
    return None if all(config.loss.ignore_class is None for config in configs) else VOID


def list_differences(groups: Sequence[ScoredGroup]) -> dict[str, list]:
    """Lists the settings, by dotted key, that are not the same in all groups, with the value in each."""
    settings = [list_settings(group.settings) for group in groups]
    for one, group in zip(settings, groups, strict=True):
        one |= {"train.seed": group.seeds} if group.seeds is not None else {}
    values = {key: [one[key] for one in settings] for key in settings[0] if not key.startswith(NO_MATTER)}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}
