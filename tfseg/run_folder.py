"""The run folder: what training writes and evaluation, export and report read.

config.yaml                     the run's settings, resolved
history.csv  tensorboard/       losses and scores of each epoch
best.weights.h5                 the network of the best epoch
last.weights.h5                 network and optimizer after the last epoch
metrics.json                    scores of the best epoch's network on the validation split
saved_model/                    that network, for use elsewhere

metrics.json is written last: where it is, the run is whole. make relies on that.
"""

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfseg.config import Config, load_config

CONFIG = "config.yaml"
HISTORY = "history.csv"
TENSORBOARD = "tensorboard"
BEST_WEIGHTS = "best.weights.h5"
LAST_WEIGHTS = "last.weights.h5"
METRICS = "metrics.json"
SAVED_MODEL = "saved_model"


def create(directory: str | Path, overwrite: bool) -> Path:
    """Makes an empty run folder.

    Raises:
        ValueError: there is something in it and `overwrite` is not set, or what is in it is no run's.
    """
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()):
        if not overwrite:
            raise ValueError(
                f"{directory}: holds an earlier run; give another run_dir, or --overwrite true to delete it"
            )
        if not (directory / CONFIG).is_file():
            raise ValueError(f"{directory}: is not empty and holds no run ({CONFIG} is missing); give another run_dir")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def read_config(directory: str | Path) -> Config:
    """Reads a run's settings.

    Raises:
        FileNotFoundError: the folder holds no run.
    """
    path = Path(directory, CONFIG)
    if not path.is_file():
        raise FileNotFoundError(f"{directory}: holds no run ({CONFIG} is missing); python -m tfseg.train writes one")
    return load_config(path)


def load_network(directory: str | Path):
    """Builds a run's network with the weights of its best epoch.

    Returns:
        keras.Model, see `unet.build_unet`.

    Raises:
        FileNotFoundError: the folder holds no run, or its first epoch has not ended.
        ValueError: the weights are not those of the network that the settings describe.
    """
    from tfseg.labels import CATEGORIES
    from tfseg.unet import build_unet

    model = read_config(directory).model
    path = Path(directory, BEST_WEIGHTS)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; the run ended before its first epoch did")
    network = build_unet(len(CATEGORIES), model.encoder, None, model.decoder_channels)
    try:
        network.load_weights(path)
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from error
    return network


def save_weights(model, path: Path) -> None:
    """Saves a model's weights, with its optimizer if it has one; the old file stays until the new one is whole."""
    with replacing(path) as unfinished:
        model.save_weights(unfinished)


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
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
