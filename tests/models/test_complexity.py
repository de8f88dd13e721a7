import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfseg.models import complexity
from tfseg.models.blocks import EnlargeLike, PoolToGrid
from tfseg.models.decoders import DECODERS
from tfseg.models.layers import BatchNormalization, UpsampledConv2D
from tfseg.models.segmenter import build_network


def chain(*chained, size=(32, 32), channels=3):
    """The calls of some layers, one after the other."""
    x = image = keras.Input((None, None, channels))
    for layer in chained:
        x = layer(x)
    return complexity.walk(keras.Model(image, x), size)


@pytest.fixture(scope="module")
def tiny():
    return build_network(8, "tiny", None)


# ---- multiply-adds


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(8, 3, padding="same"), 32 * 32 * 3 * 3 * 4 * 8),
        (layers.Conv2D(8, 3), 30 * 30 * 3 * 3 * 4 * 8),
        (layers.Conv2D(8, (1, 5), strides=2, padding="same"), 16 * 16 * 5 * 4 * 8),
        (layers.Conv2D(8, 3, groups=2, padding="same"), 32 * 32 * 3 * 3 * 2 * 8),
        (layers.DepthwiseConv2D(5, padding="same"), 32 * 32 * 5 * 5 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 32 * 32 * 3 * 3 * 4 * 2),
        (layers.SeparableConv2D(8, 3, padding="same"), 32 * 32 * (3 * 3 * 4 + 4 * 8)),
        (layers.Conv2DTranspose(8, 4, strides=2, padding="same"), 32 * 32 * 4 * 4 * 4 * 8),
        (layers.Dense(8), 32 * 32 * 4 * 8),
        (layers.MaxPooling2D(), 0),
        (BatchNormalization(), 0),
    ],
)
def test_multiply_adds_of_a_layer(layer, expected):
    (call,) = chain(layer, channels=4)
    assert complexity.count_macs(call) == expected


def test_multiply_adds_of_upsampling_in_one_with_its_convolution():
    """Four ninths of those of a 3x3 convolution of the doubled image, and all of those of the finer one."""
    small, finer = keras.Input((None, None, 6)), keras.Input((None, None, 4))
    layer = UpsampledConv2D(8)
    layer([small, finer])
    call = complexity.Call(layer, "", [keras.KerasTensor((1, 16, 16, 6)), keras.KerasTensor((1, 32, 32, 4))], [])
    assert complexity.count_macs(call) == 32 * 32 * 9 * 8 * 6 * 4 // 9 + 32 * 32 * 9 * 8 * 4


def test_multiply_adds_of_other_sizes():
    """Those of two products of matrices: 6 rows to 24, 8 columns to 16; and to 2 by 2 cells; of 5 channels."""
    tensors = [keras.KerasTensor((1, 6, 8, 5)), keras.KerasTensor((1, 24, 16, 3))]
    enlarged = complexity.Call(EnlargeLike(), "", tensors, [keras.KerasTensor((1, 24, 16, 5))])
    assert complexity.count_macs(enlarged) == 24 * 6 * 8 * 5 + 24 * 16 * 8 * 5
    (pooled,) = chain(PoolToGrid(2), size=(6, 8), channels=5)
    assert complexity.count_macs(pooled) == 2 * 6 * 8 * 5 + 2 * 2 * 8 * 5


def test_models_within_a_model_are_walked_through():
    inner = keras.Sequential([layers.Conv2D(8, 3, padding="same", name="a"), layers.ReLU(name="b")], name="inner")
    calls = chain(inner, layers.Conv2D(2, 1, name="c"))
    assert [call.path for call in calls] == ["inner/a", "inner/b", "c"]
    assert sum(map(complexity.count_macs, calls)) == 32 * 32 * (27 * 8 + 8 * 2)


@pytest.mark.long
@pytest.mark.tensorflow
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_network_does_what_tensorflow_counts(decoder):
    """Its profiler also counts what takes a few operations a number, and the sums of the decoder's kernels."""
    tiny = build_network(8, "tiny", None, decoder)
    ours = 2 * sum(map(complexity.count_macs, complexity.walk(tiny, (128, 160))))
    function = tf.function(lambda x: tiny(x, training=False)).get_concrete_function(tf.TensorSpec((1, 128, 160, 3)))
    options = tf.compat.v1.profiler.ProfileOptionBuilder(
        tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    ).with_empty_output()
    graph = convert_variables_to_constants_v2(function).graph
    theirs = tf.compat.v1.profiler.profile(graph, options=options.build()).total_float_ops
    assert 0.97 * theirs < ours < theirs


