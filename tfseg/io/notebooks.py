"""How things show themselves in a notebook: HTML that needs no style sheet."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Makes a table of HTML cells, the first of a row at its left, and of a caption as text."""
    title = f'<caption style="text-align: left">{escape(caption)}</caption>' if caption else ""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "\n".join(
        f'<tr><th style="text-align: left">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f"<table>{title}<thead><tr>{top}</tr></thead>\n<tbody>\n{lines}\n</tbody></table>"


def color_square(color: Iterable[int]) -> str:
    """Makes a square of a colour, RGB in 0..255."""
    return (
        '<span style="display: inline-block; width: 1em; height: 1em; margin-right: 0.4em; vertical-align: middle; '
        f'background: rgb{tuple(map(int, color))}"></span>'
    )
