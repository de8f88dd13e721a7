"""Scores as Markdown tables, and tables of plain text for a terminal."""

import math
import shutil
import sys
import unicodedata
from collections.abc import Sequence

from tfseg.io.escaping import markdown, printable

ELSEWHERE = 160  # letters of a line that goes to no terminal
HEADLINES = ("mean_category_iou", "mean_class_iou")  # of the official score


def evaluation_tables(scores: dict) -> str:
    """Lays out all tables of what is in scores-SPLIT.json."""
    tables = [scores_table(scores)] if "mean_iou" in scores else []
    return "\n\n".join([*tables, official_table(scores["official"])] if "official" in scores else tables)


def describe_scores(scores: dict) -> str:
    """Words the scores that count: the mean IoU, and the official score where there is one."""
    means = [f"mean IoU {percent(scores['mean_iou'])} %"] if "mean_iou" in scores else []
    official = scores.get("official", {})
    means += [f"official {name} {percent(official[name])} %" for name in HEADLINES if name in official]
    return printable(f"scored {scores['split']} of {scores['records']}: {', '.join(means)}")


def scores_table(scores: dict) -> str:
    """Lays out scores as a Markdown table: a row a class in percent, then the means.

    Args:
        scores: as in metrics.json; a score of a class that does not occur is null or nan. Where void is learned, it
            counts in the mean.
    """
    total = sum(scores["support"])
    shares = [pixels / total if total else math.nan for pixels in scores["support"]]
    count = len(scores["classes"])
    rows: list[tuple[str, ...]] = [("class", "IoU %", "F1 %", "share of pixels %")]
    for name, *values in zip(scores["classes"], scores["iou"], scores["f1"], shares, strict=True):
        rows.append((name, *map(percent, values)))
    if not scores.get("learn_void"):
        rows.append(
            (f"mean over {count - 1}, void left out", percent(scores["mean_iou"]), percent(scores["mean_f1"]), "")
        )
    means = percent(scores["mean_iou_with_void"]), percent(scores["mean_f1_with_void"])
    return table([*rows, (f"mean over {count}, void counted", *means, "")])


def official_table(scores: dict) -> str:
    """Lays out the official Cityscapes score, as of `cityscapes.OfficialScore`, likewise."""
    return "\n\n".join(table(official_rows(scores, kind)) for kind in ("category", "class") if f"{kind}_iou" in scores)


def official_rows(scores: dict, kind: str) -> list[tuple[str, ...]]:
    """Gives the rows of one of these tables, its head first; the kind is category or class."""
    columns = {"official IoU %": "iou"} | ({"iIoU %": "iiou"} if f"{kind}_iiou" in scores else {})
    rows = [(kind, *columns)]
    for name in scores[f"{kind}_iou"]:
        rows.append((name, *(percent(scores[f"{kind}_{column}"].get(name)) for column in columns.values())))
    return [*rows, ("mean", *(percent(scores[f"mean_{kind}_{column}"]) for column in columns.values()))]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lays out a Markdown table, whose cells are text; the first row is its head."""
    rows = [tuple(map(markdown, row)) for row in rows]
    widths = measure(rows)
    line = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(format_row(row, widths) for row in (rows[0], line, *rows[1:]))


def percent(score: float | None) -> str:
    """Writes 0.8641 as 86.4, and a score that is not there as a dash."""
    return "-" if score is None or math.isnan(score) else f"{100 * score:.1f}"


def format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Writes one row of a Markdown table, the first column to the left, numbers to the right."""
    first, *others = (
        justify(cell, width, right=place > 0) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"


def plain_table(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """Lays out a table of plain text as lines, its rows as columns where they would not fit otherwise.

    Args:
        rows: of equal length; the first is the head.
        width: letters that a line may have; None: those of the terminal, or `ELSEWHERE`.
    """
    rows = [tuple(map(printable, row)) for row in rows]
    width = width or (shutil.get_terminal_size().columns if sys.stdout.isatty() else ELSEWHERE)
    widths = measure(rows)
    turned = sum(widths) + 2 * (len(widths) - 1) > width
    if turned:
        rows = list(zip(*rows, strict=True))
        widths = measure(rows)
    return [
        "  ".join(
            justify(cell, size, right=place > 0 or not turned)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def measure(rows: Sequence[Sequence[str]]) -> list[int]:
    """Gives the width of each column."""
    return [max(map(columns_of, column)) for column in zip(*rows, strict=True)]


def columns_of(text: str) -> int:
    """Counts the columns of a terminal that a text takes: Chinese letters take two, accents none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) in ("Mn", "Cf") for letter in text)


def justify(text: str, width: int, right: bool) -> str:
    """Fills a text up to a width, on its left if it is to stand on the right."""
    blank = " " * (width - columns_of(text))
    return blank + text if right else text + blank
