import keras
import numpy as np
import pytest
from keras import ops

from tfseg.config.tables import DECODER_CHANNELS
from tfseg.models import keras_hub
from tfseg.models.decoders import DECODERS
from tfseg.models.segmenter import build_network

# Small, and the parameters of the tiny encoder, of the decoder and of the head for 8 classes together.
SMALL = {
    "unet": ((16, 16, 8, 8, 8), 54_752),
    "fpn": ((16, 8), 44_480),
    "linknet": ((8,), 31_416),
    "pspnet": ((16,), 34_480),
    "deeplabv3plus": ((16, 8), 36_056),
}
OWN = {"unet": 1_432_032, "fpn": 4_052_960, "linknet": 33_288, "pspnet": 6_834_144, "deeplabv3plus": 595_296}


@pytest.fixture(scope="module", params=DECODERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    keras.utils.set_random_seed(0)
    return build_network(8, "tiny", None, name, SMALL[name][0])


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).uniform(0, 255, (2, 50, 70, 3)).astype(np.float32)


def compute(network, pixels):
    """What a network gives, as a NumPy array, on any backend."""
    return ops.convert_to_numpy(network(pixels))


def test_the_config_knows_them():
    assert {*DECODERS, keras_hub.DECODER} == {*DECODER_CHANNELS}


def test_size(name, network):
    assert network.count_params() == SMALL[name][1]
    assert build_network(8, "tiny", None, name).count_params() == OWN[name]


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (64, 96)])
def test_any_size_of_image(network, size):
    logits = compute(network, np.zeros((1, *size, 3), np.float32))
    assert logits.shape == (1, *size, 8)
    assert logits.dtype == "float32"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes TensorFlow's gradients")
def test_gradients_reach_all_weights(network, image):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(network(image, training=True)))
    weights = network.trainable_variables
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), weight.path


@pytest.mark.long
@pytest.mark.parametrize("name, layer", [("pspnet", "decoder_means1_bn"), ("deeplabv3plus", "decoder_mean_bn")])
def test_one_image_is_pooled_to_one_cell_alike_in_training(name, layer, image):
    """Its mean over a batch of one would be itself: less that, nothing is left, whatever the image."""
    keras.utils.set_random_seed(0)
    network = build_network(8, "tiny", None, name, SMALL[name][0])
    normalization = network.get_layer(layer)
    seen = keras.Model(network.input, [normalization.input, normalization.output])
    for training in (True, False):
        before, after = map(ops.convert_to_numpy, seen(image[:1], training=training))
        np.testing.assert_allclose(after, before / np.sqrt(1 + normalization.epsilon), rtol=1e-4)
        assert np.abs(before).max() > 1e-3
    mean, variance = map(ops.convert_to_numpy, (normalization.moving_mean, normalization.moving_variance))
    assert (mean == 0).all() and (variance == 1).all()
    seen(image, training=True)
    assert (ops.convert_to_numpy(normalization.moving_mean) != 0).any(), "two images have a mean"


@pytest.mark.long
def test_it_comes_back_from_its_file(network, image, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(compute(loaded, image), compute(network, image))


def test_features_may_begin_at_stride_4(name):
    sizes = {4: 16, 8: 8, 16: 4, 32: 2}
    features = [None, *(keras.Input((size, size, 8)) for size in sizes.values())]
    decoder = DECODERS[name]
    assert decoder.decode(features, SMALL[name][0]).shape[1:3] == (64 // decoder.STRIDE, 64 // decoder.STRIDE)
