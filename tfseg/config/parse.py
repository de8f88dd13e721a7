"""YAML and command line in, a `Config` or a precise error out.

    python -m tfseg.train --config configs/demo.yaml --train.epochs 3

A value on the command line goes before one in the file, and that before the default written in `schema`.
"""

import argparse
import ast
import dataclasses
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import jsonargparse
import yaml

from tfseg.config import schema
from tfseg.config.checks import check, show
from tfseg.config.renames import rename_arguments, rename_settings, warn_renamed
from tfseg.config.schema import Config
from tfseg.config.settings import SECTIONS, SETTINGS, list_settings
from tfseg.config.suggestions import describe_unknown, describe_wanted, list_names
from tfseg.io.atomic import write_text
from tfseg.io.escaping import printable, shorten
from tfseg.io.renamed import SECTIONS as OLD_SECTIONS
from tfseg.io.renamed import SETTINGS as OLD_SETTINGS
from tfseg.io.yaml_reader import check_text, read_yaml


def parse_config(arguments: list[str] | None = None, program: str = "python -m tfseg.train") -> Config:
    """Reads a run from a command line, and from the YAML file that it names with --config.

    What the user got wrong is reported in one line on stderr, with the key and the file; the exit code is then 2. A
    setting under an old name is taken, with a warning.

    Args:
        arguments: the words after the program's name; None: those of this process.
        program: the command as its user types it, for --help and errors.
    """
    try:
        parser, renamed = _parser(program), set()
        given = _typed(parser.parse_args, rename_arguments(sys.argv[1:] if arguments is None else arguments, renamed))
        path = given.pop("config", None)
        stored = {} if path is None else _read(parser, str(path), renamed)
        warn_renamed(renamed)
        try:
            return _build({**stored, **given})
        except ValueError as error:
            key = str(error).partition(":")[0]
            raise ValueError(
                f"{printable(path)}: {error}" if key in stored and key not in given else str(error)
            ) from None
    except (ValueError, OSError) as error:
        print(f"{program}: error: {printable(error)}", file=sys.stderr)
        sys.exit(2)


def load_config(path: str | Path, warn: bool = True) -> Config:
    """Reads a run from a YAML file alone, as `save_config` wrote it.

    Args:
        path: of the file.
        warn: whether settings under an old name are reported on stderr.

    Raises:
        ValueError: the file is no run; in one line, with the file and the key.
        OSError: the file cannot be read.
    """
    renamed = set()
    settings = _read(_parser("tfseg"), path, renamed)
    if warn:
        warn_renamed(renamed)
    try:
        return _build(settings)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from None


def save_config(config: Config, path: str | Path) -> None:
    """Writes every setting of a run as YAML that `load_config` and --config read back."""
    text = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
    write_text(text, Path(path))


def type_settings(settings: dict[str, object]) -> dict[str, object]:
    """Gives the values of settings, by dotted key, the types that they have in a run; whether they fit is not checked.

    Raises:
        ValueError: a key is no setting, or its value has another type; in one line that begins with the key.
    """
    return _typed(_parser("tfseg").parse_object, dict(_flatten(settings)))


def change_config(config: Config, settings: dict[str, object]) -> Config:
    """Returns a run with other values for some settings, by dotted key.

    Raises:
        ValueError: as of `type_settings`, or the run cannot have the value.
    """
    return _build({**list_settings(config), **type_settings(_as_plain(settings))})


