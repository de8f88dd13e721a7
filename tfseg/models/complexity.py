"""What a network costs, by its graph alone: multiply-adds, receptive field, activations kept for the gradient.

Each is a function of `walk`'s calls, in which every tensor has the shape that it has for an image of a given size.
What is known of a layer stands in one table, KINDS; what is not there is named by `find_unknown`. Channels come last.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from tfseg import backend  # noqa: F401 - before any layer is made

Span = tuple[int, int]  # first and last of a row of pixels, which may lie outside of the image

# Of training on a CPU: what comes on top of the activations that are kept, as their share, and of all, in bytes, as
# measured with EfficientNetB0; and multiply-adds of inference for which a core trains per second, with EfficientNetB3
# at 320x320 on the two cores with AVX-512 of docs/results/step/two_cores.json.
ON_TOP, PROCESS = 0.4, 2**29
TRAINED_MACS = 10.5e9

# Functions whose gradient is computed from what they gave; others need what they got.
BY_OUTPUTS = {"relu", "relu6", "sigmoid", "tanh_sigmoid", "tanh", "softmax"}


class Call(NamedTuple):
    """One layer at work, or one of Keras' operations."""

    layer: keras.Operation
    path: str  # "efficientnetb3/stem_conv": a layer of a model that is a layer of the network
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


class Field(NamedTuple):
    """The receptive field of an output's pixel, in pixels of the image."""

    height: int
    width: int
    pools_globally: bool  # whether there are paths through global pooling or attention, which add the whole image


def walk(model: keras.Model, size: tuple[int, int]) -> list[Call]:
    """Lists the calls of a functional model's layers for one image, in the order of computation.

    Args:
        model: with one input of (batch, height, width, channels); models among its layers are walked through.
        size: (height, width) of the image.
    """
    image, calls = model.inputs[0], []
    _walk(model, [keras.KerasTensor((1, *size, image.shape[-1]), image.dtype)], "", calls)
    return calls


def _walk(model, inputs: list, prefix: str, calls: list[Call]):
    """Has each layer say what it would give, since calling it would make it part of another model."""

    def visit(operation, *args, **kwargs):
        path = prefix + operation.name
        tensors = [leaf for leaf in keras.tree.flatten((args, kwargs)) if isinstance(leaf, keras.KerasTensor)]
        inner = getattr(operation, "_functional", None) or operation  # that of keras.Sequential
        if hasattr(inner, "_run_through_graph"):
            return _walk(inner, tensors, f"{path}/", calls)
        outputs = operation.compute_output_spec(*args, **kwargs)
        calls.append(Call(operation, path, tensors, keras.tree.flatten(outputs)))
        return outputs

    return model._run_through_graph(inputs, lambda operation: functools.partial(visit, operation))


def count_macs(call: Call) -> int:
    """Counts the multiply-adds of convolutions, dense layers and attention, one for each weight and place that has it.

    Places in the padding count too, and so does pooling or interpolation that is computed as products of matrices, see
    `blocks`. What takes a few operations a number is left out: biases, normalisation, activations, sums, products, and
    other pooling and interpolation.
    """
    return find_kind(call).count(call)


def find_unknown(calls: Sequence[Call]) -> dict[str, tuple[int, int]]:
    """Finds the kinds of layers that KINDS knows nothing of: name -> how many calls, weights of all these layers.

    None of their multiply-adds are counted, and each of their pixels is taken to depend on the same place alone, by
    `reach_unknown` if they change the size.
    """
    unknown = {}
    for call in calls:
        if find_kind(call) is UNKNOWN:
            name = type(call.layer).__name__
            count, weights = unknown.get(name, (0, 0))
            held = sum(math.prod(weight.shape) for weight in getattr(call.layer, "weights", ()))
            unknown[name] = count + 1, weights + held
    return unknown


def count_kept_bytes(calls: Sequence[Call]) -> int:
    """Adds up the activations of one image that backpropagation needs again, each tensor once.

    Those are the inputs of convolutions and normalisation, and of activations what their gradients are computed from.
    """
    tensors = {id(tensor): tensor for call in calls for tensor in find_kind(call).keep(call)}
    return sum(math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize for tensor in tensors.values())


