"""U-Net's decoder: Ronneberger et al. 2015.

Five blocks, each twice the size of the one before.
"""

from collections.abc import Sequence

from tfseg.models.blocks import convolve, normalize_and_rectify
from tfseg.models.layers import UpsampledConv2D

STRIDE = 1


def decode(features: Sequence, channels: Sequence[int]):
    """Walks from the deepest feature up to full size, taking in each finer feature on the way.

    Args:
        features: at strides 2, 4, 8, 16 and 32.
        channels: of the blocks, the deepest first.
    """
    *skips, x = features
    for index, (skip, width) in enumerate(zip([*reversed(skips), None], channels, strict=True)):
        x = UpsampledConv2D(width, name=f"decoder{index}a_conv")([x] if skip is None else [x, skip])
        x = normalize_and_rectify(x, name=f"decoder{index}a")
        x = convolve(x, width, name=f"decoder{index}b")
    return x
