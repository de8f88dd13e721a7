"""Names in figures: in fonts that have their letters, and legends that a figure has room for, however many classes.

Matplotlib's own font has Latin, Greek, Cyrillic, Arabic and Hebrew letters, and draws boxes for others.
"""

import functools
import logging
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

LONGEST = 48  # letters of a class's name that are drawn
# Fonts whose letters are asked for first; many others have a few of them, drawn for other purposes.
PREFERRED = ("noto sans", "source han sans", "hiragino", "pingfang", "yahei", "yu gothic", "malgun", "wenquanyi")
UNFIT = ("last resort", "lastresort", "emoji", "nonunicode", "display", "math", "sizeonesym", "cmex")
LINE = 1.55  # height of a legend's row, in sizes of its letters


def as_text(name: str, longest: int | None = None) -> str:
    """Makes a name, which may come from any file system, fit for Matplotlib: no formulas, no broken Unicode.

    A letter that no installed font has is written as its number, \\\\u65e5. What is longer than `longest` is cut.
    """
    text = " ".join(name.encode("utf-8", "replace").decode().split())
    if longest and len(text) > longest:
        text = f"{text[: longest - 1]}…"
    letters = (letter if find_font(letter) is not None else _escape(letter) for letter in text)
    return "".join(letters).replace("$", r"\$")


def _escape(letter: str) -> str:
    if unicodedata.category(letter) in ("Cf", "Mn"):  # joins or changes those beside it, and has no look of its own
        return ""
    return f"\\u{ord(letter):04x}" if ord(letter) < 2**16 else f"\\U{ord(letter):08x}"


@functools.cache
def find_font(letter: str) -> str | None:
    """Names a font that has a letter: empty for Matplotlib's own, None if there is none."""
    from matplotlib import font_manager  # here: --help answers without it

    if ord(letter) in _letters(font_manager.findfont(font_manager.FontProperties())):
        return ""
    return next((name for name in _fonts() if ord(letter) in _letters(_file_of(name))), None)


@functools.cache
def _fonts() -> list[str]:
    """Names of the installed fonts, the likeliest first."""
    from matplotlib import font_manager

    def merit(name: str) -> tuple:
        return next((place for place, wanted in enumerate(PREFERRED) if wanted in name.lower()), len(PREFERRED)), name

    names = {font.name for font in font_manager.fontManager.ttflist}
    return sorted((name for name in names if not any(it in name.lower() for it in UNFIT)), key=merit)


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps Matplotlib from logging which weight it takes of a font that has no regular one."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@functools.cache
@_silence()
def _file_of(name: str) -> str:
    """The file that Matplotlib takes for a font; a name may have several, of other letters."""
    from matplotlib import font_manager

    try:
        return font_manager.findfont(font_manager.FontProperties(family=[name]), fallback_to_default=False)
    except ValueError:
        return ""


@functools.cache
def _letters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # damaged, or of a kind that cannot be drawn, as of colours
        return frozenset()


@contextmanager
def fonts_for(names: Iterable[str]) -> Iterator[None]:
    """Lets figures that are drawn and saved within have the letters of names, as far as a font is installed."""
    import matplotlib

    letters = set("".join(map(as_text, names)))
    more = sorted({font for font in map(find_font, letters) if font})
    family = matplotlib.rcParams["font.family"]
    families = [*([family] if isinstance(family, str) else family), *more]
    with matplotlib.rc_context({"font.family": families}), _silence():
        yield


def width_of(text: str, size: float) -> float:
    """Estimates how wide a text of `as_text` is, in inches, for letters of a size in points."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return (0.62 * (len(text) - wide) + 1.05 * wide) * size / 72


def lay_out_legend(names: Sequence[str], width: float, size: float, most: int) -> tuple[int, float]:
    """Lays out a legend below a figure: in how many columns it goes, and how high it is, in inches.

    Args:
        names: of its entries, as of `as_text`.
        width: of the figure, in inches.
        size: of the letters, in points.
        most: columns that there may be.
    """
    column = max((width_of(name, size) for name in names), default=0) + 4.8 * size / 72  # with its patch
    columns = max(min(int((width - 0.3) / column), most, len(names)), 1)
    return columns, math.ceil(len(names) / columns) * LINE * size / 72 + 0.2
