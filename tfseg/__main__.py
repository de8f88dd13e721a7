"""The command `tfseg`: `tfseg VERB ...` is `python -m tfseg.VERB ...`."""

import difflib
import runpy
import sys
from pathlib import Path

from tfseg import __version__
from tfseg.io import command, limits

# Verb -> what it does, in the order of a data set's way: records, training, scores, exported models, the machine.
VERBS = {
    "sample_city": "draw a small city in the files and folders of Cityscapes, to try everything on",
    "convert": "convert a raw data set to TFRecord shards with a manifest",
    "verify": "check that shards are whole and hold what their manifest says",
    "explore": "make a page of what a data set holds",
    "audit": "find duplicates, leaked frames, bad masks and label errors in records",
    "show_batch": "draw a training batch as the network sees it",
    "data_service": "read and decode for a training, on other machines",
    "train": "train on records, into a run directory",
    "tune": "search for the settings of a training with the best score",
    "repeat": "train with several seeds, and score them together",
    "evaluate": "score a run, a model or masks",
    "report": "make a page of scores, curves and images of a run",
    "compare": "compare the scores of runs, or of repeats, with intervals",
    "export": "export a run as SavedModel, LiteRT, ONNX and Core ML",
    "predict": "make class masks of images or a video",
    "serve": "serve a model over HTTP",
    "app": "show a model on a web page",
    "doctor": "check packages, devices and speed of a machine before a training",
    "describe": "report parameters, multiply-adds and memory of a network",
    "check_metal": "list the operations that would leave the GPU of Apple Silicon",
    "check_delegate": "list the operators of a .tflite file that would leave an accelerator",
}


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
    if fault := limits.check_least_space():
        sys.exit(f"{verb}: error: {fault}")
    command.FRONT = f"{called_as()} "
    command.end_quietly_until_run()
    sys.argv = [verb, *arguments]
    runpy.run_module(f"tfseg.{verb}", run_name="__main__", alter_sys=True)


def called_as() -> str:
    """What the user typed for this command."""
    return "python -m tfseg" if Path(sys.argv[0]).name == "__main__.py" else "tfseg"


def describe_verbs() -> str:
    """The text of --help: usage, and one line for each verb."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {text}" for verb, text in VERBS.items()]
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


def explain_unknown(name: str) -> str:
    """The line on a verb that does not exist, with the one that it resembles."""
    near = difflib.get_close_matches(name, VERBS, n=1)
    advice = f"did you mean {near[0]}? " if near else ""
    return f"tfseg: error: unknown verb {name!r}; {advice}{called_as()} --help lists all"


if __name__ == "__main__":
    sys.exit(main())
