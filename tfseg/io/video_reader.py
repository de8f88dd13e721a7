"""Video files -> frames by PyAV, the libraries of FFmpeg: with the times that the file gives them.

A video may come from anywhere, so FFmpeg sees only the bytes of the one file, in a container that is one: no playlist,
no list of other files, no address.
"""

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import av  # pyright: ignore[reportMissingImports]  an extra
import cv2
import numpy as np
from av.error import FFmpegError  # pyright: ignore[reportMissingImports]
from av.stream import Discard, Disposition  # pyright: ignore[reportMissingImports]
from av.video.reformatter import Interpolation  # pyright: ignore[reportMissingImports]

from tfseg.io.escaping import printable
from tfseg.io.film import FORMATS, LONGEST_STILL, MOST_PIXELS, TOO_LARGE, TRIES, Film, Frame, describe
from tfseg.io.image_headers import SIDEWAYS, TooLarge, turn
from tfseg.io.regular_files import open_file
from tfseg.io.words import are, count_of

# Of what these hold, each packet that is whole gives one frame.
ONE_FRAME_A_PACKET = ("av1", "h264", "hevc", "libdav1d", "vp9")
# Whether a frame's brightness is to be seen on a screen of high dynamic range: the numbers of PQ and HLG.
HDR = {16: "PQ", 18: "HLG"}
# As colours are computed on paper, to the nearest value; without these, a value is up to 2 beside it.
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
OUTPUT_CORRUPT = 1 << 3  # FFmpeg's flag: frames that are damaged come, and say so
MOST_NAMED = 5  # damaged frames
# Signs of a display matrix -> the EXIF orientation that turns as it says.
ORIENTATIONS: dict[tuple[int, ...], int] = {
    **{(1, 0, 0, 1): 1, (-1, 0, 0, 1): 2, (-1, 0, 0, -1): 3, (1, 0, 0, -1): 4},
    **{(0, 1, 1, 0): 5, (0, 1, -1, 0): 6, (0, -1, -1, 0): 7, (0, -1, 1, 0): 8},
}


def read_film(path: str | Path) -> Film:
    """Opens a video file; its frames are turned upright as it says, and are read as they are asked for.

    Colours become RGB by FFmpeg's swscale, by the matrix and range that the file names; one that names none has
    BT.601's, limited. Values of more than 8 bits are rounded; HDR is not mapped to less. Both fields of an interlaced
    frame stay in it.

    Args:
        path: of a regular file.

    Raises:
        ValueError: FFmpeg cannot read it, it has no video, none of its frames can be read, or they have too many
            pixels.
        OSError: the file cannot be read.
    """
    path = Path(path)
    with ExitStack() as stack:
        return _read(stack.enter_context(open_container(path)), path, stack)


def _read(container, path: Path, closing: ExitStack) -> Film:
    notes = []
    stream = choose_stream(container, path, notes)
    base = stream.time_base
    start = find_start(container)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    seconds = length_of(container, stream)
    count = stream.frames or (round(seconds * rate) if seconds else None)
    damage = Damage(path, notes)
    decoded = in_order(decode(container, stream, damage, closing.pop_all()), stream, rate, seconds, damage)
    first = next(decoded, None)
    if first is None:
        raise ValueError(f"{printable(path)} is damaged, or empty: none of its frames can be read")
    note_look(first[0], path, notes)
    frames = upright(chain([first], decoded), round(start / base), damage)
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if find_orientation(first[0])[0] >= SIDEWAYS:
        aspect = 1 / aspect
    whole = frames if is_cut(container, stream, path, notes) else note_missing(frames, count, damage)
    return Film(whole, base, float(rate), count, notes, source=path, start=start, pixel_aspect=aspect)


