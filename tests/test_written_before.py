"""What version 0.1.0 wrote is still read, and its flags are taken; tests/data/before/README.md says how it was made.

A setting or a flag that gets a new name goes into the tables of renamed ones below; the files stay as they are.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import yaml
from helpers import draw

from tfseg import report
from tfseg.config.parse import load_config
from tfseg.config.settings import list_settings
from tfseg.evaluation import evaluator, scored_run
from tfseg.evaluation.ground_truth import read_example
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.labels_file import learns_void
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io import renamed, resizing
from tfseg.pipeline.pipeline import make_eval_batches
from tfseg.records.manifest import read_manifest
from tfseg.records.record_set import open_records
from tfseg.records.verifier import find_faults
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network
from tfseg.training import checkpoints

ROOT = Path(__file__).parents[1]
BEFORE = Path(__file__).parent / "data" / "before"
FLAGS = json.loads((BEFORE / "flags.json").read_text(encoding="utf-8"))
MOVED = {  # command of then -> of now
    "python tools/check_metal.py": "python -m tfseg.check_metal",
    "python tools/describe_model.py": "python -m tfseg.describe",
    "python tools/explore_dataset.py": "python -m tfseg.explore",
    "python tools/fuzz_serve.py": "python -m benchmarks.fuzz_serve",
    "python tools/make_sample_city.py": "python -m tfseg.sample_city",
    "python tools/show_batch.py": "python -m tfseg.show_batch",
    "python tools/tune.py": "python -m tfseg.tune",
    "python tools/verify_tfrecords.py": "python -m tfseg.verify",
}
RENAMED_SETTINGS = renamed.SETTINGS  # old dotted key -> new one
RENAMED_FLAGS = {  # command -> old flag -> new one
    f"python -m tfseg.{verb}": {old: new for old, (new, _) in flags.items()} for verb, flags in renamed.FLAGS.items()
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """A copy of the folder in which the archives of weights are unpacked."""
    folder = tmp_path_factory.mktemp("written") / "before"
    shutil.copytree(BEFORE, folder)
    for archive in folder.rglob("arrays.tar.xz"):
        with tarfile.open(archive) as file:
            file.extractall(archive.parent, filter="data")
    return folder


@pytest.fixture
def before(unpacked, monkeypatch):
    """The copy as working directory: its configs name records and run folders relative to it."""
    monkeypatch.chdir(unpacked)
    return unpacked


@pytest.fixture
def image():
    return cv2.imread(str(BEFORE / "image.png"))[..., ::-1]


@pytest.fixture
def mask():
    return cv2.imread(str(BEFORE / "image_classes.png"), cv2.IMREAD_UNCHANGED)


def read_split(records: Path, split: str) -> list[dict]:
    batches = make_eval_batches(open_records(records), split, size=None, batch_size=1, names=True).as_numpy_iterator()
    return [{name: array[0] for name, array in batch.items()} for batch in batches]


@pytest.mark.parametrize(("name", "version"), [("records", 2), ("records_v1", 1)])
def test_records_are_read(name, version):
    assert find_faults(BEFORE / name) == []
    manifest = read_manifest(BEFORE / name)
    assert (manifest.schema_version, manifest.codec, len(manifest.classes)) == (version, "png", 8)
    stored = json.loads((BEFORE / name / "manifest.json").read_text(encoding="utf-8"))["splits"]
    for split, count in (("train", 6), ("val", 2)):
        examples = read_split(BEFORE / name, split)
        assert [example["id"].decode() for example in examples] == stored[split]["ids"]
        assert {example["image"].shape for example in examples} == {(24, 32, 3)}
        masks = np.stack([example["mask"] for example in examples])
        assert (masks.shape, masks.dtype) == ((count, 24, 32), np.uint8)
        assert np.bincount(masks.ravel(), minlength=8).tolist() == stored[split]["class_pixels"]
        assert [bool(example["label_ids"]) for example in examples] == [split == "val"] * count


def test_pixels_of_schema_version_1():
    for split, count in (("train", 6), ("val", 2)):
        for example, index in zip(read_split(BEFORE / "records_v1", split), range(count), strict=True):
            image, mask = draw(index, 24, 32)
            np.testing.assert_array_equal(example["image"], image)
            np.testing.assert_array_equal(example["mask"], mask)


def test_original_label_ids(image):
    example = read_split(BEFORE / "records", "val")[1]
    np.testing.assert_array_equal(example["image"], image)
    found = read_example(example, open_records(BEFORE / "records"))
    assert found.truth.shape == found.label_ids.shape == (64, 128)
    assert set(np.unique(found.label_ids)) <= {*range(34)}
    assert set(np.unique(found.truth)) <= {*range(8)}


@pytest.mark.parametrize("path", ["config.yaml", "run/config.yaml", "run_interrupted/config.yaml"])
def test_settings_have_their_values(path):
    written = yaml.safe_load((BEFORE / path).read_text(encoding="utf-8"))
    expected = {}
    for name, value in written.items():
        expected |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    settings = json.loads(json.dumps(list_settings(load_config(BEFORE / path))))  # tuples as lists
    for name, value in expected.items():
        value = renamed.SETTING_VALUES[name][value] if name in renamed.SETTING_VALUES else value
        assert settings[RENAMED_SETTINGS.get(name, name)] == value, name


def test_the_network_of_a_run_gives_its_mask(before, image, mask):
    network = load_network("run")
    prepared = resizing.resize_along(image, run_dir.read_sizes("run"))
    logits = network(prepared[np.newaxis].astype(np.float32))
    likely = keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]
    np.testing.assert_array_equal(ImageSegmenter(network, likely.shape[-1]).choose(likely, mask.shape), mask)


def test_the_saved_model_gives_its_mask(before, image, mask):
    predictor = Predictor(Path("run/saved_model"))
    assert predictor.classes == run_dir.read_labels("run")[0]
    assert learns_void(Path("run/saved_model/labels.json"))
    assert predictor(image[np.newaxis])[0].tobytes() == mask.tobytes()
    assert make_segmenter(predictor)(image).tobytes() == mask.tobytes()
    [file] = predictor.answer_files([Path("image.png").read_bytes()])
    assert cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED).tobytes() == mask.tobytes()


def test_a_run_is_scored_as_before(before):
    scores = json.loads(Path("run/scores-val.json").read_text(encoding="utf-8"))
    inference = InferenceSettings.from_json(scores["inference"])
    assert inference == InferenceSettings((24, 24), 0.25, True, (1.0, 1.25))
    found = evaluator.evaluate_run("run", split="val", inference=inference, out="again").content
    assert found["resize"] == scores["resize"]
    assert found.keys() == scores.keys()
    difference = np.abs(np.subtract(found["confusion_matrix"], scores["confusion_matrix"])).sum()
    assert difference <= 20, "of 16384 pixels: another processor may round otherwise where two classes are as likely"


@pytest.mark.long
def test_a_run_is_reported_by_its_scores(before, monkeypatch):
    monkeypatch.setattr(scored_run, "evaluate_run", None)  # it has scores, and they are as new as its model
    report.main(["--run", "run", "--samples", "1"])
    assert Path("run/report.html").stat().st_size > 10_000


def test_the_interrupted_run_is_the_same_training(before):
    run, config = Path("run_interrupted"), load_config("run_interrupted/config.yaml")
    run_dir.check_run(config)
    assert run_dir.list_other_settings(run, config) == ""
    state = checkpoints.find_last(run)
    assert (state.step, state.best, state.rollbacks) == (1, None, 0)


@pytest.mark.slow
def test_the_interrupted_run_is_resumed(before):
    run = Path("resumed")
    shutil.copytree("run_interrupted", run)
    command = [sys.executable, "-m", "tfseg.train", "--config", "run_interrupted/config.yaml", "--run_dir", run]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "after step 1 of epoch 1" in done.stdout
    assert checkpoints.find_last(run).step == 6
    with (run / "history.csv").open(encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["epoch"] in (1, 2)


@pytest.mark.long
@pytest.mark.parametrize("command", FLAGS)
def test_flags_are_there(command):
    words = MOVED.get(command, command).split()[1:]
    done = subprocess.run([sys.executable, *words, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    there = set(re.findall(r"--[\w.-]+", done.stdout))
    settings = {f"--{old}": f"--{new}" for old, new in RENAMED_SETTINGS.items()}
    now = {**settings, **RENAMED_FLAGS.get(command, {})}
    assert [flag for flag in FLAGS[command] if now.get(flag, flag) not in there] == []
