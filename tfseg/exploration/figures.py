"""The figures of `explore`: histograms, what each height of the images consists of, an example.

Each function returns the bytes of a PNG. Colours are those of Cityscapes' labels and of the classes.
"""

import functools
import io
import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import numpy as np

from tfseg.exploration.survey import Count, Split, Survey
from tfseg.io.pixel_formats import as_rgb, describe_shown
from tfseg.visualization.lettering import LINE, LONGEST, as_text, fonts_for, lay_out_legend

if TYPE_CHECKING:
    from matplotlib.typing import HashableList

DOTS_PER_INCH = 110
WIDTH = 12  # inches
_EDGE = {"edgecolor": "#555555", "linewidth": 0.6}


def percent(share: float) -> str:
    """Writes a share in 0..1 with three digits: 0.12 -> "12.0 %"."""
    return f"{100 * share:#.3g}".rstrip(".") + " %" if share else "0 %"


def _readable(draw: Callable) -> Callable:
    """Lets a function draw in fonts that have the letters of a survey's names."""

    @functools.wraps(draw)
    def draw_readably(survey: Survey, *arguments) -> bytes:
        labels = {count.name for split in survey.splits.values() for count in (*split.classes, *split.labels)}
        with fonts_for([*survey.classes, *labels, *survey.splits, survey.example.id]):
            return draw(survey, *arguments)

    return draw_readably


@_readable
def draw_histogram(survey: Survey, kind: str) -> bytes:
    """Draws the share of each class or label, a panel a split, on a logarithmic axis.

    Args:
        survey: what to draw.
        kind: "classes" or "labels", the field of `Split` that holds the counts.
    """
    groups = {name: getattr(split, kind) for name, split in survey.splits.items() if getattr(split, kind)}
    if not groups:
        return _draw_note("No label ids here: records keep those of evaluation splits only.")
    entries = sorted({(count.value, count.name) for group in groups.values() for count in group})
    lowest = min(100 * count.share for group in groups.values() for count in group if count.share)
    left = 10.0 ** math.floor(math.log10(lowest) - 0.3)  # percent; the shortest bar is still seen
    figure, panels = _panels(len(groups), 0.26 * len(entries) + 1)
    for axis, (name, group) in zip(panels, groups.items(), strict=True):
        for count in group:
            _draw_bar(axis, entries.index((count.value, count.name)), count, left)
        axis.set_yticks(range(len(entries)), [_entry_name(kind, *entry) for entry in entries])
        axis.set_ylim(len(entries) - 0.4, -0.6)
        _scale_logarithmically(axis, left)
        _finish(axis, _split_title(name, survey.splits[name]))
    return _to_png(figure)


def _scale_logarithmically(axis, left: float) -> None:
    room = (100 / left) ** 0.25  # beyond 100 %, for the text of the longest bar
    axis.set(xscale="log", xlim=(left, 100 * room), xlabel="share of the pixels (%), logarithmic")
    powers = range(round(math.log10(left)), 3)
    axis.set_xticks([10.0**power for power in powers], [f"{10.0**power:g}" for power in powers])
    axis.minorticks_off()
    axis.tick_params(axis="x", labelsize=min(10, 55 / len(powers)))
    axis.grid(axis="x", alpha=0.4)
    axis.set_axisbelow(True)


def _entry_name(kind: str, value: int, name: str) -> str:
    name = as_text(name, LONGEST)
    return f"{name}  {value}" if kind == "labels" else name


def _draw_bar(axis, place: int, count: Count, left: float) -> None:
    right = max(100 * count.share, left)
    axis.barh(place, right - left, left=left, color=np.array(count.color) / 255, **_EDGE)
    text, color = (percent(count.share), "black") if count.pixels else ("none", "#777777")
    axis.annotate(
        text, (right, place), (5, 0), textcoords="offset points", va="center_baseline", fontsize=8.5, color=color
    )


@_readable
def draw_rows(survey: Survey) -> bytes:
    """Draws what each height of the images consists of: an area a class, side by side, a panel a split."""
    figure, panels = _panels(len(survey.splits), 4.6)
    drawn = set()
    for axis, (name, split) in zip(panels, survey.splits.items(), strict=True):
        edges, ends = stack(np.array(split.band_pixels))
        heights = np.repeat(100 * edges, 2)[1:-1]  # both ends of each band
        left = np.zeros(len(ends))
        for class_id, right in enumerate(100 * ends.T):
            if (right > left).any():
                drawn.add(class_id)
                sides = np.repeat(left, 2), np.repeat(right, 2)
                axis.fill_betweenx(heights, *sides, color=np.array(survey.colors[class_id]) / 255, linewidth=0)
            left = right
        axis.set(xlim=(0, 100), ylim=(100, 0), xlabel="share of the pixels (%)")
        _finish(axis, _split_title(name, split))
    panels[0].set_ylabel("height, from the top of the image (%)")
    _draw_legend(figure, _patches(survey, drawn), min(9, 4 * len(panels)))
    return _to_png(figure)


def _draw_legend(figure, patches: list, most: int) -> None:
    """Draws a legend of at most so many columns below a figure, which grows by as much as it takes above one row."""
    width, height = figure.get_size_inches()
    columns, more = lay_out_legend([patch.get_label() for patch in patches], width, 10, most)
    figure.set_size_inches(width, height + more - LINE * 10 / 72)
    figure.legend(handles=patches, loc="outside lower center", ncols=columns, frameon=False, fontsize=10)