def _as_plain(value: Any) -> Any:
    """Paths as text, and NumPy's numbers and arrays as Python's, as a file has them."""
    if isinstance(value, dict):
        return {key: _as_plain(part) for key, part in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _build(settings: dict[str, object]) -> Config:
    """Dotted keys and values of the right types -> Config, which checks the values."""
    missing = [key for key, part in SETTINGS.items() if _is_required(part) and key not in settings]
    if missing:
        flags = " ".join(f"--{key} {key.rpartition('.')[2].upper()}" for key in missing)
        raise ValueError(f"{' and '.join(missing)} must be set, in the file of --config or as {flags}")
    values: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        values[section][name] = value
    return Config(**values[""], **{section: kind(**values[section]) for section, kind in SECTIONS.items()})


def _is_required(part: dataclasses.Field) -> bool:
    return part.default is dataclasses.MISSING


def _read(parser: jsonargparse.ArgumentParser, path: str | Path, renamed: set[str]) -> dict[str, object]:
    """A YAML file's settings by dotted key, in their types; old names among them are added to `renamed`."""
    tree = read_settings(path)
    try:
        return _typed(parser.parse_object, rename_settings(_flatten(tree), renamed))
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {' '.join(str(error).split())}") from None


def read_settings(path: str | Path) -> dict:
    """Reads a YAML file of `key: value`; {} if it is empty.

    Raises:
        ValueError: the file holds something else, or as of `yaml_reader.read_yaml`; in one line, with the file.
        OSError: the file cannot be read.
    """
    try:
        tree = read_yaml(path)
    except FileNotFoundError:
        remedy = "; the wheel has no configs/: take the file from a clone, or from the documentation's page Train"
        advice = remedy if Path(path).parent.name == "configs" else ""
        raise FileNotFoundError(f"{printable(path)}: there is no such file{advice}") from None
    if isinstance(tree, str):  # it may be any file, whose content nobody asked to see
        raise ValueError(f"{printable(path)}: expected settings as `key: value`, got plain text")
    if not isinstance(tree, dict | None):
        raise ValueError(f"{printable(path)}: expected settings as `key: value`, got {show(tree)}")
    return tree or {}


def _flatten(tree: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """{"train": {"epochs": 3}} -> ("train.epochs", 3); old names stay."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if key in SETTINGS or key in OLD_SETTINGS:
            yield key, value
        elif key not in SECTIONS and key not in OLD_SECTIONS:
            raise ValueError(describe_unknown(key))
        elif isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        else:
            names = list_names(OLD_SECTIONS.get(key, key))
            raise ValueError(f"{key}: expected the settings {names} below it, got {show(value)}")


def _parser(program: str) -> jsonargparse.ArgumentParser:
    """One flag a setting; what is not given stays unset, so that a file's value is known from a default."""
    parser = jsonargparse.ArgumentParser(
        prog=program,
        usage="%(prog)s [--config FILE.yaml] [--SETTING VALUE ...]",
        description="A setting on the command line wins over the same one in the file.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE.yaml", default=argparse.SUPPRESS, help="Settings in a file.")
    for section, kind in {"": Config, **SECTIONS}.items():
        group = parser.add_argument_group(section or "run", kind.__doc__)
        for name, text in _field_docs()[kind.__name__].items():
            key = f"{section}.{name}" if section else name
            part = SETTINGS[key]
            options: dict[str, Any] = {"default": part.default, "help": text}
            if _is_required(part):
                options = {"default": argparse.SUPPRESS, "help": f"Required. {text}"}
            if part.type is bool:  # --quiet means --quiet true
                options |= {"nargs": "?", "const": True}
            group.add_argument(f"--{key}", type=part.type, **options)
    return parser


@functools.cache
def _field_docs() -> dict[str, dict[str, str]]:
    """Class -> field -> the string below it, which Python itself does not keep."""
    module = ast.parse(Path(schema.__file__).read_text(encoding="utf-8"))
    return {kind.name: dict(_docs_of(kind)) for kind in module.body if isinstance(kind, ast.ClassDef)}


def _docs_of(kind: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in itertools.pairwise(kind.body):
        named = field.target if isinstance(field, ast.AnnAssign) else None
        written = text.value if isinstance(text, ast.Expr) else None
        if isinstance(named, ast.Name) and isinstance(written, ast.Constant):
            yield named.id, str(written.value)


def _typed(parse: Callable[..., jsonargparse.Namespace], source: list[str] | dict[str, object]) -> dict[str, object]:
    """What a jsonargparse method reads from a source, by dotted key; its reports of many lines become one.

    Raises:
        ValueError: one line, starting with the key.
    """
    for key, value in source.items() if isinstance(source, dict) else (("", word) for word in source):
        _check_text(key, value)
    try:
        settings = vars(parse(source, defaults=False).as_flat())
    except argparse.ArgumentError as error:
        raise ValueError(_in_one_line(str(error))) from None
    except (
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:  # of !!bool x, say, which it reads as YAML
        raise ValueError(f"a value is not what it seems to be ({shorten(error)})") from None
    for key, value in settings.items():  # jsonargparse takes null for any type
        if key in SETTINGS and value is None:
            check(NoneType in get_args(SETTINGS[key].type), key, None, describe_wanted(key))
    return settings


def _check_text(key: str, value: object) -> None:
    """Refuses text that would take jsonargparse, which reads it as YAML, more than a moment."""
    try:
        if isinstance(value, str):
            check_text(value)
        elif isinstance(value, list | dict):
            for item in [*value, *value.values()] if isinstance(value, dict) else value:
                _check_text("", item)
    except ValueError as error:
        raise ValueError(f"{key}: {error}" if key else str(error)) from None


def _in_one_line(report: str) -> str:
    """A report of jsonargparse -> key, what was wanted, what was got."""
    report = " ".join(report.split())
    if (match := re.match(r'Parser key "(.+?)"', report)) and match[1] in SETTINGS:
        got = re.search(r"value: (.*?)( - Expected a .*)?$", report)
        return f"{match[1]}: expected {describe_wanted(match[1])}{f', got {shorten(got[1])}' if got else ''}"
    if match := re.match(r"(?i)unrecognized arguments: (\S+)", report):
        flag, _, _ = match[1].partition("=")
        if flag.startswith("--"):
            return describe_unknown(flag.removeprefix("--"))
        return f"{flag} stands alone: a file goes after --config, a value after its flag, as in --train.epochs 3"
    return shorten(report, 1000)
