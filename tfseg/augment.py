"""Augmentation of picture and mask together, on the device: one draw, one warp, one colour pass.

All geometry of a sample is one matrix and one resampling: the picture bilinear, the mask nearest, void outside. All
colour is one matrix. So the cost does not grow with the number of effects, and nothing is blurred or rounded twice.
"""

import math

import keras
from keras import ops

VOID = 0
# Rec. 601 luma, as in albumentations and torchvision.
LUMA = (0.299, 0.587, 0.114)
GREY_AXIS = 1 / math.sqrt(3)


@keras.saving.register_keras_serializable("tfseg")
class Augmentation(keras.layers.Layer):
    """Random flip, rotation, zoom, brightness, contrast, saturation and hue, drawn anew for each picture.

    Args:
        flip: probability of mirroring left and right.
        rotation: largest angle either way, degrees.
        zoom: range of the factor; above 1 enlarges.
        brightness: largest shift either way, as a share of 255.
        contrast: factor about mid-grey, drawn from 1-contrast..1+contrast.
        saturation: factor about each pixel's grey, drawn from 1-saturation..1+saturation.
        hue: largest turn about the grey axis either way, degrees.
        seed: of the draws; None for another run every time.
    """

    def __init__(
        self,
        flip=0.0,
        rotation=0.0,
        zoom=(1.0, 1.0),
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.settings = {"flip": flip, "rotation": rotation, "zoom": tuple(zoom), "brightness": brightness}
        self.settings |= {"contrast": contrast, "saturation": saturation, "hue": hue}
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, image, mask):
        """Changes a batch.

        Args:
            image: (batch, height, width, 3), RGB, 0..255, integers or floats.
            mask: integers (batch, height, width).

        Returns:
            float32 picture in 0..255 and int32 mask, of the same shapes.
        """
        image, mask = ops.cast(image, "float32"), ops.cast(mask, "int32")
        draw = self.settings
        if draw["flip"]:
            mirrored = self.uniform(image, 0, 1) < draw["flip"]
            image = ops.where(mirrored[:, None, None, None], image[:, :, ::-1], image)
            mask = ops.where(mirrored[:, None, None], mask[:, :, ::-1], mask)
        if draw["rotation"] or draw["zoom"] != (1.0, 1.0):
            angle = self.uniform(image, -draw["rotation"], draw["rotation"]) * (math.pi / 180)
            factor = ops.exp(self.uniform(image, *map(math.log, draw["zoom"])))
            image, mask = warp(image, mask, rotation_and_zoom(angle, factor))
        if any(draw[name] for name in ("brightness", "contrast", "saturation", "hue")):
            image = self.recolor(image)
        return image, mask

    def recolor(self, image):
        draw = self.settings
        turn = self.uniform(image, -draw["hue"], draw["hue"]) * (math.pi / 180)
        saturation, contrast = (
            self.uniform(image, 1 - draw[name], 1 + draw[name]) for name in ("saturation", "contrast")
        )
        shift = self.uniform(image, -draw["brightness"], draw["brightness"]) * 255
        matrix = ops.matmul(saturation_matrix(saturation), hue_matrix(turn)) * contrast[:, None, None]  # (B, 3, 3)
        offset = shift + 127.5 * (1 - contrast)
        batch, height, width, _ = ops.shape(image)
        pixels = ops.matmul(ops.reshape(image, (batch, height * width, 3)), ops.transpose(matrix, (0, 2, 1)))
        return ops.reshape(ops.clip(pixels + offset[:, None, None], 0, 255), (batch, height, width, 3))

    def uniform(self, image, low: float, high: float):
        """Draws one number a picture: (batch,)."""
        return keras.random.uniform(ops.shape(image)[:1], low, high, seed=self.generator)

    def get_config(self):
        return {**super().get_config(), **self.settings, "seed": self.seed}


def rotation_and_zoom(angle, factor):
    """Matrices that take a place in the output to its place in the input, both measured from the centre.

    Args:
        angle: (batch,) radians, counter-clockwise on the screen.
        factor: (batch,), above 1 enlarges.

    Returns:
        float32 (batch, 2, 2), acting on (x, y) columns.
    """
    cos, sin = ops.cos(angle) / factor, ops.sin(angle) / factor
    return ops.stack([ops.stack([cos, -sin], axis=-1), ops.stack([sin, cos], axis=-1)], axis=-2)


def warp(image, mask, matrix):
    """Resamples picture and mask at the places that a matrix names.

    Args:
        image: float32 (batch, height, width, channels).
        mask: int32 (batch, height, width).
        matrix: float32 (batch, 2, 2), from output to input about the centre, see `rotation_and_zoom`.

    Returns:
        The picture, bilinear, its edge continued outside; the mask, nearest, void outside.
    """
    batch, height, width, channels = ops.shape(image)
    center = ops.convert_to_tensor([(width - 1) / 2, (height - 1) / 2], "float32")
    columns, rows = ops.meshgrid(ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32"))
    places = ops.reshape(ops.stack([columns, rows], axis=-1), (1, height * width, 2)) - center
    places = ops.matmul(places, ops.transpose(matrix, (0, 2, 1))) + center  # (B, H*W, 2)
    x, y = places[..., 0], places[..., 1]
    first = ops.cast(ops.arange(batch) * height * width, "int32")[:, None]  # each picture's first pixel, counted flat

    def pixel_at(flat, row, column):
        row = ops.cast(ops.clip(row, 0, height - 1), "int32")
        column = ops.cast(ops.clip(column, 0, width - 1), "int32")
        return ops.take(flat, first + row * width + column, axis=0)

    flat_image = ops.reshape(image, (batch * height * width, channels))
    left, top = ops.floor(x), ops.floor(y)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = pixel_at(flat_image, top, left) * (1 - right_share) + pixel_at(flat_image, top, left + 1) * right_share
    lower = pixel_at(flat_image, top + 1, left) * (1 - right_share)
    lower += pixel_at(flat_image, top + 1, left + 1) * right_share
    warped = upper * (1 - low_share) + lower * low_share

    column, row = ops.floor(x + 0.5), ops.floor(y + 0.5)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    labels = ops.where(inside, pixel_at(ops.reshape(mask, (batch * height * width,)), row, column), VOID)
    return ops.reshape(warped, (batch, height, width, channels)), ops.reshape(labels, (batch, height, width))


def saturation_matrix(factor):
    """(batch,) factors -> (batch, 3, 3): grey + factor (color - grey), grey by `LUMA`."""
    grey = ops.convert_to_tensor([LUMA] * 3, "float32")
    factor = factor[:, None, None]
    return factor * ops.eye(3) + (1 - factor) * grey


def hue_matrix(angle):
    """(batch,) radians -> (batch, 3, 3): the colour cube turned about its grey diagonal (Rodrigues' formula)."""
    a = GREY_AXIS
    cross = ops.convert_to_tensor([[0, -a, a], [a, 0, -a], [-a, a, 0]], "float32")
    cos, sin = ops.cos(angle)[:, None, None], ops.sin(angle)[:, None, None]
    return cos * ops.eye(3) + sin * cross + (1 - cos) / 3
