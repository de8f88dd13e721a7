"""What a network computes with batch normalisation folded is what it computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfseg.models.fold import find_folded, fold
from tfseg.models.segmenter import build_network

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def compute(function, images):
    """What it gives, as NumPy arrays, on any backend."""
    return keras.tree.map_structure(ops.convert_to_numpy, function(images))


def draw(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def unsettle(network):
    """Gives all weights and statistics values as of a training, so that none is 0 or 1; returns the network."""
    random = np.random.default_rng(1)
    for weight in network.weights:
        if "float" in weight.dtype:
            value = ops.convert_to_numpy(weight)
            spread = 0.3 * np.abs(value) + 0.1 * np.abs(value).mean() + 1e-3
            moved = value + random.uniform(-1, 1, weight.shape) * spread
            weight.assign(np.abs(moved) if "variance" in weight.path else moved)
    return network


def chain(*kinds):
    """A network of 4 channels whose layers follow one another."""
    x = image = keras.Input((None, None, 4))
    for layer in kinds:
        x = layer(x)
    return unsettle(keras.Model(image, x))


def assert_same(network, images, tolerance=2e-5):
    for ours, theirs in zip(
        keras.tree.flatten(compute(fold(network), images)),
        keras.tree.flatten(compute(lambda images: network(images, training=False), images)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


def test_a_convolution_takes_what_follows_into_itself():
    """(3 pixel - 5) / sqrt(0.25) * 2 + 7 = 12 pixel - 13."""
    network = chain(
        layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones"), layers.BatchNormalization(epsilon=0)
    )
    network.set_weights(
        [np.full((1, 1, 4, 1), 3.0), np.array([2.0]), np.array([7.0]), np.array([5.0]), np.array([0.25])]
    )
    image = np.zeros((1, 1, 2, 4), np.float32)
    image[0, 0, 1, 2] = 10
    assert compute(fold(network), image).tolist() == [[[[-13], [107]]]]


CONVOLUTIONS = {
    "plain": lambda: layers.Conv2D(6, 3, padding="same", use_bias=False),
    "with a bias": lambda: layers.Conv2D(6, 3, strides=2),
    "in groups": lambda: layers.Conv2D(8, 3, groups=2),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same", use_bias=False),
    "two of each channel": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
}


@pytest.mark.parametrize("convolution", CONVOLUTIONS.values(), ids=list(CONVOLUTIONS))
@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}], ids=str)
def test_every_convolution(convolution, settings):
    network = chain(convolution(), layers.BatchNormalization(**settings), layers.ReLU())
    assert len(find_folded(network)) == 1
    assert_same(network, draw(2, 9, 8, 4))


def read_twice(image):
    x = layers.Conv2D(4, 3)(image)
    return layers.Add()([x, layers.BatchNormalization()(x)])


def given_out(image):
    x = layers.Conv2D(4, 3)(image)
    return [x, layers.BatchNormalization()(x)]


def called_twice(image):
    convolution = layers.Conv2D(4, 3, padding="same")
    return layers.BatchNormalization()(convolution(convolution(image)))


def normalized_twice(image):
    normalization = layers.BatchNormalization()
    return layers.Add()([normalization(layers.Conv2D(4, 3)(image)), normalization(layers.Conv2D(4, 3)(image))])


def active(image):
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(image))


def over_rows(image):
    return layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(image))


def of_another_kind(image):
    return layers.BatchNormalization()(layers.SeparableConv2D(4, 3)(image))


KEPT = [read_twice, given_out, called_twice, normalized_twice, active, over_rows, of_another_kind]


@pytest.mark.parametrize("build", KEPT, ids=lambda build: build.__name__)
def test_what_is_no_convolution_of_its_own_stays(build):
    image = keras.Input((8, 8, 4))
    network = unsettle(keras.Model(image, build(image)))
    assert not find_folded(network)
    assert_same(network, draw(1, 8, 8, 4), 0)


def test_networks_within_networks():
    inner = keras.Sequential([layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization()])
    network = chain(layers.Conv2D(4, 1), inner, layers.DepthwiseConv2D(3), layers.BatchNormalization())
    assert len(find_folded(network)) == 2
    assert_same(network, draw(1, 8, 8, 4))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dropout = layers.Dropout(0.5)

    def call(self, images, training=True):
        return self.dropout(images, training=training)


def test_a_model_without_a_graph_is_called_as_it_is():
    assert compute(fold(Subclassed()), draw(1, 2, 2, 3)).tolist() == draw(1, 2, 2, 3).tolist()


def test_weights_are_those_of_the_moment():
    network = chain(layers.Conv2D(4, 3), layers.BatchNormalization())
    folded = fold(network)
    before = compute(folded, draw(1, 4, 4, 4))
    network.layers[-1].gamma.assign(2 * network.layers[-1].gamma)
    network.layers[-1].beta.assign(2 * network.layers[-1].beta)
    np.testing.assert_allclose(compute(folded, draw(1, 4, 4, 4)), 2 * before, rtol=1e-5)


NETWORKS = [
    ("tiny", "unet", {}),
    ("tiny", "fpn", {"skips": "block"}),
    ("efficientnetlite0", "unet", {"skips": "block"}),
    pytest.param("efficientnetb0", "unet", {}, marks=pytest.mark.tensorflow),
    pytest.param("mobilenetv3small", "deeplabv3plus", {}, marks=pytest.mark.tensorflow),
]


@pytest.mark.long
@pytest.mark.parametrize(("encoder", "decoder", "settings"), NETWORKS)
def test_every_normalization_after_a_convolution_goes(encoder, decoder, settings):
    keras.utils.set_random_seed(0)
    network = unsettle(build_network(5, encoder, None, decoder, cpu=ON_TENSORFLOW, fused=ON_TENSORFLOW, **settings))
    kinds = [type(layer) for layer in network._flatten_layers()]
    normalizations = sum(issubclass(kind, layers.BatchNormalization) for kind in kinds)
    assert len(find_folded(network)) == normalizations
    assert_same(network, draw(2, 50, 70, 3), 1e-4)
