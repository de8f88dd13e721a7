import json

import keras
import numpy as np
import pytest
from helper_models import random_images
from helpers import write_records, write_run
from keras import ops

from tfseg.config.schema import Config, Data, Model
from tfseg.exporters import exporter, formats
from tfseg.exporters.exporter import export_by_tensorflow, export_run
from tfseg.inference.predictor import Predictor
from tfseg.models.segmenter import build_network
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")


@pytest.fixture
def run(tmp_path, tiny_records):
    return write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run")))


@pytest.mark.long
def test_why_a_process_of_its_own_could_not_export_is_reported(tmp_path):
    message = (
        rf"no SavedModel was made \(.*: holds no run .*\); weights and scores are in {tmp_path}: mend that and export "
        rf"by KERAS_BACKEND=tensorflow python -m tfseg.export --run {tmp_path} --out {tmp_path}/model "
        rf"--images 0$"
    )
    with pytest.raises(OSError, match=message):
        export_by_tensorflow(tmp_path, tmp_path / "model")


@pytest.mark.long
def test_a_run_in_half_precision_is_exported_in_float32(tmp_path, tiny_records):
    model = Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run"), model=model))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_network(8, "tiny", None, decoder_channels=model.decoder_channels)
        half.save_weights(run / run_dir.BEST_WEIGHTS)
        export_run(run, tmp_path / "model", images=0)
    finally:
        keras.config.set_dtype_policy("float32")
    whole = load_network(run)
    assert (half.compute_dtype, whole.compute_dtype) == ("bfloat16", "float32")
    images = random_images((1, 33, 47, 3))
    expected = ops.softmax(whole(images.astype(np.float32)))
    np.testing.assert_allclose(Predictor(tmp_path / "model").probabilities(images), expected, atol=1e-5)


def test_a_format_without_its_package_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "coremltools" else "there")
    with pytest.raises(
        ValueError, match=r"coreml: coremltools is not installed, .* pip install 'tf-segmentation\[export\]'"
    ):
        export_run("nowhere", tmp_path / "model", ["saved_model", "coreml"])


def test_records_that_do_not_fit_are_refused(tmp_path, run):
    labels = json.loads((run / "labels.json").read_text())
    labels["classes"][7]["name"] = "ship"
    (run / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=r"has the classes void, .* and the run void, .*, ship; give --records"):
        export_run(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_image_size_must_be_known_for_fixed_formats(tmp_path, run, monkeypatch):
    write_run(Config(Data(str(write_records(tmp_path / "own", {"val": 1})), fit="crop"), str(run), overwrite=True))
    manifest = json.loads((tmp_path / "own" / "manifest.json").read_text())
    (tmp_path / "own" / "manifest.json").write_text(json.dumps({**manifest, "size": None}))
    with pytest.raises(ValueError, match="images of their own sizes; give --size HEIGHTxWIDTH"):
        export_run(run, tmp_path / "model", ["litert"])


def test_it_refuses_a_folder_of_other_things_before_it_builds_the_network(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(exporter, "load_network", lambda run: pytest.fail("built the network first"))
    with pytest.raises(ValueError, match="no export to replace"):
        export_run("run", tmp_path)
