"""Encoders by name: from pixels to features at strides 2, 4, 8, 16 and 32.

They are the networks of `keras.applications`, and EfficientNet-Lite. Nothing here is a table of networks: features come
from the strides of their layers, and the scale of their pixels from their own preprocessing. That is computed in
float32 whatever the network computes in, and rounded once, behind it: half precision has no room for the constants, nor
for 256 grey levels.
"""

import difflib
import inspect
import itertools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tfseg.models import efficientnet_lite
from tfseg.models.blocks import convolve
from tfseg.models.input_channels import RGB_CHANNELS, adapt_channels, average_scaling
from tfseg.models.normalization import IMAGENET_MEAN, IMAGENET_STD
from tfseg.models.packaged_weights import PackageError
from tfseg.models.torch_weights import check_finite, is_torch_file, load_torch_weights

STRIDES = (2, 4, 8, 16, 32)
SIDE = 256  # of the image by which strides are measured


class Application(NamedTuple):
    """A network that can be an encoder: of `keras.applications`, or made like those."""

    build: Callable[..., keras.Model]  # with include_top, weights and input_shape
    preprocess: Callable  # pixels, 0..255 -> what it takes


class Encoder(NamedTuple):
    """A network in two layers, between which images can be padded with zeros."""

    normalize: layers.Layer  # pixels, RGB in 0..255 -> what the network was trained on, about 0
    network: keras.Model  # that -> features, the finest first; that at stride 2 may be missing

    def extract(self, x) -> list:
        """Returns five features, at strides 2, 4, 8, 16 and 32, of normalised images; None where there is none."""
        features = self.network(x)
        return [None] * (len(STRIDES) - len(features)) + features


def build_encoder(
    name: str, weights: str | Path | None, skips: str = "expanded", channels: int = RGB_CHANNELS
) -> Encoder:
    """Builds the encoder of a name.

    Args:
        name: efficientnetlite0 to efficientnetlite4, that of a constructor of `keras.applications`, in small letters,
            or "tiny", which is for tests.
        weights: "imagenet", None for random ones, or the path of a Keras weights file of the network without its top.
            A file gives the same network, whether Keras downloaded it by the name "imagenet" or it is named here. Of
            EfficientNet, it may be one of PyTorch as well, see `torch_weights`.
        skips: "expanded" or "block", see `find_features`.
        channels: of the images; of others than 3, the first kernel is adapted, see `input_channels`.

    Raises:
        ValueError: there is no such encoder, it cannot take so many channels, or the file does not hold its weights.
        ModuleNotFoundError: the weights are those of a package that is not installed.
        OSError: the weights cannot be read or, offline, not be downloaded.
    """
    application = find_application(name)
    if application is None:
        return build_tiny_encoder(weights, channels)
    file = None if weights in (None, "imagenet") else Path(weights)
    if file and not file.is_file():
        raise FileNotFoundError(f"{file}: no such weights file; model.weights must be imagenet, null or a path")
    of_torch = file is not None and is_torch_file(file)
    whole = pad_borders(load_application(application.build, name, None if of_torch else weights))
    scaling = [*itertools.takewhile(is_scaling, whole.layers[1:])]
    start = scaling[-1].output if scaling else whole.input  # what `normalize` does instead is cut off
    network = keras.Model(start, find_features(whole, name, skips), name=name)
    if file and of_torch:
        load_torch_weights(network, file)  # not `whole`: the file may lack what `skips` leaves out
    elif file:
        check_finite({layer.name: layer.get_weights() for layer in network.layers}, file)
    normalize = make_normalization(application.preprocess, scaling)
    if channels == RGB_CHANNELS:
        return Encoder(normalize, network)
    turned = isinstance(normalize, ReversedRescaling)
    network = adapt_channels(network, channels, keeps=weights is not None, reverses=turned)
    return Encoder(average_scaling(normalize, channels), network)


