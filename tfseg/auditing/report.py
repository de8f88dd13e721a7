"""What an audit found, as a table for a terminal and as files: audit.html, audit.json and audit.csv."""

import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tfseg.auditing.auditor import Audit
from tfseg.auditing.findings import KINDS, LIKELY, Finding
from tfseg.auditing.page import MARK, make_page
from tfseg.io import atomic
from tfseg.io.escaping import csv_cell, printable, shorten
from tfseg.io.outputs import check_names, has_mark, write_alone
from tfseg.io.words import count_of
from tfseg.records.manifest import MANIFEST_NAME, is_shard_name
from tfseg.visualization.tables import justify, measure

PAGE, ALL, TABLE = "audit.html", "audit.json", "audit.csv"
LONGEST_PLACE = 60  # letters of a split and an id in the table
LONGEST_SENTENCE = 200  # likewise of what was found; ids in it have up to 255 bytes
COLUMNS = ("rank", "score", "kind", "split", "id", "what", "top", "left", "height", "width")


def make_table(findings: Sequence[Finding], limit: int) -> str:
    """Lays out the first findings as plain text, a line each, the most suspicious first."""
    rows = [("", "score", "kind", "where", "what")]
    for place, finding in enumerate(findings[:limit], 1):
        where = shorten(finding.place, LONGEST_PLACE)
        rows.append((str(place), f"{finding.score:.2f}", finding.kind, where, shorten(finding.what, LONGEST_SENTENCE)))
    widths = measure(rows)
    lines = []
    for rank, score, *words in rows:
        cells = [justify(rank, widths[0], right=True), justify(score, widths[1], right=True)]
        cells += [justify(word, width, right=False) for word, width in zip(words, widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def summarise(audit: Audit, limit: int) -> str:
    """Says in a line how much was found of each kind, and how much of it is shown."""
    total = len(audit.findings)
    count = sum(audit.records.split(name).count for name in audit.splits)
    head = f"{count_of(count, 'image')} of {', '.join(map(printable, audit.splits))}: "
    if not total:
        return f"{head}nothing suspicious"
    counts = Counter(finding.kind for finding in audit.findings)
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in KINDS if counts[kind])
    shown = f"; the first {limit:,} are shown" if total > limit else ""
    likely = f"{audit.count(KINDS):,} of them with a score of {LIKELY} or more"
    return f"{head}{count_of(total, 'finding')}, {likely} ({kinds}){shown}"


def check_out(out: Path) -> None:
    """Makes the folder to write into, and refuses one where our names are taken by files that are not ours.

    Raises:
        ValueError: it holds such a file, or records, or lies in a folder of records.
        OSError: it cannot be made, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out}: is a file, not a folder; choose another --out")
    # Conversions replace no folder that holds something of others.
    if found := next((folder for folder in (out, *out.resolve().parents) if _holds_records(folder)), None):
        raise ValueError(f"{found}: holds records, among which nothing else may lie; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    check_names(out, (PAGE, ALL, TABLE), lambda folder: has_mark(folder / PAGE, MARK))


def _holds_records(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).exists() and any(is_shard_name(path.name) for path in folder.iterdir())


def write_report(audit: Audit, out: str | Path, limit: int) -> list[Path]:
    """Writes page, JSON and CSV, each whole or not at all; those of an earlier audit are replaced.

    Args:
        audit: whose records are read again, where they are shown.
        out: folder; see `check_out`.
        limit: findings that the page shows; the other files have all.

    Returns:
        The files, the page first.

    Raises:
        ValueError: as of `check_out`, or a record is damaged.
        OSError: a file cannot be read or written.
    """
    out = Path(out)
    check_out(out)
    # The page goes first: it shows that the other names are ours.
    files = {PAGE: make_page(audit, limit), ALL: make_json(audit), TABLE: make_csv(audit.findings)}
    with write_alone(out):
        check_out(out)
        for name, text in files.items():
            atomic.write_text(text, out / name, errors="replace")
    return [out / name for name in files]


def make_json(audit: Audit) -> str:
    """Makes audit.json: all findings with all that is known of them."""
    content = {
        "records": str(audit.records),
        "model": None if audit.model is None else audit.model.name,
        "splits": {name: audit.records.split(name).count for name in audit.splits},
        "kinds": KINDS,
        "notes": audit.notes,
        "findings": [dataclasses.asdict(finding) for finding in audit.findings],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def make_csv(findings: Sequence[Finding]) -> str:
    """Makes audit.csv: a row a finding; no cell is a formula to a spreadsheet."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for place, finding in enumerate(findings, 1):
        texts = map(csv_cell, (finding.kind, finding.split, finding.id, finding.what))
        writer.writerow([place, f"{finding.score:.4f}", *texts, *(finding.box or [""] * 4)])
    return file.getvalue()
