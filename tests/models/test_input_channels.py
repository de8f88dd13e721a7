"""Encoders for other channels than RGB: the first kernel, the normalisation, and what cannot be adapted."""

import keras
import numpy as np
import pytest
from keras import layers

from tfseg.models import encoders
from tfseg.models.input_channels import adapt_channels, adapt_kernel, average_scaling
from tfseg.models.normalization import EFFICIENTNET_LITE, IMAGENET, spread_channels
from tfseg.models.segmenter import build_network
from tfseg.models.torch_weights import fold_normalization

KERNEL = np.array([1.0, 2.0, 6.0], np.float32).reshape(1, 1, 3, 1)  # of red, green, blue


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, [9]), (2, [1.5, 3]), (3, [1, 2, 6]), (4, [0.75, 1.5, 4.5, 0.75]), (6, [0.5, 1, 3, 0.5, 1, 3])],
)
def test_the_first_kernel_is_summed_or_repeated_as_timm_does(channels, expected):
    adapted = adapt_kernel(KERNEL, channels)
    assert adapted.dtype == np.float32 and adapted.ravel().tolist() == expected


def small_network():
    x = start = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(layers.ZeroPadding2D(1)(x))
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(start, layers.Conv2D(2, 1, name="next")(x), name="small")


def test_grey_gives_what_rgb_of_equal_channels_gave():
    network, grey = small_network(), np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    adapted = adapt_channels(network, 1, keeps=True, reverses=False)
    assert adapted.name == "small" and adapted.input_shape[-1] == 1
    expected = keras.ops.convert_to_numpy(network(grey.repeat(3, axis=-1)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(adapted(grey)), expected, rtol=1e-5, atol=1e-6)


def test_kernels_of_blue_green_red_are_turned_first():
    network = small_network()
    kernel = keras.ops.convert_to_numpy(network.get_layer("stem").kernel)
    adapted = adapt_channels(network, 4, keeps=True, reverses=True)
    found = keras.ops.convert_to_numpy(adapted.get_layer("stem").kernel)
    np.testing.assert_allclose(found, kernel[:, :, [2, 1, 0, 2]] * 0.75, rtol=1e-6)


def test_a_network_that_takes_colours_apart_is_refused():
    x = start = keras.Input((None, None, 3))
    network = keras.Model(start, layers.BatchNormalization()(x), name="odd")
    with pytest.raises(
        ValueError, match=r"model.encoder odd: takes images of 3 channels alone, and these have 4; take"
    ):
        adapt_channels(network, 4, keeps=True, reverses=False)


def test_each_channel_is_normalised_as_colours_are_on_average():
    normalize = average_scaling(layers.Rescaling([1.0, 0.5, 0.25], [-1.0, -1.0, -1.0]), 2)  # means 1, 2, 4, stds alike
    found = keras.ops.convert_to_numpy(normalize(np.array([[[[0.0, 7 / 3]]]], np.float32))).ravel()
    np.testing.assert_allclose(found, [-1, 0], atol=1e-6)
    assert spread_channels(IMAGENET, 3) is IMAGENET
    np.testing.assert_allclose(spread_channels(EFFICIENTNET_LITE, 1), [[127 / 255], [128 / 255]])


def test_files_of_pytorch_for_other_channels_are_folded_likewise():
    arrays = {"stem_conv": [np.ones((1, 1, 1, 2), np.float32)], "stem_bn": [np.zeros(2, np.float32)] * 4}
    folded = fold_normalization(arrays, ((0.5,) * 3, (0.5,) * 3), ((0.25,) * 3, (1.0,) * 3))
    assert folded["stem_conv"][0].ravel().tolist() == [2, 2] and folded["stem_bn"][2].tolist() == [0.5, 0.5]


@pytest.mark.long
@pytest.mark.parametrize("name", ["tiny", "efficientnetlite0"])
@pytest.mark.parametrize("channels", [1, 4])
def test_encoders_take_other_channels(name, channels):
    network = build_network(3, encoder=name, weights=None, decoder_channels=(4, 4, 4, 4, 4), channels=channels)
    assert network.input_shape == (None, None, None, channels)
    assert network.get_layer(name).input_shape[-1] == channels
    assert network(np.zeros((1, 32, 32, channels), np.float32)).shape == (1, 32, 32, 3)


@pytest.mark.long
def test_the_encoder_of_one_channel_keeps_its_weights(monkeypatch):
    def build(**settings):
        keras.utils.set_random_seed(3)
        return application.build(**{**settings, "weights": None})

    application = encoders.find_application("efficientnetlite0")
    monkeypatch.setattr(encoders, "find_application", lambda name: application._replace(build=build))
    color = encoders.build_encoder("efficientnetlite0", "imagenet", "block")
    grey = encoders.build_encoder("efficientnetlite0", "imagenet", "block", channels=1)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).astype(np.float32)
    expected = color.extract(color.normalize(pixels.repeat(3, axis=-1)))
    for one, other in zip(grey.extract(grey.normalize(pixels)), expected, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), rtol=1e-3, atol=1e-4)


def test_keras_hub_is_refused_in_one_line():
    with pytest.raises(
        ValueError, match=r"model.decoder keras_hub: takes images of 3 channels, and these have 1; take"
    ):
        build_network(3, "segformer_b0", None, "keras_hub", channels=1)
