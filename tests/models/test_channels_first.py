"""The layout of memory that reaches PyTorch's convolutions, which Keras chooses for a card of NVIDIA's."""

import keras
import numpy as np
import pytest

from tfseg import backend, device
from tfseg.models.segmenter import build_network

if keras.backend.backend() != "torch":
    pytest.skip("PyTorch's alone", allow_module_level=True)

import torch  # pyright: ignore[reportMissingImports] - one backend is installed, not all
from keras.src.backend.torch import nn


@pytest.fixture
def convolutions(monkeypatch):
    """What reaches PyTorch: for each convolution, whether its input and its kernel have their channels first."""
    found = []

    def record(function):
        def call(x, kernel, **options):
            found.append([part.is_contiguous() for part in (x, kernel)])
            return function(x, kernel, **options)

        return call

    monkeypatch.setattr(nn, "_maybe_convert_to_channels_last", nn._maybe_convert_to_channels_last)
    monkeypatch.setattr(nn.tnn, "conv2d", record(torch.nn.functional.conv2d))
    return found


def test_channels_come_first_on_apples_gpu_alone(convolutions, monkeypatch):
    network = build_network(8, "tiny", None)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 64, 96, 3)).astype("float32")
    expected = network.predict_on_batch(pixels)
    before = [*convolutions]
    assert [False, False] in before, "Keras lays channels out last"
    monkeypatch.setattr(backend, "find_place", lambda: "mps")
    assert device.place_elsewhere("torch", "auto")[0] == "mps"
    convolutions.clear()
    found = network.predict_on_batch(pixels)
    assert len(convolutions) == len(before) and all(first for first, _ in convolutions)
    assert all(kernel for _, kernel in convolutions)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_they_stay_last_elsewhere(convolutions):
    device.place_elsewhere("torch", "auto")
    keras.ops.conv(np.ones((1, 8, 8, 4), np.float32), np.ones((3, 3, 4, 5), np.float32), padding="same")
    assert convolutions == [[False, False]]


def test_a_keras_that_lays_nothing_out_is_left_alone(monkeypatch):
    monkeypatch.delattr(nn, "_maybe_convert_to_channels_last")
    backend.keep_channels_first()
    assert not hasattr(nn, "_maybe_convert_to_channels_last")
