"""What a config names and other rooms carry out: effects of augmentation, losses, decoders; each written once, here."""

from typing import NamedTuple


class Effect(NamedTuple):
    """An effect of augmentation that can be given a probability."""

    off: float | tuple[float, float]  # the strength that changes nothing
    draws: int  # numbers from 0 to 1 that it draws per image
    highest: float | None = None  # strength; None: a range of factors, without an end
    unit: str = ""


FACTORS = (1.0, 1.0)
EFFECTS = {
    "rotation": Effect(0.0, 1, 180, " degrees"),
    "zoom": Effect(FACTORS, 1),
    "shear": Effect(0.0, 1, 60, " degrees"),
    "shift": Effect(0.0, 2, 1),
    "perspective": Effect(0.0, 8, 0.4),
    "brightness": Effect(0.0, 1, 1),
    "contrast": Effect(0.0, 1, 1),
    "saturation": Effect(0.0, 1, 1),
    "hue": Effect(0.0, 1, 180, " degrees"),
    "gamma": Effect(FACTORS, 1),
    "tone_curve": Effect(0.0, 2, 0.33),
    "blur": Effect(0.0, 1, 3, " pixels"),
    "motion_blur": Effect(0.0, 2, 15, " pixels"),
    "sharpen": Effect(0.0, 1, 1),
    "noise": Effect(0.0, 1, 1),
    "cutout": Effect(0.0, 4, 1),
}
FILTERS = ("blur", "motion_blur", "sharpen")  # of which an image gets one at most
LOSSES = ("dice", "cross_entropy", "jaccard", "tversky", "focal", "lovasz")
OHEM_MIN_KEPT = 1 / 16  # share of pixels; of two crops of 769x769, mmsegmentation's 100,000 are 8 %
AUXILIARY_STRIDE, AUXILIARY_CHANNELS = 16, 64  # of the auxiliary head: where it looks, and its width, as of STDC's
# Decoder -> its own widths, which model.decoder_channels replaces; those of KerasHub are the preset's.
DECODER_CHANNELS: dict[str, tuple[int, ...] | None] = {
    "unet": (256, 128, 64, 32, 16),
    "fpn": (256, 128),
    "linknet": (32,),
    "pspnet": (512,),
    "deeplabv3plus": (256, 48),
    "keras_hub": None,
}


def count_channels(decoder: str) -> int:
    """How many numbers model.decoder_channels has for a decoder."""
    return len(DECODER_CHANNELS[decoder] or (None,))
