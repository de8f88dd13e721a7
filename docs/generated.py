"""The parts of the reference that come from the code: flags of the commands, settings of a run, the Python API.

`conf.py` puts them where a page has the line `<!-- generated: NAME -->`.
"""

import argparse
import dataclasses
import importlib
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

import tfseg
from tfseg.__main__ import VERBS
from tfseg.config import parse, schema
from tfseg.config.settings import SECTIONS

ROOT = Path(__file__).parents[1]
# These verbs take every setting of a training as a flag too.
WITH_SETTINGS = ("train", "tune", "repeat")


class Found(BaseException):
    """Carries a parser out of the command that made it; no command catches it."""


def _carry_out(parser: argparse.ArgumentParser, *_, **__) -> None:
    raise Found(parser)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """Returns the parser of a verb's command line: the command is started, and stopped where it would parse."""
    main = importlib.import_module(f"tfseg.{verb}").main
    original = argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_known_args = _carry_out
    try:
        main([])
    except Found as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_known_args = original
    raise RuntimeError(f"tfseg {verb} parsed no command line; docs/generated.py looks for its parser there")


def plain(text: str) -> str:
    """Escapes text so that Markdown shows it as it is, in one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~^])", r"\\\1", " ".join(text.split()))


def fence(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.strip()}\n```"


def commands() -> str:
    """Every verb with its description and flags, as MyST."""
    return "\n\n".join(f"## tfseg {verb}\n\n{describe_verb(verb, text)}" for verb, text in VERBS.items())


def describe_verb(verb: str, summary: str) -> str:
    parts = [f"{plain(summary[0].upper() + summary[1:])}."]
    if verb == "train":  # its flags are the settings
        parts.append(fence("usage: tfseg train [--config FILE.yaml] [--SETTING VALUE ...]"))
    else:
        parts += describe_parser(parser_of(verb))
    if verb in WITH_SETTINGS:
        parts.append("Every [setting of a training](settings.md) is a flag, too, such as `--train.epochs 3`.")
    return "\n\n".join(parts)


def describe_parser(parser: argparse.ArgumentParser) -> list[str]:
    usage = parser.format_usage()
    raw = parser.formatter_class is not argparse.HelpFormatter
    text = parser.description or ""
    parts = [fence(usage), fence(text) if raw and text else plain(text), f"```{{program}} {parser.prog}\n```"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                parts += [f"### {sub.prog}", plain(helps.get(name, "")), *describe_parser(sub)]
        elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            parts.append(describe_flag(parser, action))
    return [part for part in parts if part]


def describe_flag(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    if action.option_strings:
        value = "" if action.nargs == 0 else " " + formatter._format_args(action, action.dest.upper())
        signature = ", ".join(f"{flag}{value}" for flag in action.option_strings)
    else:
        signature = " ".join(formatter._format_args(action, action.dest).split())
    text = formatter._expand_help(action) if action.help else ""
    required = "Required: " if action.option_strings and action.required else ""
    return f"````{{option}} {signature}\n{required}{plain(text)}\n````"


def settings() -> str:
    """Every setting of a run with its type, default and meaning, as MyST."""
    docs = parse._field_docs()
    parts = []
    for section, kind in {"": schema.Config, **SECTIONS}.items():
        parts += [f"## {section or 'The run'}", plain(kind.__doc__ or "")]
        names = {part.name: part for part in dataclasses.fields(kind)}
        for name, text in docs[kind.__name__].items():
            key = f"{section}.{name}" if section else name
            parts.append(describe_setting(key, names[name], text))
    return "\n\n".join(parts)


def describe_setting(key: str, part: dataclasses.Field, text: str) -> str:
    default = "required" if part.default is dataclasses.MISSING else f"`{in_yaml(part.default)}`"
    options = f":type: {plain(in_words(part.type))}\n:default: {default}"
    return f"````{{confval}} {key}\n{options}\n{plain(text)}\n````"


def in_yaml(value: object) -> str:
    """A default as a config file has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{', '.join(map(in_yaml, value))}]" if isinstance(value, tuple) else str(value)


def in_words(kind: object) -> str:
    """A type as a reader of YAML knows it."""
    words = {int: "whole number", float: "number", str: "text", bool: "true or false", dict: "mapping", list: "list"}
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in words:
        return words[kind]
    if kind is types.NoneType:
        return "null"
    if origin in (types.UnionType, Union):
        return " or ".join(map(in_words, arguments))
    if origin is tuple:
        many = f"list of {in_words(arguments[0])}s"
        return many if arguments[-1] is Ellipsis else f"{many}, {len(arguments)} of them"
    if origin in words:
        return words[origin]
    if origin is Literal:
        return " or ".join(map(in_yaml, arguments))
    return str(kind)


# Heading -> the names below it: each of `tfseg.__all__` once.
API = {
    "Data": (
        *("make_sample_city", "convert_dataset", "open_records", "RecordSet", "Example"),
        *("explore_dataset", "Exploration", "audit_records", "Audit", "Finding"),
    ),
    "Crops and augmentation": ("RandomCrop", "Augmentation"),
    "Networks": ("Unet", "FPN", "Linknet", "PSPNet", "DeepLabV3Plus", "create_model"),
    "Training with fit": ("Segmenter", "Adam", "AdamW", "Cosine", "Polynomial"),
    "Losses": (
        "losses",
        "DiceLoss",
        "JaccardLoss",
        "TverskyLoss",
        "LovaszLoss",
        "CrossEntropyLoss",
        "FocalLoss",
        "SegmentationLoss",
    ),
    "Metrics and scores": ("metrics", "MeanIoU", "score", "Scores"),
    "Runs": ("Config", "train_run", "open_run", "Run", "RunReport", "compare_runs", "Comparison"),
    "Evaluation": ("evaluate_run", "evaluate_model", "evaluate_masks", "Evaluation"),
    "Exported models": (
        *("export_run", "Export", "export_model", "load_model", "LoadedModel", "InferenceSettings"),
        *("predict_files", "PredictedFiles", "predict_video", "PredictedVideo"),
    ),
}


def api() -> str:
    """Directives of autodoc for all of `tfseg.__all__`, by heading, as MyST."""
    return "\n\n".join(
        "\n\n".join([f"## {heading}", *(fence(directive_for(name), "{eval-rst}") for name in names)])
        for heading, names in API.items()
    )


def directive_for(name: str) -> str:
    value = getattr(tfseg, name)
    if isinstance(value, types.ModuleType):  # its members have entries of their own
        return f".. automodule:: {value.__name__}"
    if isinstance(value, type):
        of_keras = any(base.__module__.startswith("keras.") for base in value.__mro__)
        options = "   :members:\n   :show-inheritance:" if of_keras else "   :members:"
        if "__call__" in vars(value) and not of_keras:
            options += "\n   :special-members: __call__"
        return f".. autoclass:: tfseg.{name}\n{options}"
    return f".. {'autofunction' if callable(value) else 'autodata'}:: tfseg.{name}"


def contributing() -> str:
    """CONTRIBUTING.md without its title, if the repository has one."""
    there = (ROOT / "CONTRIBUTING.md").is_file()
    return "```{include} ../CONTRIBUTING.md\n:relative-docs: docs/\n:start-line: 1\n```" if there else ""


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "api": api,
    "contributing": contributing,
}


def fill(source: str) -> str:
    """Replaces each line `<!-- generated: NAME -->` of a page."""
    return re.sub(r"^<!-- generated: (\w+) -->$", lambda match: PARTS[match[1]](), source, flags=re.MULTILINE)
