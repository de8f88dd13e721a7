"""Evaluation of a model that is a function; the end-to-end test scores a real one."""

import json
from pathlib import Path

import numpy as np
import pytest
from helper_models import FakePredictor
from helpers import draw

from tfseg.evaluation import evaluator
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.png import write_png
from tfseg.pipeline.pipeline import read_places


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    monkeypatch.setattr(evaluator, "Predictor", FakePredictor)
    monkeypatch.setattr(evaluator, "learns_void", lambda path: False)


def run(tiny_records, tmp_path, **options):
    return evaluator.evaluate(tmp_path / "model", tiny_records, "val", out=tmp_path / "out", **options)


def masks_of(records, sizes):
    """By id what `predict` would write of the images in records."""
    segment = ImageSegmenter(FakePredictor("").network, 8, sizes)
    examples = read_places(records, "val", range(5), size=None)
    return {example["id"].decode(): segment(example["image"]) for example in examples}


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_no_score_depends_on_the_batch(tiny_records, tmp_path, batch_size):
    written = []
    for size in (4, batch_size):
        scores = run(tiny_records, tmp_path, sizes=[(16, 32)], batch_size=size)
        written.append((tmp_path / "out/scores-val.json").read_text())
    assert written[0] == written[1]
    assert json.loads(written[0])["mean_iou"] == scores["mean_iou"] > 0
    assert json.loads(written[0])["resize"] == [[16, 32]]


@pytest.mark.parametrize("sizes", [None, [], [(7, 9)], [(48, 48), (10, 64)]])
def test_what_is_scored_is_what_predict_writes(tiny_records, tmp_path, sizes):
    """By default at the sizes of the model's validation; counted at the size of the truth."""
    scores = run(tiny_records, tmp_path, sizes=sizes)
    masks = masks_of(tiny_records, FakePredictor.sizes if sizes is None else sizes)
    counted = np.zeros((8, 8), np.int64)
    for index, mask in enumerate(masks.values()):
        np.add.at(counted, (draw(index, 24, 32)[1], mask), 1)
    assert scores["confusion_matrix"] == counted.tolist()
    if sizes is None:
        assert scores["confusion_matrix"] != run(tiny_records, tmp_path, sizes=[])["confusion_matrix"]


def test_files_that_predict_wrote_have_the_scores_of_their_model(tiny_records, tmp_path, capsys):
    scores = run(tiny_records, tmp_path)
    printed = capsys.readouterr().out
    (tmp_path / "masks/deeper").mkdir(parents=True)
    for id, mask in masks_of(tiny_records, FakePredictor.sizes).items():
        write_png(tmp_path / "masks/deeper" / f"{id}_classes.png", mask)
    command = ["--masks", str(tmp_path / "masks"), "--records", str(tiny_records)]
    evaluator.main([*command, "--out", str(tmp_path / "of-files")])
    assert capsys.readouterr().out.splitlines()[:-1] == printed.splitlines()
    of_files = json.loads((tmp_path / "of-files/scores-val.json").read_text())
    assert of_files["confusion_matrix"] == scores["confusion_matrix"]
    assert of_files["boundary_iou"] == json.loads((tmp_path / "out/scores-val.json").read_text())["boundary_iou"]
    assert "calibration_error" not in of_files
    write_png(tmp_path / "masks/deeper/val-003_classes.png", np.full((24, 32), 8, np.uint8))
    with pytest.raises(
        ValueError, match=r"val-003_classes\.png: expected 24x32 pixels of class ids below 8, .* up to 8"
    ):
        evaluator.main(command)
    (tmp_path / "masks/deeper/val-003_classes.png").unlink()
    with pytest.raises(FileNotFoundError, match="masks: has no val-003_classes"):
        evaluator.main(command)


def test_masks_are_found_in_the_folders_that_ids_begin_with(tmp_path):
    for name in ("007", "0001/007", "0002/007", "a/0002/u\u0308", "b/c"):
        path = tmp_path / f"{name}_classes.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = evaluator.find_masks(tmp_path)

    def names(id):
        return [str(path.relative_to(tmp_path)) for path in found[id]]

    assert names("0001_007") == ["0001/007_classes.png"]
    assert names("007") == [f"{folder}007_classes.png" for folder in ("", "0001/", "0002/")]
    assert names("0002_\u00fc") == names("a_0002_\u00fc") == ["a/0002/u\u0308_classes.png"]
    assert "a_007" not in found and names("c") == ["b/c_classes.png"]


