"""Names that come from data: what they may be.

Ids of samples and names of splits, shards and classes are chosen by whoever made the data, and some of them become
names of files. They are checked once, where manifests, records and label maps are read and where conversion makes them,
so that nothing can be written outside of the folder that it was meant for. A name that has passed may still hold what
turns text round: where names are shown, `escaping` makes them fit.
"""

import re
import unicodedata

from tfseg.io.escaping import shorten

MOST_NAME_BYTES = 255  # of a file's name, on every file system in use
MOST_ID_BYTES = 4096  # of a path on Linux
MOST_SHOWN = 80  # letters of a name in an error

_CONTROL = ("Cc", "Zl", "Zp")  # categories: control characters, separators of lines and of paragraphs
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def check_text(text: str, kind: str, most: int = MOST_NAME_BYTES) -> str:
    """Gives a name back that stays in its line, such as a class's.

    Args:
        text: the name.
        kind: what it names, for the error.
        most: bytes that it may have in UTF-8.

    Raises:
        ValueError: it is empty or too long, has control characters, or cannot be written in UTF-8.
    """
    try:
        count = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"has the {kind} {quote(text)}, which cannot be written in UTF-8") from None
    if not 0 < count <= most:
        raise ValueError(f"has the {kind} {quote(text)} of {count:,} bytes, expected 1 to {most:,}")
    if has_control(text):
        raise ValueError(f"has the {kind} {quote(text)}, expected no line breaks and no other control characters")
    return text


def check_name(name: str, kind: str) -> str:
    """Gives a name back that can be one of a file in a folder, such as a shard's or a split's.

    Raises:
        ValueError: as of `check_text`, or it has separators, or is "." or "..".
    """
    check_text(name, kind)
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"has the {kind} {quote(name)}, expected a name without / and \\ that is not . or ..")
    return name


def check_id(id: str) -> str:
    """Gives an id back that can be the name of a file, in folders if it has slashes: seq/0001.

    Raises:
        ValueError: as of `check_text`, or it leads out of the folder that it is put into, here or on Windows.
    """
    check_text(id, "id", MOST_ID_BYTES)
    parts = id.split("/")
    if "" in parts or not {".", ".."}.isdisjoint(re.split(r"[\\/]", id)) or id[0] == "\\" or _DRIVE.match(id):
        raise ValueError(f"has the id {quote(id)}, expected one that is not absolute and has no part that is . or ..")
    return id


def has_control(text: str) -> bool:
    """Whether a text has control characters: line breaks, ANSI escapes, NUL."""
    return not text.isprintable() and any(unicodedata.category(letter) in _CONTROL for letter in text)


def quote(name: object) -> str:
    """Quotes a name for an error, escaped, and cut if it is long."""
    return f"'{shorten(name, MOST_SHOWN)}'"