def find_application(name: str) -> Application | None:
    """Finds the network of an encoder; None for "tiny", which is none of them.

    Raises:
        ValueError: there is no such encoder.
    """
    known = {
        key.lower(): Application(build, sys.modules[build.__module__].preprocess_input)
        for key, build in vars(keras.applications).items()
        if inspect.isfunction(build)
    }
    for key, build in efficientnet_lite.CONSTRUCTORS.items():
        known[key] = Application(build, efficientnet_lite.preprocess_input)
    if name != "tiny" and name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        guess = f"did you mean {nearest[0]}? It" if nearest else "it"
        raise ValueError(
            f"model.encoder: unknown encoder {name!r}; {guess} can be {', '.join(sorted(known))}, or tiny for tests"
        )
    return known.get(name)


def load_application(build: Callable, name: str, weights: str | Path | None) -> keras.Model:
    """Calls the constructor of a network, and says what to do where its weights cannot be had."""
    try:
        with warnings.catch_warnings():
            # Of a file that fits in part, Keras loads that part and leaves the rest random, with a warning.
            warnings.filterwarnings("error", message="Skipping nested container")
            warnings.filterwarnings("ignore", message="`input_shape` is undefined")  # MobileNets take any
            # NASNetLarge compares sizes to know where to halve; Keras gives the smaller one a size by itself.
            shape = {"input_shape": (331, 331, 3)} if name == "nasnetlarge" else {}
            return build(include_top=False, weights=weights and str(weights), **shape)
    except (ModuleNotFoundError, PackageError):
        raise
    except Exception as error:  # keras.utils.get_file raises a bare Exception where it cannot download
        reason = " ".join(str(error).split())
        if "Skipping nested container" in reason:
            reason = "it lacks weights of some of its layers, as a file of another network does"
        if weights == "imagenet":
            raise ConnectionError(
                f"could not get the ImageNet weights of {name} ({reason}); connect to the internet once, or copy that "
                "file of keras.applications, without top, here and set model.weights to its path, or to null"
            ) from error
        raise ValueError(f"{weights}: does not hold the weights of {name} without its top ({reason})") from error


def is_scaling(layer) -> bool:
    """Whether a layer does nothing but shift and scale pixels."""
    return isinstance(layer, layers.Rescaling | layers.Normalization)


def make_normalization(preprocess: Callable, scaling: list) -> layers.Layer:
    """Makes the layer that takes pixels, RGB in 0..255, to what a network was trained on.

    Args:
        preprocess: what the network wants done to pixels before.
        scaling: the layers that it begins with, which do the rest.
    """
    if any(layer.weights for layer in scaling):
        # EfficientNet's statistics lie in its weights file, and Keras divides by the deviation only where it loads
        # "imagenet" by name; a path to the same file leaves that out.
        return make_imagenet_normalization()
    # Both are affine: black, and each channel alone at its brightest, show all.
    x = 255 * np.vstack([np.zeros(3), np.eye(3)])
    x = preprocess(x.reshape(4, 1, 1, 3))
    for layer in scaling:
        settings = layer.get_config()
        if isinstance(layer, layers.Rescaling):
            x = x * np.array(settings["scale"]) + np.array(settings["offset"])
        else:
            x = (x - np.array(settings["mean"])) / np.sqrt(settings["variance"])
    black, *channels = x.reshape(4, 3)
    gain = (np.array(channels) - black) / 255  # of each output, in columns, by each channel, in rows
    kind = layers.Rescaling if gain[0, 0] else ReversedRescaling
    return kind(gain.sum(axis=0).tolist(), black.tolist(), name="normalize", dtype="float32")


def make_imagenet_normalization() -> layers.Layer:
    """Makes the layer that gives pixels, 0..255, mean 0 and deviation 1 in each channel."""
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return layers.Rescaling(scale, offset, name="normalize", dtype="float32")


def pad_borders(model: keras.Model) -> keras.Model:
    """Returns a model whose images keep their borders, so that strides divide sizes exactly; weights are the same.

    Inception, Xception and NASNet have convolutions that take whole windows alone, of which there are fewer than
    pixels. Padding with zeros, as of the others, changes nothing but features at the borders.
    """
    sources = {id(operation.output): operation for operation in model.operations}

    def loses_border(layer) -> bool:
        window = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        unpadded = window is not None and layer.padding == "valid" and window > layer.strides
        return unpadded and not isinstance(sources[id(layer.input)], layers.ZeroPadding2D)

    def clone(layer):
        padding = {"padding": "same"} if loses_border(layer) else {}
        return type(layer).from_config({**layer.get_config(), **padding})

    if not any(map(loses_border, model.layers)):
        return model
    pixels = keras.Input((None, None, 3))  # NASNet's has the size that it was trained on
    copy = keras.models.clone_model(model, pixels, clone)
    copy.set_weights(model.get_weights())
    return copy


