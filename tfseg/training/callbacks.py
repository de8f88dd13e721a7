"""The callbacks of `fit`, but for the validation: the frozen encoder, checkpoints, and files of losses and scores."""

import csv
import math
import threading
import time
from pathlib import Path

import keras
from keras import ops

from tfseg.io.atomic import write_text
from tfseg.records.record_set import RecordSet
from tfseg.runs import run_dir
from tfseg.training import checkpoints
from tfseg.training.console import Screen
from tfseg.training.distribution import Distribution
from tfseg.training.optimizers import FusedSteps
from tfseg.training.validation import Validate


class Freeze(keras.callbacks.Callback):
    """Keeps a network's encoder as it is for the first epochs: its weights, and batch normalisation's statistics."""

    def __init__(self, encoder: keras.Model, epochs: int):
        super().__init__()
        self.encoder, self.epochs = encoder, epochs

    def on_epoch_begin(self, epoch, logs=None):
        learns = epoch >= self.epochs
        if self.encoder.trainable != learns:
            self.encoder.trainable = learns
            self.model.make_train_function(force=True)


class ApplyRest(keras.callbacks.Callback):
    """Makes a step of the gradients that accumulation left over at the end of the last epoch, before it is saved.

    A training that ends earlier, by patience, needs no such step: its best weights are there already. The optimizers of
    Keras have no such step, either.
    """

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.params["epochs"]:
            optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
            if isinstance(optimizer, FusedSteps):
                optimizer.apply_rest()


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves a checkpoint after each epoch, before its validation, every so many minutes, and when a stop is asked for.

    A full disk stops no training: it is reported, and the checkpoints before stay. Nothing is saved once a loss was not
    finite.

    Args:
        run: the run folder.
        steps_per_epoch: of the training.
        minutes: between two checkpoints within an epoch.
        validate: which knows the best scores before.
        stop: whether a stop is asked for.
        rollbacks: how often the training went back to a checkpoint already.
        screen: for warnings.
        distribution: whose chief saves; a stop asked of any worker stops all.
        records: what is learnt from; None: whatever it is.

    Raises:
        Stopped: a stop was asked for, and the checkpoint is saved.
        NotFinite: the loss was not finite.
        ValueError: other records have come in their place since the training began.
    """

    def __init__(
        self,
        run: Path,
        steps_per_epoch: int,
        minutes: float,
        validate: Validate,
        stop: threading.Event,
        rollbacks: int = 0,
        screen: Screen | None = None,
        distribution: Distribution | None = None,
        records: RecordSet | None = None,
    ):
        super().__init__()
        self.records, self.stamp = records, run_dir.stamp_records(records) if records else None
        self.run, self.steps_per_epoch, self.seconds = run, steps_per_epoch, 60 * minutes
        self.validate, self.stop, self.rollbacks, self.screen = validate, stop, rollbacks, screen or Screen()
        self.distribution = distribution or Distribution()

    def on_train_begin(self, logs=None):
        self.saved_at = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float]):
        if not math.isfinite(logs["loss"]):  # the epoch's mean so far, which Keras has got from the device
            self.model.check_loss()
        if batch + 1 == self.steps_per_epoch:
            return  # the epoch's end follows
        stop, due = self.distribution.any(self.stop.is_set(), time.monotonic() - self.saved_at > self.seconds)
        if stop or due:
            self.save(batch + 1, stop)

    def on_epoch_end(self, epoch, logs=None):
        self.save(self.steps_per_epoch, *self.distribution.any(self.stop.is_set()))

    def save(self, batches: int, stop: bool) -> None:
        """Saves a checkpoint after so many batches of this epoch, and ends the training if it is to stop."""
        self.model.check_loss()
        if self.records:
            run_dir.check_records(self.records, self.stamp)
        step = self.epoch * self.steps_per_epoch + batches
        try:
            best, writes = self.validate.best_scores, self.distribution.chief
            origin = self.records.manifest_hash if self.records else None
            checkpoints.save(self.model, self.run, step, best, self.rollbacks, writes=writes, records=origin)
        except OSError as error:
            self.screen.warn(f"the checkpoint after step {step} is not saved: {error}")
        self.saved_at = time.monotonic()
        if stop:
            place = f"after step {batches} of epoch {self.epoch + 1}"
            raise checkpoints.Stopped(f"stopped {place}; the same command resumes there")


class HistoryFile(keras.callbacks.Callback):
    """Writes a line per epoch into a CSV file; `epochs` is how many lines of an earlier start stay.

    The scores of an epoch that is not validated are empty cells. `before` is the mean IoU of the last epoch before that
    was validated, if there is one.
    """

    def __init__(self, path: Path, epochs: int):
        super().__init__()
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        lines = lines[: 1 + epochs] if epochs else []
        write_text("".join(lines), path)
        scores = [row["val_mean_iou"] for row in csv.DictReader(lines) if row["val_mean_iou"]]
        self.before = float(scores[-1]) if scores else None

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]):
        rate = find_learning_rate(self.model.optimizer)
        row = {"epoch": epoch + 1, **logs}
        row |= {name: logs.get(name, "") for name in (f"val_{score}" for score in Validate.SHOWN)}
        row |= {"learning_rate": rate, "seconds": time.monotonic() - self.start}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if epoch == 0:
                writer.writeheader()
            writer.writerow({name: value if value == "" else f"{float(value):.6g}" for name, value in row.items()})


def is_scored(history: Path, epoch: int) -> bool:
    """Whether a training's file of losses and scores has scores of an epoch, counted from 0."""
    if not history.exists():
        return False
    rows = list(csv.DictReader(history.read_text(encoding="utf-8").splitlines()))
    return len(rows) > epoch and bool(rows[epoch]["val_mean_iou"])


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' own, but for the learning rate, which is that of the epoch's last step."""

    def _collect_learning_rate(self, logs):
        return {**logs, "learning_rate": find_learning_rate(self.model.optimizer)}


def find_learning_rate(optimizer) -> float:
    """The learning rate of an optimizer's last step; before the first, that which comes.

    `optimizer.learning_rate` is that of the step to come, which at the end of a schedule is one too far.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = keras.optimizers.schedules.LearningRateSchedule
    if not isinstance(getattr(optimizer, "_learning_rate", None), schedule):
        return float(ops.convert_to_numpy(optimizer.learning_rate))
    batches = getattr(optimizer, "_iterations", optimizer.iterations)  # accumulated or not
    last = int(ops.convert_to_numpy(batches)) - 1
    return float(ops.convert_to_numpy(optimizer._learning_rate(max(last, 0))))
