"""The auxiliary head: where it looks, and that the network without it is the one that never had it."""

import keras
import numpy as np
import pytest
from keras import ops

from tfseg.models.auxiliary import drop_head
from tfseg.models.segmenter import build_network

WIDTHS = {"unet": (8, 8, 8, 8, 8), "fpn": (8, 8)}


def build(auxiliary, decoder="unet", **settings):
    keras.utils.set_random_seed(0)
    return build_network(5, "tiny", None, decoder, WIDTHS[decoder], auxiliary=auxiliary, **settings)


def compute(network, pixels):
    return keras.tree.map_structure(ops.convert_to_numpy, network(pixels))


@pytest.mark.long
def test_logits_at_stride_16_of_the_padded_image():
    network, plain = build(True), build(False)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 50, 70, 3)).astype(np.float32)
    logits, auxiliary_logits = compute(network, pixels)
    assert logits.shape == (2, 50, 70, 5)
    assert auxiliary_logits.shape == (2, 64 // 16, 96 // 16, 5)
    np.testing.assert_allclose(logits, compute(plain, pixels), rtol=1e-5, atol=1e-5)


def test_it_sees_the_encoder_alone():
    """At stride 16: of the tiny encoder's five stages, four, and nothing of the decoder."""
    network = build(True)
    needed = keras.Model(network.input, network.outputs[1]).layers
    assert [layer.name for layer in needed[-4:]] == [
        "auxiliary_conv",
        "auxiliary_bn",
        "auxiliary_relu",
        "auxiliary_logits",
    ]
    assert not [layer.name for layer in needed if layer.name.startswith(("decoder", "logits"))]
    assert needed[-4].kernel.shape == (3, 3, 32, 64)


@pytest.mark.long
@pytest.mark.parametrize("settings", [{}, {"tanh": True, "cpu": True}, {"fused": False}])
@pytest.mark.parametrize("decoder", WIDTHS)
def test_without_the_head_nothing_is_left_of_it(decoder, settings, tmp_path):
    network, plain = drop_head(build(True, decoder, **settings)), build(False, decoder, **settings)
    assert [layer.name for layer in network.layers] == [layer.name for layer in plain.layers]
    assert (network.name, network.output.shape) == (plain.name, plain.output.shape)
    for ours, theirs in zip(network.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    changed = [weight + 1 for weight in network.get_weights()]
    network.set_weights(changed)
    network.save_weights(tmp_path / "best.weights.h5")
    plain.load_weights(tmp_path / "best.weights.h5")
    for ours, theirs in zip(changed, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_network_without_a_head_stays_as_it_is():
    plain = build(False)
    assert drop_head(plain) is plain


def test_logits_are_float32_in_half_precision():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(True)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert [output.dtype for output in network.outputs] == ["float32", "float32"]
    assert network.get_layer("auxiliary_relu").output.dtype == "bfloat16"
