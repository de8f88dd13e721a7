"""What is printed of paths, notes and errors is escaped: a table of names, and no print of one of them as it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What holds a path, or text that names one or what is in data.
FROM_OUTSIDE = {
    *("directory", "fault", "folder", "left", "line", "miss", "note", "out", "page", "path", "paths", "place"),
    *("reason", "records", "run", "split", "stopped", "text", "warning"),
}
ESCAPES = {"printable", "printable_lines", "shorten", "markdown", "describe_scores"}
# Of constants, or escaped where they are made.
MADE_FIT = {
    "tfseg/convert.py": {"records"},
    "tfseg/data_service.py": {"text"},
    "tfseg/explore.py": {"line"},
    "tfseg/io/command.py": {"text"},
    "tfseg/repeat.py": {"paths"},
    "tfseg/training/console.py": {"text"},
    "tfseg/tuning/search.py": {"out"},
}


def unescaped(source: str) -> list[str]:
    """Names of what a file prints as it is, although it comes from outside."""
    found = []

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.Call):
            names = [part.id for part in (node.func, *node.args) if isinstance(part, ast.Name)]
            if (names[:1] and names[0] in ("len", *ESCAPES)) or names[:2] == ["map", "printable"]:
                return
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in FROM_OUTSIDE:
            found.append(name)
        if not isinstance(node, ast.IfExp):
            for child in ast.iter_child_nodes(node):
                look(child)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            for argument in node.args:
                look(argument)
    return found


@pytest.mark.parametrize("file", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tfseg").rglob("*.py")))
def test_what_comes_from_outside_is_printed_escaped(file):
    found = {*unescaped((ROOT / file).read_text(encoding="utf-8"))}
    assert found <= MADE_FIT.get(file, set()), f"{file}: print it by escaping.printable"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("print(f'{out}: written')", ["out"]),
        ("print(f'written: {options.out}')", ["out"]),
        ("print(note, file=sys.stderr)", ["note"]),
        ("print(f'{printable(options.out)}: {len(records)}')", []),
        ("print(f'{folder / NAME}')", ["folder"]),
    ],
)
def test_such_prints_are_seen(source, expected):
    assert unescaped(source) == expected
