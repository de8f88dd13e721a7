"""What `fit` needs: network, augmentation and loss as one model, the optimizer with its rates, the callbacks."""

import csv
import math
import time
from pathlib import Path

import keras
from keras import ops

from tfseg import fused
from tfseg.config import Optimizer
from tfseg.metrics import Scorer, score
from tfseg.run_folder import save_weights


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
        self.steps = self.add_weight(
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            name="steps",
            aggregation="only_first_replica",
        )

    def compile(self, *args, **kwargs):
        """Compiles as Keras does, and makes the optimizer's variables at once.

        Within the first step, where Keras makes them, TensorFlow builds a branch for each and traces the step twice.
        """
        super().compile(*args, **kwargs)
        self.optimizer.build(self.trainable_variables)

    def call(self, batch, training=False):
        image, mask = batch["image"], batch["mask"]
        if training:
            image, mask = self.augmentation(image, mask, step=self.steps)
            self.steps.assign(self.steps + 1)
        return {"logits": self.network(fused.as_floats(image), training=training), "mask": mask}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(self.loss_function(y_pred["mask"], y_pred["logits"]))


def make_optimizer(settings: Optimizer, epochs: int, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Makes Adam or AdamW, the rate as the settings say."""
    total, warmup = epochs * steps_per_epoch, round(settings.warmup_epochs * steps_per_epoch)
    rate = settings.learning_rate
    if settings.schedule == "cosine" or warmup:
        rate = Schedule(rate, warmup, total, cosine=settings.schedule == "cosine")
    average = {} if settings.ema is None else {"use_ema": True, "ema_momentum": settings.ema}
    if settings.name == "adam":
        return fused.Adam(rate, **average)
    optimizer = fused.AdamW(rate, weight_decay=settings.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@keras.saving.register_keras_serializable("tfseg")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0 to `peak`, then `peak` for good or a cosine from it to 0 at step `total`."""

    def __init__(self, peak: float, warmup: int, total: int, cosine: bool):
        self.peak, self.warmup, self.total, self.cosine = peak, warmup, total, cosine

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = ops.minimum((step + 1) / max(self.warmup, 1), 1.0)
        if self.cosine:
            done = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0, 1)
            rate *= 0.5 * (1 + ops.cos(math.pi * done))
        return self.peak * rate

    def get_config(self):
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total, "cosine": self.cosine}


class KeepLast(keras.callbacks.Callback):
    """Saves the state after each epoch: network and optimizer, with its average of the weights if it has one."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        save_weights(self.model, self.path)


class Validate(keras.callbacks.Callback):
    """Scores the network on the validation split after each epoch, and keeps the weights of the best.

    The best is that with the highest `mean_iou_7`. The epoch's logs get `val_loss` and the means of `metrics.scores`.
    """

    SHOWN = ("loss", "mean_iou_7", "mean_f1_7", "mean_iou_8", "mean_f1_8", "pixel_accuracy")

    def __init__(self, scorer: Scorer, batches, best: Path):
        super().__init__()
        self.scorer, self.batches, self.path = scorer, batches, best
        self.best_scores = None

    def on_epoch_end(self, epoch, logs=None):
        scores = score(self.scorer, self.batches)
        logs.update({f"val_{name}": scores[name] for name in self.SHOWN})
        if self.best_scores is None or scores["mean_iou_7"] > self.best_scores["mean_iou_7"]:
            self.best_scores = {"epoch": epoch + 1, **scores}
            save_weights(self.model.network, self.path)


class HistoryFile(keras.callbacks.Callback):
    """Writes a line an epoch into a CSV file and prints it."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row |= {"learning_rate": rate, "seconds": time.monotonic() - self.start}
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row)
            if epoch == 0:
                writer.writeheader()
            writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
        print(
            f"epoch {epoch + 1}/{self.params['epochs']}: loss {row['loss']:.4f}, val loss {row['val_loss']:.4f}, "
            f"mean IoU {row['val_mean_iou_7']:.4f} (7 categories) {row['val_mean_iou_8']:.4f} (8 with void), "
            f"{row['seconds']:.0f} s",
            flush=True,
        )
