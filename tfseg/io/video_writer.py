"""Frames -> video files by PyAV, the libraries of FFmpeg: each frame at its time, with the sound of the source."""

import errno
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av  # pyright: ignore[reportMissingImports]  an extra
from av.error import FFmpegError  # pyright: ignore[reportMissingImports]
from av.video.reformatter import ColorRange, Colorspace  # pyright: ignore[reportMissingImports]

from tfseg.io.atomic import write_whole
from tfseg.io.film import Film, Frame, describe, even, same_size
from tfseg.io.video_reader import EXACT, open_container
from tfseg.io.video_sound import Sound
from tfseg.io.words import are, count_of

ENCODERS = {"h264": "libx264", "hevc": "libx265"}
# Constant quality, where a difference is hard to see. With B-frames, x265 gives the packets of a film of one or two
# frames a time that it never set.
OPTIONS = {"h264": {"crf": "20"}, "hevc": {"crf": "24", "x265-params": "log-level=none:bframes=0"}}
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
FINEST = 10**6  # parts of a second that times are kept in; MP4 has 32 bits for how long a frame is shown
COARSE = Fraction(1, 90_000)  # else, as in MPEG's streams
BT709 = 1  # FFmpeg's number of its matrix, primaries and curve


def write_film(path: Path, film: Film, codec: str = "h264") -> int:
    """Writes a film, see `video.write_film`."""
    with write_whole(path) as unfinished:
        output = _Output(path, unfinished, film, codec)
        try:
            for frame in same_size(film.frames):
                output.add(frame)
            if not output.count:
                raise ValueError(f"{path}: there is no frame to write")
            output.finish()
        except FFmpegError as error:
            raise _explain(error, path) from None
        finally:
            output.close()
        _check_whole(unfinished, path, output.count)
    return output.count


class _Output:
    """A file that is being written."""

    def __init__(self, path: Path, unfinished: Path, film: Film, codec: str):
        self.path, self.unfinished, self.film, self.codec = path, unfinished, film, codec
        self.base = film.time_base if film.time_base.denominator <= FINEST else COARSE
        self.count, self.sound = 0, None
        self.container: Any = None
        self.stream: Any = None

    def add(self, frame: Frame) -> None:
        pixels = even(frame.pixels)
        if self.container is None:
            self._open(pixels.shape[0], pixels.shape[1])
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
        )
        time = frame.time
        if self.base != self.film.time_base:
            time = round(time * self.film.time_base / self.base)
        picture.pts, picture.time_base = time, self.base
        self._mux(self.stream.encode(picture))
        self.count += 1

    def finish(self) -> None:
        """Writes what is left, and the end of the file."""
        self._mux(self.stream.encode(None))
        if self.sound:
            self.sound.write_rest()
        self.container.close()

    def close(self) -> None:
        """Lets go of the files, whether they are whole or not."""
        if self.sound:
            self.sound.close()
        if self.container is not None:
            with suppress(FFmpegError):
                self.container.close()

    def _mux(self, packets) -> None:
        for packet in packets:
            if self.sound and packet.dts is not None:
                self.sound.write_until(packet.dts * packet.time_base)
            self.container.mux_one(packet)

    def _open(self, height: int, width: int) -> None:
        self.sound = Sound.of(self.film)
        try:
            self._start(height, width)
        except (FFmpegError, ValueError) as error:
            if not (self.sound and self.sound.streams) or getattr(error, "errno", None) == errno.ENOSPC:
                raise
            self.close()
            self.film.notes.append(f"the sound of {self.film.source} is left out: {self.path.suffix} cannot hold it")
            self.sound = None
            self._start(height, width)

    def _start(self, height: int, width: int) -> None:
        """Opens the file, and writes its head."""
        base, kind = self.base, FORMATS[self.path.suffix]
        options = {} if kind == "matroska" else {"movflags": "+faststart"}
        if base.numerator == 1 and options:
            options["video_track_timescale"] = str(base.denominator)  # else FFmpeg takes a multiple
        self.container = av.open(f"file:{self.unfinished.absolute()}", "w", format=kind, container_options=options)
        rate = Fraction(min(max(self.film.rate, 0.01), 1000.0)).limit_denominator(1001)  # for the encoder's estimates
        stream = self.container.add_stream(ENCODERS[self.codec], rate=rate, options=dict(OPTIONS[self.codec]))
        context = stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        context.sample_aspect_ratio = self.film.pixel_aspect
        if self.codec == "hevc" and options:
            context.codec_tag = "hvc1"  # with another, Apple's players show nothing
        self.stream = stream
        if self.sound:
            self.sound.add_to(self.container, self.path.suffix)
        try:
            self.container.start_encoding()
        except FFmpegError as error:
            if isinstance(error, OSError) or (self.sound and self.sound.streams):
                raise
            raise ValueError(
                f"{self.path}: {ENCODERS[self.codec]} takes no frames of {describe((height, width))} pixels"
            ) from None


def _explain(error, path: Path) -> Exception:
    """An error of FFmpeg as one of the system that names the file."""
    if isinstance(error, OSError) and error.errno:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(f"{path} could not be written: {error.strerror or error}")


def _check_whole(unfinished: Path, path: Path, count: int) -> None:
    """Raises OSError unless a file holds so many frames, where its head says how many."""
    try:
        with open_container(unfinished) as container:
            kept = container.streams.video[0].frames or count
    except ValueError:
        raise OSError(f"{path} could not be written: it cannot be read again; is the disk full?") from None
    if kept != count:
        raise OSError(
            f"{path} could not be written: {kept} of {count_of(count, 'frame')} {are(kept)} in it; is the disk full?"
        )
