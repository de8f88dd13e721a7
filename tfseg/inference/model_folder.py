"""Which model a folder means, its own or that of a run, or what else the folder holds; without TensorFlow."""

from collections import Counter
from pathlib import Path

from tfseg.inference.runtimes.choice import FILES, find_runtimes
from tfseg.io import command

LABELS, IN_RUN = "labels.json", "saved_model"
RUN_FILES = ("history.csv", "checkpoints", "best.weights.h5", "trackers.json", "metrics.json")  # beside config.yaml
HELP = "folder of an exported model with labels.json, or a run folder that holds one"


def find_model(path: Path) -> Path:
    """Finds the folder of a model with its labels: `path`, or saved_model/ in it, as of a run.

    Raises:
        FileNotFoundError: there is no such folder, it is something else, or one of the two files is missing.
    """
    directory = path / IN_RUN if not find_runtimes(path) and find_runtimes(path / IN_RUN) else path
    if not path.is_dir():
        what = "there is no such folder" if not path.exists() else "it is a file"
        raise FileNotFoundError(f"{path / LABELS} is missing: {what}; expected a {HELP}")
    if not find_runtimes(directory):
        raise FileNotFoundError(f"{directory / FILES[0]} is missing: {describe(path)}; expected a {HELP}")
    if not (directory / LABELS).is_file():
        raise FileNotFoundError(f"{directory / LABELS} is missing; expected a folder that tfseg train or export wrote")
    return directory


def describe(path: Path) -> str:
    """Words what a folder is that holds no model."""
    names = {entry.name for entry in path.iterdir() if not entry.name.startswith(".")}
    if "config.yaml" in names and names.intersection((*RUN_FILES, LABELS)):
        return (
            f"{path} is a run that has no SavedModel yet, as a training writes it at its end; let the training end, or "
            f"export its best epoch so far by {command.program('export')} --run {path} --out DIR"
        )
    if "manifest.json" in names:
        return f"{path} holds records"
    if models := sorted(name for name in names if is_model(path / name)):
        more = ", ..." if len(models) > 3 else ""
        return f"{path} holds {len(models)} of them, one of which is to be named: {', '.join(models[:3])}{more}"
    if not names:
        return f"{path} is empty"
    suffixes = Counter("folder" if (path / name).is_dir() else Path(name).suffix or "file" for name in names)
    return f"{path} holds {', '.join(f'{count} {kind}' for kind, count in suffixes.most_common(3))}"


def is_model(path: Path) -> bool:
    """Whether `find_model` would look for one there."""
    return bool(find_runtimes(path) or find_runtimes(path / IN_RUN))
