"""Layers with Keras' weights and results that take less time, or that run where Keras' do not.

`UpsampledConv2D` does less work on any device, and `AtrousDepthwiseConv2D` its own. The others take the same work to
other operations of TensorFlow: `GroupedConv2D` and `BatchNormalization` always, `Conv2D` and `DepthwiseConv2D` on a
CPU, where they are faster.
"""

import itertools

import keras
import numpy as np
from keras import ops

from tfseg.backend import count_replicas

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

# Row p of a 4x4 kernel is the sum of the rows u of a 3x3 one for which SPREAD[p][u] is 1; and so with columns.
SPREAD = ((0, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0))

# Rows of a 4x4 kernel that reach the even rows of what a transposed convolution gives, and the odd ones; so columns.
PHASES = ((3, 1), (2, 0))


def _keep(values):
    """Returns what it is given."""
    return values


@keras.saving.register_keras_serializable("tfseg")
class UpsampledConv2D(keras.layers.Layer):
    """An image doubled by `UpSampling2D`, a finer one beside it, and a 3x3 convolution over both, in one layer.

    Doubled, each pixel comes four times, so that a 3x3 window sees no more than 2x2 of the small image: a transposed
    convolution of it, with stride 2 and a 4x4 kernel of sums, gives the same (Shi et al. 2016, "Is the deconvolution
    layer the same as a convolutional layer?") for four ninths of the multiplications, and nothing is copied.

    Takes a list of float (batch, height, width, a) and, or not, (batch, 2 height, 2 width, b); gives (batch, 2 height,
    2 width, filters). Its `kernel` is that of `Conv2D(filters, 3, padding="same", use_bias=False)`, float32 (3, 3,
    a + b, filters). `plain` computes it as the layers of Keras do, one after the other. Called with `phased`, on
    TensorFlow alone, it computes each of the four pixels that come of one by a 2x2 convolution of its own: for what
    converts the graph, and for which transposed convolutions are slow. `round_kernel` and `round_output` are called, if
    given, with each kernel, whose last axis is that of filters, and with what each convolution gives: see `quantize`.
    """

    def __init__(self, filters: int, kernel_initializer="he_normal", plain: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.plain = filters, plain
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, shapes):
        channels = sum(shape[-1] for shape in shapes)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(3, 3, channels, self.filters),
            initializer=self.kernel_initializer,
            autocast=False,  # sums are taken before they are rounded to half precision
        )

    def call(self, inputs, phased: bool = False, round_kernel=_keep, round_output=_keep):
        x, *skip = inputs
        kernel = ops.convert_to_tensor(self.kernel)
        if self.plain:
            x = ops.concatenate([ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2), *skip], axis=-1)
            return ops.conv(x, ops.cast(round_kernel(kernel), self.compute_dtype), padding="same")
        if skip:
            kernel, skip_kernel = ops.split(kernel, [x.shape[-1]], axis=2)
        kernel = ops.cast(round_kernel(spread(kernel)), self.compute_dtype)
        if phased:
            x = convolve_phases(x, kernel)
        else:
            x = ops.conv_transpose(x, ops.transpose(kernel, (0, 1, 3, 2)), strides=2, padding="same")
        if skip:
            kernel = ops.cast(round_kernel(skip_kernel), self.compute_dtype)
            x = round_output(x) + round_output(ops.conv(*skip, kernel, padding="same"))
        return x

    def compute_output_shape(self, shapes):
        batch, height, width, _ = shapes[0]
        return (batch, height and 2 * height, width and 2 * width, self.filters)

    def get_config(self):
        initializer = keras.initializers.serialize(self.kernel_initializer)
        own = {"filters": self.filters, "kernel_initializer": initializer, "plain": self.plain}
        return {**super().get_config(), **own}


def spread(kernel):
    """Kernel of a 3x3 convolution of a doubled image -> kernel of a transposed convolution of the small one.

    Args:
        kernel: float (3, 3, channels, filters).

    Returns:
        Of the same type, (4, 4, channels, filters): what `keras.ops.conv_transpose` takes with strides 2, but for its
        last axes, which are the other way round there.
    """
    _, _, channels, filters = kernel.shape
    sums = ops.convert_to_tensor(np.kron(SPREAD, SPREAD), kernel.dtype)  # (16, 9)
    kernel = ops.matmul(sums, ops.reshape(kernel, (9, channels * filters)))
    return ops.reshape(kernel, (4, 4, channels, filters))


