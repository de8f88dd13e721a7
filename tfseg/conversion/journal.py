"""A folder of shards in the making: locked, noted down shard by shard, and in its place only when it is whole.

A conversion to DIR writes into DIR.incomplete. Each finished shard is noted in the journal there, so that whatever ends
a conversion, an error, Ctrl-C, a full disk, a power cut, the next one resumes after the last finished shard. A store
such as gs:// has neither locks nor a rename in one step: there DIR itself is written, the manifest last.

Workers of other machines cannot share one journal: each leaves a note beside its shard, to be gathered later.
"""

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.conversion.evidence import Evidence
from tfseg.io import locks
from tfseg.io.atomic import UNFINISHED, write_json
from tfseg.io.paths import is_local
from tfseg.records.manifest import MANIFEST_NAME, Shard, is_shard_name
from tfseg.records.records import file_sha256

JOURNAL_NAME = "journal.json"
NOTE = ".json"  # ends the name of a note, after that of its shard
LOCK = ".lock"


@dataclass(frozen=True)
class Entry:
    """What is noted of a finished shard: the file, what it was made of, the sums for its split's statistics, and what
    was seen in its files."""

    shard: Shard
    sources: str  # see `fingerprint`
    class_pixels: list[int]
    channel_sums: list[int]  # of red, green, blue
    channel_squares: list[int]
    evidence: Evidence = field(default_factory=Evidence)


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
    _check_only_records(out)
    return any(out.iterdir())


@contextmanager
def open_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Gives the folder to write into, with what an earlier conversion has finished; it becomes `out` if all goes well.

    If anything does not, the folder is kept for the next conversion, or removed if no shard is finished yet.

    Args:
        out: local, or in a store.
        overwrite: whether records that are there may be replaced.

    Raises:
        ValueError: another conversion is writing there, or it holds what no conversion wrote.
        OSError: the place cannot be written to.
    """
    if not is_local(out):
        (out / MANIFEST_NAME).unlink(missing_ok=True)  # not whole any more
        yield out
        clear(out)
        return
    incomplete, replaced = (out.with_name(out.name + ending) for ending in (".incomplete", ".replaced"))
    for leftover in (incomplete, replaced):
        _check_only_records(leftover)
    incomplete.mkdir(parents=True, exist_ok=True)
    with _lock(incomplete):
        try:
            if is_there(out) and not overwrite:
                raise ValueError(f"{out}: another conversion has just made it")
            yield incomplete
            if out.exists():
                out.rename(replaced)
            incomplete.rename(out)
        except BaseException:  # Ctrl-C too
            if replaced.exists() and not out.exists():  # set aside just now, or by one that was killed
                replaced.rename(out)
            _keep_finished(incomplete)
            raise
        clear(out)


def clear(out: Path) -> None:
    """Removes what only a conversion needs; one that was killed in its last moment leaves it behind."""
    for name in (JOURNAL_NAME, LOCK):
        (out / name).unlink(missing_ok=True)
    if is_local(out) and (replaced := out.with_name(out.name + ".replaced")).exists():
        _check_only_records(replaced)
        shutil.rmtree(replaced)


def _keep_finished(incomplete: Path) -> None:
    if any(is_shard_name(path.name) for path in incomplete.iterdir()):
        print(f"{incomplete}: keeps the finished shards; the same command resumes from them", file=sys.stderr)
    else:
        shutil.rmtree(incomplete, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds a folder for this process."""
    with (folder / LOCK).open("w") as file:
        if not locks.take(file):
            raise ValueError(f"{folder}: another conversion is writing here; wait for it")
        yield


def _check_only_records(folder: Path) -> None:
    """Refuses a folder that holds what no conversion wrote: it is about to be replaced."""
    foreign = [path.name for path in sorted(folder.iterdir()) if not _is_ours(path)] if folder.exists() else []
    if foreign:
        raise ValueError(f"{folder}: holds other files than records, such as {foreign[0]}; choose another --out")


def _is_ours(path: Path) -> bool:
    name = path.name.removeprefix(UNFINISHED).removesuffix(".tmp")  # the latter of version 0.1.0
    # .DS_Store is left by macOS in every folder it shows.
    return path.is_file() and (
        name in (MANIFEST_NAME, JOURNAL_NAME, LOCK, ".DS_Store") or is_shard_name(name.removesuffix(NOTE))
    )


# ---- the journal


def read_entries(folder: Path, settings: dict, fingerprints: dict[str, str]) -> dict[str, Entry]:
    """Finds what an earlier conversion with the same settings has finished, by the name of the shard.

    A shard counts if its size and hash are as noted and its sources as they were. All others are removed.

    Args:
        folder: from `open_folder`.
        settings: of this conversion.
        fingerprints: what the sources of each shard are now.
    """
    noted, _ = gather_notes(folder, settings, _read(folder / JOURNAL_NAME, settings).get("shards", {}))
    entries = {
        name: entry
        for name, entry in noted.items()
        if entry.sources == fingerprints.get(name) and _is_sound(folder, entry.shard)
    }
    for path in list(folder.iterdir()) if folder.exists() else []:
        if path.name not in (LOCK, JOURNAL_NAME, *entries) and _is_ours(path):
            path.unlink()
    return entries


def write_entries(folder: Path, settings: dict, entries: dict[str, Entry]) -> None:
    """Writes the journal anew, whole or not at all."""
    noted = {name: dataclasses.asdict(entry) for name, entry in entries.items()}
    write_json({"settings": settings, "shards": noted}, folder / JOURNAL_NAME, indent=None)


def write_note(folder: Path, settings: dict, name: str, outcome: Entry | str | Sequence[str]) -> None:
    """Notes what became of one shard, for `gather_notes`: its entry, or the reasons why it could not be made."""
    if isinstance(outcome, Entry):
        found = {"shards": {name: dataclasses.asdict(outcome)}}
    else:
        found = {"failures": [outcome] if isinstance(outcome, str) else [*outcome]}
    write_json({"settings": settings, **found}, folder / (name + NOTE), indent=None)


def gather_notes(folder: Path, settings: dict, entries: dict[str, Entry]) -> tuple[dict[str, Entry], list[str]]:
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
    paths = [path for path in paths if _is_note(path.name)]
    notes = [_read(path, settings) for path in paths]
    for note in notes:
        entries = entries | note.get("shards", {})
    if notes:
        write_entries(folder, settings, entries)
    for path in paths:
        path.unlink()
    return entries, [failure for note in notes for failure in note.get("failures", [])]


def _is_note(name: str) -> bool:
    return name.endswith(NOTE) and is_shard_name(name.removesuffix(NOTE))


def fingerprint(files: Sequence[Path]) -> str:
    """Hashes names, sizes and times of files: another value says that a shard made of them may be out of date."""
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(
            f"{path}\0{status.st_size}\0{getattr(status, 'st_mtime_ns', 0)}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _read(path: Path, settings: dict) -> dict:
    """Reads the journal or a note, its entries as such; nothing if it is of another conversion."""
    try:
        journal = json.loads(path.read_text(encoding="utf-8"))
        if journal["settings"] != settings:
            return {}
        shards = {
            name: Entry(**entry | {"shard": Shard(**entry["shard"]), "evidence": Evidence(**entry["evidence"])})
            for name, entry in journal.get("shards", {}).items()
        }
        return journal | {"shards": shards}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):  # damaged: nothing in it can be relied on
        return {}


def _is_sound(folder: Path, shard: Shard) -> bool:
    path = folder / shard.name
    return path.is_file() and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256
