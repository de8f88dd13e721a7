"""EfficientNet-Lite, the EfficientNet of embedded devices: ReLU6 for swish, and no squeeze-and-excitation.

After Tan and Le 2019 (arXiv:1905.11946) and Google's `efficientnet/lite`: the stem and the head keep their channels
whatever the width, and the first and the last stage their one block whatever the depth. Layers are named as those of
Keras' EfficientNet. Like a module of `keras.applications`, this one has constructors and a `preprocess_input`.
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
from keras import layers

from tfseg import backend  # noqa: F401 - before any layer is made
from tfseg.models import packaged_weights

STEM, HEAD, DIVISOR = 32, 1280, 8  # channels, and what channels are rounded to
DROP_RATE = 0.2  # of the last block; that of each earlier one is lower in proportion to its place
CLASSES = 1000  # of ImageNet
KERNEL = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}


class Stage(NamedTuple):
    """A row of blocks of one width, before scaling."""

    blocks: int
    kernel_size: int
    strides: int  # of the first block
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Scale(NamedTuple):
    """How a network differs from EfficientNet-Lite0."""

    width: float
    depth: float
    size: int  # height and width of the images that it was trained on
    dropout: float  # before the classifier


SCALES = {
    "efficientnetlite0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnetlite1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnetlite2": Scale(1.1, 1.2, 260, 0.3),
    "efficientnetlite3": Scale(1.2, 1.4, 280, 0.3),
    "efficientnetlite4": Scale(1.4, 1.8, 300, 0.3),
}


def preprocess_input(x):
    """Brings pixels, 0..255, to what the networks were trained on: (x - 127) / 128."""
    return (x - 127.0) / 128.0


def build_efficientnet_lite(
    name: str, include_top: bool = False, weights: str | Path | None = None, input_shape: tuple | None = None
) -> keras.Model:
    """Builds a network of the family.

    Args:
        name: of `SCALES`.
        include_top: whether to classify by the 1000 classes of ImageNet: logits instead of features.
        weights: "imagenet", of Lite0 to Lite2, from their packages; None for random ones; or the path of a file of
            weights as Keras saves them.
        input_shape: (height, width, 3) of the images; None: any.

    Returns:
        Model from float (batch, height, width, 3), as `preprocess_input` gives it, to float (batch, height / 32,
        width / 32, 1280), or (batch, 1000).

    Raises:
        ModuleNotFoundError: the package with the weights is not installed.
        ValueError: there are no such weights, or the file does not hold them.
    """
    scale = SCALES[name]
    x = pixels = keras.Input(input_shape or (None, None, 3))
    x = _convolve(x, STEM, 3, 2, "stem")
    depths = [_count_blocks(index, stage, scale.depth) for index, stage in enumerate(STAGES)]
    place = 0
    for index, (stage, blocks) in enumerate(zip(STAGES, depths, strict=True)):
        for block in range(blocks):
            strides = 1 if block else stage.strides
            x = _add_block(
                x, stage, scale, strides, DROP_RATE * place / sum(depths), f"block{index + 1}{chr(97 + block)}_"
            )
            place += 1
    x = _convolve(x, HEAD, 1, 1, "top")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(scale.dropout, name="top_dropout")(x)
        x = layers.Dense(CLASSES, name="predictions")(x)
    model = keras.Model(pixels, x, name=name)
    if weights == "imagenet":
        packaged_weights.load(model, name)
    elif weights is not None:
        model.load_weights(weights)
    return model


def _count_blocks(index: int, stage: Stage, depth: float) -> int:
    return stage.blocks if index in (0, len(STAGES) - 1) else math.ceil(depth * stage.blocks)


def _round_channels(channels: float) -> int:
    """Rounds to a multiple of 8, but by no more than a tenth down."""
    rounded = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded + DIVISOR if rounded < 0.9 * channels else rounded


def _add_block(x, stage: Stage, scale: Scale, strides: int, drop_rate: float, name: str):
    """An inverted bottleneck (Sandler et al. 2018): expanded, filtered channel by channel, projected."""
    start, channels = x, _round_channels(scale.width * stage.channels)
    if stage.expansion > 1:
        expand = layers.Conv2D(
            stage.expansion * x.shape[-1], 1, use_bias=False, kernel_initializer=KERNEL, name=f"{name}expand_conv"
        )
        x = layers.BatchNormalization(name=f"{name}expand_bn")(expand(x))
        x = layers.Activation("relu6", name=f"{name}expand_activation")(x)
    x = layers.DepthwiseConv2D(
        stage.kernel_size, strides, "same", use_bias=False, depthwise_initializer=KERNEL, name=f"{name}dwconv"
    )(x)
    x = layers.BatchNormalization(name=f"{name}bn")(x)
    x = layers.Activation("relu6", name=f"{name}activation")(x)
    project = layers.Conv2D(channels, 1, use_bias=False, kernel_initializer=KERNEL, name=f"{name}project_conv")
    x = layers.BatchNormalization(name=f"{name}project_bn")(project(x))
    if strides > 1 or start.shape[-1] != channels:
        return x
    if drop_rate:
        x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return layers.Add(name=f"{name}add")([x, start])


def _convolve(x, channels: int, size: int, strides: int, name: str):
    """The first or the last convolution."""
    x = layers.Conv2D(channels, size, strides, "same", use_bias=False, kernel_initializer=KERNEL, name=f"{name}_conv")(
        x
    )
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu6", name=f"{name}_activation")(x)


CONSTRUCTORS: dict[str, Callable[..., keras.Model]] = {name: partial(build_efficientnet_lite, name) for name in SCALES}
