"""Settings under the names that they had before; `tfseg.io.renamed` lists them."""

import sys
from collections.abc import Iterable

from tfseg.config.checks import as_yaml
from tfseg.io.renamed import SETTING_VALUES, SETTINGS
from tfseg.io.yaml_reader import parse_yaml


def rename_settings(settings: Iterable[tuple[str, object]], found: set[str]) -> dict[str, object]:
    """Gives settings, pairs of dotted key and value, the names that they have now.

    Args:
        settings: under either name.
        found: takes up the old names among them.

    Raises:
        ValueError: a setting is given under both names.
    """
    given, renamed = dict(settings), {}
    for name, value in given.items():
        if name in SETTINGS:
            check_given_once(name, given)
            found.add(name)
            values = SETTING_VALUES.get(name, {})
            value = values.get(value, value) if isinstance(value, bool) else value
        renamed[SETTINGS.get(name, name)] = value
    return renamed


def rename_arguments(arguments: list[str], found: set[str]) -> list[str]:
    """Gives the flags of a command line, as --device.kind cpu or --device.kind=cpu, the names that they have now.

    Args and errors as of `rename_settings`.
    """
    given = {word.partition("=")[0].removeprefix("--") for word in arguments if word.startswith("--")}
    renamed, words = [], list(arguments)
    while words:
        flag, equals, value = words.pop(0).partition("=")
        name = flag.removeprefix("--")
        if not flag.startswith("--") or name not in SETTINGS:
            renamed.append(f"{flag}{equals}{value}")
            continue
        check_given_once(name, given)
        found.add(name)
        if name in SETTING_VALUES:
            if not equals:  # a flag that stands alone means true
                value = words.pop(0) if words and not words[0].startswith("--") else "true"
            equals, value = "=", _convert(name, value)
        renamed.append(f"--{SETTINGS[name]}{equals}{value}")
    return renamed


def check_given_once(old: str, names: Iterable[str]) -> None:
    """Raises ValueError if the new name of a setting is among names, too."""
    if SETTINGS[old] in names:
        raise ValueError(f"{old} and {SETTINGS[old]}: expected one of them, since they are the same setting, got both")


def warn_renamed(found: set[str]) -> None:
    """Prints one warning for each old name that was used."""
    for name in sorted(found):
        values = SETTING_VALUES.get(name, {})
        now = ", ".join(f"{as_yaml(new)} for {as_yaml(old)}" for old, new in values.items())
        print(
            f"warning: {name} is called {SETTINGS[name]} now{f' ({now})' if now else ''}; the old name goes with the "
            "next release",
            file=sys.stderr,
            flush=True,
        )


def _convert(name: str, text: str) -> str:
    """The value of a flag that had other values before."""
    try:
        value = parse_yaml(text, name)
    except ValueError:
        return text
    return as_yaml(SETTING_VALUES[name][value]) if isinstance(value, bool) else text