class Mixture(layers.Layer):
    """A layer that nobody knows."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 5))

    def call(self, x):
        return x @ self.kernel


def test_unknown_layers_are_named():
    calls = chain(Mixture(), Mixture(), layers.Lambda(lambda x: x + 1))
    assert complexity.find_unknown(calls) == {"Mixture": (2, 3 * 5 + 5 * 5), "Lambda": (1, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("application", ["ConvNeXtTiny", "MobileNetV3Small", "EfficientNetV2B0"])
def test_layers_of_common_encoders_are_known(application):
    model = getattr(keras.applications, application)(include_top=False, weights=None, input_shape=(64, 96, 3))
    calls = complexity.walk(model, (64, 96))
    assert complexity.find_unknown(calls) == {}
    assert calls[-1].outputs[0].shape == (1, 2, 3, model.output_shape[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("application", "field", "macs"), [("VGG16", 212, 15.3), ("ResNet50", 483, 3.9), ("MobileNet", 315, 0.57)]
)
def test_published_figures(application, field, macs):
    """Fields of Araujo et al. 2019; multiply-adds, in 10^9 at 224x224, of the networks' own papers."""
    model = getattr(keras.applications, application)(include_top=False, weights=None, input_shape=(224, 224, 3))
    calls = complexity.walk(model, (224, 224))
    assert complexity.find_field(calls) == (field, field, False)
    assert sum(map(complexity.count_macs, calls)) == pytest.approx(1e9 * macs, rel=0.02)


# ---- receptive field


@pytest.mark.parametrize(
    ("chained", "expected"),
    [
        ([layers.Conv2D(1, 3)], (3, 3)),
        ([layers.Conv2D(1, 3), layers.Conv2D(1, 3)], (5, 5)),
        ([layers.Conv2D(1, 3, strides=2), layers.Conv2D(1, 3, strides=2)], (7, 7)),
        ([layers.Conv2D(1, 3, dilation_rate=4)], (9, 9)),
        ([layers.Conv2D(1, (5, 1), strides=2), layers.MaxPooling2D((1, 2))], (5, 3)),
        ([layers.AveragePooling2D(4), layers.UpSampling2D(4), layers.Conv2D(1, 3)], (8, 8)),
        pytest.param(
            [layers.Lambda(lambda x: ops.average_pool(x, 4)), layers.Conv2D(1, 3)],
            (12, 12),
            marks=pytest.mark.tensorflow,  # JAX asks what shape comes of a function
        ),
    ],
)
def test_receptive_field_of_a_chain(chained, expected):
    assert complexity.find_field(chain(*chained)) == (*expected, False)


def test_the_longest_path_counts_and_global_pooling_is_reported():
    x = image = keras.Input((None, None, 3))
    wide = layers.DepthwiseConv2D(7, padding="same")(x)
    pooled = layers.Conv2D(3, 1)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    narrow = layers.Conv2D(3, 1)(layers.Conv2D(3, 1)(layers.Conv2D(3, 1)(x)))  # the last that is walked back
    x = layers.Add()([narrow, layers.Multiply()([wide, pooled])])
    model = keras.Model(image, x)
    assert complexity.find_field(complexity.walk(model, (32, 32))) == (7, 7, True)


def find_seen(model, size, place):
    """First and last row and column of the image where the gradient of one output is not 0."""
    image = tf.Variable(tf.fill((1, *size, model.input_shape[-1]), 255.0))
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(model(image, training=False)[0, place[0], place[1]])
    seen = np.abs(tape.gradient(output, image)[0]).sum(axis=-1) > 0
    return tuple((int(there[0]), int(there[-1])) for there in (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0)))


