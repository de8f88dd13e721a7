"""A network in training as int8 will compute it, so that its weights learn to bear the rounding.

Weights and activations are rounded to the 256 steps that LiteRT has for them, and gradients pass through as if they
were not: quantization-aware training (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", section 3), by Keras' own `fake_quant_with_min_max_vars`. As there, batch
normalisation is folded into convolutions first; it keeps its statistics. Steps span what a batch holds; those of the
file will span what its calibration images hold on average, and its biases will be corrected.

The weights stay floats, and the network stays what it was: only a training calls this.
"""

from collections import Counter

import keras
from keras import layers, ops
from keras.quantizers import fake_quant_with_min_max_vars

from tfseg.models.activations import jit_swish, tanh_sigmoid, tanh_swish
from tfseg.models.fold import CONVOLUTIONS, Folded, find_graph
from tfseg.models.layers import UpsampledConv2D

SWISHES = (keras.activations.silu, tanh_swish, jit_swish)
SIGMOIDS = (keras.activations.sigmoid, tanh_sigmoid)
RECTIFIERS = (keras.activations.relu, keras.activations.relu6)
SMALLEST = 1e-6  # a range of none would leave weights that are 0 at 0 for ever


def quantize(network: keras.Model):
    """Returns what a network computes with rounded weights and activations, from the weights that it has at each call.

    Args:
        network: a functional model, which may hold others, trained before: batch normalisation keeps its statistics.

    Returns:
        A function of what the network takes, through which gradients pass.

    Example:
        >>> import keras, numpy as np
        >>> from tfseg.models.quantize import quantize
        >>> image = keras.Input((None, None, 3))
        >>> network = keras.Model(image, keras.layers.Conv2D(4, 3)(image))
        >>> tuple(quantize(network)(np.zeros((1, 8, 8, 3), "float32")).shape)
        (1, 6, 6, 4)
    """
    return Quantized(network)


class Quantized(Folded):
    """A network as `quantize` computes it."""

    def __init__(self, network: keras.Model):
        super().__init__(network, {"round_kernel": round_kernel, "round_output": round_output})
        self.exact = find_exact(network)

    def visit(self, operation, *args, **kwargs):
        if operation in self.normalizations or operation in self.folded or find_graph(operation):
            outputs = super().visit(operation, *args, **kwargs)
        elif getattr(operation, "activation", None) in SWISHES and isinstance(operation, layers.Activation):
            outputs = args[0] * round_probability(ops.sigmoid(args[0]))  # a multiplication of two rounded numbers
        elif type(operation) in (*CONVOLUTIONS, layers.Dense) and not isinstance(operation, UpsampledConv2D):
            kernel = ops.convert_to_tensor(operation.kernel, "float32")
            with keras.StatelessScope([(operation.kernel, self.round_filters(operation, kernel))]):
                outputs = operation(*args, **kwargs)
        else:
            outputs = super().visit(operation, *args, **kwargs)
        if operation in self.exact or operation in self.folded or find_graph(operation):
            return outputs
        rounded = round_probability if getattr(operation, "activation", None) in SIGMOIDS else round_output
        return keras.tree.map_structure(rounded, outputs)

    def find_filters(self, convolution, normalization):
        kernel, bias = super().find_filters(convolution, normalization)
        return self.round_filters(convolution, kernel), bias

    def round_filters(self, convolution, kernel):
        """Rounds the kernel of a convolution; an `UpsampledConv2D` rounds the kernels that it makes of its own."""
        if isinstance(convolution, UpsampledConv2D):
            return kernel
        if isinstance(convolution, layers.DepthwiseConv2D):
            shape = kernel.shape
            return ops.reshape(round_kernel(ops.reshape(kernel, (*shape[:2], -1))), shape)
        return round_kernel(kernel)


def find_exact(network: keras.Model) -> set:
    """Finds the operations that LiteRT computes as one with the ReLU that alone reads them: they are not rounded."""
    graph = find_graph(network)
    if graph is None:
        return set()
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if not node.is_input]
    readers = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    readers.update(id(tensor) for tensor in graph.outputs)
    made = {id(node.outputs[0]): node.operation for node in nodes}
    rectified = [node.input_tensors[0] for node in nodes if _is_rectifier(node.operation)]
    found = {made[id(tensor)] for tensor in rectified if readers[id(tensor)] == 1 and id(tensor) in made}
    return found.union(*(find_exact(node.operation) for node in nodes))


def _is_rectifier(operation) -> bool:
    """Whether LiteRT has it as a part of the operation before."""
    if isinstance(operation, layers.ReLU):
        return operation.max_value in (None, 6) and not operation.negative_slope and not operation.threshold
    return isinstance(operation, layers.Activation) and operation.activation in RECTIFIERS


def round_kernel(kernel):
    """Rounds weights to 255 steps of their own for each filter, as many below 0 as above: float (..., filters)."""
    largest = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)))
    largest = ops.stop_gradient(ops.maximum(ops.cast(largest, "float32"), SMALLEST))
    return fake_quant_with_min_max_vars(kernel, -largest, largest, narrow_range=True, axis=-1)


def round_output(outputs):
    """Rounds activations, float of any shape, to 256 steps from the smallest to the largest, of which one is 0."""
    smallest = ops.minimum(ops.cast(ops.min(outputs), "float32"), -SMALLEST)
    largest = ops.maximum(ops.cast(ops.max(outputs), "float32"), SMALLEST)
    return fake_quant_with_min_max_vars(outputs, ops.stop_gradient(smallest), ops.stop_gradient(largest))


def round_probability(outputs):
    """Rounds what a sigmoid gives to 256ths, as LiteRT does whatever else there is."""
    return fake_quant_with_min_max_vars(outputs, 0.0, 255 / 256)
