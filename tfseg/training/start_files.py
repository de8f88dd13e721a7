"""What a training can start from: the weights of a run, a SavedModel or a file, by the names of layers."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from tfseg.io.escaping import printable, shorten
from tfseg.io.regular_files import check_regular
from tfseg.models.torch_weights import is_torch_file, read_torch_weights
from tfseg.runs.contents import BEST_WEIGHTS, CONFIG, SAVED_MODEL

if TYPE_CHECKING:
    import keras

_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
HEAD = "logits"  # the last layer of a network
MODEL = "saved_model.pb"  # in the folder of a SavedModel
# Names that Keras gives by the kind of a layer.
_AUTOMATIC = re.compile(r"((?:(?:depthwise_|separable_)?conv2d|(?:batch_|layer_)?normalization|dense))(?:_(\d+))?")


class Source(NamedTuple):
    """Weights by name, as of `number_anew`, which are read one by one."""

    encoder: str | None  # its name; None: the file does not tell
    shapes: dict[str, tuple[int, ...]]  # "LAYER/0", "LAYER/1", ..., in the order of the layer, or "LAYER/kernel"
    read: Callable[[str], np.ndarray]


def number_anew(paths: Iterable[str]) -> dict[str, str]:
    """Numbers layers that Keras named by their kind from 0 on, since it counts through all that a process makes.

    Args:
        paths: of weights: "conv2d_94/kernel", "conv2d_97/kernel", "block1_conv1/kernel".

    Returns:
        Path -> path that is the same in each process: "conv2d_0/kernel", "conv2d_1/kernel", "block1_conv1/kernel".
    """
    paths = [*paths]
    layers = {path.partition("/")[0] for path in paths}
    numbered = sorted((match[1], int(match[2] or 0), match[0]) for match in map(_AUTOMATIC.fullmatch, layers) if match)
    ranks: Counter[str] = Counter()
    new = {}
    for kind, _, layer in numbered:
        new[layer] = f"{kind}_{ranks[kind]}"
        ranks[kind] += 1
    return {path: "/".join([new.get(layer, layer), *rest]) for path in paths for layer, *rest in [path.split("/")]}


def _make_source(encoder: str | None, shapes: dict[str, tuple[int, ...]], read: Callable[[str], np.ndarray]) -> Source:
    new = number_anew(shapes)
    old = {path: before for before, path in new.items()}
    return Source(encoder, {new[path]: shape for path, shape in shapes.items()}, lambda path: read(old[path]))


def find_file(path: Path) -> Path:
    """Finds what is to be read of a path: the file itself, the folder of a SavedModel, or the best weights of a run.

    Raises:
        FileNotFoundError: there is nothing, or nothing that a training can start from.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; model.start takes a run, a SavedModel or a file")
    if not path.is_dir():
        check_regular(path)
        return path
    if (path / MODEL).is_file():
        return path
    if (path / BEST_WEIGHTS).is_file():
        return path / BEST_WEIGHTS
    if (path / SAVED_MODEL / MODEL).is_file():
        return path / SAVED_MODEL
    what = "a run that ended before its first epoch did" if (path / CONFIG).is_file() else "no run and no SavedModel"
    raise FileNotFoundError(f"{path}: is {what}; model.start takes a run, a SavedModel or a file of weights")


@contextmanager
def open_start(path: Path, encoder: "keras.Model") -> Iterator[Source]:
    """Opens what `find_file` found, while the block lasts.

    Args:
        path: of the file, or of the folder of a SavedModel.
        encoder: of the network that is to get its weights, for files of PyTorch.

    Raises:
        ValueError: it does not hold the weights of a network, or is damaged.
        OSError: it cannot be read.
    """
    if path.is_dir():
        yield read_saved_model(path)
    elif is_torch_file(path):
        layers = read_torch_weights(encoder, path)
        arrays = {f"{name}/{index}": array for name, found in layers.items() for index, array in enumerate(found)}
        yield _make_source(encoder.name, {name: array.shape for name, array in arrays.items()}, arrays.__getitem__)
    else:
        try:
            file = h5py.File(path)
        except OSError as error:
            raise ValueError(f"{path}: is no file of weights that Keras saved ({shorten(error)})") from error
        with file:
            yield read_keras_file(file, path)


def read_keras_file(file: h5py.File, path: Path) -> Source:
    """Reads the names of what Keras saved as `.weights.h5`, of a network or of a training with its optimizer.

    Layers lie in groups that are numbered by kind, and the name of each is an attribute of its group `vars`.

    Raises:
        ValueError: it has no such names, or keeps numbers in other files.
    """
    names, datasets = {}, {}

    def note(place: str, item: Any) -> None:  # links are not followed
        if isinstance(item, h5py.Dataset):
            datasets[place] = item
        elif place.rpartition("/")[2] == "vars" and isinstance(item.attrs.get("name"), str):
            names[place.removesuffix("vars")] = item.attrs["name"]

    try:
        file.visititems(note)
    except _HDF5_ERRORS as error:
        raise ValueError(f"{path}: is damaged ({shorten(error)})") from error
    # The network is the group that holds the head; in a checkpoint it is a part of what learns.
    base = next((place.rpartition("layers/")[0] for place, name in names.items() if name == HEAD), "")
    nested = sorted(place for place in names if place.startswith(f"{base}layers/functional"))
    found = {}
    for place, dataset in datasets.items():
        *folders, _, index = place.split("/")
        groups = ["/".join(folders[: length + 1]) + "/" for length in range(len(folders))]
        layers = [names[group] for group in groups if group in names and group not in (base, *nested[:1])]
        if place.startswith(f"{base}layers/") and layers:
            found["/".join([*layers, index])] = dataset
    if not found:
        raise ValueError(f"{path}: holds no weights by the names of layers, as Keras saves them in .weights.h5")
    if any(dataset.external or dataset.is_virtual or dataset.dtype.kind not in "fiu" for dataset in found.values()):
        raise ValueError(f"{path}: keeps weights in other files, or in a form that Keras does not save")

    def read(key: str) -> np.ndarray:
        try:
            return found[key][()]
        except _HDF5_ERRORS as error:
            raise ValueError(f"{path}: is damaged at {printable(key)} ({shorten(error)})") from error

    shapes = {key: dataset.shape for key, dataset in found.items()}
    return _make_source(names[nested[0]] if nested else None, shapes, read)


def read_saved_model(path: Path) -> Source:
    """Reads the names of a SavedModel's variables, whose graph is not loaded.

    Raises:
        ValueError: it has none, or is damaged.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        graph = TrackableObjectGraph.FromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    except (tf.errors.OpError, ValueError, DecodeError) as error:
        raise ValueError(f"{path}: holds no variables that can be read ({shorten(error)})") from error
    stored = reader.get_variable_to_shape_map()
    keys = {
        attribute.full_name: attribute.checkpoint_key
        for node in graph.nodes
        for attribute in node.attributes
        if attribute.checkpoint_key in stored
    }
    shapes = {name: tuple(stored[key]) for name, key in keys.items()}
    return _make_source(None, shapes, lambda name: reader.get_tensor(keys[name]))
