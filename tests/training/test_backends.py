"""One training on each backend: the same losses, weights that go from each to each, the same scores."""

import csv
import importlib.util
import os
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml

from tfseg import convert
from tfseg.config.parse import parse_config
from tfseg.inference.predictor import Predictor
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network
from tfseg.synthetic import sample_city

BACKENDS = [name for name in ("tensorflow", "torch", "jax", "mlx") if importlib.util.find_spec(name) is not None]
pytestmark = [
    pytest.mark.skipif(len(BACKENDS) < 2, reason="one is installed; see make test-backends and make test-mlx"),
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="trains on all backends, from one process of PyTorch"),
]

# Everything that a training can have; but what is drawn differs by backend, so the draws leave no choice.
SETTINGS = {
    "data.size": "64x128",
    "augment.flip": 1.0,
    "augment.zoom": "[1.1, 1.1]",
    "augment.gamma": "[0.8, 0.8]",
    "model.encoder": "tiny",
    "model.weights": "null",
    "model.decoder_channels": "[16, 16, 8, 8, 8]",
    "model.batch_norm_momentum": 0.5,
    **{f"loss.{name}": 0.5 for name in ("dice", "cross_entropy", "jaccard", "tversky", "focal", "lovasz")},
    "loss.auxiliary": 0.5,
    "loss.label_smoothing": 0.1,
    "loss.ohem_threshold": 0.7,
    "loss.class_weights": "manifest",
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 1e-3,
    "optimizer.schedule": "cosine",
    "optimizer.warmup_epochs": 2,
    "optimizer.weight_decay": 0.05,
    "optimizer.ema_momentum": 0.5,
    "train.epochs": 5,  # of one step each, so that the history has the loss of every step
    "train.batch_size": 4,
}
EVERY_EFFECT = {
    "augment.flip": 0.5,
    "augment.zoom": "[0.7, 1.4]",
    "augment.gamma": "[0.7, 1.4]",
    "augment.class_mix": 0.5,
    "augment.one_of": "[{effects: [blur, motion_blur, sharpen], p: 1.0}]",
    **{f"augment.{name}": 0.1 for name in ("shift", "perspective", "brightness", "contrast", "saturation")},
    **{f"augment.{name}": 0.1 for name in ("tone_curve", "noise", "cutout", "sharpen")},
    **{f"augment.{name}": 5.0 for name in ("rotation", "shear", "hue", "motion_blur")},
    "augment.blur": 1.0,
}