def convolve_phases(images, kernel):
    """A transposed convolution with strides 2, as four convolutions with strides 1, by TensorFlow.

    Args:
        images: float (batch, height, width, channels).
        kernel: of the same type, (4, 4, channels, filters).

    Returns:
        Of the same type, (batch, 2 height, 2 width, filters): what `keras.ops.conv_transpose` gives.
    """
    phases = []
    for row, column in itertools.product(range(2), range(2)):
        taps = tf.gather(tf.gather(kernel, PHASES[row], axis=0), PHASES[column], axis=1)
        padding = [[0, 0], [1 - row, row], [1 - column, column], [0, 0]]
        phases.append(tf.nn.conv2d(images, taps, 1, padding))  # pyright: ignore[reportArgumentType]  its stubs know no list
    return tf.nn.depth_to_space(tf.concat(phases, axis=-1), 2)


def add_bias(outputs, bias):
    """Adds a number to each channel; TensorFlow makes one operation of that and the convolution before it."""
    return tf.nn.bias_add(outputs, bias) if keras.backend.backend() == "tensorflow" else outputs + bias


@keras.saving.register_keras_serializable("tfseg")
class AtrousDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` of 3x3 with a dilation rate, as a sum of nine shifted images; without a bias.

    TensorFlow would cut the image into interleaved ones and back, by operations that Metal has no kernels for.
    """

    def __init__(self, dilation_rate: int, **kwargs):
        settings = {"kernel_size": 3, "padding": "same", "use_bias": False}
        super().__init__(**{**kwargs, **settings}, dilation_rate=dilation_rate)

    def call(self, inputs):
        rate, kernel = self.dilation_rate[0], ops.convert_to_tensor(self.kernel)
        _, height, width, _ = ops.shape(inputs)
        padded = ops.pad(inputs, [[0, 0], [rate, rate], [rate, rate], [0, 0]])
        outputs = 0
        for row, column in itertools.product(range(3), range(3)):
            top, left = row * rate, column * rate
            outputs += padded[:, top : top + height, left : left + width] * kernel[row, column, :, 0]
        return outputs


@keras.saving.register_keras_serializable("tfseg")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a group for each channel, on TensorFlow; for `is_grouped` alone.

    Keras leaves it to XLA, which takes 50 times as long on a CPU, and which Metal has none of.
    """

    def call(self, inputs):
        kernel = tf.transpose(tf.convert_to_tensor(self.kernel), (0, 1, 3, 2))
        outputs = tf.nn.depthwise_conv2d(inputs, kernel, (1, *self.strides, 1), self.padding.upper())
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(outputs)


def is_grouped(layer) -> bool:
    """Whether a layer is a plain convolution of each channel by itself."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.groups == layer.filters > 1 == layer.kernel.shape[2]
        and layer.strides[0] == layer.strides[1]
        and (layer.dilation_rate, layer.data_format) == ((1, 1), "channels_last")
    )


@keras.saving.register_keras_serializable("tfseg")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, trained as a product of matrices; for `is_pointwise` alone.

    In inference TensorFlow makes one operation of convolution, batch normalisation and activation, but not of products.
    """

    def call(self, inputs, training=False):
        if not training:
            return super().call(inputs)
        *pixels, channels = ops.shape(inputs)
        matrix = ops.reshape(self.kernel, (channels, self.filters))
        outputs = ops.matmul(ops.reshape(inputs, (-1, channels)), matrix)
        if self.use_bias:
            outputs = outputs + self.bias
        return self.activation(ops.reshape(outputs, (*pixels, self.filters)))


def is_pointwise(layer) -> bool:
    """Whether a layer is a plain convolution of single pixels."""
    return (
        type(layer) is keras.layers.Conv2D
        and (layer.kernel_size, layer.strides, layer.dilation_rate) == ((1, 1), (1, 1), (1, 1))
        and (layer.groups, layer.data_format) == (1, "channels_last")
    )


@keras.saving.register_keras_serializable("tfseg")
class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D`, whose filters learn in pieces of 3x3; for `has_large_filters` alone.

    The gradient of a 3x3 filter has a fast kernel on a CPU; that of a 5x5 one takes up to 20 times as long as its four
    pieces.
    """

    def call(self, inputs):
        size, stride = self.kernel_size[0], self.strides[0]
        settings = {"strides": [1, stride, stride, 1], "padding": self.padding.upper()}
        edge = size // 2 if self.padding == "same" else 0

        @tf.custom_gradient
        def convolve(inputs, kernel):
            def gradients(gradient):
                back = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                    input_sizes=tf.shape(inputs), filter=kernel, out_backprop=gradient, **settings
                )
                padded = tf.pad(inputs, [[0, 0], [edge, edge], [edge, edge], [0, 0]])
                return back, filter_gradient(padded, gradient, size, stride)

            return tf.raw_ops.DepthwiseConv2dNative(input=inputs, filter=kernel, **settings), gradients

        return convolve(inputs, tf.convert_to_tensor(self.kernel))


def has_large_filters(layer) -> bool:
    """Whether a layer is a plain depthwise convolution with filters of 5x5, 7x7, ..."""
    return (
        type(layer) is keras.layers.DepthwiseConv2D
        and layer.kernel_size in ((5, 5), (7, 7))
        and layer.strides in ((1, 1), (2, 2))
        and (layer.padding == "valid" or layer.strides == (1, 1))
        and (layer.depth_multiplier, layer.dilation_rate, layer.data_format) == (1, (1, 1), "channels_last")
        and not layer.use_bias
        and layer.activation is keras.activations.linear
    )


def filter_gradient(inputs, gradient, size: int, stride: int):
    """The gradient of a depthwise filter, put together from those of its 3x3 pieces, which share a row or a column.

    Args:
        inputs: float (batch, height, width, channels), padded.
        gradient: that of the outputs of the convolution, without padding.
        size: of the filter, odd.
        stride: of the convolution.

    Returns:
        Float (size, size, channels, 1).
    """
    lengths = [gradient.shape[axis] or tf.shape(gradient)[axis] for axis in (1, 2)]
    spans = [(length - 1) * stride + 3 for length in lengths]

    def piece(row: int, column: int):
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=inputs[:, row : row + spans[0], column : column + spans[1]],
            filter_sizes=(3, 3, inputs.shape[-1], 1),
            out_backprop=gradient,
            strides=[1, stride, stride, 1],
            padding="VALID",
        )[min(row, 1) :, min(column, 1) :]

    places = range(0, size - 2, 2)
    return tf.concat([tf.concat([piece(row, column) for column in places], axis=1) for row in places], axis=0)


@keras.saving.register_keras_serializable("tfseg")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last of four axes, fused where possible (Ioffe and Szegedy 2015).

    Same weights, results and moving statistics as Keras' layer, but where a batch has one value a channel, as one image
    has that is pooled to one cell. That value less its own mean is 0, whatever it is: nothing could be learnt of it,
    and inference, by moving statistics, would give something else. There training, too, takes the moving statistics,
    which stay as they are: at first 0 and 1, as if there was no normalisation.

    Under a half precision policy the kernel takes half precision images with float32 statistics.
    """

    def call(self, inputs, training=None, mask=None):
        if training is True and self._sees_one_value(inputs):
            training = False
        fusible = keras.backend.backend() == "tensorflow" and mask is None and isinstance(training, bool | None)
        if not fusible or not (self.scale and self.center) or len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._normalize_by_batch(inputs) if count_replicas() == 1 else self._normalize_by_all(inputs)
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma, "float32"),
            offset=ops.convert_to_tensor(self.beta, "float32"),
            mean=ops.convert_to_tensor(self.moving_mean, "float32"),
            variance=ops.convert_to_tensor(self.moving_variance, "float32"),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _sees_one_value(self, inputs) -> bool:
        """Whether a batch, that of all devices, has one value a channel; of sizes that are not known it has not."""
        shape = [*inputs.shape]
        del shape[self.axis]
        return count_replicas() == 1 and all(length == 1 for length in shape)

    def _normalize_by_batch(self, inputs):
        nothing = tf.zeros([0], tf.float32)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=ops.convert_to_tensor(self.gamma, "float32"),
            offset=ops.convert_to_tensor(self.beta, "float32"),
            mean=nothing,
            variance=nothing,
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance; Keras' moving variance gathers the biased one.
        count = inputs.shape[:3].num_elements() or ops.cast(tf.reduce_prod(tf.shape(inputs)[:3]), "float32")
        self._update_moving(mean, variance * ((count - 1) / count))
        return outputs

    def _normalize_by_all(self, inputs):
        """By the statistics of the whole batch, of which each replica has a part."""
        wide = ops.cast(inputs, "float32")
        mean, variance = ops.moments(wide, axes=(0, 1, 2), synchronized=True)
        self._update_moving(mean, variance)
        gamma, beta = (ops.convert_to_tensor(weight, "float32") for weight in (self.gamma, self.beta))
        return ops.cast(tf.nn.batch_normalization(wide, mean, variance, beta, gamma, self.epsilon), inputs.dtype)

    def _update_moving(self, mean, variance):
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            before = ops.convert_to_tensor(moving)
            moving.assign(before + (value - before) * (1 - self.momentum))
