"""The limits on shapes, axes and paddings that the tables of delegates name, beside those of `limits`."""

import math
from collections.abc import Sequence

from tfseg.diagnostics.delegates.limits import either, get, limit
from tfseg.diagnostics.delegates.tflite import Operator


def by(sides: Sequence[int]) -> str:
    """Writes a shape as 1x96x192x8."""
    return "x".join(map(str, sides)) or "()"


@limit
def most_rank(operator: Operator, most: int) -> str | None:
    tensors = [*filter(None, operator.inputs), *operator.outputs]
    rank = max((len(tensor.shape) for tensor in tensors), default=0)
    return f"a tensor of {rank} dimensions; up to {most} are taken" if rank > most else None


@limit
def input_ranks(operator: Operator, ranks: dict) -> str | None:
    """Of inputs by their place."""
    for place, wanted in ranks.items():
        tensor = get(operator, int(place))
        if tensor is not None and len(tensor.shape) not in wanted:
            return f"input {place} has {len(tensor.shape)} dimensions; {either(wanted)} are taken"
    return None


@limit
def input_shapes(operator: Operator, shapes: dict) -> str | None:
    """Of inputs by their place, of which each must have one of some shapes."""
    for place, wanted in shapes.items():
        tensor = get(operator, int(place))
        if tensor is not None and [*tensor.shape] not in wanted:
            return f"input {place} is {by(tensor.shape)}; {either([by(shape) for shape in wanted])} is taken"
    return None


@limit
def output_of_some_rank(operator: Operator, _) -> str | None:
    return None if all(tensor.shape for tensor in operator.outputs) else "its output is a single number"


@limit
def static_shapes(operator: Operator, _) -> str | None:
    tensors = [*filter(None, operator.inputs), *operator.outputs]
    return "a tensor of dynamic shape" if any(tensor.dynamic for tensor in tensors) else None


@limit
def inner_dimensions(operator: Operator, count: int) -> str | None:
    """Only so many of the last dimensions of what is no constant may be larger than 1."""
    for tensor in [*operator.runtime_inputs, *operator.outputs]:
        if any(side > 1 for side in tensor.shape[:-count]):
            return f"a tensor of {by(tensor.shape)}; only its {count} innermost dimensions may be larger than 1"
    return None


@limit
def one_dimension(operator: Operator, most: int) -> str | None:
    """Of inputs, of which only the last dimension may be larger than 1, and have so many elements."""
    for tensor in operator.runtime_inputs:
        if math.prod(tensor.shape[:-1]) > 1:
            return f"an input of {by(tensor.shape)}; one of 1 dimension is taken"
        if tensor.elements > most:
            return f"an input of {tensor.elements:,} elements; up to {most:,} are taken"
    return None


@limit
def one_dimension_out(operator: Operator, _) -> str | None:
    for tensor in operator.outputs:
        if math.prod(tensor.shape[:-1]) > 1:
            return f"an output of {by(tensor.shape)}; one of 1 dimension is taken"
    return None


@limit
def leading_ones(operator: Operator, _) -> str | None:
    """Of SQUEEZE: sides of 1 may only come before the others, batch left out."""
    tensor = get(operator, 0)
    sides = tensor.shape[1:] if tensor is not None and len(tensor.shape) > 3 else tensor.shape if tensor else ()
    rest = [side for place, side in enumerate(sides) if side > 1 or any(other > 1 for other in sides[:place])]
    return "a side of 1 after larger ones" if 1 in rest[:-1] else None


@limit
def same_dilation(operator: Operator, _) -> str | None:
    height, width = operator.options["dilation_h_factor"], operator.options["dilation_w_factor"]
    return None if height == width else f"dilation of {height}x{width}; the same in both directions is taken"


@limit
def no_axis_0(operator: Operator, place: int) -> str | None:
    """Of what works along axes that an input names: not along the batch."""
    axes, rank = find_axes(operator, place)
    if axes is None:
        return f"axes (input {place}) that are not constant"
    return "it works along the batch" if rank > 3 and 0 in axes else None