def test_of_masks_it_is_said_whether_void_counts(tiny_records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluator, "learns_void", lambda path: True)
    scores = run(tiny_records, tmp_path)
    (tmp_path / "masks").mkdir()
    for id, mask in masks_of(tiny_records, FakePredictor.sizes).items():
        write_png(tmp_path / "masks" / f"{id}_classes.png", mask)
    command = ["--masks", str(tmp_path / "masks"), "--records", str(tiny_records), "--out", str(tmp_path / "files")]
    for option in ([], ["--learn-void"]):
        evaluator.main([*command, *option])
        of_files = json.loads((tmp_path / "files/scores-val.json").read_text())
        assert (of_files["mean_iou"] == scores["mean_iou"]) == bool(option)
    with pytest.raises(SystemExit):
        evaluator.main(["--model", "m", "--records", str(tiny_records), "--learn-void"])
    assert "--learn-void goes with --masks" in capsys.readouterr().err


def test_windows_and_mirror_images_of_a_pixelwise_model_have_its_scores(tiny_records, tmp_path):
    written = []
    for inference in (None, InferenceSettings((9, 20), 0.25, flip=True), InferenceSettings(scales=(0.25,))):
        run(tiny_records, tmp_path, inference=inference, sizes=[])
        written.append(json.loads((tmp_path / "out/scores-val.json").read_text()))
    whole, windows, small = written
    assert whole.pop("inference") == {"window": None, "overlap": 0.5, "flip": False, "scales": [1.0]}
    assert windows.pop("inference") == {"window": [9, 20], "overlap": 0.25, "flip": True, "scales": [1.0]}
    assert windows.pop("calibration_error") == pytest.approx(whole.pop("calibration_error"), abs=1e-6)
    assert windows == whole
    assert small["confusion_matrix"] != whole["confusion_matrix"]


def test_the_command_line_says_how_pictures_are_seen(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluator, "choose_sizes", lambda wanted, model: [])
    monkeypatch.setattr(evaluator, "find_model", Path)
    monkeypatch.setattr(evaluator, "evaluate", lambda *arguments, inference, **options: asked.append(inference))
    for options in ("", "--sliding-window 8x16 --tta flip --tta-scales 1.0 2.0"):
        evaluator.main(["--model", "m", "--records", "r", *options.split()])
    assert asked == [InferenceSettings(), InferenceSettings((8, 16), 0.5, True, (1.0, 2.0))]
    with pytest.raises(ValueError, match=r"overlap must be at least 0 and below 1, got 1\.0"):
        evaluator.main(["--model", "m", "--records", "r", "--sliding-window", "8x8", "--overlap", "1.0"])


def test_a_model_of_other_classes_is_refused(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setattr(FakePredictor, "classes", ["cat", "dog"])
    with pytest.raises(ValueError, match=r"model: tells cat, dog apart, and .* has void, flat, .*; score it on"):
        run(tiny_records, tmp_path)
    assert not (tmp_path / "out").exists()


def test_instances_are_looked_for_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gtFine/val/\*/a_gtFine_instanceIds.png: expected one file, found 0"):
        evaluator.read_instances(tmp_path, "val", "a")
    folder = tmp_path / "gtFine/val/ulm"
    folder.mkdir(parents=True)
    (folder / "a_gtFine_instanceIds.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"a_gtFine_instanceIds.png: is damaged"):
        evaluator.read_instances(tmp_path, "val", "a")


def test_a_raw_mask_that_is_missing_or_damaged_is_named():
    with pytest.raises(ValueError, match="r: a has no raw mask"):
        evaluator.decode_label_ids(b"", "a", "r")
    with pytest.raises(ValueError, match="r: the raw mask of a is no PNG file"):
        evaluator.decode_label_ids(b"no picture", "a", "r")


def test_options_that_do_not_go_together(capsys):
    for arguments in (["--model", "m"], [], ["--run", "r", "--model", "m"]):
        with pytest.raises(SystemExit):
            evaluator.main(arguments)
    assert "--model needs --records" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--batch-size must be at least 1, got 0"):
        evaluator.main(["--run", "r", "--batch-size", "0"])
