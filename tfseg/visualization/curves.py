"""Figures of trainings: scores, loss and learning rate over the epochs, of one run or of several."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import read_file
from tfseg.visualization.figures import save_figure
from tfseg.visualization.lettering import as_text, fonts_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BYTES, MOST_COLUMNS, MOST_EPOCHS = 2**26, 100, 10**7  # of history.csv
LARGEST = 1e30  # value that is drawn
NO_LOSSES = ("epoch", "learning_rate", "seconds")  # among the columns of history.csv


def draw_curves(history_csv: str | Path, path: str | Path) -> None:
    """Draws scores, loss and learning rate over the epochs as a PNG: validation as a line, training as dashes.

    Args:
        history_csv: a column `epoch` and any of `loss`, its terms, `val_loss`, `val_<score>`, `<score>` and
            `learning_rate`.
        path: of the PNG.

    Raises:
        ValueError: the history has no epoch, or a cell is no number.
        OSError: a file cannot be read or written.
    """
    from matplotlib.figure import Figure  # here: --help answers without it

    history = read_history(Path(history_csv))
    scores = [name.removeprefix("val_") for name in history if name.startswith("val_") and name != "val_loss"]
    losses = ["loss", *(name for name in history if not name.startswith("val_") and name not in ("loss", *NO_LOSSES))]
    figure = Figure((10, 7.5), layout="constrained")
    axes = figure.subplot_mosaic([["scores", "scores"], ["loss", "rate"]], height_ratios=(1.2, 1))
    for index, name in enumerate(scores):
        draw_curve(axes["scores"], history, name, name, f"C{index}")
    for index, name in enumerate(name for name in losses if name not in scores):
        draw_curve(axes["loss"], history, name, name, f"C{index}")
    if "learning_rate" in history:
        axes["rate"].plot(history["epoch"], history["learning_rate"], color="C0", marker=".")
    axes["scores"].set_title("scores in validation")
    axes["scores"].set_ylim(0, 1)
    axes["loss"].set_title("loss")
    axes["rate"].set_title("learning rate")
    finish_curves(*axes.values())
    save_figure(figure, path)


def draw_run_curves(histories: Mapping[str, str | Path], path: str | Path) -> None:
    """Draws loss and `mean_iou` of several runs over the epochs as a PNG, one colour a run, as `draw_curves` does.

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
        score_axis.set_title("mean IoU in validation")
        finish_curves(loss_axis, score_axis)
        save_figure(figure, path)


def finish_curves(*axes: "Axes") -> None:
    """Gives axes over the epochs what is the same for one run and for several, and a legend if curves have names."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True))
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False)


def draw_curve(axis: "Axes", history: Mapping[str, list[float]], value: str, name: str, color: str) -> None:
    """Draws what the history has of a value: validation as a line, training as dashes of the same colour."""
    for column, style, label in ((f"val_{value}", "-", name), (value, "--", f"{name}, training")):
        if column in history:  # an epoch that was not validated has no score, and no gap
            known = [index for index, score in enumerate(history[column]) if not math.isnan(score)]
            epochs, scores = ([history[name][index] for index in known] for name in ("epoch", column))
            axis.plot(epochs, scores, style, color=color, label=as_text(label), marker=".")


def read_history(path: Path) -> dict[str, list[float]]:
    """Reads history.csv as columns; an empty cell is nan, and of rows of the same epoch the last counts.

    Raises:
        ValueError: there is no column `epoch` or no row, or a cell is no number.
        OSError: the file cannot be read.
    """
    text = decode_history(read_file(path, MOST_BYTES), path)
    try:
        rows = [row for row in csv.DictReader(io.StringIO(text, newline=""), restval="") if row.get("epoch") != "epoch"]
    except csv.Error as error:
        raise ValueError(f"{printable(path)}: {error}") from None
    rows = list({row.get("epoch"): row for row in rows}.values())  # two processes may have written it, header and all
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{printable(path)}: expected a column epoch and a row for each epoch")
    if len(rows[0]) > MOST_COLUMNS:
        raise ValueError(f"{printable(path)}: has {len(rows[0])} columns, expected at most {MOST_COLUMNS}")
    try:
        history = {name: [float(row[name] or "nan") for row in rows] for name in rows[0] if name}
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {shorten(error)}") from None
    if not all(0 <= epoch <= MOST_EPOCHS for epoch in history["epoch"]):
        raise ValueError(f"{printable(path)}: expected epochs of 0 to {MOST_EPOCHS:,}")
    return {name: [value if abs(value) < LARGEST else math.nan for value in values] for name, values in history.items()}


def decode_history(data: bytes, path: Path) -> str:
    """Decodes the text of history.csv; raises ValueError if it is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{printable(path)}: is no text in UTF-8") from None
