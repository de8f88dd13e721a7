"""PSPNet's pyramid pooling: Zhao et al. 2017.

There it sees the last feature of an encoder whose strides end at 8. Here the features at strides 8, 16 and 32 meet at
stride 8 (after Wu et al. 2019, "FastFCN"), which leaves the encoder and its time as they are.
"""

from collections.abc import Sequence

from keras import layers

from tfseg.models.blocks import EnlargeLike, PoolToGrid, convolve

STRIDE = 8
GRIDS = (1, 2, 3, 6)


def decode(features: Sequence, channels: Sequence[int]):
    """Sets beside each place of the deeper features their means over the image, and over its parts.

    Args:
        features: at strides 2, 4, 8, 16 and 32; the first two have no part in it.
        channels: that of what is pooled, and of the result.
    """
    (width,) = channels
    finest, *deeper = [convolve(x, width // 4, name=f"decoder_level{i}", size=1) for i, x in enumerate(features[2:])]
    deeper = [EnlargeLike(name=f"decoder_enlarged{i}")([x, finest]) for i, x in enumerate(deeper)]
    x = layers.Concatenate(name="decoder_levels")([finest, *deeper])
    x = convolve(x, width, name="decoder_a")
    parts = [x]
    for cells in GRIDS:
        means = PoolToGrid(cells, name=f"decoder_pool{cells}")(x)
        means = convolve(means, width // len(GRIDS), name=f"decoder_means{cells}", size=1)
        parts.append(EnlargeLike(name=f"decoder_spread{cells}")([means, x]))
    return convolve(layers.Concatenate(name="decoder_parts")(parts), width, name="decoder_b")
