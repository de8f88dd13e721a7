"""Video files <-> frames, one at a time, so that a film of any length takes the memory of a few pictures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Film:
    """Frames in their order.

    Attributes:
        frames: (H, W, 3) uint8 RGB each.
        rate: frames a second.
        count: how many there are, as far as is known before they are read; for a progress bar.
    """

    frames: Iterable[np.ndarray]
    rate: float
    count: int | None


def read_film(path: str | Path) -> Film:
    """Opens a video file; its frames are turned upright as it says, and are read as they are asked for.

    Frames of a variable rate come at the mean rate that the file tells. Sound is not read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: OpenCV cannot read it; or, while frames are read, it ends after less than nine tenths of them.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such video file")
    capture = cv2.VideoCapture(str(path))
    rate, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not capture.isOpened() or not 0 < rate <= 1000:
        raise ValueError(f"{path} is no video that OpenCV can read; give another file, or a folder of its frames")
    return Film(_read_frames(capture, count, path), rate, count if count > 0 else None)


def _read_frames(capture: cv2.VideoCapture, count: int, path: str | Path) -> Iterator[np.ndarray]:
    done = 0
    try:
        while (read := capture.read())[0]:
            done += 1
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    if done < 0.9 * count or not done:  # the number in the head of a file is an estimate
        raise ValueError(f"{path} is cut short or damaged: {done} of its {count} frames can be read")


def write_film(path: Path, frames: Iterable[np.ndarray], rate: float) -> int:
    """Writes frames as a video file, which appears, or replaces an older one, only when it is whole.

    Its compression is MPEG-4 Part 2, which players show and browsers do not; OpenCV's wheels hold no H.264.

    Args:
        path: ends with .mp4; its folder is there.
        frames: (H, W, 3) uint8 RGB, all of one size. Of an odd side the last row or column is doubled, since colours
            are stored for two by two pixels.
        rate: frames a second.

    Returns:
        How many there were.

    Raises:
        ValueError: frames are of different sizes, or there is none.
        OSError: the file cannot be written, or the disk is full.
    """
    unfinished = path.with_name(f"incomplete-{path.name}")
    writer, size, count = cv2.VideoWriter(), None, 0
    try:
        for frame in frames:
            if size is None:
                size = frame.shape
                code = cv2.VideoWriter_fourcc(*"mp4v")
                if not writer.open(str(unfinished), code, rate, (size[1] + size[1] % 2, size[0] + size[0] % 2)):
                    raise OSError(f"{path} cannot be written by OpenCV")
            if frame.shape != size:
                raise ValueError(f"frame {count} has another size, {describe(frame.shape)} after {describe(size)}")
            even = np.pad(frame, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
            count += 1
        writer.release()
        if not count:
            raise ValueError(f"{path}: there is no frame to write")
        _check_whole(unfinished, path, count)
        unfinished.replace(path)
    finally:
        writer.release()
        unfinished.unlink(missing_ok=True)
    return count


def _check_whole(unfinished: Path, path: Path, count: int) -> None:
    """Raises OSError unless a file holds so many frames: OpenCV does not tell when the disk takes no more."""
    written = cv2.VideoCapture(str(unfinished))
    kept = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
    written.release()
    if kept != count:
        raise OSError(f"{path} could not be written: {max(kept, 0)} of {count} frames are in it; is the disk full?")


def describe(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"
