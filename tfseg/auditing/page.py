"""The page of an audit: each finding with its image, its ground truth and what the model says, side by side."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

import cv2
import numpy as np

from tfseg.auditing.auditor import Audit
from tfseg.auditing.findings import KINDS, Box, Finding
from tfseg.auditing.reading import Image, list_jobs, read_images
from tfseg.auditing.regions import predict
from tfseg.io import codecs
from tfseg.io.words import count_of
from tfseg.visualization import html
from tfseg.visualization.overlay import blend

MARK = '<meta name="generator" content="tfseg audit">'  # distinguishes our page from another one
STYLE = """
.finding { border-top: 1px solid #ddd; padding: 0.75rem 0; break-inside: avoid; }
.finding p { margin: 0 0 0.5rem; overflow-wrap: anywhere; } .finding .score { font-weight: 600; }
.crops { display: flex; flex-wrap: wrap; gap: 0.5rem; } .crops figure { margin: 0; max-width: 19rem; }
.crops img { width: 19rem; max-width: 100%; } figcaption { font-size: 0.85em; color: #444; }
.legend span.name { display: inline-block; margin-right: 1.25em; }
"""
LONGER = 360  # pixels of the longer side of a crop
QUALITY = 85  # of JPEG
AROUND = 0.6  # of a region's longer side that is shown around it
ALPHA = 0.6  # of the colours of the classes
FRAME = np.array([255, 0, 255], np.uint8)  # around the region
WITH_PREDICTION = ("label_errors", "shifted_masks")


class Crop(NamedTuple):
    """One image of a finding."""

    caption: str
    pixels: np.ndarray  # (h, w, 3) uint8 RGB


def make_page(audit: Audit, limit: int) -> str:
    """Makes the page: HTML with its style and its crops inside it.

    Args:
        audit: whose records are read again; of its model the images with a region or a shift are asked for again.
        limit: findings to show, the first of all.

    Raises:
        ValueError: a record is damaged.
        OSError: the records cannot be read.
    """
    shown = audit.findings[:limit]
    crops = cut_crops(audit, shown)
    model = "" if audit.model is None else f", seen by the model in <code>{escape(audit.model.name)}</code>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in audit.notes)
    sections = [
        "<h1>Audit of a data set</h1>",
        f"<p>Records in <code>{escape(str(audit.records))}</code>, {escape(', '.join(audit.splits))}{model}.</p>",
        f'<ul class="notes">{notes}</ul>' if notes else "",
        f"<p>{_count(audit, len(shown))} The score is the share of such findings that are expected to be faults.</p>",
        _kinds_table(audit),
        _legend(audit),
        "<h2>Findings</h2>",
        *(_finding(place, finding, crops.get(place, [])) for place, finding in enumerate(shown, 1)),
    ]
    return html.document(f"Audit of {audit.records}", sections, head=MARK, style=STYLE)


def _count(audit: Audit, shown: int) -> str:
    total = len(audit.findings)
    if not total:
        return "Nothing suspicious was found."
    more = f" The first {shown:,} are shown; audit.json has all." if shown < total else ""
    return f"{count_of(total, 'finding')}, the most suspicious first.{more}"


def _kinds_table(audit: Audit) -> str:
    counts = {kind: sum(finding.kind == kind for finding in audit.findings) for kind in KINDS}
    rows = [[escape(kind), f"{counts[kind]:,}", escape(text)] for kind, text in KINDS.items() if counts[kind]]
    return html.table(["kind", "findings", "meaning"], rows, words=True) if rows else ""


def _legend(audit: Audit) -> str:
    colors = zip(audit.records.classes, audit.records.palette.tolist(), strict=True)
    names = "".join(f'<span class="name">{html.swatch(name, color)}</span>' for name, color in colors)
    return f'<p class="legend">{names}</p>'


def _finding(place: int, finding: Finding, crops: list[Crop]) -> str:
    figures = "".join(
        f"<figure>{html.image(codecs.encode_image(crop.pixels, 'jpeg', QUALITY), crop.caption, 'jpeg')}"
        f"<figcaption>{escape(crop.caption)}</figcaption></figure>"
        for crop in crops
    )
    return (
        f'<div class="finding"><p>{place}. <span class="score">{finding.score:.2f}</span> {escape(finding.kind)}, '
        f"<code>{escape(finding.place)}</code>: {escape(finding.what)}</p>"
        f'<div class="crops">{figures}</div></div>'
    )


# ---- crops


def cut_crops(audit: Audit, findings: Iterable[Finding]) -> dict[int, list[Crop]]:
    """Cuts what is shown of findings out of the records, one image in memory at a time.

    Returns:
        Place of the finding, from 1 -> its crops.
    """
    wanted: dict[tuple[str, str], list[tuple[int, Finding, bool]]] = defaultdict(list)
    for place, finding in enumerate(findings, 1):
        if finding.id:
            wanted[finding.split, finding.id].append((place, finding, False))
        if twin := find_twin(finding):
            wanted[twin].append((place, finding, True))
    crops: dict[int, list[Crop]] = defaultdict(list)
    for image in _read(audit, set(wanted)):
        prediction = None
        entries = wanted[image.split, image.id]
        if audit.model is not None and any(one.kind in WITH_PREDICTION and not twin for _, one, twin in entries):
            prediction = predict(audit.model.segment(image.pixels), audit.model.learns_void)
        for place, finding, twin in entries:
            if twin:
                crops[place].append(Crop(f"{image.split}/{image.id}", shrink(image.pixels)))
            else:  # before its twin, whichever was read first
                crops[place][:0] = _cut(audit, finding, image, prediction)
    return crops


def find_twin(finding: Finding) -> tuple[str, str] | None:
    """Gives split and id of the first copy of a duplicate, None for other kinds."""
    copies = finding.details.get("copies")
    if finding.kind != "duplicates" or not copies or not finding.id:
        return None
    split, _, id = copies[0].partition("/")
    return split, id


def _read(audit: Audit, wanted: set[tuple[str, str]]) -> Iterator[Image]:
    places: dict[str, set[int]] = defaultdict(set)
    for key in wanted:
        places[key[0]].add(audit.places[key])
    for job in list_jobs(audit.records, audit.splits):
        inside = {place for place in places[job.split] if job.first <= place < job.first + job.count}
        if inside:
            yield from read_images(job, inside)


def _cut(audit: Audit, finding: Finding, image: Image, prediction: np.ndarray | None) -> list[Crop]:
    if finding.kind == "duplicates":
        return [Crop(finding.place, shrink(image.pixels))]
    colors = audit.records.palette
    whole = 0, 0, *image.mask.shape
    window = whole if finding.box is None else grow(finding.box, image.mask.shape)
    rows, columns = slice(window[0], window[0] + window[2]), slice(window[1], window[1] + window[3])
    pixels = np.ascontiguousarray(image.pixels[rows, columns])
    layers = {"image": pixels, "ground truth": blend(pixels, image.mask[rows, columns], colors, ALPHA)}
    if prediction is not None and finding.kind in WITH_PREDICTION:
        layers["prediction"] = blend(pixels, prediction[rows, columns], colors, ALPHA)
    crops = []
    for caption, layer in layers.items():
        crop = shrink(layer)
        if finding.box is not None:
            draw_frame(crop, finding.box, window)
        crops.append(Crop(caption, crop))
    return crops


def grow(box: Box, size: tuple[int, ...]) -> Box:
    """Grows a box by `AROUND` of its longer side on each side, within an image of (height, width)."""
    top, left, height, width = box
    more = round(AROUND * max(height, width)) + 8
    first, start = max(0, top - more), max(0, left - more)
    return first, start, min(size[0], top + height + more) - first, min(size[1], left + width + more) - start


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Resizes (H, W, 3) uint8 so that the longer side is `LONGER`; a small crop is enlarged at most fourfold."""
    scale = min(LONGER / max(pixels.shape[:2]), 4)
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)


def draw_frame(crop: np.ndarray, box: Box, window: Box) -> None:
    """Draws a box into the crop of a window, both in pixels of the image, in place."""
    scale = crop.shape[0] / window[2], crop.shape[1] / window[3]
    top, left = round((box[0] - window[0]) * scale[0]), round((box[1] - window[1]) * scale[1])
    bottom = round((box[0] + box[2] - window[0]) * scale[0]) - 1
    right = round((box[1] + box[3] - window[1]) * scale[1]) - 1
    cv2.rectangle(crop, (left, top), (right, bottom), FRAME.tolist(), 1)