@contextmanager
def open_container(path: Path) -> Iterator:
    """Opens a file as FFmpeg's container, until the block ends; errors as of `read_film`."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, "it names other files")

    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none", "max_pixels": str(MOST_PIXELS)}
    with open_file(path) as file:
        try:
            container = av.open(_Bytes(file), options=options, io_open=refuse, metadata_errors="replace")
        except (FFmpegError, OSError) as error:
            check_fault(error, path)
            reason = (error.strerror or "no reason given").lower()
            raise ValueError(
                f"{printable(path)} is no video that FFmpeg can read ({reason}): it is cut short, or a playlist, or "
                "none at all; give another file, or a folder of its frames"
            ) from None
        with container:
            yield container


def demux(container, streams: Sequence) -> Iterator:
    """Gives the packets of some streams, in the order of the file, and at the end an empty one of each.

    The others are passed over unread from here on, so that damage to them costs nothing.
    """
    for stream in container.streams:
        if stream not in streams:
            stream.discard = Discard.all
    try:
        yield from container.demux(streams)
    except IndexError:  # PyAV's, at the end of a file in whose middle a new stream began
        return


class _Bytes:
    """A file that FFmpeg reads. A damaged one may send it to a place before the file's begin."""

    def __init__(self, file: BinaryIO):
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place; what Python refuses with EINVAL is answered in FFmpeg's way, by the error's number."""
        try:
            return self._seek(place, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return -errno.EINVAL


def check_fault(error: Exception, path: Path) -> None:
    """Raises an error of the system that is no fault of a file, such as of a disk that fails."""
    if isinstance(error, OSError) and not isinstance(error, FFmpegError) and error.errno != errno.EACCES:
        raise OSError(error.errno, error.strerror, str(path)) from None


def choose_stream(container, path: Path, notes: list[str]):
    """Chooses the video stream: of those that are no cover image, the default one, or else the one of most pixels.

    Raises:
        ValueError: there is none, or FFmpeg has no decoder for it, or its frames are too large.
    """
    pictures = [stream for stream in container.streams if stream.type == "video"]
    videos = [stream for stream in pictures if not stream.disposition & Disposition.attached_pic]
    if not videos:
        found = "a cover image and no video" if pictures else "no video"
        sound = ", but sound" if container.streams.audio else ""
        raise ValueError(f"{printable(path)} holds {found}{sound}; give a file with a video")
    readable = [stream for stream in videos if stream.codec_context is not None]
    if not readable:
        raise ValueError(f"{printable(path)}: FFmpeg has no decoder for its video; convert it to H.264 first")

    def rank(stream):
        context = stream.codec_context
        default = bool(stream.disposition & Disposition.default)
        return default, context.width * context.height, -stream.index

    stream = max(readable, key=rank)
    context = stream.codec_context
    if len(videos) > 1:
        notes.append(
            f"{path} has {len(videos)} video streams; number {stream.index} is taken, the default one, or else the one "
            "of most pixels"
        )
    if context.width * context.height > MOST_PIXELS:
        raise TooLarge(TOO_LARGE.format(printable(path), describe((context.height, context.width))))
    context.thread_type = "SLICE"  # with threads of frames an error is that of another
    context.flags |= OUTPUT_CORRUPT
    context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def find_start(container) -> Fraction:
    """The second at which the first of video and sound begins; 0 if that is before 0, as of sound's first silence."""
    timed = [stream for stream in container.streams if stream.type in ("video", "audio")]
    starts = [stream.start_time * stream.time_base for stream in timed if stream.start_time is not None]
    return max(min(starts, default=Fraction(0)), Fraction(0))


def length_of(container, stream) -> Fraction | None:
    """Seconds that a stream lasts, or else the whole file; None if neither is known."""
    if stream.duration:
        return stream.duration * stream.time_base
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska's tag
        return 3600 * int(found[1]) + 60 * int(found[2]) + Fraction(found[3])
    return Fraction(container.duration, av.time_base) if container.duration else None


def is_cut(container, stream, path: Path, notes: list[str]) -> bool:
    """Whether the table of frames in a file's head names a place behind the file's end, which is then noted."""
    entries = stream.index_entries
    cut = len(entries) > 0 and entries[-1].pos + entries[-1].size > container.size > 0
    if cut:
        notes.append(f"{path} is cut short; what it holds is taken")
    return cut


class Damage:
    """Collects what could not be read, and notes the first few places and how many there are."""

    def __init__(self, path: Path, notes: list[str]):
        self.path, self.notes = path, notes
        self.seconds: set[Fraction] = set()
        self.unknown = 0
        self.broken: str | None = None

    def add(self, seconds: Fraction | None) -> None:
        """Counts a frame that should have come at this second."""
        if seconds is None:
            self.unknown += 1
        else:
            self.seconds.add(seconds)

    @property
    def count(self) -> int:
        """How many frames are lost."""
        return len(self.seconds) + self.unknown

    def report(self) -> None:
        """Notes what was collected."""
        shown = sorted(self.seconds)[:MOST_NAMED]
        lines = [f"{self.path} is damaged at {float(second):.3f} s: that frame is left out" for second in shown]
        if more := self.count - len(shown):
            frames = count_of(more, "more frame" if shown else "frame")
            lines.append(f"{self.path} is damaged: {frames} {are(more)} left out")
        if self.broken:
            lines.append(f"{self.path} is damaged: {self.broken}")
        self.notes += lines


def decode(container, stream, damage: Damage, closing: ExitStack) -> Iterator:
    """Gives the frames that FFmpeg decodes without an error, and collects the others in `damage`; closes at its end."""
    with closing:
        yield from _decode(container, stream, damage)


