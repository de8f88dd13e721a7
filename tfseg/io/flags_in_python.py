"""Errors that name flags of the command line, for users of Python: a note below such an error names the arguments."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def note_arguments(*options: type, **others: str) -> Callable[[Function], Function]:
    """Makes a decorator of a public function whose errors may name flags: `--skip-bad` gets the note `skip_bad`.

    A command prints the error alone, a traceback the note too.

    Args:
        options: classes of typed dictionaries that are arguments, too.
        others: flag, with underscores -> its argument, where the names differ.
    """

    def decorate(function: Function) -> Function:
        names = [*inspect.signature(function).parameters, *(name for kind in options for name in kind.__annotations__)]
        words = {name.replace("_", "-"): name for name in names}
        words |= {flag.replace("_", "-"): name for flag, name in others.items()}

        @functools.wraps(function)
        def with_note(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (ValueError, OSError, ModuleNotFoundError) as error:
                flags = dict.fromkeys(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", str(error)))
                if known := [f"--{flag} is {words[flag]}" for flag in flags if flag in words]:
                    error.add_note(f"In Python: {', '.join(known)}")
                raise

        return cast(Function, with_note)

    return decorate
