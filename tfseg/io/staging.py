"""A folder in the making: in a hidden sibling that one process holds, and in its place only when it is whole.

.NAME.tfseg-incomplete/.tfseg.json   says that this program made it
.NAME.tfseg-incomplete/.lock         by which process
.NAME.tfseg-incomplete/new/          what is being made
.NAME.tfseg-incomplete/replaced/     what was at NAME before, while the two change places

Whatever ends a process, NAME is then the old folder or the new one, or the next process that stages it brings the old
one back.
"""

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfseg.io import locks
from tfseg.io.atomic import UNFINISHED
from tfseg.io.escaping import printable
from tfseg.io.removal import (
    MARK,
    Kind,
    RefusedError,
    check_place,
    check_removable,
    is_empty,
    is_ours,
    remove_files,
    remove_folder,
    write_mark,
)

LOCK, NEW, REPLACED = ".lock", "new", "replaced"
BOX = Kind("folder in the making", ())  # of its mark alone: what lies in it is removed part by part
_NEW = Kind("folder in the making", ("**",), lambda _: True)


def staging_path(place: Path) -> Path:
    """Names the sibling in which a folder is made."""
    return place.with_name(f".{place.name}.tfseg-incomplete")


def resolve_place(place: Path) -> Path:
    """Follows a link to where a folder will be. What is there already is replaced by its own name alone.

    Raises:
        RefusedError: the link leads to a folder that is not empty.
    """
    if place.is_symlink() and place.is_dir() and not is_empty(place):
        check_place(place)
    return place.resolve()


def check_replaceable(place: Path, kind: Kind) -> None:
    """Raises RefusedError unless nothing is at a place, or an empty folder, or one of a kind that may be replaced."""
    if place.exists() or place.is_symlink():
        check_removable(place, kind)


@contextmanager
def stage_folder(
    place: Path, kind: Kind, keeps: Callable[[Path], bool] = lambda _: False, may_replace: Callable[[], object] = int
) -> Iterator[Path]:
    """Makes a folder to write into, which takes its place if the block ends without an error.

    Args:
        place: where it will be, on this machine.
        kind: of what is there, if there is anything but an empty folder.
        keeps: whether what was made so far is kept for the next process, if the block or this process ends too early.
        may_replace: called just before what is there is replaced; raises if it may not be.

    Raises:
        RefusedError: what is there may not be replaced, or another process is making it.
        OSError: the disk does not take it.
    """
    box = staging_path(place)
    new = box / NEW
    with _hold(box, place):
        _end_exchange(box, place, kind)
        check_replaceable(place, kind)
        if new.exists() and not keeps(new):
            remove_folder(new, _NEW)
        new.mkdir(exist_ok=True)
        try:
            yield new
            may_replace()
            check_replaceable(place, kind)
            if place.exists():
                place.rename(box / REPLACED)  # a full folder cannot be renamed over another
            new.rename(place)
        finally:
            _end_exchange(box, place, kind)
            if new.exists() and not keeps(new):
                remove_folder(new, _NEW)


def tidy(place: Path, kind: Kind) -> None:
    """Ends what a process had begun that was killed while two folders changed places, unless another does so now."""
    box = staging_path(place)
    if (box / REPLACED).exists() or (box.is_dir() and not (box / NEW).exists()):
        with suppress(RefusedError), _hold(box, place):
            _end_exchange(box, place, kind)


def discard(place: Path) -> None:
    """Removes what a process had made for a place that does not need it any more, unless another resumes it."""
    box = staging_path(place)
    if (box / NEW).exists():
        with suppress(RefusedError), _hold(box, place):
            remove_folder(box / NEW, _NEW)


def _end_exchange(box: Path, place: Path, kind: Kind) -> None:
    """Ends an exchange at any point of it: the old folder is removed if the new one is there, else brought back."""
    replaced = box / REPLACED
    if not replaced.exists():
        return
    if place.is_dir() and is_empty(place):  # which somebody made meanwhile
        remove_folder(place, kind)
    if not place.exists():
        replaced.rename(place)
    elif (box / NEW).exists():
        raise RefusedError(f"{replaced}: is what {place} was before something else came there; move one of them away")
    else:
        # Where it lies proves it: a process may have been killed that had removed half of it.
        remove_folder(replaced, dataclasses.replace(kind, proven=lambda _: True))


@contextmanager
def _hold(box: Path, place: Path) -> Iterator[None]:
    """Makes the sibling, or takes over that of a process that has ended; removes it in the end if it holds nothing."""
    lock = _lock(box, place)
    try:
        write_mark(box, BOX, place=place.name)
        yield
    finally:
        try:
            if not any((box / name).exists() for name in (NEW, REPLACED)):
                left = (MARK, UNFINISHED + MARK, *(() if lock.file else (LOCK,)))  # the lock goes when it is let go of
                remove_files(box, *map(re.escape, left))
        finally:
            lock.release()
        with suppress(OSError):  # something is kept, or another process has it now
            box.rmdir()


def _lock(box: Path, place: Path) -> locks.Lock:
    lock, holder = locks.Lock(box / LOCK), None
    while lock.file is None:
        _make(box)
        try:
            holder = lock.take()
        except locks.NoLocks as error:
            if locks.fcntl is not None:
                print(
                    f"{printable(place)}: {error.strerror}; see to it that nothing else writes there", file=sys.stderr
                )
            return lock
        except FileNotFoundError:  # the process that had it has just removed it
            continue
        if holder:
            raise RefusedError(f"{place}: another process is writing here ({holder}); wait for it")
    return lock


def _make(box: Path) -> None:
    """Makes the sibling; refuses what has its name and was not made here."""
    box.mkdir(parents=True, exist_ok=True)
    check_place(box)
    if {path.name for path in box.iterdir()} - {MARK, UNFINISHED + MARK, LOCK} and not is_ours(box, BOX):
        raise RefusedError(f"{box}: was not made by tfseg; move it away")
