"""The folder of an export: whole or not there, and nothing else is ever replaced."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfseg.exporters import model_card, parity
from tfseg.runs import run_dir

# What an export consists of; a folder that holds anything else is never replaced.
EXPORTED = {
    *("fingerprint.pb", "assets", run_dir.LABELS, parity.FILE, model_card.FILE),
    *(part for parts in parity.PARTS.values() for part in parts),
}


@contextmanager
def replace_export(directory: Path) -> Iterator[Path]:
    """Makes a temporary sibling, which takes the place of `directory` only if the block ends without an error.

    Raises:
        ValueError: `directory` is there already and is neither empty nor an export.
        OSError: the disk does not take it.
    """
    directory = directory.resolve()
    check_replaceable(directory)
    incomplete = directory.with_name(f".{directory.name}.incomplete")
    replaced = directory.with_name(f".{directory.name}.replaced")
    put_back(replaced, directory)  # from a run that was killed
    shutil.rmtree(incomplete, ignore_errors=True)
    incomplete.mkdir(parents=True)
    try:
        yield incomplete
        if directory.exists():
            directory.rename(replaced)  # a full folder cannot be renamed over another
        incomplete.rename(directory)
    finally:
        put_back(replaced, directory)
        shutil.rmtree(incomplete, ignore_errors=True)


def put_back(replaced: Path, directory: Path) -> None:
    """Ends a replacement at any point of it: the old export is deleted if the new one is there, else brought back."""
    if directory.exists():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.exists():
        replaced.rename(directory)


def check_replaceable(directory: Path) -> None:
    """Raises ValueError if `directory` is a file, or a folder that is neither empty nor an earlier export."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ValueError(f"{directory} is a file; an export is a folder: name another")
    strangers = sorted({entry.name for entry in directory.iterdir()} - EXPORTED)
    if strangers:
        raise ValueError(
            f"{directory} is no export to replace, it holds {', '.join(strangers[:3])}; name another folder"
        )
