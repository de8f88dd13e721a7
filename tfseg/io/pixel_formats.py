"""What the pixels of images are: how many channels, and how values of 16 bits become the bytes that a network sees.

The images of a data set are of one format, which the manifest of their records names, and labels.json of a model that
was trained on them. Whatever reads an image file, for conversion or for prediction, makes bytes of it by this format.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_CHANNELS = 256
MOST_VALUE = 65535  # of 16 bits
COLORS = {1: "grey", 3: "RGB"}  # what so many channels are called


@dataclass(frozen=True)
class PixelFormat:
    """What an image is made of.

    Raises:
        ValueError: there is no such format.
    """

    channels: int = 3
    value_range: tuple[tuple[int, int], ...] | None = None
    """Of each channel, the two values of 16 bits that become 0 and 255; None: images are of 8 bits, taken as they are.
    """

    def __post_init__(self):
        if fault := format_fault(self.channels, self.value_range):
            raise ValueError(fault)

    @property
    def is_rgb(self) -> bool:
        """Whether it is 8-bit RGB, as of all images before there were others."""
        return self == RGB

    @property
    def bits(self) -> int:
        """Bits a channel of the image files."""
        return 8 if self.value_range is None else 16

    def __str__(self) -> str:
        return f"{self.bits}-bit {name_channels(self.channels)}"

    def describe(self) -> str:
        """Words it with the range of its values: "16-bit grey images, values 100 to 4000"."""
        pairs = ", ".join(f"{low} to {high}" for low, high in dict.fromkeys(self.value_range or ()))
        return f"{self} images{', values ' if pairs else ''}{pairs}"

    def to_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """Makes bytes of (H, W, channels): uint8 stays; of uint16, each channel is brought to 0..255 by its range."""
        if self.value_range is None:
            return pixels
        tables = self.tables()
        planes = [tables[channel][pixels[..., channel]] for channel in range(self.channels)]
        return np.stack(planes, axis=-1)

    def tables(self) -> np.ndarray:
        """Of each channel the byte that each value of 16 bits becomes: uint8 (channels, 65536)."""
        if self.value_range is None:
            raise ValueError(f"{self} has bytes as they are, and no table of them")
        return np.stack([_table(low, high) for low, high in self.value_range])

    def to_json(self) -> dict:
        """Gives what manifest.json and labels.json say of it: nothing of 8-bit RGB, as files of before."""
        entry: dict = {} if self.channels == RGB.channels else {"channels": self.channels}
        return entry if self.value_range is None else {**entry, "value_range": [[*pair] for pair in self.value_range]}


def format_fault(channels: object, value_range: object) -> str | None:
    """Says why a number of channels, and the range of values of each, are no format; None if they are one."""
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS:
        return f"expected channels from 1 to {MOST_CHANNELS}, got {str(channels)[:40]}"
    if value_range is None:
        return None
    pairs = value_range if isinstance(value_range, list | tuple) else ()
    sound = [
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(value) is int for value in pair)
        and 0 <= pair[0] < pair[1] <= MOST_VALUE
        for pair in pairs
    ]
    if len(sound) != channels or not all(sound):
        expected = f"a low and a higher value in 0..{MOST_VALUE} for each of {channels} channels"
        return f"expected a value range of {expected}, got {str(value_range)[:100]}"
    return None


def make_format(channels: int, value_range: Sequence[Sequence[int]] | None) -> PixelFormat:
    """Makes the format of what JSON holds; ValueError as of `PixelFormat`."""
    if fault := format_fault(channels, value_range):
        raise ValueError(fault)
    return PixelFormat(channels, None if value_range is None else tuple((low, high) for low, high in value_range))


def name_channels(channels: int) -> str:
    """Words so many channels: "grey", "RGB", "4-channel"."""
    return COLORS.get(channels, f"{channels}-channel")


@functools.lru_cache(maxsize=64)
def _table(low: int, high: int) -> np.ndarray:
    """The byte that each value of 16 bits becomes, halves rounded up: by whole numbers, so that it is exact."""
    above = np.arange(MOST_VALUE + 1, dtype=np.int64).clip(low, high) - low
    table = ((2 * 255 * above + (high - low)) // (2 * (high - low))).astype(np.uint8)
    table.setflags(write=False)
    return table


RGB = PixelFormat()


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Makes of (..., C) uint8 what can be shown, (..., 3): of 1 or 2 channels the first as grey, else the first three.

    An image of three channels is given back itself.
    """
    channels = image.shape[-1]
    if channels == 3:
        return image
    return np.repeat(image[..., :1], 3, axis=-1) if channels < 3 else np.ascontiguousarray(image[..., :3])


def describe_shown(channels: int) -> str:
    """Words what `as_rgb` shows of so many channels; empty of RGB."""
    if channels == 3:
        return ""
    return (
        "as grey" if channels == 1 else f"{'the first' if channels == 2 else 'the first three'} of {channels} channels"
    )
