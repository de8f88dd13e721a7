"""What a training reports while it runs: messages, a live line on a terminal, a line per epoch."""

import shutil
import sys
import time
from collections.abc import Callable

import keras
from keras import ops

from tfseg import backend
from tfseg.io.escaping import printable_lines

TERMINAL, ELSEWHERE = 0.3, 30.0  # seconds between two lines on how far it is


class Screen:
    """Where messages go, and on a terminal a line that is rewritten in place.

    Within a `with` block a live line may be open; every message, and the end of the block, ends it first.

    Args:
        quiet: whether nothing but warnings is reported.
        stream: for all but warnings; None: standard output.
        errors: for warnings; None: standard error.
    """

    def __init__(self, quiet: bool = False, stream=None, errors=None):
        self.quiet, self.stream, self.errors = quiet, stream or sys.stdout, errors or sys.stderr
        self.live = self.stream.isatty()
        self.length = 0  # of the line that is open

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *error) -> None:
        self.end_line()

    def show(self, *parts: str) -> None:
        """Shows the progress, what matters most first: in a line of its own, or on a terminal in place of the last.

        There it has those of the parts that the terminal is wide enough for, each of them whole but for the first.
        """
        if self.quiet:
            return
        if not self.live:
            print(" ".join(parts), file=self.stream, flush=True)
            return
        width = max(shutil.get_terminal_size().columns - 1, 1)  # a line that is full would wrap
        text = parts[0][:width]
        for part in parts[1:]:
            if len(text) + 1 + len(part) > width:
                break
            text += f" {part}"
        print(f"\r{text.ljust(min(self.length, width))}", end="", file=self.stream, flush=True)
        self.length = len(text)

    def report(self, text: str) -> None:
        """Prints a line that stays."""
        if not self.quiet:
            self.end_line()
            print(printable_lines(text), file=self.stream, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning, be it quiet or not."""
        self.end_line()
        print(f"warning: {printable_lines(text)}", file=self.errors, flush=True)

    def interrupt(self, text: str) -> None:
        """Reports within a handler of signals, where the stream may be in the middle of a line and takes no other."""
        if not self.quiet:
            print("\n" * bool(self.length) + printable_lines(text), file=self.errors, flush=True)
        self.length = 0

    def end_line(self) -> None:
        if self.length:
            print(file=self.stream, flush=True)
        self.length = 0


class Progress(keras.callbacks.Callback):
    """Reports step, speed, losses and time left every now and then, and the scores of each epoch.

    It must come after the callback that scores the epoch. Speed is that since the first step of the epoch, or of what
    is left of it, which takes longer than others. The time left is that of the whole training; a validation counts as
    long as the one before.

    Args:
        screen: where it is shown.
        batch_size: images per step.
        best: gives the scores of the best epoch so far: its number, "epoch", and "mean_iou".
        before: mean IoU of the validation before, if there was one.
        freq: epochs from one validation to the next; the last epoch is validated always.
        clock: seconds, from whenever.
    """

    def __init__(
        self,
        screen: Screen,
        batch_size: int,
        best: Callable[[], dict],
        before: float | None = None,
        freq: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self.screen, self.batch_size, self.best, self.before, self.clock = screen, batch_size, best, before, clock
        self.freq = freq
        self.interval = TERMINAL if screen.live else ELSEWHERE
        self.shown_at = None if screen.live else clock()
        self.validation = 0.0  # seconds of the last one

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.began = epoch, self.clock()
        self.first: tuple[int, float] | None = None  # step and time
        self.last: tuple[int, float] | None = None

    def on_train_batch_begin(self, batch, logs=None):
        if self.last:
            self.between += self.clock() - self.last[1]

    def on_train_batch_end(self, batch: int, logs: dict[str, float]):
        now = self.clock()
        self.last = batch + 1, now
        if self.first is None:
            self.first, self.between, self.waited = self.last, 0.0, self.model.waited
        whole = self.screen.live and batch + 1 == self.params["steps"]
        if whole or self.shown_at is None or now - self.shown_at >= self.interval:
            self.shown_at = now
            self.screen.show(*self.describe(self.first, self.last, logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]):
        now, words = self.clock(), [f"epoch {epoch + 1}/{self.params['epochs']}: loss {logs['loss']:.4f}"]
        if "val_mean_iou" in logs:
            self.validation = now - self.last[1] if self.last else 0.0
            score, best = logs["val_mean_iou"], self.best()
            change = "" if self.before is None else f" ({score - self.before:+.4f})"
            self.before = score
            words += [f"val loss {logs['val_loss']:.4f}", f"mean IoU {score:.4f}{change}"]
            words += [f"best {best['mean_iou']:.4f} at epoch {best['epoch']}"]
        self.screen.report(", ".join([*words, f"{now - self.began:.0f} s"]))

    def describe(self, first: tuple[int, float], last: tuple[int, float], logs: dict[str, float]) -> list[str]:
        """Words the line, the terms of the loss last: what is not known, since only one step was made, is left out.

        Args:
            first: step and time of the first step that was measured in this epoch.
            last: of the last one.
            logs: the losses.
        """
        epochs, steps = self.params["epochs"], self.params["steps"]
        (first_step, start), (step, now) = first, last
        words = [f"epoch {self.epoch + 1}/{epochs} step {step}/{steps}"]
        if step > first_step and now > start:
            seconds = (now - start) / (step - first_step)
            after = epochs - self.epoch - 1
            validations = -(-epochs // self.freq) - self.epoch // self.freq  # with that of the last epoch
            left = (steps - step + after * steps) * seconds + validations * self.validation
            words += [f"{self.batch_size / seconds:.1f} images/s", f"{format_time(left)} left"]
        words.append(f"loss {logs['loss']:.3f}")
        words.append(f"lr {read_learning_rate(self.model):.1e}")
        if step > first_step and now > start:
            waited = self.between + self.model.waited - self.waited
            words.append(f"waiting {100 * waited / (now - start):.0f} %")
        return words + [f"{name} {value:.2f}" for name, value in logs.items() if name != "loss"]


def format_time(seconds: float) -> str:
    """Writes 72 as 1:12 and 3672 as 1:01:12."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def read_learning_rate(model: keras.Model) -> float:
    """The learning rate of the next step."""
    backend.sync_state(model)
    return float(ops.convert_to_numpy(model.optimizer.learning_rate))
