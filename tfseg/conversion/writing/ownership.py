"""Whose the files in a folder of records are: ours are those that our manifest or our journal names.

A name like train-00000-of-00002.tfrecord has many owners, and so has manifest.json.
"""

import re
from pathlib import Path

from tfseg.io import removal
from tfseg.io.atomic import UNFINISHED
from tfseg.io.json_reader import read_bounded, read_json
from tfseg.io.paths import is_leftover
from tfseg.records.ledger import LEDGER_NAME
from tfseg.records.manifest import MANIFEST_NAME, is_shard_name, parse_manifest

JOURNAL_NAME = "journal.json"
SKIPPED_NAME = "tfseg-skipped.jsonl"  # of what was bad and left out, see `skipping`
NOTE = ".json"  # ends the name of a note, after that of its shard
ROWS = ".jsonl"  # likewise of the rows for the ledger
LOCK = ".lock"


def check_ours(folder: Path) -> None:
    """Raises ValueError if a folder holds what no conversion wrote: it is about to be replaced."""
    paths = sorted(folder.iterdir(), key=str) if folder.exists() else []
    paths = [path for path in paths if not (is_leftover(path.name) and path.is_file())]
    foreign = [path.name for path in paths if not (path.is_file() and is_of_records(path.name))]
    if foreign:
        raise ValueError(f"{folder}: holds other files than records, such as {foreign[0]}; choose another --out")
    remedy = "choose another --out, or delete it yourself if nobody needs it"
    try:
        known = _known_names(folder)
    except ValueError as error:
        raise ValueError(f"{folder / MANIFEST_NAME}: is damaged, or none of tfseg's ({error}); {remedy}") from None
    unnamed = [path.name for path in paths if not re.fullmatch("".join(known), path.name.removeprefix(UNFINISHED))]
    if unnamed:
        raise ValueError(f"{folder}: holds {removal.describe(unnamed)}, which no {MANIFEST_NAME} there names; {remedy}")


def is_of_records(name: str) -> bool:
    """Whether a name is of a kind that conversions write, whoever wrote it."""
    name = name.removeprefix(UNFINISHED).removesuffix(".tmp")  # the latter of version 0.1.0
    known = (MANIFEST_NAME, LEDGER_NAME, SKIPPED_NAME, JOURNAL_NAME, LOCK)
    return name in known or is_shard_name(name.removesuffix(NOTE).removesuffix(ROWS))


def _known_names(folder: Path) -> tuple[str, ...]:
    """Names, as regular expressions, of what is ours in a folder by its manifest, or its journal.

    Raises:
        ValueError: there is a manifest, of another program or damaged, and no journal.
    """
    names = [LOCK, JOURNAL_NAME, SKIPPED_NAME, MANIFEST_NAME, LEDGER_NAME]
    if has_journal(folder):  # shards come before they are noted
        return _join(names, r".+-\d+-of-\d+\.tfrecord")
    if not (folder / MANIFEST_NAME).is_file():
        return ()
    manifest = parse_manifest(read_bounded(folder / MANIFEST_NAME))
    return _join([*names, *(shard.name for split in manifest.splits.values() for shard in split.shards)])


def _join(names: list[str], *patterns: str) -> tuple[str, ...]:
    """One expression for names, what matches patterns, notes and rows of these, and what 0.1.0 had not finished."""
    names = [re.escape(name) for name in names if "/" not in name]
    return (rf"({'|'.join([*names, *patterns])})({re.escape(NOTE)}|{re.escape(ROWS)})?(\.tmp)?",)


def has_journal(folder: Path) -> bool:
    """Whether a folder holds the journal of a conversion, or the note of one of its workers."""
    paths = [folder / JOURNAL_NAME]
    paths += [path for path in folder.iterdir() if is_note(path.name)] if folder.is_dir() else []
    return any(_is_journal(path) for path in paths)


def _is_journal(path: Path) -> bool:
    try:
        found = read_json(path)
        return isinstance(found["settings"], dict) and isinstance(found.get("shards", {}), dict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_proven(folder: Path) -> bool:
    try:
        return bool(_known_names(folder))
    except ValueError:
        return False


def has_shards(folder: Path) -> bool:
    """Whether a folder holds any shard that was written in full."""
    return any(is_shard_name(path.name) for path in folder.iterdir()) if folder.exists() else False


def has_work(folder: Path) -> bool:
    """Whether a folder holds what the next conversion can go on with: shards, or a list of what is bad."""
    return has_shards(folder) or (folder / SKIPPED_NAME).is_file()


def is_note(name: str) -> bool:
    """Whether a name is that of a note beside a shard."""
    return name.endswith(NOTE) and is_shard_name(name.removesuffix(NOTE))


RECORDS = removal.Kind("folder of records", _known_names, _is_proven, last=(JOURNAL_NAME, MANIFEST_NAME))
