"""The run folder: what training writes and evaluation, export and report read.

config.yaml                     the run's settings, resolved
records.json                    where its records lie, from the root on, and the SHA-256 of their manifest.json
.tfseg.json                     the mark of a folder that a training made, without which little in it is ever deleted
.lock                           while it is trained: by which process
labels.json                     names and colours of the classes that it learns, as in its SavedModel
history.csv  tensorboard/       losses and scores of each epoch, at the network's input size, and images
trackers.json  wandb/           ids of the run on Weights & Biases and MLflow, and what is sent, if it is
best.weights.h5                 the network of the best epoch
checkpoints/                    the last ones, from which a stopped run resumes (see `checkpoints`)
saved_model/                    that network, for use elsewhere
scores-SPLIT.json               its scores on a split, at the ground truth's own size, and the confusion matrix of each
matrices-SPLIT.npz              image; the training writes those of the validation split, `evaluate` those of any
metrics.json                    the same scores of the validation split, those of the validation that chose the epoch,
                                device and versions
report.html  report/            the page of all this by `report`, and its figures

metrics.json is written last: where it is, the run is whole. make relies on that.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tfseg.config.checks import as_yaml
from tfseg.config.parse import load_config
from tfseg.config.schema import Config
from tfseg.config.settings import list_settings
from tfseg.inference import labels_file
from tfseg.io import command, locks, removal
from tfseg.io.atomic import write_json
from tfseg.io.json_reader import read_json
from tfseg.io.paths import is_leftover, is_local, open_path
from tfseg.io.pixel_formats import PixelFormat
from tfseg.records.manifest import MANIFEST_NAME, folder_fault, hash_manifest, read_manifest_bytes
from tfseg.records.record_set import OtherRecordsError, RecordSet, open_records
from tfseg.runs.contents import (
    BEST_WEIGHTS,
    CHECKPOINT_FILES,
    CHECKPOINTS,
    CONFIG,
    HISTORY,
    LABELS,
    LOCK,
    METRICS,
    RECORDS,
    RUN,
    SAVED_MODEL,
    TENSORBOARD,
    TRACKERS,
    folder_of_run,
)

# Settings that make no other training of it; one stopped on a GPU may resume elsewhere.
MAY_CHANGE = (
    *("overwrite", "run_dir", "accelerator.", "quiet", "log."),
    *("train.rollbacks", "train.save_minutes", "train.val_batch_size", "train.validation_freq"),
)


@contextmanager
def hold_run(directory: Path) -> Iterator[str | None]:
    """Keeps other trainings out of a run folder, which is made if it is not there, while the block lasts.

    However this process ends, the folder is free again. A folder that was made and holds nothing in the end is deleted.

    Yields:
        None, or why nothing keeps others out: the file system has no locks.

    Raises:
        ValueError: another process trains there, or `directory` is a file.
        OSError: the folder cannot be written.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory}: is a file; give another run_dir")
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    lock, fault = locks.Lock(directory / LOCK), None
    try:
        try:
            holder = lock.take()
        except locks.NoLocks as error:
            holder, fault = None, f"{directory}: {error.strerror}"
        if holder:
            raise ValueError(f"{directory}: is being trained by {holder}; wait until it ends, or give another run_dir")
        yield fault
    finally:
        lock.release()
        with suppress(OSError):  # what is not empty stays
            for folder in made:
                folder.rmdir()


def open_run(config: Config) -> Path:
    """Makes the run folder of a training, or gives that of the same training, to be resumed.

    What a start that learnt nothing left there is deleted.

    Raises:
        ValueError: as of `check_run`.
    """
    check_run(config)
    directory = Path(config.run_dir)
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / CONFIG).is_file():  # proven, and it is to stay so if this process is killed while it deletes
        removal.write_mark(directory, RUN)
    if config.overwrite and (directory / CONFIG).is_file():
        removal.empty_folder(directory, RUN, keep=(LOCK,))  # which this process has open
    elif (directory / CONFIG).is_file() and not has_learnt(directory):
        other = list_lasting(read_config(directory)) != list_lasting(config)
        removal.remove_folder(directory / TENSORBOARD, folder_of_run(TENSORBOARD))
        removal.remove_files(directory, *map(re.escape, (LABELS, HISTORY, *((TRACKERS,) if other else ()))))
    else:
        removal.remove_files(directory, re.escape(METRICS))  # of a run that continues; written anew at its end
    return directory


