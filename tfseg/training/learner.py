"""What `fit` needs: network, augmentation and loss as one model, the optimizer with its rates, the callbacks."""

import csv
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfseg import backend
from tfseg.metrics.confusion import Scorer, score, scores
from tfseg.runs.run_dir import replacing, save_weights
from tfseg.training import checkpoints
from tfseg.training.console import Screen
from tfseg.training.distribution import Distribution


class Learner(keras.Model):
    """A network to train: augments the batch on the device, inside the compiled step, and weighs the loss.

    `steps` counts the batches that it has learnt from; it is a weight, so that what goes on from saved weights goes on
    with the draws that would have come.

    Batches are {"image": uint8 (batch, height, width, 3), "mask": uint8 (batch, height, width)}, or int8 of the same
    bits. The augmented mask is an output beside the logits, for the loss to see. So Keras' own train step serves, on
    every backend.
    """

    def __init__(self, network: keras.Model, loss, augmentation):
        super().__init__()
        self.network = network
        self.loss_function = loss
        self.augmentation = augmentation
        counter = {"shape": (), "dtype": "int32", "trainable": False, "aggregation": "only_first_replica"}
        self.steps = self.add_weight(name="steps", initializer="zeros", **counter)
        self.terms = [name for name, weight in loss.weights.items() if weight]
        self.means = [keras.metrics.Mean(name) for name in self.terms] if len(self.terms) > 1 else []  # else the loss
        self.fault = self.add_weight(
            name="fault",
            shape=(1 + len(self.terms),),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.waited = 0.0  # seconds that steps on TensorFlow have waited for their batches
        self.seen = False  # whether a batch was looked at for what plainly is wrong
        self.built = True  # the network is, and there is nothing else

    def compile(self, *args, **kwargs):
        """Compiles as Keras does, and makes the optimizer's variables at once.

        Within the first step, where Keras makes them, TensorFlow builds a branch for each and traces the step twice.
        """
        super().compile(*args, **kwargs)
        self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force=False):
        """Makes it as Keras does, but on TensorFlow, where a batch is fetched before the compiled step, not within it.

        Nor can Keras' own be run by several processes: it reduces what each replica gives, to ends that fail there.
        """
        if keras.backend.backend() != "tensorflow":
            super().make_train_function(force)
        elif self.train_function is None or force:
            step = backend.compile_step(self.train_step, self.distribute_strategy, self.jit_compile)

            def fetch_and_step(iterator):
                start = time.monotonic()
                batch = next(iterator)
                self.waited += time.monotonic() - start
                if not self.seen:  # once: it would wait for the device
                    keras.tree.map_structure(backend.check_pixels, batch)
                    self.seen = True
                return step(batch)

            self.train_function = fetch_and_step

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: all is built. Keras would average the bytes of a batch over replicas, which fails."""

    def call(self, batch, training=False):
        image, mask = batch["image"], batch["mask"]
        backend.check_pixels(image)
        if training:
            image, mask = self.augmentation(image, mask, step=self.steps, replica=backend.find_replica())
            self.steps.assign(self.steps + 1)
        else:
            mask = backend.as_ids(mask)
        return {"logits": self.network(backend.as_floats(image), training=training), "mask": mask}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        terms = self.loss_function.terms(y_pred["mask"], y_pred["logits"])
        terms = {name: backend.mean_over_replicas(ops.mean(term)) for name, term in terms.items()}
        for mean in self.means:
            mean.update_state(terms[mean.name])
        self.note_fault(list(terms.values()))
        loss = sum(self.loss_function.weights[name] * term for name, term in terms.items())
        replicas = backend.count_replicas()
        return loss / replicas if replicas > 1 else loss  # Keras sums the gradients of all

    def note_fault(self, terms):
        """Keeps the step and the loss's terms, if one of them is not finite for the first time."""
        terms, before = ops.stack(terms), ops.convert_to_tensor(self.fault)
        finite = ops.cast(ops.sum(terms - terms) == 0, "float32")  # Metal has no IsFinite
        found = ops.concatenate([ops.cast(self.steps, "float32")[None], terms])
        self.fault.assign(ops.where(finite + before[0] == 0, found, before))

    def check_loss(self) -> None:
        """Raises NotFinite if the loss of any step so far was not finite. It waits for the device."""
        if hasattr(self, "jax_state_sync"):
            self.jax_state_sync()  # within an epoch, variables have no values on JAX
        step, *terms = ops.convert_to_numpy(self.fault).tolist()
        if step:
            raise NotFinite(int(step), dict(zip(self.terms, terms, strict=True)))


