"""JSON objects -> the fields of a dataclass, each of the kind that it declares."""

import dataclasses
import functools
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


def fields_of(kind: type, entry: object, name: str) -> dict[str, Any]:
    """Takes a dataclass's fields out of a JSON object; what else it has is left.

    Raises:
        ValueError: it is no object, lacks a field, or has a value of another kind; the message begins with `name`.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{name} must be a JSON object, not a {type(entry).__name__}")
    fields = dataclasses.fields(kind)
    missing = [field.name for field in fields if field.name not in entry and field.default is dataclasses.MISSING]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}")
    for key, declared in _types_of(kind).items():
        if key in entry and not _is_a(entry[key], declared):
            raise ValueError(f"{name} has something else as {key} than {_in_json(declared)}")
    return {field.name: entry[field.name] for field in fields if field.name in entry}


@functools.cache
def _types_of(kind: type) -> dict[str, Any]:
    """What the fields of a dataclass declare, by name."""
    return get_type_hints(kind)


def _is_a(value: object, kind: type) -> bool:
    """Whether a JSON value is what a field declares, such as list[int] | None."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, option) for option in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is_a(item, get_args(kind)[0]) for item in value)
    if dataclasses.is_dataclass(kind):  # checked when its own fields are read
        return True
    if isinstance(value, bool):  # which Python takes for an integer
        return kind is bool
    return isinstance(value, int | float if kind is float else get_origin(kind) or kind)


def _in_json(kind: type) -> str:
    """Words for what a field declares."""
    if isinstance(kind, UnionType):
        return " or ".join(map(_in_json, get_args(kind)))
    if get_origin(kind) is list:
        return f"a list of {_in_json(get_args(kind)[0])}"
    words = {str: "text", int: "an integer", float: "a number", NoneType: "null"}
    return words.get(kind, "a JSON object")
