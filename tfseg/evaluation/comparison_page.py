"""A comparison of runs as Markdown, and its files: compare.md, compare.json and curves.png."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfseg.config.checks import as_yaml
from tfseg.evaluation.comparison import Comparison
from tfseg.evaluation.groups import ComparedRun, IouScores, SeedScores
from tfseg.io.atomic import write_json, write_text
from tfseg.io.escaping import markdown
from tfseg.io.json_reader import read_json
from tfseg.io.outputs import check_names, write_alone
from tfseg.metrics.bootstrap import LEVEL
from tfseg.runs import run_dir
from tfseg.visualization.curves import draw_run_curves
from tfseg.visualization.tables import percent, table

PAGE, NUMBERS, FIGURE = "compare.md", "compare.json", "curves.png"


def lay_out(comparison: Comparison) -> str:
    """Lays a comparison out as Markdown: scores and differences, how to read them, settings that differ."""
    names = [run.name for run in comparison.runs]
    return "\n\n".join(
        [scores_table(comparison), describe_intervals(comparison), settings_table(names, comparison.settings)]
    )


def describe_intervals(comparison: Comparison, show: Callable[[str], str] = markdown) -> str:
    """Says what the intervals of a comparison are, and what they cover; `show` escapes names."""
    split, first = show(comparison.split), show(comparison.runs[0].name)
    note = (
        f"{comparison.images} images of {split}. In brackets: {LEVEL} % interval of the difference to "
        f"{first}, by {comparison.draws:,} draws\nof images, the same for all runs"
    )
    if not any(run.of_seeds for run in comparison.runs):
        covered = "They show what other images might change,\nnot what another seed might."
        return f"{note}; * marks intervals without 0. {covered}"
    note += (
        ", and by Student's t for the seeds; * marks intervals without 0.\n"
        "Scores of a repeat are means over its seeds; deviation is the standard deviation over them.\n"
        "Intervals show what other images and other seeds might change, together"
    )
    single = [show(run.name) for run in comparison.runs if not (run.of_seeds and len(run.of_seeds.seeds) > 1)]
    if not single:
        return f"{note}."
    names = ", ".join(single)
    return f"{note}; but not what another seed of\n{names} might, of which there is only one."


def scores_table(comparison: Comparison) -> str:
    """Lays the scores out as Markdown, see `scores_rows`."""
    return table(scores_rows(comparison))


def scores_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """A row a class, then the mean and its interval; a column a run, for its deviation, its difference to the first.

    The first row is the head.
    """
    known = [id for id in range(len(comparison.classes)) if id != comparison.ignore_class]
    void = "counted" if comparison.ignore_class is None else "left out"
    columns = [
        [
            "IoU %",
            *(comparison.classes[id] for id in known),
            f"mean over {len(known)}, void {void}",
            f"its {LEVEL} % interval",
        ]
    ]
    for run in comparison.runs:
        columns.append([head(run), *scores_column(run.scores, known)])
        if run.of_seeds:
            columns.append(["deviation", *deviations_column(run.of_seeds, known)])
        if run.difference:
            columns.append([f"difference ({LEVEL} %)", *differences_column(run.difference, known)])
    return list(zip(*columns, strict=True))


def head(run: ComparedRun) -> str:
    """The head of a run's column: its name, with the number of seeds where it is a repeat."""
    if run.of_seeds is None:
        return run.name
    count = len(run.of_seeds.seeds)
    return f"{run.name}, {count} seed{'s' if count > 1 else ''}"


def scores_column(scores: IouScores, known: Sequence[int]) -> list[str]:
    """The cells of a run: the IoU of the classes that count, their mean and its interval."""
    return [
        *(percent(scores.iou[id]) for id in known),
        percent(scores.mean_iou),
        write_interval(scores.mean_iou_interval),
    ]


def deviations_column(seeds: SeedScores, known: Sequence[int]) -> list[str]:
    """The cells of the deviations over the seeds of a repeat."""
    return [*(percent(seeds.iou_deviation[id]) for id in known), percent(seeds.mean_iou_deviation), ""]


def differences_column(change: IouScores, known: Sequence[int]) -> list[str]:
    """The cells of a run's difference to the first, each with its interval."""
    return [
        *(write_difference(change.iou[id], change.iou_intervals[id]) for id in known),
        write_difference(change.mean_iou, change.mean_iou_interval),
        "",
    ]


def settings_table(names: Sequence[str], settings: Mapping[str, list]) -> str:
    """A row a setting, its value in each run; unpadded, since some values are long."""
    if not settings:
        return "All settings are the same."
    rows = [["setting", *names], ["---"] * (len(names) + 1)]
    rows += [[key, *map(as_yaml, values)] for key, values in settings.items()]
    return "\n".join(f"| {' | '.join(map(markdown, row))} |" for row in rows)


def write_difference(difference: float, bounds: Sequence[float]) -> str:
    """Writes 0.012 and its interval as "+1.2 (0.4 to 1.9) *", the star where that, as it is written, leaves out 0."""
    if np.isnan(difference):
        return "-"
    low, high = (round(100 * bound, 1) for bound in bounds)
    return f"{100 * difference:+z.1f} ({write_interval(bounds)}){' *' if low > 0 or high < 0 else ''}"


def write_interval(bounds: Sequence[float]) -> str:
    """Writes an interval of shares in percent."""
    return "-" if np.isnan(bounds).any() else " to ".join(f"{100 * bound:z.1f}" for bound in bounds)


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Writes compare.md, compare.json and curves.png into a folder, which is made, and returns their paths.

    Raises:
        ValueError: the history of a run is damaged, or as of `check_out`.
        OSError: a history cannot be read, or a file cannot be written.
    """
    check_out(folder)
    page, numbers, figure = (folder / name for name in (PAGE, NUMBERS, FIGURE))
    runs = {name: run for one in comparison.runs for name, run in one.runs.items()}
    with write_alone(folder):
        check_out(folder)
        write_json(comparison.to_dict(), numbers)  # first: it shows that the other names are ours
        draw_run_curves({name: run / run_dir.HISTORY for name, run in runs.items()}, figure)
        write_text(f"{lay_out(comparison)}\n\n![curves]({figure.name})\n", page)
    return [page, numbers, figure]


def check_out(folder: Path) -> None:
    """Makes the folder to write into, and refuses one where our names are taken by files that are not ours.

    Raises:
        ValueError: it holds such a file.
        OSError: it cannot be made, or is no folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_names(folder, (PAGE, NUMBERS, FIGURE), _holds_comparison)


def _holds_comparison(folder: Path) -> bool:
    try:
        Comparison.from_dict(read_json(folder / NUMBERS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True
