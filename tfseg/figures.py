"""Figures of runs: curves of one or several histories, pictures beside truth and prediction."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
    score_axis.set_title("scores on the validation split")
    score_axis.set_ylim(0, 1)
    finish_curves(loss_axis, score_axis)
    save_figure(figure, path)


def curves_of_runs(histories: Mapping[str, str | Path], path: str | Path) -> None:
    """Draws loss and `mean_iou` of several runs over the epochs as a PNG, one colour a run, the styles as of `curves`.

    Args:
        histories: history.csv of each run by the name that it has in the legend.
        path: of the PNG.

    Raises:
        ValueError: a history has no epoch, or a cell is no number.
        OSError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure

    figure = Figure((12, 4.5), layout="constrained")
    loss_axis, score_axis = figure.subplots(1, 2)
    for index, (name, history_csv) in enumerate(histories.items()):
        history = read_history(Path(history_csv))
        draw_curve(loss_axis, history, "loss", (name, f"{name}, training"), f"C{index}")
        draw_curve(score_axis, history, "mean_iou", (name, f"{name}, training"), f"C{index}")
    score_axis.set_title("mean IoU on the validation split")
    finish_curves(loss_axis, score_axis)
    save_figure(figure, path)


def finish_curves(loss_axis, score_axis) -> None:
    """Gives the axes of loss and scores what is the same for one run and for several."""
    loss_axis.set_title("loss")
    for axis in (loss_axis, score_axis):
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(frameon=False)


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
