"""The command that scores: what its words mean, and what it prints."""

import json

import numpy as np
import pytest
from helper_models import FakePredictor

from tfseg import evaluate
from tfseg.evaluation import evaluator
from tfseg.evaluation.score_files import Evaluation
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.png import write_png
from tfseg.pipeline.examples import read_places
from tfseg.records.record_set import open_records
from tfseg.visualization.tables import evaluation_tables


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    monkeypatch.setattr(evaluator, "Predictor", FakePredictor)
    monkeypatch.setattr(evaluator, "learns_void", lambda path: False)


@pytest.fixture
def masks(tiny_records, tmp_path):
    """A folder of what `predict` would write of the images in records."""
    segment = ImageSegmenter(FakePredictor("").network, 8, FakePredictor.sizes)
    (tmp_path / "masks/deeper").mkdir(parents=True)
    for example in read_places(open_records(tiny_records), "val", range(5), size=None):
        write_png(tmp_path / "masks/deeper" / f"{example['id'].decode()}_classes.png", segment(example["image"]))
    return tmp_path / "masks"


def test_files_that_predict_wrote_have_the_scores_of_their_model(tiny_records, tmp_path, masks, capsys):
    evaluation = evaluator.evaluate_model(tmp_path / "model", tiny_records, "val", out=tmp_path / "out")
    command = ["--masks", str(masks), "--records", str(tiny_records)]
    evaluate.main([*command, "--out", str(tmp_path / "of-files")])
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == evaluation_tables(evaluation.content).splitlines()
    assert last.startswith(f"scored val of {tiny_records}: mean IoU ")
    of_files = json.loads((tmp_path / "of-files/scores-val.json").read_text())
    assert of_files["confusion_matrix"] == evaluation.content["confusion_matrix"]
    assert of_files["boundary_iou"] == json.loads((tmp_path / "out/scores-val.json").read_text())["boundary_iou"]
    assert "calibration_error" not in of_files
    write_png(masks / "deeper/val-003_classes.png", np.full((24, 32), 8, np.uint8))
    with pytest.raises(
        ValueError, match=r"val-003_classes\.png: expected 24x32 pixels of class ids below 8, .* up to 8"
    ):
        evaluate.main(command)
    (masks / "deeper/val-003_classes.png").unlink()
    with pytest.raises(FileNotFoundError, match="masks: has no val-003_classes"):
        evaluate.main(command)


@pytest.mark.long
@pytest.mark.parametrize("flag", [["--ignore-class", "none"], ["--learn-void"]])
def test_of_masks_it_is_said_whether_void_counts(tiny_records, tmp_path, monkeypatch, masks, capsys, flag):
    monkeypatch.setattr(evaluator, "learns_void", lambda path: True)
    scores = evaluator.evaluate_model(tmp_path / "model", tiny_records, "val").content
    command = ["--masks", str(masks), "--records", str(tiny_records), "--out", str(tmp_path / "files")]
    for option in ([], ["--ignore-class", "0"], flag):
        evaluate.main([*command, *option])
        of_files = json.loads((tmp_path / "files/scores-val.json").read_text())
        assert (of_files["mean_iou"] == scores["mean_iou"]) == (option == flag)
    with pytest.raises(SystemExit):
        evaluate.main(["--model", "m", "--records", str(tiny_records), *flag])
    assert "--ignore-class goes with --masks" in capsys.readouterr().err


def test_the_command_line_says_how_images_are_seen(monkeypatch):
    asked = []

    def keep(*arguments, inference, **options):
        asked.append(inference)
        return Evaluation("val", "r", {}, [], None)

    monkeypatch.setattr(evaluate, "choose_sizes", lambda wanted, model: [])
    monkeypatch.setattr(evaluate, "find_model", lambda path: path)
    monkeypatch.setattr(evaluator, "evaluate_model", keep)
    old = "--window 8x16 --flip --scales 1.0 2.0"
    for options in ("", "--sliding-window 8x16 --tta flip --tta-scales 1.0 2.0", old):
        evaluate.main(["--model", "m", "--records", "r", *options.split()])
    assert asked == [InferenceSettings(), *[InferenceSettings((8, 16), 0.5, True, (1.0, 2.0))] * 2]
    with pytest.raises(ValueError, match=r"overlap must be at least 0 and below 1, got 1\.0"):
        evaluate.main(["--model", "m", "--records", "r", "--sliding-window", "8x8", "--overlap", "1.0"])


def test_options_that_do_not_go_together(capsys):
    for arguments in (["--model", "m"], [], ["--run", "r", "--model", "m"]):
        with pytest.raises(SystemExit):
            evaluate.main(arguments)
    assert "--model needs --records" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--batch-size must be at least 1, got 0"):
        evaluate.main(["--run", "r", "--batch-size", "0"])
    for wrong in ("void", "99"):
        with pytest.raises(SystemExit):
            evaluate.main(["--masks", "m", "--records", "r", "--ignore-class", wrong])
        assert f"expected 0, the id of void, or none, got '{wrong}'" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--submission", "ids"], ["--sliding-window", "8x8"], ["--tta", "flip"]])
def test_masks_take_nothing_that_is_of_a_model(capsys, option):
    with pytest.raises(SystemExit):
        evaluate.main(["--masks", "m", "--records", "r", *option])
    assert f"{option[0]} goes with --run or --model; masks are scored as they are" in capsys.readouterr().err
