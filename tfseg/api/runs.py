"""Runs as users of the package have them, trained or opened; and models of one's own `fit`, exported like them."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfseg.api.records import RecordSet, check_size, open_records
from tfseg.config.schema import Config
from tfseg.exporters.exporter import export_saved_model
from tfseg.inference.loaded_model import LoadedModel, load_model
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.json_reader import read_json
from tfseg.io.names import check_text
from tfseg.io.notebooks import html_table
from tfseg.io.pixel_formats import RGB
from tfseg.io.progress import show_progress
from tfseg.metrics.scores import Scores
from tfseg.records.labels import VOID
from tfseg.records.palette import choose_colors
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network

if TYPE_CHECKING:
    import keras

    from tfseg.evaluation.run_report import RunReport


@dataclass(frozen=True)
class Run:
    """A run folder, what `train_run` or `tfseg train` leaves; it goes where a path goes.

    Attributes:
        directory: the folder.

    Example:
        >>> import tfseg
        >>> run = tfseg.open_run("runs/city")
        >>> run.config.train.epochs, run.history
        (1, {'epoch': [1.0], 'loss': [0.5]})
    """

    directory: Path

    def __fspath__(self) -> str:
        return str(self.directory)

    def __str__(self) -> str:
        return str(self.directory)

    @property
    def config(self) -> Config:
        """The settings that it was trained with."""
        return run_dir.read_config(self.directory)

    @property
    def records(self) -> RecordSet:
        """The records that it was trained on, wherever this process was started.

        Raises:
            FileNotFoundError: they are not there any more.
        """
        return open_records(run_dir.open_run_records(self.directory))

    @property
    def metrics(self) -> dict:
        """What metrics.json holds: scores of the validation split, the best epoch, seconds, device and versions.

        Raises:
            FileNotFoundError: the run has not ended.
        """
        path = self.directory / run_dir.METRICS
        if not path.is_file():
            raise FileNotFoundError(f"{self}: the run has not ended ({path.name} is missing); train_run resumes it")
        found: dict = read_json(path)
        return found

    @property
    def scores(self) -> Scores:
        """The scores of its exported model on the validation split, of masks of the ground truth's size."""
        return Scores.from_dict(self.metrics, run_dir.read_labels(self.directory)[1].tolist())

    @property
    def history(self) -> dict[str, list[float]]:
        """What history.csv holds: "epoch", losses, scores and seconds, a number for each epoch; nan: not validated.

        Raises:
            FileNotFoundError: its first epoch has not ended.
        """
        from tfseg.visualization.curves import read_history

        return read_history(self.directory / run_dir.HISTORY)

    def model(self) -> "keras.Model":
        """Builds the network with the weights of the best epoch: float pixels 0..255 -> logits.

        Raises:
            FileNotFoundError: the first epoch has not ended.
            ValueError: the weights are damaged.
        """
        return load_network(self.directory)

    def report(self, split: str | None = None, samples: int = 4, progress: bool = True) -> "RunReport":
        """Writes report.html and its figures into the folder, as `tfseg report` does.

        Args:
            split: what to show; None: the validation split.
            samples: how many images a panel has.
            progress: whether a terminal shows how far scoring is, if the run was not scored yet.

        Returns:
            Where the page and the figures are.

        Raises:
            ValueError: a file is damaged, or there is no such split.
            OSError: a file is missing, as the SavedModel is until the run has ended, or cannot be written.
        """
        from tfseg.evaluation.run_report import report_run

        with show_progress(progress):
            return report_run(self.directory, split, samples)

    def _repr_html_(self) -> str:
        """Shows itself in a notebook: its scores, or the last epoch of one that has not ended."""
        if (self.directory / run_dir.METRICS).is_file():
            return self.scores._repr_html_()
        if not (self.directory / run_dir.HISTORY).is_file():
            return f"<p>{escape(str(self))}: no epoch has ended</p>"
        last = {name: column[-1] for name, column in self.history.items()}
        return html_table([*map(escape, last)], [[f"{value:.4g}" for value in last.values()]], f"{self}: has not ended")


def open_run(directory: str | os.PathLike) -> Run:
    """Opens a run folder.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: its config.yaml is damaged.

    Example:
        >>> import tfseg
        >>> print(tfseg.open_run("runs/city"))
        runs/city
    """
    run = Run(Path(directory))
    run_dir.read_config(run.directory)
    return run


