"""Figures of runs: curves of histories, a confusion matrix, pictures beside truth, prediction and error."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io.atomic import write_whole
from tfseg.records.labels import VOID
from tfseg.visualization.lettering import LONGEST, as_text, fonts_for, lay_out_legend, width_of
from tfseg.visualization.tables import percent

COLUMNS = ("picture", "truth", "prediction", "error")  # of a panel
WRONG, NO_TRUTH = np.array([(225, 29, 29), (96, 96, 96)], np.uint8)  # RGB, of an error
ERRORS = {"wrong": WRONG, "no truth": NO_TRUTH}  # its legend
MOST_CELLS = 40  # classes of a confusion matrix whose numbers are written
NO_LOSSES = ("epoch", "learning_rate", "seconds")  # among the columns of history.csv


class Sample(NamedTuple):
    """One row of a panel."""

    id: str
    picture: np.ndarray  # (H, W, 3) uint8 RGB
    truth: np.ndarray  # (H, W) uint8 class ids
    prediction: np.ndarray  # (H, W) uint8 class ids
    score: float  # mean IoU of this picture in 0..1, or nan
    learn_void: bool = False  # whether void is truth like any other


def panel(
    samples: Sequence[Sample],
    classes: Sequence[str],
    colors: np.ndarray,
    path: str | Path,
    columns: Sequence[str] = COLUMNS,
) -> None:
    """Draws picture, truth, prediction and error of each sample side by side, with a legend, as a PNG.

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
    meanings = [*zip(classes, colors, strict=True), *(ERRORS.items() if "error" in columns else [])]
    names = [as_text(name, LONGEST) for name, _ in meanings]
    width = 5  # inches, of a column
    legend_columns, legend_height = lay_out_legend(names, width * len(columns), 11, min(10, 3 * len(columns)))
    heights = [width * sample.truth.shape[0] / sample.truth.shape[1] + 0.3 for sample in samples]
    patches = [
        Patch(facecolor=color / 255, edgecolor="black", label=name)
        for name, (_, color) in zip(names, meanings, strict=True)
    ]
    with fonts_for([*classes, *(sample.id for sample in samples)]):
        figure = Figure((width * len(columns), sum(heights) + legend_height), layout="constrained")
        rows = figure.subplots(len(samples), len(columns), squeeze=False, height_ratios=heights)
        for axes, sample in zip(rows, samples, strict=True):
            draw_row(axes, sample, colors, columns)
        for axis, title in zip(rows[0], columns, strict=True):
            axis.set_title(title, fontsize=14)
        figure.legend(handles=patches, loc="outside lower center", ncols=legend_columns, frameon=False, fontsize=11)
        save_figure(figure, path)


def draw_row(axes, sample: Sample, colors: np.ndarray, columns: Sequence[str]) -> None:
    """Draws one sample on an axis a column, its id and score below the first."""
    for axis, column in zip(axes, columns, strict=True):
        # A blend of two class colours is the colour of no class: only the picture is smoothed.
        interpolation = "antialiased" if column == "picture" else "nearest"
        axis.imshow(paint(sample, column, colors), interpolation=interpolation)
        axis.set(xticks=[], yticks=[])
    axes[0].set_xlabel(f"{as_text(sample.id)}   mean IoU {percent(sample.score)} %", loc="left", fontsize=9)


def paint(sample: Sample, column: str, colors: np.ndarray) -> np.ndarray:
    """Paints one column of a sample, one of `COLUMNS`, as uint8 RGB (H, W, 3)."""
    if column == "picture":
        return sample.picture
    if column == "error":
        return paint_error(sample.picture, sample.truth, sample.prediction, sample.learn_void)
    return colors[getattr(sample, column)]


def paint_error(picture: np.ndarray, truth: np.ndarray, prediction: np.ndarray, learn_void: bool = False) -> np.ndarray:
    """Paints what is wrong `WRONG` and void truth `NO_TRUTH`, over the picture in pale shades of grey.

    Args:
        picture: uint8 (H, W, 3).
        truth: integers (H, W).
        prediction: the same.
        learn_void: whether void is truth like any other.

    Returns:
        uint8 (H, W, 3).
    """
    error = np.repeat(128 + picture.mean(axis=-1, keepdims=True) / 2, 3, axis=-1).astype(np.uint8)
    error[truth != prediction] = WRONG
    if not learn_void:
        error[truth == VOID] = NO_TRUTH
    return error


