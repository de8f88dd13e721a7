"""EfficientNet's weights from PyTorch's libraries: their names and shapes -> those of the layers of Keras.

Two ways of naming are read, for EfficientNet B0 to B7 and EfficientNet-Lite: timm's (`blocks.1.0.conv_pw`), and that of
efficientnet_pytorch and segmentation_models_pytorch (`_blocks.1._expand_conv`). Of whole networks of the latter, the
encoder is read.

Three things that names do not tell must fit as well. The epsilon of batch normalisation is 0.001 in TensorFlow, from
where most of these weights come, and 0.00001 in what timm trained itself: the scale is changed so that results are the
same. Pixels that were normalised in another way are allowed for in the first convolution, exactly but at the borders.
And where images are halved, PyTorch pads above and left as well: here, features at stride s lie s - 1 pixels further
up and to the left, which is nothing to a decoder that is trained on them.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tfseg.io.escaping import printable, shorten
from tfseg.io.json_reader import read_json
from tfseg.io.tensor_files import SUFFIXES, read_tensors
from tfseg.models.normalization import EFFICIENTNET_LITE, IMAGENET, INCEPTION, Normalization, spread_channels

if TYPE_CHECKING:
    import keras

EPSILON = 1e-3  # of Keras' EfficientNet, and of TensorFlow's own
PYTORCH_EPSILON = 1e-5

_KINDS = ("weight", "bias", "running_mean", "running_var")  # in the order in which layers of Keras hold them
_TIMM = {
    **{"conv_stem": "stem_conv", "bn1": "stem_bn", "conv_head": "top_conv", "bn2": "top_bn"},
    "classifier": "predictions",
}
_TIMM_BLOCK = {
    **{"conv_pw": "expand_conv", "bn1": "expand_bn", "conv_dw": "dwconv", "bn2": "bn"},
    **{"se.conv_reduce": "se_reduce", "se.conv_expand": "se_expand", "conv_pwl": "project_conv", "bn3": "project_bn"},
}
_TIMM_FIRST_BLOCK = {  # which expands nothing
    **{"conv_dw": "dwconv", "bn1": "bn", "conv_pw": "project_conv", "bn2": "project_bn"},
    **{"se.conv_reduce": "se_reduce", "se.conv_expand": "se_expand"},
}
_OTHER = {
    **{"_conv_stem": "stem_conv", "_bn0": "stem_bn", "_conv_head": "top_conv", "_bn1": "top_bn"},
    "_fc": "predictions",
}
_OTHER_BLOCK = {
    **{"_expand_conv": "expand_conv", "_bn0": "expand_bn", "_depthwise_conv": "dwconv", "_bn1": "bn"},
    **{"_se_reduce": "se_reduce", "_se_expand": "se_expand", "_project_conv": "project_conv", "_bn2": "project_bn"},
}
_OURS = re.compile(r"(stem|top|block\d+[a-z]+)_.*(conv|bn|reduce|expand)|predictions")  # layers that have weights
_TIMM_NAME = re.compile(r"(tf_)?efficientnet_(b|lite)\d\w*(\.\w+)?")
# Weights that were trained on pixels from -1 to 1: AdvProp's, and some of timm's own.
_ON_INCEPTION = re.compile(r"[._]ap(_|-|$)|advprop|^adv-|\.ra4_")


class Origin(NamedTuple):
    """How the network computes that a file's weights were trained in."""

    tensorflow: bool = True  # its padding and epsilon, else PyTorch's
    normalization: Normalization | None = None  # None: that of the encoder


def is_torch_file(path: str | Path) -> bool:
    """Whether a path ends as a file of PyTorch or safetensors does."""
    return Path(path).suffix.lower() in SUFFIXES


def load_torch_weights(model: "keras.Model", path: str | Path) -> None:
    """Gives a network the weights of a file of PyTorch; arguments and errors as of `read_torch_weights`."""
    for name, arrays in read_torch_weights(model, path).items():
        model.get_layer(name).set_weights(arrays)


def read_torch_weights(model: "keras.Model", path: str | Path) -> dict[str, list[np.ndarray]]:
    """Reads the weights of an EfficientNet or EfficientNet-Lite from a file of PyTorch.

    Args:
        model: the network, made by `keras.applications`, or with the names of its layers; its classifier may be left
            out, and what follows its blocks.
        path: of a `.pth`, `.pt`, `.bin` or `.safetensors` of timm, efficientnet_pytorch or segmentation_models_pytorch.

    Returns:
        For each of its layers that has weights, by name, what `set_weights` takes.

    Raises:
        ValueError: the file cannot be read, see `read_tensors`, or does not hold all weights of this network.
        OSError: it cannot be read.
    """
    tensors, prefix = find_network(read_tensors(path), path)
    blocks = [layer.name.removesuffix("_dwconv") for layer in model.layers if layer.name.endswith("_dwconv")]
    if not any(_OURS.fullmatch(f"{block}_dwconv") for block in blocks):
        raise ValueError(f"{path}: is of EfficientNet, and {model.name} is not; files of PyTorch are read for it alone")
    arrays = convert_tensors(tensors, blocks)
    arrays = _choose_arrays(model, arrays, path)
    origin = find_origin(Path(path), prefix, timm="conv_stem.weight" in tensors)
    if not origin.tensorflow:
        arrays = fold_epsilon(arrays, PYTORCH_EPSILON, EPSILON)
    if origin.normalization is not None:
        ours = EFFICIENTNET_LITE if model.name.startswith("efficientnetlite") else IMAGENET
        arrays = fold_normalization(arrays, origin.normalization, ours)
    return arrays


