"""A folder of shards in the making: locked, noted down shard by shard, and in its place only when it is whole.

A conversion to DIR writes into a hidden sibling, see `io.staging`. Finished shards are noted in the journal there, so
that whatever ends a conversion, an error, Ctrl-C, a full disk, the next one resumes after the last finished shard;
after a kill or a power cut, it makes at most a twentieth of them again, see `keep`. A store such as gs:// has neither
locks nor a rename in one step: there DIR itself is written, the manifest last.

Workers of other machines cannot share one journal: each leaves a note beside its shard, to be gathered later.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.faults import Fault
from tfseg.conversion.writing.ownership import (
    JOURNAL_NAME,
    LOCK,
    NOTE,
    RECORDS,
    ROWS,
    SKIPPED_NAME,
    check_ours,
    has_journal,
    has_shards,
    has_work,
    is_note,
    is_of_records,
)
from tfseg.io import locks, removal, staging
from tfseg.io.atomic import write_json
from tfseg.io.escaping import printable
from tfseg.io.json_reader import read_json
from tfseg.io.paths import is_local
from tfseg.records.manifest import MANIFEST_NAME, Shard
from tfseg.records.records import file_sha256

SHARE = 20  # the journal is written anew when one shard in so many is new to it


@dataclass(frozen=True)
class Entry:
    """What is noted of a finished shard: the file, what it was made of, the sums for its split's statistics, and what
    was seen in its files."""

    shard: Shard
    sources: str  # see `fingerprints.Sources.whole`
    class_pixels: list[int]
    channel_sums: list[int]  # of each channel
    channel_squares: list[int]
    evidence: Evidence = field(default_factory=Evidence)
    rows: str = ""  # SHA-256 of its rows for the ledger; an earlier version wrote none


# ---- the folder


def is_there(out: Path) -> bool:
    """Whether `out` holds records. Whatever else it holds is refused, and never touched.

    Raises:
        ValueError: `out` is a file, a mount point, or holds what no conversion wrote.
    """
    if not is_local(out):
        return (out / MANIFEST_NAME).exists()
    if out.is_mount():
        raise ValueError(f"{out}: is a mount point, which cannot be renamed; choose a folder in it with --out")
    if not out.exists():
        return False
    if not out.is_dir():
        raise ValueError(f"{out}: is a file, not a folder; choose another --out")
    check_ours(out)
    return not removal.is_empty(out)


@contextmanager
def open_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Gives the folder to write into, with what an earlier conversion has finished; it becomes `out` if all goes well.

    If anything does not, the folder is kept for the next conversion, or removed if no shard is finished and no bad
    file is listed yet.

    Args:
        out: local, or in a store.
        overwrite: whether records that are there may be replaced.

    Raises:
        ValueError: another conversion is writing there, a training reads what is there, or no conversion wrote it.
        OSError: the place cannot be written to.
    """
    if not is_local(out):
        _claim(out)
        yield out
        clear(out)
        return
    # A conversion that may replace them was killed when it had set the old records aside.
    overwrite = overwrite or (staging.staging_path(out) / staging.REPLACED).exists()

    def check() -> None:
        if is_there(out) and not overwrite:
            raise ValueError(f"{out}: another conversion has just made it")
        _check_unread(out)

    check()
    with staging.stage_folder(out, RECORDS, has_work, check) as folder:
        check()
        _adopt(out, folder)
        try:
            yield folder
        except BaseException:  # Ctrl-C too
            if has_shards(folder):
                print(
                    f"{printable(folder)}: keeps the finished shards; the same command resumes from them",
                    file=sys.stderr,
                )
            raise
    clear(out)


def clear(out: Path) -> None:
    """Removes what only a conversion needs; one that was killed in its last moment leaves it behind."""
    rows = rf".+-\d+-of-\d+\.tfrecord{re.escape(ROWS)}"
    removal.remove_files(out, rows, re.escape(JOURNAL_NAME), re.escape(LOCK))
    if is_local(out):
        staging.tidy(out, RECORDS)


def discard(out: Path) -> None:
    """Removes what an interrupted conversion has finished, where what is there turns out to be up to date."""
    if is_local(out):
        staging.discard(out)


def _check_unread(out: Path) -> None:
    """Raises ValueError while a training reads the records of a folder, see `runs.run_dir.hold_records`."""
    with locks.hold_folder(out) as free:
        if not free:
            raise ValueError(f"{out}: a training reads these records; wait until it ends, or choose another --out")


def _claim(out: Path) -> None:
    """Begins to write into a store: from now on a journal says whose the shards there are, and no manifest does."""
    check_ours(out)
    if not has_journal(out):
        write_json({"settings": {}, "shards": {}}, out / JOURNAL_NAME, indent=None)
    (out / MANIFEST_NAME).unlink(missing_ok=True)  # not whole any more


def _adopt(out: Path, folder: Path) -> None:
    """Takes over what a conversion of an earlier version had finished, and names what else may be left of one."""
    old = out.with_name(out.name + ".incomplete")
    if not has_shards(folder) and not old.is_symlink() and has_journal(old):
        with suppress(ValueError):  # somebody has put other things there
            check_ours(old)
            _move(old, folder)
    for left in (old, out.with_name(out.name + ".replaced")):
        if left.exists():
            print(f"{printable(left)}: is left as it is; an earlier version may have left it, or you", file=sys.stderr)


