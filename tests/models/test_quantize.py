"""Rounding of weights and activations in training, to the steps that int8 has."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfseg.augmentation.augmenter import Augmenter
from tfseg.losses.segmentation_loss import SegmentationLoss
from tfseg.models.fold import fold
from tfseg.models.layers import UpsampledConv2D
from tfseg.models.quantize import find_exact, quantize, round_kernel, round_output, round_probability
from tfseg.models.segmenter import build_network
from tfseg.training.learner import Learner

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def numbers(values):
    return ops.convert_to_numpy(values)


def draw(*shape):
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


def test_each_filter_has_steps_of_its_own():
    """Largest weights 1.27 and 127: steps of 0.01 and of 1."""
    kernel = np.float32([[1.27, 127], [0.014, 1.4], [-0.016, -1.6]])
    expected = [[1.27, 127], [0.01, 1], [-0.02, -2]]
    np.testing.assert_allclose(numbers(round_kernel(kernel)), expected, rtol=1e-5)


def test_a_filter_of_zeros_stays():
    np.testing.assert_array_equal(numbers(round_kernel(np.zeros((3, 3, 2, 4), np.float32))), 0)


def test_activations_have_256_steps_of_which_one_is_zero():
    outputs = numbers(round_output(np.linspace(-1, 3, 5001, dtype=np.float32)))
    steps = np.unique(outputs)
    assert len(steps) == 256 and 0 in steps
    np.testing.assert_allclose(np.diff(steps), 4 / 255, rtol=1e-3)


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [-5.0, -5.0]])
def test_activations_of_one_value_keep_it(values):
    np.testing.assert_allclose(numbers(round_output(np.float32(values))), values, rtol=1e-2)


def test_probabilities_are_256ths():
    np.testing.assert_allclose(numbers(round_probability(np.float32([0.1, 0.5, 1.0]))) * 256, [26, 128, 255], atol=1e-3)


def chain(*parts):
    x = image = keras.Input((8, 8, 3))
    for part in parts:
        x = part(x)
    return keras.Model(image, x)


def test_what_relu_alone_reads_is_not_rounded():
    convolution, normalization, relu = layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(6)
    last = layers.Conv2D(2, 1)
    assert find_exact(chain(convolution, normalization, relu, last)) == {normalization}
    assert find_exact(chain(convolution, layers.Activation("silu"), last)) == set()
    assert find_exact(chain(convolution, layers.LeakyReLU(), last)) == set()
    image = keras.Input((8, 8, 4))
    twice = keras.Model(image, layers.Add()([image, layers.ReLU()(shared := layers.Conv2D(4, 1)(image)), shared]))
    assert find_exact(twice) == set()


def test_a_layer_is_its_rounded_weights_and_its_rounded_sums():
    network = chain(layers.Conv2D(4, 3, use_bias=False), layers.ReLU())
    images, kernel = draw(2, 8, 8, 3), network.layers[1].kernel
    sums = ops.conv(images, round_kernel(kernel))
    np.testing.assert_allclose(numbers(quantize(network)(images)), numbers(round_output(ops.relu(sums))), atol=1e-5)


@pytest.mark.parametrize("plain", [False, True])
def test_an_upsampled_convolution_rounds_the_kernels_that_are_in_the_file(plain):
    image, finer = keras.Input((4, 4, 3)), keras.Input((8, 8, 2))
    network = keras.Model([image, finer], UpsampledConv2D(5, plain=plain)([image, finer]))
    inputs = [draw(1, 4, 4, 3), draw(1, 8, 8, 2)]
    seen = []
    network.layers[-1](inputs, round_kernel=lambda kernel: (seen.append(tuple(kernel.shape)), kernel)[1])
    assert seen == ([(3, 3, 5, 5)] if plain else [(4, 4, 3, 5), (3, 3, 2, 5)])
    rounded, exact = numbers(quantize(network)(inputs)), numbers(fold(network)(inputs))
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("encoder", ["tiny", pytest.param("efficientnetb0", marks=pytest.mark.long)])
def test_a_network_gives_nearly_what_it_gave(encoder):
    keras.utils.set_random_seed(0)
    network = build_network(5, encoder, None, decoder_channels=(8, 8, 8, 8, 8))
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    exact, rounded = numbers(fold(network)(images)), numbers(quantize(network)(images))
    assert 0 < np.abs(rounded - exact).mean() < 0.1 * np.abs(exact).mean()


def test_a_step_moves_weights_and_keeps_statistics():
    keras.utils.set_random_seed(0)
    network = build_network(3, "tiny", None, decoder_channels=(8, 8, 8, 8, 8))
    learner = Learner(network, SegmentationLoss(0, 1.0), Augmenter(), quantized=True)
    learner.compile(keras.optimizers.SGD(0.1))
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    before = {weight.path: numbers(weight).copy() for weight in network.weights}
    learner.train_on_batch({"image": image, "mask": image[..., 0] % 3})
    moved = {weight.path for weight in network.weights if np.any(numbers(weight) != before[weight.path])}
    assert any("kernel" in path for path in moved) and any("gamma" in path for path in moved)
    assert not any("moving" in path for path in moved)


def upsample(image):
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(image)))
    return UpsampledConv2D(8)([x, image])


@pytest.mark.skipif(not ON_TENSORFLOW, reason="TensorFlow makes LiteRT files")
@pytest.mark.parametrize(
    "make_parts",  # in the test: a layer draws the seed of its weights where it is made
    [
        lambda: (layers.Conv2D(8, 3),),
        lambda: (
            *(layers.Conv2D(8, 3, use_bias=False), layers.BatchNormalization()),
            *(layers.ReLU(), layers.Conv2D(8, 1)),
        ),
        lambda: (layers.DepthwiseConv2D(3, use_bias=False), layers.BatchNormalization(), layers.ReLU(6)),
        lambda: (layers.Conv2D(8, 3), layers.Activation("silu")),
        lambda: (upsample, layers.BatchNormalization(), layers.ReLU()),
    ],
    ids=["convolution", "two", "depthwise", "silu", "upsampled"],
)
def test_it_gives_what_the_int8_file_gives(make_parts, monkeypatch):
    """Before biases of the file are corrected: training has no such thing."""
    from tfseg.exporters import litert, litert_int8
    from tfseg.exporters.saved_model import Traced

    monkeypatch.setattr(litert_int8, "correct_biases", lambda content, exact, images: content)
    keras.utils.set_random_seed(0)
    x = image = keras.Input((None, None, 3))
    for part in make_parts():
        x = part(x)
    network, images = keras.Model(image, x), np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    images[0, 0, 0], images[0, -1, -1] = 0, 255  # as the file takes pixels
    run = open_interpreter(litert.convert(Traced(network), (64, 64), "int8", [*images], logits=True))
    scale, zero = run.get_output_details()["logits"]["quantization"]
    found = np.concatenate([run(images=image[np.newaxis])["logits"] for image in images])
    floats, found = images.astype(np.float32), scale * (found.astype(np.float32) - zero)
    rounded, exact = (numbers(make(network)(floats)) for make in (quantize, fold))
    assert np.abs(rounded - found).mean() < 0.75 * np.abs(exact - found).mean()


def open_interpreter(content):
    import tensorflow as tf

    from tfseg.exporters.litert import without_deprecation

    with without_deprecation():
        return tf.lite.Interpreter(model_content=content).get_signature_runner()
