"""Records that are there, brought up to date: what has not changed is copied out of the old shards, byte for byte.

An update plans as a conversion from nothing would, and writes whole new shards. The ledger of the old records says
which images are as they were; their records are neither decoded nor encoded again, but each is checked by its SHA-256.
So the new folder is, byte for byte, what a conversion from nothing makes.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.faults import Fault
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import encoding, journal
from tfseg.conversion.writing.encoding import Encoded, Settings
from tfseg.conversion.writing.fingerprints import Sources
from tfseg.conversion.writing.journal import Entry
from tfseg.conversion.writing.plan import Part
from tfseg.conversion.writing.rows import Rows, unpack_evidence
from tfseg.io import atomic, tfrecord
from tfseg.io.paths import is_local
from tfseg.io.progress import track
from tfseg.records.ledger import LEDGER_NAME, Line, Row, read_ledger, read_row
from tfseg.records.manifest import Manifest, Shard

Outcome = Encoded | Evidence | Fault
FORMAT = ("schema_version", "mask_codec", "tile_width")  # fields of a manifest that a version of tfseg decides


class Kept(NamedTuple):
    """Where the record of an image lies that has not changed."""

    shard: Shard
    palettes: tuple[str, ...]  # of the rows of this shard
    index: int  # of the record in the shard
    offset: int  # of its frame, in bytes
    place: int  # of its row in the ledger, in bytes


@dataclass
class Old:
    """The records that are to be brought up to date.

    Attributes:
        folder: that holds them.
        sources: what the files of each new shard are now, by its name.
        warn: called with each warning.
        kept: of each new shard, by its name: where the record of each of its images lies, None where it is to be made.
        changed: images whose files are others now.
        removed: images that the data set has no more.
        reason: why no record can be kept; empty if they can.
        adopted: new shards that are old ones as they were.
    """

    folder: Path
    sources: dict[str, Sources]
    warn: Callable[[str], object]
    kept: dict[str, list[Kept | None]]
    changed: int = 0
    removed: int = 0
    reason: str = ""
    adopted: set[str] = field(default_factory=set)

    def forget(self, reason: str) -> None:
        """Keeps no record, for a reason."""
        self.kept = {name: [None] * len(row) for name, row in self.kept.items()}
        self.reason = reason

    @property
    def unchanged(self) -> int:
        """Images whose records are kept."""
        return sum(kept is not None for row in self.kept.values() for kept in row)

    @property
    def planned(self) -> int:
        """Images that there will be."""
        return sum(map(len, self.kept.values()))


# ---- what has changed


def compare(
    folder: Path,
    manifest: Manifest,
    wanted: Manifest,
    parts: Sequence[Part],
    sources: dict[str, Sources],
    warn: Callable[[str], object],
) -> Old:
    """Finds which images of a plan have a record already, by the ledger of the old records.

    Args:
        folder: of the old records.
        manifest: of them, made with the same settings.
        wanted: of the new ones, as far as it is known.
        parts: of the new ones.
        sources: of these parts, by their name.
        warn: called with each warning: that the ledger cannot be relied on, or that a record is damaged.
    """
    old = Old(folder, sources, warn, {part.name: [None] * len(part.samples) for part in parts})
    if any(getattr(manifest, name) != getattr(wanted, name) for name in FORMAT):
        old.reason = "is stored as an earlier version did"
    elif not (folder / LEDGER_NAME).is_file():
        old.reason = f"has no {LEDGER_NAME}, as of an earlier version"
    else:
        try:
            _fill_in(old, manifest, parts)
        except (ValueError, OSError) as error:
            warn(f"{error}; this ledger cannot be relied on")
            old.forget(f"has a {LEDGER_NAME} that cannot be relied on")
    return old


def _fill_in(old: Old, manifest: Manifest, parts: Sequence[Part]) -> None:
    """Reads the ledger, and notes where the records of unchanged images lie.

    Raises:
        ValueError: it is damaged, or not of these records.
    """
    planned = {(part.split, sample.id): (part, place) for part in parts for place, sample in enumerate(part.samples)}
    shards = {shard.name: shard for split in manifest.splits.values() for shard in split.shards}
    section, palettes = None, ()
    for line in read_ledger(old.folder, manifest):
        if line.section is not section:
            section, palettes = line.section, tuple(line.section.palettes)
        part, place = planned.get((line.split, line.row.id), (None, 0))
        if part is None:
            old.removed += 1
        elif line.row.files != old.sources[part.name].images[place]:
            old.changed += 1
        else:
            _check_seen(old.folder, line, part.samples[place])
            kept = Kept(shards[line.section.shard], palettes, line.index, line.offset, line.place)
            old.kept[part.name][place] = kept


def _check_seen(folder: Path, line: Line, sample: Sample) -> None:
    try:
        unpack_evidence(line.row.seen, sample, line.section.palettes)
    except ValueError as error:
        raise ValueError(f"{folder / LEDGER_NAME}: the row of {line.row.id} {error}") from None


def whole_shard(kept: Sequence[Kept | None]) -> Shard | None:
    """Finds the old shard that has the very records of a new one, in their order; None if there is none."""
    first = kept[0]
    if first is None or first.shard.count != len(kept):
        return None
    for index, one in enumerate(kept):
        if one is None or (one.shard.name, one.index) != (first.shard.name, index):
            return None
    return first.shard


# ---- whole shards


def kept_entries(old: Old, parts: Sequence[Part]) -> dict[str, Entry] | None:
    """Gives the entries of all shards if each is an old one under its old name, else None; reads the ledger alone."""
    entries = {}
    for part in parts:
        shard = whole_shard(old.kept[part.name])
        if shard is None or shard.name != part.name:
            return None
        entries[part.name] = _collect_rows(old, part).entry(shard)
    return entries


def are_sound(old: Old, entries: dict[str, Entry]) -> bool:
    """Whether old shards are as they were written; of those in a store, only their sizes are compared."""
    if is_local(old.folder):
        shards = track([entry.shard for entry in entries.values()], desc="checking", unit="shard")
        return all(journal.holds(old.folder, shard) for shard in shards)
    paths = [(old.folder / name, entry.shard) for name, entry in entries.items()]
    return all(path.is_file() and path.stat().st_size == shard.bytes for path, shard in paths)


def adopt_shards(
    old: Old, parts: Sequence[Part], folder: Path, journal_settings: dict, entries: dict[str, Entry]
) -> dict[str, Entry]:
    """Takes old shards over that have the very records of new ones and are sound, and notes them in the journal.

    Args:
        old: the old records.
        parts: of the plan.
        folder: for the new records.
        journal_settings: of this conversion.
        entries: of the shards that are finished.

    Returns:
        The entries, and those of the shards that were taken over.
    """
    adopted = {}
    for part in track(parts, desc="checking", unit="shard"):
        if part.name in entries:
            shard = entries[part.name].shard
            whole = whole_shard(old.kept[part.name])
            if whole is not None and whole.sha256 == shard.sha256:  # before an interruption
                old.adopted.add(part.name)
        elif entry := _adopt_shard(old, part, folder):
            adopted[part.name] = entry
    if adopted:
        journal.write_entries(folder, journal_settings, entries | adopted)
    return entries | adopted


def _adopt_shard(old: Old, part: Part, folder: Path) -> Entry | None:
    shard = whole_shard(old.kept[part.name])
    if shard is None:
        return None
    taken = Shard(part.name, shard.count, shard.bytes, shard.sha256)
    try:
        _link_or_copy(old.folder / shard.name, folder / part.name)
    except FileNotFoundError:  # all of its records are encoded again
        return None
    if not journal.holds(folder, taken):
        return None
    old.adopted.add(part.name)
    return _collect_rows(old, part).write(folder, taken)


def _link_or_copy(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # not all file systems have hard links
        target.hardlink_to(source)
        return
    with atomic.write_whole(target) as unfinished:
        shutil.copyfile(source, unfinished)


def _collect_rows(old: Old, part: Part) -> Rows:
    """Collects the rows of a part, all of whose records are kept."""
    rows = Rows(part, old.sources[part.name])
    with (old.folder / LEDGER_NAME).open("rb") as ledger:
        for sample, kept in zip(part.samples, old.kept[part.name], strict=True):
            assert kept is not None
            row = read_row(ledger, kept.place)
            rows.add(_encoded(row, sample, kept, b""), row.bytes, row.sha256)
    return rows


# ---- single records


def merge_kept(
    part: Part, kept: Sequence[Kept | None], encoded: Iterator[Outcome], old: Old, settings: Settings
) -> Iterator[Outcome]:
    """Yields what becomes of each sample of a part, in order: records that are kept, and what is encoded now.

    Args:
        part: what becomes a shard.
        kept: of its samples.
        encoded: what becomes of the samples that are not kept, in order.
        old: the old records.
        settings: for a sample whose record turns out to be damaged.
    """
    stored, warned = _read_kept(part, kept, old.folder), set()
    for sample, one in zip(part.samples, kept, strict=True):
        if one is None:
            yield next(encoded)
            continue
        found = next(stored)
        if isinstance(found, str):
            if found not in warned:
                old.warn(found)
            warned.add(found)
            yield encoding.attempt((part.split, sample, True), settings)
        else:
            yield found


def _read_kept(part: Part, kept: Sequence[Kept | None], folder: Path) -> Iterator[Encoded | str]:
    """Reads the records that are kept, in order; of one that cannot be read, says why."""
    with contextlib.ExitStack() as ledgers, contextlib.ExitStack() as shards:
        ledger = ledgers.enter_context((folder / LEDGER_NAME).open("rb"))
        name, file = "", None
        for sample, one in zip(part.samples, kept, strict=True):
            if one is None:
                continue
            if one.shard.name != name:
                shards.close()
                name, file = one.shard.name, None
                with contextlib.suppress(FileNotFoundError):
                    file = shards.enter_context((folder / name).open("rb"))
            if file is None:
                yield f"{folder / name}: is missing; its images are encoded again"
                continue
            row = read_row(ledger, one.place)
            try:
                yield _encoded(row, sample, one, _read_record(file, one, row))
            except ValueError as error:
                yield f"{folder / name}: record {one.index}, {sample.id}, {error}; this image is encoded again"


def _read_record(file: BinaryIO, kept: Kept, row: Row) -> bytes:
    data = tfrecord.read_record(file, kept.offset, row.bytes)
    if hashlib.sha256(data).hexdigest() != row.sha256:
        raise ValueError("is not what was written there, by its SHA-256")
    return data


def _encoded(row: Row, sample: Sample, kept: Kept, example: bytes) -> Encoded:
    seen = unpack_evidence(row.seen, sample, kept.palettes)
    return Encoded(example, row.class_pixels, row.channel_sums, row.channel_squares, seen)


# ---- words


def summarise_update(old: Old, parts: Sequence[Part]) -> str:
    """Makes one line of what an update did."""
    anew = f"{len(parts) - len(old.adopted)} of {len(parts)} shards written anew"
    if old.reason:
        return f"{old.planned} images encoded again; {anew}"
    new = old.planned - old.unchanged - old.changed
    return f"{old.unchanged} images unchanged, {new} new, {old.changed} changed, {old.removed} removed; {anew}"
