import json
import subprocess
import sys

import keras
import pytest
from helper_models import nearest_color_network
from helpers import CLASS_COLORS, write_run

from tfseg import export
from tfseg.config.schema import Config, Data
from tfseg.exporters import exporter, parity
from tfseg.inference.predictor import Predictor
from tfseg.records.labels import CATEGORIES

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")


@pytest.fixture
def run(tmp_path, tiny_records, monkeypatch):
    """A run whose network gives every pixel of the tiny records its true class."""
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run")))
    monkeypatch.setattr(exporter, "load_network", {run: nearest_color_network(CLASS_COLORS)}.__getitem__)
    return run


@pytest.mark.long
def test_command_exports_and_compares_the_network_of_a_run(tmp_path, run, capsys):
    export.main(["--run", str(run), "--out", str(tmp_path / "model"), "--images", "3"])
    assert Predictor(tmp_path / "model").classes == list(CATEGORIES)
    report = json.loads((tmp_path / "model" / "parity.json").read_text())
    assert report["pictures"] == ["val-000", "val-002", "val-004"]
    assert (report["size"], report["split"], report["mean_iou"]) == ([24, 32], "val", 1)
    entry = report["formats"].pop("SavedModel")
    assert not report["formats"]
    assert (entry["other_class"], entry["mean_iou"], entry["iou_change"], entry["met"]) == (0, 1, 0, True)
    assert entry["largest_difference"] < 1e-5 and entry["milliseconds"] > 0 and entry["bytes"] > 1000
    printed = capsys.readouterr()
    assert "3 images of val" in printed.out and "| SavedModel " in printed.out and "model_card.md" in printed.out
    assert "warning" not in printed.err
    assert "| SavedModel " in (tmp_path / "model" / "model_card.md").read_text()


@pytest.mark.long
def test_a_missed_bar_is_reported_and_the_export_kept(tmp_path, run, monkeypatch, capsys):
    monkeypatch.setitem(parity.SHARES, "SavedModel", 1.5)
    export.main(["--run", str(run), "--out", str(tmp_path / "model"), "--images", "1"])
    assert "warning: SavedModel misses its bar, 150 % of pixels of the same class: 0.000 %" in capsys.readouterr().err
    assert (tmp_path / "model" / "saved_model.pb").exists()


def test_without_images_no_records_are_needed(tmp_path, run, capsys):
    write_run(Config(Data("nowhere", size="24x32"), str(run), overwrite=True))
    export.main(["--run", str(run), "--out", str(tmp_path / "model"), "--images", "0"])
    made = {"assets", "fingerprint.pb", "labels.json", "saved_model.pb", "variables"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == made
    assert str(tmp_path / "model") in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--images", "-1"], ["--calibration", "0"]])
def test_numbers_that_make_no_sense(flags):
    with pytest.raises(ValueError, match=f"{flags[0]} (must )?(be )?at least"):
        export.main(["--run", "run", "--out", "out", *flags])


def test_a_size_that_is_none():
    with pytest.raises(ValueError, match="--size: expected a size as HEIGHTxWIDTH, such as 512x1024, got '3x'"):
        export.main(["--run", "run", "--out", "out", "--size", "3x"])


@pytest.mark.parametrize("module", ["export", "predict", "report"])
def test_help_is_answered_without_tensorflow(module):
    script = f"""
import sys
sys.modules.update(tensorflow=None, keras=None)  # importing them fails
from tfseg.{module} import main
main(["--help"])
"""
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert f"usage: python -m tfseg.{module}" in answer.stdout
