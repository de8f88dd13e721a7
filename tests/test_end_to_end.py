"""The main job as its user runs it, on a small sample city with the tiny encoder: raw images -> predicted mask."""

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext

import cv2
import h5py
import keras
import numpy as np
import pytest

from tfseg import compare, convert, evaluate, repeat, report, tune
from tfseg.config.parse import load_config, parse_config
from tfseg.evaluation import evaluator
from tfseg.io.json_reader import read_json
from tfseg.metrics.cityscapes import count_label_ids
from tfseg.synthetic import sample_city
from tfseg.training import checkpoints
from tfseg.training.loop import train_run
from tfseg.training.run import check_classes


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("city")
    sample_city.make_sample_city(root / "raw", (64, 128), {"train": 16, "val": 5, "test": 2}, seed=0, workers=1)
    convert.main(["--root", str(root / "raw"), "--out", str(root / "records"), "--workers", "1"])
    return root


@pytest.fixture(scope="module")
def settings(city):
    values = {"data.records": city / "records", "data.size": "64x128", "run_dir": city / "run", "model.encoder": "tiny"}
    values |= {"model.weights": "null", "train.epochs": 3, "train.batch_size": 4, "augment.flip": 0.5}
    values |= {"optimizer.learning_rate": 3e-3, "optimizer.ema_momentum": 0.5, "loss.cross_entropy": 1.0}
    values |= {"optimizer.encoder_lr_multiplier": 0.5, "optimizer.clip_norm": 5.0, "loss.auxiliary": 0.4}
    return [argument for name, value in values.items() for argument in (f"--{name}", str(value))]


@pytest.fixture(scope="module")
def metrics(settings):
    return train_run(parse_config(settings))


def test_run_folder(city, metrics):
    run = city / "run"
    names = {path.name for path in run.iterdir()}
    expected = {"config.yaml", "labels.json", "history.csv", "tensorboard", "best.weights.h5", "checkpoints"}
    scores = {"metrics.json", "scores-val.json", "matrices-val.npz"}
    assert names == expected | scores | {"saved_model", "records.json", ".tfseg.json"}
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        *("00000008.json", "00000008.weights.h5", "00000012.json", "00000012.weights.h5")
    ]
    assert any((run / "tensorboard").rglob("events*"))
    with (run / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[2]["loss"]) < float(history[0]["loss"])
    with h5py.File(run / "checkpoints/00000012.weights.h5") as file:
        assert file["optimizer/vars/0"][()] == 3 * 4, "16 images in batches of 4, three times, and not a step more"
    assert 0 < float(history[2]["auxiliary"]) < float(history[0]["auxiliary"])
    heads = [  # its 3x3 convolution from the tiny encoder's 32 channels at stride 16
        [array.shape for array in read_weights(run / name).values()].count((3, 3, 32, 64))
        for name in ("best.weights.h5", "checkpoints/00000012.weights.h5")
    ]
    assert heads == [0, 1 + 3], "and Adam's two moments and the average of it"
    best = max(history, key=lambda row: float(row["val_mean_iou"]))
    assert json.loads((run / "metrics.json").read_text())["epoch"] == int(best["epoch"]) == metrics["epoch"]
    assert metrics["mean_iou"] == pytest.approx(float(best["val_mean_iou"]), rel=1e-5)
    assert np.sum(metrics["confusion_matrix"]) == 5 * 64 * 128, "every pixel of the validation split, once"


def file_ids(folder):
    """Whose label ids are in a folder."""
    return sorted(path.name.removesuffix("_labelIds.png") for path in folder.iterdir())


def test_evaluation_in_its_own_right_gives_the_same_score(city, metrics, capsys):
    evaluate.main(["--run", str(city / "run"), "--submission", str(city / "ids"), "--instances", str(city / "raw")])
    scores = json.loads((city / "run/scores-val.json").read_text())
    assert scores["confusion_matrix"] == metrics["confusion_matrix"]
    assert "construction" in capsys.readouterr().out
    with np.load(city / "run/matrices-val.npz") as file:
        assert file["matrices"].sum(axis=0).tolist() == metrics["confusion_matrix"]
        assert len(file["ids"]) == 5
    official = scores["official"]
    assert np.sum(official["confusion_matrix"]) == 5 * 64 * 128
    assert official["category_iiou"].keys() == {"human", "vehicle"}
    counted = 0
    for id in file_ids(city / "ids"):
        [truth] = (city / "raw/gtFine/val").rglob(f"{id}_gtFine_labelIds.png")
        masks = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (truth, city / f"ids/{id}_labelIds.png"))
        counted += count_label_ids(*masks)
    assert counted.tolist() == official["confusion_matrix"]
    evaluate.main(["--run", str(city / "run"), "--split", "train"])
    assert "official" not in json.loads((city / "run/scores-train.json").read_text()), "which keeps no label ids"


