"""Names that come from data: what they may be, and how they are shown.

Ids of samples and names of splits, shards and classes are chosen by whoever made the data, and some of them become
names of files. They are checked once, where manifests, records and label maps are read and where conversion makes them,
so that nothing can be written outside of the folder that it was meant for. A name that has passed may still hold what
turns text round; `printable` escapes that where names are shown.
"""

import re
import unicodedata

MOST_NAME_BYTES = 255  # of a file's name, on every file system in use
MOST_ID_BYTES = 4096  # of a path on Linux
MOST_SHOWN = 80  # characters of a name in an error

_LINE_BREAKS = ("Cc", "Zl", "Zp")  # categories: control characters, separators of lines and of paragraphs
_OBEYED = (*_LINE_BREAKS, "Cf", "Cs", "Co", "Cn")  # formatting such as a change of direction, and what is no character
_JOINERS = "\u200c\u200d"  # of category Cf, which Persian and emoji are written with
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_PLAIN = re.compile(r"[ -~]*")


def printable(text: object, keep: str = "") -> str:
    """Escapes what a terminal would obey: control characters, ANSI escapes, changes of direction, line breaks.

    Args:
        text: whatever is to be shown, as `str` makes it.
        keep: characters to leave as they are, such as a line break.
    """
    text = str(text)
    if _PLAIN.fullmatch(text):
        return text
    return "".join(letter if letter in keep or not _is_obeyed(letter) else _escape(letter) for letter in text)


def shown(name: object) -> str:
    """Quotes a name for an error, escaped and shortened."""
    text = str(name)
    return f"'{printable(text)}'" if len(text) <= MOST_SHOWN else f"'{shorten(text)}' ({len(text):,} characters)"


def shorten(value: object, most: int = MOST_SHOWN) -> str:
    """Makes an escaped text of some data for an error, cut off if it is long."""
    text = str(value)
    return printable(text) if len(text) <= most else f"{printable(text[:most])}..."


def check_text(text: str, kind: str, most: int = MOST_NAME_BYTES) -> str:
    """Gives a name back that stays in its line, such as a class's.

    Args:
        text: the name.
        kind: what it names, for the error.
        most: bytes that it may have in UTF-8.

    Raises:
        ValueError: it is empty or too long, has control characters, or is not to be written in UTF-8.
    """
    try:
        count = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"has the {kind} {shown(text)}, which cannot be written in UTF-8") from None
    if not 0 < count <= most:
        raise ValueError(f"has the {kind} {shown(text)} of {count:,} bytes, expected 1 to {most:,}")
    if has_line_break(text):
        raise ValueError(f"has the {kind} {shown(text)}, expected no line breaks and no other control characters")
    return text


def check_name(name: str, kind: str) -> str:
    """Gives a name back that can be one of a file in a folder, such as a shard's or a split's.

    Raises:
        ValueError: as of `check_text`, or it has separators, or is "." or "..".
    """
    check_text(name, kind)
    if name in (".", "..") or "/" in name or "\\" in name:
        raise ValueError(f"has the {kind} {shown(name)}, expected a name without / and \\ that is not . or ..")
    return name


def check_id(id: str) -> str:
    """Gives an id back that can be the name of a file, in folders if it has slashes: seq/0001.

    Raises:
        ValueError: as of `check_text`, or it leads out of the folder that it is put into, here or on Windows.
    """
    check_text(id, "id", MOST_ID_BYTES)
    parts = id.split("/")
    if "" in parts or not {".", ".."}.isdisjoint(re.split(r"[\\/]", id)) or id[0] == "\\" or _DRIVE.match(id):
        raise ValueError(
            f"has the id {shown(id)}, expected one that stays in its folder: not absolute, without . and .."
        )
    return id


def has_line_break(text: str) -> bool:
    """Whether a text has control characters: line breaks, ANSI escapes, NUL."""
    return not text.isprintable() and any(unicodedata.category(letter) in _LINE_BREAKS for letter in text)


def _is_obeyed(letter: str) -> bool:
    return unicodedata.category(letter) in _OBEYED and letter not in _JOINERS


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()
