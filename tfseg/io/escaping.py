"""Text from outside, made fit for where it is shown: terminals, Markdown, tables for spreadsheets.

Names of classes, images and files come from data. Where they are shown, they must stay text: in a terminal they may not
move its cursor, in a page of Markdown they may not become images or links, in a spreadsheet no formulas.
"""

import re

SHORT = 200  # letters of a value that an error repeats
# What begins or ends something in a line of any flavour of Markdown, HTML and formulas included; a backslash before it
# makes it itself. In other places these signs are left alone: names such as traffic_light are read in terminals, too.
_MARKDOWN = re.compile(
    r"[|`$]"  # cells, code, formulas
    r"|[<&](?=[A-Za-z/!?#])"  # tags and entities
    r"|\](?=[(\[:])"  # links and images
    r"|[*~](?=\S)|(?<![^\W_])_(?=\S)"  # emphasis begins
    r"|:(?=[\w/+-])|(?<=\bwww)\."  # addresses and emojis
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # a backslash that would do the same
)
_FORMULA = ("=", "+", "-", "@")  # how one begins in any spreadsheet


def printable(text: object) -> str:
    """Writes what no terminal shows as it is, such as escape sequences, line breaks and broken Unicode, as its number.

    A letter that turns the direction of what follows, say, becomes \\\\u202e.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text)
    )


def printable_lines(text: object) -> str:
    """Writes text of several lines as `printable` does, but for the ends of the lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def shorten(text: object, longest: int = SHORT) -> str:
    """Does what `printable` does, and cuts what is longer than so many letters."""
    shown = printable(str(text)[: longest + 1])
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def markdown(text: object) -> str:
    """Writes text so that Markdown shows it as it is within a line or a cell, whatever it holds."""
    return _MARKDOWN.sub(r"\\\g<0>", printable(text))


def markdown_code(text: object) -> str:
    """Writes text as code of Markdown, not in a table; nothing has a meaning but the sign that ends it."""
    shown = printable(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    blank = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{blank}{shown}{blank}{fence}"


def csv_cell(text: object) -> str:
    """Writes text so that no spreadsheet takes it for a formula: what begins like one gets an apostrophe before it."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