@pytest.mark.long
def test_the_19_classes_of_the_benchmark(settings, city):
    records = str(city / "by-train-id")
    convert.main(["--root", str(city / "raw"), "--out", records, "--workers", "1", "--label-map", "train_ids"])
    run = city / "19"
    arguments = ["--data.records", records, "--run_dir", str(run), "--train.epochs", "1"]
    metrics = train_run(parse_config([*settings, *arguments, "--loss.class_weights", "manifest"]))
    assert len(metrics["classes"]) == len(metrics["iou"]) == 20 and np.sum(metrics["confusion_matrix"]) == 5 * 64 * 128
    scores = evaluator.evaluate_model(run / "saved_model", records, "val").content
    assert scores["confusion_matrix"] == metrics["confusion_matrix"]
    assert list(scores["official"]["class_iou"]) == metrics["classes"][1:]
    assert scores["official"]["mean_category_iou"] > 0
    with pytest.raises(ValueError, match=r"learns the classes void, road, .* has void, flat now; give another run_dir"):
        check_classes(run, records, ("void", "flat"))


def test_a_split_without_truth_is_not_scored(settings, city, metrics, capsys):
    with pytest.raises(ValueError, match="split 'test' holds nothing but void"):
        evaluate.main(["--run", str(city / "run"), "--split", "test"])
    evaluate.main(["--run", str(city / "run"), "--split", "test", "--submission", str(city / "for-the-server")])
    assert capsys.readouterr().out.endswith(f"and no score\nlabel id images are in {city}/for-the-server\n")
    assert len(file_ids(city / "for-the-server")) == 2
    assert not (city / "run/scores-test.json").exists()
    with pytest.raises(ValueError, match="split 'test' holds nothing but void"):
        train_run(parse_config([*settings, "--data.val_split", "test", "--run_dir", str(city / "never")]))
    assert not (city / "never").exists()


def test_the_saved_model_predicts_in_a_fresh_process(city, metrics):
    images = sorted((city / "raw/leftImg8bit/val").rglob("*.png"))
    command = [sys.executable, "-m", "tfseg.predict", "--model", city / "run/saved_model", "--out", city / "masks"]
    subprocess.run([*command, *images], check=True, timeout=120)
    for image in images:
        mask = cv2.imread(str(city / "masks" / f"{image.stem}_classes.png"), cv2.IMREAD_UNCHANGED)
        assert (mask.shape, mask.dtype) == ((64, 128), np.uint8)
        assert mask.max() < 8
    assert len(list((city / "masks").glob("*_overlay.png"))) == 5


@pytest.mark.long
def test_report_draws_the_run(city, metrics):
    report.main(["--run", str(city / "run"), "--samples", "2"])
    panel = cv2.imread(str(city / "run/report/panel.png"))
    assert panel.shape[1] > 300
    assert len(np.unique(panel)) > 20
    text = (city / "run/report.html").read_text(encoding="utf-8")
    assert f"keras {keras.__version__}" in text and "official mean_category_iou" in text


@pytest.mark.long
def test_runs_are_scored_to_be_compared(city, metrics, capsys):
    shutil.copytree(city / "run", city / "copy", ignore=shutil.ignore_patterns("scores-*", "matrices-*"))
    compare.main([str(city / "run"), str(city / "copy"), "--out", str(city / "compared")])
    first, copy = json.loads((city / "compared/compare.json").read_text())["runs"]
    assert first["mean_iou"] == copy["mean_iou"] == metrics["mean_iou"]
    assert copy["difference"]["mean_iou_interval"] == [0, 0]
    assert (city / "copy/matrices-val.npz").is_file()
    assert "+0.0 (0.0 to 0.0)" in capsys.readouterr().out


