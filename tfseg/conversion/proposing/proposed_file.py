"""A proposed label map -> the table that a person looks at, and the YAML file that a person edits."""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tfseg.conversion.finding.sources import Source
from tfseg.conversion.proposing.proposal import Proposal, Row, propose_label_map, write_thing
from tfseg.io.atomic import write_whole
from tfseg.io.escaping import printable
from tfseg.io.paths import is_local, open_path
from tfseg.io.regular_files import read_file
from tfseg.records.label_map_files import SETTINGS, Thing, read_label_map
from tfseg.records.labels import LabelMap

ENDING = ".label_map.yaml"
MOST_BYTES = 2**20  # of a file that is there, which is compared
# Letters that begin a word of YAML, and those that it may go on with.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*([ .()/-]+[A-Za-z0-9_()]+)*")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}  # that are no text, whatever their capitals
_NUMBERS = re.compile(r"[\s\d,-]+")  # what a label map may take for mask values

Show = Callable[[Proposal, Path], object]


def add_proposal(
    source: Source,
    out: str | Path,
    show: Show,
    workers: int = 1,
    mask_values: str = "auto",
    skip_bad: bool = False,
    counted: Source | None = None,
) -> Source:
    """Gives a data set without a label map the one that is proposed, which is written beside `out`.

    Args:
        source: from `sources.open_source` with `may_lack_label_map`.
        out: folder of the records to be.
        show: called with the proposal and its file; may raise to stop.
        workers, mask_values, skip_bad: as of `propose_label_map`.
        counted: the same with those images alone that are looked at; None: all.

    Raises:
        BadFilesError, ValueError, OSError: as of `propose_label_map` and `write_proposal`.
    """
    proposal = propose_label_map(source if counted is None else counted, workers, mask_values, skip_bad)
    total = sum(map(len, source.splits.values()))
    if counted is not None and (some := sum(map(len, counted.splits.values()))) < total:
        note = f"only {some} of {total} masks were looked at, by --limit: the others may hold more"
        proposal = replace(proposal, notes=[note, *proposal.notes])
    path = write_proposal(proposal, place_proposal(out))
    show(proposal, path)
    return replace(source, label_map=read_label_map(path))


