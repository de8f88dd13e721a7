"""Where data lie: on this machine, or in a store such as gs://bucket/folder or s3://bucket/folder.

A local path is a plain `pathlib.Path`, as fast as ever; a store's is a `upath.UPath`, which answers to the same
methods through fsspec.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What TensorFlow takes for more than itself where it reads weights; a backslash is no such thing on Windows.
PATTERNS = frozenset("[]\\*?{}") - {os.sep}


def open_path(place: str | Path) -> Path:
    """Makes a path of what a user wrote.

    Raises:
        ValueError: the address is of a kind that no installed package reaches.
    """
    if "://" not in str(place):
        return Path(place)
    try:
        from upath import UPath

        path = UPath(place)
        path.fs  # noqa: B018 - looks for the package that reaches this kind of store
    except (ImportError, ValueError) as error:  # ValueError: a kind that fsspec does not know
        raise ValueError(
            f"{place}: cannot be reached ({error}); pip install 'tf-segmentation[cloud]' reaches gs and s3"
        ) from None
    return path  # pyright: ignore[reportReturnType]  # a UPath answers to the methods of a Path


def is_local(path: Path) -> bool:
    """Whether a path of `open_path` is on this machine, where folders can be locked and renamed in one step."""
    return type(path) is type(Path())


@contextmanager
def without_patterns(directory: Path) -> Iterator[Path]:
    """Gives a folder under a name that TensorFlow takes as it is, for as long as the block lasts.

    Where it loads a SavedModel, it looks for the files whose names match the path: none do if that has [0.1] in it, or
    a backslash, and perhaps those of another model if it has a star.

    Raises:
        OSError: the folder has such a name, and so has the temporary one, or links cannot be made.
    """
    if not PATTERNS & set(str(directory.absolute())):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="tfseg-") as folder:
        alias = Path(folder, "model")
        if PATTERNS & set(str(alias)):
            raise OSError(f"{directory}: TensorFlow cannot load from this name; set TMPDIR to one without []\\*?{{}}")
        alias.symlink_to(directory.resolve(), target_is_directory=True)
        yield alias


# What systems leave in folders that they show or pack, beside names that begin with a dot.
_LEFT_BY_SYSTEMS = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"),
    "system volume information",
}


def is_hidden(name: str) -> bool:
    """Whether a name in a folder is none of the user's: ._x.png, .ipynb_checkpoints, __MACOSX, Thumbs.db."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_leftover(name: str) -> bool:
    """Whether a file of this name was left by a system in a folder that it showed or packed: .DS_Store, Thumbs.db.

    Unlike hidden names in general, such a file is nobody's, and may go with the folder that it lies in.
    """
    return name.lower() in {".ds_store", *_LEFT_BY_SYSTEMS} or name.startswith("._")