def estimate_memory(learner, calls: Sequence[Call], batch_size: int) -> dict[str, int]:
    """Estimates the bytes that training takes on its device.

    Args:
        learner: compiled, see `learner.Learner`.
        calls: of what it trains, the auxiliary head included.
        batch_size: images per step.

    Returns:
        Bytes of `activations`, `weights`, `gradients` and `optimizer`, and `all` of them. Augmentation, loss, gradients
        of activations and what kernels work with come on top, see ON_TOP.
    """
    network = learner.trained
    memory = {
        "activations": batch_size * count_kept_bytes(calls),
        "weights": count_bytes(network.weights),
        "gradients": count_bytes(network.trainable_weights),
        "optimizer": count_bytes(learner.optimizer.variables),
    }
    return {"all": sum(memory.values()), **memory}


def count_bytes(variables) -> int:
    """Bytes that variables take."""
    return sum(math.prod(variable.shape) * np.dtype(variable.dtype).itemsize for variable in variables)


def estimate_peak(memory: dict[str, int]) -> int:
    """Estimates the bytes of a process that trains on a CPU, from what `estimate_memory` gives."""
    return round(memory["all"] + ON_TOP * memory["activations"] + PROCESS)


def estimate_seconds(macs: int, cores: int) -> float:
    """Estimates how long a CPU takes to train on images of so many multiply-adds in inference."""
    return macs / (TRAINED_MACS * cores)


