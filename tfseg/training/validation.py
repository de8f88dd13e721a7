"""The validations between epochs, which keep the weights of the best."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfseg.metrics.confusion import Scorer, score, scores
from tfseg.records.labels import VOID
from tfseg.runs.weights import save_weights
from tfseg.training import checkpoints
from tfseg.training.console import Screen
from tfseg.training.distribution import Distribution


class Validate(keras.callbacks.Callback):
    """Scores the network on the validation split after epochs, and keeps the weights of the best of these.

    The best is that with the highest `mean_iou`, in which void counts if the loss learns it. The logs of an epoch that
    is validated get `val_loss` and the means of `metrics.scores`.

    Args:
        scorer: the network and its loss.
        batches: of the validation split.
        best: file for the weights of the best epoch.
        best_scores: of the epochs before, if there were any.
        patience: epochs without a better score after which the training ends; None: it never does.
        stop: whether a stop is asked for.
        screen: where its end is reported.
        distribution: whose chief scores; the other workers wait, and end when it does.
        freq: epochs from one validation to the next; the last epoch is validated always.
        again: the epoch, counted from 0, that was validated when the training was stopped or had its end there.

    Raises:
        Stopped: a stop was asked for. A checkpoint was saved before.
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
        freq: int = 1,
        again: int | None = None,
    ):
        super().__init__()
        self.scorer, self.batches, self.path = scorer, batches, best
        self.best_scores = best_scores and score_again(best_scores, scorer)
        self.patience, self.stop = patience or math.inf, stop or threading.Event()
        self.screen, self.distribution = screen or Screen(), distribution or Distribution()
        self.freq, self.again = freq, again

    def on_epoch_end(self, epoch: int, logs: dict):
        if (epoch + 1) % self.freq and epoch + 1 != self.params["epochs"] and epoch != self.again:
            return
        stopped = ended = False
        if self.distribution.chief:
            try:
                self.score(epoch, logs)
            except checkpoints.Stopped:
                stopped = True
            best = self.best_scores or {"epoch": 0}
            ended = not stopped and epoch + 1 - best["epoch"] >= self.patience
        stopped, ended = self.distribution.any(stopped, ended)
        if stopped:
            raise checkpoints.Stopped(f"stopped in epoch {epoch + 1}'s validation; the same command resumes there")
        if ended:
            self.screen.report(f"no better mean IoU for {self.patience} epochs")
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


@contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Has the averages of a model's weights in their place for a while, if its optimizer keeps any.

    Unlike `keras.callbacks.SwapEMAWeights` it leaves every bit as it was: the training continues as it would have.
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


def score_again(before: dict, scorer: Scorer) -> dict:
    """Returns scores of an earlier start with void as a class, if they left it out though the loss learns it."""
    if before.get("learn_void") or getattr(scorer.loss_function, "ignore_class", VOID) is not None:
        return before
    return before | scores(before["confusion_matrix"], scorer.classes, ignore_class=None)
