"""DeepLabV3+'s decoder: Chen et al. 2018, with separable convolutions.

There the encoder's strides end at 16, or at 8. Here they end at 32, as the encoder was trained and at a quarter of the
time, and the rates are half of those at stride 16, so that the same pixels are seen.
"""

from collections.abc import Sequence

from keras import layers

from tfseg.models.blocks import EnlargeLike, PoolToGrid, convolve, normalize_and_rectify
from tfseg.models.layers import AtrousDepthwiseConv2D

STRIDE = 4
RATES = (3, 6, 9)


def decode(features: Sequence, channels: Sequence[int]):
    """Looks at the deepest feature at several scales (ASPP), and refines that by the one at stride 4.

    Args:
        features: at strides 2, 4, 8, 16 and 32; that at 4 and the last are used.
        channels: of the decoder, and of the finer feature in it.
    """
    width, fine_width = channels
    _, fine, *_, x = features
    scales = [convolve(x, width, name="decoder_aspp0", size=1)]
    scales += [separate(x, width, f"decoder_aspp{index}", rate) for index, rate in enumerate(RATES, 1)]
    mean = convolve(PoolToGrid(1, name="decoder_pool")(x), width, name="decoder_mean", size=1)
    scales.append(EnlargeLike(name="decoder_spread")([mean, x]))
    x = layers.Concatenate(name="decoder_scales")(scales)
    x = convolve(x, width, name="decoder_aspp", size=1)
    x = EnlargeLike(name="decoder_enlarged")([x, fine])
    x = layers.Concatenate(name="decoder_both")([x, convolve(fine, fine_width, name="decoder_fine", size=1)])
    x = separate(x, width, name="decoder_a")
    return separate(x, width, name="decoder_b")


def separate(x, channels: int, name: str, rate: int = 1):
    """A 3x3 convolution of each channel, rate pixels apart, and one of single pixels, each with normalisation."""
    if rate > 1:
        x = AtrousDepthwiseConv2D(rate, name=f"{name}_depthwise")(x)
    else:
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = normalize_and_rectify(x, name=f"{name}_depthwise")
    return convolve(x, channels, name=name, size=1)