def find_field(calls: Sequence[Call], period: int = 32) -> Field:
    """Finds the largest receptive field of an output's pixel (Araujo, Norris and Sim 2019), over all paths.

    Unlike there, each pixel is followed through padding and upsampling, so that it is exact. It may be larger than the
    image. Paths through global pooling and attention are left out.

    Args:
        calls: of the network, see `walk`.
        period: pixels after which the output repeats itself, the network's total stride.
    """
    center = [side // 2 for side in sides(calls[-1].outputs[0])]
    spans = [trace_back(calls, [place + shift for place in center]) for shift in range(period)]
    height, width = (max(last - first + 1 for first, last in axis) for axis in zip(*spans, strict=True))
    return Field(height, width, any(find_kind(call).reach is None for call in calls))


def trace_back(calls: Sequence[Call], place: Sequence[int]) -> tuple[Span, Span]:
    """Finds the rows and the columns of the image on which the output at one place, (row, column), depends."""
    needed = {id(calls[-1].outputs[0]): [(at, at) for at in place]}
    for call in reversed(calls):
        spans = [needed[id(tensor)] for tensor in call.outputs if id(tensor) in needed]
        reach = find_kind(call).reach
        if not spans or reach is None:
            continue
        spans, after = join(*spans), sides(call.outputs[0])
        for tensor in call.inputs:
            there = [
                reach(call.layer, axis, *ends, span)
                for axis, (span, ends) in enumerate(zip(spans, zip(sides(tensor), after, strict=True), strict=True))
            ]
            needed[id(tensor)] = join(there, needed.get(id(tensor), there))
    rows, columns = needed[id(calls[0].inputs[0])]
    return rows, columns


def join(*spans: Sequence[Span]) -> list[Span]:
    """The smallest span along each axis that holds all of these."""
    return [(min(first for first, _ in axis), max(last for _, last in axis)) for axis in zip(*spans, strict=True)]


def sides(tensor) -> tuple[int, int]:
    """Height and width of an image; 1 and 1 of a vector."""
    return tensor.shape[1:3] if len(tensor.shape) == 4 else (1, 1)


# ---- multiply-adds


def count_none(call: Call) -> int:
    return 0


def count_by_outputs(call: Call) -> int:
    """Each weight of the kernels is used once for each pixel of the output."""
    return math.prod(call.outputs[0].shape[:-1]) * count_kernels(call.layer)


def count_by_inputs(call: Call) -> int:
    """Each weight of the kernel is used once for each pixel of the input."""
    return math.prod(call.inputs[0].shape[:-1]) * count_kernels(call.layer)


def count_upsampled(call: Call) -> int:
    """A transposed convolution of 4x4 over the small image, and one of 3x3 over the other; see `convolutions`."""
    small, *skip = call.inputs
    count = 4 * 4 * math.prod(small.shape) * call.layer.filters
    return count + sum(3 * 3 * math.prod(finer.shape) * call.layer.filters for finer in skip)


def count_compared(call: Call) -> int:
    """Every place's channels are multiplied with those of every other, head by head."""
    return math.prod(call.outputs[0].shape[2:]) * call.inputs[0].shape[-1]


def count_weighed(call: Call) -> int:
    """Likewise every place's weights with what all others hold."""
    weights, values, _ = call.inputs
    return math.prod(weights.shape[2:]) * values.shape[-1]


def count_resized(call: Call) -> int:
    """A matrix down the rows, and one along the columns; see `blocks.multiply`."""
    (_, height, width, channels), (_, rows, columns, _) = call.inputs[0].shape, call.outputs[0].shape
    return rows * width * channels * (height + columns)


def count_kernels(layer) -> int:
    """Weights of a layer's kernels, of both if it is separable."""
    names = ("depthwise_kernel", "pointwise_kernel") if hasattr(layer, "pointwise_kernel") else ("kernel",)
    return sum(math.prod(getattr(layer, name).shape) for name in names)


# ---- receptive field: layer, axis, the input's and the output's length, span of the output -> span of the input


def reach_same(layer, axis: int, before: int, after: int, span: Span) -> Span:
    return span


def reach_window(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Of convolutions and pooling: output i sees inputs i * stride - padding + k * dilation."""
    stride, extent = window(layer, axis)
    padding = pad_before(layer, (after - 1) * stride + extent + 1 - before)
    return span[0] * stride - padding, span[1] * stride - padding + extent


def reach_transposed(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Of transposed convolutions: output i sees those inputs j for which j * stride - padding + k * dilation is i."""
    stride, extent = window(layer, axis)
    padding = pad_before(layer, (before - 1) * stride + extent + 1 - after)
    return -((extent - span[0] - padding) // stride), (span[1] + padding) // stride


def window(layer, axis: int) -> tuple[int, int]:
    """Stride of a layer, and how far the last of the pixels that it sees is from the first."""
    lengths = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    return layer.strides[axis], (lengths[axis] - 1) * getattr(layer, "dilation_rate", (1, 1))[axis]


def pad_before(layer, missing: int) -> int:
    """Pixels that a layer adds above or on the left, of those that are missing."""
    return max(missing, 0) // 2 if layer.padding == "same" else 0


def reach_upsampled(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """A window of 3x3, over the finer image or the doubled one."""
    first, last = span[0] - 1, span[1] + 1
    return (first, last) if before == after else (first // 2, last // 2)


def reach_padded(layer, axis: int, before: int, after: int, span: Span) -> Span:
    padding = layer.padding[axis][0]
    return span[0] - padding, span[1] - padding


def reach_cropped(layer, axis: int, before: int, after: int, span: Span) -> Span:
    cropping = layer.cropping[axis][0]
    return span[0] + cropping, span[1] + cropping


def reach_resized(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Of interpolation between pixels whose centres are at halves."""
    if layer.interpolation == "nearest":
        first, last = ((2 * at + 1) * before // (2 * after) for at in span)
        return first, last
    radius = {"bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}[layer.interpolation]
    return interpolate(before, after, span, radius)


def interpolate(before: int, after: int, span: Span, radius: int) -> Span:
    """The pixels that are less than `radius` from where the outputs lie in the input."""
    first, last = ((2 * at + 1) * before - after for at in span)  # in units of 1 / (2 * after)
    return first // (2 * after) - radius + 1, -(-last // (2 * after)) + radius - 1


def reach_shares(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Of pooling that shares out the input among the pixels of the output."""
    return span[0] * before // after, -(-(span[1] + 1) * before // after) - 1


def reach_enlarged(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Of bilinear interpolation."""
    return interpolate(before, after, span, 1)


def reach_unknown(layer, axis: int, before: int, after: int, span: Span) -> Span:
    """Bilinear interpolation where the output is larger, and shares of the input where it is smaller."""
    return interpolate(before, after, span, 1) if before < after else reach_shares(layer, axis, before, after, span)


# ---- what the gradient needs


def keep_none(call: Call) -> list:
    return []


def keep_inputs(call: Call) -> list:
    return call.inputs


def keep_both(call: Call) -> list:
    return [*call.inputs, *call.outputs]


def keep_activated(call: Call) -> list:
    """Inputs, and outputs if they are activated."""
    return call.inputs if activation(call.layer) == "linear" else keep_both(call)


def keep_activation(call: Call) -> list:
    return call.outputs if activation(call.layer) in BY_OUTPUTS else call.inputs


def activation(layer) -> str:
    """Name of the function that a layer ends with; that of ReLU is itself."""
    return getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__.lower())


# ---- what is known of layers


class Kind(NamedTuple):
    """How one kind of layer computes."""

    count: Callable[[Call], int] = count_none  # multiply-adds
    reach: Callable | None = reach_same  # None: every pixel of the output sees all of the input
    keep: Callable[[Call], list] = keep_none  # tensors


CONVOLUTION = Kind(count_by_outputs, reach_window, keep_activated)
LINEAR = Kind()
ACTIVATION = Kind(keep=keep_activation)
PRODUCT = Kind(keep=keep_inputs)  # of tensors, or of one and weights
GLOBAL = Kind(reach=None)
SHARES = Kind(reach=reach_shares)
UNKNOWN = Kind(reach=reach_unknown, keep=keep_inputs)

# By the names of classes, since Keras exports those of neither its operations nor all of its layers. A class that is
# not here is what the first of its bases is that is.
KINDS = {
    "Conv2D": CONVOLUTION,
    "DepthwiseConv2D": CONVOLUTION,
    "SeparableConv2D": CONVOLUTION,
    "Conv2DTranspose": Kind(count_by_inputs, reach_transposed, keep_activated),
    "UpsampledConv2D": Kind(count_upsampled, reach_upsampled, keep_inputs),
    "Dense": Kind(count_by_outputs, reach_same, keep_activated),
    "MaxPooling2D": Kind(reach=reach_window, keep=keep_both),
    "AveragePooling2D": Kind(reach=reach_window),
    "AdaptiveAveragePooling2D": SHARES,
    "AdaptiveMaxPooling2D": SHARES._replace(keep=keep_both),
    "GlobalAveragePooling2D": GLOBAL,
    "GlobalMaxPooling2D": GLOBAL._replace(keep=keep_both),
    "UpSampling2D": Kind(reach=reach_resized),
    "Resizing": Kind(reach=reach_resized),
    "Resize": Kind(reach=reach_resized),
    "EnlargeLike": Kind(count_resized, reach_enlarged),
    "PoolToGrid": GLOBAL._replace(count=count_resized),
    "AttentionWeights": Kind(count_compared, None, keep_both),
    "WeighValues": Kind(count_weighed, None, keep_inputs),
    "ZeroPadding2D": Kind(reach=reach_padded),
    "Cropping2D": Kind(reach=reach_cropped),
    **dict.fromkeys(("BatchNormalization", "LayerNormalization", "GroupNormalization", "LayerScale"), PRODUCT),
    **dict.fromkeys(("Multiply", "Divide", "TrueDivide", "Maximum", "Minimum"), PRODUCT),
    **dict.fromkeys(("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Softmax"), ACTIVATION),
    **dict.fromkeys(("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Gelu"), ACTIVATION),
    **dict.fromkeys(("Add", "Subtract", "Average", "Concatenate", "Identity", "Reshape", "Permute"), LINEAR),
    **dict.fromkeys(("Normalization", "Rescaling", "ScaleChannels", "PadToMultiple", "CropLike"), LINEAR),
    **dict.fromkeys(("Dropout", "SpatialDropout2D", "StochasticDepth", "DropPath"), LINEAR),
}


def find_kind(call: Call) -> Kind:
    """Finds what is known of a layer."""
    return next((KINDS[base.__name__] for base in type(call.layer).__mro__ if base.__name__ in KINDS), UNKNOWN)