def read_proposal(proposal: Proposal) -> LabelMap:
    """Reads a proposal as a label map, without leaving a file.

    Raises:
        ValueError: what was found makes no label map.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_label_map(write_proposal(proposal, Path(folder) / "proposed.yaml"))


# ---- the table


def proposal_rows(proposal: Proposal) -> list[list[str]]:
    """Makes a table of a proposal, its head first: what is in the masks, how much of it, and the class of each."""
    thing = {"color": "colour", "labels": "number" if proposal.is_numbered else "label"}.get(proposal.reading, "value")
    has_colors = proposal.reading != "color" and any(row.color for row in proposal.rows)
    has_labels = any(row.label for row in proposal.rows)
    head = [thing, *(["colour"] if has_colors else []), *(["named"] if has_labels else [])]
    rows = [[*head, "pixels %" if proposal.pixels else "shapes", "images", "class"]]
    for row in proposal.rows:
        start = [row.thing if isinstance(row.thing, str) else write_thing(row.thing)]
        start += [write_thing(row.color) if row.color else "-"] if has_colors else []
        start += [row.label or "-"] if has_labels else []
        rows.append([*start, _amount(proposal, row), str(row.images), row.name])
    return rows


def proposal_notes(proposal: Proposal) -> list[str]:
    """Lists what was decided, a line each."""
    notes = list(proposal.notes)
    if proposal.unused:
        names = ", ".join(name for _, name in proposal.unused)
        notes.append(f"named, but in no mask, and no classes therefore: {names}")
    return notes


def _amount(proposal: Proposal, row: Row) -> str:
    return f"{row.count / proposal.pixels:.2%}".removesuffix("%") if proposal.pixels else f"{row.count:,}"


# ---- the file


def place_proposal(out: str | Path) -> Path:
    """Names the file of the label map for records: data/records/mine.label_map.yaml, beside the folder.

    A conversion neither asks for it nor removes it: it makes and replaces nothing but the folder itself.

    Example:
        >>> place_proposal("/data/records/mine")
        PosixPath('/data/records/mine.label_map.yaml')
    """
    path = open_path(out)
    if not is_local(path):
        return path.with_name(f"{path.name}{ENDING}")
    place = path.resolve()
    place = place.with_name(f"{place.name}{ENDING}")
    return place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place  # as users would call it


def write_proposal(proposal: Proposal, path: Path) -> Path:
    """Writes a proposal as a file of a label map; one of the same content stays as it is.

    Raises:
        ValueError: another file is there, which may have been edited; or what was found makes no label map.
        OSError: it cannot be written.
    """
    text = "\n".join(proposal_lines(proposal)) + "\n"
    if path.exists() or path.is_symlink():
        with suppress(ValueError, OSError):
            if read_file(path, MOST_BYTES) == text.encode():
                return path
        raise ValueError(
            f"{path}: is there already and says something else than what would be proposed now; take it by "
            "--label-map, or move it away"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as unfinished:
        unfinished.write_bytes(text.encode())
        try:
            read_label_map(unfinished)
        except ValueError as error:
            reason = str(error).removeprefix(f"{unfinished}: ")
            raise ValueError(f"{proposal.place}: no label map can be made of what its masks hold: {reason}") from None
    return path


def proposal_lines(proposal: Proposal) -> Iterator[str]:
    """Writes a proposal as the lines of a label map in YAML, with what speaks for it in comments."""
    yield f"# Proposed by tfseg convert for {printable(proposal.place)}:"
    yield f"# {printable(proposal.heading)}."
    yield from (f"# {printable(note)}" for note in proposal.notes)
    yield "#"
    yield "# Edit the names and their order, which is that of the class ids; give several lines one class; void counts"
    yield "# nowhere. Every class of a line must stand under classes."
    yield "classes:"
    for name, color in proposal.classes.items():
        yield f"  {quote_yaml(name)}: {[*color] if color else 'null'}"
    lines = [(_write_key(proposal, row), row) for row in proposal.rows]
    width = max((len(f"{key}: {quote_yaml(row.name)}") for key, row in lines if key), default=0)
    for key, row in lines:
        seen = f"in {row.images:,} of {proposal.images:,}"
        what = (
            f"{_amount(proposal, row)} % of the pixels"
            if proposal.pixels
            else f"{row.count:,} {'shape' if row.count == 1 else 'shapes'}"
        )
        label = f"{printable(row.label)}: " if row.label not in ("", row.name) else ""
        line = f"{key}: {quote_yaml(row.name)}" if key else f"# the label {printable(row.thing)}"
        yield f"{line.ljust(width)}  # {label}{what}, {seen}"
    if proposal.unused:
        yield "# Named, but in no mask:"
    for thing, name in proposal.unused:
        yield f"# {_write_plain_key(thing)}: {quote_yaml(name)}"


def _write_key(proposal: Proposal, row: Row) -> str:
    """The key of a line; empty for a label that would be read as another thing: a class of its name takes it."""
    thing = row.thing
    if isinstance(thing, str) and not proposal.is_numbered:
        if thing in SETTINGS or thing.startswith("#") or _NUMBERS.fullmatch(thing):
            return ""
        return quote_yaml(thing)
    return _write_plain_key(thing)


def _write_plain_key(thing: Thing) -> str:
    if isinstance(thing, str) and not thing.isdecimal():
        return quote_yaml(thing)
    return f"'{write_thing(thing)}'" if isinstance(thing, tuple) else str(thing)


def quote_yaml(text: str) -> str:
    """Writes text so that YAML reads it as the same text: in quotes unless it is made of plain words.

    Example:
        >>> [quote_yaml(text) for text in ("traffic light", "no", "a: b", "#x")]
        ['traffic light', '"no"', '"a: b"', '"#x"']
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return f'"{"".join(map(_escape, text))}"'


def _escape(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 2**8 else f"\\u{code:04x}" if code < 2**16 else f"\\U{code:08x}"
