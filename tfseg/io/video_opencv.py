"""Video files <-> frames by OpenCV, where PyAV is not installed: without sound, at a constant frame rate."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from tfseg.io.atomic import write_whole
from tfseg.io.film import (
    FORMATS,
    LONGEST_STILL,
    MOST_PIXELS,
    TOO_LARGE,
    TRIES,
    Film,
    describe,
    even,
    plain_name,
    same_size,
)
from tfseg.io.image_headers import TooLarge
from tfseg.io.words import are, count_of

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # it would write a line for each damaged block of a film

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"  # which OpenCV reads at each opening

SAMPLE = 120  # frames, from whose times the frame rate is estimated


def read_film(path: str | Path) -> Film:
    """Opens a video file; its frames are turned upright as it says, and are read as they are asked for.

    Frames of a variable frame rate come at a constant one, the highest of the film's beginning, by their times: some
    again, some not at all, so that the film lasts as long. Likewise a frame stands for those after it that are damaged.
    Sound is not read.

    Args:
        path: of a regular file.

    Raises:
        ValueError: OpenCV cannot read it, or none of its frames, or they have too many pixels.
    """
    capture = _open(path)
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MOST_PIXELS:
        raise TooLarge(TOO_LARGE.format(path, describe((height, width))))
    declared, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    declared = declared if 0 < declared <= 1000 else None
    times = [time for time in (_grab_time(capture) for _ in range(SAMPLE)) if time is not None]
    rate = choose_rate(times, declared) if capture.isOpened() else None
    capture.release()
    if not rate:
        raise ValueError(f"{path} is no video that OpenCV can read; give another file, or a folder of its frames")
    seconds = count / declared if declared and count > 0 else None
    notes = []
    timed = _read_frames(_open(path), path, notes)
    frames = spread(timed, rate, seconds + 1 if seconds else LONGEST_STILL, path, notes)
    expected = round(seconds * rate) if seconds else None
    return Film.steady(_note_missing(frames, expected, path, notes), rate, expected, notes=notes, source=Path(path))


def _note_missing(
    frames: Iterable[np.ndarray], expected: int | None, path: str | Path, notes: list[str]
) -> Iterator[np.ndarray]:
    """Notes when there are fewer frames than the head of a file says, which is an estimate by its longest stream."""
    done = 0
    for done, frame in enumerate(frames, 1):  # noqa: B007
        yield frame
    if expected and done < 0.9 * expected:
        notes.append(
            f"{path} has {count_of(done, 'frame')} where its head says {expected}; it is cut short, or trimmed, "
            "or its sound lasts longer"
        )


def _open(path: str | Path) -> cv2.VideoCapture:
    """Opens a file by FFmpeg, as one of the containers that name no other files; whatever it is called."""
    before = os.environ.get(OPTIONS)
    os.environ[OPTIONS] = f"format_whitelist;{','.join(FORMATS)}"
    try:
        with plain_name(path) as name:
            return cv2.VideoCapture(os.path.abspath(name), cv2.CAP_FFMPEG)  # noqa: PTH100 - links stay
    finally:
        if before is None:
            del os.environ[OPTIONS]
        else:
            os.environ[OPTIONS] = before


def _grab_time(capture: cv2.VideoCapture) -> float | None:
    """Time of the next frame in seconds, which is passed over."""
    return capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if capture.grab() else None


def choose_rate(times: list[float], declared: float | None) -> float | None:
    """Estimates how many frames per second a film has where it has most.

    A file gives the mean, which would leave frames out wherever a film of a variable frame rate is faster.

    Args:
        times: of the first frames, in seconds.
        declared: the rate that the file gives; None if that is none.

    Returns:
        The declared rate if the times agree with it, or say nothing; None if neither gives one. It is rounded to what
        a file of MPEG-4 can hold.
    """
    steps = np.diff(times)
    steps = steps[steps >= 0.001]
    if len(steps) < 2:
        return declared and round_rate(declared)
    regular = steps[steps <= 1.4 * np.quantile(steps, 0.1)]  # 0.03 s and 0.04 s are one rate, in hundredths
    found = 1 / regular.mean()
    if declared and abs(found / declared - 1) < 0.005 + 0.0005 / regular.mean() / len(regular):  # times in whole ms
        found = declared
    elif abs(found - round(found)) < 0.0005 * found:
        found = float(round(found))
    return round_rate(found)


def round_rate(rate: float) -> float:
    """Rounds a rate so that it is a fraction of numbers below 2**16, as MPEG-4 has it."""
    return round(rate, 3 if rate < 65 else 2 if rate < 655 else 1)


def _read_frames(capture: cv2.VideoCapture, path: str | Path, notes: list[str]) -> Iterator[tuple[np.ndarray, float]]:
    """Gives each frame and its time in seconds, all of the size of the first."""
    done = failed = damaged = resized = 0
    size = None
    try:
        while failed < TRIES:
            frame = _read(capture)
            if frame is None:
                failed += 1
                continue
            damaged += failed
            failed, done = 0, done + 1
            size = size or frame.shape[1::-1]
            if frame.shape[1::-1] != size:
                frame, resized = cv2.resize(frame, size, interpolation=cv2.INTER_AREA), resized + 1
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    finally:
        capture.release()
    if not done:
        raise ValueError(f"{path} is damaged: none of its frames can be read")
    if damaged:
        notes.append(
            f"{path} is damaged: {count_of(damaged, 'time')} no frame could be read, and the next one was taken"
        )
    if resized and size:
        notes.append(f"{path} has {count_of(resized, 'frame')} of another size, brought to {describe(size[::-1])}")


def _read(capture: cv2.VideoCapture) -> np.ndarray | None:
    try:
        return capture.read()[1]
    except cv2.error:
        return None


def spread(
    timed: Iterable[tuple[np.ndarray, float]], rate: float, longest: float, path: str | Path, notes: list[str]
) -> Iterator[np.ndarray]:
    """Gives frames at a constant frame rate, each as often as it takes until the next one comes.

    Args:
        timed: frames and their times in seconds, from any start; a time that does not grow, as of files that have
            none, is that of the frame before and a step of the rate.
        rate: frames per second.
        longest: seconds between two frames that are believed; after more a frame comes a step after that before.
        path: stands in the notes.
        notes: gets a line if frames are given again or left out.
    """
    held = None
    start = last = slot = again = left_out = 0
    for frame, time in timed:
        if held is None:
            start = time
        else:
            if not 0 < time - last <= longest:
                start = time - (slot + 1) / rate
            following = max(round((time - start) * rate), slot)
            again += max(following - slot - 1, 0)
            left_out += following == slot
            yield from [held] * (following - slot)
            slot = following
        held, last = frame, time
    if held is not None:
        yield held
    if again or left_out:
        notes.append(
            f"{path} has a variable frame rate, or lost frames: at {rate:.4g} per second, {count_of(again, 'frame')} "
            f"{are(again)} shown again and {left_out} left out, so that it lasts as long"
        )


def write_film(path: Path, film: Film) -> int:
    """Writes a film of a constant frame rate, see `video.write_film`, as MPEG-4 Part 2 and without sound.

    Players show that and browsers do not; OpenCV's wheels hold no H.264.
    """
    writer, names, count = cv2.VideoWriter(), ExitStack(), 0
    with write_whole(path) as unfinished:
        try:
            for frame in same_size(film.frames):
                pixels = even(frame.pixels)
                if not count:
                    code = cv2.VideoWriter_fourcc(*"mp4v")  # pyright: ignore[reportAttributeAccessIssue]  the stub lacks it
                    name = names.enter_context(plain_name(unfinished))
                    if not writer.open(name, code, round_rate(film.rate), pixels.shape[1::-1]):
                        raise OSError(f"{path} cannot be written by OpenCV")
                writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
                count += 1
            writer.release()
            if not count:
                raise ValueError(f"{path}: there is no frame to write")
            _check_whole(unfinished, path, count)
        finally:
            writer.release()
            names.close()
    return count


def _check_whole(unfinished: Path, path: Path, count: int) -> None:
    """Raises OSError unless a file holds so many frames: OpenCV does not say when the disk takes no more."""
    written = _open(unfinished)
    kept = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
    written.release()
    kept = max(kept, 0)
    if kept != count:
        raise OSError(
            f"{path} could not be written: {kept} of {count_of(count, 'frame')} {are(kept)} in it; is the disk full?"
        )