def _move(old: Path, folder: Path) -> None:
    with locks.open_lock(old / LOCK) as file:
        for path in sorted(old.iterdir()) if locks.take_or_say(file, old) else []:
            path.rename(folder / path.name)
    with suppress(OSError):
        old.rmdir()


# ---- the journal


def read_entries(folder: Path, settings: dict, fingerprints: dict[str, str]) -> dict[str, Entry]:
    """Finds what an earlier conversion with the same settings has finished, by the name of the shard.

    A shard counts if its size, its hash and its rows are as noted and its sources as they were. All others are removed.

    Args:
        folder: from `open_folder`.
        settings: of this conversion.
        fingerprints: what the sources of each shard are now.
    """
    noted, _ = gather_notes(folder, settings, _read(folder / JOURNAL_NAME, settings).get("shards", {}))
    entries = {
        name: entry
        for name, entry in noted.items()
        if entry.sources == fingerprints.get(name) and _is_sound(folder, entry)
    }
    names = [path.name for path in folder.iterdir()] if folder.exists() else []
    kept = {LOCK, JOURNAL_NAME, SKIPPED_NAME, *entries, *map(rows_name, entries)}
    others = [name for name in names if name not in kept and is_of_records(name)]
    removal.remove_files(folder, "|".join(map(re.escape, others)))
    return entries


def write_entries(folder: Path, settings: dict, entries: dict[str, Entry]) -> None:
    """Writes the journal anew, whole or not at all."""
    noted = {name: _as_json(entry) for name, entry in entries.items()}
    write_json({"settings": settings, "shards": noted}, folder / JOURNAL_NAME, indent=None)


@contextmanager
def keep(folder: Path, settings: dict, entries: dict[str, Entry]) -> Iterator[Callable[[], None]]:
    """Gives a function to be called after each shard, which writes the journal when it is due, and at the end.

    The journal is written anew as a whole, so that it costs more the more shards there are: it is due once a twentieth
    has come to the shards in it. A kill loses no more; whatever else ends a conversion loses nothing.

    Args:
        folder: from `open_folder`.
        settings: of the conversion.
        entries: of the finished shards, which the caller adds to.
    """
    noted = len(entries)

    def write(least: int) -> None:
        nonlocal noted
        if len(entries) - noted >= least:
            write_entries(folder, settings, entries)
            noted = len(entries)

    try:
        yield lambda: write(1 + noted // SHARE)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):  # a full disk, which is being reported
            write(1)
        raise
    write(1)


def _as_json(entry: Entry) -> dict:
    """Gives an entry as a dictionary, not copied as `dataclasses.asdict` does, which takes longer than to write it."""
    return {**vars(entry), "shard": vars(entry.shard), "evidence": vars(entry.evidence)}


def write_note(folder: Path, settings: dict, name: str, outcome: Entry | Sequence[Fault]) -> None:
    """Notes what became of one shard, for `gather_notes`: its entry, or the faults of its samples."""
    if isinstance(outcome, Entry):
        found = {"shards": {name: _as_json(outcome)}}
    else:
        found = {"failures": [[*fault] for fault in outcome]}
    write_json({"settings": settings, **found}, folder / (name + NOTE), indent=None)


def gather_notes(folder: Path, settings: dict, entries: dict[str, Entry]) -> tuple[dict[str, Entry], list[Fault]]:
    """Takes the notes of this conversion over into the journal, and removes all notes.

    Args:
        folder: from `open_folder`.
        settings: of this conversion.
        entries: of the journal, by the name of the shard.

    Returns:
        The entries and those of the notes; and why other shards could not be made, in the order of their names.
    """
    if not is_local(folder):
        # It would list again what it listed before the workers wrote.
        folder.fs.invalidate_cache()  # pyright: ignore[reportAttributeAccessIssue]  a UPath has it
    paths = sorted(folder.iterdir(), key=str) if folder.exists() else []
    paths = [path for path in paths if is_note(path.name)]
    notes = [_read(path, settings) for path in paths]
    for note in notes:
        entries = entries | note.get("shards", {})
    if notes:
        write_entries(folder, settings, entries)
    removal.remove_files(folder, "|".join(re.escape(path.name) for path in paths))
    return entries, [Fault(*fault) for note in notes for fault in note.get("failures", [])]


def rows_name(shard: str) -> str:
    """Names the file beside a shard that has its rows for the ledger."""
    return shard + ROWS


def _read(path: Path, settings: dict) -> dict:
    """Reads the journal or a note, its entries as such; nothing if it is of another conversion."""
    try:
        journal = read_json(path)
        if journal["settings"] != settings:
            return {}
        shards = {
            name: Entry(**entry | {"shard": Shard(**entry["shard"]), "evidence": Evidence(**entry["evidence"])})
            for name, entry in journal.get("shards", {}).items()
        }
        if not all(isinstance(fault, list) for fault in journal.get("failures", [])):
            return {}  # of an earlier version
        return journal | {"shards": shards}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):  # damaged: nothing in it can be relied on
        return {}


def _is_sound(folder: Path, entry: Entry) -> bool:
    rows = folder / rows_name(entry.shard.name)
    return holds(folder, entry.shard) and rows.is_file() and file_sha256(rows) == entry.rows


def holds(folder: Path, shard: Shard) -> bool:
    """Whether a folder has a shard as it was written, byte for byte."""
    path = folder / shard.name
    return path.is_file() and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256
