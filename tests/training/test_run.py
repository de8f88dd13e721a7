"""The end of a training: what it exports is scored at the ground truth's own size, and the figures lie everywhere."""

import csv
import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
from helpers import write_records

from tfseg import open_run
from tfseg.config.parse import parse_config
from tfseg.evaluation import evaluator
from tfseg.evaluation.scored_run import open_scored_run
from tfseg.training import run as ending
from tfseg.training.loop import train_run
from tfseg.tuning.processes import read_curve

pytestmark = pytest.mark.tensorflow  # on other backends, test_backends.py does the same

SETTINGS = {"data.size": "32x64", "model.encoder": "tiny", "model.weights": "null", "train.epochs": 3}
SETTINGS |= {"model.decoder_channels": "[8, 8, 8, 8, 8]", "train.batch_size": 4, "train.val_batch_size": 2}
SETTINGS |= {"train.validation_freq": 2}


def read_last_weights(run):
    """What the last checkpoint holds, {name: array}."""
    arrays = {}
    with h5py.File(run / "checkpoints/00000015.weights.h5") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return arrays


def read_history(run):
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run of images of 24x32 that the network sees at 32x64, stopped while it was scored, then started again."""
    root = tmp_path_factory.mktemp("ended")
    records, run = write_records(root / "records", {"train": 20, "val": 5}), root / "run"
    settings = {**SETTINGS, "data.records": records, "run_dir": run}
    config, sizes = parse_config([f"--{name}={value}" for name, value in settings.items()]), []

    def stop(*args, batch_size, **options):
        sizes.append(batch_size)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "export", lambda run: None)
        patch.setattr(evaluator, "evaluate_run", stop)
        with pytest.raises(KeyboardInterrupt):
            train_run(config)
    assert sizes == [2] and not (run / "metrics.json").exists()
    weights = read_last_weights(run)
    return run, weights, train_run(config)


@pytest.mark.long
def test_a_training_that_is_stopped_while_it_is_scored_trains_no_further(ended):
    run, before, metrics = ended
    after = read_last_weights(run)
    assert before.keys() == after.keys() and len(before) > 20
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 3
    assert json.loads((run / "metrics.json").read_text())["epoch"] == metrics["epoch"]


@pytest.mark.long
def test_scores_are_of_the_ground_truths_size_and_the_validations_beside_them(ended):
    run, _, metrics = ended
    assert np.sum(metrics["confusion_matrix"]) == 5 * 24 * 32
    assert metrics["resize"] == [[24, 32], [32, 64]]
    validation, names = metrics["validation"], (run / "history.csv").read_text().splitlines()[0].split(",")
    row = (run / "history.csv").read_text().splitlines()[metrics["epoch"]].split(",")
    assert validation["size"] == "32x64"
    for name in ("loss", "mean_iou", "pixel_accuracy"):
        assert validation[name] == pytest.approx(float(row[names.index(f"val_{name}")]), rel=1e-5)


@pytest.mark.long
def test_every_second_epoch_and_the_last_are_validated(ended):
    run, _, metrics = ended
    rows = read_history(run)
    assert [bool(row["val_mean_iou"]) and bool(row["val_loss"]) for row in rows] == [False, True, True]
    assert all(float(row["loss"]) > 0 and float(row["seconds"]) > 0 for row in rows)
    assert read_curve(run) == [(epoch, float(rows[epoch - 1]["val_mean_iou"])) for epoch in (2, 3)]
    assert metrics["epoch"] in (2, 3)
    assert metrics["validation"]["mean_iou"] == pytest.approx(max(score for _, score in read_curve(run)), rel=1e-5)
    assert np.isnan(open_run(run).history["val_mean_iou"]).tolist() == [True, False, False]


@pytest.mark.long
def test_a_run_that_is_continued_keeps_the_scores_of_what_was_its_end(ended, tmp_path):
    """Its third epoch, which its last checkpoint does not know the scores of, and which would not be due in four."""
    before = shutil.copytree(ended[0], tmp_path / "run")
    rows = read_history(before)
    config = open_run(ended[0]).config
    longer = dataclasses.replace(config.train, epochs=5)
    best = train_run(dataclasses.replace(config, train=longer, run_dir=str(before)))["epoch"]
    after = read_history(before)
    assert [bool(row["val_mean_iou"]) for row in after] == [False, True, True, True, True]
    assert [row["val_mean_iou"] for row in after[:3]] == [row["val_mean_iou"] for row in rows]
    assert best == max(range(1, 6), key=lambda epoch: float(after[epoch - 1]["val_mean_iou"] or 0))


@pytest.mark.long
def test_report_and_comparison_need_not_score_it_again(ended, tmp_path):
    run, _, metrics = ended
    scored = open_scored_run(run)
    assert scored.evaluation is None
    written = json.loads((run / "metrics.json").read_text())
    assert "records" not in written
    assert scored.scores == {name: written[name] for name in scored.scores if name != "records"} | {
        "records": str(run.with_name("records"))
    }
    assert scored.matrices.sum(axis=0).tolist() == metrics["confusion_matrix"]
    again = evaluator.evaluate_run(run, out=tmp_path).content
    assert again["confusion_matrix"] == metrics["confusion_matrix"]


def test_the_last_line_says_at_which_size(tmp_path):
    metrics = {"epoch": 3, "mean_iou": 0.51234, "validation": {"size": "32x64", "mean_iou": 0.6}}
    assert ending.describe_end(metrics, tmp_path) == (
        "best epoch 3: mean IoU 0.5123, of masks at the ground truth's size; mean IoU 0.6000 in validation at 32x64; "
        f"all in {tmp_path}"
    )
    official = {"mean_category_iou": 0.7, "mean_category_iiou": 0.1}
    line = ending.describe_end({**metrics, "official": official}, tmp_path)
    assert line.startswith("best epoch 3: mean IoU 0.5123, official mean_category_iou 0.7000, of masks at")
