"""Scores as Markdown tables."""

import math
from collections.abc import Sequence


def scores_table(scores: dict) -> str:
    """Lays out scores as a Markdown table: a row a class in percent, then the means.

    Args:
        scores: as in metrics.json; a score of a class that does not occur is null or nan. Where void is learnt, it
            counts in the mean.
    """
    total = sum(scores["support"])
    shares = [pixels / total if total else math.nan for pixels in scores["support"]]
    count = len(scores["classes"])
    rows = [("class", "IoU %", "F1 %", "share of pixels %")]
    for name, *values in zip(scores["classes"], scores["iou"], scores["f1"], shares, strict=True):
        rows.append((name, *map(percent, values)))
    if not scores.get("learn_void"):
        rows.append(
            (f"mean over {count - 1}, void left out", percent(scores["mean_iou"]), percent(scores["mean_f1"]), "")
        )
    means = percent(scores["mean_iou_with_void"]), percent(scores["mean_f1_with_void"])
    return table([*rows, (f"mean over {count}, void counted", *means, "")])


def official_table(scores: dict) -> str:
    """Lays out the official Cityscapes score, as of `official.OfficialScore`, likewise."""
    return "\n\n".join(table(official_rows(scores, kind)) for kind in ("category", "class") if f"{kind}_iou" in scores)


def official_rows(scores: dict, kind: str) -> list[tuple[str, ...]]:
    """Makes the rows of one of these tables, its head first; the kind is category or class."""
    columns = {"official IoU %": "iou"} | ({"iIoU %": "iiou"} if f"{kind}_iiou" in scores else {})
    rows = [(kind, *columns)]
    for name in scores[f"{kind}_iou"]:
        rows.append((name, *(percent(scores[f"{kind}_{column}"].get(name)) for column in columns.values())))
    return [*rows, ("mean", *(percent(scores[f"mean_{kind}_{column}"]) for column in columns.values()))]


def table(rows: list[tuple[str, ...]]) -> str:
    """Lays out a Markdown table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(format_row(row, widths) for row in (rows[0], line, *rows[1:]))


def percent(score: float | None) -> str:
    """Writes 0.8641 as 86.4, and a score that is not there as a dash."""
    return "-" if score is None or math.isnan(score) else f"{100 * score:.1f}"


def format_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Writes one row of a Markdown table, the first column to the left, numbers to the right."""
    first, *others = (
        cell.rjust(width) if place else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"
