"""The checkpoints from which a training resumes, each of them whole or not there.

checkpoints/00000300.weights.h5   after 300 steps: network, its average, optimizer and counts
checkpoints/00000300.json         checksum of that file, and what else a `Checkpoint` has; written last

Which batch comes next, and how it is augmented, depends on seed, epoch and step alone, so that neither is saved.
"""

import math
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfseg.io.atomic import UNFINISHED, write_json
from tfseg.io.escaping import printable
from tfseg.io.json_reader import read_json
from tfseg.io.removal import remove_files
from tfseg.runs.contents import CHECKPOINT_FILES
from tfseg.runs.contents import CHECKPOINTS as FOLDER
from tfseg.runs.run_dir import find_steps
from tfseg.runs.weights import save_weights

CHUNK = 2**20


class Checkpoint(NamedTuple):
    """What a training had reached."""

    step: int  # batches that it had learnt from
    best: dict | None  # scores of the best epoch before, as in metrics.json
    losses: list[float]  # of which the epoch's mean loss is made, see `keras.Model.metrics_variables`
    seeds: list[list[int]]  # of layers that draw, which no file of weights holds
    rollbacks: int  # how often it had gone back to a checkpoint before, each time with half the learning rate
    records: str | None = None  # SHA-256 of manifest.json of what it learnt from; None before that was noted


class Stopped(Exception):
    """A training has ended where it can resume, since it was asked to."""


def save(
    model,
    run: Path,
    step: int,
    best: dict | None,
    rollbacks: int = 0,
    keep: int = 2,
    writes: bool = True,
    records: str | None = None,
) -> None:
    """Saves a model's checkpoint, and deletes all but the last `keep`.

    Args:
        model: compiled, see `learner.Learner`.
        run: the run folder.
        step: batches that it has learnt from.
        best: scores of the best epoch before.
        rollbacks: how often the training went back to a checkpoint before.
        keep: how many checkpoints stay.
        writes: whether this process is the one of several that does; all must call it, since losses lie with all.
        records: SHA-256 of manifest.json of what it learns from.

    Raises:
        OSError: the disk does not take it. The checkpoints before stay.
    """
    losses = [to_list(variable) for variable in model.metrics_variables]
    if not writes:
        return
    (run / FOLDER).mkdir(exist_ok=True)
    path = weights_path(run, step)
    save_weights(model, path)
    seeds = [to_list(variable) for variable in find_seeds(model)]
    checkpoint = Checkpoint(step, best, losses, seeds, rollbacks, records)
    write_json({**checkpoint._asdict(), "crc32": checksum(path)}, record_path(run, step))
    delete_older(run, step, keep)


def delete_older(run: Path, step: int, keep: int) -> None:
    """Deletes all but the last `keep` checkpoints up to a step, and what a killed process was about to write.

    Later ones cannot be of this training, and are not counted: two such names would cost all that is saved now.
    """
    steps = find_steps(run)
    kept = [*[one for one in steps if one <= step][-keep:], *(one for one in steps if one > step)]
    others = "".join(f"(?!{one:08d}\\.)" for one in kept)
    names = [start + name for name in CHECKPOINT_FILES for start in (others, UNFINISHED)]
    remove_files(run / FOLDER, *names)


def find_last(run: Path) -> Checkpoint | None:
    """Finds the last whole checkpoint of a run; reports on stderr which newer ones are damaged or have other names."""
    for step in reversed(find_steps(run)):
        try:
            return _read(run, step)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            fault = " ".join(str(error).split()) if isinstance(error, OSError | ValueError) else repr(error)[:200]
            warning = f"{record_path(run, step)}: {fault}; resuming from an earlier checkpoint"
            print(f"warning: {printable(warning)}", file=sys.stderr, flush=True)
    return None


def _read(run: Path, step: int) -> Checkpoint:
    """Reads the checkpoint of a step; raises one of many errors if it is not what was saved there."""
    record = read_json(record_path(run, step))
    crc32 = record.pop("crc32")
    found = Checkpoint(**record)
    if found.step != step:
        raise ValueError(f"is the checkpoint after step {found.step!r}, under the name of another")
    if crc32 != checksum(weights_path(run, step)):
        raise ValueError(f"{weights_path(run, step).name} is not what was saved")
    if not (
        isinstance(found.rollbacks, int) and isinstance(found.best, dict | None) and isinstance(found.losses, list)
    ):
        raise ValueError("is no checkpoint's record")
    return found


def load(model, run: Path, checkpoint: Checkpoint) -> None:
    """Gives a model, compiled as it was, a checkpoint that `find_last` found."""
    model.load_weights(weights_path(run, checkpoint.step))
    values = [math.nan if loss is None else loss for loss in checkpoint.losses]  # which JSON has none of
    variables = [*model.metrics_variables, *find_seeds(model)]
    for variable, value in zip(variables, [*values, *checkpoint.seeds], strict=True):
        variable.assign(value)


def find_seeds(model) -> list:
    """Lists the variables from which a model's layers draw."""
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]


def to_list(variable):
    """A variable's numbers, as JSON takes them."""
    from keras import ops

    return ops.convert_to_numpy(variable).tolist()


def weights_path(run: Path, step: int) -> Path:
    return run / FOLDER / f"{step:08d}.weights.h5"


def record_path(run: Path, step: int) -> Path:
    return run / FOLDER / f"{step:08d}.json"


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    value = 0
    for chunk in _chunks(path):
        value = zlib.crc32(chunk, value)
    return value


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
