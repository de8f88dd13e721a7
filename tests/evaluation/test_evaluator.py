"""Evaluation of a model that is a function; the end-to-end test scores a real one."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from helper_models import FakePredictor
from helpers import VAL, change_record, draw

from tfseg.evaluation import evaluator
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.png import write_png
from tfseg.pipeline.examples import read_places
from tfseg.records.record_set import open_records


@pytest.fixture(autouse=True)
def predictor(monkeypatch):
    monkeypatch.setattr(evaluator, "Predictor", FakePredictor)
    monkeypatch.setattr(evaluator, "learns_void", lambda path: False)


def run(tiny_records, tmp_path, **options):
    return evaluator.evaluate_model(tmp_path / "model", tiny_records, "val", out=tmp_path / "out", **options)


def masks_of(records, sizes):
    """By id what `predict` would write of the images in records."""
    segment = ImageSegmenter(FakePredictor("").network, 8, sizes)
    examples = read_places(open_records(records), "val", range(5), size=None)
    return {example["id"].decode(): segment(example["image"]) for example in examples}


@pytest.mark.parametrize("id", ["../../x", "{folder}/x"])
def test_no_id_leads_out_of_the_folder_of_a_submission(tiny_records, tmp_path, monkeypatch, id):
    monkeypatch.setattr(evaluator, "label_ids_of", lambda classes: np.arange(8, dtype=np.uint8))
    records = shutil.copytree(tiny_records, tmp_path / "records")
    id = id.format(folder=tmp_path)
    change_record(records, VAL, 0, id=id.encode())
    with pytest.raises(ValueError, match=rf"records: a record has the id '{id}', expected one that is not absolute"):
        run(records, tmp_path, submission=tmp_path / "a/b/submission")
    assert not list(tmp_path.rglob("*_labelIds.png"))


def test_errors_that_name_flags_name_arguments_too(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluator, "make_judge", lambda *_: SimpleNamespace(official=True))
    with pytest.raises(FileNotFoundError, match="expected one file, found 0; see --instances") as caught:
        run(tiny_records, tmp_path, instances=tmp_path)
    assert caught.value.__notes__ == ["In Python: --instances is instances"]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text(f"data: {{records: {tmp_path}/lost}}\nrun_dir: {folder}\n")
    with pytest.raises(
        FileNotFoundError, match=r"score the run on others by .*evaluate --run .* --records DIR"
    ) as caught:
        evaluator.evaluate_run(folder)
    assert caught.value.__notes__ == ["In Python: --run is run, --records is records"]


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_no_score_depends_on_the_batch(tiny_records, tmp_path, batch_size):
    written = []
    for size in (4, batch_size):
        evaluation = run(tiny_records, tmp_path, sizes=[(16, 32)], batch_size=size)
        written.append((tmp_path / "out/scores-val.json").read_text())
    assert written[0] == written[1]
    assert json.loads(written[0])["mean_iou"] == evaluation.content["mean_iou"] > 0
    assert json.loads(written[0])["resize"] == [[16, 32]]


@pytest.mark.parametrize("sizes", [None, [], [(7, 9)], [(48, 48), (10, 64)]])
def test_what_is_scored_is_what_predict_writes(tiny_records, tmp_path, sizes):
    """By default at the sizes of the model's validation; counted at the size of the ground truth."""
    evaluation = run(tiny_records, tmp_path, sizes=sizes)
    masks = masks_of(tiny_records, FakePredictor.sizes if sizes is None else sizes)
    counted = np.zeros((8, 8), np.int64)
    for index, mask in enumerate(masks.values()):
        np.add.at(counted, (draw(index, 24, 32)[1], mask), 1)
    assert evaluation.content["confusion_matrix"] == counted.tolist()
    assert (evaluation.ids, evaluation.matrices.sum(axis=0).tolist()) == ([*masks], counted.tolist())
    if sizes is None:
        unresized = run(tiny_records, tmp_path, sizes=[])
        assert evaluation.content["confusion_matrix"] != unresized.content["confusion_matrix"]


def test_records_that_are_open_are_not_opened_again(tiny_records, tmp_path, monkeypatch):
    records, expected = open_records(tiny_records), run(tiny_records, tmp_path)
    monkeypatch.setattr("tfseg.records.record_set.read_manifest_bytes", None)
    np.testing.assert_array_equal(run(records, tmp_path).matrices, expected.matrices)


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


def test_a_model_of_other_classes_is_refused(tiny_records, tmp_path, monkeypatch):
    monkeypatch.setattr(FakePredictor, "classes", ["cat", "dog"])
    with pytest.raises(ValueError, match=r"model: predicts the classes cat, dog, and .* has void, flat, .*; score"):
        run(tiny_records, tmp_path)
    assert not (tmp_path / "out").exists()


def test_nothing_is_printed(tiny_records, tmp_path, capsys):
    run(tiny_records, tmp_path)
    for id, mask in masks_of(tiny_records, FakePredictor.sizes).items():
        write_png(tmp_path / f"{id}_classes.png", mask)
    evaluation = evaluator.evaluate_masks(tmp_path, tiny_records)
    assert capsys.readouterr() == ("", "")
    assert repr(evaluation) == f"Evaluation(split='val', records='{tiny_records}', notes=())", "and not all the numbers"
