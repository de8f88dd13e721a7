"""A page of HTML that needs no other file: its style and its images are inside it, and it runs nothing.

Arguments called text are escaped here; those called HTML must have been.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: only light; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1a1a1a; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #ddd; }
p code, td code { overflow-wrap: anywhere; }
.notes { border-left: 4px solid #b45309; background: #fff7ed; padding: 0.5rem 1rem 0.5rem 2rem; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; } img { display: block; max-width: 100%; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
th, td { padding: 0.15rem 0.75rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th:first-child { text-align: left; } tbody th { font-weight: normal; } thead th { border-bottom: 2px solid #888; }
tbody th, td { white-space: nowrap; } .words th, .words td { text-align: left; white-space: normal; }
.color { display: inline-block; width: 0.9em; height: 0.9em; border: 1px solid #666; margin-right: 0.5em;
  vertical-align: -0.1em; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media (max-width: 40rem) { .wide > img { max-width: none; width: 44rem; } th, td { padding: 0.15rem 0.4rem; } }
@media print { body { font-size: 10pt; max-width: none; padding: 0; } .wide { overflow: visible; break-inside: avoid; }
  .wide > img { max-width: 100%; width: auto; } h2, h2 + p { break-after: avoid; } }
"""
# Should anything from outside pass for HTML after all, no script of it runs and nothing is fetched.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, sections: Iterable[str], head: str = "", style: str = "") -> str:
    """Makes a page of a title as text, of sections and more of its head as HTML, and of CSS on top of `STYLE`."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n{head}\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, sections))
        + "\n</main>\n</body>\n</html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", words: bool = False) -> str:
    """Makes a table, in a box of its own that scrolls.

    Args:
        head: HTML of the column titles; none for a table without.
        rows: HTML of the cells; the first cell of a row names it.
        caption: text.
        words: whether cells hold words, which stand on the left, rather than numbers.
    """
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = [
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    ]
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    head = f"<thead><tr>{titles}</tr></thead>\n" if titles else ""
    kind, body = "wide words" if words else "wide", "\n".join(lines)
    return f'<div class="{kind}"><table>{title}{head}<tbody>\n{body}\n</tbody></table></div>'


def swatch(name: str, color: Iterable[int]) -> str:
    """Makes a square of a colour, RGB in 0..255, before a name as text."""
    return f'<span class="color" style="background: rgb{tuple(map(int, color))}"></span>{escape(name)}'


def image(data: bytes, description: str, kind: str = "png") -> str:
    """Makes an image of the bytes of its file, png or jpeg, and of its description as text."""
    return f'<img alt="{escape(description)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def figure(png: bytes, description: str) -> str:
    """Makes a figure of a PNG and its description as text, which scrolls where the page is narrow."""
    return f'<figure class="wide">{image(png, description)}</figure>'
