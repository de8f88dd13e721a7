import importlib.metadata
import json
import platform
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfseg
import tfseg.backend
from tfseg import device
from tfseg.config.schema import Accelerator, Config, Data


@pytest.fixture(autouse=True)
def policy():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture
def machine(monkeypatch):
    """Makes this another machine; returns the GPUs that are in use."""
    used = []

    def make(gpus=0, system="Linux", capability=(9, 0), macos=""):
        import tensorflow as tf

        monkeypatch.setattr(device, "find_gpus", lambda: ["a card"] * gpus)
        monkeypatch.setattr(device, "use_gpus", used.append)
        monkeypatch.setattr(device.platform, "system", lambda: system)
        monkeypatch.setattr(device.platform, "mac_ver", lambda: (macos, ("", "", ""), "arm64"))
        details = {"compute_capability": capability}
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
        return used

    return make


def test_without_a_gpu(machine):
    assert machine() == []
    choice = device.choose_device()
    assert keras.mixed_precision.dtype_policy().name == "float32"
    assert str(choice) == (
        "device: cpu (no GPU is seen by TensorFlow); "
        "float32 (bfloat16 is faster on some CPUs, see tfseg doctor); "
        "no XLA (four times slower for this network on a CPU); "
        "nearest upsampling (within its convolution, four ninths of the work); "
        "fused batch normalisation and Adam (Keras makes a dozen and thirty operations of one); "
        "convolutions in pieces and as products (faster on a CPU)"
    )
    assert choice.xla is False and choice.network == {"tanh": False, "cpu": True, "fused": True}
    assert choice.batches == {"signed": False, "ahead": False}


def test_what_is_configured_is_used(machine):
    machine()
    choice = device.choose_device(precision="mixed_bfloat16")
    assert choice.precision == "mixed_bfloat16"
    assert choice.reasons["mixed_bfloat16"] == "as configured"
    assert keras.mixed_precision.dtype_policy().compute_dtype == "bfloat16"


def test_the_cpu_in_spite_of_a_gpu(machine):
    used = machine(gpus=2)
    choice = device.choose_device("cpu")
    assert used == [[]]
    assert str(choice).startswith("device: cpu (as configured, 2 GPUs seen); float32")


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("cuda", {}), ("metal", {}), ("metal", {"gpus": 1}), ("cuda", {"gpus": 1, "system": "Darwin", "macos": "14.0"})],
)
def test_what_is_not_there_is_refused(machine, kind, settings):
    machine(**settings)
    with pytest.raises(
        ValueError, match=rf"^accelerator.kind: {kind} is not to be had, .* seen.*; .*, or set it to auto$"
    ):
        device.choose_device(kind)


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_precision_by_card(machine, capability, precision):
    used = machine(gpus=1, capability=capability)
    choice = device.choose_device()
    assert (choice.kind, choice.precision, choice.reasons["cuda"]) == ("cuda", precision, "1 GPU seen")
    assert choice.network == {"tanh": False, "cpu": False, "fused": True}
    assert choice.batches == {"signed": False, "ahead": True}
    assert "the next batch sent ahead (so that no step waits for it)" in str(choice)
    assert "memory as needed (TensorFlow would take all of the GPU's at once)" in str(choice)
    assert used == [["a card"]]
    assert device.choose_device(prefetch=False).batches == {"signed": False, "ahead": False}


@pytest.mark.parametrize(
    ("macos", "precision", "tanh"),
    [("13.6.1", "float32", False), ("14.0", "mixed_bfloat16", True), ("26.1", "mixed_bfloat16", True)],
)
def test_metal(machine, macos, precision, tanh):
    machine(gpus=1, system="Darwin", macos=macos)
    choice = device.choose_device()
    assert (choice.kind, choice.precision, choice.xla) == ("metal", precision, False)
    assert choice.network == {"tanh": tanh, "cpu": False, "fused": True}
    assert choice.batches == {"signed": True, "ahead": True}
    assert f"macOS {macos}" in str(choice)
    assert ("sigmoids by tanh" in str(choice)) == tanh
    assert not device.choose_device("metal", "float32").network["tanh"]
    assert device.choose_device(precision="mixed_float16").network["tanh"]


