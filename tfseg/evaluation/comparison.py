"""python -m tfseg.compare BASELINE RUN ... [--out DIR]

Compares runs that were scored on the same pictures: IoU side by side, differences to the first run with intervals by
bootstrap over the pictures (see `bootstrap`), the settings in which they differ, and their curves in one figure.
The intervals tell what other pictures might have changed; of what another seed of the training might, they say nothing.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.config.schema import Config, as_yaml, list_settings
from tfseg.evaluation import evaluator
from tfseg.io import command
from tfseg.metrics.bootstrap import DRAWS, LEVEL, count_pixels, draw_scores, interval, iou_and_mean
from tfseg.records.labels import VOID
from tfseg.runs import run_dir
from tfseg.visualization.figures import curves_of_runs
from tfseg.visualization.tables import percent, table

# Settings that say nothing of what is trained.
NO_MATTER = ("run_dir", "overwrite", "quiet", "log.")


class Scored(NamedTuple):
    """A run and what came of its evaluation on a split."""

    folder: Path
    config: Config
    split: str
    classes: list[str]
    resize: list[list[int]]  # sizes to which images were resized for the network, one after the other
    inference: dict  # see `inference.tta.InferenceSettings`
    ids: np.ndarray  # of the pictures, sorted
    matrices: np.ndarray  # int64 (pictures, classes, classes), in their order


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.compare",
        description="Compares runs that were scored on the same pictures: scores side by side, differences to the "
        f"first with {LEVEL} % intervals by bootstrap over pictures, settings that differ, and curves in one figure. "
        "What was not scored yet, or before its SavedModel was written, is scored first.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, the first is the baseline")
    parser.add_argument("--split", help="split to compare on (the runs' validation split)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where compare.md, compare.json and curves.png go (nowhere)"
    )
    options = parser.parse_args(arguments)
    result = compare(options.runs, options.split)
    text = lay_out(result)
    print(text)
    if options.out:
        paths = write(result, text, options.out)
        print(f"\nwritten: {', '.join(map(str, paths))}")


def compare(folders: Sequence[Path], split: str | None = None) -> dict:
    """Compares runs.

    Args:
        folders: of the runs, the first is what the others are compared with.
        split: on which; None: the validation split of them all.

    Returns:
        As in compare.json: `split`, `classes`, `learn_void` (whether void counts, which it does if all runs learn it),
        `pictures` (how many), `draws`, `runs`, a dict a run as of `measure`, and `settings` that differ,
        {dotted key: [its value in each run]}.

    Raises:
        ValueError: fewer than two runs, or such as cannot be compared: see `check_alike`.
        OSError: a folder holds no run, or what it lacks cannot be made.
    """
    if len(folders) < 2:
        raise ValueError(f"expected two or more runs to compare, got {len(folders)}")
    places = [folder.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{folder}: is given twice; a run compared with itself does not differ")
    configs = [run_dir.read_config(folder) for folder in folders]
    splits = {folder: split or config.data.val_split for folder, config in zip(folders, configs, strict=True)}
    if len(set(splits.values())) > 1:
        words = ", ".join(f"{folder} on {name}" for folder, name in splits.items())
        raise ValueError(f"the runs were validated on different splits ({words}); choose one by --split")
    runs = [read_run(folder, config, splits[folder]) for folder, config in zip(folders, configs, strict=True)]
    for run in runs[1:]:
        check_alike(runs[0], run)
    first = runs[0]
    return {
        "split": first.split,
        "classes": first.classes,
        "learn_void": learns_void(runs),
        "pictures": len(first.ids),
        "draws": DRAWS,
        "runs": measure(runs),
        "settings": list_differences(configs),
    }


def read_run(folder: Path, config: Config, split: str) -> Scored:
    """Reads what evaluation left in a run folder; evaluates first, as `evaluate --run`, if that is not there or old."""
    scores, matrices = (folder / name.format(split) for name in (evaluator.SCORES, evaluator.MATRICES))
    if not evaluator.is_scored(folder, split):
        with redirect_stdout(sys.stderr):  # which leaves stdout to the comparison
            evaluator.main(["--run", str(folder), "--split", split])
    try:
        told = json.loads(scores.read_text(encoding="utf-8"))
        with np.load(matrices) as arrays:
            order = np.argsort(arrays["ids"])
            told = [told[name] for name in ("classes", "resize", "inference")]
            return Scored(folder, config, split, *told, arrays["ids"][order], arrays["matrices"][order])
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        remedy = f"make them again by python -m tfseg.evaluate --run {folder} --split {split}"
        raise ValueError(f"{scores}, {matrices}: one is damaged ({error}); {remedy}") from None


def check_alike(first: Scored, run: Scored) -> None:
    """Raises ValueError unless two runs tell the same classes apart and were scored alike, against the same masks.

    Masks of another size are refused, too: small ones lack the thin things that are hard to find, so that a difference
    of scores would tell of the masks.
    """
    if run.classes != first.classes:
        raise ValueError(
            f"{run.folder}: tells {', '.join(run.classes)} apart, and {first.folder} {', '.join(first.classes)}"
        )
    if run.inference != first.inference:
        raise ValueError(
            f"{run.folder}: was scored by {as_yaml(run.inference)}, and {first.folder} by {as_yaml(first.inference)}; "
            "score both alike by python -m tfseg.evaluate --run"
        )
    if strangers := sorted({*run.ids} ^ {*first.ids}):
        raise ValueError(
            f"{run.folder}: was scored on {len(run.ids)} pictures and {first.folder} on {len(first.ids)}; "
            f"{len(strangers)} are not in both, such as {strangers[0]}"
        )
    truths = (one.matrices.sum(axis=-1) for one in (first, run))
    other = np.not_equal(*truths).any(axis=-1)
    if other.any():
        raise ValueError(
            f"{run.folder}: was scored on other masks ({describe(run)}) than {first.folder} ({describe(first)}); "
            f"{other.sum()} differ, such as that of {run.ids[other][0]}. Score both on the same by "
            "python -m tfseg.evaluate --run DIR --records DIR"
        )


def describe(run: Scored) -> str:
    """Says how large the masks of a run are."""
    pixels = np.unique(run.matrices.sum(axis=(1, 2)))
    return " to ".join(map(str, pixels[[0, -1]])) + " pixels"


def measure(runs: Sequence[Scored]) -> list[dict]:
    """Scores runs, with intervals.

    Returns:
        A dict a run: `name`, `folder`, what `summarize` gives, and of all but the first run, under `difference`, the
        same of its difference to the first.
    """
    matrices = np.stack([run.matrices for run in runs], axis=1)
    learn_void = learns_void(runs)
    scores = iou_and_mean(count_pixels(matrices.sum(axis=0), learn_void), learn_void)
    draws = draw_scores(matrices, learn_void=learn_void)
    measured = []
    for index, (run, name) in enumerate(zip(runs, name_runs([run.folder for run in runs]), strict=True)):
        measured.append({"name": name, "folder": str(run.folder), **summarize(scores[index], draws[:, index])})
        if index:
            measured[-1]["difference"] = summarize(scores[index] - scores[0], draws[:, index] - draws[:, 0])
    return measured


def learns_void(runs: Sequence[Scored]) -> bool:
    """Whether void is a class that all runs learn; else it counts in no run's scores."""
    return all(run.config.loss.learn_void for run in runs)


