"""A network in inference, with batch normalisation folded into the convolution before it.

There it multiplies each channel by a number and adds another, and so can filters and biases (Jacob et al. 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3.2).
TensorFlow makes one operation of a convolution and its batch normalisation, too, but not of depthwise and transposed
ones; and for a single image, on a processor without AVX-512, that operation takes ten times as long.
"""

import functools
from collections import Counter
from collections.abc import Callable

import keras
from keras import layers, ops

from tfseg.models.layers import (
    AtrousDepthwiseConv2D,
    Conv2D,
    DepthwiseConv2D,
    GroupedConv2D,
    UpsampledConv2D,
    add_bias,
)

CONVOLUTIONS = (
    *(layers.Conv2D, layers.DepthwiseConv2D),
    *(AtrousDepthwiseConv2D, Conv2D, DepthwiseConv2D, GroupedConv2D, UpsampledConv2D),
)


def fold(network: keras.Model, phased: bool = False) -> Callable:
    """Returns what a network computes in inference, by fewer operations, from the weights that it has at each call.

    Args:
        network: a functional model, which may hold others. What else there is, is called as it is.
        phased: whether its `UpsampledConv2D` are called so.

    Returns:
        A function of what the network takes. It gives the same, but for rounding.

    Example:
        >>> import keras, numpy as np
        >>> from tfseg.models.fold import fold
        >>> image = keras.Input((None, None, 3))
        >>> x = keras.layers.Conv2D(4, 3, use_bias=False)(image)
        >>> network = keras.Model(image, keras.layers.BatchNormalization()(x))
        >>> tuple(fold(network)(np.zeros((1, 8, 8, 3), "float32")).shape)
        (1, 6, 6, 4)
    """
    return Folded(network, {"phased": True} if phased else {})


class Folded:
    """A network as `fold` computes it; `upsampling`: arguments for each call of an `UpsampledConv2D`."""

    def __init__(self, network: keras.Model, upsampling: dict | None = None):
        self.network, self.upsampling = network, upsampling or {}
        self.folded = find_folded(network)
        self.normalizations = set(self.folded.values())

    def __call__(self, *inputs):
        graph = find_graph(self.network)
        return self._run(graph, inputs) if graph else self.network(*inputs, training=False)

    def visit(self, operation, *args, **kwargs):
        """Computes one operation of the graph."""
        if operation in self.normalizations:
            return args[0]
        if isinstance(operation, UpsampledConv2D):
            kwargs = {**kwargs, **self.upsampling}
        if operation in self.folded:
            return self.convolve(operation, self.folded[operation], *args, **kwargs)
        graph = find_graph(operation)
        return self._run(graph, args) if graph else operation(*args, **kwargs)

    def convolve(self, convolution, normalization, *args, **kwargs):
        """Computes both by the convolution, with other filters and another bias."""
        kernel, offset = self.find_filters(convolution, normalization)
        values = [(convolution.kernel, kernel)]
        if biased := getattr(convolution, "use_bias", False):
            values.append((convolution.bias, offset))
        with keras.StatelessScope(values):
            outputs = convolution(*args, **kwargs)
        return outputs if biased else add_bias(outputs, ops.cast(offset, outputs.dtype))

    def find_filters(self, convolution, normalization):
        """The kernel and the bias of a convolution, float32, that do what its batch normalisation does as well."""
        scale, offset = _find_factors(normalization)
        kernel = _as_floats(convolution.kernel)
        if getattr(convolution, "use_bias", False):
            offset = _as_floats(convolution.bias) * scale + offset
        depthwise = isinstance(convolution, layers.DepthwiseConv2D)
        return kernel * (ops.reshape(scale, kernel.shape[2:]) if depthwise else scale), offset

    def _run(self, graph, inputs):
        return graph._run_through_graph(inputs, lambda operation: functools.partial(self.visit, operation))


def find_folded(network: keras.Model) -> dict:
    """Finds convolution -> batch normalisation, wherever nothing else reads what the convolution gives."""
    graph, found = find_graph(network), {}
    if graph is None:
        return found
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if not node.is_input]
    calls = Counter(node.operation for node in nodes)
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in graph.outputs)
    made = {id(node.outputs[0]): node.operation for node in nodes}
    for layer in calls:
        if not isinstance(layer, layers.BatchNormalization):
            found |= find_folded(layer)
    for node in nodes:
        convolution, layer = made.get(id(node.input_tensors[0])), node.operation
        alone = readers[id(node.input_tensors[0])] == calls[convolution] == calls[layer] == 1
        if alone and isinstance(layer, layers.BatchNormalization) and _is_foldable(convolution, layer):
            found[convolution] = layer
    return found


def _is_foldable(convolution, normalization) -> bool:
    """Whether these two, the one after the other, are a convolution."""
    last = len(normalization.input.shape) - 1
    return (
        type(convolution) in CONVOLUTIONS
        and getattr(convolution, "activation", keras.activations.linear) is keras.activations.linear
        and getattr(convolution, "data_format", "channels_last") == "channels_last"
        and normalization.axis in (-1, last)
    )


def _find_factors(normalization):
    """What each channel is multiplied by in inference, and what is added then."""
    scale = ops.rsqrt(_as_floats(normalization.moving_variance) + normalization.epsilon)
    if normalization.scale:
        scale = scale * _as_floats(normalization.gamma)
    offset = -_as_floats(normalization.moving_mean) * scale
    return scale, offset + _as_floats(normalization.beta) if normalization.center else offset


def _as_floats(variable):
    """A variable before it is rounded to half precision."""
    return ops.convert_to_tensor(variable, "float32")


def find_graph(operation):
    """A functional model, that within a `keras.Sequential`, or None."""
    graph = getattr(operation, "_functional", None) or operation
    return graph if hasattr(graph, "_run_through_graph") else None
