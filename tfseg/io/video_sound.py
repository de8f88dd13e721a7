"""The sound of a video's source -> another video, by PyAV: packets are copied as they are, in order of their times."""

import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av  # pyright: ignore[reportMissingImports]  an extra
from av.error import FFmpegError  # pyright: ignore[reportMissingImports]

from tfseg.io.film import TRIES, Film
from tfseg.io.video_reader import check_fault, demux, open_container
from tfseg.io.words import are, count_of


class Sound:
    """The sound of a film's source.

    Attributes:
        streams: number of each stream that is copied -> what it is in the copy.
    """

    def __init__(self, film: Film, source: Path):
        self._opened = ExitStack()
        self._source = self._opened.enter_context(open_container(source))
        self._film, self._path = film, source
        self.streams: dict[int, Any] = {}
        self._out: Any = None
        self._reader, self._packets = None, iter(())
        self._waiting, self._last, self._skipped = None, {}, 0

    @classmethod
    def of(cls, film: Film) -> "Sound | None":
        """Opens the source of a film; None if it has none."""
        return None if film.source is None else cls(film, film.source)

    def add_to(self, container, suffix: str) -> None:
        """Adds a stream to a file for each stream of sound that it can hold, and the date; notes what it cannot."""
        self._out = container
        if created := self._source.metadata.get("creation_time"):
            container.metadata["creation_time"] = created
        held = _try_sound(self._path, container.format.name)
        foreign, damaged = [], []
        for stream in self._source.streams.audio:
            if stream.index not in held:  # it is empty
                continue
            if not held[stream.index]:
                codec = _name_codec(stream)
                (damaged if codec in container.supported_codecs else foreign).append(codec)
                continue
            copy = container.add_stream_from_template(stream)
            copy.metadata.update({name: value for name, value in stream.metadata.items() if name == "language"})
            self.streams[stream.index] = copy
        others = "" if suffix == ".mkv" else "; .mkv may"
        if foreign:
            self._note(f"sound of {self._path} is left out: {suffix} holds no {', '.join(foreign)}{others}")
        if damaged:
            lost = f"the head of its {', '.join(damaged)} is damaged or missing, and {suffix} needs it"
            self._note(f"sound of {self._path} is left out: {lost}{others and f'{others} do without'}")
        if self.streams:
            self._reader = _Reader(self._source, [self._source.streams[index] for index in self.streams], self._path)
            self._packets = self._reader.read()

    def write_until(self, second: Fraction) -> None:
        """Copies the packets up to this second of the film."""
        while (packet := self._next()) is not None and self._second(packet) <= second:
            self._write(packet)

    def write_rest(self) -> None:
        """Copies what is left, and notes what could not be copied."""
        while (packet := self._next()) is not None:
            self._write(packet)
        lost = self._skipped + (self._reader.count_missing() if self._reader else 0)
        if lost:
            self._note(f"{count_of(lost, 'piece')} of the sound of {self._path} {are(lost)} damaged and left out")
        if self._reader and self._reader.broken is not None:
            self._note(
                f"the sound of {self._path} is broken after {float(self._reader.broken):.3f} s; what could be read "
                "behind that is taken, and how much is lost is not known"
            )

    def close(self) -> None:
        """Lets go of the source."""
        self._opened.close()

    def _note(self, note: str) -> None:
        self._film.notes.append(note)

    def _next(self):
        """The packet that comes next; None after the last."""
        while self._waiting is None:
            packet = next(self._packets, None)
            if packet is None:
                return None
            if packet.dts is not None:
                self._waiting = packet
            else:
                self._skipped += 1
        return self._waiting

    def _second(self, packet) -> Fraction:
        return packet.dts * packet.time_base - self._film.start

    def _write(self, packet) -> None:
        self._waiting = None
        stream = self.streams[packet.stream.index]
        shift = round(self._film.start / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        ticks = packet.dts * packet.time_base / stream.time_base
        if round(ticks) <= self._last.get(stream.index, ticks - 1):  # no file may go back
            self._skipped += 1
            return
        self._last[stream.index] = round(ticks)
        packet.stream = stream
        try:
            self._out.mux_one(packet)
        except OSError:
            raise
        except FFmpegError:  # its head is damaged
            self._skipped += 1


class _Reader:
    """Reads packets of some streams, also behind a place that cannot be read.

    MP4 and its kin have a table of all packets, by which FFmpeg goes from one to the next; at an entry that is damaged
    it stays, or ends. So the reader seeks what stands behind it there. Other files have marks in what they hold, and
    FFmpeg goes on by itself.

    Attributes:
        broken: the second after which a file without a table was first broken; None: it was not.
    """

    def __init__(self, container, streams: Sequence, path: Path):
        self._container, self._streams, self._path = container, streams, path
        self._has_table = "mp4" in container.format.name.split(",")
        self._given: Counter[int] = Counter()  # packets, by their stream's number, as are the others
        self._last: dict[int, int] = {}  # time of the packet that came last, or of an entry that was passed over
        self._tables: dict[int, tuple[int, list[int]]] = {}  # as of so many entries
        self._sought = False
        self.broken: Fraction | None = None

    def read(self) -> Iterator:
        """Gives the packets, none of them empty."""
        tries = 0
        while tries < TRIES:
            tries, failed, seconds = tries + 1, False, Fraction(0)
            try:
                for packet in demux(self._container, self._streams):
                    if packet.size and self._is_new(packet):
                        tries, seconds = 0, (packet.dts or 0) * packet.time_base
                        yield packet
            except (FFmpegError, OSError) as error:
                check_fault(error, self._path)
                failed = True
            if not self._has_table:
                if not failed:
                    return
                self.broken = seconds if self.broken is None else self.broken
            elif not self._pass_over():
                return

    def count_missing(self) -> int:
        """How many packets of the tables have not come."""
        if not self._has_table:
            return 0
        return sum(max(len(self._table(stream)) - self._given[stream.index], 0) for stream in self._streams)

    def _is_new(self, packet) -> bool:
        index = packet.stream.index
        if packet.dts is not None:
            if self._sought and packet.dts <= self._last.get(index, packet.dts - 1):
                return False  # a seek for one stream takes others back
            self._last[index] = packet.dts
        self._given[index] += 1
        return True

    def _pass_over(self) -> bool:
        """Seeks what stands behind the first packet that has not come; false if there is none."""
        ahead = [
            (times[0] * stream.time_base, stream, times) for stream in self._streams if (times := self._left(stream))
        ]
        if not ahead:
            return False
        _, stream, (passed, *later) = min(ahead, key=lambda entry: entry[0])
        self._last[stream.index] = passed
        self._sought = True
        if later:
            with suppress(FFmpegError):
                self._container.seek(later[0], stream=stream, backward=False, any_frame=True)
        return True

    def _left(self, stream) -> list[int]:
        """Times of a stream's table behind the packet that came last, up to two."""
        table = self._table(stream)
        start = bisect_right(table, self._last[stream.index]) if stream.index in self._last else 0
        return table[start : start + 2]

    def _table(self, stream) -> list[int]:
        """Times of all packets of a stream; those of a file in fragments become known as it is read."""
        entries = stream.index_entries
        known, table = self._tables.get(stream.index, (0, []))
        if known != len(entries):
            table = [entry.timestamp for entry in entries if entry.size]
            self._tables[stream.index] = len(entries), table
        return table


def _name_codec(stream) -> str:
    return stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"


def _try_sound(source: Path, kind: str) -> dict[int, bool]:
    """Whether a kind of file can hold each stream of sound of a source, by its number; without those that are empty."""
    held = {}
    with open_container(source) as container:
        streams = container.streams.audio
        for packet in _Reader(container, streams, source).read() if streams else ():
            if packet.dts is not None and packet.stream.index not in held:
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
