import keras
import pytest

from tfseg import device


@pytest.fixture(autouse=True)
def policy():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


def test_without_a_gpu(monkeypatch):
    monkeypatch.setattr(device, "find_gpus", list)
    choice = device.choose_device()
    assert (choice.kind, choice.precision) == ("cpu", "float32")
    assert keras.mixed_precision.dtype_policy().name == "float32"
    assert str(choice) == "device: cpu, precision float32 (half precision is slower on a CPU)"


def test_what_is_configured_is_used(monkeypatch):
    monkeypatch.setattr(device, "find_gpus", list)
    assert device.choose_device("mixed_bfloat16").precision == "mixed_bfloat16"
    assert keras.mixed_precision.dtype_policy().compute_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "mixed_bfloat16"), ((8, 0), "mixed_bfloat16"), ((7, 5), "mixed_float16"), ((6, 1), "float32")],
)
def test_precision_by_card(monkeypatch, capability, precision):
    import tensorflow as tf

    monkeypatch.setattr(device, "find_gpus", lambda: ["a card"])
    monkeypatch.setattr(device.platform, "system", lambda: "Linux")
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    choice = device.choose_device()
    assert (choice.kind, choice.precision) == ("cuda", precision)


def test_metal(monkeypatch):
    monkeypatch.setattr(device, "find_gpus", lambda: ["a chip"])
    monkeypatch.setattr(device.platform, "system", lambda: "Darwin")
    choice = device.choose_device()
    assert (choice.kind, choice.precision) == ("metal", "float32")
