"""By which mean and deviation, RGB, of pixels in 0..1, networks were trained on images."""

from collections.abc import Sequence

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Normalization = tuple[Sequence[float], Sequence[float]]  # mean and deviation of each channel

IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
INCEPTION = ((0.5,) * 3, (0.5,) * 3)  # -1 to 1
EFFICIENTNET_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


def spread_channels(normalization: Normalization, channels: int) -> Normalization:
    """Gives mean and deviation for images of other channels than RGB: in each, those of red, green and blue averaged.

    What a further channel measures nobody knows; and in one that is grey, the three colours are mixed.
    """
    if channels == len(normalization[0]):
        return normalization
    return tuple((sum(part) / len(part),) * channels for part in normalization)  # pyright: ignore[reportReturnType]
