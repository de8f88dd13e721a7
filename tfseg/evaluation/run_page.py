"""What `report` shows of a run, as one page that needs no other file."""

import datetime
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from tfseg.config.checks import as_yaml
from tfseg.config.schema import Config, Data
from tfseg.config.settings import list_settings
from tfseg.inference.tta import InferenceSettings
from tfseg.io.pixel_formats import describe_shown
from tfseg.records.labels import VOID
from tfseg.records.manifest import Manifest
from tfseg.visualization import html
from tfseg.visualization.figures import ERRORS, Sample, paint
from tfseg.visualization.tables import official_rows, percent

PIXELS = 640  # that an image has at most on its longer side
FIRST = ("mean_iou", "mean_f1", "mean_boundary_iou", "pixel_accuracy")  # to be looked at
OFFICIAL = ("mean_category_iou", "mean_class_iou")  # likewise
# Scores of a whole split, by their names in scores-SPLIT.json.
MEANS = {
    "mean_iou": "mean IoU of the classes; void ground truth counts nowhere",
    "mean_f1": "mean F1 of the classes; void ground truth counts nowhere",
    "mean_boundary_iou": "mean boundary IoU (Cheng et al. 2021); void ground truth counts nowhere",
    "pixel_accuracy": "share of the pixels that are right; void ground truth counts nowhere",
    "mean_iou_with_void": "mean IoU of the classes, void being one of them",
    "mean_f1_with_void": "mean F1 of the classes, void being one of them",
    "calibration_error": "how far confidence is from the share that is right (Guo et al. 2017); 0 is best",
    "batch_mean_iou_with_void": "what segmentation_models prints: a mean over batches, no score of a split",
    "batch_mean_f1_with_void": "the same of F1",
}
PANELS = {
    "panel-random": ("Random", "Drawn once for a split: every run's report has the same."),
    "panel-best": ("Best", "The highest mean IoU of the image's own confusion matrix; void ground truth is left out."),
    "panel-worst": ("Worst", "The lowest."),
}

