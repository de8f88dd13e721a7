"""Keras' own layers are the truth: same weights, same outputs, same gradients."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfseg.models import layers as convolutions
from tfseg.models.layers import UpsampledConv2D, has_large_filters, is_grouped, is_pointwise

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def results(function, weights, inputs):
    """Outputs of a function of the inputs, and the gradients of weights and inputs."""
    import tensorflow as tf

    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = function(*inputs)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 3)
    gradients = tape.gradient(loss, [*inputs, *(weight.value for weight in weights)])
    return [np.asarray(tf.cast(tensor, tf.float32)) for tensor in (outputs, *gradients)]


def assert_close(ours, theirs, tolerance=1e-5):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance * np.abs(other).max())


# ---- upsampled


def upsampled_pair(channels, filters=6):
    """Our layer, and the three of Keras' that it stands for, with the same weights."""
    ours, theirs = UpsampledConv2D(filters), layers.Conv2D(filters, 3, padding="same", use_bias=False)
    ours.build([(None, None, None, count) for count in channels])
    theirs.build((None, None, None, sum(channels)))
    theirs.set_weights(ours.get_weights())
    up = layers.UpSampling2D(2, interpolation="nearest")
    return ours, theirs, lambda x, *skip: theirs(ops.concatenate([up(x), *skip], axis=-1))


def small_and_finer(size, channels):
    height, width = size
    return [normal(2, height << n, width << n, count) for n, count in enumerate(channels)]


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5)])
@pytest.mark.parametrize("channels", [(5,), (5, 3)])
def test_upsampled_is_three_layers_in_one(size, channels):
    ours, _, three = upsampled_pair(channels)
    inputs = [
        normal(2, *(side * scale for side in size), count) for scale, count in zip((1, 2), channels, strict=False)
    ]
    np.testing.assert_allclose(ops.convert_to_numpy(ours(inputs)), ops.convert_to_numpy(three(*inputs)), atol=1e-5)
    assert ours.compute_output_shape([x.shape for x in inputs]) == (2, 2 * size[0], 2 * size[1], 6)


@tensorflow_only
@pytest.mark.parametrize("channels", [(5,), (5, 3)])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5)])
def test_upsampled_by_four_convolutions_is_the_same(size, channels):
    ours = upsampled_pair(channels)[0]
    inputs = small_and_finer(size, channels)
    np.testing.assert_allclose(ours(inputs, phased=True), ours(inputs), atol=1e-5)


@tensorflow_only
@pytest.mark.parametrize("channels", [(5,), (5, 3)])
def test_upsampled_learns_as_the_three_do(channels):
    ours, theirs, three = upsampled_pair(channels)
    inputs = small_and_finer((4, 5), channels)
    assert_close(results(lambda *x: ours(list(x)), ours.weights, inputs), results(three, theirs.weights, inputs))


def test_a_kernel_is_spread_by_sums_of_its_neighbours():
    kernel = np.float32([[1, 2, 3], [4, 5, 6], [7, 8, 9]])[..., None, None]
    expected = [[9, 17, 15, 7], [15, 28, 24, 11], [9, 16, 12, 5], [3, 5, 3, 1]]
    np.testing.assert_array_equal(ops.convert_to_numpy(convolutions.spread(kernel))[..., 0, 0], expected)


def test_sums_are_taken_before_they_are_rounded():
    """bfloat16 has 1.0, 1.0078 and 0.25, 0.252; 1.0037 + 0.2509 is nearer to 1.2578 than to 1.25."""
    layer = UpsampledConv2D(1, dtype="mixed_bfloat16")
    layer.build([(None, None, None, 1)])
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1:, 1, 0, 0] = 1.0037, 0.2509
    layer.set_weights([kernel])
    outputs = layer([np.ones((1, 3, 3, 1), np.float32)])
    assert (layer.kernel.dtype, keras.backend.standardize_dtype(outputs.dtype)) == ("float32", "bfloat16")
    assert float(outputs[0, 2, 2, 0]) == 1.2578125


def test_images_of_any_size():
    x, skip = keras.Input((None, None, 4)), keras.Input((None, None, 3))
    model = keras.Model([x, skip], UpsampledConv2D(2)([x, skip]))
    assert model.output_shape == (None, None, None, 2)
    for height in (2, 5):
        outputs = model([normal(1, height, 3, 4), normal(1, 2 * height, 6, 3)])
        assert tuple(outputs.shape) == (1, 2 * height, 6, 2)