def run_on_each(arguments) -> dict[str, subprocess.CompletedProcess]:
    """Runs backend_run.py on all backends at once, a thread each; `arguments` is a function of the backend."""
    script = Path(__file__).with_name("backend_run.py")
    started = {
        name: subprocess.Popen(
            [sys.executable, script, *map(str, arguments(name))],
            env={**os.environ, "KERAS_BACKEND": name, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in BACKENDS
    }
    outputs = {name: process.communicate()[0] for name, process in started.items()}
    for name, process in started.items():
        assert process.returncode == 0, f"{name}:\n{outputs[name]}"
    return outputs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Records of 64x128 in root/records: with textures, since in flat images a single rounding moves whole areas."""
    root = tmp_path_factory.mktemp("backends")
    sample_city.make_sample_city(root / "raw", (64, 128), {"train": 4, "val": 5, "test": 1}, seed=0, workers=1)
    convert.main(["--root", str(root / "raw"), "--out", str(root / "records"), "--workers", "1"])
    return root


@pytest.fixture(scope="module")
def printed(root):
    """Runs root/tensorflow, root/torch and root/jax from the same weights; what each printed."""
    from tfseg.models.segmenter import build_network

    start = root / "start.weights.h5"
    keras.utils.set_random_seed(0)
    build_network(8, "tiny", None, decoder_channels=(16, 16, 8, 8, 8), auxiliary=True).save_weights(start)
    settings = [f"--{name}={value}" for name, value in {**SETTINGS, "data.records": root / "records"}.items()]
    return run_on_each(lambda name: ["train", start, *settings, f"--run_dir={root / name}"])


@pytest.fixture(scope="module")
def found(root, printed):
    """(reader, writer) -> what the one backend reads of the other's run."""
    for name in BACKENDS:
        (root / f"by-{name}").mkdir()
    run_on_each(lambda name: ["read", root / f"by-{name}", *(root / writer for writer in BACKENDS)])
    return {
        (reader, writer): np.load(root / f"by-{reader}" / f"{writer}.npz") for reader in BACKENDS for writer in BACKENDS
    }


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="looks at what PyTorch is asked in this process")
def test_apples_gpu_has_every_operation(root, monkeypatch):
    """By PyTorch's own table, whether or not for every type; and none gives float64, which that GPU has not."""
    from tfseg.training import loop, run

    monkeypatch.setattr(run, "export", lambda *_: None)
    monkeypatch.setattr(run, "score_model", lambda _: {"mean_iou": 0.5})  # of what is exported, by TensorFlow
    settings = {**SETTINGS, "data.records": root / "records", "run_dir": root / "watched", "train.epochs": 1}
    settings |= {"optimizer.warmup_epochs": 0, **EVERY_EFFECT}
    with watching() as operations:
        loop.train_run(parse_config([f"--{name}={value}" for name, value in settings.items()]))
    assert len(operations) > 50
    assert [name for name, types in operations.items() if "torch.float64" in types] == []
    table = read_operator_table()
    assert not on_mps(table, "aten::linalg_eig"), "or the table is not read right"
    assert [name for name in operations if not on_mps(table, name)] == []


@contextmanager
def watching():
    """Gives a dict that comes to hold the name of each operation of PyTorch, and the types that it gave."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    operations = defaultdict(set)

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            tensors = [value for value in keras.tree.flatten(result) if isinstance(value, torch.Tensor)]
            if function.namespace == "aten":  # else a mark for the profiler
                operations[function.name()].update(str(tensor.dtype) for tensor in tensors)
            return result

    with Watch():
        yield operations


def read_operator_table() -> dict[str, dict]:
    """PyTorch's list of operations with their kernels, by name, as its wheel carries it."""
    package = Path(importlib.util.find_spec("torchgen").origin).parent
    text = (package / "packaged/ATen/native/native_functions.yaml").read_text(encoding="utf-8")
    entries = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {f"aten::{entry['func'].partition('(')[0]}": entry for entry in entries}


def on_mps(table: dict[str, dict], name: str) -> bool:
    """Whether an operation has a kernel for Apple's GPU, or is made of others."""
    entry = table[name]
    if delegate := entry.get("structured_delegate"):
        return on_mps(table, f"aten::{delegate}")
    keys = {key.strip() for keys in entry.get("dispatch", {}) for key in keys.split(",")}
    return not keys or "MPS" in keys or any(key.startswith("Composite") for key in keys)


def history(run, column):
    with (run / run_dir.HISTORY).open() as file:
        return [float(row[column]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_first_steps_are_the_same(root, printed, backend):
    losses = history(root / "tensorflow", "loss")
    assert len(losses) == 5 and losses[-1] < losses[0] - 0.1
    assert history(root / backend, "loss") == pytest.approx(losses, abs=1e-3)
    assert history(root / backend, "val_loss") == pytest.approx(history(root / "tensorflow", "val_loss"), rel=1e-3)
    rates = history(root / "tensorflow", "learning_rate")
    assert len(set(rates)) > 3
    assert history(root / backend, "learning_rate") == pytest.approx(rates)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_run_folder_is_whole(root, printed, backend):
    names = {path.name for path in (root / backend).iterdir()}
    expected = {"config.yaml", "labels.json", "history.csv", "tensorboard", "best.weights.h5", "checkpoints"}
    scores = {"metrics.json", "scores-val.json", "matrices-val.npz"}
    assert names == expected | scores | {"records.json", "saved_model", ".tfseg.json"}
    assert any((root / backend / "tensorboard").rglob("events*"))
    assert "best epoch" in printed[backend].splitlines()[-1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_saved_model_is_the_network_of_the_run(root, printed, backend):
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 70, 3), np.uint8)
    logits = load_network(root / backend)(image.astype(np.float32))
    predicted = keras.ops.convert_to_numpy(keras.ops.argmax(logits, axis=-1))
    exported = Predictor(root / backend / run_dir.SAVED_MODEL).network(image).argmax(axis=-1)
    assert (exported != predicted).mean() < 0.001


@pytest.mark.parametrize("writer", BACKENDS)
@pytest.mark.parametrize("reader", BACKENDS)
def test_weights_go_from_each_to_each(found, reader, writer):
    mine, theirs = found[reader, writer], found[writer, writer]
    np.testing.assert_array_equal(mine["optimizer"], theirs["optimizer"])
    np.testing.assert_allclose(mine["logits"], theirs["logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mine["losses"], theirs["losses"], atol=1e-3)
    assert mine["steps"] == 5 + 2


@pytest.mark.parametrize("writer", BACKENDS)
@pytest.mark.parametrize("reader", BACKENDS)
def test_the_score_is_the_same_everywhere(found, reader, writer):
    mine, theirs = found[reader, writer]["matrix"], found[writer, writer]["matrix"]
    assert mine.sum() == 5 * 64 * 128
    assert np.abs(mine - theirs).sum() <= 2 * 4, "of 40960 pixels, a handful between two classes of equal logits"
