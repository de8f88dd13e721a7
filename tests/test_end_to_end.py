"""The main job as its user runs it, on a small sample city with the tiny encoder: raw pictures -> predicted mask."""

import csv
import json
import subprocess
import sys

import cv2
import h5py
import make_sample_city
import make_tfrecords
import numpy as np
import pytest

from tfseg import evaluate, report
from tfseg.config import parse_config
from tfseg.train import train


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("city")
    make_sample_city.make_sample_city(root / "raw", (64, 128), {"train": 16, "val": 5, "test": 2}, seed=0, workers=1)
    make_tfrecords.main(["--root", str(root / "raw"), "--out", str(root / "records"), "--workers", "1"])
    return root


@pytest.fixture(scope="module")
def settings(city):
    values = {"data.records": city / "records", "data.size": "64x128", "run_dir": city / "run", "model.encoder": "tiny"}
    values |= {"model.weights": "null", "train.epochs": 3, "train.batch_size": 4, "augment.flip": 0.5}
    values |= {"optimizer.learning_rate": 3e-3, "optimizer.ema": 0.5, "loss.cross_entropy": 1.0}
    return [argument for name, value in values.items() for argument in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def metrics(settings):
    return train(parse_config(settings))


def test_run_folder(city, metrics):
    run = city / "run"
    names = {path.name for path in run.iterdir()}
    expected = {"config.yaml", "history.csv", "tensorboard", "best.weights.h5", "last.weights.h5", "metrics.json"}
    assert names == expected | {"saved_model"}
    assert any((run / "tensorboard").rglob("events*"))
    with (run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[2]["loss"]) < float(history[0]["loss"])
    with h5py.File(run / "last.weights.h5") as file:
        assert file["optimizer/vars/0"][()] == 3 * 4, "16 pictures in batches of 4, three times, and not a step more"
    best = max(history, key=lambda row: float(row["val_mean_iou_7"]))
    assert json.loads((run / "metrics.json").read_text())["epoch"] == int(best["epoch"]) == metrics["epoch"]
    assert metrics["mean_iou_7"] == pytest.approx(float(best["val_mean_iou_7"]), rel=1e-5)
    assert np.sum(metrics["confusion_matrix"]) == 5 * 64 * 128, "every pixel of the validation split, once"


def test_evaluation_in_its_own_right_gives_the_same_score(city, metrics, capsys):
    scores = evaluate.evaluate(city / "run")
    assert scores["confusion_matrix"] == metrics["confusion_matrix"]
    assert "construction" in capsys.readouterr().out


def test_a_split_without_truth_is_not_scored(settings, city, metrics):
    with pytest.raises(ValueError, match="split 'test' holds nothing but void"):
        evaluate.evaluate(city / "run", split="test")
    with pytest.raises(ValueError, match="split 'test' holds nothing but void"):
        train(parse_config([*settings, "--data.val_split", "test", "--run_dir", str(city / "never")]))
    assert not (city / "never").exists()


def test_the_saved_model_predicts_in_a_fresh_process(city, metrics):
    pictures = sorted((city / "raw/leftImg8bit/val").rglob("*.png"))
    command = [sys.executable, "-m", "tfseg.predict", "--model", city / "run/saved_model", "--out", city / "masks"]
    subprocess.run([*command, *pictures], check=True, timeout=120)
    for picture in pictures:
        mask = cv2.imread(str(city / "masks" / f"{picture.stem}_classes.png"), cv2.IMREAD_UNCHANGED)
        assert (mask.shape, mask.dtype) == ((64, 128), np.uint8)
        assert mask.max() < 8
    assert len(list((city / "masks").glob("*_overlay.png"))) == 5


def test_report_draws_the_run(city, metrics):
    report.main(["--run", str(city / "run"), "--samples", "2"])
    panel = cv2.imread(str(city / "run/report/panel.png"))
    assert panel.shape[1] > 300
    assert len(np.unique(panel)) > 20


def test_a_second_run_does_not_touch_the_first(settings, city, metrics):
    before = (city / "run/metrics.json").read_bytes()
    with pytest.raises(ValueError, match="holds an earlier run"):
        train(parse_config(settings))
    assert (city / "run/metrics.json").read_bytes() == before


def test_the_same_seed_gives_the_same_run(settings, city, metrics):
    again = train(parse_config([*settings, "--run_dir", str(city / "again")]))
    assert again["loss"] == pytest.approx(metrics["loss"], rel=1e-3)


def test_missing_records_leave_no_run_folder(settings, city):
    arguments = [*settings, "--data.records", str(city / "nowhere"), "--run_dir", str(city / "never")]
    with pytest.raises(FileNotFoundError, match="no such folder of records"):
        train(parse_config(arguments))
    assert not (city / "never").exists()
