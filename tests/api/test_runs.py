"""Runs as `import tfseg` gives them: opened, looked at, given where a path goes; and models of one's own `fit`."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from helper_models import nearest_color_network
from helpers import CLASS_COLORS, draw, write_run

import tfseg
from tfseg.io.atomic import write_json
from tfseg.metrics.confusion import scores
from tfseg.records.labels import CATEGORIES

MATRIX = np.diag(np.arange(8))


@pytest.fixture
def config(tiny_records, tmp_path):
    (tmp_path / "run.yaml").write_text(f"data: {{records: {tiny_records}}}\nrun_dir: {tmp_path / 'run'}\n")
    return tfseg.Config.from_yaml(tmp_path / "run.yaml", train={"epochs": 2}, model={"weights": None})


@pytest.fixture
def folder(config):
    return write_run(config)


def test_a_config_of_a_file_and_changes(config, tmp_path):
    assert config.train.epochs == 2 and config.model.weights is None and config.train.batch_size == 8
    with pytest.raises(ValueError, match=r"train\.epochs: expected .*got 0"):
        tfseg.Config.from_yaml(tmp_path / "run.yaml", train={"epochs": 0})
    other = tfseg.Config.from_yaml(tmp_path / "run.yaml", train={"epochs": np.int64(5)}, run_dir=tmp_path / "other")
    assert other.train.epochs == 5 and other.run_dir == str(tmp_path / "other")
    with pytest.raises(TypeError, match=r"config: expected tfseg.Config, .* got 'run.yaml'"):
        tfseg.train_run("run.yaml")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="epoch"):
        tfseg.Config.from_yaml(tmp_path / "run.yaml", train={"epoch": 2})


def test_a_run_says_what_it_is(folder, tiny_records):
    run = tfseg.open_run(folder)
    assert str(run) == os.fspath(run) == str(folder) and Path(run) == folder
    assert run.config.train.epochs == 2 and run.records.path == Path(tiny_records)
    assert isinstance(run.records, tfseg.RecordSet)


def test_a_run_that_has_not_ended(folder):
    run = tfseg.open_run(folder)
    assert run._repr_html_().endswith("no epoch has ended</p>")
    with pytest.raises(FileNotFoundError, match=r"the run has not ended \(metrics.json is missing\)"):
        run.scores  # noqa: B018
    with pytest.raises(FileNotFoundError, match=r"history\.csv"):
        run.history  # noqa: B018
    (folder / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n")
    assert run.history == {"epoch": [1.0, 2.0], "loss": [0.5, 0.25]}
    assert "<td>0.25</td>" in run._repr_html_() and "has not ended" in run._repr_html_()


def test_the_scores_of_one_that_has(folder):
    found = scores(MATRIX, CATEGORIES)
    write_json({"split": "val", "epoch": 1, **found}, folder / "metrics.json")
    run = tfseg.open_run(folder)
    assert run.scores.mean_iou == found["mean_iou"] == 1.0 and run.metrics["epoch"] == 1
    assert "vehicle" in run._repr_html_()


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no run \(config.yaml is missing\)"):
        tfseg.open_run(tmp_path)


def test_a_model_of_ones_own_is_exported_and_answers(tiny_records, tmp_path):
    records = tfseg.open_records(tiny_records)
    segment = tfseg.export_model(nearest_color_network(CLASS_COLORS), tmp_path / "model", records)
    image, mask = draw(1, 24, 32)
    np.testing.assert_array_equal(segment(image), mask)
    assert segment.classes == records.classes and segment.palette.tolist() == records.palette.tolist()
    again = tfseg.load_model(tmp_path / "model")
    np.testing.assert_array_equal(again(image), mask)


def test_a_model_of_classes_alone(tmp_path):
    segment = tfseg.export_model(nearest_color_network(CLASS_COLORS[:3]), tmp_path / "model", classes=["a", "b", "c"])
    assert segment.classes == ["a", "b", "c"] and len({*map(tuple, segment.palette.tolist())}) == 3
    with pytest.raises(ValueError, match="expected either records"):
        tfseg.export_model(keras.Sequential(), tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": "abc"}, "classes: expected a list of their names, got 'abc'"),
        ({"classes": 3}, "classes: expected a list of their names, got 3"),
        ({"classes": ["a", "b", "a"]}, "classes: expected each name once, got a, b, a"),
        ({"classes": ["a", "b\n", "c"]}, r"classes: has the class 'b\\n', expected no line breaks"),
        ({"palette": [[0, 0, 0]]}, r"palette: expected whole numbers of 0 to 255, \(3, 3\)"),
        ({"palette": [[0, 0, 256]] * 3}, r"palette: expected whole numbers of 0 to 255, \(3, 3\)"),
        ({"palette": [[0.5, 0.5, 0.5]] * 3}, r"palette: expected whole numbers of 0 to 255, \(3, 3\)"),
        ({"input_size": "8x8"}, r"input_size: expected \(height, width\), got '8x8'"),
        ({"input_size": (0, 8)}, "input_size: expected a whole number, 1 or more, got 0"),
        ({"model": keras.layers.Dense(3)}, "model: expected a Segmenter, or a model of Keras whose inputs and outputs"),
    ],
)
def test_an_export_that_cannot_be_is_refused(tmp_path, options, message):
    options = {"model": nearest_color_network(CLASS_COLORS[:3]), "classes": ["a", "b", "c"], **options}
    with pytest.raises(ValueError, match=message):
        tfseg.export_model(directory=tmp_path / "model", **options)
    assert not (tmp_path / "model").exists()


def test_an_export_takes_a_folder_of_records_sizes_and_colours(tiny_records, tmp_path):
    network, size, palette = nearest_color_network(CLASS_COLORS), np.array([12, 16]), np.arange(24).reshape(8, 3)
    segment = tfseg.export_model(network, tmp_path / "model", tiny_records, input_size=size, palette=palette)
    assert segment.sizes == ((12, 16),) and segment.palette.tolist() == palette.tolist()
