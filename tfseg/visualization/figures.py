"""Figures of a run's predictions: images beside ground truth, prediction and error, and a confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfseg.io.atomic import write_whole
from tfseg.records.labels import VOID
from tfseg.visualization.lettering import LONGEST, as_text, fonts_for, lay_out_legend, width_of
from tfseg.visualization.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("image", "truth", "prediction", "error")  # of a panel
WRONG, NO_TRUTH = np.array([(225, 29, 29), (96, 96, 96)], np.uint8)  # RGB, of an error
ERRORS = {"wrong": WRONG, "no truth": NO_TRUTH}  # its legend
COLUMN_WIDTH = 5  # inches
MOST_CELLS = 40  # classes of a confusion matrix whose numbers are written


@dataclass(frozen=True)
class Sample:
    """One row of a panel.

    Attributes:
        id: of the image.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8 class ids, the ground truth.
        prediction: (H, W) uint8 class ids.
        score: mean IoU of this image in 0..1, or nan.
        ignore_class: id whose pixels count as without ground truth; None: all count.
    """

    id: str
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    score: float
    ignore_class: int | None = VOID


def draw_panel(
    samples: Sequence[Sample],
    classes: Sequence[str],
    colors: np.ndarray,
    path: str | Path,
    columns: Sequence[str] = COLUMNS,
) -> None:
    """Draws image, ground truth, prediction and error of each sample side by side, with a legend, as a PNG.

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

    if not samples:
        raise ValueError("a panel needs at least one sample")
    names, patches = make_legend(classes, colors, columns)
    width = COLUMN_WIDTH * len(columns)
    legend_columns, legend_height = lay_out_legend(names, width, 11, min(10, 3 * len(columns)))
    heights = [COLUMN_WIDTH * sample.truth.shape[0] / sample.truth.shape[1] + 0.3 for sample in samples]
    with fonts_for([*classes, *(sample.id for sample in samples)]):
        figure = Figure((width, sum(heights) + legend_height), layout="constrained")
        rows = figure.subplots(len(samples), len(columns), squeeze=False, height_ratios=heights)
        for axes, sample in zip(rows, samples, strict=True):
            draw_row(axes, sample, colors, columns)
        for axis, title in zip(rows[0], columns, strict=True):
            axis.set_title(title, fontsize=14)
        figure.legend(handles=patches, loc="outside lower center", ncols=legend_columns, frameon=False, fontsize=11)
        save_figure(figure, path)


def make_legend(classes: Sequence[str], colors: np.ndarray, columns: Sequence[str]) -> tuple[list[str], list]:
    """Makes names and patches of the colours of a panel."""
    from matplotlib.patches import Patch

    meanings = [*zip(classes, colors, strict=True), *(ERRORS.items() if "error" in columns else [])]
    names = [as_text(name, LONGEST) for name, _ in meanings]
    patches = [
        Patch(facecolor=color / 255, edgecolor="black", label=name)
        for name, (_, color) in zip(names, meanings, strict=True)
    ]
    return names, patches


def draw_row(axes: "Sequence[Axes]", sample: Sample, colors: np.ndarray, columns: Sequence[str]) -> None:
    """Draws one sample on an axis a column, its id and score below the first."""
    for axis, column in zip(axes, columns, strict=True):
        # A blend of two class colours is the colour of no class: only the image is smoothed.
        interpolation = "antialiased" if column == "image" else "nearest"
        axis.imshow(paint(sample, column, colors), interpolation=interpolation)
        axis.set(xticks=[], yticks=[])
    axes[0].set_xlabel(f"{as_text(sample.id)}   mean IoU {percent(sample.score)} %", loc="left", fontsize=9)


def paint(sample: Sample, column: str, colors: np.ndarray) -> np.ndarray:
    """Paints one column of a sample, one of `COLUMNS`, as uint8 RGB (H, W, 3)."""
    if column == "image":
        return sample.image
    if column == "error":
        return paint_error(sample.image, sample.truth, sample.prediction, sample.ignore_class)
    return colors[sample.truth if column == "truth" else sample.prediction]


def paint_error(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, ignore_class: int | None = VOID
) -> np.ndarray:
    """Paints wrong pixels `WRONG` and those without ground truth `NO_TRUTH`, over the image in pale shades of grey.

    Args:
        image: uint8 (H, W, 3).
        truth: integers (H, W), class ids.
        prediction: the same.
        ignore_class: id in `truth` that means that there is none; None: there is no such id.

    Returns:
        uint8 (H, W, 3).
    """
    error = np.repeat(128 + image.mean(axis=-1, keepdims=True) / 2, 3, axis=-1).astype(np.uint8)
    error[truth != prediction] = WRONG
    if ignore_class is not None:
        error[truth == ignore_class] = NO_TRUTH
    return error


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], path: str | Path) -> None:
    """Draws a confusion matrix as a PNG: each row, the pixels of one true class, in percent of the row.

    Of more than `MOST_CELLS` classes the numbers are left out, since there would be thousands.

    Args:
        matrix: integers (C, C), rows are ground truth; cells without pixels stay empty.
        classes: the C names.
        path: of the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    names = [as_text(name, LONGEST) for name in classes]
    legible = len(names) <= MOST_CELLS
    cell, size = (0.6, 10) if legible else (0.16, 8)  # inches, and points
    side = 1 + max(1, *(width_of(name, size) for name in names)) + cell * len(names)
    with fonts_for(classes):
        figure = Figure((side, side), layout="constrained")
        axis = figure.subplots()
        draw_shares(axis, np.asarray(matrix, np.float64), numbers=legible)
        turned: dict[str, Any] = {"rotation": 90}
        if legible:
            turned = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
        axis.set_xticks(range(len(names)), names, fontsize=size, **turned)
        axis.set_yticks(range(len(names)), names, fontsize=size)
        axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        axis.set(xlabel="prediction", ylabel="truth, in percent of its pixels")
        axis.xaxis.set_label_position("top")
        if legible:
            draw_grid(axis, len(names))
        save_figure(figure, path)


def draw_shares(axis: "Axes", matrix: np.ndarray, numbers: bool) -> None:
    """Draws the cells of a confusion matrix in blue by their share of the row, with numbers if asked for."""
    shares = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if not numbers:
        return
    for row, column in np.argwhere(matrix):
        share = shares[row, column]
        axis.text(column, row, f"{share:.1f}", ha="center", va="center", color="white" if share > 50 else "black")


def draw_grid(axis: "Axes", count: int) -> None:
    """Draws lines between the cells of a matrix of so many rows."""
    between = np.arange(0.5, count - 1)
    axis.set_xticks(between, minor=True)
    axis.set_yticks(between, minor=True)
    axis.grid(which="minor", color="#dddddd")
    axis.tick_params(which="minor", length=0)


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Saves a figure as a PNG; the file appears, or replaces an older one, only when it is whole."""
    with write_whole(Path(path)) as unfinished:
        figure.savefig(unfinished, format="png", dpi=100)
