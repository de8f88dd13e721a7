import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helper_models import nearest_color_network, random_images
from keras import ops
from PIL import Image

from tfseg.exporters import saved_model
from tfseg.exporters.exporter import export_saved_model
from tfseg.inference.predictor import Predictor
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")


def encode(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "model"
    export_saved_model(nearest_color_network(), directory, CATEGORIES, CATEGORY_COLORS)
    return directory


def test_each_class_colour_is_that_class(model):
    assert Predictor(model)(CATEGORY_COLORS[np.newaxis, np.newaxis]).tolist() == [[[0, 1, 2, 3, 4, 5, 6, 7]]]


@pytest.mark.long
@pytest.mark.parametrize("shape", [(1, 33, 47, 3), (3, 16, 8, 3), (2, 1, 1, 3)])
def test_any_size_gives_what_the_network_gives(model, shape):
    images = random_images(shape)
    predicted = Predictor(model)(images)
    logits = nearest_color_network()(images.astype(np.float32))
    assert predicted.dtype == np.uint8
    np.testing.assert_array_equal(predicted, ops.convert_to_numpy(ops.argmax(logits, axis=-1)))


@pytest.mark.long
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
files = tf.io.encode_png(images[0])[tf.newaxis]
masks = model.signatures["encoded"](image_bytes=files)["mask_bytes"]
assert tf.io.decode_png(masks[0]).numpy().tolist() == [[[1], [5]]], masks
assert not any(name.split(".")[0] == "tfseg" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(model)], check=True)


def test_files_of_any_kind_and_size_give_a_png_of_their_size(model):
    image = Image.fromarray(random_images((33, 47, 3)))
    small = Image.fromarray(random_images((6, 5, 3))).convert("RGBA")
    files = [
        encode(image, "PNG"),
        encode(image.convert("L"), "PNG"),
        encode(image.quantize(9), "PNG"),
        encode(small, "PNG"),
        encode(image, "JPEG"),
        encode(image.convert("L"), "JPEG"),
    ]
    masks = tf.saved_model.load(str(model)).signatures["encoded"](image_bytes=tf.constant(files))["mask_bytes"].numpy()
    predictor = Predictor(model)
    for file, mask in zip(files, masks, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        decoded = Image.open(io.BytesIO(mask))
        assert (decoded.format, decoded.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(decoded), predictor(pixels[np.newaxis])[0])


def test_bytes_that_are_no_image_are_refused(model):
    encoded = tf.saved_model.load(str(model)).signatures["encoded"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the file is no PNG or JPEG image"):
        encoded(image_bytes=tf.constant([b"no image"]))


@pytest.mark.long
def test_weights_are_stored_once(tmp_path):
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(8, 1), keras.layers.Conv2D(8, 9)])
    export_saved_model(network, tmp_path / "model", CATEGORIES, CATEGORY_COLORS)
    stored = sum(file.stat().st_size for file in (tmp_path / "model" / "variables").iterdir())
    once = 4 * network.count_params()  # 21 kB
    assert once < stored < 1.5 * once


@pytest.mark.long
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
    assert set(labels["signatures"]) == {"serving_default", "probabilities", "network", "encoded"}
    assert labels["resize"] == []
    assert "files" not in labels


@pytest.mark.long
def test_an_export_is_replaced(tmp_path):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    for names in (("night", "day"), ("black", "white")):
        export_saved_model(nearest_color_network(two), tmp_path / "deep" / "model", names, two)
    assert Predictor(tmp_path / "deep" / "model").classes == ["black", "white"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


@pytest.mark.long
def test_a_failure_leaves_the_earlier_export(tmp_path, monkeypatch):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    export_saved_model(nearest_color_network(two), tmp_path / "model", ("night", "day"), two)

    def fill_disk(traced, directory):
        (directory / "saved_model.pb").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(saved_model, "save_module", fill_disk)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(nearest_color_network(two), tmp_path / "model", ("black", "white"), two)
    assert Predictor(tmp_path / "model").classes == ["night", "day"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(ValueError, match=r"no export to replace, it holds a file or folder \(thesis\.tex\)"):
        export_saved_model(nearest_color_network(), tmp_path, CATEGORIES, CATEGORY_COLORS)
    with pytest.raises(ValueError, match="is a file"):
        export_saved_model(nearest_color_network(), thesis, CATEGORIES, CATEGORY_COLORS)
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize(
    ("names", "colors", "message"),
    [
        (CATEGORIES[:7], CATEGORY_COLORS, "7 names and 8 colours"),
        (CATEGORIES[:7], CATEGORY_COLORS[:7], "has 8 classes, got 7 names"),
        (CATEGORIES * 40, CATEGORY_COLORS.tolist() * 40, "expected 1 to 256 classes"),
    ],
)
def test_classes_that_do_not_fit(tmp_path, names, colors, message):
    with pytest.raises(ValueError, match=message):
        export_saved_model(nearest_color_network(), tmp_path / "model", names, colors)
    assert list(tmp_path.iterdir()) == []


def test_another_backend_is_refused_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="Keras runs on torch; set the environment variable KERAS_BACKEND=tensorflow"):
        export_saved_model(nearest_color_network(), tmp_path / "model", CATEGORIES, CATEGORY_COLORS)
