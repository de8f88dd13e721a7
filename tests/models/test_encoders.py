import inspect

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src.legacy.saving import legacy_h5_format

from tfseg.config.schema import Config, Data, Model
from tfseg.models.encoders import (
    STRIDES,
    Encoder,
    build_encoder,
    find_application,
    find_features,
    load_application,
    make_normalization,
    pad_borders,
)
from tfseg.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from tfseg.training.loop import train_run

NAMES = sorted(name.lower() for name, value in vars(keras.applications).items() if callable(value))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)


def compute(network, pixels):
    """What a network gives, as NumPy arrays, on any backend."""
    return keras.tree.map_structure(ops.convert_to_numpy, network(pixels))


def names(features):
    """The operations that made features."""
    return [feature._keras_history.operation.name for feature in features]


def test_efficientnets_features_are_those_of_earlier_runs():
    network = build_encoder("efficientnetb0", None).network
    assert names(network.outputs) == [
        "block2a_expand_activation",  # 1/2
        "block3a_expand_activation",  # 1/4
        "block4a_expand_activation",  # 1/8
        "block6a_expand_activation",  # 1/16
        "top_activation",  # 1/32
    ]
    assert not [layer for layer in network.layers if isinstance(layer, layers.Rescaling)]
    shapes = network.compute_output_shape((1, 64, 96, 3))
    assert [shape[1:] for shape in shapes] == [(32, 48, 96), (16, 24, 144), (8, 12, 240), (4, 6, 672), (2, 3, 1280)]


@pytest.fixture(scope="module")
def halving():
    """A network of strides 2 to 32 that loses borders at first, and halves two tensors at stride 2."""
    keras.utils.set_random_seed(0)
    x = pixels = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, name="narrow")(x)
    wide = layers.Conv2D(8, 1, name="wide")(x)
    x = layers.Conv2D(8, 3, strides=2, name="padded")(layers.ZeroPadding2D(1)(x))
    x = layers.Add(name="sum")([x, layers.MaxPooling2D(1, strides=2)(wide)])
    for index in range(3):
        x = layers.AveragePooling2D(3, 2, name=f"pool{index}")(x)
    return keras.Model(pixels, x)


@pytest.mark.long
@pytest.mark.parametrize(
    "name, wide, narrow",
    [
        ("efficientnetb3", [144, 192, 288, 816, 1536], [24, 32, 48, 136, 384]),  # segmentation_models' after the stem
        ("mobilenetv2", [96, 144, 192, 576, 1280], [16, 24, 32, 96, 320]),
        ("mobilenet", [64, 128, 256, 512, 1024], [64, 128, 256, 512, 1024]),  # its blocks are not inverted
    ],
)
def test_features_within_and_between_inverted_bottlenecks(name, wide, narrow):
    for skips, channels in (("expanded", wide), ("block", narrow)):
        assert [feature.shape[-1] for feature in build_encoder(name, None, skips).network.outputs] == channels


def test_of_several_tensors_that_are_halved_the_widest_is_taken(halving):
    features = find_features(pad_borders(halving), "halving")
    assert names(features) == ["wide", "sum", "pool0", "pool1", "pool2"]


def test_borders_are_kept_and_weights_too(halving, image):
    padded = pad_borders(halving)
    kinds = {layer.name: layer.padding for layer in padded.layers if hasattr(layer, "padding")}
    expected = {"narrow": "same", "wide": "valid", "padded": "valid", "pool0": "same"}
    assert {name: kinds[name] for name in expected} == expected
    ours, plain = (
        compute(keras.Model(model.input, model.get_layer("narrow").output), image) for model in (padded, halving)
    )
    assert ours.shape == (1, 32, 48, 4)
    np.testing.assert_allclose(ours[:, :31, :47], plain, rtol=1e-4, atol=1e-2)
    assert pad_borders(padded) is padded


def test_other_sizes_are_refused(halving):
    with pytest.raises(ValueError, match=r"features at strides \(2, 4, 8, 16, 32\), halving has them at \["):
        find_features(halving, "halving")


def test_a_network_that_begins_at_stride_4():
    x = start = keras.Input((None, None, 3))
    for size in (4, 2, 2, 2):
        x = layers.Conv2D(size, size, strides=size)(x)
    features = find_features(pad_borders(keras.Model(start, x)), "patches")
    encoder = Encoder(layers.Identity(), keras.Model(start, features))
    nothing, *features = encoder.extract(keras.Input((64, 96, 3)))
    assert nothing is None
    assert [feature.shape[1:] for feature in features] == [(16, 24, 4), (8, 12, 2), (4, 6, 2), (2, 3, 2)]


# Preprocessing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "application, scaling",
    [
        (keras.applications.VGG16, []),  # BGR minus means
        (keras.applications.MobileNet, []),  # -1 to 1
        (keras.applications.DenseNet121, []),  # mean 0, deviation 1
        (keras.applications.EfficientNetV2S, [layers.Rescaling(1 / 128, -1)]),
        (
            keras.applications.EfficientNetV2B0,
            [layers.Rescaling(1 / 255), layers.Normalization(mean=IMAGENET_MEAN, variance=np.square(IMAGENET_STD))],
        ),
    ],
)
def test_pixels_are_scaled_as_keras_scales_them(application, scaling, image):
    expected = inspect.getmodule(application).preprocess_input(image.copy())
    for layer in scaling:
        expected = layer(expected)
    normalize = make_normalization(inspect.getmodule(application).preprocess_input, scaling)
    np.testing.assert_allclose(compute(normalize, image), ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-4)
    copy = type(normalize).from_config(normalize.get_config())
    np.testing.assert_array_equal(compute(copy, image), compute(normalize, image))


