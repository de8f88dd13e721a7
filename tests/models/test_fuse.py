"""The rewritten network is the same function."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.models import layers
from tfseg.models.activations import jit_swish, tanh_sigmoid
from tfseg.models.fuse import fuse

pytestmark = pytest.mark.tensorflow


def test_fuse_keeps_the_function():
    pixels = keras.Input((None, None, 3))
    inner = keras.Model(pixels, keras.layers.BatchNormalization(name="deep")(keras.layers.Conv2D(4, 3)(pixels)))
    outer = keras.Model(pixels, keras.layers.BatchNormalization(name="outer")(inner(pixels)), name="both")
    inner.get_layer("deep").moving_mean.assign([1.0, 2, 3, 4])
    copy = fuse(outer, momentum=0.9)
    assert copy.name == "both"
    for layer in (copy.get_layer("outer"), copy.get_layer(inner.name).get_layer("deep")):
        assert type(layer) is layers.BatchNormalization
        assert layer.momentum == 0.9
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    np.testing.assert_allclose(copy(image), outer(image), rtol=1e-5, atol=1e-5)


def inverted_bottleneck():
    """What EfficientNet is made of: pointwise, depthwise, squeeze and excite, pointwise."""
    x = pixels = keras.Input((None, None, 3))
    x = keras.layers.Activation("swish")(keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 1)(x)))
    x = keras.layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    x = keras.layers.Activation("swish")(keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    squeezed = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    squeezed = keras.layers.Conv2D(2, 1, activation="swish")(squeezed)
    x = keras.layers.Multiply()([x, keras.layers.Conv2D(8, 1, activation="sigmoid")(squeezed)])
    return keras.Model(pixels, keras.layers.Conv2D(4, 3)(x))


def test_for_a_cpu_the_network_is_the_same(tmp_path):
    """In its outputs, its gradients, and its file of weights."""
    plain = fuse(inverted_bottleneck(), momentum=0.9)
    ours = fuse(plain, momentum=0.9, cpu=True)
    kinds = [type(layer) for layer in ours.layers]
    assert kinds.count(layers.Conv2D) == 3 and kinds.count(keras.layers.Conv2D) == 1
    assert kinds.count(layers.DepthwiseConv2D) == kinds.count(keras.layers.DepthwiseConv2D) == 1
    activations = [getattr(layer, "activation", None) for layer in ours.layers]
    assert activations.count(jit_swish) == 2  # the third has two numbers per image
    results = []
    for network in (ours, plain):
        with tf.GradientTape() as tape:
            outputs = network(np.random.default_rng(0).normal(size=(2, 9, 8, 3)), training=True)
            loss = tf.reduce_sum(outputs**2)
        results.append([outputs, *tape.gradient(loss, [weight.value for weight in network.trainable_weights])])
    for mine, other in zip(*results, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))
    ours.save_weights(tmp_path / "one.weights.h5")
    other = fuse(inverted_bottleneck(), momentum=0.9)
    other.load_weights(tmp_path / "one.weights.h5")
    for mine, loaded in zip(ours.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, loaded)


def test_fuse_replaces_every_sigmoid():
    pixels = keras.Input((None, None, 3))
    x = keras.layers.Activation("swish")(keras.layers.Conv2D(4, 3, activation="sigmoid")(pixels))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    outer = keras.Model(pixels, keras.Model(pixels, x)(pixels))
    by_tanh = fuse(outer, momentum=0.9, tanh=True)
    image = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(by_tanh(image), outer(image), atol=1e-6)
    for model, wanted in ((outer, {"Sigmoid"}), (by_tanh, {"Tanh"})):
        graph = tf.function(model).get_concrete_function(tf.TensorSpec((1, 8, 8, 3)))
        assert {operation.type for operation in graph.graph.get_operations()} & {"Sigmoid", "Tanh"} == wanted
    copy = type(by_tanh).from_config(by_tanh.get_config())
    assert copy.layers[1].layers[1].activation is tanh_sigmoid
