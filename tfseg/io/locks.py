"""Locks on open files, which the system lets go of when the process ends, however it ends."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tfseg.io.escaping import printable

try:
    import fcntl
except ImportError:  # Windows: two processes at one thing are the user's to avoid
    fcntl = None


_HOLDER = re.compile(r"process \d+ on \S+\n?")  # what a lock's file says


class NoLocks(OSError):
    """The file system, or the operating system, has no locks."""


def take(file: IO | int, wait: bool = False, shared: bool = False) -> bool:
    """Locks a file for as long as this process, or one that it was handed to as it is, has it open.

    Args:
        file: open, or its descriptor.
        wait: until another process lets go of it.
        shared: with others that ask for no more than that.

    Returns:
        Whether it was free.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def take_or_say(file: IO, place: Path, wait: bool = False) -> bool:
    """Locks a file as `take` does; where the file system has no locks, says so of a place and counts it as free."""
    try:
        return take(file, wait)
    except OSError as error:
        print(
            f"{printable(place)}: {error.strerror}; see to it that nothing else writes there",
            file=sys.stderr,
            flush=True,
        )
        return True


@contextmanager
def hold_folder(folder: Path, shared: bool = False) -> Iterator[bool]:
    """Locks a folder itself while the block lasts, as `take` does a file.

    Yields:
        Whether it was free; True where it is not there, or nothing can be locked.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        free = True
        with suppress(OSError):
            free = take(descriptor, shared=shared)
        yield free
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> IO:
    """Opens the file of a lock, which is made if it is not there; what it says stays.

    Raises:
        OSError: it cannot be opened, or is no file of a lock but a link, a folder or somebody's notes.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(f"{path}: is no plain file, where the file of a lock belongs; move it away")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    file = os.fdopen(os.open(path, flags, 0o666), "a+", encoding="utf-8", errors="replace")
    file.seek(0)
    if (text := file.read(200)) and not _HOLDER.fullmatch(text):
        file.close()
        raise OSError(f"{path}: is not the file of a lock, it begins with {text[:20]!r}; move it away")
    return file


class Lock:
    """A file that says which process has a folder, gone when that process has let go of it.

    Args:
        path: of the file, in a folder that is there.

    Attributes:
        path: as given.
    """

    def __init__(self, path: Path):
        self.path, self.file = path, None

    def take(self) -> str | None:
        """Takes the lock, and keeps it until `release` or the end of this process.

        Returns:
            None, or who has it: what that process wrote there, "process 4711 on node3".

        Raises:
            NoLocks: nothing can be locked here.
            OSError: the file cannot be written.
        """
        import socket

        while self.file is None:
            file = open_lock(self.path)
            try:
                free = take(file)
            except OSError as error:
                file.close()
                raise NoLocks(error.errno, os.strerror(error.errno or 0)) from None
            if not free:
                with file:
                    file.seek(0)
                    return file.read().strip() or "another process"
            if not self._is(file):  # the one before deleted it when it let go
                file.close()
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            self.file = file
        if fcntl is None:
            raise NoLocks(0, "this operating system has no locks of files")
        return None

    def release(self) -> None:
        """Lets go of the lock, and deletes its file."""
        if self.file is None:
            return
        with self.file, suppress(OSError):
            if self._is(self.file):
                self.path.unlink()
        self.file = None

    def _is(self, file: IO) -> bool:
        """Whether an open file is the one of that name."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False
