"""Figures of a run: curves of its history, pictures beside truth and prediction, a table of its scores.

    python -m tfseg.report --run runs/city

Works on what the run left on disk: history.csv, metrics.json and the SavedModel. The network's code is not needed.
"""

import argparse
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg import cli, run_folder
from tfseg.predict import Predictor

COLUMNS = ("picture", "truth", "prediction")  # of a panel
# Columns of history.csv that are no score.
NO_SCORES = ("epoch", "loss", "learning_rate", "seconds")


class Sample(NamedTuple):
    """One row of a panel."""

    id: str
    picture: np.ndarray  # (H, W, 3) uint8 RGB
    truth: np.ndarray  # (H, W) uint8 class ids
    prediction: np.ndarray  # (H, W) uint8 class ids


def panel(
    samples: Sequence[Sample],
    classes: Sequence[str],
    colors: np.ndarray,
    path: str | Path,
    columns: Sequence[str] = COLUMNS,
) -> None:
    """Draws picture, truth and prediction of each sample side by side, with a legend of the colours, as a PNG.

    Args:
        samples: at least one; they may differ in size.
        classes: the C names.
        colors: (C, 3) uint8 RGB.
        path: of the PNG.
        columns: which of `COLUMNS` to draw, from left to right.

    Raises:
        ValueError: there are no samples.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure  # here: --help answers without it
    from matplotlib.patches import Patch

    if not samples:
        raise ValueError("a panel needs at least one sample")
    width, legend_height = 5, 0.5  # inches; the width is a column's
    heights = [width * sample.truth.shape[0] / sample.truth.shape[1] + 0.3 for sample in samples]
    figure = Figure((width * len(columns), sum(heights) + legend_height), layout="constrained")
    rows = figure.subplots(len(samples), len(columns), squeeze=False, height_ratios=heights)
    for axes, sample in zip(rows, samples, strict=True):
        draw_row(axes, sample, colors, columns)
    for axis, title in zip(rows[0], columns, strict=True):
        axis.set_title(title, fontsize=14)
    patches = [
        Patch(facecolor=color / 255, edgecolor="black", label=name) for name, color in zip(classes, colors, strict=True)
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(8, 3 * len(columns)), frameon=False, fontsize=11
    )
    save_figure(figure, path)


def draw_row(axes, sample: Sample, colors: np.ndarray, columns: Sequence[str]) -> None:
    """Draws one sample on an axis a column, its id below the first."""
    for axis, column in zip(axes, columns, strict=True):
        if column == "picture":
            axis.imshow(sample.picture)
        else:  # a blend of two class colours is the colour of no class: masks are not smoothed
            axis.imshow(colors[getattr(sample, column)], interpolation="nearest")
        axis.set(xticks=[], yticks=[])
    axes[0].set_xlabel(sample.id, loc="left", fontsize=9)


def curves(history_csv: str | Path, path: str | Path) -> None:
    """Draws loss and scores over the epochs as a PNG: validation as a line, training, where recorded, as dashes.

    Args:
        history_csv: a column `epoch` and any of `loss`, `val_loss`, `val_<score>`, `<score>`; others are left out.
        path: of the PNG.

    Raises:
        ValueError: the history has no epoch, or a cell is no number.
        OSError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure

    history = read_history(Path(history_csv))
    figure = Figure((12, 4.5), layout="constrained")
    loss_axis, score_axis = figure.subplots(1, 2)
    scores = dict.fromkeys(name.removeprefix("val_") for name in history)  # each once, in the file's order
    for index, name in enumerate(name for name in scores if name not in NO_SCORES):
        draw_curve(score_axis, history, name, (name, f"{name}, training"), f"C{index}")
    draw_curve(loss_axis, history, "loss", ("validation", "training"), "C0")
    loss_axis.set_title("loss")
    score_axis.set_title("scores on the validation split")
    score_axis.set_ylim(0, 1)
    for axis in (loss_axis, score_axis):
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(frameon=False)
    save_figure(figure, path)


def draw_curve(axis, history: dict[str, list[float]], name: str, labels: tuple[str, str], color: str) -> None:
    """Draws what the history has of a value: validation as a line, training as dashes of the same colour."""
    for column, style, label in ((f"val_{name}", "-", labels[0]), (name, "--", labels[1])):
        if column in history:
            axis.plot(history["epoch"], history[column], style, color=color, label=label, marker=".")


