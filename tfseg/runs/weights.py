"""The network of a run: its weights on disk, and the network that has them."""

import dataclasses
import io
from pathlib import Path

from tfseg.io.atomic import write_whole
from tfseg.runs.contents import BEST_WEIGHTS
from tfseg.runs.run_dir import read_config, read_labels, read_pixels


def load_network(directory: str | Path):
    """Builds a run's network with the weights of its best epoch.

    Returns:
        keras.Model, see `segmenter.build_network`.

    Raises:
        FileNotFoundError: the folder holds no run, or its first epoch has not ended.
        ValueError: the weights are not those of the network that the settings describe.
    """
    from tfseg.models.segmenter import build_network

    model = read_config(directory).model
    path = Path(directory, BEST_WEIGHTS)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; the run ended before its first epoch did")
    classes, _ = read_labels(directory)
    settings = {**dataclasses.asdict(model), "weights": None}  # those that it has learnt are its own
    del settings["start"]
    network = build_network(len(classes), **settings, channels=read_pixels(directory).channels)
    try:
        network.load_weights(path)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())}); train again") from error
    return network


class _InMemory(io.BytesIO):
    """A file of weights, whose name Keras looks at.

    HDF5 itself must not meet a full disk: it then never lets go of its file, nor of the room that this takes, and
    crashes when the process ends, see https://github.com/h5py/h5py/issues/914.
    """

    def __str__(self) -> str:
        return "memory.weights.h5"


def save_weights(model, path: Path) -> None:
    """Saves a model's weights, with its optimizer if it has one; the old file stays until the new one is whole.

    Raises:
        OSError: the disk does not take it.
    """
    file = _InMemory()
    model.save_weights(file)
    with write_whole(path) as unfinished:
        unfinished.write_bytes(file.getbuffer())
