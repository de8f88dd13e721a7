"""The ledger: of which files each record was made, and what was counted and seen in them, one line an image.

It lies beside manifest.json. Only `convert --update` needs it, to find which images of a data set have changed; records
are read, copied and trained on without it. It is a file of JSON lines, in the order of the records:

    {"ledger": 1}                                                       the version
    {"shard": "train-00000-of-00002.tfrecord", "count": 9, ...}         a shard, see `Section`; then its records:
    {"id": "t7", "files": "5f1c...", "bytes": 812, ...}                 one of them, see `Row`
    {"sha256": "90ab..."}                                               of all lines before it

Lines belong to the shards that they name by their SHA-256, as the manifest has it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfseg.io import atomic, tfrecord
from tfseg.io.json_reader import parse_json
from tfseg.io.names import quote
from tfseg.records.json_fields import fields_of
from tfseg.records.manifest import Manifest, Shard

LEDGER_NAME = "tfseg-sources.jsonl"
# Raise it with every change after which the same image makes another record, or the same row means something else.
VERSION = 1
MOST_LINE_BYTES = 4 * 2**20  # that are read


@dataclass(frozen=True)
class Section:
    """What goes before the rows of a shard."""

    shard: str
    count: int  # records
    sha256: str
    palettes: list[str]  # of colours, in hexadecimal, that its rows refer to by their place


@dataclass(frozen=True)
class Row:
    """What is noted of one record."""

    id: str
    files: str  # the fingerprint of the files that it was made of, see `conversion.fingerprints`
    bytes: int  # of the record, without its frame
    sha256: str  # likewise
    class_pixels: list[int]
    channel_sums: list[int]  # of each channel
    channel_squares: list[int]
    seen: dict  # in the files, see `conversion.rows`


class Line(NamedTuple):
    """A row where it was found."""

    split: str
    section: Section
    index: int  # of the record in its shard
    offset: int  # of the frame of the record in the shard, in bytes
    place: int  # of the line in the ledger, in bytes
    row: Row


def row_line(row: Row) -> bytes:
    """Writes a row as a line."""
    return _line(vars(row))


def write_ledger(folder: Path, sections: Iterable[tuple[Section, bytes]]) -> None:
    """Writes the ledger of a folder whole or not at all.

    Args:
        folder: of the shards.
        sections: of all shards, in the order of the manifest, each with the lines of its rows.
    """
    digest = hashlib.sha256()
    with atomic.write_whole(folder / LEDGER_NAME) as unfinished, unfinished.open("wb") as file:

        def write(lines: bytes) -> None:
            file.write(lines)
            digest.update(lines)

        write(_line({"ledger": VERSION}))
        for section, rows in sections:
            write(_line(vars(section)))
            write(rows)
        file.write(_line({"sha256": digest.hexdigest()}))


def read_ledger(folder: Path, manifest: Manifest) -> Iterator[Line]:
    """Reads the ledger of a folder, line by line.

    What is yielded can be relied on only when the end was reached: the checksum over all lines is the last of them.

    Args:
        folder: of the shards.
        manifest: of these shards, with as many ids as its shards count.

    Raises:
        ValueError: the ledger is damaged, or not of these shards; the message begins with the file and the line.
        OSError: it cannot be read.
    """
    path, number = folder / LEDGER_NAME, 0
    shards = [(name, shard) for name, split in manifest.splits.items() for shard in split.shards]
    ids = (id for split in manifest.splits.values() for id in split.ids)
    digest = hashlib.sha256()
    with path.open("rb") as file:

        def read(is_last: bool = False) -> object:
            nonlocal number
            number += 1
            line = file.readline(MOST_LINE_BYTES + 1)
            if not is_last:
                digest.update(line)
            return _parse(line)

        try:
            _check_head(read())
            for split, shard in shards:
                section = _section_of(read(), shard)
                offset = 0
                for index in range(shard.count):
                    place = file.tell()
                    row = _row_of(read(), next(ids), len(manifest.classes), manifest.channels)
                    yield Line(split, section, index, offset, place, row)
                    offset += row.bytes + tfrecord.FRAME_BYTES
                if offset != shard.bytes:
                    raise ValueError(f"ends {shard.name} at {offset} bytes, the manifest says {shard.bytes}")
            last = read(is_last=True)
            if last != {"sha256": digest.hexdigest()}:
                raise ValueError("is not the checksum of the lines before it: one of them is damaged, or one is added")
            if file.read(1):
                raise ValueError("must be the last, for all shards of the manifest came before it")
        except ValueError as error:
            raise ValueError(f"{path}: line {number} {error}") from None


def read_row(file: BinaryIO, place: int) -> Row:
    """Reads one row again, by its place in a ledger that `read_ledger` has read to its end."""
    file.seek(place)
    return Row(**fields_of(Row, _parse(file.readline(MOST_LINE_BYTES)), "the row"))


def ledger_fault(folder: Path, manifest: Manifest) -> str | None:
    """Says what is wrong with the ledger of a folder, without the file; None if nothing is, or there is none."""
    path = folder / LEDGER_NAME
    if not path.exists():
        return None
    try:
        for _ in read_ledger(folder, manifest):
            pass
    except ValueError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _line(entry: dict) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> object:
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"has more than {MOST_LINE_BYTES:,} bytes, which are not read")
    if not line.endswith(b"\n"):
        raise ValueError("is cut short, or missing")
    return parse_json(line)


def _check_head(entry: object) -> None:
    if not isinstance(entry, dict) or "ledger" not in entry:
        raise ValueError("is not the head of a ledger")
    if entry != {"ledger": VERSION}:
        raise ValueError(f"is of the version {quote(str(entry['ledger']))} of ledgers, this program reads {VERSION}")


def _section_of(entry: object, shard: Shard) -> Section:
    section = Section(**fields_of(Section, entry, "the section"))
    if (section.shard, section.count, section.sha256) != (shard.name, shard.count, shard.sha256):
        found, wanted = (
            f"{quote(name)} of {count} records, SHA-256 {quote(sha256[:12])}"
            for name, count, sha256 in (
                (section.shard, section.count, section.sha256),
                (shard.name, shard.count, shard.sha256),
            )
        )
        raise ValueError(f"begins {found}, the manifest has {wanted}")
    return section


def _row_of(entry: object, id: str, classes: int, channels: int) -> Row:
    row = Row(**fields_of(Row, entry, "the row"))
    if row.id != id:
        raise ValueError(f"has the id {quote(row.id)} where the manifest has {quote(id)}")
    lengths = len(row.class_pixels), len(row.channel_sums), len(row.channel_squares)
    if row.bytes < 0:
        raise ValueError(f"has a record of {row.bytes} bytes, expected 0 or more")
    if lengths != (classes, channels, channels):
        raise ValueError(
            f"counts {lengths[0]} classes, and {lengths[1]} and {lengths[2]} channels, expected {classes}, and "
            f"{channels} and {channels}"
        )
    return row