@limit
def last_axis_multiple(operator: Operator, multiple: int) -> str | None:
    """Of MEAN: along the last axis only if its size is a multiple."""
    axes, rank = find_axes(operator, 1)
    tensor = get(operator, 0)
    if axes and tensor is not None and rank - 1 in axes and tensor.shape[-1] % multiple:
        return f"a mean over {tensor.shape[-1]} channels; a multiple of {multiple} is taken"
    return None


@limit
def only_axes(operator: Operator, wanted: Sequence[int]) -> str | None:
    """Of what works along axes that input 1 names: only along some."""
    axes, _ = find_axes(operator, 1)
    if axes is None or not axes <= {*wanted}:
        return f"it works along other axes than {either(wanted)}"
    return None


def find_axes(operator: Operator, place: int) -> tuple[set[int] | None, int]:
    """Gives the axes that a constant input names, from 0 on, and how many the other one has; None: not constant."""
    axes, tensor = get(operator, place), get(operator, 0 if place else 1)
    rank = len(tensor.shape) if tensor is not None else 0
    if axes is None or not axes.constant:
        return None, rank
    return {axis % rank for axis in axes.values} if rank else set(), rank


@limit
def padded_axes(operator: Operator, wanted: Sequence[int]) -> str | None:
    """Of paddings, of which input 1 has a pair for each axis: only along some axes of four."""
    paddings = get(operator, 1)
    if paddings is None or not paddings.constant:
        return "paddings (input 1) that are not constant"
    axes = {place // 2 + max(0, 4 - len(paddings.values) // 2) for place, size in enumerate(paddings.values) if size}
    return None if axes <= {*wanted} else f"it pads other axes than {either(wanted)}"


@limit
def packed_axis(operator: Operator, unwanted: Sequence[int]) -> str | None:
    """Of PACK: not along some axes; -1 is the last of its inputs, and the one that comes after it."""
    tensor = get(operator, 0)
    rank = len(tensor.shape) if tensor is not None else 0
    axis = operator.options["axis"]
    found = {axis} | ({-1} if axis == rank else set()) | ({axis + rank + 1} if axis < 0 else set())
    return f"it packs along axis {axis}" if found & {*unwanted} else None


@limit
def channels_axis(operator: Operator, _) -> str | None:
    """Of CONCATENATION: of three or four dimensions, along the last."""
    tensor, axis = get(operator, 0), operator.options["axis"]
    rank = len(tensor.shape) if tensor is not None else 0
    if rank not in (3, 4):
        return f"inputs of {rank} dimensions; 3 or 4 are taken"
    return None if axis in (-1, rank - 1) else f"it joins along axis {axis}; the last is taken"


@limit
def zero_padding(operator: Operator, _) -> str | None:
    """Of CONCATENATION: with a constant, there are two inputs, and the constant is 0 throughout."""
    constants = [tensor for tensor in operator.inputs if tensor is not None and tensor.constant]
    if not constants:
        return None
    zero = all(tensor.is_zero for tensor in constants)
    return None if len(operator.inputs) == 2 and zero else "a constant among more than 2 inputs, or that is not 0"


@limit
def unit_strides(operator: Operator, place: int) -> str | None:
    strides = get(operator, place)
    if strides is None or not strides.constant:
        return f"strides (input {place}) that are not constant"
    return None if {*strides.values} <= {1} else f"strides of {', '.join(map(str, strides.values))}; 1 is taken"


@limit
def most_size(operator: Operator, most: int) -> str | None:
    """Of a size that input 1 names."""
    size = get(operator, 1)
    if size is None or not size.constant:
        return "a size (input 1) that is not constant"
    if max(size.values, default=0) > most:
        return f"a size of {by(size.values)}; up to {most} is taken"
    return None


@limit
def enlarges(operator: Operator, _) -> str | None:
    before, after = operator.inputs[0], operator.outputs[0]
    if before is None or len(before.shape) != 4 or len(after.shape) != 4:
        return "tensors of other than 4 dimensions"
    smaller = any(new < old for new, old in zip(after.shape[1:3], before.shape[1:3], strict=True))
    return "it makes images smaller; enlarging is taken" if smaller else None


@limit
def depth_multiplier(operator: Operator, undilated: bool) -> str | None:
    """Of DEPTHWISE_CONV_2D: other than 1 only of one channel, and perhaps only without dilation."""
    factor, tensor = operator.options["depth_multiplier"], get(operator, 0)
    dilated = operator.options["dilation_h_factor"] != 1 or operator.options["dilation_w_factor"] != 1
    one = tensor is not None and len(tensor.shape) == 4 and tensor.shape[3] == 1
    if factor == 1 or (one and not (undilated and dilated)):
        return None
    return f"depth_multiplier is {factor}; 1 is taken"


@limit
def dilated_without_strides(operator: Operator, _) -> str | None:
    found = operator.options
    dilated = found["dilation_h_factor"] != 1 or found["dilation_w_factor"] != 1
    strided = found["stride_h"] != 1 or found["stride_w"] != 1
    return "dilation with strides" if dilated and strided else None


@limit
def same_quantization(operator: Operator, _) -> str | None:
    before, after = operator.inputs[0], operator.outputs[0]
    same = before is not None and (before.scales, before.zero_points) == (after.scales, after.zero_points)
    return None if same else "input and output are quantized differently"


@limit
def single_row(operator: Operator, _) -> str | None:
    """Of FULLY_CONNECTED: sides of its input other than the last are 1."""
    tensor = get(operator, 0)
    one = tensor is not None and bool(tensor.shape) and tensor.shape[-1] == tensor.elements
    return None if one else "more than one row of inputs"


@limit
def broadcast_over_image(operator: Operator, _) -> str | None:
    """Of two inputs: alike, or of 1 over height and width together, or over channels."""
    first, second = operator.inputs[0], get(operator, 1)
    if first is None or second is None or max(len(first.shape), len(second.shape)) > 4:
        return "other inputs than two of up to 4 dimensions"
    (batch, *image, channels), (other_batch, *other_image, other_channels) = (
        (1,) * (4 - len(tensor.shape)) + tensor.shape for tensor in (first, second)
    )
    single = any(tensor.constant and tensor.elements == 1 for tensor in (first, second))
    fits = (
        (batch == other_batch or single)
        and (image == other_image or [1, 1] in (image, other_image))
        and (channels == other_channels or 1 in (channels, other_channels))
    )
    return None if fits else "a broadcast of its inputs that is not over height and width, or channels"


@limit
def one_is_larger(operator: Operator, _) -> str | None:
    """Of two inputs of as many dimensions: one is not the smaller in any."""
    first, second = operator.inputs[0], get(operator, 1)
    if first is None or second is None or len(first.shape) != len(second.shape):
        return None
    pairs = [*zip(first.shape, second.shape, strict=True)]
    if any(a < b for a, b in pairs) and any(a > b for a, b in pairs):
        return "each of its inputs is broadcast along a dimension"
    return None


@limit
def linear_inputs(operator: Operator, places: Sequence[int]) -> str | None:
    """Of inputs of which only the last dimension may be larger than 1."""
    for place in places:
        tensor = get(operator, place)
        if tensor is not None and math.prod(tensor.shape[:-1]) > 1:
            return f"input {place} is {by(tensor.shape)}; one of 1 dimension is taken"
    return None


@limit
def no_crops(operator: Operator, _) -> str | None:
    """Of BATCH_TO_SPACE_ND: the crops, input 2, are 0."""
    crops = get(operator, 2)
    if crops is None or not crops.constant:
        return "crops (input 2) that are not constant"
    return "crops that are not 0" if any(crops.values) else None
