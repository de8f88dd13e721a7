"""The one place that removes folders: only those that are proven to be ours, and in them only what is known by name.

Everything is looked at before anything is removed, and what goes is what was seen: by its name in folders that are held
open, so that no link is followed, and nothing that came meanwhile is lost.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tfseg.io.atomic import UNFINISHED, write_json
from tfseg.io.json_reader import read_json
from tfseg.io.paths import is_leftover, is_local

MARK = ".tfseg.json"  # says of a folder what it is and that this program made it
NAMED = 3  # strangers that an error names, the others are counted
_BY_DESCRIPTOR = {os.open, os.unlink, os.rmdir} <= os.supports_dir_fd
_OPEN = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


class RefusedError(ValueError):
    """A folder is not removed, and nothing in it was."""


@dataclass(frozen=True)
class Kind:
    """A kind of folder that this program makes, and may remove again.

    Attributes:
        name: for messages and marks, such as "run".
        known: paths below such a folder, each part a regular expression that a name must match in full. "**" is any
            number of folders, or at the end whatever lies there; a "/" at the end is an empty folder. Or a function of
            the folder that gives them.
        proven: whether a folder is one, for those that have no mark.
        last: names that go last, since they prove it.
    """

    name: str
    known: tuple[str, ...] | Callable[[Path], tuple[str, ...]]
    proven: Callable[[Path], bool] = lambda _: False
    last: tuple[str, ...] = ()


@dataclass
class _Seen:
    """What is to be removed of a folder."""

    files: list[str] = field(default_factory=list)
    folders: "dict[str, _Seen]" = field(default_factory=dict)


def write_mark(folder: Path, kind: Kind, **facts: object) -> None:
    """Marks a folder as one that this program made.

    Raises:
        RefusedError: a file that is no mark has its name.
        OSError: it cannot be written.
    """
    if os.path.lexists(folder / MARK) and not _is_mark(folder / MARK):
        raise RefusedError(f"{folder / MARK}: was not written by tfseg; move it away, or name another folder")
    write_json({"made_by": "tfseg", "kind": kind.name, **facts}, folder / MARK)


def read_mark(folder: Path, kind: Kind) -> dict | None:
    """Reads what `write_mark` wrote; None: the folder has no such mark, or that of another kind."""
    try:
        mark = read_json(folder / MARK)
        return mark if (mark["made_by"], mark["kind"]) == ("tfseg", kind.name) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_mark(path: Path) -> bool:
    """Whether a file is the mark of any kind of folder."""
    try:
        mark = read_json(path)
    except (OSError, ValueError):
        return False
    return not path.is_symlink() and isinstance(mark, dict) and mark.get("made_by") == "tfseg"


def is_ours(folder: Path, kind: Kind) -> bool:
    """Whether a folder is proven to be of a kind, by its mark or by what lies in it."""
    return read_mark(folder, kind) is not None or kind.proven(folder)


def remove_folder(folder: Path, kind: Kind) -> None:
    """Removes a folder of ours, if it is there; an empty one needs no proof.

    Raises:
        RefusedError: as of `check_removable`.
        OSError: the system does not let it go, or something came into it meanwhile, which stays.
    """
    if not os.path.lexists(folder):
        return
    with _checked(folder, kind) as seen:
        _clear(folder, seen, kind)
    folder.rmdir()


def empty_folder(folder: Path, kind: Kind, keep: tuple[str, ...] = ()) -> None:
    """Removes what lies in a folder of ours, but for some files in it; errors as of `remove_folder`."""
    with _checked(folder, kind) as seen:
        seen.files = [name for name in seen.files if name not in keep]
        _clear(folder, seen, kind)


def remove_files(folder: Path, *names: str) -> None:
    """Removes files of a folder whose names match one of some regular expressions in full; links and folders stay."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        plain = not is_local(path) or (path.is_file() and not path.is_symlink())
        if plain and any(re.fullmatch(name, path.name) for name in names):
            path.unlink(missing_ok=True)


def check_removable(folder: Path, kind: Kind) -> None:
    """Checks that a folder could be removed.

    Raises:
        RefusedError: it is no folder but a link or a file, or a place that is never removed, see `check_place`; it is
            not proven to be of this kind, or holds what is not known by name: files of others, links, mount points.
    """
    with _checked(folder, kind):
        pass


