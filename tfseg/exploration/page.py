"""What `explore` found, written down: one page that needs no other file, its figures, and all numbers as JSON."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

from tfseg.exploration.figures import draw_example, draw_histogram, draw_rows, percent
from tfseg.exploration.preview import Preview, sample_note
from tfseg.exploration.survey import BANDS, Count, Split, Survey
from tfseg.io import atomic
from tfseg.io.outputs import check_names, has_mark, write_alone
from tfseg.records.manifest import MANIFEST_NAME
from tfseg.visualization import html
from tfseg.visualization.tables import plain_table

PAGE = "index.html"
STATISTICS = "statistics.json"
FIGURES: dict[str, Callable[[Survey], bytes]] = {
    "classes.png": lambda survey: draw_histogram(survey, "classes"),
    "labels.png": lambda survey: draw_histogram(survey, "labels"),
    "rows.png": draw_rows,
    "example.png": draw_example,
}
MOST_SIZES = 12  # shown on the page; statistics.json has all

_MARK = '<meta name="generator" content="tfseg explore_dataset">'  # distinguishes our page from another one


# ---- files


def check_out(out: str | Path) -> None:
    """Makes the folder to write into, and refuses one where our names are taken by files that are not ours.

    Raises:
        ValueError: it holds such a file, or records.
        OSError: it cannot be made, or is no folder.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: is a file, not a folder; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    if (out / MANIFEST_NAME).exists():  # where conversions refuse to replace what they have not written
        raise ValueError(f"{out}: holds records, among which nothing else may lie; choose another --out")
    check_names(out, (PAGE, STATISTICS, *FIGURES), lambda folder: has_mark(folder / PAGE, _MARK))


def write(survey: Survey, out: str | Path, preview: Preview | None = None) -> list[Path]:
    """Writes page, figures and statistics, each whole or not at all; those of an earlier run are replaced.

    Raises:
        OSError: a file cannot be written.
    """
    figures = {name: draw(survey) for name, draw in FIGURES.items()}
    page = make_page(survey, figures, preview).encode("utf-8", "replace")  # a file name may be no Unicode
    # The page goes first: it shows that the other names are ours, see `check_out`.
    files = {PAGE: page, STATISTICS: make_statistics(survey, preview).encode(), **figures}
    with write_alone(Path(out)):
        for name, data in files.items():
            atomic.write_bytes(data, Path(out) / name)
    return [Path(out) / name for name in files]


def make_statistics(survey: Survey, preview: Preview | None = None) -> str:
    """Makes statistics.json: all numbers, by the names that `survey.Survey` and `survey.Split` explain."""
    content = {name: getattr(survey, name) for name in ("place", "kind", "layout", "limit", "warnings")}
    content["example"] = {"id": survey.example.id, "split": survey.example_split}
    content["splits"] = {name: _with_old_names(dataclasses.asdict(split)) for name, split in survey.splits.items()}
    if preview is not None:
        content["conversion"] = dataclasses.asdict(preview) | {"verdict": preview.verdict}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _with_old_names(value):
    """Gives counts of images the key that statistics.json has had from the first version on."""
    if isinstance(value, dict):
        return {"pictures" if key == "images" else key: _with_old_names(item) for key, item in value.items()}
    return [_with_old_names(item) for item in value] if isinstance(value, list) else value


# ---- page


