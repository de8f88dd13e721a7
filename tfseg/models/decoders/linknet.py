"""LinkNet's decoder: Chaurasia and Culurciello 2017.

Each block doubles a quarter of the channels by a transposed convolution, and adds the encoder's feature of its size.
"""

from collections.abc import Sequence

from keras import layers

from tfseg.models.blocks import convolve, normalize_and_rectify

STRIDE = 1


def decode(features: Sequence, channels: Sequence[int]):
    """Walks from the deepest feature up to full size, adding each finer feature on the way.

    Args:
        features: at strides 2, 4, 8, 16 and 32.
        channels: that of the last block; the others have the widths of the features, or half the width before.
    """
    (last_width,) = channels
    *skips, x = features
    for index, skip in enumerate(reversed(skips)):
        x = double(x, x.shape[-1] // 2 if skip is None else skip.shape[-1], name=f"decoder{index}")
        if skip is not None:
            x = layers.Add(name=f"decoder{index}_sum")([x, skip])
    return double(x, last_width, name=f"decoder{len(skips)}")


def double(x, channels: int, name: str):
    """Doubles height and width, in the bottleneck of a quarter of the channels."""
    width = max(x.shape[-1] // 4, 1)
    x = convolve(x, width, name=f"{name}a", size=1)
    x = layers.Conv2DTranspose(
        width, 3, 2, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}b_conv"
    )(x)
    x = normalize_and_rectify(x, name=f"{name}b")
    return convolve(x, channels, name=f"{name}c", size=1)