def confusion(matrix: np.ndarray, classes: Sequence[str], path: str | Path) -> None:
    """Draws a confusion matrix as a PNG: each row, the pixels of one true class, in percent of the row.

    Of more than `MOST_CELLS` classes the numbers are left out, since there would be thousands.

    Args:
        matrix: integers (C, C), rows are truth; cells without pixels stay empty.
        classes: the C names.
        path: of the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    matrix = np.asarray(matrix, np.float64)
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [as_text(name, LONGEST) for name in classes]
    legible = len(names) <= MOST_CELLS
    cell, size = (0.6, 10) if legible else (0.16, 8)  # inches, and points
    side = 1 + max(1, *(width_of(name, size) for name in names)) + cell * len(names)
    with fonts_for(classes):
        figure = Figure((side, side), layout="constrained")
        axis = figure.subplots()
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.argwhere(matrix) if legible else ():
            share = shares[row, column]
            axis.text(column, row, f"{share:.1f}", ha="center", va="center", color="white" if share > 50 else "black")
        turned = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if legible else {"rotation": 90}
        axis.set_xticks(range(len(names)), names, fontsize=size, **turned)
        axis.set_yticks(range(len(names)), names, fontsize=size)
        axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        axis.set(xlabel="prediction", ylabel="truth, in percent of its pixels")
        axis.xaxis.set_label_position("top")
        if legible:
            axis.set_xticks(np.arange(0.5, len(names) - 1), minor=True)
            axis.set_yticks(np.arange(0.5, len(names) - 1), minor=True)
            axis.grid(which="minor", color="#dddddd")
            axis.tick_params(which="minor", length=0)
        save_figure(figure, path)


def curves(history_csv: str | Path, path: str | Path) -> None:
    """Draws scores, loss and learning rate over the epochs as a PNG: validation as a line, training as dashes.

    Args:
        history_csv: a column `epoch` and any of `loss`, its terms, `val_loss`, `val_<score>`, `<score>` and
            `learning_rate`.
        path: of the PNG.

    Raises:
        ValueError: the history has no epoch, or a cell is no number.
        OSError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure

    history = read_history(Path(history_csv))
    figure = Figure((10, 7.5), layout="constrained")
    axes = figure.subplot_mosaic([["scores", "scores"], ["loss", "rate"]], height_ratios=(1.2, 1))
    scores = [name.removeprefix("val_") for name in history if name.startswith("val_") and name != "val_loss"]
    losses = ["loss", *(name for name in history if not name.startswith("val_") and name not in ("loss", *NO_LOSSES))]
    for index, name in enumerate(scores):
        draw_curve(axes["scores"], history, name, name, f"C{index}")
    for index, name in enumerate(name for name in losses if name not in scores):
        draw_curve(axes["loss"], history, name, name, f"C{index}")
    if "learning_rate" in history:
        axes["rate"].plot(history["epoch"], history["learning_rate"], color="C0", marker=".")
    axes["scores"].set_title("scores on the validation split")
    axes["scores"].set_ylim(0, 1)
    axes["loss"].set_title("loss")
    axes["rate"].set_title("learning rate")
    finish_curves(*axes.values())
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

    with fonts_for(histories):
        figure = Figure((12, 4.5), layout="constrained")
        loss_axis, score_axis = figure.subplots(1, 2)
        for index, (name, history_csv) in enumerate(histories.items()):
            history = read_history(Path(history_csv))
            draw_curve(loss_axis, history, "loss", name, f"C{index}")
            draw_curve(score_axis, history, "mean_iou", name, f"C{index}")
        loss_axis.set_title("loss")
        score_axis.set_title("mean IoU on the validation split")
        finish_curves(loss_axis, score_axis)
        save_figure(figure, path)


def finish_curves(*axes) -> None:
    """Gives axes over the epochs what is the same for one run and for several, and a legend if curves have names."""
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False)


def draw_curve(axis, history: dict[str, list[float]], value: str, name: str, color: str) -> None:
    """Draws what the history has of a value: validation as a line, training as dashes of the same colour."""
    for column, style, label in ((f"val_{value}", "-", name), (value, "--", f"{name}, training")):
        if column in history:
            axis.plot(history["epoch"], history[column], style, color=color, label=as_text(label), marker=".")


def read_history(path: Path) -> dict[str, list[float]]:
    """Reads history.csv as columns; an empty cell is nan, and of rows of the same epoch the last counts.

    Raises:
        ValueError: there is no column `epoch` or no row, or a cell is no number.
        OSError: the file cannot be read.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, restval="") if row.get("epoch") != "epoch"]
    rows = list({row.get("epoch"): row for row in rows}.values())  # two processes may have written it, header and all
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{path}: expected a column epoch and a row for each epoch")
    try:
        return {name: [float(row[name] or "nan") for row in rows] for name in rows[0] if name}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save_figure(figure, path: str | Path) -> None:
    """Saves a figure as a PNG; the file appears, or replaces an older one, only when it is whole."""
    with write_whole(Path(path)) as unfinished:
        figure.savefig(unfinished, format="png", dpi=100)