@pytest.mark.parametrize(
    ("packages", "precision", "reason"),
    [
        (["tensorflow-metal"], "mixed_bfloat16", "macOS 26.1 has it"),
        (["tensorflow-metal-plugin"], "float32", "tensorflow-metal-plugin has no bfloat16"),
        (["tensorflow-metal", "tensorflow-metal-plugin"], "float32", "tensorflow-metal-plugin has no bfloat16"),
    ],
)
def test_the_plugin_decides_the_precision(machine, monkeypatch, packages, precision, reason):
    machine(gpus=1, system="Darwin", macos="26.1")
    version = importlib.metadata.version

    def find_version(name):
        if name in packages:
            return "1.0"
        if name.startswith("tensorflow-metal"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", find_version)
    choice = device.choose_device()
    assert (choice.precision, choice.reasons[precision]) == (precision, reason)
    if precision == "float32":
        with pytest.raises(ValueError, match=r"^accelerator\.precision: tensorflow-metal-plugin has no kernel"):
            device.choose_device(precision="mixed_bfloat16")
        assert keras.config.dtype_policy().name == "float32"
        assert device.choose_device("cpu", "mixed_bfloat16").precision == "mixed_bfloat16"


class Elsewhere:
    """A number of PyTorch or JAX."""

    def __init__(self, kind):
        self.device = self
        self.type = self.platform = kind


@pytest.mark.parametrize(
    ("backend", "there", "kind", "xla"),
    [
        ("torch", "mps", "mps", False),
        ("torch", "cuda", "cuda", False),
        ("jax", "gpu", "cuda", "auto"),
        ("jax", "mps", "mps", "auto"),  # by jax-mps
    ],
)
def test_other_backends_place_the_work(monkeypatch, backend, there, kind, xla):
    hidden = []
    monkeypatch.setattr(device, "use_gpus", hidden.append)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: Elsewhere(there))
    undone = []
    monkeypatch.setattr(tfseg.backend, "keep_channels_first", lambda: undone.append(True))
    choice = device.choose_device()
    assert undone == [True] * ((backend, there) == ("torch", "mps"))
    assert hidden == [[]], "TensorFlow would take the GPU's memory"
    assert (choice.kind, choice.precision, choice.xla) == (kind, "float32", xla)
    assert str(choice).startswith(f"device: {kind} (chosen by {backend}); float32")
    assert f"batch normalisation and Adam of Keras (there are no fused ones on {backend})" in str(choice)
    assert choice.network == {"tanh": False, "cpu": False, "fused": True}
    assert choice.batches == {"signed": False, "ahead": False}
    assert device.choose_device(kind).kind == kind
    with pytest.raises(
        ValueError, match=rf"accelerator.kind: cpu is not what {backend} computes on, which is {kind}; set"
    ):
        device.choose_device("cpu")


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_apples_gpu_may_be_asked_for_by_the_name_of_metal(monkeypatch, backend):
    monkeypatch.setattr(device, "use_gpus", lambda gpus: None)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: Elsewhere("mps"))
    monkeypatch.setattr(tfseg.backend, "keep_channels_first", lambda: None)
    assert device.choose_device("metal").kind == "mps"


@pytest.mark.parametrize(
    ("version", "wrong"), [("0.31.2", True), ("0.32.3", True), ("0.32.4", False), ("1.0.0", False)]
)
def test_an_mlx_of_wrong_gradients_is_refused(monkeypatch, version, wrong):
    mlx = SimpleNamespace(__version__=version, default_device=lambda: SimpleNamespace(type=SimpleNamespace(name="gpu")))
    monkeypatch.setattr(tfseg.backend, "mx", mlx, raising=False)
    monkeypatch.setattr(device, "use_gpus", lambda gpus: None)
    monkeypatch.setattr(keras.backend, "backend", lambda: "mlx")
    if wrong:
        with pytest.raises(
            ValueError, match=rf"MLX {version} gives wrong gradients .*/mlx/pull/3800; pip install --no-deps"
        ):
            device.choose_device()
    else:
        choice = device.choose_device("metal")
        assert (choice.kind, choice.xla, choice.network["tanh"]) == ("gpu", "auto", False)


def test_other_backends_are_unknown(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    monkeypatch.setattr(device, "use_gpus", lambda gpus: None)
    with pytest.raises(ValueError, match="KERAS_BACKEND: expected tensorflow, torch, jax, mlx, got numpy"):
        device.choose_device()


def test_a_training_chooses_first_of_all(monkeypatch):
    """TensorFlow hides no device after it has computed something."""

    def chosen(**settings):
        raise InterruptedError(settings)

    monkeypatch.setattr(device, "choose_device", chosen)
    from tfseg.training import batches, loop

    monkeypatch.setattr(batches, "open_batches", lambda *_: pytest.fail("too late"))
    with pytest.raises(
        InterruptedError,
        match=r"\{'kind': 'auto', 'precision': 'auto', 'prefetch': True, 'strategy': 'none', 'fused': True\}",
    ):
        loop.train_run(Config(Data("none"), "none"))


@pytest.mark.parametrize("quiet", [False, True])
def test_a_worker_says_that_its_port_is_open_before_it_waits(monkeypatch, capsys, quiet):
    cluster = {"worker": ["node0:2222", "node1:2223"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))

    def wait(**settings):
        raise InterruptedError

    monkeypatch.setattr(device, "choose_device", wait)
    from tfseg.training import loop

    with pytest.raises(InterruptedError):
        loop.prepare(Config(Data("none"), "none", accelerator=Accelerator(strategy="multiworker"), quiet=quiet))
    warning = "warning: port 2223 is open on every interface, without a key or encryption: whoever reaches it can read"
    assert capsys.readouterr().err.startswith(warning)


@pytest.mark.parametrize(
    "text", [None, "", "{}", '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}']
)
def test_a_port_that_is_not_said(text):
    assert device.read_port(text) is None


def test_versions_are_those_of_the_packages(monkeypatch):
    import tensorflow as tf

    common = {"python": platform.python_version(), "tfseg": tfseg.__version__, "keras": keras.__version__}
    assert device.read_versions() == {**common, "tensorflow": tf.__version__}
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    assert device.read_versions() == {**common, "tensorflow": tf.__version__, "numpy": np.__version__}
