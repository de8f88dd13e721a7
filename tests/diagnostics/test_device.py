"""Whether a device computes what it should: layers and gradients."""

import keras
import numpy as np
import pytest

from tfseg.device import choose_device
from tfseg.diagnostics import device, speed
from tfseg.diagnostics.checks import FAILED, OK, Finding


@pytest.mark.long
def test_compiled_and_eager_agree(config):
    findings = [item for item in device.compare_devices(config) if isinstance(item, Finding)]
    assert [finding.state for finding in findings] == [OK, OK]
    assert all("no GPU, so compiled against eager on the CPU" in finding.text for finding in findings)


@pytest.mark.long
def test_a_layer_that_computes_otherwise_is_the_first_named(config, monkeypatch):
    """Eager, as the reference is, one layer inside the encoder is made another."""
    import tensorflow as tf

    build = device.build_network

    def build_damaged(*args):
        network = build(*args)
        layer = network.get_layer("tiny").get_layer("stage2_relu")
        layer.activation = lambda x: keras.ops.relu(x) * (1.1 if tf.executing_eagerly() else 1.0)
        return network

    monkeypatch.setattr(device, "build_network", build_damaged)
    found = [item["forward"] for item in device.compare_devices(config) if "forward" in item]
    assert found[0]["over"][0] == "stage2_relu"


@pytest.mark.long
def test_a_gradient_that_is_wrong_alone(config, monkeypatch):
    """The forward values agree, the gradient from one layer on does not."""
    import tensorflow as tf

    build = device.build_network

    @tf.custom_gradient
    def lossy(x):
        return tf.nn.relu(x), lambda gradient: gradient * (0.0 if tf.executing_eagerly() else 1.0)

    def build_damaged(*args):
        network = build(*args)
        network.get_layer("tiny").get_layer("stage4_relu").activation = lossy
        return network

    monkeypatch.setattr(device, "build_network", build_damaged)
    forward, gradient = (item for item in device.compare_devices(config) if isinstance(item, Finding))
    assert (forward.state, gradient.state) == (OK, FAILED)
    assert "over 1e-01 are stage4_bn/beta, stage4_bn/gamma" in gradient.text


def test_dropout_is_off_in_the_comparison(config, monkeypatch):
    def build(*_):
        pixels, x = keras.Input((None, None, 3)), keras.Input((None, None, 3))
        inner = keras.Model(x, keras.layers.Conv2D(8, 1)(keras.layers.Dropout(0.5, name="drop")(x)))
        return keras.Model(pixels, inner(keras.layers.Rescaling(1 / 255, name="scale")(pixels)))

    monkeypatch.setattr(device, "build_network", build)
    batch, weights = speed.draw_batch((8, 8), 2), build().get_weights()
    sides = device.take_both_ways(config, choose_device("cpu"), batch, weights, "CPU:0", compiled=True)
    assert np.array_equal(sides["forward"]["drop"], sides["forward"]["scale"])
