"""The run folder: what training writes and evaluation, export and report read.

config.yaml                     the run's settings, resolved
labels.json                     names and colours of the classes that it learns, as in its SavedModel
history.csv  tensorboard/       losses and scores of each epoch, and pictures
trackers.json  wandb/           ids of the run on Weights & Biases and MLflow, and what is sent, if it is
best.weights.h5                 the network of the best epoch
checkpoints/                    the last states, for a run that was stopped to go on from (see `checkpoints`)
metrics.json                    scores of the best epoch's network on the validation split, device and versions
saved_model/                    that network, for use elsewhere
scores-SPLIT.json               its scores on a split by `evaluate`, and the confusion matrix of each picture in
matrices-SPLIT.npz
report.html  report/            the page of all this by `report`, and its figures

metrics.json is written last: where it is, the run is whole. make relies on that.
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfseg import predict
from tfseg.config import Config, as_yaml, list_settings, load_config

CONFIG = "config.yaml"
LABELS = "labels.json"
HISTORY = "history.csv"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers.json"
BEST_WEIGHTS = "best.weights.h5"
METRICS = "metrics.json"
SAVED_MODEL = "saved_model"
# Settings that make no other training of it; one stopped on a GPU may go on elsewhere.
MAY_CHANGE = ("overwrite", "run_dir", "device.", "quiet", "log.", "train.rollbacks", "train.save_minutes")


def open_run(config: Config) -> Path:
    """Makes the run folder of a training, or gives that of the same training, stopped before its end.

    Raises:
        ValueError: as of `check_run`.
    """
    check_run(config)
    directory = Path(config.run_dir)
    if config.overwrite and directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def check_run(config: Config) -> None:
    """Raises ValueError unless a training can have its run folder.

    What is in it must be the same training, stopped before its end, or any run if `overwrite` is set.
    """
    directory = Path(config.run_dir)
    if not directory.exists() or not any(directory.iterdir()):
        return
    if not (directory / CONFIG).is_file():
        raise ValueError(f"{directory}: is not empty and holds no run ({CONFIG} is missing); give another run_dir")
    if config.overwrite:
        return
    remedy = "give another run_dir, or --overwrite true to delete it"
    if (directory / METRICS).exists():
        raise ValueError(f"{directory}: holds an earlier run; {remedy}")
    if changed := list_changes(*map(list_lasting, (read_config(directory), config))):
        raise ValueError(f"{directory}: holds a run with other settings ({changed}); {remedy}")


def list_lasting(config: Config) -> dict[str, object]:
    """The settings, by dotted key, that make it this training and no other."""
    return {name: value for name, value in list_settings(config).items() if not name.startswith(MAY_CHANGE)}


def list_changes(before: dict[str, object], now: dict[str, object]) -> str:
    """Words in which of their entries two dicts differ; empty if in none."""
    return "; ".join(
        f"{name} was {as_yaml(before.get(name))} and is {as_yaml(now.get(name))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def read_config(directory: str | Path) -> Config:
    """Reads a run's settings.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    path = Path(directory, CONFIG)
    if not path.is_file():
        raise FileNotFoundError(f"{directory}: holds no run ({CONFIG} is missing); python -m tfseg.train writes one")
    return load_config(path)


def read_labels(directory: str | Path) -> tuple[list[str], np.ndarray]:
    """Reads what a run's classes are called, and their colours; see `predict.read_labels`."""
    return predict.read_labels(Path(directory, LABELS))


def read_sizes(directory: str | Path) -> list[tuple[int, int]] | None:
    """Reads how images were resized when a run was validated; see `predict.read_sizes`."""
    return predict.read_sizes(Path(directory, LABELS))


def load_network(directory: str | Path):
    """Builds a run's network with the weights of its best epoch.

    Returns:
        keras.Model, see `network.build_network`.

    Raises:
        FileNotFoundError: the folder holds no run, or its first epoch has not ended.
        ValueError: the weights are not those of the network that the settings describe.
    """
    from tfseg.network import build_network

    model = read_config(directory).model
    path = Path(directory, BEST_WEIGHTS)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; the run ended before its first epoch did")
    classes, _ = read_labels(directory)
    network = build_network(len(classes), model.encoder, None, model.decoder, model.decoder_channels)
    try:
        network.load_weights(path)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from error
    return network


def save_weights(model, path: Path) -> None:
    """Saves a model's weights, with its optimizer if it has one; the old file stays until the new one is whole.

    Raises:
        OSError: the disk does not take it.
    """
    try:
        with replacing(path) as unfinished:
            model.save_weights(unfinished)
    except OSError as error:  # HDF5's is a page long
        raise OSError(f"{path}: cannot be written ({os.strerror(error.errno or errno.EIO)})") from error


def write_json(content: dict, path: Path) -> None:
    """Writes JSON, nan as null; the old file stays until the new one is whole."""
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(_without_nan(content), indent=1) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to, which takes the place of `path` if the block ends without an error."""
    unfinished = path.with_name(f"incomplete-{path.name}")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the name without the content
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