def make_page(survey: Survey, figures: dict[str, bytes], preview: Preview | None = None) -> str:
    """Makes the page: HTML with its style and its figures, PNGs by the names of `FIGURES`, inside it."""
    sections = [
        "<h1>A look at a data set</h1>",
        f"<p>{escape(survey.kind.capitalize())} in <code>{escape(survey.place)}</code>.</p>",
        _notes(survey),
        _overview(survey.splits),
        _conversion(preview) if preview is not None else "",
        "<h2>Example</h2>",
        "<p>Of the images that were counted, one with the most classes.</p>",
        html.figure(figures["example.png"], f"The image {survey.example.id} beside its labels, label ids and classes"),
        "<h2>Classes</h2>",
        html.figure(figures["classes.png"], _describe(survey.splits, "classes")),
        *(_classes_table(name, split) for name, split in survey.splits.items()),
        _explain_weights(survey),
        "<h2>Labels</h2>",
        html.figure(figures["labels.png"], _describe(survey.splits, "labels")),
        *(_labels_table(name, split) for name, split in survey.splits.items() if split.labels),
        "<h2>Where in the image</h2>",
        f"<p>Of what the images consist at each height, in {BANDS} bands from the top to the bottom.</p>",
        html.figure(figures["rows.png"], _describe_rows(survey.splits)),
    ]
    return html.document(f"Data set {survey.place}", sections, head=_MARK)


def _explain_weights(survey: Survey) -> str:
    text = (
        "Weight: balances the classes in a loss, as median frequency balancing does (Eigen and Fergus, 2015). It is "
        "the median of the classes' frequencies / the frequency of the class, then divided by the mean, so that the "
        "classes that occur weigh 1 on average. Void and classes without pixels have 0."
    )
    return f"<p>{text}{' It is taken from the manifest, for all of the split.' if survey.kind == 'records' else ''}</p>"


def notes(survey: Survey) -> list[str]:
    """Says what a reader of the numbers must know: that they are of a sample, and all warnings."""
    parts = [f"{split.images} of {split.total} images of {name}" for name, split in survey.splits.items()]
    sampled = any(survey.limit is not None and split.total > survey.limit for split in survey.splits.values())
    lines = [f"This is a sample, evenly spread: {', '.join(parts)}."] if sampled else []
    if survey.faults:
        lines.append(f"Of the images, {len(survey.faults)} are bad; those that cannot be read are not counted.")
    return lines + survey.warnings


def _notes(survey: Survey) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in notes(survey))
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _conversion(preview: Preview) -> str:
    """What a conversion would do; names of files and classes are text, and escaped."""
    decided = [[escape(name), escape(text)] for name, text in preview.decided.items()]
    head, *rows = [[escape(cell) for cell in row] for row in preview.label_rows]
    bad = [
        [escape(kind.fault), f"{kind.count:,}", "<br>".join(map(escape, kind.examples)), escape(kind.advice)]
        for kind in preview.bad
    ]
    parts = [
        "<h2>Conversion</h2>",
        f"<p>A conversion {escape(preview.verdict)}{escape(sample_note(preview))}.</p>",
        f"<p><code>{escape(preview.command)}</code></p>",
        html.table([], decided, words=True),
        html.table(head, rows, "Proposed label map" if preview.is_proposed else "Label map"),
        "".join(f"<p>{escape(note)}</p>" for note in preview.notes),
        html.table(["bad files", "number", "such as", "what to do"], bad, words=True) if bad else "",
        "".join(f"<p>Refused: {escape(fault)}</p>" for fault in preview.refused),
    ]
    return "\n".join(filter(None, parts))


def _overview(splits: dict[str, Split]) -> str:
    colored = all(len(split.channel_mean) == 3 for split in splits.values())
    channels = "RGB" if colored else "channels'"
    rows = {
        "images": [f"{split.total:,}" for split in splits.values()],
        "of these counted": ["" if split.images == split.total else f"{split.images:,}" for split in splits.values()],
        "shards": ["" if split.shards is None else f"{split.shards:,}" for split in splits.values()],
        "size, height x width": [_sizes(split) for split in splits.values()],
        "image files": [_kinds(split.image_kinds) for split in splits.values()],
        "mask files": [_kinds(split.mask_kinds) for split in splits.values()],
        f"{channels} mean, of 0 to 255": [_numbers(split.channel_mean, ".1f") for split in splits.values()],
        f"{channels} standard deviation": [_numbers(split.channel_std, ".1f") for split in splits.values()],
        f"{channels} minimum": [_numbers(split.channel_min, "d") for split in splits.values()],
        f"{channels} maximum": [_numbers(split.channel_max, "d") for split in splits.values()],
        "ground truth": ["yes" if split.has_truth else "no ground truth" for split in splits.values()],
    }
    cells = [[escape(name), *values] for name, values in rows.items() if any(values)]
    return "<h2>Splits</h2>\n" + html.table(["", *map(escape, splits)], cells)


