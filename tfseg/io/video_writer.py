"""Frames -> video files by PyAV, the libraries of FFmpeg: each frame at its time, with the sound of the source."""

import errno
import io
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av  # pyright: ignore[reportMissingImports]  an extra
from av.error import FFmpegError  # pyright: ignore[reportMissingImports]
from av.video.reformatter import ColorRange, Colorspace  # pyright: ignore[reportMissingImports]

from tfseg.io.atomic import write_whole
from tfseg.io.film import Film, Frame, describe, even, same_size
from tfseg.io.video_reader import EXACT, check_fault, demux, open_container

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
        self.sound = _Sound.of(self.film)
        try:
            self._start(height, width)
        except (FFmpegError, ValueError) as error:
            if not (self.sound and self.sound.streams) or getattr(error, "errno", None) == errno.ENOSPC:
                raise
            self.sound.close()
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


class _Sound:
    """The sound of a film's source, whose packets are copied as they are, in order of their times."""

    def __init__(self, film: Film, source: Path):
        self.opened = ExitStack()
        self.source = self.opened.enter_context(open_container(source))
        self.film, self.path, self.streams = film, source, {}
        self.out: Any = None
        self.packets: Iterator = iter(())
        self.waiting, self.last, self.skipped = None, {}, 0

    @classmethod
    def of(cls, film: Film) -> "_Sound | None":
        """Opens the source of a film; None if it has none."""
        return None if film.source is None else cls(film, film.source)

    def add_to(self, container, suffix: str) -> None:
        """Adds a stream to a file for each stream of sound that it can hold, and the date; notes what it cannot."""
        self.out = container
        if created := self.source.metadata.get("creation_time"):
            container.metadata["creation_time"] = created
        refused, held = [], _try_sound(self.path, FORMATS[suffix])
        for stream in self.source.streams.audio:
            if stream.index not in held:  # it is empty
                continue
            if not held[stream.index]:
                refused.append(stream.codec_context.name if stream.codec_context else "unknown")
                continue
            copy = container.add_stream_from_template(stream)
            copy.metadata.update({name: value for name, value in stream.metadata.items() if name == "language"})
            self.streams[stream.index] = copy
        if refused:
            self.film.notes.append(
                f"sound of {self.path} is left out: {suffix} holds no {', '.join(refused)}"
                + ("" if suffix == ".mkv" else "; .mkv may")
            )
        wanted = [self.source.streams[index] for index in self.streams]
        self.packets = demux(self.source, wanted) if wanted else iter(())

    def write_until(self, second: Fraction) -> None:
        """Copies the packets up to this second of the film."""
        while (packet := self._next()) is not None and self._second(packet) <= second:
            self._write(packet)

    def write_rest(self) -> None:
        """Copies what is left, and notes what could not be copied."""
        while (packet := self._next()) is not None:
            self._write(packet)
        if self.skipped:
            self.film.notes.append(f"{self.skipped} pieces of the sound of {self.path} are damaged and left out")

    def close(self) -> None:
        self.opened.close()

    def _next(self):
        """The packet that comes next; None after the last."""
        while self.waiting is None:
            try:
                packet = next(self.packets, None)
            except (FFmpegError, OSError) as error:  # the container is broken from here on
                check_fault(error, self.path)
                self.skipped += 1
                return None
            if packet is None:
                return None
            if packet.size and packet.dts is not None:
                self.waiting = packet
            else:
                self.skipped += bool(packet.size)
        return self.waiting

    def _second(self, packet) -> Fraction:
        return packet.dts * packet.time_base - self.film.start

    def _write(self, packet) -> None:
        self.waiting = None
        stream = self.streams[packet.stream.index]
        shift = round(self.film.start / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        ticks = packet.dts * packet.time_base / stream.time_base
        if round(ticks) <= self.last.get(stream.index, ticks - 1):  # no file may go back
            self.skipped += 1
            return
        self.last[stream.index] = round(ticks)
        packet.stream = stream
        try:
            self.out.mux_one(packet)
        except OSError:
            raise
        except FFmpegError:  # its head is damaged
            self.skipped += 1


def _try_sound(source: Path, kind: str) -> dict[int, bool]:
    """Whether a kind of file can hold each stream of sound of a source, by its number; without those that are empty."""
    held = {}
    with open_container(source) as container, suppress(FFmpegError):
        streams = container.streams.audio
        for packet in demux(container, streams) if streams else ():
            if packet.size and packet.dts is not None and packet.stream.index not in held:
                index = packet.stream.index
                held[index] = _can_hold(kind, packet)
            if len(held) == len(streams):
                break
    return held


def _can_hold(kind: str, packet) -> bool:
    """Whether a kind of file can hold a stream of sound, given its first packet; tried in memory.

    One whose head is damaged would fail only when the file is finished.
    """
    try:
        with av.open(io.BytesIO(), "w", format=kind) as container:
            stream = container.add_stream_from_template(packet.stream)
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            container.mux_one(packet)
    except (ValueError, AttributeError, FFmpegError):
        return False
    return True


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
        raise OSError(f"{path} could not be written: {kept} of {count} frames are in it; is the disk full?")