def read_history(path: Path) -> dict[str, list[float]]:
    """Reads history.csv as columns; an empty cell is nan.

    Raises:
        ValueError: there is no column `epoch` or no row, or a cell is no number.
        OSError: the file cannot be read.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, restval=""))
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{path}: expected a column epoch and a row for each epoch")
    try:
        return {name: [float(row[name] or "nan") for row in rows] for name in rows[0] if name}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_figure(figure, path: str | Path) -> None:
    """Saves a figure as a PNG; the file appears, or replaces an older one, only when it is whole."""
    path = Path(path)
    incomplete = path.with_name(path.name + ".incomplete")
    try:
        figure.savefig(incomplete, format="png", dpi=100)
        incomplete.replace(path)
    finally:
        incomplete.unlink(missing_ok=True)


def scores_table(scores: dict) -> str:
    """Lays out scores as a Markdown table: a row a class in percent, then the means.

    Args:
        scores: as in metrics.json; a score of a class that does not occur is null or nan.
    """
    total = sum(scores["support"])
    shares = [pixels / total if total else math.nan for pixels in scores["support"]]
    rows = [("category", "IoU %", "F1 %", "share of pixels %")]
    for name, *values in zip(scores["classes"], scores["iou"], scores["f1"], shares, strict=True):
        rows.append((name, *map(percent, values)))
    rows += [
        ("mean over 7, void left out", percent(scores["mean_iou_7"]), percent(scores["mean_f1_7"]), ""),
        ("mean over 8, void counted", percent(scores["mean_iou_8"]), percent(scores["mean_f1_8"]), ""),
    ]
    return table(rows)


def official_table(scores: dict) -> str:
    """Lays out the official Cityscapes score, as of `official.OfficialScore`, likewise."""
    tables = []
    for kind in ("category", "class"):
        if f"{kind}_iou" not in scores:
            continue
        columns = {"official IoU %": "iou"} | ({"iIoU %": "iiou"} if f"{kind}_iiou" in scores else {})
        rows = [(kind, *columns)]
        for name in scores[f"{kind}_iou"]:
            rows.append((name, *(percent(scores[f"{kind}_{column}"].get(name)) for column in columns.values())))
        rows.append(("mean", *(percent(scores[f"mean_{kind}_{column}"]) for column in columns.values())))
        tables.append(table(rows))
    return "\n\n".join(tables)


def table(rows: list[tuple[str, ...]]) -> str:
    """Lays out a Markdown table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(format_row(row, widths) for row in (rows[0], line, *rows[1:]))


def percent(score: float | None) -> str:
    """Writes 0.8641 as 86.4, and a score that is not there as a dash."""
    return "-" if score is None or math.isnan(score) else f"{100 * score:.1f}"


def format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Writes one row of a Markdown table, the first column to the left, numbers to the right."""
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"


def report(
    run: Path,
    records: str | None = None,
    split: str | None = None,
    samples: int = 4,
    size: tuple[int, int] | None = None,
    columns: Sequence[str] = COLUMNS,
) -> list[Path]:
    """Writes the figures of a run into its folder `report`.

    Args:
        run: the run folder.
        records: folder of shards and manifest.json; None: the run's own.
        split: which pictures; None: the run's validation split.
        samples: how many, at least 1.
        size: (height, width) that pictures are resized to; None: that of the run's validation.
        columns: of the panel, see `panel`.

    Returns:
        Paths of the figures.

    Raises:
        ValueError: a file is damaged, or there is no such split.
        OSError: a file is missing, or cannot be written.
    """
    data = run_folder.read_config(run).data
    predictor = Predictor(run / run_folder.SAVED_MODEL)
    rows = predict_samples(predictor, records or data.records, split or data.val_split, samples, size or data.eval_size)
    directory = run / "report"
    directory.mkdir(exist_ok=True)
    panel(rows, predictor.classes, predictor.colors, directory / "panel.png", columns)
    curves(run / run_folder.HISTORY, directory / "curves.png")
    return [directory / "panel.png", directory / "curves.png"]


def predict_samples(
    predictor: Predictor, records: str | Path, split: str, samples: int, size: tuple[int, int] | None
) -> list[Sample]:
    """Predicts pictures evenly spread over a split, exactly as validation sees them; all if there are fewer.

    Raises:
        ValueError: there is no such split, or a record is damaged.
        OSError: the records cannot be read.
    """
    from tfseg.pipeline import read_examples, told_damage  # imports TensorFlow

    rows = []
    with told_damage(records):
        for example in read_examples(records, split, count=samples, size=size):
            prediction = predictor(example["image"][np.newaxis])[0]
            rows.append(Sample(example["id"].decode(), example["image"], example["mask"], prediction))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the figures and prints the scores of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.report",
        description="Writes panel.png and curves.png into the folder report of a run, and prints its scores.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument("--records", metavar="DIR", help="records to show (those that the run was trained on)")
    parser.add_argument("--split", help="split to show (the run's validation split)")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="pictures to show (4)")
    parser.add_argument("--size", metavar="HxW", help="size of the pictures (that of the run's validation)")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS, help="of the panel (all three)")
    options = parser.parse_args(arguments)
    if options.samples < 1:
        raise ValueError(f"--samples must be at least 1, got {options.samples}")
    size = cli.parse_size(options.size) if options.size else None
    paths = report(options.run, options.records, options.split, options.samples, size, options.columns)
    metrics = options.run / run_folder.METRICS
    if metrics.is_file():  # else the run is not over
        print(scores_table(json.loads(metrics.read_text(encoding="utf-8"))))
    print("written: " + ", ".join(map(str, paths)))


if __name__ == "__main__":
    cli.run(main)
