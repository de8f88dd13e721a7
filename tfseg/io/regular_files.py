"""Files that a user named or a folder lists -> their content, without waiting for what never ends.

To open a named pipe waits for a writer, and a device such as /dev/zero has no end.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from tfseg.io.escaping import printable
from tfseg.io.paths import is_local, open_path

_KINDS = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# A pipe that takes the place of a file between a look at it and its opening is not waited for either.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def read_file(path: str | Path, most: int | None = None) -> bytes:
    """Reads a file whole.

    Args:
        path: of the file, on this machine or in a store.
        most: bytes that it may have; None: as many as it likes.

    Raises:
        ValueError: it is no regular file, or has more bytes; in one line, with the path.
        OSError: it cannot be read.
    """
    if not is_local(place := open_path(path) if isinstance(path, str) else path):
        return place.read_bytes()
    with open_file(path) as file:
        content = file.read() if most is None else read_past(file, most)
    if most is not None and len(content) > most:
        raise ValueError(f"{printable(path)}: has more than {most:,} bytes, which is too large for what it should be")
    return content


def read_start(path: str | Path, count: int) -> bytes:
    """Reads up to so many bytes of a file's beginning; errors as of `read_file`."""
    with open_file(path) as file:
        return file.read(count)


def read_past(file: BinaryIO, most: int) -> bytes:
    """Reads so many bytes, and one more if there is one, taking no more memory than the file has bytes.

    Python asks the system for as much as may come, which it refuses where addresses or memory are limited.
    """
    try:
        size = min(os.fstat(file.fileno()).st_size, most)
    except (OSError, AttributeError):  # of a store
        size = most
    content = file.read(size + 1)
    if size < len(content) <= most:  # one of /proc, which has no size, or one that has grown
        content += file.read(most + 1 - len(content))
    return content


def open_file(path: str | Path) -> BinaryIO:
    """Opens a file to read; errors as of `read_file`."""
    check_regular(path)
    file = os.fdopen(os.open(path, _FLAGS), "rb")
    try:
        _check_kind(path, os.fstat(file.fileno()).st_mode)
    except ValueError:
        file.close()
        raise
    return file


def check_regular(path: str | Path) -> None:
    """Refuses what is there and is no regular file: a pipe, a socket, a device, a folder.

    Raises:
        ValueError: it is one of the first three; in one line, with the path.
        OSError: it is a folder, there is nothing, or it cannot be looked at.
    """
    _check_kind(path, Path(path).stat().st_mode)


def _check_kind(path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{printable(path)}: is {_KINDS.get(stat.S_IFMT(mode), 'no file')}, expected a file")