class NotFinite(Exception):
    """The loss was nan or infinite.

    Args:
        step: at which, counted from 1, over all epochs.
        terms: of the loss: name -> its value there.
    """

    def __init__(self, step: int, terms: dict[str, float]):
        super().__init__(step, terms)
        self.step, self.terms = step, terms


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
    """Has the gradients that `accumulate` left over at the end of the last epoch make a step, before it is saved.

    A training that ends earlier, by patience, needs no such step: its best weights are there already.
    """

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.params["epochs"]:
            getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer).apply_rest()


class KeepState(keras.callbacks.Callback):
    """Saves the state after each epoch, before it is validated, every so many minutes, and when a stop is asked for.

    A disk that is full stops no training: it is told, and the states before stay. Nothing is saved once a loss was not
    finite.

    Args:
        run: the run folder.
        steps_per_epoch: of the training.
        minutes: between two states within an epoch.
        validate: which knows the best scores before.
        stop: whether a stop is asked for.
        rollbacks: how often the training went back already.
        screen: for warnings.
        distribution: whose chief saves; a stop asked of any worker stops all.

    Raises:
        Stopped: a stop was asked for, and the state is saved.
        NotFinite: the loss was not finite.
    """

    def __init__(
        self,
        run: Path,
        steps_per_epoch: int,
        minutes: float,
        validate: "Validate",
        stop: threading.Event,
        rollbacks: int = 0,
        screen: Screen | None = None,
        distribution: Distribution | None = None,
    ):
        super().__init__()
        self.run, self.steps_per_epoch, self.seconds = run, steps_per_epoch, 60 * minutes
        self.validate, self.stop, self.rollbacks, self.screen = validate, stop, rollbacks, screen or Screen()
        self.distribution = distribution or Distribution()

    def on_train_begin(self, logs=None):
        self.saved_at = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
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
        """Saves the state after so many batches of this epoch, and ends the training if it is to stop."""
        self.model.check_loss()
        step = self.epoch * self.steps_per_epoch + batches
        try:
            best, writes = self.validate.best_scores, self.distribution.chief
            checkpoints.save(self.model, self.run, step, best, self.rollbacks, writes=writes)
        except OSError as error:
            self.screen.warn(f"the state after step {step} is not saved: {error}")
        self.saved_at = time.monotonic()
        if stop:
            place = f"after step {batches} of epoch {self.epoch + 1}"
            raise checkpoints.Stopped(f"stopped {place}; the same command goes on from there")


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Has the averages of a model's weights in their place for a while, if its optimizer keeps any.

    Unlike `keras.callbacks.SwapEMAWeights` it leaves every bit as it was, so that a training goes on as it would have.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    variables, averages = [], []
    if optimizer.use_ema:
        variables, averages = optimizer._trainable_variables, optimizer._model_variables_moving_average
    kept = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
    for variable, average in zip(variables, averages, strict=True):
        variable.assign(np.array(ops.convert_to_numpy(average)))
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


