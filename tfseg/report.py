"""Figures of a run: curves of its history, pictures beside truth and prediction, a table of its scores.

    python -m tfseg.report --run runs/city

Works on what the run left on disk: history.csv, metrics.json and the SavedModel. The network's code is not needed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg import cli, run_folder
from tfseg.figures import COLUMNS, Sample, curves, panel
from tfseg.predict import Predictor
from tfseg.tables import scores_table


def report(
    run: Path,
    records: str | None = None,
    split: str | None = None,
    samples: int = 4,
    size: tuple[int, int] | None = None,
    columns: Sequence[str] = COLUMNS,
) -> list[Path]:
    """Writes the figures of a run into its folder `report`.

    Args:
        run: the run folder.
        records: folder of shards and manifest.json; None: the run's own.
        split: which pictures; None: the run's validation split.
        samples: how many, at least 1.
        size: (height, width) that pictures are resized to; None: that of the run's validation.
        columns: of the panel, see `panel`.

    Returns:
        Paths of the figures.

    Raises:
        ValueError: a file is damaged, or there is no such split.
        OSError: a file is missing, or cannot be written.
    """
    data = run_folder.read_config(run).data
    predictor = Predictor(run / run_folder.SAVED_MODEL)
    rows = predict_samples(predictor, records or data.records, split or data.val_split, samples, size or data.eval_size)
    directory = run / "report"
    directory.mkdir(exist_ok=True)
    panel(rows, predictor.classes, predictor.colors, directory / "panel.png", columns)
    curves(run / run_folder.HISTORY, directory / "curves.png")
    return [directory / "panel.png", directory / "curves.png"]


def predict_samples(
    predictor: Predictor, records: str | Path, split: str, samples: int, size: tuple[int, int] | None
) -> list[Sample]:
    """Predicts pictures evenly spread over a split, exactly as validation sees them; all if there are fewer.

    Raises:
        ValueError: there is no such split, or a record is damaged.
        OSError: the records cannot be read.
    """
    from tfseg.pipeline import read_examples, told_damage  # imports TensorFlow

    rows = []
    with told_damage(records):
        for example in read_examples(records, split, count=samples, size=size):
            prediction = predictor(example["image"][np.newaxis])[0]
            rows.append(Sample(example["id"].decode(), example["image"], example["mask"], prediction))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the figures and prints the scores of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.report",
        description="Writes panel.png and curves.png into the folder report of a run, and prints its scores.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument("--records", metavar="DIR", help="records to show (those that the run was trained on)")
    parser.add_argument("--split", help="split to show (the run's validation split)")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="pictures to show (4)")
    parser.add_argument("--size", metavar="HxW", help="size of the pictures (that of the run's validation)")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS, help="of the panel (all three)")
    options = parser.parse_args(arguments)
    if options.samples < 1:
        raise ValueError(f"--samples must be at least 1, got {options.samples}")
    size = cli.parse_size(options.size) if options.size else None
    paths = report(options.run, options.records, options.split, options.samples, size, options.columns)
    metrics = options.run / run_folder.METRICS
    if metrics.is_file():  # else the run is not over
        print(scores_table(json.loads(metrics.read_text(encoding="utf-8"))))
    print("written: " + ", ".join(map(str, paths)))


if __name__ == "__main__":
    cli.run(main)
