import keras
import numpy as np
import pytest
from keras import ops

from tfseg.models.layers import BatchNormalization
from tfseg.models.normalization import IMAGENET_MEAN
from tfseg.models.segmenter import build_network


@pytest.fixture(scope="module")
def tiny():
    keras.utils.set_random_seed(0)
    return build_network(8, "tiny", weights=None)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (1, 50, 70, 3)).astype(np.float32)


def compute(network, pixels):
    """What a network gives, as NumPy arrays, on any backend."""
    return keras.tree.map_structure(ops.convert_to_numpy, network(pixels))


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (32, 32), (50, 70), (96, 64)])
def test_any_size(tiny, size):
    logits = compute(tiny, np.zeros((2, *size, 3), np.float32))
    assert logits.shape == (2, *size, 8)
    assert logits.dtype == "float32"


def test_padding_is_with_the_mean_image_below_and_right(tiny, image):
    padded = np.empty((1, 64, 96, 3), np.float32)
    padded[:] = 255 * np.array(IMAGENET_MEAN)
    padded[:, :50, :70] = image
    ours, whole = compute(tiny, image), compute(tiny, padded)
    np.testing.assert_allclose(ours, whole[:, :50, :70], rtol=1e-4, atol=1e-4)


def test_pixels_are_normalised_inside(tiny, image):
    normalized = keras.Model(tiny.input, tiny.get_layer("normalize").output)(image)
    expected = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalized, expected, rtol=1e-4, atol=1e-5)


GREYS = np.arange(256.0).reshape(1, 16, 16, 1).repeat(3, axis=-1)


def to_float16(values):
    return values.astype(np.float16).astype(np.float64)


def to_bfloat16(values):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return values.astype(ml_dtypes.bfloat16).astype(np.float64)


@pytest.mark.long
@pytest.mark.parametrize("policy, rounded", [("mixed_bfloat16", to_bfloat16), ("mixed_float16", to_float16)])
@pytest.mark.parametrize("encoder", ["tiny", "mobilenetv2", "vgg16"])
def test_half_precision_sees_the_pixels_as_float32_does(encoder, policy, rounded):
    """They are rounded once, when all is computed: 256 grey levels stay apart, as far off as that alone puts them.

    Statistics of ImageNet; -1 to 1; and less a mean, blue before red.
    """
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        network = build_network(2, encoder, weights=None)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    exact = {
        "tiny": (GREYS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        "mobilenetv2": GREYS / 127.5 - 1,
        "vgg16": GREYS - [103.939, 116.779, 123.68],
    }[encoder]
    for name, wanted in (("normalize", exact), ("pad", rounded(exact))):
        seen = keras.Model(network.input, network.get_layer(name).output)(GREYS.astype(np.float32))
        seen = ops.convert_to_numpy(ops.cast(seen, "float32")).astype(np.float64)[:, :16, :16]
        alone = np.abs(wanted - exact).max()
        assert np.abs(seen - exact).max() <= max(1.001 * alone, 1e-5 * np.abs(exact).max()), name
        assert [np.unique(seen[..., channel]).size for channel in range(3)] == [256, 256, 256], name
    assert network.get_layer("decoder0a_conv").compute_dtype == policy.removeprefix("mixed_")


def test_logits_are_float32_in_half_precision(image):
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        network = build_network(8, "tiny", weights=None)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert compute(network, image).dtype == "float32"
    assert network.get_layer("decoder0a_conv").compute_dtype == "bfloat16"


def test_saved_model_file_loads_without_custom_objects(tiny, image, tmp_path):
    tiny.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(compute(loaded, image), compute(tiny, image))


@pytest.mark.long
def test_efficientnetb3():
    network = build_network(8, "efficientnetb3", weights=None, batch_norm_momentum=0.97)
    assert network.count_params() == 17_868_848
    layers = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == 78 + 10
    assert {(type(layer), layer.momentum) for layer in layers} == {(BatchNormalization, 0.97)}
    features = network.get_layer("efficientnetb3").outputs
    assert [feature.shape[-1] for feature in features] == [144, 192, 288, 816, 1536]
    # An odd size is padded before, so that each feature has half the size of the one before.
    shapes = network.get_layer("efficientnetb3").compute_output_shape((1, 64, 96, 3))
    assert [shape[1:3] for shape in shapes] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradients")
@pytest.mark.parametrize("name", sorted(key for key, value in vars(keras.applications).items() if callable(value)))
def test_every_encoder_trains(name, image):
    import tensorflow as tf

    network = build_network(8, name.lower(), None, cpu=True)
    assert compute(network, image).shape == (1, 50, 70, 8)
    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(network(image, training=True)))
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)
