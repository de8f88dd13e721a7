"""The command `tfseg`: `tfseg VERB ...` is `python -m tfseg.VERB ...`."""

import ast
import difflib
import runpy
import sys
from pathlib import Path

from tfseg import __version__
from tfseg.io import command

# In the order of a data set's way: records, training, scores, exported models, the machine.
VERBS = (
    *("sample_city", "convert", "verify", "explore", "show_batch", "data_service"),
    *("train", "tune", "evaluate", "report", "compare"),
    *("export", "predict", "serve", "app"),
    *("doctor", "describe", "check_metal"),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs the verb that the command line names, or prints what there is.

    Returns:
        Exit code: 0, or 2 where no verb, or one that does not exist, was named. A verb may end the process with others.
    """
    words = sys.argv[1:] if arguments is None else arguments
    name, rest = (words[0], words[1:]) if words else ("", [])
    verb = name.replace("-", "_")
    if verb in VERBS:
        run_verb(verb, rest)
    elif name in ("-h", "--help"):
        print(describe_verbs())
    elif name == "--version":
        print(f"tfseg {__version__}")
    else:
        print(explain_unknown(name) if name else describe_verbs(), file=sys.stderr)
        return 2
    return 0


def run_verb(verb: str, arguments: list[str]) -> None:
    """Runs tfseg/VERB.py as `python -m tfseg.VERB` does, in this process."""
    command.FRONT = f"{called_as()} "
    sys.argv = [verb, *arguments]
    runpy.run_module(f"tfseg.{verb}", run_name="__main__", alter_sys=True)


def called_as() -> str:
    """What the user typed for this command."""
    return "python -m tfseg" if Path(sys.argv[0]).name == "__main__.py" else "tfseg"


def describe_verbs() -> str:
    """The text of --help: usage, and one line for each verb."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {summarise(verb)}" for verb in VERBS]
    program = called_as()
    return "\n".join(
        [
            f"usage: {program} VERB ...",
            "",
            *lines,
            "",
            f"{program} VERB --help shows the options of a verb, {program} --version the version.",
        ]
    )


def summarise(verb: str) -> str:
    """First line of a verb's docstring, read without importing it."""
    source = Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def explain_unknown(name: str) -> str:
    """The line on a verb that does not exist, with the one that it resembles."""
    near = difflib.get_close_matches(name, VERBS, n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    return f"tfseg: error: unknown verb {name!r}; {advice}{called_as()} --help lists all"


if __name__ == "__main__":
    sys.exit(main())
