"""The feature pyramid network: Lin et al. 2017, with the segmentation branch of Kirillov et al. 2019.

That of "Panoptic Feature Pyramid Networks", but for batch normalisation, as everywhere here, instead of group
normalisation.
"""

from collections.abc import Sequence

from keras import layers

from tfseg.models.blocks import EnlargeLike, convolve

STRIDE = 4


def decode(features: Sequence, channels: Sequence[int]):
    """Makes all levels alike, from the deepest one to that at stride 4, and brings a branch of each to its size.

    Args:
        features: at strides 2, 4, 8, 16 and 32; the first has no part in it.
        channels: of the pyramid's levels, and of the branches.
    """
    pyramid_width, width = channels
    pyramid = []  # the finest first
    for index, feature in reversed([*enumerate(features[1:])]):
        x = layers.Conv2D(pyramid_width, 1, name=f"decoder{index}_lateral")(feature)
        if pyramid:
            deeper = layers.UpSampling2D(2, name=f"decoder{index}_upsampled")(pyramid[0])
            x = layers.Add(name=f"decoder{index}_sum")([x, deeper])
        pyramid.insert(0, x)
    branches = []
    for index, x in enumerate(pyramid):
        x = layers.Conv2D(pyramid_width, 3, padding="same", name=f"decoder{index}_level")(x)
        x = convolve(x, width, name=f"decoder{index}")
        for finer in reversed(range(index)):  # each doubling but the last is followed by a convolution
            x = EnlargeLike(name=f"decoder{index}_enlarged{finer}")([x, pyramid[finer]])
            if finer:
                x = convolve(x, width, name=f"decoder{index}_{finer}")
        branches.append(x)
    return layers.Add(name="decoder_sum")(branches)
