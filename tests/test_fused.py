import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.fused import BatchNormalization, fuse


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    layers = BatchNormalization(epsilon=1e-3, momentum=0.9), keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.9)
    weights = [random.uniform(0.5, 2, 6).astype(np.float32) for _ in range(4)]
    for layer in layers:
        layer.build((None, 5, 7, 6))
        layer.set_weights(weights)
    return layers


@pytest.fixture
def inputs():
    return tf.constant(np.random.default_rng(1).normal(3, 2, (4, 5, 7, 6)).astype(np.float32))


@pytest.mark.parametrize("training", [True, False])
def test_equals_keras(pair, inputs, training):
    results = []
    for layer in pair:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(outputs**3)
        gradients = tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])
        results.append([outputs, *gradients, *layer.get_weights()])
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=1e-4)


def test_frozen_layer_keeps_its_statistics(pair, inputs):
    results = []
    for layer in pair:
        layer.trainable = False
        before = layer.get_weights()
        results.append(layer(inputs, training=True))
        np.testing.assert_array_equal(before, layer.get_weights())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_half_precision_keeps_float32_statistics(inputs):
    layer = BatchNormalization(dtype="mixed_float16", momentum=0.0)
    outputs = layer(inputs, training=True)
    assert outputs.dtype == tf.float16
    np.testing.assert_allclose(layer.moving_mean, tf.reduce_mean(inputs, (0, 1, 2)), rtol=1e-3)
    assert layer.moving_variance.dtype == "float32"


def test_other_ranks_fall_back_to_keras():
    layer = BatchNormalization(momentum=0.0)
    layer(tf.constant([[1.0], [3.0]]), training=True)
    assert layer.moving_mean.numpy() == pytest.approx([2.0])


def test_fuse_keeps_the_function():
    pixels = keras.Input((None, None, 3))
    inner = keras.Model(pixels, keras.layers.BatchNormalization(name="deep")(keras.layers.Conv2D(4, 3)(pixels)))
    outer = keras.Model(pixels, keras.layers.BatchNormalization(name="outer")(inner(pixels)), name="both")
    inner.get_layer("deep").moving_mean.assign([1.0, 2, 3, 4])
    fused = fuse(outer, momentum=0.9)
    assert fused.name == "both"
    for layer in (fused.get_layer("outer"), fused.get_layer(inner.name).get_layer("deep")):
        assert type(layer) is BatchNormalization
        assert layer.momentum == 0.9
    picture = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
    np.testing.assert_allclose(fused(picture), outer(picture), rtol=1e-5, atol=1e-5)
