"""The folder of an export: whole or not there, and nothing else is ever replaced."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfseg.inference.labels_file import read_labels
from tfseg.io import staging
from tfseg.io.escaping import printable
from tfseg.io.removal import Kind, describe, find_strangers, is_ours
from tfseg.runs import run_dir
from tfseg.runs.contents import EXPORT_FILES


def _proves(directory: Path) -> bool:
    """Whether a folder holds a model with labels.json as exports have it; a SavedModel of others has none."""
    try:
        read_labels(directory / run_dir.LABELS)
    except (OSError, ValueError):
        return False
    return (directory / "saved_model.pb").is_file()


# What an export consists of; a folder that holds anything else is never replaced.
EXPORT = Kind("exported model", EXPORT_FILES, _proves, last=("saved_model.pb", run_dir.LABELS))


@contextmanager
def replace_export(directory: Path) -> Iterator[Path]:
    """Makes a temporary sibling, which takes the place of `directory` only if the block ends without an error.

    Raises:
        ValueError: `directory` is there already and is neither empty nor an export, or another process writes it.
        OSError: the disk does not take it.
    """
    check_replaceable(directory)
    directory = staging.resolve_place(directory)
    _name_leftovers(directory)
    with staging.stage_folder(directory, EXPORT) as incomplete:
        yield incomplete


def check_replaceable(directory: Path) -> None:
    """Raises ValueError if `directory` is a file, a link to a folder that is not empty, or a folder that is neither
    empty nor an earlier export."""
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file; an export is a folder: name another")
    if directory.is_dir() and (strangers := find_strangers(directory, EXPORT)):
        raise ValueError(f"{directory} is no export to replace, it holds {describe(strangers)}; name another folder")
    staging.check_replaceable(staging.resolve_place(directory), EXPORT)


def _name_leftovers(directory: Path) -> None:
    """Brings back what a killed export of before this version had set aside, and names what else it left."""
    replaced = directory.with_name(f".{directory.name}.replaced")
    if not directory.exists() and replaced.is_dir() and is_ours(replaced, EXPORT):
        replaced.rename(directory)
    for left in (replaced, directory.with_name(f".{directory.name}.incomplete")):
        if left.exists():
            print(
                f"{printable(left)}: was left by an export that was killed; delete it if it is not yours",
                file=sys.stderr,
            )