class Validate(keras.callbacks.Callback):
    """Scores the network on the validation split after each epoch, and keeps the weights of the best.

    The best is that with the highest `mean_iou`, in which void counts if the loss learns it. The epoch's logs get
    `val_loss` and the means of `metrics.scores`.

    Args:
        scorer: the network and its loss.
        batches: of the validation split.
        best: file for the weights of the best epoch.
        best_scores: of the epochs before, if there were any.
        patience: epochs without a better score after which the training ends; None: it never does.
        stop: whether a stop is asked for.
        screen: to tell on that it ends.
        distribution: whose chief scores; the other workers wait, and end when it does.

    Raises:
        Stopped: a stop was asked for. The state was saved before.
    """

    SHOWN = ("loss", "mean_iou", "mean_f1", "mean_iou_with_void", "mean_f1_with_void", "pixel_accuracy")

    def __init__(
        self,
        scorer: Scorer,
        batches,
        best: Path,
        best_scores: dict | None = None,
        patience: int | None = None,
        stop: threading.Event | None = None,
        screen: Screen | None = None,
        distribution: Distribution | None = None,
    ):
        super().__init__()
        self.scorer, self.batches, self.path = scorer, batches, best
        self.best_scores = best_scores and score_again(best_scores, scorer)
        self.patience, self.stop = patience or math.inf, stop or threading.Event()
        self.screen, self.distribution = screen or Screen(), distribution or Distribution()

    def on_epoch_end(self, epoch, logs=None):
        stopped = ended = False
        if self.distribution.chief:
            try:
                self.score(epoch, logs)
            except checkpoints.Stopped:
                stopped = True
            ended = not stopped and epoch + 1 - self.best_scores["epoch"] >= self.patience
        stopped, ended = self.distribution.any(stopped, ended)
        if stopped:
            raise checkpoints.Stopped(f"stopped in epoch {epoch + 1}'s validation; the same command goes on there")
        if ended:
            self.screen.tell(f"no better mean IoU for {self.patience} epochs")
            self.model.stop_training = True

    def score(self, epoch: int, logs: dict) -> None:
        """Scores an epoch's network."""

        def check(batch, logs=None):
            if self.stop.is_set():
                raise checkpoints.Stopped

        with averaged(self.model):
            found = score(self.scorer, self.batches, keras.callbacks.LambdaCallback(on_predict_batch_end=check))
            logs.update({f"val_{name}": found[name] for name in self.SHOWN})
            if self.best_scores is None or found["mean_iou"] > self.best_scores["mean_iou"]:
                self.best_scores = {"epoch": epoch + 1, **found}
                save_weights(self.model.network, self.path)


def score_again(before: dict, scorer: Scorer) -> dict:
    """Returns scores of an earlier start as they are now, should that have left out void, though the loss learns it."""
    if before.get("learn_void") or not getattr(scorer.loss_function, "learn_void", False):
        return before
    return before | scores(before["confusion_matrix"], scorer.classes, ignore_class=None)


def find_rate(optimizer) -> float:
    """The learning rate of an optimizer's last step; before the first, that which comes.

    `optimizer.learning_rate` is that of the step to come, which at the end of a schedule is one too far.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return float(ops.convert_to_numpy(optimizer.learning_rate))
    last = int(ops.convert_to_numpy(optimizer._iterations)) - 1  # counts batches, accumulated or not
    return float(ops.convert_to_numpy(rate(max(last, 0))))


class TensorBoard(keras.callbacks.TensorBoard):
    """Keras' own, but for the learning rate, which is that of the epoch's last step."""

    def _collect_learning_rate(self, logs):
        return {**logs, "learning_rate": find_rate(self.model.optimizer)}


class HistoryFile(keras.callbacks.Callback):
    """Writes a line an epoch into a CSV file; `epochs` is how many lines of an earlier start stay.

    `before` is the mean IoU of the last of these, if there is one.
    """

    def __init__(self, path: Path, epochs: int):
        super().__init__()
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        lines = lines[: 1 + epochs] if epochs else []
        with replacing(path) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")
        rows = list(csv.DictReader(lines))
        self.before = float(rows[-1]["val_mean_iou"]) if rows else None

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        rate = find_rate(self.model.optimizer)
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row |= {"learning_rate": rate, "seconds": time.monotonic() - self.start}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if epoch == 0:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def finish_epoch(learner: Learner, batches, epoch: int, step: int, callbacks: list, params: dict) -> None:
    """Takes the steps from `step` on that an epoch is short of, and ends it, as `fit` does from its beginning.

    Args:
        learner: compiled, its state loaded.
        batches: iterator of batches, from that step on.
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        callbacks: as of `fit`.
        params: "epochs" and "steps" of the whole training.
    """
    learner.stop_training = False
    callbacks = keras.callbacks.CallbackList(callbacks, model=learner, **params)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(epoch)
    for index in range(step, params["steps"]):
        batch = next(batches)
        callbacks.on_train_batch_begin(index)
        before = [ops.convert_to_numpy(variable) for variable in learner.metrics_variables]
        learner.train_on_batch(batch)  # which begins its sums anew
        for variable, value in zip(learner.metrics_variables, before, strict=True):
            variable.assign(value + variable)
        callbacks.on_train_batch_end(index, learner.get_metrics_result())
    logs = {name: float(value) for name, value in learner.get_metrics_result().items()}
    callbacks.on_epoch_end(epoch, logs)
