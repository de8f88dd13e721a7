"""A report of a run: report.html, a page that needs no other file, and its figures as PNGs.

    python -m tfseg.report --run runs/city

Works on what the run left on disk, and on what `evaluate` found on a split, which runs first if that is missing or
older than the SavedModel. The network's code is not needed.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg.config.schema import Data
from tfseg.evaluation import evaluator
from tfseg.evaluation.run_page import Findings, make_page
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io import command
from tfseg.io.paths import open_path
from tfseg.io.resizing import resize
from tfseg.records.manifest import MANIFEST_NAME, read_manifest
from tfseg.runs import run_dir
from tfseg.visualization.figures import COLUMNS, Sample, confusion, curves, panel, read_history

PAGE, FOLDER = "report.html", "report"  # the latter of the figures


def report(run: Path, split: str | None = None, samples: int = 4, columns: Sequence[str] = COLUMNS) -> list[Path]:
    """Writes report.html into a run folder, and its figures into the folder `report` there.

    Args:
        run: the run folder.
        split: what to show; None: the run's validation split.
        samples: how many pictures a panel has, at least 1.
        columns: of the panels, from left to right, some of `figures.COLUMNS`.

    Returns:
        Paths of the page, curves.png, confusion.png, panel.png of pictures evenly spread over the split, and
        panel-random.png, panel-best.png and panel-worst.png, see `choose`.

    Raises:
        ValueError: a file is damaged, there is no such split, or it has no ground truth.
        OSError: a file is missing, as the SavedModel is until the run has ended, or cannot be written.
    """
    config = run_dir.read_config(run)
    model = run / run_dir.SAVED_MODEL
    if not model.is_dir():
        raise FileNotFoundError(f"{run}: has no {model.name}: the run has not ended; the same training goes on with it")
    scores, matrices = read_scores(run, split or config.data.val_split, config.data)
    predictor = Predictor(model)
    panels = predict_panels(predictor, scores, matrices, samples)
    figures = draw_figures(run, predictor, scores, panels, columns)
    history, metrics = read_history(run / run_dir.HISTORY), run / run_dir.METRICS
    findings = Findings(
        run=run,
        config=config,
        settings=(run / run_dir.CONFIG).read_text(encoding="utf-8"),
        metrics=json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else {},
        scores=scores,
        epochs=len(history["epoch"]),
        seconds=float(np.nansum(history.get("seconds", 0))),
        manifest=read_manifest(scores["records"]),
        manifest_hash=hashlib.sha256((open_path(scores["records"]) / MANIFEST_NAME).read_bytes()).hexdigest(),
        colors=predictor.colors,
        panels=panels,
        columns=columns,
    )
    page = make_page(findings, figures["curves"].read_bytes(), figures["confusion"].read_bytes())
    with run_dir.replacing(run / PAGE) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="replace")  # an id may be no Unicode
    return [run / PAGE, *figures.values()]


def read_scores(run: Path, split: str, data: Data) -> tuple[dict, np.ndarray]:
    """Reads what `evaluate` found on a split; where that is missing or older than the SavedModel, it runs first.

    Returns:
        The content of scores-SPLIT.json, and the confusion matrices of the pictures, integers (pictures, C, C).

    Raises:
        ValueError: as of `evaluate.evaluate`, or the records have other pictures than when they were scored.
        OSError: as of `evaluate.evaluate`.
    """
    files = [run / name.format(split) for name in (evaluator.SCORES, evaluator.MATRICES)]
    if not evaluator.is_scored(run, split):
        records, sizes = run_dir.find_records(run), evaluator.sizes_of_run(run)
        evaluator.evaluate(run / run_dir.SAVED_MODEL, records, split, sizes=sizes, out=run)
    scores = json.loads(files[0].read_text(encoding="utf-8"))
    scores["records"] = run_dir.find_records(run, scores["records"])
    with np.load(files[1]) as stored:
        ids, matrices = stored["ids"].tolist(), stored["matrices"]
    entry = read_manifest(scores["records"]).splits.get(split)
    if entry is None or entry.ids != ids:
        raise ValueError(f"{files[1]}: is of other pictures than {scores['records']} has now; score the run again")
    return scores, matrices


def predict_panels(predictor: Predictor, scores: dict, matrices: np.ndarray, samples: int) -> dict[str, list[Sample]]:
    """Predicts the images of each panel, by its name, in the way in which the split was scored.

    Args:
        predictor: the run's SavedModel.
        scores: as of `read_scores`.
        matrices: likewise.
        samples: how many images a panel has.
    """
    from tfseg.metrics.confusion import scores as score  # imports Keras
    from tfseg.pipeline.pipeline import read_places, spread, told_damage  # imports TensorFlow

    learn_void = scores.get("learn_void", False)
    means = [score(matrix, predictor.classes, learn_void)["mean_iou"] for matrix in matrices]
    chosen = {"panel": spread(len(means), samples), **choose(means, samples)}
    places = sorted({place for some in chosen.values() for place in some})
    sizes = [tuple(size) for size in scores["resize"]]
    segment = make_segmenter(predictor, InferenceSettings.from_json(scores["inference"]), sizes)
    records, rows = scores["records"], {}
    manifest = read_manifest(records)
    with told_damage(records):
        for place, example in zip(places, read_places(records, scores["split"], places, size=None), strict=True):
            id, image = example["id"].decode(), example["image"]
            truth, _ = evaluator.read_truth(example, manifest, records)
            [prediction] = segment.masks(segment.prepare(image)[np.newaxis], [truth.shape])
            rows[place] = Sample(id, resize(image, truth.shape), truth, prediction, means[place], learn_void)
    return {name: [rows[place] for place in some] for name, some in chosen.items()}


def choose(means: Sequence[float], samples: int) -> dict[str, list[int]]:
    """Chooses so many pictures for each panel, or all if there are fewer.

    Args:
        means: mean IoU of each picture; nan of one without truth, which is neither good nor bad.
        samples: how many.

    Returns:
        Places in `means`, by the panel's name: drawn, the same of so many pictures every time; the best, the very best
        first; the worst, the very worst first.
    """
    drawn = np.random.default_rng(0).permutation(len(means))[:samples]
    ranked = sorted((place for place, mean in enumerate(means) if not math.isnan(mean)), key=means.__getitem__)
    return {
        "panel-random": sorted(drawn.tolist()),
        "panel-best": ranked[::-1][:samples],
        "panel-worst": ranked[:samples],
    }


def draw_figures(
    run: Path, predictor: Predictor, scores: dict, panels: dict[str, list[Sample]], columns: Sequence[str]
) -> dict[str, Path]:
    """Writes the figures of a report; returns their paths by name."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    figures = {name: folder / f"{name}.png" for name in ("curves", "confusion", *panels)}
    curves(run / run_dir.HISTORY, figures["curves"])
    confusion(scores["confusion_matrix"], predictor.classes, figures["confusion"])
    for name, samples in panels.items():
        panel(samples, predictor.classes, predictor.colors, figures[name], columns)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.report",
        description="Writes report.html into a run folder: scores, confusion matrix, curves, pictures, settings; and "
        "its figures into the folder report there. It shows what python -m tfseg.evaluate found, which runs first if "
        "need be.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument("--split", help="split to show (the run's validation split)")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="pictures of a panel (4)")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS, help="of a panel (all)")
    options = parser.parse_args(arguments)
    if options.samples < 1:
        raise ValueError(f"--samples must be at least 1, got {options.samples}")
    paths = report(options.run, options.split, options.samples, options.columns)
    print("written: " + ", ".join(map(str, paths)))


if __name__ == "__main__":
    command.run(main)
