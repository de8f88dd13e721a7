import h5py
import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.saving import legacy_h5_format

from tfseg.fused import BatchNormalization
from tfseg.unet import IMAGENET_MEAN, build_encoder, build_unet


@pytest.fixture(scope="module")
def tiny():
    keras.utils.set_random_seed(0)
    return build_unet(8, "tiny", weights=None)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).uniform(0, 255, (1, 50, 70, 3)).astype(np.float32)


def compute(network, pixels):
    """What a network gives, as NumPy arrays, on any backend."""
    return keras.tree.map_structure(ops.convert_to_numpy, network(pixels))


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (32, 32), (50, 70), (96, 64)])
def test_any_size(tiny, size):
    logits = compute(tiny, np.zeros((2, *size, 3), np.float32))
    assert logits.shape == (2, *size, 8)
    assert logits.dtype == "float32"


def test_padding_is_with_the_mean_picture_below_and_right(tiny, picture):
    padded = np.empty((1, 64, 96, 3), np.float32)
    padded[:] = 255 * np.array(IMAGENET_MEAN)
    padded[:, :50, :70] = picture
    ours, whole = compute(tiny, picture), compute(tiny, padded)
    np.testing.assert_allclose(ours, whole[:, :50, :70], rtol=1e-4, atol=1e-4)


def test_pixels_are_normalised_inside(tiny, picture):
    normalized = keras.Model(tiny.input, tiny.get_layer("normalize").output)(picture)
    expected = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalized, expected, rtol=1e-4, atol=1e-5)


def test_logits_are_float32_in_half_precision(picture):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_unet(8, "tiny", weights=None)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert compute(network, picture).dtype == "float32"
    assert network.get_layer("decoder0a_conv").compute_dtype == "bfloat16"


def test_saved_model_file_loads_without_custom_objects(tiny, picture, tmp_path):
    tiny.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(compute(loaded, picture), compute(tiny, picture))


def test_efficientnetb3():
    network = build_unet(8, "efficientnetb3", weights=None, batch_norm_momentum=0.97)
    assert network.count_params() == 17_868_848
    layers = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == 78 + 10
    assert {(type(layer), layer.momentum) for layer in layers} == {(BatchNormalization, 0.97)}
    features = network.get_layer("efficientnetb3").outputs
    assert [feature.shape[-1] for feature in features] == [144, 192, 288, 816, 1536]
    # An odd size is padded before, so that each feature has half the size of the one before.
    shapes = network.get_layer("efficientnetb3").compute_output_shape((1, 64, 96, 3))
    assert [shape[1:3] for shape in shapes] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


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


def test_a_file_gives_the_same_network_by_name_and_by_path(weights_file, picture, monkeypatch):
    from keras.src.applications import efficientnet

    by_path = build_encoder("efficientnetb0", weights_file)
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *args, **kwargs: str(weights_file))
    by_name = build_encoder("efficientnetb0", "imagenet")
    normalized = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    ours = compute(by_name, normalized[:, :32, :64])
    for a, b in zip(ours, compute(by_path, normalized[:, :32, :64]), strict=True):
        np.testing.assert_array_equal(a, b)

    # And it is the function that Keras computes, scaling included, where it downloads the file itself.
    keras_own = keras.applications.EfficientNetB0(include_top=False, weights="imagenet")
    np.testing.assert_allclose(ours[-1], compute(keras_own, picture[:, :32, :64]), rtol=1e-3, atol=1e-4)


def test_offline_says_what_to_do(monkeypatch):
    from keras.src.applications import efficientnet

    def fail(*args, **kwargs):
        raise Exception("URL fetch failure on somewhere: None -- unreachable")

    monkeypatch.setattr(efficientnet.file_utils, "get_file", fail)
    with pytest.raises(ConnectionError, match=r"URL fetch failure.*copy efficientnetb0_notop.h5.*model.weights"):
        build_encoder("efficientnetb0", "imagenet")


def test_bad_encoders_and_weights(tmp_path, weights_file):
    with pytest.raises(ValueError, match="unknown encoder 'resnet50'; it must be efficientnetb0"):
        build_encoder("resnet50", None)
    with pytest.raises(FileNotFoundError, match=r"nowhere.h5: no such weights file; model.weights must be"):
        build_encoder("efficientnetb0", tmp_path / "nowhere.h5")
    with pytest.raises(ValueError, match="does not hold the weights of efficientnetb1"):
        build_encoder("efficientnetb1", weights_file)
    text = tmp_path / "text.weights.h5"
    text.write_text("no weights")
    with pytest.raises(ValueError, match=r"text.weights.h5: does not hold the weights of efficientnetb0"):
        build_encoder("efficientnetb0", text)
