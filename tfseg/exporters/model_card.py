"""model_card.md: what a model is, was trained on, takes, answers, reaches, and is not made for."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.config.schema import Config
from tfseg.exporters.parity import WEB_PAGE, lay_out, list_notes
from tfseg.io.escaping import markdown, markdown_code
from tfseg.records.manifest import Manifest
from tfseg.records.record_set import RecordSet
from tfseg.runs import run_dir
from tfseg.visualization.scores import SHOWN, read_scores
from tfseg.visualization.tables import evaluation_tables, percent, table

FILE = "model_card.md"


class Facts(NamedTuple):
    """What is known of an exported model."""

    run: Path
    config: Config
    classes: list[str]
    colors: np.ndarray  # (C, 3) uint8 RGB
    weights: int  # numbers that the network consists of
    metrics: dict  # metrics.json of the run; empty if there is none
    scores: dict  # scores-SPLIT.json of its validation split by `evaluate`; likewise
    manifest: Manifest
    manifest_hash: str  # SHA-256 of its file
    contracts: Mapping[str, str]  # signature of the SavedModel, or file -> what goes in and comes out
    parity: dict  # parity.json, see `parity.compare`
    versions: Mapping[str, str]  # of what exported it


def gather(run: Path, records: RecordSet, weights: int, contracts: Mapping[str, str], parity: dict) -> Facts:
    """Reads what a run folder and records say of a model; raises ValueError or OSError where that fails."""
    from tfseg.device import read_versions

    config, (classes, colors) = run_dir.read_config(run), run_dir.read_labels(run)
    metrics = read_if_there(run / run_dir.METRICS, "epoch", "split", *SHOWN)
    scores = read_if_there(run / f"scores-{config.data.val_split}.json")
    return Facts(
        run=run,
        config=config,
        classes=classes,
        colors=colors,
        weights=weights,
        metrics=metrics,
        scores=scores if {"resize", *SHOWN} <= scores.keys() else {},  # which are of masks of the images' own size
        manifest=records.manifest,
        manifest_hash=records.manifest_hash,
        contracts=contracts,
        parity=parity,
        versions=read_versions(),
    )


def read_if_there(path: Path, *required: str) -> dict:
    """Reads a file of scores, see `read_scores`; empty without it."""
    return read_scores(path, required) if path.is_file() else {}


def make_card(facts: Facts) -> str:
    """Makes the page, in Markdown."""
    sections = [
        f"# {markdown(facts.run.resolve().name)}",
        _summary(facts),
        "## Input and output",
        _contracts(facts.contracts),
        "## Classes",
        _classes(facts),
        "## Data",
        _data(facts),
        "## Scores",
        _scores(facts),
        "## Parity",
        _parity(facts),
        "## Limits",
        _limits(facts),
        "## Versions",
        markdown(", ".join(f"{name} {version}" for name, version in facts.versions.items())),
        "## Licence",
        "tfseg is under the Apache License 2.0. What may be done with these weights depends on the licences of the "
        "data above, and of the weights that the training started from, which tfseg does not know.",
    ]
    return "\n\n".join(sections) + "\n"


def _summary(facts: Facts) -> str:
    model = facts.config.model
    start = f"weights {markdown(model.weights)}" if model.weights else "random weights"
    if model.start:  # instead of these
        start = f"what {markdown_code(model.start)} had learnt"
    return (
        f"Semantic segmentation: gives each pixel of an image one of {len(facts.classes)} classes. A network of "
        f"{facts.weights:,} numbers, {markdown(model.encoder)} with decoder {model.decoder}, trained from {start} by "
        "tfseg."
    )


def _contracts(contracts: Mapping[str, str]) -> str:
    return "\n".join(f"* {markdown_code(name)}: {markdown(contract)}" for name, contract in contracts.items())


def _classes(facts: Facts) -> str:
    rows = [("id", "name", "colour")]
    for index, (name, color) in enumerate(zip(facts.classes, facts.colors, strict=True)):
        rows.append((str(index), name, "#" + bytes(color.tolist()).hex()))
    counts = "is learnt, and counts in the scores" if facts.config.loss.ignore_class is None else "counts in no score"
    return (
        table(rows) + f"\n\nThe class {markdown(facts.classes[0])} stands for pixels that belong to none, and {counts}."
    )


def _data(facts: Facts) -> str:
    manifest, data = facts.manifest, facts.config.data
    counts = ", ".join(f"{split.count:,} in {markdown(name)}" for name, split in manifest.splits.items())
    stored = "x".join(map(str, manifest.size)) if manifest.size else "their own size"
    cut = "resized to" if data.fit == "resize" else "on random crops of"
    return (
        f"{markdown_code(facts.parity['records'])}: images of the layout {markdown(manifest.source)}, {counts}, stored "
        f"at {stored}. Trained on {markdown(data.train_split)}, {cut} {data.size}. SHA-256 of manifest.json: "
        f"`{facts.manifest_hash}`."
    )


def _scores(facts: Facts) -> str:
    metrics = facts.metrics
    if not metrics:
        return "None yet: the run has not ended."
    scores, of = _choose_scores(facts)
    split = markdown(metrics["split"])
    return (
        f"Of epoch {metrics['epoch']}, the best of the run, on its validation split, {split}. Since the "
        f"epoch was chosen there, other images may score lower. {of}\n\n{evaluation_tables(scores)}"
    )


def _choose_scores(facts: Facts) -> tuple[dict, str]:
    """Chooses the scores that are shown, and words of which masks they are.

    A training of before scored masks of the network's input size alone; `evaluate` may have scored its model since.
    """
    metrics, of_truth = facts.metrics, "Masks are scored at the size of the ground truth"
    if validation := metrics.get("validation"):
        size, mean_iou = markdown(validation["size"]), percent(validation["mean_iou"])
        return metrics, f"{of_truth}; the validation that chose it, at {size}, had a mean IoU of {mean_iou} %."
    if facts.scores:
        return facts.scores, f"{of_truth}, by tfseg evaluate."
    seen = f"Masks were scored at the network's size, {_seen(facts)}"
    return metrics, f"{seen}; tfseg evaluate scores them at the images' own."


def _seen(facts: Facts) -> str:
    size = facts.config.data.eval_size
    return "x".join(map(str, size)) if size else "their stored size"


def _parity(facts: Facts) -> str:
    report = facts.parity
    (height, width), split = report["size"], markdown(report["split"])
    text = (
        f"On {len(report['pictures'])} images of {split}, at {height}x{width}, against the network that "
        f"was trained; IoU by the records' masks. Milliseconds are medians on {report['cores']} CPU cores, all formats "
        f"in turns.\n\n{lay_out(report)}"
    )
    bars = (f"{name} {entry['bar']}" for name, entry in report["formats"].items() if "bar" in entry)
    text += f"\n\nThe bars: {'; '.join(bars)}."
    text += "".join(f"\n\n{note}" for note in list_notes(report))
    not_run = {name for name, entry in report["formats"].items() if "met" not in entry}
    if WEB_PAGE in not_run:
        text += "\n\nThe web page computes the file of ONNX; its MB are those of its whole folder."
    if not_run - {WEB_PAGE}:
        text += "\n\nCore ML was checked for what it takes and answers, and not run: that needs a Mac."
    return text


def _limits(facts: Facts) -> str:
    limits = [
        f"It was validated on images of {_seen(facts)}, to which it resizes others; what those score was not measured.",
        "It was trained on images like those of its data alone: other cameras, places and weather may be beyond it.",
        "Every pixel gets a class, whatever it shows; a probability is no assurance.",
    ]
    return "\n".join(f"* {limit}" for limit in limits)
