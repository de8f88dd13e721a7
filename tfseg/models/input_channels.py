"""Encoders for images of other channels than RGB: their first kernel, learnt on RGB, for one channel or for many.

As timm does it (`adapt_input_conv` of its models/_manipulate.py, Wightman 2019): of one channel, the kernel is the sum
over red, green and blue, so that grey gives what RGB of three equal channels gave. Of others it is repeated channel by
channel, red, green, blue, red ..., and multiplied by 3 / channels, so that what comes out is as large as before.
"""

import math

import keras
import numpy as np
from keras import layers

from tfseg import backend  # noqa: F401 - before any layer is made
from tfseg.models.normalization import spread_channels

RGB_CHANNELS = 3


def adapt_channels(network: keras.Model, channels: int, keeps: bool, reverses: bool) -> keras.Model:
    """Copies a network for images of so many channels.

    Args:
        network: of images of three channels.
        channels: that it is to take.
        keeps: whether it has weights to be kept; else the first kernel is drawn anew, of its own size.
        reverses: whether its kernel is of blue, green, red.

    Raises:
        ValueError: it does not begin with convolutions alone.
    """
    refusal = ValueError(
        f"model.encoder {network.name}: takes images of {RGB_CHANNELS} channels alone, and these have {channels}; take "
        "another encoder, such as efficientnetlite0 or resnet50"
    )
    try:
        copy = keras.models.clone_model(network, keras.Input((None, None, channels)))
    except (ValueError, TypeError) as error:
        raise refusal from error
    pairs = [*zip(network.weights, copy.weights, strict=True)]
    other = [new for old, new in pairs if old.shape != new.shape]
    if not other or any(new.shape[2:3] != (channels,) or len(new.shape) != 4 for new in other):
        raise refusal
    for old, new in pairs:
        if old.shape == new.shape:
            new.assign(old)
        elif keeps:
            kernel = keras.ops.convert_to_numpy(old)
            new.assign(adapt_kernel(kernel[:, :, ::-1] if reverses else kernel, channels))
    return keras.Model(copy.input, copy.outputs, name=network.name)


def adapt_kernel(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Makes of a kernel of RGB, float (height, width, 3, filters), one of so many channels."""
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    repeated = np.tile(kernel, (1, 1, math.ceil(channels / RGB_CHANNELS), 1))[:, :, :channels]
    return (repeated * (RGB_CHANNELS / channels)).astype(kernel.dtype)


def average_scaling(normalize: layers.Rescaling, channels: int) -> layers.Rescaling:
    """Makes the layer that normalises so many channels, each by the mean and deviation of RGB on average.

    Args:
        normalize: pixels of RGB in 0..255 -> what the network was trained on.
        channels: of the images.
    """
    scale, offset = (np.broadcast_to(numbers, RGB_CHANNELS) for numbers in (normalize.scale, normalize.offset))
    rgb = (-offset / scale).tolist(), (1 / scale).tolist()
    means, deviations = (np.array(part) for part in spread_channels(rgb, channels))
    return layers.Rescaling(
        (1 / deviations).tolist(), (-means / deviations).tolist(), name="normalize", dtype="float32"
    )