def find_strangers(folder: Path, kind: Kind) -> list[str]:
    """Lists what a folder holds that is not known by name, as paths below it, folders among them with a slash."""
    seen, strangers = _Seen(), []
    _look(folder, (), _split(kind, folder), seen, strangers)
    return strangers


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what systems leave behind, such as .DS_Store."""
    return all(is_leftover(path.name) and not path.is_dir() for path in folder.iterdir())


def check_place(folder: Path) -> None:
    """Raises RefusedError for a link, a mount point or what has one below it, the working directory, the home directory
    and all folders that these two lie in."""
    if folder.is_symlink():
        raise RefusedError(f"{folder}: is a symbolic link to {folder.readlink()}; name that folder itself")
    if not folder.is_dir():
        raise RefusedError(f"{folder}: is a file, not a folder")
    place = folder.resolve()
    home = Path(os.path.expanduser("~"))  # noqa: PTH111  that of Path raises where there is none
    for what, kept in (("working", Path.cwd().resolve()), ("home", home.resolve())):
        if place in (kept, *kept.parents):
            where = f"is the {what} directory" if place == kept else f"holds the {what} directory"
            raise RefusedError(f"{folder}: {where}, which is never removed; name another folder")
    for mount in _mounts(place):
        where = "is a mount point" if mount == place else f"has a mount point in it, {mount}"
        raise RefusedError(f"{folder}: {where}, which is never removed; name a folder below it, or another")


def describe(strangers: list[str]) -> str:
    """Words what a folder holds, some of it by name: "5 files or folders (a.txt, b/, c ...)"."""
    shown = ["".join(letter if letter.isprintable() else "?" for letter in name) for name in strangers[:NAMED]]
    count = f"{len(strangers)} files or folders" if len(strangers) > 1 else "a file or folder"
    return f"{count} ({', '.join(shown)}{' ...' if len(strangers) > NAMED else ''})"


@contextmanager
def _checked(folder: Path, kind: Kind) -> Iterator[_Seen]:
    """Gives what is in a folder, once it is clear that it may go."""
    check_place(folder)
    seen, strangers = _Seen(), []
    if not is_empty(folder) and not is_ours(folder, kind):
        raise RefusedError(f"{folder}: holds no {kind.name} that tfseg made, so nothing in it is removed; name another")
    _look(folder, (), _split(kind, folder), seen, strangers)
    if strangers:
        raise RefusedError(
            f"{folder}: holds {describe(strangers)}, no part of a {kind.name}, so nothing in it is removed; "
            "move that away, or name another folder"
        )
    yield seen


def _split(kind: Kind, folder: Path) -> list[list[str]]:
    known = kind.known(folder) if callable(kind.known) else kind.known
    return [pattern.split("/") for pattern in (re.escape(MARK), *known)]


def _look(folder: Path, parts: tuple[str, ...], known: list[list[str]], seen: _Seen, strangers: list[str]) -> None:
    """Sorts what lies in a folder into what is known and what is not; of a folder that is not, nothing else is read."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = (*parts, entry.name)
            here = [pattern for pattern in known if _fits(path, pattern, entry.is_dir(follow_symlinks=False))]
            if entry.is_dir(follow_symlinks=False):
                is_known = here or not list((folder / entry.name).iterdir())  # nothing is lost with an empty one
                if is_known and not os.path.ismount(folder / entry.name):
                    seen.folders[entry.name] = _Seen()
                    _look(folder / entry.name, path, here, seen.folders[entry.name], strangers)
                else:
                    strangers.append("/".join(path) + "/")
            elif any(_takes_all(path, pattern) for pattern in here) or (
                entry.is_file(follow_symlinks=False) and (here or is_leftover(entry.name))
            ):
                seen.files.append(entry.name)
            else:
                strangers.append("/".join(path) + (" (a link)" if entry.is_symlink() else ""))


def _fits(parts: Sequence[str], pattern: Sequence[str], folder: bool) -> bool:
    """Whether a path is of a pattern, or for a folder, whether it is on the way to one."""
    if not pattern:
        return not parts and not folder
    if [*pattern] == ["**"]:
        return True
    if not parts:
        return folder
    if pattern[0] == "**":
        return any(_fits(parts[start:], pattern[1:], folder) for start in range(len(parts) + 1))
    name = parts[0] if len(parts) > 1 or folder else parts[0].removeprefix(UNFINISHED)
    return re.fullmatch(pattern[0], name) is not None and _fits(parts[1:], pattern[1:], folder)


def _takes_all(parts: tuple[str, ...], pattern: list[str]) -> bool:
    return pattern[-1] == "**" and len(parts) >= len(pattern)


def _clear(folder: Path, seen: _Seen, kind: Kind) -> None:
    """Removes from a folder what was seen there, its proof last."""
    order = [*(name for name in seen.files if name not in (*kind.last, MARK)), *kind.last, MARK]
    seen.files = [name for name in order if name in seen.files]
    descriptor = os.open(folder, _OPEN) if _BY_DESCRIPTOR else None
    try:
        _clear_below(folder, descriptor, seen)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _clear_below(folder: Path, descriptor: int | None, seen: _Seen) -> None:
    """Removes what was seen in a folder that is held open, or where a system has no such thing, by its path."""
    for name, inner in seen.folders.items():
        place = folder / name
        if descriptor is None:
            _clear_below(place, None, inner)
            place.rmdir()
            continue
        below = os.open(name, _OPEN, dir_fd=descriptor)
        try:
            _clear_below(place, below, inner)
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=descriptor)
    for name in seen.files:
        with suppress(FileNotFoundError):  # somebody else was faster
            os.unlink(folder / name if descriptor is None else name, dir_fd=descriptor)


def _mounts(folder: Path) -> list[Path]:
    """Lists mount points, the folder itself first and what lies below it."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:  # not Linux: those below it are found when it is looked through
        return [folder] if os.path.ismount(folder) else []
    places = [re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), line.split()[4]) for line in lines]
    return sorted(place for place in map(Path, map(os.fsdecode, places)) if folder in (place, *place.parents))
