"""A video, or a folder of frames -> a video of overlays."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfseg.inference.failures import describe_failure, describe_size
from tfseg.inference.files import ENDINGS
from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.predictor import Predictor, load_segmenter
from tfseg.inference.reading import read_input, read_size
from tfseg.inference.smoothing import SmoothSegmenter, check_factor
from tfseg.inference.tta import InferenceSettings
from tfseg.io.escaping import printable
from tfseg.io.film import Film, Frame
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.listing import list_images
from tfseg.io.progress import show_progress, track
from tfseg.io.video import check_output, read_film, write_film
from tfseg.io.words import count_of
from tfseg.visualization.overlay import blend, check_alpha

ENDING = "_overlay"  # of what is written
FPS = 17.0  # frames per second of Cityscapes


@dataclass(frozen=True)
class PredictedVideo:
    """A video of overlays that was written.

    Attributes:
        path: of the file.
        film: what was read: its frames per second (`rate`), `notes` on it and on what is lost of it, and `failures`, a
            line for each frame of a folder that could not be read.
        count: how many frames were written.
        seconds: what each frame took that is not a repetition, without reading and writing.
        elapsed: seconds of the whole.
    """

    path: Path
    film: Film
    count: int
    seconds: list[float]
    elapsed: float


@note_arguments()
def predict_video(
    model: str | os.PathLike,
    video: str | os.PathLike,
    out: str | os.PathLike,
    *,
    fps: float = FPS,
    alpha: float = 0.5,
    smooth: float = 0.0,
    codec: str | None = None,
    container: str = "mp4",
    inference: InferenceSettings | None = None,
    input_size: Size | str | None = None,
    runtime: str | None = None,
    progress: bool = True,
) -> PredictedVideo:
    """Writes NAME_overlay, with the colours of the classes laid over each frame, as `tfseg predict --video` does.

    With PyAV, the extra `video`, each frame keeps its time and the sound is copied; without, OpenCV reads and writes,
    and a note in the result says what is lost.

    Args:
        model: folder of an exported model, or of a run.
        video: a file, or a folder of frames, which are taken in the order of their names.
        out: folder for the result, which is made.
        fps: frames per second of a folder of frames, at least 0.001 and at most 1000.
        alpha: opacity of the overlay's colours, 0 to 1.
        smooth: weight of the frames before in an exponential moving average of the class probabilities, at least 0 and
            below 1, see `SmoothSegmenter`; 0: each frame is seen by itself.
        codec: "h264" or "hevc"; None: H.264, or what OpenCV has where PyAV is not installed.
        container: "mp4", "mov" or "mkv", which is the ending of the result.
        inference: how the network sees a frame; None: once, as a whole.
        input_size: as of `load_model`.
        runtime: as of `load_model`.
        progress: whether a terminal shows how far it is.

    Raises:
        ValueError: the result would overwrite the video, frames differ in size, none can be read, one cannot be
            predicted, `fps` or `smooth` is out of its range, the codec or container is none or needs PyAV, or as of
            `load_model`.
        FileNotFoundError: there is no such video or model.
        OSError: the result cannot be written.

    Example:
        >>> import tfseg
        >>> tfseg.predict_video("runs/city", "raw/leftImg8bit/val/mossbridge", "videos", fps=10).count
        1
    """
    check_alpha(alpha)
    if not 0.001 <= fps <= 1000:
        raise ValueError(f"--fps must be at least 0.001 and at most 1000 frames per second, got {fps}")
    check_factor(smooth)
    check_output(codec, container)
    model, video, out = Path(model), Path(video), Path(out)
    name = (video.resolve() if video.is_dir() else video).stem  # a folder may be called "."
    path = out / f"{name}{ENDING}.{container}"
    if path.resolve() == video.resolve():
        raise ValueError(f"{printable(path)} would be read and overwritten; choose another --out")
    film = open_film(video, out, fps)
    predictor, segment = load_segmenter(model, inference, input_size, runtime)
    if not predictor.pixels.is_rgb:
        raise ValueError(
            f"{printable(model)} takes {predictor.pixels.describe()}, and a film holds 8-bit RGB; predict single images"
        )
    if smooth:
        segment = SmoothSegmenter(segment, smooth)
    with show_progress(progress):
        return predict_film(predictor, film, path, alpha, segment, codec)


def open_film(path: Path, out: Path, fps: float) -> Film:
    """Opens a video file, or a folder of frames: its images in the order of their names, at these frames per second.

    Numbers in names are sorted as numbers. A frame that cannot be read is replaced by the one before it.

    Raises:
        FileNotFoundError, ValueError: there is no such file or folder, or it holds no video, no image.
    """
    if not path.is_dir():
        return read_film(path)
    listing = list_images([path], out, ENDINGS)
    failures = []
    frames = read_frames(list(listing.images), path, failures)
    return Film.steady(frames, fps, len(listing.images), notes=listing.left_out, failures=failures)


def read_frames(paths: Sequence[Path], folder: Path, failures: list[str]) -> Iterator[np.ndarray]:
    """Reads frames in their order; one that cannot be read is replaced by the one before it, or else the one after.

    Their sizes are compared by their headers before the first is read.

    Args:
        paths: the files.
        folder: stands in the error.
        failures: gets a line for each that cannot be read.

    Raises:
        ValueError: none can be read, or they are of different sizes.
    """
    check_sizes(paths)
    frame, missing = None, 0
    for path in paths:
        try:
            frame = read_input(path)
        except (ValueError, OSError) as error:
            failures.append(str(error))
            missing += frame is None
        if frame is not None:
            yield from [frame] * (missing + 1)
            missing = 0
    if frame is None:
        raise ValueError(
            f"{printable(folder)}: none of its {count_of(len(paths), 'frame')} can be read; the first: {failures[0]}"
        )


def check_sizes(paths: Sequence[Path]) -> None:
    """Raises ValueError if frames are of different sizes, by their headers; those without one are left out."""
    first = None
    for place, path in enumerate(paths):
        size = read_size(path)
        first = first or size
        if first and size and size != first:
            found = f"{describe_size(size)} after {describe_size(first)}"
            raise ValueError(
                f"frame {place} has another size, {found}: {printable(path)}; take it out, or leave --video out"
            )


def predict_film(
    predictor: Predictor,
    film: Film,
    path: Path,
    alpha: float,
    segment: ImageSegmenter | SmoothSegmenter,
    codec: str | None = None,
) -> PredictedVideo:
    """Writes a film with the colours of the classes laid over each frame; `codec` as of `write_film`.

    Raises:
        ValueError: as of the film's frames and of `write_film`; or a frame cannot be predicted.
        OSError: as of `write_film`.
    """
    seconds, seen, shown = [], None, None

    def overlay(frame: Frame) -> Frame:
        nonlocal seen, shown
        pixels = frame.pixels
        if pixels is seen and shown is not None:  # a repetition
            return Frame(shown, frame.time)
        start = time.perf_counter()
        try:
            class_ids = segment(pixels)
        except Exception as error:
            raise ValueError(
                f"frame {len(seconds)} of {describe_failure(error, path, pixels.shape, segment)}"
            ) from None
        seconds.append(time.perf_counter() - start)
        seen, shown = pixels, blend(pixels, class_ids, predictor.colors, alpha)
        return Frame(shown, frame.time)

    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    frames = track(film.frames, unit="frame", total=film.count)
    count = write_film(path, replace(film, frames=map(overlay, frames)), codec)
    return PredictedVideo(path, film, count, seconds, time.perf_counter() - start)
