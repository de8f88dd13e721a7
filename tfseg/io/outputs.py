"""Folders that reports are written into: what has their names there must be ours, and one process writes at a time."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tfseg.io import locks

PATIENCE = 10  # seconds; writing takes less, and a process that is stopped keeps the others no longer
LOOK = 0.05  # seconds between two looks at the lock
HEAD = 4096  # bytes at the beginning of a page, in which its mark is


def check_names(out: Path, names: Sequence[str], is_ours: Callable[[Path], bool]) -> None:
    """Raises ValueError if names in a folder are taken, by links as well, and the folder is not proven to be ours.

    Args:
        out: the folder.
        names: of the files that are to be written.
        is_ours: whether the folder is.
    """
    taken = [name for name in names if os.path.lexists(out / name)]
    if taken and not is_ours(out):
        raise ValueError(f"{out / taken[0]}: is there already and was not written by this tool; choose another --out")


def has_mark(page: Path, mark: str) -> bool:
    """Whether a file is a page that has a mark in its head."""
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return mark.encode() in file.read(HEAD)


@contextmanager
def write_alone(folder: Path) -> Iterator[None]:
    """Keeps other processes that ask for it from writing into a folder while the block lasts, and waits for them.

    Raises:
        OSError: another process has it for longer than `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while True:
        with locks.hold_folder(folder) as free:
            if free:
                yield
                return
        if time.monotonic() > end:
            raise OSError(f"{folder}: another process is writing here; wait until it ends, or name another folder")
        time.sleep(LOOK)