_STYLE = """
.first { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 0.75rem; margin: 1.5rem 0; }
.first div { padding: 0.5rem 0.9rem; background: #f4f4f5; border-radius: 0.4rem; }
.first dt { font: 0.8rem ui-monospace, Menlo, Consolas, monospace; color: #52525b; }
.first dd { margin: 0; font-size: 1.7rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; padding: 0.4rem 0; list-style: none;
  background: #fff; }
.sample > figcaption { display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.4rem; }
.tiles figure { margin: 0; } .tiles img { width: 100%; } .tiles figcaption { font-size: 0.8rem; color: #52525b; }
summary { cursor: pointer; } pre { overflow-x: auto; padding: 0.75rem; background: #f4f4f5; font-size: 0.85rem; }
@media (min-width: 40rem) { .legend { position: sticky; top: 0; max-height: 25vh; overflow-y: auto; } }
@media (max-width: 40rem) { .tiles { grid-template-columns: repeat(2, 1fr); } }
@media print { .legend { position: static; max-height: none; overflow: visible; } .sample { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Findings:
    """What is known of a run."""

    run: Path
    config: Config
    settings: str  # config.yaml
    metrics: dict  # metrics.json; empty if there is none
    scores: dict  # scores-SPLIT.json
    seconds: float  # that its epochs took
    epochs: int  # that it had
    manifest: Manifest
    manifest_hash: str  # SHA-256 of its file
    colors: np.ndarray  # (C, 3) uint8 RGB
    panels: dict[str, list[Sample]]  # those of `PANELS`
    columns: Sequence[str]  # of them


def make_page(findings: Findings, curves: bytes, confusion: bytes) -> str:
    """Makes the page of what is known of a run and of two figures, PNGs."""
    scores = findings.scores
    sections = [
        f"<h1>{escape(findings.run.resolve().name)}</h1>",
        _summary(findings),
        _first(scores),
        "<h2>Scores</h2>",
        _classes_table(scores, findings.colors),
        _means_table(scores),
        *_official_tables(scores.get("official", {})),
        "<h2>Confusion</h2>",
        f"<p>{escape(_confusions(scores))}</p>",
        html.figure(confusion, "Confusion matrix, each row in percent of a true class"),
        "<h2>Curves</h2>",
        f"<p>{_curves(findings)}</p>",
        html.figure(curves, "Scores, loss and learning rate over the epochs"),
        "<section>\n<h2>Images</h2>",
        _legend(findings),
        *(section for name in PANELS for section in _panel(name, findings)),
        "</section>",
        "<h2>Settings</h2>",
        _settings(findings),
        "<h2>Records and training</h2>",
        _facts(findings),
    ]
    return html.document(f"Run {findings.run.resolve().name}", sections, style=_STYLE)


def _summary(findings: Findings) -> str:
    scores, epoch = findings.scores, findings.metrics.get("epoch")
    best = f"Epoch {escape(str(epoch))}, the best of {findings.epochs}" if epoch else "The best epoch"
    count = findings.manifest.splits[scores["split"]].count
    size = ", then ".join("x".join(map(str, size)) for size in scores["resize"]) or "their stored size"
    is_plain = InferenceSettings.from_json(scores["inference"]).is_plain
    inference = "" if is_plain else f", by {as_yaml(scores['inference'])}"
    return (
        f"<p>{best}, on the {count:,} images of <code>{escape(scores['split'])}</code> in "
        f"<code>{escape(scores['records'])}</code>. The network saw them at {escape(size + inference)}; the masks, "
        "resized to the ground truth's own size, are scored there.</p>"
    )


def _first(scores: dict) -> str:
    official = scores.get("official", {})
    shown = {name: scores[name] for name in FIRST if name in scores}
    shown |= {f"official {name}": official[name] for name in OFFICIAL if name in official}
    entries = "".join(f"<div><dt>{name}</dt><dd>{_percent(score)}</dd></div>" for name, score in shown.items())
    return f'<dl class="first">{entries}</dl>'


def _percent(score: float | None) -> str:
    text = percent(score)
    return text if text == "-" else f"{text} %"


def _classes_table(scores: dict, colors: np.ndarray) -> str:
    total = sum(scores["support"])
    shares = [pixels / total if total else math.nan for pixels in scores["support"]]
    columns = {"IoU %": scores["iou"], "F1 %": scores["f1"]}
    if "boundary_iou" in scores:
        columns["boundary IoU %"] = scores["boundary_iou"]
    columns["pixels %"] = shares
    names = [html.swatch(*named) for named in zip(scores["classes"], colors, strict=True)]
    rows = [(name, *map(percent, values)) for name, *values in zip(names, *columns.values(), strict=True)]
    return html.table(["class", *columns], rows)


def _means_table(scores: dict) -> str:
    rows = [
        (f"<code>{name.replace('_', '_<wbr>')}</code>", percent(scores[name]), escape(_explain(meaning, scores)))
        for name, meaning in MEANS.items()
        if name in scores
    ]
    return html.table(["of the whole split", "%", "what it is"], rows, words=True)


def _explain(meaning: str, scores: dict) -> str:
    """What a score is, where void is learned and its ground truth counts."""
    if scores.get("learn_void"):
        return meaning.replace("void ground truth counts nowhere", "void is one of them")
    return meaning


def _official_tables(official: dict) -> Iterator[str]:
    for kind in ("category", "class"):
        if f"{kind}_iou" in official:
            head, *rows = official_rows(official, kind)
            cells = [[escape(cell) for cell in row] for row in rows]
            yield f"<h3>Official Cityscapes score, by {kind}</h3>\n{html.table(head, cells)}"


def _confusions(scores: dict) -> str:
    """The three greatest shares of a class that are taken for another, in words."""
    matrix = np.array(scores["confusion_matrix"], np.float64)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    if not scores.get("learn_void"):
        shares[VOID] = 0
    greatest = [divmod(int(place), len(matrix)) for place in np.argsort(-shares, axis=None)[:3]]
    names = scores["classes"]
    return " ".join(
        f"{percent(shares[truth, taken])} % of {names[truth]} is taken for {names[taken]}."
        for truth, taken in greatest
        if shares[truth, taken]
    )


def _curves(findings: Findings) -> str:
    """Of which masks the scores of each epoch are, in words."""
    size = findings.config.data.eval_size or findings.manifest.size
    seen = f"at {'x'.join(map(str, size))}" if size else "at each image's own size"
    best = findings.metrics.get("validation", {})
    chosen = f" The epoch that was chosen had a mean IoU of {_percent(best['mean_iou'])} there." if best else ""
    return f"Scores are those of the validations, {seen}, as the network sees images.{chosen}"


def _legend(findings: Findings) -> str:
    meanings = [*zip(findings.scores["classes"], findings.colors, strict=True)]
    meanings += ERRORS.items() if "error" in findings.columns else []
    return f'<ul class="legend">{"".join(f"<li>{html.swatch(*meaning)}</li>" for meaning in meanings)}</ul>'


def _panel(name: str, findings: Findings) -> Iterator[str]:
    title, explanation = PANELS[name]
    if findings.scores.get("learn_void"):
        explanation = explanation.replace("; void ground truth is left out", "")
    yield f"<h3>{title}</h3>\n<p>{explanation}</p>"
    for sample in findings.panels[name]:
        tiles = "".join(
            f"<figure>{_tile(sample, column, findings.colors)}"
            f"<figcaption>{_caption(column, findings.manifest)}</figcaption></figure>"
            for column in findings.columns
        )
        yield (
            f'<figure class="sample"><figcaption><code>{escape(sample.id)}</code> '
            f'<span>mean IoU {_percent(sample.score)}</span></figcaption>\n<div class="tiles">{tiles}</div></figure>'
        )


def _caption(column: str, manifest: Manifest) -> str:
    shown = describe_shown(manifest.channels) if column == "image" else ""
    return f"{column}, {shown}" if shown else column


def _tile(sample: Sample, column: str, colors: np.ndarray) -> str:
    from PIL import Image  # here: --help answers without it

    tile = Image.fromarray(paint(sample, column, colors))
    photo = column in ("image", "error")
    # A blend of two class colours is the colour of no class: only the image is smoothed.
    tile.thumbnail((PIXELS, PIXELS), Image.Resampling.LANCZOS if column == "image" else Image.Resampling.NEAREST)
    file, kind = io.BytesIO(), "jpeg" if photo else "png"
    tile.save(file, kind, **({"quality": 88, "subsampling": 0} if photo else {"optimize": True}))
    return html.image(file.getvalue(), f"{column} of {sample.id}", kind)


def _settings(findings: Findings) -> str:
    config = findings.config
    defaults = list_settings(Config(Data(config.data.records), config.run_dir))
    settings = {name: as_yaml(value) for name, value in list_settings(config).items()}
    rows = [
        (f"<code>{escape(name)}</code>", escape(value), escape(as_yaml(defaults[name])))
        for name, value in settings.items()
        if value != as_yaml(defaults[name])
    ]
    changed = html.table(["setting", "here", "default"], rows, words=True) if rows else "<p>All are the defaults.</p>"
    return f"{changed}\n<details><summary>All settings</summary><pre>{escape(findings.settings)}</pre></details>"


def _facts(findings: Findings) -> str:
    manifest, metrics = findings.manifest, findings.metrics
    splits = [f"{name} {split.count:,}" for name, split in manifest.splits.items()]
    size = "x".join(map(str, manifest.size)) if manifest.size else "as they came"
    facts = {
        "records": f"<code>{escape(findings.scores['records'])}</code>",
        "SHA-256 of manifest.json": f"<code>{escape(findings.manifest_hash)}</code>",
        "images": escape(", ".join(splits)),
        "stored": escape(f"{size}, {manifest.codec}"),
        "pixels": "" if manifest.pixels.is_rgb else escape(manifest.pixels.describe()),
        "epochs": f"{findings.epochs}, in {datetime.timedelta(seconds=round(findings.seconds))} hours",
        "device": escape("; ".join(f"{choice} ({reason})" for choice, reason in metrics.get("device", {}).items())),
        "versions": escape(", ".join(f"{name} {version}" for name, version in metrics.get("versions", {}).items())),
    }
    rows = [(name, fact) for name, fact in facts.items() if fact]
    return html.table([], rows, words=True)
