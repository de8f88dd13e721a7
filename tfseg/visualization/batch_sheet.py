"""A sheet of images with their masks laid over them, such as a training batch."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.io.pixel_formats import as_rgb, describe_shown
from tfseg.visualization.figures import save_figure
from tfseg.visualization.lettering import LONGEST, as_text, fonts_for, lay_out_legend
from tfseg.visualization.overlay import blend

WIDTH = 3.6  # inches, of an image
ACROSS = 4  # images in a row


def draw_batch(
    images: np.ndarray, masks: np.ndarray, classes: Sequence[str], colors: np.ndarray, title: str, path: str | Path
) -> None:
    """Draws each image with its mask over it below, four to a row, and a legend of the classes, as a PNG.

    Args:
        images: uint8 (batch, height, width, channels), of which three are shown, see `as_rgb`.
        masks: uint8 (batch, height, width), class ids.
        classes: the C names.
        colors: (C, 3) uint8 RGB.
        title: of the sheet.
        path: of the PNG.
    """
    from matplotlib.figure import Figure  # here: --help answers without it

    across = min(len(images), ACROSS)
    down = math.ceil(len(images) / across)
    height = WIDTH * images.shape[1] / images.shape[2]
    names = [as_text(name, LONGEST) for name in classes]
    columns, legend_height = lay_out_legend(names, across * WIDTH, 9, 8)
    with fonts_for([*classes, title]):
        figure = Figure((across * WIDTH, 2 * down * height + 0.6 + legend_height), layout="constrained")
        axes = figure.subplots(2 * down, across, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for place, (image, mask) in enumerate(zip(images, masks, strict=True)):
            row, column = divmod(place, across)
            axes[2 * row, column].imshow(as_rgb(image))
            axes[2 * row + 1, column].imshow(blend(image, mask, colors, 0.5), interpolation="nearest")
        shown = describe_shown(images.shape[-1])
        figure.suptitle(as_text(f"{title}, {shown}" if shown else title))
        patches = make_patches(names, colors)
        figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
        save_figure(figure, path)


def make_patches(names: Sequence[str], colors: np.ndarray) -> list:
    """Makes the entries of a legend: a patch of each colour."""
    from matplotlib.patches import Patch

    return [
        Patch(facecolor=color / 255, edgecolor="black", label=name) for name, color in zip(names, colors, strict=True)
    ]
