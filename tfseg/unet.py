"""The network: encoder features -> U-Net decoder -> head, for pictures of any height and width.

U-Net: Ronneberger et al. 2015. EfficientNet: Tan and Le 2019, as in `keras.applications`. The encoder's activations at
strides 2, 4, 8, 16 and 32 feed a decoder of five blocks, each twice the size of the one before.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
from keras import layers, ops

from tfseg.convolutions import UpsampledConv2D
from tfseg.fused import fuse

# The last activation at each stride; the names are the same in all EfficientNets of keras.applications.
EFFICIENTNET_FEATURES = (
    "block2a_expand_activation",  # 1/2
    "block3a_expand_activation",  # 1/4
    "block4a_expand_activation",  # 1/8
    "block6a_expand_activation",  # 1/16
    "top_activation",  # 1/32
)
STRIDE = 32

# Mean and deviation of ImageNet's pictures, RGB, of pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def build_unet(
    num_classes: int,
    encoder: str = "efficientnetb3",
    weights: str | Path | None = "imagenet",
    decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
    batch_norm_momentum: float = 0.99,
    tanh: bool = False,
    cpu: bool = False,
) -> keras.Model:
    """Builds the network.

    Args:
        num_classes: classes, void included.
        encoder: "efficientnetb0" to "efficientnetb7", or "tiny", which is for tests.
        weights: "imagenet", None for random ones, or the path of a Keras weights file of the encoder without its top.
            A file gives the same network, whether Keras downloaded it by the name "imagenet" or it is named here.
        decoder_channels: channels of the decoder's blocks, deepest first.
        batch_norm_momentum: of batch normalisation's moving statistics, in encoder and decoder. 0.99 remembers the
            random start for some 500 steps: a shorter run is validated, and exported, with statistics that lag.
        tanh: whether to compute sigmoids by tanh, see `fused.fuse`.
        cpu: whether to train on TensorFlow's CPU, see there.

    Returns:
        Model from pixels, float (batch, height, width, 3), RGB in 0..255, to logits, float32 (batch, height, width,
        num_classes). Any height and width: padded inside to a multiple of 32, and cut back.

    Raises:
        ValueError: the encoder is unknown, or the file does not hold its weights.
        OSError: the weights cannot be read or, offline, not be downloaded.
    """
    pixels = keras.Input((None, None, 3), name="pixels")
    x = normalize(pixels)
    x = PadToMultiple(STRIDE, name="pad")(x)
    features = build_encoder(encoder, weights)(x)  # strides 2, 4, 8, 16, 32
    x = decode(features, decoder_channels)  # stride 1
    logits = layers.Conv2D(num_classes, 3, padding="same", dtype="float32", name="logits")(x)
    network = keras.Model(pixels, CropLike(dtype="float32", name="crop")([logits, pixels]), name=f"unet_{encoder}")
    return fuse(network, batch_norm_momentum, tanh, cpu)


def normalize(pixels):
    """Turns pixels in 0..255 into what ImageNet's networks were trained on: mean 0 and deviation 1 a channel."""
    scale = [1 / (255 * std) for std in IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    return layers.Rescaling(scale, offset, name="normalize")(pixels)


def decode(features: Sequence, channels: Sequence[int]):
    """Walks from the deepest feature up to full size, taking in each finer feature on the way."""
    *skips, x = features
    for index, (skip, width) in enumerate(zip([*reversed(skips), None], channels, strict=True)):
        x = UpsampledConv2D(width, name=f"decoder{index}a_conv")([x] if skip is None else [x, skip])
        x = normalize_and_rectify(x, name=f"decoder{index}a")
        x = convolve(x, width, name=f"decoder{index}b")
    return x


def convolve(x, channels: int, name: str, strides: int = 1):
    x = layers.Conv2D(
        channels, 3, strides, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return normalize_and_rectify(x, name)


def normalize_and_rectify(x, name: str):
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


def build_encoder(name: str, weights: str | Path | None) -> keras.Model:
    """Builds the model from normalised pixels to five features, at strides 2, 4, 8, 16 and 32."""
    if name == "tiny":
        return build_tiny_encoder(weights)
    application = {f"efficientnetb{n}": getattr(keras.applications, f"EfficientNetB{n}") for n in range(8)}.get(name)
    if application is None:
        raise ValueError(f"unknown encoder {name!r}; it must be efficientnetb0 to efficientnetb7, or tiny")
    whole = load_application(application, name, weights)
    # Keras divides by the deviation only where it loads "imagenet" by name; a path to the same file leaves that out.
    # Cut off its input scaling and the difference goes with it: `normalize` is ours, and always there.
    start = whole.get_layer("stem_conv_pad").input
    features = [whole.get_layer(name).output for name in EFFICIENTNET_FEATURES]
    return keras.Model(start, features, name=name)


def load_application(application: Callable, name: str, weights: str | Path | None) -> keras.Model:
    """Calls a constructor of `keras.applications`, and says what to do where its weights cannot be had."""
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise FileNotFoundError(f"{weights}: no such weights file; model.weights must be imagenet, null or a path")
    try:
        with warnings.catch_warnings():
            # Of a file that fits in part, Keras loads that part and leaves the rest random, with a warning.
            warnings.filterwarnings("error", message="Skipping nested container")
            return application(include_top=False, weights=weights and str(weights))
    except Exception as error:  # keras.utils.get_file raises a bare Exception where it cannot download
        reason = " ".join(str(error).split())
        if weights == "imagenet":
            raise ConnectionError(
                f"could not get the ImageNet weights of {name} ({reason}); connect to the internet once, or copy "
                f"{name}_notop.h5 of keras.applications here and set model.weights to its path, or to null"
            ) from error
        raise ValueError(f"{weights}: does not hold the weights of {name} without its top ({reason})") from error


def build_tiny_encoder(weights: None) -> keras.Model:
    """Builds five convolutions with strides 2: an encoder that traces in a second, for tests."""
    if weights is not None:
        raise ValueError(f"the tiny encoder has no weights to load, got {str(weights)!r}; set model.weights to null")
    x = start = keras.Input((None, None, 3))
    features = []
    for index, channels in enumerate((8, 16, 24, 32, 48)):
        x = convolve(x, channels, name=f"stage{index}", strides=2)
        features.append(x)
    return keras.Model(start, features, name="tiny")


@keras.saving.register_keras_serializable("tfseg")
class PadToMultiple(layers.Layer):
    """Pads (batch, height, width, channels) with zeros, below and right, to a multiple of `multiple`."""

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        _, height, width, _ = ops.shape(x)
        return ops.pad(x, [[0, 0], [0, -height % self.multiple], [0, -width % self.multiple], [0, 0]])

    def compute_output_shape(self, shape):
        batch, *size, channels = shape
        return (batch, *(None if n is None else n + -n % self.multiple for n in size), channels)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable("tfseg")
class CropLike(layers.Layer):
    """Cuts the first of two tensors, below and right, to the height and width of the second."""

    def call(self, inputs):
        x, like = inputs
        _, height, width, _ = ops.shape(like)
        return x[:, :height, :width]

    def compute_output_shape(self, shapes):
        (batch, _, _, channels), (_, height, width, _) = shapes
        return (batch, height, width, channels)
