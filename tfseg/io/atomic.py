"""The one way to write a whole file: under another name beside it, then renamed, so that nobody reads half of one."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfseg.io.paths import is_local

UNFINISHED = "incomplete-"  # begins the name: Keras and OpenCV choose the format by its end


@contextmanager
def write_whole(path: Path, sync: bool = True) -> Iterator[Path]:
    """Gives a path to write to, which takes the place of `path` if the block ends without an error.

    In a store such as gs:// that is `path` itself: there a file appears only when it has been written in full.

    Args:
        path: the file, on this machine or in a store; an older one stays until the new one is whole.
        sync: whether to wait until the disk has it, so that a power cut leaves the old file or the new one. Files
            that are soon made again, such as predicted images, can do without.

    Raises:
        OSError: the file cannot be written, such as on a full disk; the message names `path`. Or a link has the name
            under which it is written at first.
    """
    if not is_local(path):
        try:
            yield path
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)  # what was written so far
            raise
        return
    unfinished = path.with_name(UNFINISHED + path.name)
    if unfinished.is_symlink():
        raise OSError(f"{unfinished}: is a link, where {path.name} is written at first; move it away")
    replaced = False
    try:
        with _name_in_errors(path, unfinished):
            yield unfinished
            if sync:
                with unfinished.open("r+b") as file:
                    os.fsync(file.fileno())
            unfinished.replace(path)
            replaced = True
    finally:
        if not replaced:  # else what has the name now is another process's
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def write_bytes(content: bytes, path: Path, sync: bool = True) -> None:
    """Writes a file, see `write_whole`."""
    with write_whole(path, sync) as unfinished:
        unfinished.write_bytes(content)


def write_text(text: str, path: Path, errors: str = "strict") -> None:
    """Writes a text file in UTF-8, see `write_whole`; `errors` as of `str.encode`."""
    with write_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors=errors)


def write_json(content: dict, path: Path, indent: int | None = 1) -> None:
    """Writes a JSON file, nan as null, see `write_whole`."""
    write_text(to_json(content, indent), path)


def to_json(content: dict, indent: int | None = 1) -> str:
    """Gives the text that `write_json` writes."""
    return json.dumps(_without_nan(content), indent=indent) + "\n"


@contextmanager
def _name_in_errors(path: Path, unfinished: Path) -> Iterator[None]:
    """Names the file in an error of the system that names none, such as that of a full disk, or the unfinished one."""
    try:
        yield
    except OSError as error:
        if error.filename == str(unfinished):
            raise OSError(error.errno, error.strerror, str(path)) from error
        if error.errno is None or error.filename:
            raise
        named = OSError(f"{path}: cannot be written: {error.strerror}")
        named.errno = error.errno
        raise named from error


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