def _sizes(split: Split) -> str:
    sizes = [f"{size['height']}x{size['width']}" for size in split.sizes[:MOST_SIZES]]
    if len(split.sizes) == 1:
        return sizes[0]
    lines = [f"{name}: {size['images']:,}" for name, size in zip(sizes, split.sizes, strict=False)]
    others = len(split.sizes) - MOST_SIZES
    return "<br>".join([*lines, f"and {others:,} other sizes"] if others > 0 else lines)


def _kinds(kinds: dict[str, int]) -> str:
    if len(kinds) == 1:
        return escape(next(iter(kinds)))
    return "<br>".join(f"{escape(kind)}: {images:,}" for kind, images in kinds.items())


def _numbers(values: Iterable[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def _classes_table(name: str, split: Split) -> str:
    rows = []
    for count in split.classes:
        weight = split.class_weights[count.value] if count.value < len(split.class_weights) else 0
        rows.append([html.swatch(count.name, count.color), *_count_cells(count), f"{weight:.3f}" if weight else "0"])
    return html.table(["class", "pixels", "share", "images", "weight"], rows, name)


def _labels_table(name: str, split: Split) -> str:
    rows = [
        [html.swatch(count.name, count.color), str(count.value), escape(count.class_name), *_count_cells(count)]
        for count in split.labels
    ]
    return html.table(["label", "mask value", "class", "pixels", "share", "images"], rows, name)


def _count_cells(count: Count) -> list[str]:
    return [f"{count.pixels:,}", percent(count.share), f"{count.images:,}"]


def _describe(splits: dict[str, Split], kind: str) -> str:
    """The three greatest shares of each split, in words; `kind` as in `draw_histogram`."""
    sentences = []
    for name, split in splits.items():
        greatest = sorted(getattr(split, kind), key=lambda count: -count.pixels)[:3]
        if greatest:
            shares = ", ".join(f"{count.name} {percent(count.share)}" for count in greatest)
            sentences.append(f"Greatest in {name}: {shares}.")
    return " ".join([f"Shares of the {kind} as bars, a panel per split.", *sentences]) if sentences else f"No {kind}."


def _describe_rows(splits: dict[str, Split]) -> str:
    """The class with the most pixels at the top and at the bottom of each split, in words."""
    sentences = []
    for name, split in splits.items():
        bands = [band for band in split.band_pixels if any(band)]
        top, bottom = (split.classes[band.index(max(band))].name for band in (bands[0], bands[-1]))
        sentences.append(f"Most frequent in {name}: at the top {top}, at the bottom {bottom}.")
    return "Areas of the classes at each height, a panel per split. " + " ".join(sentences)


# ---- text


def make_summary(survey: Survey) -> str:
    """Makes a plain-text table of the splits: images, sizes and the share of each class in percent, and notes."""
    names = list(dict.fromkeys(count.name for split in survey.splits.values() for count in split.classes))
    rows = [["split", "images", "size", *(f"{name} %" for name in names)]]
    for name, split in survey.splits.items():
        size = split.sizes[0]
        sizes = f"{size['height']}x{size['width']}" if len(split.sizes) == 1 else f"{len(split.sizes)} sizes"
        shares = {count.name: f"{100 * count.share:.2f}" for count in split.classes}
        rows.append([name, str(split.images), sizes, *(shares.get(class_name, "0.00") for class_name in names)])
    return "\n".join(plain_table(rows))