def test_the_scale_does_not_depend_on_the_precision():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        half = make_normalization(lambda x: x, [layers.Rescaling(1 / 255), layers.Rescaling(3)])
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    np.testing.assert_allclose(half.scale, [3 / 255] * 3, rtol=1e-12)


# Every network --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "mobilenet" else []) for name in NAMES]
)
def test_every_network(name, image, tmp_path):
    application = find_application(name)
    whole = load_application(application.build, name, None)
    whole.save_weights(tmp_path / "encoder.weights.h5")
    encoder = build_encoder(name, tmp_path / "encoder.weights.h5")
    features = compute(encoder.network, encoder.normalize(image))
    strides = STRIDES[1:] if name.startswith("convnext") else STRIDES
    assert [feature.shape[1:3] for feature in features] == [(64 // stride, 96 // stride) for stride in strides]
    if not name.startswith("efficientnetb"):  # see below
        prepared = application.preprocess(image.copy())
        expected = compute(pad_borders(whole), prepared)
        np.testing.assert_allclose(features[-1], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """A file as Keras distributes it: EfficientNetB0 without its top, ImageNet's statistics in its Normalization."""
    path = tmp_path_factory.mktemp("weights") / "efficientnetb0_notop.h5"
    keras.utils.set_random_seed(3)
    network = keras.applications.EfficientNetB0(include_top=False, weights=None)
    normalization = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_mean.assign(np.float32([0.485, 0.456, 0.406]))
    normalization.adapt_variance.assign(
        np.float32([0.229, 0.224, 0.225])
    )  # Keras' file really holds the deviations here
    with h5py.File(path, "w") as file:  # the older format, which Keras still distributes, but no longer saves
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


@pytest.mark.long
def test_a_file_gives_the_same_network_by_name_and_by_path(weights_file, image, monkeypatch):
    from keras.src.applications import efficientnet

    by_path = build_encoder("efficientnetb0", weights_file).network
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *args, **kwargs: str(weights_file))
    by_name = build_encoder("efficientnetb0", "imagenet").network
    normalized = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = compute(by_name, normalized)
    for a, b in zip(ours, compute(by_path, normalized), strict=True):
        np.testing.assert_array_equal(a, b)

    # And it is the function that Keras computes, scaling included, where it downloads the file itself.
    keras_own = keras.applications.EfficientNetB0(include_top=False, weights="imagenet")
    np.testing.assert_allclose(ours[-1], compute(keras_own, image), rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_a_file_that_keras_saves_today(tmp_path):
    network = keras.applications.EfficientNetB0(include_top=False, weights=None)
    network.save_weights(path := tmp_path / "efficientnetb0_notop.weights.h5")
    encoder = build_encoder("efficientnetb0", path).network
    for name in ("stem_conv", "block4a_se_reduce", "top_bn"):
        for ours, theirs in zip(encoder.get_layer(name).weights, network.get_layer(name).weights, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))


@pytest.mark.long
def test_offline_says_what_to_do(monkeypatch):
    from keras.src.applications import efficientnet

    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on somewhere: None -- unreachable")

    monkeypatch.setattr(efficientnet.file_utils, "get_file", fail)
    with pytest.raises(ConnectionError, match=r"of efficientnetb0 \(URL fetch failure.*copy that file.*model.weights"):
        build_encoder("efficientnetb0", "imagenet")


@pytest.mark.long
def test_bad_encoders_and_weights(tmp_path, weights_file):
    with pytest.raises(ValueError, match=r"model.encoder: unknown encoder 'efficientnet_b3'; did you mean effi\w+b3\?"):
        build_encoder("efficientnet_b3", None)
    with pytest.raises(ValueError, match=r"unknown encoder 'u'; it can be convnextbase, .*, xception, or tiny"):
        build_encoder("u", None)
    with pytest.raises(ValueError, match="the tiny encoder has no weights"):
        build_encoder("tiny", "imagenet")
    with pytest.raises(FileNotFoundError, match=r"nowhere.h5: no such weights file; model.weights must be"):
        build_encoder("efficientnetb0", tmp_path / "nowhere.h5")
    with pytest.raises(ValueError, match="does not hold the weights of efficientnetb1"):
        build_encoder("efficientnetb1", weights_file)
    keras.applications.EfficientNetB0(include_top=False, weights=None).save_weights(other := tmp_path / "b0.weights.h5")
    with pytest.raises(ValueError, match=r"b0.weights.h5: .* of efficientnetb1 without its top \(it lacks weights of"):
        build_encoder("efficientnetb1", other)
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    with pytest.raises(ValueError, match=r"text.weights.h5: does not hold the weights of efficientnetb0"):
        build_encoder("efficientnetb0", text)


def test_a_training_refuses_an_unknown_encoder_before_anything_else(tmp_path):
    with pytest.raises(ValueError, match=r"model.encoder: unknown encoder 'resnet49'; did you mean resnet\d+\?"):
        train_run(Config(Data("nowhere"), str(tmp_path / "run"), model=Model("resnet49")))
    assert not (tmp_path / "run").exists()