@note_arguments(overwrite="overwrite of the Config")
def train_run(config: Config, *, progress: bool = True) -> Run:
    """Trains, scores and exports one run, as `tfseg train` does; one that was stopped resumes.

    Args:
        config: of the run, such as `Config.from_yaml("configs/camvid.yaml")`.
        progress: whether to print how far it is; else warnings alone are printed, as by `quiet: true`.

    Raises:
        ValueError: a setting does not fit the records, a record is damaged, or the run folder holds another run or is
            that of another process.
        OSError: the records cannot be read, or the run folder cannot be written.
        TypeError: `config` is something else.
        ModuleNotFoundError: the config names what is of a package that is not installed.
        tfseg.training.checkpoints.Stopped: Ctrl-C or SIGTERM; the same call resumes.
    """
    from tfseg.training.loop import train_run

    if not isinstance(config, Config):
        raise TypeError(f"config: expected tfseg.Config, such as Config.from_yaml(FILE) reads, got {config!r}")
    train_run(config if progress else dataclasses.replace(config, quiet=True))
    return Run(Path(config.run_dir))


def export_model(
    model: "keras.Model",
    directory: str | os.PathLike,
    records: str | os.PathLike | RecordSet | None = None,
    *,
    classes: Sequence[str] | None = None,
    palette: np.ndarray | Sequence[Sequence[int]] | None = None,
    input_size: tuple[int, int] | None = None,
    learns_void: bool = False,
) -> LoadedModel:
    """Exports a model that was trained by `fit`: a SavedModel that needs TensorFlow alone. Runs: see `export_run`.

    Args:
        model: `Segmenter`, or its network: pixels 0..255 (batch, height, width, channels) -> logits.
        directory: for the SavedModel and labels.json; an earlier export there is replaced once the new one is whole.
        records: whose classes, colours and kind of pixels are the model's; None: `classes` says them, of RGB images.
        classes: names by class id, each another.
        palette: (classes, 3) RGB, 0..255; None: the records', or colours that the colour-blind can tell apart.
        input_size: (height, width) that images are resized to inside, as those of the validation were; None: the
            network sees each image at its own size.
        learns_void: whether a first class called void was learnt like the others, and counts in scores.

    Returns:
        The model, loaded from there.

    Raises:
        ValueError: neither or both of `records` and `classes` are given, they are of another number than the logits, an
            argument is out of its range, the model's shapes are not known, or `directory` holds something else.
        OSError: the disk does not take it, or the records cannot be read.
    """
    if (records is None) == (classes is None):
        raise ValueError("expected either records, whose classes the model learnt, or classes, their names")
    network = getattr(model, "network", model)
    if None in (getattr(network, "inputs", None), getattr(network, "outputs", None)):
        raise ValueError(
            f"model: expected a Segmenter, or a model of Keras whose inputs and outputs are known, got {network!r}; "
            "build it by keras.Model(inputs, outputs)"
        )
    if records is not None:
        opened = open_records(records)
        names, colors, pixels = opened.classes, opened.palette, opened.manifest.pixels
    else:
        names = check_names(classes)
        colors, pixels = [*choose_colors(dict.fromkeys(names)).values()], RGB
    if palette is not None:
        colors = np.asarray(palette)
        if colors.shape != (len(names), 3) or colors.dtype.kind not in "iu" or colors.min() < 0 or colors.max() > 255:
            raise ValueError(f"palette: expected whole numbers of 0 to 255, ({len(names)}, 3), got {palette!r}")
    size = check_size(input_size, "input_size")
    sizes = [] if size is None else [size]
    ignore_class = VOID if names[:1] == ["void"] and not learns_void else None
    export_saved_model(network, Path(directory), names, colors, sizes, ignore_class, pixels)
    return load_model(directory)


def check_names(classes: object) -> list[str]:
    """Returns the names of classes, or raises ValueError unless they are some, each another, each within a line."""
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise ValueError(f"classes: expected a list of their names, got {classes!r}")
    names = [*map(str, classes)]
    if len({*names}) < len(names):
        raise ValueError(f"classes: expected each name once, got {', '.join(names)}")
    for name in names:
        try:
            check_text(name, "class")
        except ValueError as error:
            raise ValueError(f"classes: {error}") from None
    return names
