"""Keras' own layer is the truth."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.models.layers import BatchNormalization

pytestmark = pytest.mark.tensorflow


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
    for ours, plain in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


def test_frozen_layer_keeps_its_statistics(pair, inputs):
    results = []
    for layer in pair:
        layer.trainable = False
        before = layer.get_weights()
        results.append(layer(inputs, training=True))
        np.testing.assert_array_equal(before, layer.get_weights())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_one_value_is_normalised_in_training_as_in_inference(pair, inputs):
    """By hand: less the moving mean, over the root of the moving variance; which both stay as they are."""
    layer, _ = pair
    gamma, beta, mean, variance = layer.get_weights()
    one = inputs[:1, :1, :1]
    expected = (one - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    for training in (True, False):
        np.testing.assert_allclose(layer(one, training=training), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(layer.get_weights(), [gamma, beta, mean, variance])
    fresh = BatchNormalization(epsilon=0.0)
    np.testing.assert_allclose(fresh(one, training=True), one, rtol=1e-5)


@pytest.mark.parametrize("size", [(2, 1, 1), (1, 1, 2), (1, 2, 1)])
def test_two_values_are_normalised_as_keras_does(pair, inputs, size):
    batch, height, width = size
    results = [layer(inputs[:batch, :height, :width], training=True) for layer in pair]
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)
    for ours, plain in zip(*(layer.get_weights() for layer in pair), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4)


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