def _decode(container, stream, damage: Damage) -> Iterator:
    base, tries, last, packets, given = stream.time_base, 0, None, 0, 0
    counted = stream.codec_context.name in ONE_FRAME_A_PACKET
    waiting: set[int] = set()  # times of packets whose frame has not come
    while tries < TRIES:
        try:
            for packet in demux(container, [stream]):
                if packet.pts is not None and not packet.is_discard:
                    last, packets = packet.pts, packets + 1
                    waiting.add(packet.pts)
                try:
                    frames = packet.decode()
                except EOFError:
                    break
                except FFmpegError:
                    packets -= 1
                    damage.add(None if packet.pts is None else packet.pts * base)
                    waiting.discard(packet.pts)
                    continue
                for frame in frames:
                    given += 1
                    counted = counted and not frame.interlaced_frame  # each field may be a packet
                    waiting.discard(frame.pts)
                    if frame.is_corrupt:
                        damage.add(None if frame.pts is None else frame.pts * base)
                    else:
                        yield frame
            break
        except (FFmpegError, OSError) as error:  # of the container; what follows may be whole
            check_fault(error, damage.path)
            tries += 1
            damage.broken = f"its container is broken after {float((last or 0) * base):.3f} s"
    if counted and given < packets:
        for time in waiting:
            damage.add(time * base)


def in_order(frames: Iterator, stream, rate: Fraction, seconds: Fraction | None, damage: Damage) -> Iterator[tuple]:
    """Gives each frame and its time, in units of the stream's time base, which grows.

    A frame without a time, or with one that does not grow or leaps further than the film lasts, comes a step of the
    frame rate after the one before.
    """
    step = max(round(1 / (rate * stream.time_base)), 1)
    longest = round((max(seconds + 1, LONGEST_STILL) if seconds else Fraction(LONGEST_STILL)) / stream.time_base)
    longest = min(longest, 2**30)  # what MP4 has for how long a frame is shown
    shift, last, mended = 0, None, 0
    for frame in frames:
        time = None if frame.pts is None else frame.pts + shift
        if last is not None and (time is None or not 0 < time - last <= longest):
            mended += 1
            if time is not None and abs(time - last) > longest:  # a leap: what follows counts from there
                shift += last + step - time
            time = last + step
        last = (stream.start_time or 0) if time is None else time
        yield frame, last
    if mended:
        damage.notes.append(
            f"{damage.path}: {count_of(mended, 'frame')} had no time, or a wrong one, and got the one that follows"
        )
    damage.report()


def note_look(frame, path: Path, notes: list[str]) -> None:
    """Notes what of a film's look its first frame shows to be lost, or left as it is."""
    if name := HDR.get(frame.color_trc):
        notes.append(f"{path} is HDR ({name}); its colours are taken as they are, and look pale")
    if frame.interlaced_frame:
        notes.append(f"{path} is interlaced; both fields of a frame stay in it")
    if not find_orientation(frame)[1]:
        notes.append(f"{path} is to be shown at an angle; the nearest multiple of 90 degrees is taken")


def find_orientation(frame) -> tuple[int, bool]:
    """Reads how a frame is to be turned: the EXIF orientation, 1 to 8, and whether its display matrix is just that."""
    try:
        data = bytes(frame.side_data["DISPLAYMATRIX"])
    except KeyError:
        return 1, True
    a, b, _, c, d, *_ = np.frombuffer(data, np.int32).astype(float)
    straight, turned = abs(a) + abs(d), abs(b) + abs(c)
    kept = (a, 0, 0, d) if straight >= turned else (0, b, c, 0)
    orientation = ORIENTATIONS.get(tuple(np.sign(kept).astype(int).tolist()), 1)
    return orientation, min(straight, turned) <= 0.02 * max(straight, turned)


def upright(timed: Iterator[tuple], start: int, damage: Damage) -> Iterator[Frame]:
    """Turns frames upright, as RGB, all of the size of the first, at times that count from `start`."""
    size, resized = None, 0
    for frame, time in timed:
        try:
            stored = frame.to_ndarray(format="rgb24", interpolation=EXACT)
        except FFmpegError:
            damage.add(time * frame.time_base)
            continue
        pixels = turn(stored, find_orientation(frame)[0])
        size = size or pixels.shape
        if pixels.shape != size:
            pixels, resized = cv2.resize(pixels, size[1::-1], interpolation=cv2.INTER_AREA), resized + 1
        yield Frame(pixels, time - start)
    if resized and size:
        frames = count_of(resized, "frame")
        damage.notes.append(f"{damage.path} has {frames} of another size, brought to {describe(size)}")


def note_missing(frames: Iterator[Frame], expected: int | None, damage: Damage) -> Iterator[Frame]:
    """Notes when there are fewer frames than the head of a file says, which may be an estimate."""
    done = 0
    for done, frame in enumerate(frames, 1):  # noqa: B007
        yield frame
    if expected and done + damage.count < 0.9 * expected:
        damage.notes.append(
            f"{damage.path} has {count_of(done, 'frame')} where its head says {expected}; it is cut short, or "
            "trimmed, or its sound lasts longer"
        )
