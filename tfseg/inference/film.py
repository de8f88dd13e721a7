"""A video, or a folder of frames -> a video of overlays."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.inference.failures import describe_failure, describe_size
from tfseg.inference.files import ENDINGS
from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.predictor import Predictor, load_segmenter
from tfseg.inference.reading import read_input, read_size
from tfseg.inference.tta import InferenceSettings
from tfseg.io.escaping import printable
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.listing import list_images
from tfseg.io.progress import show_progress, track
from tfseg.io.video import Film, read_film, write_film
from tfseg.visualization.overlay import blend, check_alpha

ENDING = "_overlay.mp4"  # of what is written
FPS = 17.0  # frames per second of Cityscapes


@dataclass(frozen=True)
class PredictedVideo:
    """A video of overlays that was written.

    Attributes:
        path: of the file.
        film: what was read: its frames per second (`rate`), `notes` on it, and `failures`, a line for each frame that
            could not be read.
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
    inference: InferenceSettings | None = None,
    input_size: Size | str | None = None,
    runtime: str | None = None,
    progress: bool = True,
) -> PredictedVideo:
    """Writes NAME_overlay.mp4, with the colours of the classes laid over each frame, as `tfseg predict --video` does.

    Args:
        model: folder of an exported model, or of a run.
        video: a file, or a folder of frames, which are taken in the order of their names.
        out: folder for the result, which is made.
        fps: frames per second of a folder of frames.
        alpha: opacity of the overlay's colours, 0 to 1.
        inference: how the network sees a frame; None: once, as a whole.
        input_size: as of `load_model`.
        runtime: as of `load_model`.
        progress: whether a terminal shows how far it is.

    Raises:
        ValueError: the result would overwrite the video, frames differ in size, none can be read, one cannot be
            predicted, or as of `load_model`.
        FileNotFoundError: there is no such video or model.
        OSError: the result cannot be written.

    Example:
        >>> import tfseg
        >>> tfseg.predict_video("runs/city", "raw/leftImg8bit/val/mossbridge", "videos", fps=10).count
        1
    """
    check_alpha(alpha)
    model, video, out = Path(model), Path(video), Path(out)
    name = (video.resolve() if video.is_dir() else video).stem  # a folder may be called "."
    path = out / f"{name}{ENDING}"
    if path.resolve() == video.resolve():
        raise ValueError(f"{printable(path)} would be read and overwritten; choose another --out")
    film = open_film(video, out, fps)
    predictor, segment = load_segmenter(model, inference, input_size, runtime)
    if not predictor.pixels.is_rgb:
        raise ValueError(
            f"{printable(model)} takes {predictor.pixels.describe()}, and a film holds 8-bit RGB; predict single images"
        )
    with show_progress(progress):
        return predict_film(predictor, film, path, alpha, segment)


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
    return Film(frames, fps, len(listing.images), listing.left_out, failures)


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
        raise ValueError(f"{printable(folder)}: none of its {len(paths)} frames can be read; the first: {failures[0]}")


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


def predict_film(predictor: Predictor, film: Film, path: Path, alpha: float, segment: ImageSegmenter) -> PredictedVideo:
    """Writes a film with the colours of the classes laid over each frame.

    Raises:
        ValueError: as of the film's frames and of `write_film`; or a frame cannot be predicted.
        OSError: as of `write_film`.
    """
    seconds, seen, shown = [], None, None

    def overlay(frame: np.ndarray) -> np.ndarray:
        nonlocal seen, shown
        if frame is seen and shown is not None:  # a repetition
            return shown
        start = time.perf_counter()
        try:
            class_ids = segment(frame)
        except Exception as error:
            raise ValueError(f"frame {len(seconds)} of {describe_failure(error, path, frame.shape, segment)}") from None
        seconds.append(time.perf_counter() - start)
        seen, shown = frame, blend(frame, class_ids, predictor.colors, alpha)
        return shown

    path.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    frames = track(film.frames, unit="frame", total=film.count)
    count = write_film(path, map(overlay, frames), film.rate)
    return PredictedVideo(path, film, count, seconds, time.perf_counter() - start)
