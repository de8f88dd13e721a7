"""Prints what the changelog says of the version that a tag names: python .github/release_notes.py v0.2.0

Fails if the tag is not the version of the package, or if CHANGELOG.md has no section "## [0.2.0]".
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def read_version(text: str) -> str:
    """Finds the version in the text of tfseg/__init__.py, or raises ValueError."""
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise ValueError('tfseg/__init__.py: no line __version__ = "..."')
    return found[1]


def find_notes(changelog: str, tag: str, version: str) -> str:
    """Takes the section of a version out of a changelog, without its heading.

    Raises:
        ValueError: the tag is not `v` and the version, or there is no such section, or nothing in it.
    """
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, the version is {version}: set tfseg.__version__, or tag v{version}")
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if not section or not section[1].strip():
        raise ValueError(f'CHANGELOG.md: no text under "## [{version}]"; rename "## Unreleased"')
    return section[1].strip() + "\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python .github/release_notes.py TAG")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        version = read_version((ROOT / "tfseg/__init__.py").read_text(encoding="utf-8"))
        sys.stdout.write(find_notes(changelog, sys.argv[1], version))
    except ValueError as error:
        sys.exit(f"release_notes: {error}")


if __name__ == "__main__":
    main()