def find_features(model: keras.Model, name: str, skips: str = "expanded") -> list:
    """Finds what a network has at each stride, the finest first: the widest tensor that a layer halves, and the output.

    Args:
        model: the network.
        name: for errors.
        skips: what is taken of an inverted bottleneck (Sandler et al. 2018), which is widened before it is halved, and
            of a last convolution that widens it: "expanded": the wide tensor; "block": the bottleneck. Networks without
            them, such as ResNets, have the same features either way.

    Raises:
        ValueError: the sizes of features are not the image's divided by the strides.
    """
    operations = model.operations
    shapes = keras.Model(model.input, [op.output for op in operations]).compute_output_shape((1, SIDE, SIDE, 3))
    sizes = {id(operation.output): shape[1] for operation, shape in zip(operations, shapes, strict=True)}
    sources = {id(operation.output): operation for operation in operations}
    found = {SIDE // sizes[id(model.output)]: model.output}
    for operation in operations[1:]:
        for x in keras.tree.flatten(operation.input):
            while isinstance(sources[id(x)], layers.ZeroPadding2D):
                x = sources[id(x)].input
            stride, halved = SIDE / sizes[id(x)], sizes[id(x)] == 2 * sizes[id(operation.output)]
            if halved and (stride not in found or x.shape[-1] > found[stride].shape[-1]):
                found[stride] = x
    strides = sorted(stride for stride in found if stride > 1)
    if strides not in (list(STRIDES), list(STRIDES[1:])):
        raise ValueError(f"model.encoder: expected features at strides {STRIDES}, {name} has them at {strides}")
    features = [found[stride] for stride in strides]
    return [find_bottleneck(x, sources) for x in features] if skips == "block" else features


def find_bottleneck(x, sources: dict):
    """Returns the linear bottleneck of which a tensor is the expansion, and the tensor itself where it is none.

    Args:
        x: a tensor of a network.
        sources: id of each tensor of the network -> the operation that it comes from.
    """
    operation = sources[id(x)]
    while isinstance(operation, layers.Activation | layers.ReLU | layers.BatchNormalization):
        operation = sources[id(operation.input)]
    pointwise = isinstance(operation, layers.Conv2D) and operation.kernel_size == operation.strides == (1, 1)
    if not pointwise or operation.filters <= operation.input.shape[-1]:
        return x
    linear = isinstance(sources[id(operation.input)], layers.Add | layers.BatchNormalization)
    return operation.input if linear else x


def build_tiny_encoder(weights: str | Path | None, channels: int = RGB_CHANNELS) -> Encoder:
    """Builds five convolutions with strides 2: an encoder that traces in a second, for tests."""
    if weights is not None:
        raise ValueError(f"the tiny encoder has no weights to load, got {str(weights)!r}; set model.weights to null")
    x = start = keras.Input((None, None, channels))
    features = []
    for index, width in enumerate((8, 16, 24, 32, 48)):
        x = convolve(x, width, name=f"stage{index}", strides=2)
        features.append(x)
    normalize = make_imagenet_normalization()
    if channels != RGB_CHANNELS:
        normalize = average_scaling(normalize, channels)
    return Encoder(normalize, keras.Model(start, features, name="tiny"))


@keras.saving.register_keras_serializable("tfseg")
class ReversedRescaling(layers.Rescaling):
    """`keras.layers.Rescaling` of RGB pixels in the order BGR, which Caffe's networks want."""

    def call(self, pixels):
        reversal = np.eye(3, dtype=np.float32)[np.newaxis, np.newaxis, ::-1]
        return super().call(ops.conv(pixels, reversal))  # in int8, LiteRT gives `ops.split` scales that do not agree
