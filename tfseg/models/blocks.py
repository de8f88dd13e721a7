"""What encoders and decoders are built of: convolution, batch normalisation, ReLU, and other sizes.

A change of size is two products of matrices, one down the rows and one along the columns. That is pooling to any number
of cells and bilinear enlarging of any size alike, with a gradient that every device has; for TensorFlow's own bilinear
one, Metal has no kernel.
"""

import keras
from keras import layers, ops

from tfseg import backend  # noqa: F401 - before any layer is made


def convolve(x, channels: int, name: str, strides: int = 1, size: int = 3):
    """A convolution with batch normalisation and ReLU."""
    x = layers.Conv2D(
        channels, size, strides, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return normalize_and_rectify(x, name)


def normalize_and_rectify(x, name: str):
    """Batch normalisation and ReLU."""
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


@keras.saving.register_keras_serializable("tfseg")
class EnlargeLike(layers.Layer):
    """Brings the first of two tensors to the height and width of the second, by bilinear interpolation."""

    def call(self, inputs):
        x, like = inputs
        height, width = ops.shape(x)[1:3]
        rows, columns = ops.shape(like)[1:3]
        return multiply(x, interpolate(height, rows), interpolate(width, columns))

    def compute_output_shape(self, shapes):
        (batch, _, _, channels), (_, height, width, _) = shapes
        return (batch, height, width, channels)


@keras.saving.register_keras_serializable("tfseg")
class PoolToGrid(layers.Layer):
    """Averages an image over cells x cells equal parts, which share the pixels that lie between them."""

    def __init__(self, cells: int, **kwargs):
        super().__init__(**kwargs)
        self.cells = cells

    def call(self, x):
        height, width = ops.shape(x)[1:3]
        return multiply(x, average(height, self.cells), average(width, self.cells))

    def compute_output_shape(self, shape):
        return (shape[0], self.cells, self.cells, shape[3])

    def get_config(self):
        return {**super().get_config(), "cells": self.cells}


def multiply(x, rows, columns):
    """Takes an image to another size.

    Args:
        x: float (batch, height, width, channels).
        rows: float (new height, height), the share of each old row in each new one.
        columns: float (new width, width), likewise.
    """
    _, height, width, channels = ops.shape(x)
    x = ops.matmul(ops.cast(rows, x.dtype), ops.reshape(x, (-1, height, width * channels)))
    x = ops.reshape(x, (-1, ops.shape(rows)[0], width, channels))
    return ops.matmul(ops.cast(columns, x.dtype), x)


def interpolate(length: int, target: int):
    """Matrix of bilinear interpolation between the centres of pixels, float32 (target, length)."""
    scale = ops.cast(length, "float32") / ops.cast(target, "float32")
    places = (ops.cast(ops.arange(target), "float32") + 0.5) * scale - 0.5
    places = ops.clip(places, 0.0, ops.cast(length - 1, "float32"))
    return ops.relu(1.0 - ops.abs(places[:, None] - ops.cast(ops.arange(length), "float32")))


def average(length: int, cells: int):
    """Matrix of the means over equal parts of a line of pixels, float32 (cells, length)."""
    span = ops.cast(length, "float32") / cells
    starts = ops.cast(ops.arange(cells), "float32")[:, None] * span
    pixels = ops.cast(ops.arange(length), "float32")
    shared = ops.minimum(starts + span, pixels + 1.0) - ops.maximum(starts, pixels)
    return ops.relu(shared) / span
