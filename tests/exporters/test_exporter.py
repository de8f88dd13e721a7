import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import CLASS_COLORS, write_records, write_run
from keras import ops
from PIL import Image

from tfseg.config.schema import Config, Data, Model
from tfseg.exporters import exporter, parity
from tfseg.exporters.exporter import export_saved_model
from tfseg.inference.predictor import Predictor
from tfseg.models.segmenter import build_network
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")


def nearest_color_network(colors=CATEGORY_COLORS):
    """Gives each pixel the class of the nearest colour: |pixel - color|^2 is smallest where this logit is largest."""
    colors = colors.astype(np.float32)
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(len(colors), 1)
    network = keras.Model(images, logits(images))
    logits.set_weights([2 * colors.T[np.newaxis, np.newaxis], -np.square(colors).sum(axis=1)])
    return network


def encode(picture, kind, **settings):
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


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
files = tf.io.encode_png(images[0])[tf.newaxis]
masks = model.signatures["encoded"](image_bytes=files)["mask_bytes"]
assert tf.io.decode_png(masks[0]).numpy().tolist() == [[[1], [5]]], masks
assert not any(name.split(".")[0] == "tfseg" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", script, str(model)], check=True)


def test_files_of_any_kind_and_size_give_a_png_of_their_size(model):
    picture = Image.fromarray(random_pictures((33, 47, 3)))
    small = Image.fromarray(random_pictures((6, 5, 3))).convert("RGBA")
    files = [
        encode(picture, "PNG"),
        encode(picture.convert("L"), "PNG"),
        encode(picture.quantize(9), "PNG"),
        encode(small, "PNG"),
        encode(picture, "JPEG"),
        encode(picture.convert("L"), "JPEG"),
    ]
    masks = tf.saved_model.load(str(model)).signatures["encoded"](image_bytes=tf.constant(files))["mask_bytes"].numpy()
    predictor = Predictor(model)
    for file, mask in zip(files, masks, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        decoded = Image.open(io.BytesIO(mask))
        assert (decoded.format, decoded.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(decoded), predictor(pixels[np.newaxis])[0])


def test_bytes_that_are_no_picture_are_refused(model):
    encoded = tf.saved_model.load(str(model)).signatures["encoded"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="the file is no PNG or JPEG image"):
        encoded(image_bytes=tf.constant([b"no picture"]))


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
    assert set(labels["signatures"]) == {"serving_default", "probabilities", "network", "encoded"}
    assert labels["resize"] == []
    assert "files" not in labels


def test_an_export_is_replaced(tmp_path):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    for names in (("night", "day"), ("black", "white")):
        export_saved_model(nearest_color_network(two), tmp_path / "deep" / "model", names, two)
    assert Predictor(tmp_path / "deep" / "model").classes == ["black", "white"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_failure_leaves_the_earlier_export(tmp_path, monkeypatch):
    two = np.array([[0, 0, 0], [255, 255, 255]])
    export_saved_model(nearest_color_network(two), tmp_path / "model", ("night", "day"), two)

    def fill_disk(traced, directory):
        (directory / "saved_model.pb").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(exporter, "save_module", fill_disk)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(nearest_color_network(two), tmp_path / "model", ("black", "white"), two)
    assert Predictor(tmp_path / "model").classes == ["night", "day"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_between_the_two_renames_brings_the_earlier_export_back(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "labels.json").write_text("earlier")
    with pytest.raises(FileNotFoundError), exporter.replace_export(tmp_path / "model") as incomplete:
        incomplete.rmdir()  # so that it cannot be renamed
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_run_left_is_mended(tmp_path):
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("earlier")
    (tmp_path / ".model.incomplete").mkdir()
    (tmp_path / ".model.incomplete" / "half").touch()
    with pytest.raises(OSError), exporter.replace_export(tmp_path / "model"):
        raise OSError("this run fails too")
    assert (tmp_path / "model" / "labels.json").read_text() == "earlier"
    (tmp_path / ".model.replaced").mkdir()
    (tmp_path / ".model.replaced" / "labels.json").write_text("older still")  # killed before it was deleted
    with exporter.replace_export(tmp_path / "model") as incomplete:
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
        rf"by KERAS_BACKEND=tensorflow python -m tfseg.export --run {tmp_path} --out {tmp_path}/model "
        rf"--pictures 0$"
    )
    with pytest.raises(OSError, match=message):
        exporter.export_by_tensorflow(tmp_path, tmp_path / "model")


@pytest.fixture
def run(tmp_path, tiny_records, monkeypatch):
    """A run whose network gives every pixel of the tiny records its true class."""
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run")))
    monkeypatch.setattr(exporter.run_dir, "load_network", {run: nearest_color_network(CLASS_COLORS)}.__getitem__)
    return run


def test_command_exports_and_compares_the_network_of_a_run(tmp_path, run, capsys):
    exporter.main(["--run", str(run), "--out", str(tmp_path / "model"), "--pictures", "3"])
    assert Predictor(tmp_path / "model").classes == list(CATEGORIES)
    report = json.loads((tmp_path / "model" / "parity.json").read_text())
    assert report["pictures"] == ["val-000", "val-002", "val-004"]
    assert (report["size"], report["split"], report["mean_iou"]) == ([24, 32], "val", 1)
    entry = report["formats"].pop("SavedModel")
    assert not report["formats"]
    assert (entry["other_class"], entry["mean_iou"], entry["iou_change"], entry["met"]) == (0, 1, 0, True)
    assert entry["largest_difference"] < 1e-5 and entry["milliseconds"] > 0 and entry["bytes"] > 1000
    printed = capsys.readouterr()
    assert "3 pictures of val" in printed.out and "| SavedModel " in printed.out and "model_card.md" in printed.out
    assert "warning" not in printed.err
    assert "| SavedModel " in (tmp_path / "model" / "model_card.md").read_text()


def test_a_missed_bar_is_told_and_the_export_kept(tmp_path, run, monkeypatch, capsys):
    monkeypatch.setitem(parity.SHARES, "SavedModel", 1.5)
    exporter.main(["--run", str(run), "--out", str(tmp_path / "model"), "--pictures", "1"])
    assert "warning: SavedModel misses its bar, 150 % of pixels of the same class: 0.000 %" in capsys.readouterr().err
    assert (tmp_path / "model" / "saved_model.pb").exists()


def test_without_pictures_no_records_are_needed(tmp_path, run, capsys):
    write_run(Config(Data("nowhere", size="24x32"), str(run), overwrite=True))
    exporter.main(["--run", str(run), "--out", str(tmp_path / "model"), "--pictures", "0"])
    made = {"assets", "fingerprint.pb", "labels.json", "saved_model.pb", "variables"}
    assert {path.name for path in (tmp_path / "model").iterdir()} == made
    assert str(tmp_path / "model") in capsys.readouterr().out


def test_a_run_in_half_precision_is_exported_in_float32(tmp_path, tiny_records):
    model = Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run"), model=model))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_network(8, "tiny", None, decoder_channels=model.decoder_channels)
        half.save_weights(run / exporter.run_dir.BEST_WEIGHTS)
        exporter.export_run(run, tmp_path / "model", compared=0)
    finally:
        keras.config.set_dtype_policy("float32")
    whole = exporter.run_dir.load_network(run)
    assert (half.compute_dtype, whole.compute_dtype) == ("bfloat16", "float32")
    images = random_pictures((1, 33, 47, 3))
    expected = ops.softmax(whole(images.astype(np.float32)))
    np.testing.assert_allclose(Predictor(tmp_path / "model").probabilities(images), expected, atol=1e-5)


def test_a_format_without_its_package_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter.importlib.util, "find_spec", lambda name: None if name == "coremltools" else "there")
    advice = r"coreml: coremltools is not installed, .* pip install 'tf-segmentation\[export\]'"
    with pytest.raises(ValueError, match=advice):
        exporter.main(["--run", "nowhere", "--out", str(tmp_path / "model"), "--formats", "saved_model", "coreml"])


def test_records_that_do_not_fit_are_refused(tmp_path, run):
    labels = json.loads((run / "labels.json").read_text())
    labels["classes"][7]["name"] = "ship"
    (run / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=r"has the classes void, .* and the run void, .*, ship; give --records"):
        exporter.main(["--run", str(run), "--out", str(tmp_path / "model")])
    assert not (tmp_path / "model").exists()


def test_a_picture_size_must_be_known_for_fixed_formats(tmp_path, run, monkeypatch):
    write_run(Config(Data(str(write_records(tmp_path / "own", {"val": 1})), fit="crop"), str(run), overwrite=True))
    manifest = json.loads((tmp_path / "own" / "manifest.json").read_text())
    (tmp_path / "own" / "manifest.json").write_text(json.dumps({**manifest, "size": None}))
    with pytest.raises(ValueError, match="images of their own sizes; give --size HEIGHTxWIDTH"):
        exporter.main(["--run", str(run), "--out", str(tmp_path / "model"), "--formats", "litert"])


def test_an_export_of_all_formats_is_replaced(tmp_path):
    for name in (
        *("saved_model.pb", "fingerprint.pb", "variables", "assets", "labels.json", "parity.json", "model_card.md"),
        *("model_float32.tflite", "model_float16.tflite", "model_int8.tflite", "model.onnx", "model.mlpackage"),
    ):
        (tmp_path / name).touch()
    exporter.check_replaceable(tmp_path)


@pytest.mark.parametrize("flags", [["--pictures", "-1"], ["--calibration", "0"]])
def test_numbers_that_make_no_sense(flags):
    with pytest.raises(ValueError, match=f"{flags[0]} (must )?(be )?at least"):
        exporter.main(["--run", "run", "--out", "out", *flags])


def test_command_refuses_a_folder_of_other_things_before_it_builds_the_network(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.setattr(exporter.run_dir, "load_network", lambda run: pytest.fail("built the network first"))
    with pytest.raises(ValueError, match="no export to replace"):
        exporter.main(["--run", "run", "--out", str(tmp_path)])


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