def summarize(scores: np.ndarray, draws: np.ndarray) -> dict:
    """Gives scores, or differences of scores, their names and intervals.

    Args:
        scores: float64 (classes + 1,), as of `bootstrap.iou_and_mean`.
        draws: float64 (draws, classes + 1), the same on each draw.

    Returns:
        `iou`, a float a class, `mean_iou`; `iou_intervals`, a pair [low, high] a class,
        `mean_iou_interval`. All floats as shares, or nan.
    """
    *iou, mean = scores.tolist()
    *intervals, of_mean = map(interval, draws.T)
    return {"iou": iou, "mean_iou": mean, "iou_intervals": intervals, "mean_iou_interval": of_mean}


def name_runs(folders: Sequence[Path]) -> list[str]:
    """The names of folders, or where two are alike, their whole paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else list(map(str, folders))


def list_differences(configs: Sequence[Config]) -> dict[str, list]:
    """Lists the settings, by dotted key, that are not the same in all runs, with the value in each."""
    settings = [list_settings(config) for config in configs]
    values = {key: [one[key] for one in settings] for key in settings[0] if not key.startswith(NO_MATTER)}
    return {key: each for key, each in values.items() if any(value != each[0] for value in each)}


def lay_out(result: dict) -> str:
    """Lays out what `compare` gives as Markdown: scores and differences, how to read them, settings that differ."""
    names = [run["name"] for run in result["runs"]]
    note = (
        f"{result['pictures']} pictures of {result['split']}. In brackets: {LEVEL} % interval of the difference to "
        f"{names[0]}, by {result['draws']:,} draws\nof pictures, the same for all runs; * where 0 is outside. It tells "
        "what other pictures might change, and says\nnothing of another seed."
    )
    return "\n\n".join([scores_table(result), note, settings_table(names, result["settings"])])


def scores_table(result: dict) -> str:
    """A row a class, then the mean and its interval; a column a run, and one for its difference to the first."""
    void_counts = result.get("learn_void", False)
    known = slice(VOID if void_counts else VOID + 1, None)
    classes = result["classes"][known]
    mean = f"mean over {len(classes)}, void {'counted' if void_counts else 'left out'}"
    columns = [["IoU %", *classes, mean, f"its {LEVEL} % interval"]]
    for run in result["runs"]:
        means = percent(run["mean_iou"]), between(run["mean_iou_interval"])
        columns.append([run["name"], *map(percent, run["iou"][known]), *means])
        if change := run.get("difference"):
            changes = map(points, change["iou"][known], change["iou_intervals"][known])
            mean = points(change["mean_iou"], change["mean_iou_interval"])
            columns.append([f"difference ({LEVEL} %)", *changes, mean, ""])
    return table(list(zip(*columns, strict=True)))


def settings_table(names: Sequence[str], settings: dict[str, list]) -> str:
    """A row a setting, its value in each run; unpadded, since some values are long."""
    if not settings:
        return "All settings are the same."
    rows = [["setting", *names], ["---"] * (len(names) + 1)]
    rows += [[key, *map(as_yaml, values)] for key, values in settings.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def points(difference: float, bounds: Sequence[float]) -> str:
    """Writes 0.012 and its interval as "+1.2 (0.4 to 1.9) *", the star where that, as it is written, leaves out 0."""
    if np.isnan(difference):
        return "-"
    low, high = (round(100 * bound, 1) for bound in bounds)
    return f"{100 * difference:+z.1f} ({between(bounds)}){' *' if low > 0 or high < 0 else ''}"


def between(bounds: Sequence[float]) -> str:
    """Writes an interval of shares in percent."""
    return "-" if np.isnan(bounds).any() else " to ".join(f"{100 * bound:z.1f}" for bound in bounds)


def write(result: dict, text: str, out: Path) -> list[Path]:
    """Writes text, figures and numbers of a comparison into a folder, and returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    page, numbers, figure = (out / name for name in ("compare.md", "compare.json", "curves.png"))
    curves_of_runs({run["name"]: Path(run["folder"], run_dir.HISTORY) for run in result["runs"]}, figure)
    run_dir.write_json(result, numbers)
    with run_dir.replacing(page) as unfinished:
        unfinished.write_text(f"{text}\n\n![curves]({figure.name})\n", encoding="utf-8")
    return [page, numbers, figure]


if __name__ == "__main__":
    command.run(main)
