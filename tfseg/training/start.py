"""The start of a training from weights that were learnt before: all that fits by name and shape is taken.

Other classes make another head: its weights, mostly of another shape, stay random.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfseg.config.schema import Config
from tfseg.io.escaping import printable
from tfseg.models.torch_weights import check_finite
from tfseg.runs.contents import CONFIG, LABELS
from tfseg.runs.run_dir import find_steps, read_config, read_labels
from tfseg.training.start_files import HEAD, Source, find_file, number_anew, open_start
from tfseg.visualization.tables import plain_table

if TYPE_CHECKING:
    import keras

NORMALIZE = "normalize"  # before the encoder, of KerasHub's with weights
MOST_LISTED = 3
TAKEN, CHANGED, MISSING = "taken", "of another shape", "not there"


class Weight(NamedTuple):
    """A weight of the network that is to start."""

    part: str  # encoder, decoder or head
    path: str  # "stem_conv/kernel"
    key: str  # by which it is to be found in the source
    fit: str  # TAKEN, CHANGED or MISSING
    variable: "keras.Variable"

    @property
    def layer(self) -> str:
        """The path of its layer."""
        return self.path.rpartition("/")[0]


def check_start(config: Config) -> None:
    """Looks, before anything is built, whether there is what a training is to start from.

    One that resumes starts from its own checkpoint, and needs nothing else.

    Raises:
        ValueError: it is a run of another encoder, or lies in the run folder of this training itself; or there is none,
            and a training with rounded weights needs one.
        OSError: it is not there, or cannot be read.
    """
    own = Path(config.run_dir)
    if config.train.quantize and config.model.start is None:
        raise ValueError(
            f"train.quantize: expected null without model.start, got {config.train.quantize}; train in floats first, "
            "and then give that run as model.start, since the statistics of batch normalisation are kept"
        )
    if config.model.start is None or (find_steps(own) and not config.overwrite):
        return
    path = Path(config.model.start)
    find_file(path)
    if own.resolve() in (path.resolve(), *path.resolve().parents):
        raise ValueError(f"model.start: {path} is of the run_dir of this training itself; give another run_dir")
    if (path / CONFIG).is_file():
        _check_encoder(read_config(path).model.encoder, config.model.encoder, path)


def load_start(network: "keras.Model", encoder: str, start: str, classes: Sequence[str] | None = None) -> list[str]:
    """Gives a network the weights that fit by name and shape.

    Args:
        network: as of `segmenter.build_network`.
        encoder: the name of its encoder.
        start: a run, a folder of a SavedModel, or a file of weights: Keras' `.weights.h5` of a network or a checkpoint,
            or one of PyTorch, see `torch_weights`, of which the encoder's are taken.
        classes: of the network. A head of as many others, which a run and a SavedModel name, is not taken.

    Returns:
        A table, in lines of plain text: how many weights of each part were taken, or have another shape or none there.

    Raises:
        ValueError: it cannot be read, or is of another encoder, or does not hold all of the encoder's weights; nothing
            is taken then.
        OSError: it cannot be read.
    """
    path = find_file(Path(start))
    with open_start(path, network.get_layer(encoder)) as source:
        if source.encoder is not None:
            _check_encoder(source.encoder, encoder, path)
        weights = list_weights(network, encoder, source)
        others = find_other_classes(Path(start), classes)
        if others:
            weights = [
                weight._replace(fit=MISSING) if (weight.part, weight.fit) == ("head", TAKEN) else weight
                for weight in weights
            ]
        _check_fit(weights, source, encoder, path)
        arrays = [source.read(weight.key) if weight.fit == TAKEN else None for weight in weights]
    pairs = zip(weights, arrays, strict=True)
    check_finite({weight.path: [array] for weight, array in pairs if array is not None}, path)
    for weight, array in zip(weights, arrays, strict=True):
        if array is not None:
            weight.variable.assign(array)
    lines = describe_start(weights, source, start)
    return [*lines, f"head of other classes, so random: there it is of {', '.join(others)}"] if others else lines


def find_other_classes(start: Path, classes: Sequence[str] | None) -> list[str]:
    """Gives the classes of a run or a SavedModel, printable, if they are others than these; else none."""
    if classes is None or not (start / LABELS).is_file():
        return []
    theirs, _ = read_labels(start)
    return [] if theirs == [*classes] else [printable(name) for name in theirs]


def list_weights(network: "keras.Model", encoder: str, source: Source) -> list[Weight]:
    """Lists the weights of a network, and how what is there fits; a layer is taken whole or not at all."""
    inner = {id(variable) for variable in network.get_layer(encoder).weights}
    paths = number_anew(variable.path for variable in network.weights)
    counts, weights = Counter(), []
    for variable in network.weights:
        path = paths[variable.path]
        layer = path.rpartition("/")[0]
        key = path if path in source.shapes else f"{layer}/{counts[layer]}"
        counts[layer] += 1
        inside = id(variable) in inner or layer == NORMALIZE
        part = "encoder" if inside else "head" if layer == HEAD else "decoder"
        found = source.shapes.get(key)
        fit = MISSING if found is None else TAKEN if found == tuple(variable.shape) else CHANGED
        weights.append(Weight(part, variable.path, key, fit, variable))
    changed = {weight.layer for weight in weights if weight.fit == CHANGED}
    return [weight._replace(fit=CHANGED) if weight.layer in changed else weight for weight in weights]


def describe_start(weights: list[Weight], source: Source, start: str) -> list[str]:
    """Lays out what was taken: a row a part, and which weights have another shape."""
    rows: list[tuple[str, ...]] = [("weights", TAKEN, CHANGED, MISSING)]
    for part in ("encoder", "decoder", "head"):
        counts = Counter(weight.fit for weight in weights if weight.part == part)
        rows.append((part, *(str(counts[fit]) for fit in (TAKEN, CHANGED, MISSING))))
    lines = [f"starting from {printable(start)}", *plain_table(rows)]
    if changed := [weight for weight in weights if weight.fit == CHANGED]:
        lines.append(f"of another shape, so random: {_list_shapes(changed, source)}")
    if left := len(source.shapes.keys() - {weight.key for weight in weights}):
        lines.append(f"left there: {left} weights of which this network has none of the name")
    return lines


def _list_shapes(weights: list[Weight], source: Source) -> str:
    pairs = [(weight.path, source.shapes.get(weight.key), tuple(weight.variable.shape)) for weight in weights]
    shown = [f"{path} {_show(old)} -> {_show(new)}" for path, old, new in pairs if old is not None and old != new]
    return ", ".join([*shown[:MOST_LISTED], "..."] if len(shown) > MOST_LISTED else shown)


def _show(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _check_fit(weights: list[Weight], source: Source, encoder: str, path: Path) -> None:
    """Raises ValueError unless all weights of the encoder are there."""
    inner, faults = [weight for weight in weights if weight.part == "encoder"], []
    for weight in inner:
        found, wanted = source.shapes.get(weight.key), tuple(weight.variable.shape)
        if found is None:
            faults.append(f"{weight.path} is {MISSING}")
        elif found != wanted:
            faults.append(f"{weight.path} has {_show(found)}, expected {_show(wanted)}")
    if faults:
        first = ", ".join([*faults[:MOST_LISTED], "..."] if len(faults) > MOST_LISTED else faults)
        missing = {weight.layer for weight in inner if source.shapes.get(weight.key) is None}
        if missing == {"top_conv", "top_bn"}:
            first += "; it lacks the last convolution, which model.skips block does not need"
        raise ValueError(f"{path}: {len(faults)} of {len(inner)} weights of the encoder {encoder} do not fit: {first}")


def _check_encoder(found: str, wanted: str, path: Path) -> None:
    if found != wanted:
        raise ValueError(
            f"{path}: has the encoder {printable(found)}, and model.encoder is {wanted}; make them the same"
        )