@pytest.mark.long
def test_an_ended_run_continues_for_more_epochs(settings, city, metrics, capsys):
    """From its last checkpoint, for the epochs that are missing."""
    run = city / "longer"
    shutil.copytree(city / "run", run)
    arguments = [*settings, "--run_dir", str(run)]
    with pytest.raises(ValueError, match=r"holds an earlier run; raise train\.epochs to continue it, give another"):
        train_run(parse_config(arguments))
    with pytest.raises(ValueError, match=r"holds a run with other settings \(train\.seed was .* and is 1\)"):
        train_run(parse_config([*arguments, "--train.epochs", "4", "--train.seed", "1"]))
    train_run(parse_config([*arguments, "--train.epochs", "4"]))
    assert "resuming after step" in capsys.readouterr().out
    with (run / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    assert load_config(run / "config.yaml").train.epochs == 4
    assert read_metrics(run).keys() == read_metrics(city / "run").keys()


def test_a_second_run_does_not_touch_the_first(settings, city, metrics):
    before = (city / "run/metrics.json").read_bytes()
    with pytest.raises(ValueError, match="holds an earlier run"):
        train_run(parse_config(settings))
    assert (city / "run/metrics.json").read_bytes() == before


class StopAfter:
    """An event that is set after it was asked for a number of times: once at each step, and batch of a validation."""

    def __init__(self, asked):
        self.left = asked

    def is_set(self):
        self.left -= 1
        return self.left < 0


def read_metrics(run):
    """All but the time it took."""
    return {**json.loads((run / "metrics.json").read_text()), "seconds": 0}


def read_weights(path):
    """{name: array} of a file of weights."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return arrays


@pytest.mark.long
def test_a_run_that_was_stopped_ends_as_if_it_never_was(settings, city, metrics, monkeypatch, capsys):
    """Within an epoch, at its end, twice in one epoch, in a validation: to the last bit, optimizer included."""
    arguments = [*settings, "--run_dir", str(city / "stopped")]
    for asked in (1, 0, 0, 1):
        monkeypatch.setattr(
            "tfseg.training.stopping.stoppable", lambda screen, asked=asked: nullcontext(StopAfter(asked))
        )
        with pytest.raises(checkpoints.Stopped, match=r"stopped (after step|in) .*; the same command resumes"):
            train_run(parse_config(arguments))
    monkeypatch.undo()
    train_run(parse_config(arguments))
    assert "resuming after step" in capsys.readouterr().out
    assert read_metrics(city / "stopped") == read_metrics(city / "run")
    for name in ("best.weights.h5", "checkpoints/00000012.weights.h5"):
        whole, ours = (read_weights(city / run / name) for run in ("run", "stopped"))
        assert whole.keys() == ours.keys() and len(ours) > 50
        for path, array in whole.items():
            np.testing.assert_array_equal(ours[path], array, err_msg=path)
    rows = [
        [line.rpartition(",")[0] for line in (city / run / "history.csv").read_text().splitlines()]
        for run in ("run", "stopped")
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_never_was(settings, city, metrics):
    """Killed whenever it comes, twenty times; the state is saved at every step."""
    random = np.random.default_rng(0)
    arguments = [*settings, "--train.epochs", "40", "--train.save_minutes", "0", "--train.frozen_epochs", "1"]
    command = [sys.executable, "-m", "tfseg.train", *arguments, "--run_dir"]
    started = time.monotonic()
    subprocess.run([*command, city / "never-killed"], check=True)
    took = time.monotonic() - started
    for _ in range(20):
        with subprocess.Popen([*command, city / "killed"]) as process:
            time.sleep(random.uniform(0.3, 0.5) * took)
            process.kill()
    if not (city / "killed/metrics.json").exists():
        subprocess.run([*command, city / "killed"], check=True)
    for name in ("best.weights.h5", "checkpoints/00000160.weights.h5"):
        whole, ours = (read_weights(city / run / name) for run in ("never-killed", "killed"))
        for path, array in whole.items():
            np.testing.assert_array_equal(ours[path], array, err_msg=path)


def test_missing_records_leave_no_run_folder(settings, city):
    arguments = [*settings, "--data.records", str(city / "nowhere"), "--run_dir", str(city / "never")]
    with pytest.raises(FileNotFoundError, match="no such folder of records"):
        train_run(parse_config(arguments))
    assert not (city / "never").exists()


@pytest.mark.slow
def test_a_search_finds_settings_to_train_with(settings, city, capsys):
    config, space, out = city / "run.yaml", city / "space.yaml", city / "search"
    config.write_text("")
    space.write_text(
        "optimizer.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n"
        "augmentation: {multiplies: [augment.flip], low: 0, high: 2}\n"
        "data.size: {choices: [64x128, 32x64]}\n"
    )
    arguments = ["--config", config, "--space", space, "--out", out, "--trials", 4, "--parallel", 2]
    tune.main([*map(str, arguments), *settings, "--data.val_size", "64x128"])
    assert "4 trials: 4 complete" in capsys.readouterr().out
    found = load_config(out / "best.yaml")
    best = train_run(dataclasses.replace(found, train=dataclasses.replace(found.train, epochs=1)))
    assert best["epoch"] == 1
    kept = [path.name for path in sorted(out.glob("trial-*")) if (path / "saved_model").exists()]
    assert len(kept) == 1
    scores = {path.parent.name: read_json(path)["validation"]["mean_iou"] for path in out.glob("trial-*/metrics.json")}
    assert max(scores, key=scores.get) == kept[0]


@pytest.mark.slow
def test_a_repeat_is_trained_scored_and_compared(settings, city, metrics, capsys):
    config, out = city / "repeat.yaml", city / "repeated"
    config.write_text("")
    repeat.main([str(config), "--seeds", "2", *settings, "--run_dir", str(out), "--train.epochs", "1"])
    assert "| seed 1   |      1 |" in capsys.readouterr().out
    summary = json.loads((out / "repeat.json").read_text())
    for seed, score in enumerate(summary["seeds"]["mean_iou"]):
        assert score == json.loads((out / f"seed-{seed}/scores-val.json").read_text())["mean_iou"]
    assert summary["images"] == 5 and len(set(summary["seeds"]["mean_iou"])) == 2
    assert all(training["seconds"] > 0 and training["best_epoch"] == 1 for training in summary["trainings"])
    compare.main([str(city / "run"), str(out)])
    assert "repeated, 2 seeds" in capsys.readouterr().out
