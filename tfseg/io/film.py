"""A video as frames with their times: what every reader gives and every writer takes."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

TRIES = 64  # to read on after a place that cannot be read
LONGEST_STILL = 60.0  # seconds from one frame to the next, where the length of a film is not known
MOST_PIXELS = 2**27  # of a frame: 16K, 15360x8640, has a little less
TOO_LARGE = "{} has frames of {} pixels; no more than 2**27 are decoded"
# FFmpeg's names of the containers that are read: none that names other files.
FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "live_flv", "ogg", "asf"),
    *("h264", "hevc", "av1", "obu", "ivf", "m4v", "mjpeg", "mxf", "nut", "dv", "yuv4mpegpipe", "gif", "wav"),
    "mp3",
)
CODECS = ("h264", "hevc")
CONTAINERS = ("mp4", "mov", "mkv")


class Frame(NamedTuple):
    """One frame of a film.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        time: when it is shown, in units of the film's `time_base`; grows from frame to frame.
    """

    pixels: np.ndarray
    time: int


@dataclass(frozen=True)
class Film:
    """Frames in their order.

    Attributes:
        frames: all of one size; one that is shown again has the same array again.
        time_base: seconds that a unit of the frames' times lasts.
        rate: frames per second; of a variable frame rate the mean.
        count: how many there are, as far as is known before they are read; for a progress bar.
        notes: what is to be reported of the film; grows while frames are read and written.
        failures: likewise, one line for each frame that could not be read, and that the one before stands for.
        source: the video file whose sound and date go into a copy; None: there is none.
        start: seconds in `source` that are time 0 here.
        pixel_aspect: width of a pixel, over its height, as players show it.
    """

    frames: Iterable[Frame]
    time_base: Fraction
    rate: float
    count: int | None = None
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    source: Path | None = None
    start: Fraction = Fraction(0)
    pixel_aspect: Fraction = Fraction(1)

    @classmethod
    def steady(cls, pixels: Iterable[np.ndarray], rate: float, count: int | None = None, **others) -> "Film":
        """Makes a film of arrays, (H, W, 3) uint8 RGB, at a constant frame rate; `others`: further attributes."""
        frames = (Frame(array, time) for time, array in enumerate(pixels))
        return cls(frames, 1 / Fraction(rate).limit_denominator(1001), rate, count, **others)


def describe(shape: tuple[int, ...]) -> str:
    """Writes (480, 640, ...) as 480x640."""
    return f"{shape[0]}x{shape[1]}"


def even(pixels: np.ndarray) -> np.ndarray:
    """Doubles the last row and column where there is an odd number: colours are stored for two by two pixels."""
    height, width = pixels.shape[:2]
    if height % 2 == width % 2 == 0:
        return pixels
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def same_size(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Passes frames on; ValueError at the first whose size is another."""
    size = None
    for count, frame in enumerate(frames):
        size = size or frame.pixels.shape
        if frame.pixels.shape != size:
            found = f"{describe(frame.pixels.shape)} after {describe(size)}"
            raise ValueError(f"frame {count} has another size, {found}")
        yield frame


@contextmanager
def plain_name(path: str | Path) -> Iterator[str]:
    """Gives a name of a file that OpenCV takes: it crashes on one that is no Unicode, for which a link stands."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as directory:
            link = Path(directory) / f"film{Path(path).suffix.encode(errors='ignore').decode()}"
            link.symlink_to(Path(path).absolute())
            yield str(link)
    else:
        yield name
