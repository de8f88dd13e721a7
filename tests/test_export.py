import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from conftest import write_run
from keras import ops

from tfseg import export
from tfseg.config import Config, Data
from tfseg.export import export_saved_model
from tfseg.labels import CATEGORIES, CATEGORY_COLORS
from tfseg.predict import Predictor

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")


def nearest_color_network(colors=CATEGORY_COLORS):
    """Gives each pixel the class of the nearest colour: |pixel - color|^2 is smallest where this logit is largest."""
    colors = colors.astype(np.float32)
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(len(colors), 1)
    network = keras.Model(images, logits(images))
    logits.set_weights([2 * colors.T[np.newaxis, np.newaxis], -np.square(colors).sum(axis=1)])
    return network


def random_pictures(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "model"
    export_saved_model(nearest_color_network(), directory, CATEGORIES, CATEGORY_COLORS)
    return directory


def test_each_class_colour_is_that_class(model):
    assert Predictor(model)(CATEGORY_COLORS[np.newaxis, np.newaxis]).tolist() == [[[0, 1, 2, 3, 4, 5, 6, 7]]]


@pytest.mark.parametrize("shape", [(1, 33, 47, 3), (3, 16, 8, 3), (2, 1, 1, 3)])
def test_any_size_gives_what_the_network_gives(model, shape):
    images = random_pictures(shape)
    predicted = Predictor(model)(images)
    logits = nearest_color_network()(images.astype(np.float32))
    assert predicted.dtype == np.uint8
    np.testing.assert_array_equal(predicted, ops.convert_to_numpy(ops.argmax(logits, axis=-1)))


def test_runs_with_tensorflow_alone_in_a_fresh_process(model):
    script = """
import sys
sys.modules["keras"] = None  # importing it now fails, also from inside TensorFlow
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
images = tf.constant([[[[128, 64, 128], [70, 130, 180]]]], tf.uint8)  # road, sky
classes = model.signatures["serving_default"](images=images)["classes"]
assert classes.dtype == tf.uint8 and classes.numpy().tolist() == [[[1, 5]]], classes
probabilities = model.signatures["probabilities"](images=images)["probabilities"]
assert probabilities.dtype == tf.float32 and probabilities.shape == (1, 1, 2, 8), probabilities
np.testing.assert_allclose(probabilities.numpy().sum(axis=-1), 1, rtol=1e-5)
assert probabilities.numpy().argmax(axis=-1).tolist() == [[[1, 5]]], probabilities
assert not any(name.split(".")[0] == "tfseg" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(model)], check=True)


def test_weights_are_stored_once(tmp_path):
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 1), keras.layers.Conv2D(8, 9)])
    export_saved_model(network, tmp_path / "model", CATEGORIES, CATEGORY_COLORS)
    stored = sum(file.stat().st_size for file in (tmp_path / "model" / "variables").iterdir())
    once = 4 * network.count_params()  # 21 kB
    assert once < stored < 1.5 * once


def test_half_precision_network_gives_float32_probabilities(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = nearest_color_network(CATEGORY_COLORS // 64)  # small numbers: bfloat16 has 8 bits
    finally:
        keras.config.set_dtype_policy("float32")
    assert network.compute_dtype == "bfloat16"
    export_saved_model(network, tmp_path / "model", CATEGORIES, CATEGORY_COLORS)
    predictor = Predictor(tmp_path / "model")  # refuses probabilities that are not float32
    assert predictor(np.zeros((1, 2, 2, 3), np.uint8)).tolist() == [[[0, 0], [0, 0]]]


def test_labels_json(model):
    labels = json.loads((model / "labels.json").read_text())
    assert labels["classes"][:2] == [
        {"id": 0, "name": "void", "color": [0, 0, 0]},
        {"id": 1, "name": "flat", "color": [128, 64, 128]},
    ]
    assert [entry["name"] for entry in labels["classes"]] == list(CATEGORIES)
    assert "uint8 RGB" in labels["input"]
    assert set(labels["signatures"]) == {"serving_default", "probabilities"}


def test_an_export_is_replaced(tmp_path):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    for names in (("night", "day"), ("black", "white")):
        export_saved_model(nearest_color_network(two), tmp_path / "deep" / "model", names, two)
    assert Predictor(tmp_path / "deep" / "model").classes == ["black", "white"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_failure_leaves_the_earlier_export(tmp_path, monkeypatch):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    export_saved_model(nearest_color_network(two), tmp_path / "model", ("night", "day"), two)

    def fill_disk(network, directory):
        (directory / "saved_model.pb").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(export, "save_module", fill_disk)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(nearest_color_network(two), tmp_path / "model", ("black", "white"), two)
    assert Predictor(tmp_path / "model").classes == ["night", "day"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_between_the_two_renames_brings_the_earlier_export_back(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "labels.json").write_text("earlier")
    with pytest.raises(FileNotFoundError), export.replace_export(tmp_path / "model") as incomplete:
        incomplete.rmdir()  # so that it cannot be renamed
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_run_left_is_mended(tmp_path):
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("earlier")
    (tmp_path / ".model.incomplete").mkdir()
    (tmp_path / ".model.incomplete" / "half").touch()
    with pytest.raises(OSError), export.replace_export(tmp_path / "model"):
        raise OSError("this run fails too")
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("older still")  # killed before it was deleted
    with export.replace_export(tmp_path / "model") as incomplete:
        (incomplete / "labels.json").write_text("new")
    assert (tmp_path / "model" / "labels.json").read_text() == "new"
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "labels.json"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(ValueError, match=r"no export to replace, it holds thesis\.tex"):
        export_saved_model(nearest_color_network(), tmp_path, CATEGORIES, CATEGORY_COLORS)
    with pytest.raises(ValueError, match="is a file"):
        export_saved_model(nearest_color_network(), thesis, CATEGORIES, CATEGORY_COLORS)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        (CATEGORIES[:7], CATEGORY_COLORS, "7 names and 8 colours"),
        (CATEGORIES[:7], CATEGORY_COLORS[:7], "tells 8 classes apart, got 7 names"),
        (CATEGORIES * 40, CATEGORY_COLORS.tolist() * 40, "expected 1 to 256 classes"),
    ],
)
def test_classes_that_do_not_fit(tmp_path, names, colors, message):
    with pytest.raises(ValueError, match=message):
        export_saved_model(nearest_color_network(), tmp_path / "model", names, colors)
    assert list(tmp_path.iterdir()) == []


def test_another_backend_is_told_what_to_set(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="Keras runs on torch; set the environment variable KERAS_BACKEND=tensorflow"):
        export_saved_model(nearest_color_network(), tmp_path / "model", CATEGORIES, CATEGORY_COLORS)


def test_why_a_process_of_its_own_could_not_export_is_told(tmp_path):
    message = (
        rf"no SavedModel was made \(.*: holds no run .*\); weights and scores are in {tmp_path}: mend that and export "
        rf"by KERAS_BACKEND=tensorflow python -m tfseg.export --run {tmp_path} --out {tmp_path}/model$"
    )
    with pytest.raises(OSError, match=message):
        export.export_by_tensorflow(tmp_path, tmp_path / "model")


def test_command_exports_the_network_of_a_run(tmp_path, monkeypatch, capsys):
    run = write_run(Config(Data("somewhere"), str(tmp_path / "run")))
    monkeypatch.setattr(export.run_folder, "load_network", {run: nearest_color_network()}.__getitem__)
    export.main(["--run", str(run), "--out", str(tmp_path / "model")])
    assert Predictor(tmp_path / "model").classes == list(CATEGORIES)
    assert str(tmp_path / "model") in capsys.readouterr().out


def test_command_refuses_a_folder_of_other_things_before_it_builds_the_network(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(export.run_folder, "load_network", lambda run: pytest.fail("built the network first"))
    with pytest.raises(ValueError, match="no export to replace"):
        export.main(["--run", "run", "--out", str(tmp_path)])


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