# ---- on a CPU


@tensorflow_only
@pytest.mark.parametrize("settings", [{"use_bias": False}, {"activation": "tanh"}], ids=str)
def test_pointwise(settings):
    ours, theirs = convolutions.Conv2D(6, 1, **settings), layers.Conv2D(6, 1, **settings)
    inputs = normal(2, 3, 5, 4)
    ours(inputs), theirs(inputs)
    theirs.set_weights(ours.get_weights())
    assert is_pointwise(theirs)
    for training in (True, False):
        mine = results(functools.partial(ours, training=training), ours.weights, [inputs])
        assert_close(mine, results(theirs, theirs.weights, [inputs]))


@tensorflow_only
@pytest.mark.parametrize("size", [5, 7])
@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (1, "valid"), (2, "valid")])
@pytest.mark.parametrize("shape", [(7, 8), (12, 11)])
def test_depthwise(size, stride, padding, shape):
    settings = {"strides": stride, "padding": padding, "use_bias": False}
    ours, theirs = convolutions.DepthwiseConv2D(size, **settings), layers.DepthwiseConv2D(size, **settings)
    inputs = normal(2, *shape, 4)
    ours(inputs), theirs(inputs)
    theirs.set_weights(ours.get_weights())
    assert has_large_filters(theirs)
    assert_close(results(ours, ours.weights, [inputs]), results(theirs, theirs.weights, [inputs]))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3},
        {"kernel_size": (5, 7)},
        {"kernel_size": 5, "strides": 2, "padding": "same"},
        {"kernel_size": 5, "depth_multiplier": 2},
        {"kernel_size": 5, "dilation_rate": 2},
        {"kernel_size": 5, "use_bias": True},
        {"kernel_size": 5, "activation": "relu"},
        {"kernel_size": 5, "data_format": "channels_first"},
    ],
    ids=str,
)
def test_other_depthwise_convolutions_are_left_to_keras(settings):
    assert not has_large_filters(layers.DepthwiseConv2D(**{"use_bias": False, **settings}))


def test_other_convolutions_are_left_to_keras():
    for settings in ({"kernel_size": 3}, {"kernel_size": 1, "strides": 2}, {"kernel_size": 1, "groups": 2}):
        assert not is_pointwise(layers.Conv2D(4, **settings))
    assert not is_pointwise(layers.DepthwiseConv2D(1)) and not is_pointwise(convolutions.Conv2D(4, 1))


# ---- on every device


@tensorflow_only
@pytest.mark.parametrize("strides, padding, bias", [(1, "same", True), (2, "valid", False)])
def test_grouped_is_that_of_keras(strides, padding, bias):
    settings = {"strides": strides, "padding": padding, "use_bias": bias, "groups": 6, "activation": "relu"}
    ours, theirs = convolutions.GroupedConv2D(6, 7, **settings), layers.Conv2D(6, 7, **settings)
    for layer in (ours, theirs):
        layer.build((None, None, None, 6))
    theirs.set_weights([normal(*weight.shape) for weight in theirs.weights])
    ours.set_weights(theirs.get_weights())
    assert is_grouped(theirs)
    x = [normal(2, 11, 13, 6)]
    assert_close(results(ours, ours.weights, x), results(theirs, theirs.weights, x))


def test_no_other_layer_is_taken_for_a_grouped_one():
    for channels, settings in (
        (6, {}),
        (6, {"groups": 3}),
        (12, {"groups": 6}),
        (6, {"groups": 6, "dilation_rate": 2}),
    ):
        layer = layers.Conv2D(6, 3, **settings)
        layer.build((None, None, None, channels))
        assert not is_grouped(layer)


@pytest.mark.parametrize("rate", [2, 9])
def test_atrous_is_that_of_keras(rate):
    ours = convolutions.AtrousDepthwiseConv2D(rate)
    theirs = layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False)
    x = normal(2, 11, 13, 6)
    expected = ops.convert_to_numpy(theirs(x))
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ops.convert_to_numpy(ours(x)), expected, atol=1e-5)
    copy = convolutions.AtrousDepthwiseConv2D.from_config(ours.get_config())
    assert copy.dilation_rate == ours.dilation_rate