def find_network(tensors: dict[str, np.ndarray], path: str | Path) -> tuple[dict[str, np.ndarray], str]:
    """Finds the EfficientNet among tensors: those of it, by names that begin with it, and what they began with.

    Raises:
        ValueError: there is none, or more than one.
    """
    stems = [name for name in tensors if re.fullmatch(r"(.*\.)?_?conv_stem\.weight", name)]
    if len(stems) != 1:
        found = f"{len(stems)} tensors" if stems else "no tensor"
        raise ValueError(
            f"{path}: has {found} conv_stem.weight or _conv_stem.weight, expected 1, as of EfficientNet, the only "
            f"network of which files of PyTorch are read; it begins with {shorten(', '.join([*tensors][:3]))}"
        )
    prefix = re.sub(r"_?conv_stem\.weight$", "", stems[0])
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}, prefix


def convert_tensors(tensors: dict[str, np.ndarray], blocks: Sequence[str]) -> dict[str, list[np.ndarray]]:
    """Gives each layer of Keras its arrays.

    Args:
        tensors: of an EfficientNet, by timm's or efficientnet_pytorch's names; such as are none of these are left out.
        blocks: the network's, from the first to the last, as Keras names them: block1a, block2a, block2b, ...

    Returns:
        By the names of layers, what `set_weights` takes: kernel, float (height, width, in, out), of depthwise ones
        (height, width, channels, 1), and bias; or scale, offset, mean and variance of batch normalisation.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        part, _, kind = name.rpartition(".")
        layer = _name_layer(part, tensors, blocks)
        if layer is not None and kind in _KINDS:
            found.setdefault(layer, {})[kind] = _turn_axes(array, layer)
    return {layer: [parts[kind] for kind in _KINDS if kind in parts] for layer, parts in found.items()}


def _name_layer(part: str, tensors: dict[str, np.ndarray], blocks: Sequence[str]) -> str | None:
    """Names the layer of Keras that is a part of PyTorch's network; None: there is none."""
    if match := re.fullmatch(r"blocks\.(\d{1,3})\.(\d{1,2})\.(.+)", part):  # stage and block within it
        stage, block, rest = int(match[1]), int(match[2]), match[3]
        expands = f"blocks.{stage}.{block}.conv_pwl.weight" in tensors
        name = (_TIMM_BLOCK if expands else _TIMM_FIRST_BLOCK).get(rest)
        return name and f"block{stage + 1}{chr(ord('a') + block)}_{name}"
    if match := re.fullmatch(r"_blocks\.(\d{1,3})\.(.+)", part):  # counted through all stages
        index, name = int(match[1]), _OTHER_BLOCK.get(match[2])
        return name and f"{blocks[index] if index < len(blocks) else f'block of index {index}'}_{name}"
    return _TIMM.get(part) or _OTHER.get(part)


def _turn_axes(array: np.ndarray, layer: str) -> np.ndarray:
    if array.ndim == 4:  # (out, in, height, width), or (channels, 1, height, width)
        return array.transpose((2, 3, 0, 1) if layer.endswith("dwconv") else (2, 3, 1, 0))
    return array.T


def _choose_arrays(
    model: "keras.Model", arrays: dict[str, list[np.ndarray]], path: str | Path
) -> dict[str, list[np.ndarray]]:
    """Chooses those of the layers that have weights.

    Raises:
        ValueError: there are not arrays for all, or some for other blocks, or numbers that no network learns.
    """
    layers = {layer.name: layer for layer in model.layers if _OURS.fullmatch(layer.name) and layer.weights}
    wanted = {name: [tuple(weight.shape) for weight in layer.weights] for name, layer in layers.items()}
    found = {name: [array.shape for array in parts] for name, parts in arrays.items()}
    missing = [name for name in wanted if name not in found]
    other = [name for name in wanted if name in found and found[name] != wanted[name]]
    without = [name for name in other if found[name] == wanted[name][:2] and len(wanted[name]) == 4]
    other = [name for name in other if name not in without]
    more = [name for name in found if name.startswith("block") and name not in wanted]
    faults = [f"{len(missing)} of {len(wanted)} layers are missing, {_list(missing)}"] if missing else []
    if missing and {*missing} <= {"top_conv", "top_bn"}:
        faults[0] += ", which model.skips block does not need"
    if without:
        faults.append(
            f"{len(without)} batch normalisations are without running_mean and running_var, {_list(without)}: save the "
            "network's state_dict(), which has them"
        )
    if other:
        shapes = f"{other[0]} has {_show(found[other[0]])}, expected {_show(wanted[other[0]])}"
        faults.append(f"{len(other)} have other shapes, {_list(other)}: {shapes}")
    if more:
        faults.append(f"{len(more)} belong to another network, {_list(more)}")
    if faults:
        raise ValueError(f"{path}: does not hold the weights of {model.name}: {'; '.join(faults)}")
    check_finite({name: arrays[name] for name in wanted}, path)
    return {name: arrays[name] for name in wanted}


