"""Sliding window and test-time augmentation: the network sees an image in pieces, mirrored, at several scales.

All that is known of the network is one function, uint8 images (B, H, W, channels) -> float32 probabilities (B, H, W,
classes).
"""

import argparse
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tfseg.inference.runtimes.choice import RUNTIMES
from tfseg.io import command
from tfseg.io.escaping import shorten
from tfseg.io.resizing import MOST_CHANNELS

SIGMA = 1 / 8  # of a window's side: the deviation of the Gaussian that blends the windows, as in nnU-Net

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class InferenceSettings:
    """How a network sees an image: by default once, as a whole.

    Raises:
        ValueError: a value is out of its range.

    Example:
        >>> from tfseg import InferenceSettings
        >>> InferenceSettings(sliding_window=(512, 512), flip=True).is_plain
        False
    """

    sliding_window: tuple[int, int] | None = None
    """(height, width) of what the network sees at a time; of a smaller image it sees all. None: the whole image."""
    overlap: float = 0.5
    """Share of a window that the next one shows again, at least."""
    flip: bool = False
    """Whether to average over the image and its mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Factors of height and width; probabilities are averaged over images of all these sizes."""

    def __post_init__(self):
        if self.sliding_window is not None and min(self.sliding_window) < 1:
            raise ValueError(f"sliding_window must be a height and a width of at least 1, got {self.sliding_window}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {self.overlap}")
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be numbers above 0, got {' '.join(map(str, self.scales)) or 'none'}")

    @classmethod
    def from_json(cls, fields: Mapping) -> "InferenceSettings":
        """Reads what `to_json` gives; ValueError if it is something else."""
        if not isinstance(fields, Mapping):
            raise ValueError(f"inference: expected settings by their names, got {shorten(repr(fields), 60)}")
        window, scales = fields.get("window"), fields.get("scales", cls.scales)
        sides = isinstance(window, list | tuple) and len(window) == 2 and all(type(side) is int for side in window)
        numbers = [fields.get("overlap", 0), *(scales if isinstance(scales, list | tuple) else [None])]
        if not (window is None or sides) or not all(type(number) in (int, float) for number in numbers):
            raise ValueError(f"inference: expected a window, an overlap and scales, got {shorten(repr(fields), 100)}")
        return cls(
            sliding_window=(window[0], window[1]) if window else None,
            overlap=fields.get("overlap", cls.overlap),
            flip=fields.get("flip", cls.flip) is True,
            scales=tuple(scales),
        )

    def to_json(self) -> dict:
        """Gives the settings as scores-SPLIT.json holds them, under the names that they had first."""
        window = self.sliding_window
        return {"window": window, "overlap": self.overlap, "flip": self.flip, "scales": self.scales}

    @property
    def is_plain(self) -> bool:
        """Whether the network sees each image once, as it is."""
        return self.sliding_window is None and not self.flip and self.scales == (1.0,)

    def probabilities(self, predict: Predict, images: np.ndarray, classes: int) -> np.ndarray:
        """Predicts the probability of each class at every pixel.

        The probabilities of windows, mirror images and scales are averaged. Besides what `predict` takes for a window
        of each image, that takes the memory of the result, and of one scale's before and after it is resized.

        Args:
            predict: the network.
            images: (B, H, W, channels) uint8, any B, H, W above 0.
            classes: how many `predict` distinguishes.

        Returns:
            (B, H, W, classes) float32, in 0..1.
        """
        if self.is_plain:
            return predict(images)
        count, *size = images.shape[:3]
        total = np.zeros((count, *size, classes), np.float32)
        for scale in self.scales:
            scaled_size = [max(round(scale * side), 1) for side in size]
            scaled = resize(images, scaled_size, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            likely = np.zeros((count, *scaled_size, classes), np.float32)
            self._add(predict, scaled, likely)
            if self.flip:
                self._add(predict, scaled[:, :, ::-1], likely[:, :, ::-1])
            total += resize(likely, size, cv2.INTER_LINEAR)
        return np.divide(total, len(self.scales) * (1 + self.flip), out=total)

    def _add(self, predict: Predict, images: np.ndarray, total: np.ndarray) -> None:
        """Adds the probabilities of images to `total`, window by window, the same one of all images at a time."""
        height, width = self.sliding_window or images.shape[1:3]
        rows = lay_windows(images.shape[1], height, self.overlap)
        columns = lay_windows(images.shape[2], width, self.overlap)
        for (down, row_weights), (across, column_weights) in itertools.product(rows, columns):
            weights = np.outer(row_weights, column_weights)[..., np.newaxis]
            total[:, down, across] += weights * predict(images[:, down, across])


def lay_windows(side: int, window: int, overlap: float) -> list[tuple[slice, np.ndarray]]:
    """Lays windows along one side of an image, evenly from end to end, as few as overlap by a share of their length.

    A window counts for a pixel by a Gaussian about its own middle, where the network sees all around it, divided by the
    sum over all windows there (Isensee et al. 2021, nnU-Net). Rows and columns can be weighted separately: the products
    of their weights add up to 1, too.

    Args:
        side: of the image, in pixels.
        window: the length of one, in pixels; the image's side if that is shorter.
        overlap: at least 0, below 1.

    Returns:
        Of each window its pixels, and their weights, float32: above 0, and of each pixel 1 over all windows.
    """
    window = min(window, side)
    step = max(round(window * (1 - overlap)), 1)
    count = math.ceil((side - window) / step) + 1
    places = [slice(start, start + window) for start in np.linspace(0, side - window, count).round().astype(int)]
    distance = (np.arange(window) - (window - 1) / 2) / (SIGMA * window)
    gaussian = np.exp(-(distance**2) / 2)
    total = np.zeros(side)
    for place in places:
        total[place] += gaussian
    return [(place, (gaussian / total[place]).astype(np.float32)) for place in places]


def resize(images: np.ndarray, size: Sequence[int], interpolation: int) -> np.ndarray:
    """Resizes (B, h, w, channels) to (B, *size, channels) by one of OpenCV's interpolations."""
    if images.shape[1:3] == tuple(size):
        return images
    channels = images.shape[3]
    resized = np.empty((len(images), *size, channels), images.dtype)
    for image, out in zip(images, resized, strict=True):
        for first in range(0, channels, MOST_CHANNELS):
            some = slice(first, first + MOST_CHANNELS)
            part = cv2.resize(image[..., some], size[::-1], interpolation=interpolation)
            out[..., some] = part.reshape(*size, -1)  # OpenCV drops an axis of one channel
    return resized


def add_options(parser: argparse.ArgumentParser, *also: str) -> None:
    """Adds what `read_options` reads to a command, --runtime and --input-size; `also`: other names of the latter."""
    group = parser.add_argument_group(
        "inference",
        "An image is resized as in the model's validation, and the answer back to its size. The probabilities of "
        "sliding windows, the mirror image and all scales are averaged.",
    )
    group.add_argument(
        "--input-size",
        *also,
        metavar="SIZE",
        help="HEIGHTxWIDTH to resize to instead, or native: images keep their size, those of records their stored one",
    )
    add_runtime(group)
    group.add_argument(
        "--sliding-window",
        metavar="HxW",
        help="HEIGHTxWIDTH that the network sees at a time (default: the whole image)",
    )
    group.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="share of a sliding window that the next one shows again (default: 0.5)",
    )
    group.add_argument(
        "--tta", choices=("flip",), help="test-time augmentation: flip shows the network the mirror image, too"
    )
    group.add_argument(
        "--tta-scales",
        nargs="+",
        type=parse_scale,
        default=[1.0],
        metavar="FACTOR",
        help="sizes at which the network sees the image, as factors (default: 1.0)",
    )


def add_runtime(parser) -> None:
    """Adds --runtime to a command, or to a group of its arguments."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        metavar="NAME",
        help=f"what computes the network: {', '.join(RUNTIMES)} (default: the first of them whose file the folder "
        "holds and whose package is installed)",
    )


def parse_scale(text: str) -> float:
    """Reads a factor; what else stands after --tta-scales is an image, most likely."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers, got {text!r}; images go before --tta-scales") from None


def read_options(options: argparse.Namespace) -> InferenceSettings:
    """Makes settings of a command line.

    Raises:
        ValueError: an option is out of its range, or --overlap lacks its --sliding-window.
    """
    window = None
    if options.sliding_window:
        try:
            window = command.parse_size(options.sliding_window)
        except ValueError as error:
            raise ValueError(f"--sliding-window: {error}") from None
    elif options.overlap is not None:
        raise ValueError("--overlap is that of sliding windows; give their --sliding-window HxW, too")
    overlap = InferenceSettings.overlap if options.overlap is None else options.overlap
    return InferenceSettings(window, overlap, options.tta == "flip", tuple(options.tta_scales))
