"""Who removes or renames files and folders: a table, and nobody else. Folders are removed by io/removal.py alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("tfseg", "tools", "benchmarks")
ANYWHERE = {"rmtree", "unlink", "rmdir", "removedirs", "renames"}  # called or handed on
OF_MODULES = {
    ("os", "remove"),
    ("os", "rename"),
    ("os", "replace"),
    ("os", "link"),
    ("os", "symlink"),
    ("shutil", "move"),
}

# File -> what it does there, how often, and why it may.
MAY = {
    "tfseg/io/removal.py": {
        "rmdir": 4,  # folders that were emptied just before; one asks what the system can do
        "unlink": 3,  # files that were seen and are known by name; the same
    },
    "tfseg/io/staging.py": {
        "rename": 3,  # the new folder to its place, the old one aside and back
        "rmdir": 1,  # its own sibling, where that is empty
    },
    "tfseg/io/atomic.py": {
        "replace": 1,  # one file by another that is whole
        "unlink": 2,  # what it has not finished
    },
    "tfseg/io/locks.py": {"unlink": 1},  # the file of a lock, while this process has it
    "tfseg/runs/run_dir.py": {"rmdir": 1},  # folders that it made and that are still empty
    "tfseg/conversion/writing/journal.py": {
        "unlink": 1,  # manifest.json in a store, once it is known to be ours
        "rename": 1,  # finished shards out of the folder of an earlier version
        "rmdir": 1,  # that folder, where it is empty then
    },
    "tfseg/exporters/folder.py": {"rename": 1},  # brings back what an earlier version had set aside
}


def uses(source: str) -> list[str]:
    """Names of all that a file does to names in folders, once for each place."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and (
            node.attr in ANYWHERE or (isinstance(node.value, ast.Name) and (node.value.id, node.attr) in OF_MODULES)
        ):
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil"):
            found += [
                alias.name for alias in node.names if (node.module, alias.name) in OF_MODULES or alias.name in ANYWHERE
            ]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("rename", "replace")
        ):
            # Strings replace one text by another, dataclasses.replace takes a thing and names.
            of_module = isinstance(node.func.value, ast.Name) and node.func.value.id in ("os", "dataclasses")
            if len(node.args) == 1 and not node.keywords and not of_module:
                found.append(node.func.attr)
        elif isinstance(node, ast.Constant) and node.value in ("rm", "rmdir", "unlink", "mv"):
            found.append(node.value)  # a command
    return found


FILES = sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", FILES)
def test_nobody_else_removes_or_renames(file):
    found = uses((ROOT / file).read_text(encoding="utf-8"))
    counts = {name: found.count(name) for name in found}
    assert counts == MAY.get(file, {}), f"{file}: remove by tfseg/io/removal.py, or say in this table why not"


def test_the_table_names_files_that_are_there():
    assert MAY.keys() <= {*FILES}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("shutil.rmtree(a)", ["rmtree"]),
        ("from shutil import rmtree as clear", ["rmtree"]),
        ("run(os.unlink)", ["unlink"]),
        ("os.remove(a); os.rename(a, b); os.replace(a, b)", ["remove", "rename", "replace"]),
        ("from os import replace", ["replace"]),
        ("path.rename(b); path.replace(b); path.unlink(missing_ok=True)", ["rename", "replace", "unlink"]),
        ("shutil.move(a, b)", ["move"]),
        ("subprocess.run(['rm', '-rf', a])", ["rm"]),
        ("text.replace('a', 'b'); dataclasses.replace(config, run_dir=a); names.remove(a); axis.remove()", []),
    ],
)
def test_every_way_is_seen(source, expected):
    assert sorted(uses(source)) == sorted(expected)
