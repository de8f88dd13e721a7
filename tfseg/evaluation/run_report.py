"""A report of a run: report.html, a page that needs no other file, and its figures as PNGs.

Works on what the run left on disk, and on what evaluation found on a split, which runs first if that is missing or
older than the SavedModel. The network's code is not needed.
"""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.evaluation.panels import predict_panels
from tfseg.evaluation.run_page import Findings, make_page
from tfseg.evaluation.score_files import MATRICES, SCORES, Evaluation
from tfseg.evaluation.scored_run import ScoredRun, open_scored_run
from tfseg.inference.predictor import Predictor
from tfseg.io.atomic import write_text
from tfseg.io.outputs import write_alone
from tfseg.io.regular_files import read_file
from tfseg.records.record_set import RecordSet, check_pixels
from tfseg.runs import run_dir
from tfseg.visualization.curves import draw_curves, read_history
from tfseg.visualization.figures import COLUMNS, Sample, draw_confusion, draw_panel
from tfseg.visualization.scores import SHOWN, check_there, read_scores

PAGE, FOLDER = "report.html", "report"  # the latter of the figures


@dataclass(frozen=True)
class RunReport:
    """What was written of a run.

    Attributes:
        page: path of report.html.
        figures: paths of curves.png, confusion.png, panel.png of images evenly spread over the split, and
            panel-random.png, panel-best.png and panel-worst.png, by their names without the ending.
        evaluation: what was found if the run had to be scored first, else None.
    """

    page: Path
    figures: dict[str, Path]
    evaluation: Evaluation | None = None


def report_run(
    run: str | os.PathLike, split: str | None = None, samples: int = 4, columns: Sequence[str] = COLUMNS
) -> RunReport:
    """Writes report.html into a run folder, and its figures into the folder `report` there.

    Args:
        run: the run folder.
        split: what to show; None: the run's validation split.
        samples: how many images a panel has, at least 1.
        columns: of the panels, from left to right, some of `figures.COLUMNS`.

    Raises:
        ValueError: a file is damaged, there is no such split, or it has no ground truth.
        OSError: a file is missing, as the SavedModel is until the run has ended, or cannot be written.
    """
    run = Path(run)
    run_dir.read_config(run)  # which says where there is no run
    model = run / run_dir.SAVED_MODEL
    if not model.is_dir():
        raise FileNotFoundError(
            f"{run}: has no {model.name}: the run has not ended; start the same training again, and it resumes"
        )
    scored, records = open_scored_records(run, split)
    predictor = Predictor(model)
    check_pixels(predictor.pixels, records, run)
    scored.check_classes(predictor.classes)
    panels = predict_panels(predictor, scored, records, samples)
    findings = gather_findings(scored, records, predictor, panels, columns)
    with write_alone(run):
        figures = draw_figures(scored, predictor, panels, columns)
        page = make_page(findings, figures["curves"].read_bytes(), figures["confusion"].read_bytes())
        write_text(page, run / PAGE, errors="replace")  # an id may be no Unicode
    return RunReport(run / PAGE, figures, scored.evaluation)


def open_scored_records(run: Path, split: str | None) -> tuple[ScoredRun, RecordSet]:
    """Reads the scores of a run, see `open_scored_run`, and opens the records that they are of.

    Raises:
        ValueError: as of `open_scored_run`, or the records have other images than when they were scored.
        OSError: as of `open_scored_run`, or the records are not found.
    """
    scored = open_scored_run(run, split)
    try:
        check_there(scored.scores, ("records", "split", "confusion_matrix", *SHOWN))
    except ValueError as error:
        raise ValueError(f"{run / SCORES.format(scored.split)}: {error}; score the run again") from None
    records = run_dir.open_run_records(run, scored.scores["records"])
    entry = records.splits.get(scored.split)
    if entry is None or entry.ids != scored.ids.tolist():
        place = run / MATRICES.format(scored.split)
        raise ValueError(f"{place}: is of other images than {records} has now; score the run again")
    return dataclasses.replace(scored, scores={**scored.scores, "records": str(records)}), records


def gather_findings(
    scored: ScoredRun,
    records: RecordSet,
    predictor: Predictor,
    panels: dict[str, list[Sample]],
    columns: Sequence[str],
) -> Findings:
    """Gathers what the page shows."""
    run = scored.folder
    history, metrics = read_history(run / run_dir.HISTORY), run / run_dir.METRICS
    return Findings(
        run=run,
        config=scored.config,
        settings=read_file(run / run_dir.CONFIG).decode("utf-8", "replace"),
        metrics=read_scores(metrics) if metrics.is_file() else {},
        scores=scored.scores,
        epochs=len(history["epoch"]),
        seconds=float(np.nansum(history.get("seconds", 0))),
        manifest=records.manifest,
        manifest_hash=records.manifest_hash,
        colors=predictor.colors,
        panels=panels,
        columns=columns,
    )


def draw_figures(
    scored: ScoredRun, predictor: Predictor, panels: dict[str, list[Sample]], columns: Sequence[str]
) -> dict[str, Path]:
    """Writes the figures of a report; returns their paths by name."""
    folder = scored.folder / FOLDER
    folder.mkdir(exist_ok=True)
    figures = {name: folder / f"{name}.png" for name in ("curves", "confusion", *panels)}
    draw_curves(scored.folder / run_dir.HISTORY, figures["curves"])
    draw_confusion(np.array(scored.scores["confusion_matrix"]), predictor.classes, figures["confusion"])
    for name, samples in panels.items():
        draw_panel(samples, predictor.classes, predictor.colors, figures[name], columns)
    return figures
