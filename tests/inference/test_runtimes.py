"""Which runtime computes a model; that each gives the masks of the SavedModel, and loads no other."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from helper_files import save
from helpers import write_records
from PIL import Image

from tfseg import evaluate, predict
from tfseg.inference import predictor
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.runtimes import choice
from tfseg.inference.runtimes.choice import FILES, RUNTIMES, choose_runtime
from tfseg.inference.tta import InferenceSettings

ROOT = Path(__file__).parents[2]
OF_ANY_SIZE = ("tensorflow", "onnxruntime", "openvino")
IMAGES = [np.random.default_rng(seed).integers(0, 256, (60 + seed, 80, 3), np.uint8) for seed in range(3)]


def make_folder(directory, *names):
    directory.mkdir()
    for name in names:
        (directory / RUNTIMES[name].file).write_bytes(b"")
    return directory


@pytest.fixture
def installed(monkeypatch):
    """Packages that are there, as far as the choice sees."""
    packages = {runtime.package for runtime in RUNTIMES.values()}
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: name if name in packages else None)
    return packages


class TestChoice:
    @pytest.mark.parametrize(
        ("there", "missing", "chosen"),
        [
            (RUNTIMES, (), "tensorflow"),
            (RUNTIMES, ("tensorflow",), "onnxruntime"),
            (RUNTIMES, ("tensorflow", "onnxruntime"), "openvino"),
            (("litert", "openvino"), (), "openvino"),
            (("litert", "litert_int8"), (), "litert"),
            (("litert",), ("ai_edge_litert",), "litert"),  # by TensorFlow's own interpreter
            (("onnxruntime", "openvino"), ("onnxruntime", "openvino"), "onnxruntime"),  # whose import names the package
        ],
    )
    def test_the_first_whose_file_and_package_are_there(self, tmp_path, installed, there, missing, chosen):
        installed.difference_update(missing)
        assert choose_runtime(make_folder(tmp_path / "model", *there)) == chosen

    @pytest.mark.parametrize("name", RUNTIMES)
    def test_one_that_is_asked_for(self, tmp_path, installed, name):
        assert choose_runtime(make_folder(tmp_path / "model", *RUNTIMES), name) == name

    def test_what_is_less_exact_is_asked_for(self, tmp_path, installed):
        folder = make_folder(tmp_path / "model", "litert_float16", "litert_int8")
        with pytest.raises(ValueError, match=r"by --runtime litert_float16 or --runtime litert_int8$"):
            choose_runtime(folder)

    @pytest.mark.parametrize(
        ("name", "format"),
        [("litert_mixed", "mixed"), ("litert_weight_only", "weight_only"), ("litert_int8", "litert")],
    )
    def test_what_writes_its_file(self, tmp_path, installed, name, format):
        with pytest.raises(FileNotFoundError, match=rf" --formats {format} writes it$"):
            choose_runtime(make_folder(tmp_path / "model"), name)

    def test_refusals(self, tmp_path, installed):
        folder = make_folder(tmp_path / "model", "tensorflow")
        with pytest.raises(ValueError, match=r"expected one of tensorflow, onnxruntime, .*, got 'torch'"):
            choose_runtime(folder, "torch")
        words = (
            r"model\.onnx is missing, which ONNX Runtime reads; the folder has what runs by tensorflow; .* onnx writes"
        )
        with pytest.raises(FileNotFoundError, match=words):
            choose_runtime(folder, "onnxruntime")
        installed.discard("openvino")
        with pytest.raises(ValueError, match=r"^OpenVINO is not installed; pip install 'tf-segmentation\[openvino\]'$"):
            choose_runtime(make_folder(tmp_path / "other", "openvino"), "openvino")
        with pytest.raises(FileNotFoundError, match=r"saved_model\.pb is missing, and so are model\.onnx, model\.xml"):
            choose_runtime(make_folder(tmp_path / "empty"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of a model in all formats that the installed packages make."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow makes exports")
    from tfseg.exporters import litert, litert_mixed, onnx, openvino
    from tfseg.exporters.exporter import export_saved_model
    from tfseg.exporters.saved_model import Traced
    from tfseg.models.segmenter import build_network
    from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS

    keras.utils.set_random_seed(0)
    directory = tmp_path_factory.mktemp("runtimes") / "model"
    network = build_network(8, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    export_saved_model(network, directory, CATEGORIES, CATEGORY_COLORS, [(48, 64)])
    images = [IMAGES[0][:48, :64]]
    litert.write(Traced(network), (48, 64), images, directory)
    if choice.importlib.util.find_spec("litert_quantizer"):
        content = (directory / RUNTIMES["litert"].file).read_bytes()
        litert_mixed.write_mixed(content, (48, 64), images, directory)
        litert_mixed.write_weights(content, (48, 64), directory)
    if choice.is_installed("onnxruntime") and choice.importlib.util.find_spec("tf2onnx"):
        onnx.write(Traced(network), directory)
    if choice.is_installed("openvino"):
        openvino.write(Traced(network), directory)
    return directory


def have(exported, name):
    if not (exported / RUNTIMES[name].file).exists():
        pytest.skip(f"needs {RUNTIMES[name].package}, such as of pip install 'tf-segmentation[export]'")


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(IMAGES):
        save(folder / f"{number}.png", image)
    return folder


def masks_of(folder):
    return [np.array(Image.open(path)) for path in sorted(folder.glob("*_classes.png"))]


def test_onnx_runtime_has_a_thread_for_each_core_that_the_process_may_use(exported, monkeypatch):
    """By itself it has one for each core of the machine, and binds it there."""
    have(exported, "onnxruntime")
    from tfseg.inference.runtimes import onnx as runtime

    monkeypatch.setattr(runtime, "count_cores", lambda: 7)
    session = runtime.OnnxRuntime(exported / "model.onnx")._session
    assert session.get_session_options().intra_op_num_threads == 7


def test_onnx_runtime_gives_each_core_an_image_of_a_batch(exported, monkeypatch):
    have(exported, "onnxruntime")
    from tfseg.inference.runtimes import onnx as runtime

    monkeypatch.setattr(runtime, "count_cores", lambda: 2)
    model = runtime.OnnxRuntime(exported / "model.onnx")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    expected = np.concatenate([model.network(image[np.newaxis]) for image in images])
    alone, both = model._run, threading.Barrier(2, timeout=20)
    monkeypatch.setattr(model, "_run", lambda session, image: (both.wait(), alone(session, image))[1])
    np.testing.assert_array_equal(model.network(images), expected)


@pytest.mark.parametrize(("cores", "sessions"), [(1, 1), (2, 2)])
def test_onnx_runtime_opens_the_model_no_more_often_than_it_must(exported, monkeypatch, cores, sessions):
    """Nor where several threads show it a first batch at once."""
    have(exported, "onnxruntime")
    from tfseg.inference.runtimes import onnx as runtime

    opened, open_session = [], runtime.open_session

    def count(content, threads):
        opened.append(threads)
        time.sleep(0.05)
        return open_session(content, threads)

    monkeypatch.setattr(runtime, "open_session", count)
    monkeypatch.setattr(runtime, "count_cores", lambda: cores)
    model, images = runtime.OnnxRuntime(exported / "model.onnx"), np.zeros((2, 32, 32, 3), np.uint8)
    with ThreadPoolExecutor(2) as threads:
        answers = [*threads.map(model.network, [images, images])]
    np.testing.assert_array_equal(*answers)
    assert opened == [cores, 1][:sessions]


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "tensorflow"])
def test_masks_are_those_of_the_saved_model(exported, name):
    have(exported, name)
    expected, model = predictor.Predictor(exported), predictor.Predictor(exported, name)
    assert (expected.runtime, model.runtime) == ("tensorflow", name)
    same = [expected(image[np.newaxis]) == model(image[np.newaxis]) for image in IMAGES]
    least = {"litert_int8": 0.8, "litert_mixed": 0.95, "litert_weight_only": 0.95, "litert_float16": 0.99}
    assert np.mean(np.concatenate(same, axis=1)) >= least.get(name, 0.9999)
    difference = np.abs(
        expected.probabilities(IMAGES[0][np.newaxis]) - model.probabilities(IMAGES[0][np.newaxis])
    ).max()
    assert difference < (0.1 if name in choice.ONLY_BY_NAME else 1e-5)


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_windows_scales_and_the_mirror_image(exported, name):
    have(exported, name)
    inference = InferenceSettings((32, 32), flip=True, scales=(0.75, 1.25))
    masks = [predictor.load_segmenter(exported, inference, None, kind)[1](IMAGES[0]) for kind in ("tensorflow", name)]
    assert np.mean(masks[0] == masks[1]) >= 0.9999


def test_a_file_of_one_size_says_so(exported):
    words = (
        r"model_float32\.tflite takes images of 48x64 alone, and .* at 24x32; give --input-size 48x64 or .* --runtime"
    )
    with pytest.raises(ValueError, match=words):
        predictor.load_segmenter(exported, input_size="24x32", runtime="litert")
    with pytest.raises(ValueError, match=r"at 48x64, scaled"):
        predictor.load_segmenter(exported, InferenceSettings(scales=(0.5,)), runtime="litert")
    _, segment = predictor.load_segmenter(exported, input_size="native", runtime="litert")
    assert isinstance(segment, ImageSegmenter)
    with pytest.raises(ValueError, match=r"model_float32\.tflite takes images of 48x64 alone, got 60x80"):
        segment(IMAGES[0])
    _, segment = predictor.load_segmenter(exported, InferenceSettings((48, 64)), "native", "litert")
    assert segment(IMAGES[0]).shape == (60, 80)


@pytest.mark.parametrize("name", RUNTIMES)
def test_images_of_another_kind_are_refused_alike(exported, name):
    have(exported, name)
    with pytest.raises(
        ValueError, match=r"expected images as uint8 \(batch, height, width, 3\), got uint8 \(1, 4, 4, 4\)"
    ):
        predictor.Predictor(exported, name)(np.zeros((1, 4, 4, 4), np.uint8))


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "tensorflow"])
def test_damage_is_named(exported, tmp_path, name):
    have(exported, name)
    (tmp_path / "labels.json").write_bytes((exported / "labels.json").read_bytes())
    (tmp_path / RUNTIMES[name].file).write_bytes(b"no such thing")
    with pytest.raises(ValueError, match=rf"{RUNTIMES[name].file} is damaged"):
        predictor.Predictor(tmp_path, name)


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "tensorflow"])
def test_labels_of_another_model(exported, tmp_path, name):
    have(exported, name)
    for file in exported.glob("model*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    labels = json.loads((exported / "labels.json").read_text(encoding="utf-8"))
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "classes": labels["classes"][:5]}))
    with pytest.raises(ValueError, match=r"labels\.json names 5 classes, the model has 8"):
        predictor.Predictor(tmp_path, name)
    (tmp_path / "labels.json").write_text(json.dumps({**labels, "channels": 4}))
    with pytest.raises(ValueError, match=r"expected to take images \(batch, height, width, 4\), as labels\.json says"):
        predictor.Predictor(tmp_path, name)


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != "tensorflow"])
def test_predict_writes_what_is_scored_and_loads_no_other_runtime(exported, folder_of_images, tmp_path, name):
    """In a process of its own, from a folder that holds nothing else."""
    have(exported, name)
    alone = tmp_path / "model"
    alone.mkdir()
    files = ["labels.json", RUNTIMES[name].file, *(["model.bin"] if name == "openvino" else [])]
    for file in files:
        (alone / file).write_bytes((exported / file).read_bytes())
    script = "import sys; from tfseg import predict; predict.main(sys.argv[1:]); print(*sorted({*sys.modules}))"
    words = ["--model", alone, "--out", tmp_path / "masks", folder_of_images]
    words = [*map(str, words), *(["--runtime", name] if name in choice.ONLY_BY_NAME else [])]
    done = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {*done.stdout.splitlines()[-1].split()} & {runtime.package for runtime in RUNTIMES.values()}
    assert loaded == {
        RUNTIMES[name].package if choice.importlib.util.find_spec(RUNTIMES[name].package) else "tensorflow"
    }
    segment = predictor.load_segmenter(exported, runtime=name)[1]
    assert all(map(np.array_equal, masks_of(tmp_path / "masks"), map(segment, IMAGES)))


@pytest.mark.parametrize("name", RUNTIMES)
def test_evaluate_scores_the_files_that_predict_writes(exported, tmp_path, capsys, name):
    have(exported, name)
    from tfseg.evaluation.ground_truth import read_split
    from tfseg.records.record_set import open_records

    records = write_records(tmp_path / "records", {"val": 3}, size=(48, 64))
    out, masks = tmp_path / "scores", tmp_path / "masks"
    of_model = ["--model", str(exported), "--records", str(records), "--runtime", name]
    evaluate.main([*of_model, "--out", str(out)])
    scores = json.loads((out / "scores-val.json").read_text(encoding="utf-8"))
    assert scores.get("runtime", "tensorflow") == name
    images = tmp_path / "images"
    images.mkdir()
    for example in read_split(open_records(records), "val"):
        save(images / f"{example.id}.png", example.image)
    predict.main(["--model", str(exported), "--out", str(masks), "--runtime", name, str(images)])
    capsys.readouterr()
    evaluate.main(["--masks", str(masks), "--records", str(records), "--out", str(tmp_path / "of_masks")])
    of_masks = json.loads((tmp_path / "of_masks/scores-val.json").read_text(encoding="utf-8"))
    assert of_masks["confusion_matrix"] == scores["confusion_matrix"]


def test_files_are_named_once():
    assert len({*FILES}) == len(FILES)