def check_finite(arrays: Mapping[str, Sequence[np.ndarray]], path: str | Path) -> None:
    """Raises ValueError if weights, by the names of their layers, are not finite in float32."""
    for name, parts in arrays.items():
        if not all((np.abs(part) <= np.finfo(np.float32).max).all() for part in parts):  # False for NaN
            raise ValueError(f"{path}: has numbers in {name} that are not finite, as of a training that failed")


def _list(names: Sequence[str]) -> str:
    return shorten(f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}")


def _show(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes)


def find_origin(path: Path, prefix: str = "", timm: bool = True) -> Origin:
    """Finds out how the network computes that a file is of, from timm's name for it; says on stderr if it is a guess.

    Args:
        path: whose own name, or that of its folder in Hugging Face's cache, or config.json beside, may hold timm's.
        prefix: what the names of its tensors began with.
        timm: whether they are timm's; the others come from TensorFlow.
    """
    names = (path.name, *(part for part in path.absolute().parts if part.startswith("models--")))
    named = INCEPTION if any(map(_ON_INCEPTION.search, names)) else None
    if not timm:
        return Origin(True, named)
    if re.search(r"(^|\.)encoder\.$", prefix):  # segmentation_models_pytorch's timm-*, built as PyTorch does
        return Origin(False, named)
    name = find_timm_name(path)
    if name is None:
        print(
            f"warning: {printable(path)}: taken for weights that come from TensorFlow, timm's tf_efficientnet_*; if "
            "timm trained them itself, name the file as timm does, such as efficientnet_b0.ra_in1k.safetensors",
            file=sys.stderr,
            flush=True,
        )
        return Origin(True, named)
    if _ON_INCEPTION.search(name):
        return Origin(name.startswith("tf_"), INCEPTION)
    # Of EfficientNet-Lite, TensorFlow's weights want pixels as the encoder gives them, timm's own those of ImageNet.
    return Origin(True) if name.startswith("tf_") else Origin(False, IMAGENET)


def find_timm_name(path: Path) -> str | None:
    """Finds what timm calls the weights of a file, such as tf_efficientnet_b3.ns_jft_in1k; None: nothing names them."""
    cached = [part for part in path.absolute().parts if part.startswith("models--timm--")]
    for text in (path.name.removesuffix(path.suffix), *cached):
        if match := _TIMM_NAME.search(text):
            return match[0]
    try:
        described = read_json(path.with_name("config.json"))
        name = f"{described['architecture']}.{described.get('pretrained_cfg', {}).get('tag', '')}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return name if _TIMM_NAME.match(name) else None


def fold_epsilon(arrays: dict[str, list[np.ndarray]], theirs: float, ours: float) -> dict[str, list[np.ndarray]]:
    """Changes the scales of batch normalisation so that with another epsilon it gives the same."""

    def fold(parts: list[np.ndarray]) -> list[np.ndarray]:
        gamma, beta, mean, variance = parts
        return [gamma * np.sqrt((variance + ours) / (variance + theirs)), beta, mean, variance]

    return {name: fold(parts) if len(parts) == 4 else parts for name, parts in arrays.items()}


def fold_normalization(
    arrays: dict[str, list[np.ndarray]],
    theirs: Normalization,
    ours: Normalization,
) -> dict[str, list[np.ndarray]]:
    """Changes stem_conv and stem_bn so that from pixels normalised in our way they give what they gave from theirs.

    Args:
        arrays: as of `convert_tensors`.
        theirs: mean and deviation by which pixels, 0..1, were normalised for these weights.
        ours: those by which they are for the encoder.
    """
    kernel, (gamma, beta, moving_mean, variance) = arrays["stem_conv"][0], arrays["stem_bn"]
    pairs = (spread_channels(pair, kernel.shape[2]) for pair in (theirs, ours))
    (mean, std), (our_mean, our_std) = (np.array(pair, np.float64) for pair in pairs)
    gain, shift = our_std / std, (our_mean - mean) / std  # theirs = gain * ours + shift
    constant = np.einsum("hwio,i->o", kernel, shift)
    changed = (kernel * gain[:, np.newaxis]).astype(kernel.dtype)
    mean_without = (moving_mean - constant).astype(moving_mean.dtype)
    return {**arrays, "stem_conv": [changed], "stem_bn": [gamma, beta, mean_without, variance]}