def stack(band_pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lays the classes of each band side by side; a band without pixels continues the one above it.

    Args:
        band_pixels: (bands, classes) integers, from the top down.

    Returns:
        (n + 1,) edges of the n bands that have pixels, from 0, the top, to 1.
        (n, classes) where each class ends in its band, in 0..1; the last ends at 1.
    """
    filled = np.flatnonzero(band_pixels.sum(axis=1))
    edges = np.append(filled / len(band_pixels), 1.0)
    ends = band_pixels[filled].cumsum(axis=1)
    return edges, ends / ends[:, -1:]


@_readable
def draw_example(survey: Survey) -> bytes:
    """Draws an image, its label ids, its labels in colour and its classes; without label ids the first and last."""
    from matplotlib.figure import Figure  # here and below: --help answers without it

    example = survey.example
    names: list[HashableList[Hashable]] = [["image", "ids", "bar"], ["labels", "classes", "legend"]]
    if example.label_ids is None:
        names = [["image", "classes", "legend"]]
    height, width = example.image.shape[:2]
    panel_height = min(height / width, 2) * 0.41 * WIDTH  # inches
    figure = Figure((WIDTH, len(names) * (panel_height + 0.3) + 0.35), layout="constrained")
    axes = figure.subplot_mosaic(names, width_ratios=(1, 1, 0.04))
    shown = describe_shown(example.image.shape[-1])
    _show(axes["image"], as_rgb(example.image), f"image, {shown}" if shown else "image")
    _show(axes["classes"], np.array(survey.colors, np.uint8)[example.mask], "classes")
    axes["legend"].axis("off")
    patches = _patches(survey, np.unique(example.mask).tolist())
    if len(patches) * LINE * 10 / 72 <= panel_height:
        axes["legend"].legend(handles=patches, loc="center left", frameon=False, borderaxespad=0, borderpad=0)
    else:  # there are more than go beside the image
        _draw_legend(figure, patches, 9)
    if example.label_ids is not None:
        _draw_label_ids(axes, survey, example.label_ids, panel_height)
    name = example.id if len(example.id) <= 80 else "..." + example.id[-80:]
    figure.suptitle(as_text(f"{name}   ({survey.example_split}, {height}x{width} pixels)"), fontsize=12)
    return _to_png(figure)


def _draw_label_ids(axes, survey: Survey, label_ids: np.ndarray, panel_height: float) -> None:
    entries = {count.value: count for count in survey.splits[survey.example_split].labels}
    colors = np.zeros((256, 3), np.uint8)
    colors[list(entries)] = [entry.color for entry in entries.values()]
    title = "labels" if survey.layout.startswith("cityscapes") else "labels, in the colour of their class"
    _show(axes["labels"], colors[label_ids], title)
    # One shade for each value that occurs, evenly spread: neighbours such as 7 and 8 can be distinguished.
    present = np.unique(label_ids)
    last = len(present) - 0.5
    ranks = _show(axes["ids"], np.searchsorted(present, label_ids), "label ids", cmap="viridis", vmin=-0.5, vmax=last)
    bar = axes["bar"].figure.colorbar(ranks, cax=axes["bar"], boundaries=np.arange(len(present) + 1) - 0.5)
    every = math.ceil(len(present) * 6 / (0.9 * 72 * panel_height))  # where there is no room for letters of 6 points
    ticks = range(0, len(present), every)
    values = present.tolist()[::every]
    bar.set_ticks(ticks, labels=[f"{value}  {as_text(entries[value].name, LONGEST)}" for value in values])
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=min(10, 0.9 * 72 * panel_height / len(ticks)), length=0)  # points


def _show(axis, pixels: np.ndarray, title: str, **options):
    # A blend of two colours is the colour of no label: only the image is smoothed.
    interpolation = "antialiased" if title.startswith("image") else "nearest"
    shown = axis.imshow(pixels, interpolation=interpolation, **options)
    axis.set(xticks=[], yticks=[])
    _finish(axis, title)
    return shown


def _draw_note(text: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure((8, 1))
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color="#444444")
    return _to_png(figure)


def _panels(count: int, height: float) -> tuple:
    """A figure with so many panels, at most three side by side, each of a height in inches."""
    from matplotlib.figure import Figure

    columns = min(count, 3)
    rows = math.ceil(count / columns)
    figure = Figure((WIDTH * (1, 0.75, 1)[columns - 1] if count > 1 else 7, height * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, axes[:count]


def _patches(survey: Survey, class_ids) -> list:
    from matplotlib.patches import Patch

    colors = (np.array(survey.colors) / 255).tolist()
    entries = [(survey.classes[class_id], colors[class_id]) for class_id in sorted(class_ids)]
    return [Patch(facecolor=color, label=as_text(name, LONGEST), **_EDGE) for name, color in entries]


def _split_title(name: str, split: Split) -> str:
    title = f"{name}: {split.images} images"
    return title if split.has_truth else f"{title}, no ground truth"


def _finish(axis, title: str) -> None:
    axis.set_title(as_text(title), fontsize=11)
    for spine in axis.spines.values():
        spine.set_color("#999999")


def _to_png(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return file.getvalue()
