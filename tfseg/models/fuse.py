"""The rewrite of a network's graph: the same function by fewer and larger operations of TensorFlow.

Keras 3 computes batch normalisation from a dozen small operations per layer and direction. TensorFlow has one kernel
for it, on the CPU, CUDA and Metal: fewer nodes in the graph, and less memory traffic. Other backends keep the layers of
Keras.
"""

import keras

from tfseg.models.activations import jit_swish, tanh_sigmoid, tanh_swish
from tfseg.models.layers import (
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    GroupedConv2D,
    UpsampledConv2D,
    has_large_filters,
    is_grouped,
    is_pointwise,
)

BY_TANH = {keras.activations.sigmoid: tanh_sigmoid, keras.activations.silu: tanh_swish}


def fuse(model: keras.Model, momentum: float, tanh: bool = False, cpu: bool = False, fused: bool = True) -> keras.Model:
    """Returns a functional model's copy, weights included, with every batch normalisation layer fused.

    Args:
        model: a functional model, which may hold others.
        momentum: of the layers' moving statistics.
        tanh: whether to compute every sigmoid and swish by tanh; the same numbers, but for rounding.
        cpu: whether to train on TensorFlow's CPU, with the convolutions of `layers` that are faster there.
        fused: whether layers may be ours; else they compute as those of Keras do. `GroupedConv2D` is there either way,
            since files of weights have its name.
    """

    def clone(layer):
        kind, config = type(layer), layer.get_config()
        if kind is keras.layers.BatchNormalization:
            kind = BatchNormalization if fused else kind
            return kind.from_config({**config, "momentum": momentum})
        if kind is UpsampledConv2D:
            config["plain"] = not fused
        elif keras.backend.backend() == "tensorflow" and is_grouped(layer):
            kind = GroupedConv2D
        elif cpu and has_large_filters(layer):
            kind = DepthwiseConv2D
        elif cpu and is_pointwise(layer):
            kind = Conv2D
        copy = kind.from_config(config)
        activation = getattr(copy, "activation", None)
        if tanh and activation in BY_TANH:
            copy.activation = BY_TANH[activation]
        elif cpu and kind is keras.layers.Activation and activation is keras.activations.silu:
            copy.activation = jit_swish  # that of squeeze-and-excite has few numbers
        return copy

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    copy.set_weights(model.get_weights())
    return copy