def remove_weights(directory: Path, best: bool) -> str:
    """Deletes the checkpoints of a run, and unless it is the best of several, the weights that it would score with.

    Returns:
        Why something could not be deleted; empty if all is.
    """
    try:
        removal.remove_folder(directory / CHECKPOINTS, folder_of_run(CHECKPOINTS))
        if not best:
            removal.remove_folder(directory / SAVED_MODEL, folder_of_run(SAVED_MODEL))
            removal.remove_files(directory, re.escape(BEST_WEIGHTS))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def has_learnt(directory: Path) -> bool:
    """Whether a run has anything to resume from: a checkpoint, or the weights of an epoch."""
    return bool(find_steps(directory)) or (directory / BEST_WEIGHTS).exists()


def find_steps(directory: Path) -> list[int]:
    """Lists the steps of which a run has a checkpoint, whole or damaged, the last one last."""
    names = [path.name for path in (directory / CHECKPOINTS).glob("*.json")]
    return sorted({int(name.partition(".")[0]) for name in names if re.fullmatch(CHECKPOINT_FILES[0], name)})


def check_run(config: Config) -> None:
    """Raises ValueError unless a training can have its run folder.

    What is in it must be the same training, stopped before its end, or ended and to continue for more epochs, or one
    that never learnt anything, or any run if `overwrite` is set, and nothing but what a training or a report wrote.
    """
    directory = Path(config.run_dir)
    if not directory.exists() or all(says_nothing(path.name) for path in directory.iterdir()):
        return
    if not (directory / CONFIG).is_file():
        raise ValueError(f"{directory}: is not empty and holds no run ({CONFIG} is missing); give another run_dir")
    if not removal.is_ours(directory, RUN):
        fault = f"its {CONFIG} is not that of a training, or alone"
        raise ValueError(f"{directory}: is not empty and holds no run ({fault}); give another run_dir")
    if config.overwrite:
        removal.check_removable(directory, RUN)
        return
    remedy = "give another run_dir, or --overwrite true to delete it"
    if (directory / METRICS).exists() and not adds_epochs(directory, config):
        more = "raise train.epochs to continue it, " if not list_other_settings(directory, config) else ""
        raise ValueError(f"{directory}: holds an earlier run; {more}{remedy}")
    if has_learnt(directory) and (changed := list_other_settings(directory, config)):
        raise ValueError(f"{directory}: holds a run with other settings ({changed}); {remedy}")


def says_nothing(name: str) -> bool:
    """Whether a file of this name is in the folder of a run before there is any run."""
    return name in (LOCK, removal.MARK) or is_leftover(name)


def list_other_settings(directory: Path, config: Config) -> str:
    """Words in what the run in a folder is another training than a config's; empty if in nothing.

    Records are the same if their manifest is, wherever they lie; a run of before that was noted has them where it says.
    """
    before, now, other = list_lasting(read_config(directory)), list_lasting(config), ""
    if adds_epochs(directory, config):
        del before["train.epochs"], now["train.epochs"]
    if noted := read_noted(directory):
        del before["data.records"], now["data.records"]
        other = compare_records(noted["manifest"], noted["records"], config.data.records)
    return "; ".join(filter(None, [other, list_changes(before, now)]))


def adds_epochs(directory: Path, config: Config) -> bool:
    """Whether a config continues the run in a folder for more epochs than it was begun with."""
    return config.train.epochs > read_config(directory).train.epochs


def compare_records(manifest: str, place: str, records: str) -> str:
    """Words in what records are others than those whose manifest had this hash; empty if they are the same.

    Raises:
        FileNotFoundError: there are no records.
    """
    found = hash_records(records)
    if found == manifest:
        return ""
    return f"data.records had manifest.json {manifest[:12]}, at {place}, and has {found[:12]}, at {records}"


def hash_records(records: str | Path) -> str:
    """SHA-256 of a folder of records' manifest.json, which has those of all shards: what the records are.

    Raises:
        FileNotFoundError: there are no records.
    """
    return hash_manifest(read_manifest_bytes(records))


def identify(records: str | Path) -> str:
    """What records are, see `hash_records`; of such as are not there, where they should be."""
    try:
        return hash_records(records)
    except FileNotFoundError:
        return str(records)