def make_positive(model):
    """Weights of one sign, so that no rectifier is silent and nothing cancels out."""
    for weight in model.weights:
        if "kernel" in weight.path:
            weight.assign(tf.ones_like(weight) / np.prod(weight.shape[:-1]))


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.Conv2D(1, 5, strides=2, padding="same"),
        lambda: layers.Conv2D(1, (4, 3), padding="same", dilation_rate=(2, 1)),
        lambda: layers.SeparableConv2D(1, 5),
        lambda: layers.Conv2DTranspose(1, 4, strides=2, padding="same"),
        lambda: layers.Conv2DTranspose(1, 3, strides=2),
        lambda: layers.AveragePooling2D(3, strides=2, padding="same"),
        lambda: layers.AdaptiveAveragePooling2D((5, 6)),
        lambda: layers.UpSampling2D(3),
        lambda: layers.UpSampling2D(2, interpolation="bilinear"),
        lambda: layers.Resizing(20, 45, interpolation="bilinear"),
        lambda: layers.Resizing(20, 45, interpolation="nearest"),
        lambda: layers.Lambda(lambda x: ops.image.resize(x, (48, 66))),
        lambda: layers.ZeroPadding2D(((1, 2), (3, 0))),
        lambda: layers.Cropping2D(((1, 2), (3, 0))),
    ],
)
@pytest.mark.parametrize("size", [(24, 33), (25, 30)])
def test_the_gradient_of_a_layer_sees_its_receptive_field(layer, size):
    image = keras.Input((*size, 1))
    model = keras.Model(image, layer()(image))
    make_positive(model)
    calls = complexity.walk(model, size)
    for shift in (-1, 0, 1, 2):
        place = [side // 2 + shift for side in model.output_shape[1:3]]
        assert complexity.trace_back(calls, place) == find_seen(model, size, place)


@pytest.mark.tensorflow
def test_the_gradient_of_the_network_sees_its_receptive_field():
    model = build_network(2, "tiny", None, decoder_channels=(4, 4, 4, 4, 4))
    make_positive(model)
    calls = complexity.walk(model, (256, 288))
    spans = [complexity.trace_back(calls, (place, place)) for place in (120, 128, 144)]
    assert spans == [find_seen(model, (256, 288), (place, place)) for place in (120, 128, 144)]
    field = complexity.find_field(calls)
    assert field.height == field.width <= 256 and not field.pools_globally
    assert max(last - first + 1 for (first, last), _ in spans) == field.height


# ---- what the gradient needs


def test_activations_that_the_gradient_needs():
    """The image and the rectified, which are the inputs of convolutions; the normalised can be forgotten."""
    calls = chain(layers.Conv2D(8, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(2, 1))
    assert complexity.count_kept_bytes(calls) == 4 * 32 * 32 * (3 + 8 + 8)


@pytest.mark.parametrize(
    ("chained", "channels"),
    [
        ([layers.Conv2D(8, 3, padding="same")], 3),
        ([layers.Conv2D(8, 3, padding="same", activation="relu")], 3 + 8),
        ([layers.Conv2D(8, 3, padding="same"), layers.ReLU(), layers.Conv2D(2, 1)], 3 + 8),
        ([layers.Conv2D(8, 3, padding="same"), layers.Activation("silu"), layers.Conv2D(2, 1)], 3 + 8 + 8),
        ([layers.Conv2D(8, 3, padding="same"), layers.UpSampling2D(2)], 3),
    ],
)
def test_gradients_are_computed_from_outputs_or_from_inputs(chained, channels):
    assert complexity.count_kept_bytes(chain(*chained)) == 4 * 32 * 32 * channels


def test_half_precision_takes_half_the_bytes():
    swish = [layers.Conv2D(8, 3, padding="same", dtype="mixed_bfloat16"), layers.Activation("silu", dtype="bfloat16")]
    assert complexity.count_kept_bytes(chain(*swish)) == 32 * 32 * (4 * 3 + 2 * 8)


@pytest.mark.parametrize("decoder", ["pspnet", "deeplabv3plus"])
def test_every_layer_of_a_decoder_is_known(decoder):
    calls = complexity.walk(build_network(2, "tiny", None, decoder), (64, 96))
    assert complexity.find_unknown(calls) == {}
    field = complexity.find_field(calls)
    assert field.pools_globally and min(field.height, field.width) > 150