@contextmanager
def hold_records(records: str | Path) -> Iterator[None]:
    """Keeps conversions from replacing records while the block lasts; other trainings may read them, too.

    Raises:
        ValueError: a conversion is replacing them.
    """
    place = open_path(records)
    if not is_local(place):
        yield
        return
    with locks.hold_folder(place, shared=True) as free:
        if not free:
            raise ValueError(f"{records}: a conversion is replacing these records; wait until it ends")
        yield


def stamp_records(records: RecordSet) -> tuple[int, int, int] | None:
    """By what one sees at a glance that other records may have come; None: nothing is known, as in a store."""
    try:
        status = (records.path / MANIFEST_NAME).stat() if is_local(records.path) else None
    except OSError:
        return None
    return status and (status.st_ino, status.st_size, status.st_mtime_ns)


def check_records(records: RecordSet, stamp: tuple[int, int, int] | None) -> None:
    """Raises ValueError if other records have come where a training reads, whose stamp was another."""
    if stamp_records(records) in (None, stamp):
        return
    with suppress(OSError):  # what cannot be read now says nothing
        if hash_records(records.folder) != records.manifest_hash:
            raise ValueError(f"{records}: has another {MANIFEST_NAME} than when this training began; start it again")


def note_records(config: Config, records: RecordSet) -> None:
    """Notes in the run folder which records the run learns from."""
    place = str(records.path.absolute() if is_local(records.path) else records.path)
    write_json({"records": place, "manifest": records.manifest_hash}, Path(config.run_dir, RECORDS))


def read_noted(directory: str | Path) -> dict | None:
    """Reads what `note_records` wrote; None: the run is of before there was any, or the file is damaged."""
    try:
        noted: Any = read_json(Path(directory, RECORDS))
        return {name: str(noted[name]) for name in ("records", "manifest")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def open_run_records(directory: str | Path, records: str | None = None) -> RecordSet:
    """Finds the records of a run, from whatever folder this process was started in, and opens them.

    Args:
        directory: the run folder.
        records: where to look first, whatever they are, unless it is only as the config has it; None: nowhere.

    Returns:
        Those at `records`, or where the run's config has them, or where they lay in the training, counted from the
        root; of the last two only those whose manifest is that of the training.

    Raises:
        FileNotFoundError: they are in none of these places.
        ValueError, OSError: as of `open_records`.
    """
    written, noted = read_config(directory).data.records, read_noted(directory)
    asked = records is not None and (records != written or Path(records).is_absolute())
    if records is not None and asked and folder_fault(open_path(records)) is None:
        return open_records(records)
    faults, places = [], [written]
    if noted and noted["records"] != written:
        places.append(noted["records"])
    for place in places:
        if fault := folder_fault(open_path(place)):
            faults.append(f"{place}: {fault}")
            continue
        try:
            return open_records(place, noted["manifest"] if noted else None)
        except OtherRecordsError:
            faults.append(f"{place}: has another {MANIFEST_NAME} than the run was trained on")
    raise FileNotFoundError(
        f"{directory}: the records of this run are not found ({'; '.join(faults)}); put them there again, or score the "
        f"run on others by {command.program('evaluate')} --run {directory} --records DIR"
    )


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
        inner = sorted(config.parent.name for config in Path(directory).glob(f"*/{CONFIG}"))  # as in that of a repeat
        remedy = (
            f"give one that it holds: {', '.join(inner[:3])}" if inner else f"{command.program('train')} writes one"
        )
        raise FileNotFoundError(f"{directory}: holds no run ({CONFIG} is missing); {remedy}")
    return load_config(path, warn=False)


def read_labels(directory: str | Path) -> tuple[list[str], np.ndarray]:
    """Reads what a run's classes are called, and their colours; see `labels_file.read_labels`."""
    return labels_file.read_labels(Path(directory, LABELS))


def read_sizes(directory: str | Path) -> list[tuple[int, int]] | None:
    """Reads how images were resized when a run was validated; see `labels_file.read_sizes`."""
    return labels_file.read_sizes(Path(directory, LABELS))


def read_pixels(directory: str | Path) -> PixelFormat:
    """Reads what the images of a run's records are; see `labels_file.read_pixels`."""
    return labels_file.read_pixels(Path(directory, LABELS))
