"""Literal lines, by a clock that is set and a stream that may be a terminal."""

import io
from types import SimpleNamespace

import pytest

from tfseg.training import console
from tfseg.training.console import Progress, Screen, format_time


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


class Run:
    """Two epochs of ten steps of eight images, each taking a second, of which `waits` are waiting for data."""

    def __init__(self, monkeypatch, terminal=True, quiet=False, before=None, waits=0.25, freq=1):
        monkeypatch.setenv("COLUMNS", "200")
        self.now, self.waits, self.best = 0.0, waits, {"epoch": 1, "mean_iou": 0.5}
        self.out, self.errors = Stream(terminal), Stream(terminal)
        self.screen = Screen(quiet, self.out, self.errors)
        self.progress = Progress(self.screen, 8, lambda: self.best, before, freq, clock=lambda: self.now)
        model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=3.14e-4), waited=7.0)  # before this epoch
        self.progress.set_model(model)
        self.progress.set_params({"epochs": 2, "steps": 10})

    def steps(self, first, end, seconds=1.0, **logs):
        for step in range(first, end):
            self.now += self.waits
            self.progress.on_train_batch_begin(step)
            self.now += seconds - self.waits
            self.progress.on_train_batch_end(step, {"loss": 0.91344, **logs})

    def end_epoch(self, epoch, score):
        self.now += 5  # the validation
        self.progress.on_epoch_end(epoch, {"loss": 0.91, "val_loss": 0.84, "val_mean_iou": score})


def test_a_line_on_a_terminal_is_rewritten(monkeypatch):
    run = Run(monkeypatch)
    run.progress.on_epoch_begin(0)
    run.steps(0, 3, dice=0.4123, focal=0.501)
    assert run.out.getvalue().split("\r") == [
        "",
        "epoch 1/2 step 1/10 loss 0.913 lr 3.1e-04 dice 0.41 focal 0.50",
        "epoch 1/2 step 2/10 8.0 images/s 0:18 left loss 0.913 lr 3.1e-04 waiting 25 % dice 0.41 focal 0.50",
        "epoch 1/2 step 3/10 8.0 images/s 0:17 left loss 0.913 lr 3.1e-04 waiting 25 % dice 0.41 focal 0.50",
    ]


def test_steps_are_shown_a_few_times_a_second_and_the_last_always(monkeypatch):
    run = Run(monkeypatch, waits=0.0)
    run.progress.on_epoch_begin(0)
    run.steps(0, 10, seconds=0.125)
    lines = run.out.getvalue().split("\r")[1:]
    assert [line.split()[3] for line in lines] == ["1/10", "4/10", "7/10", "10/10"]


def test_elsewhere_lines_are_plain_and_seldom(monkeypatch):
    run = Run(monkeypatch, terminal=False)
    run.progress.on_epoch_begin(0)
    run.steps(0, 8, seconds=10.0)
    assert run.out.getvalue().splitlines() == [
        "epoch 1/2 step 3/10 0.8 images/s 2:50 left loss 0.913 lr 3.1e-04 waiting 2 %",
        "epoch 1/2 step 6/10 0.8 images/s 2:20 left loss 0.913 lr 3.1e-04 waiting 2 %",
    ]
    assert not set(run.out.getvalue()) & {"\r", "\x1b"}


def test_epochs_are_reported_with_change_and_best(monkeypatch):
    run = Run(monkeypatch, terminal=False)
    run.progress.set_params({"epochs": 3, "steps": 8})
    for epoch, score in enumerate((0.5, 0.6)):
        run.progress.on_epoch_begin(epoch)
        run.steps(0, 8, seconds=0.5)
        run.best = {"epoch": epoch + 1, "mean_iou": score}
        run.end_epoch(epoch, score)
    run.progress.on_epoch_begin(2)
    run.end_epoch(2, 0.5875)
    assert run.out.getvalue().splitlines() == [
        "epoch 1/3: loss 0.9100, val loss 0.8400, mean IoU 0.5000, best 0.5000 at epoch 1, 9 s",
        "epoch 2/3: loss 0.9100, val loss 0.8400, mean IoU 0.6000 (+0.1000), best 0.6000 at epoch 2, 9 s",
        "epoch 3/3: loss 0.9100, val loss 0.8400, mean IoU 0.5875 (-0.0125), best 0.6000 at epoch 2, 5 s",
    ]


def test_a_run_that_goes_on_within_an_epoch(monkeypatch):
    """The speed is that of the steps made now, and the change that against the epoch before the stop."""
    run = Run(monkeypatch, before=0.49)
    run.progress.on_epoch_begin(0)
    run.steps(6, 8, seconds=2.0)
    assert run.out.getvalue().endswith("step 8/10 4.0 images/s 0:24 left loss 0.913 lr 3.1e-04 waiting 12 %")
    run.steps(8, 10, seconds=2.0)
    run.end_epoch(0, 0.5)
    assert "mean IoU 0.5000 (+0.0100)" in run.out.getvalue()
    run.progress.on_epoch_begin(1)
    run.steps(0, 2, seconds=2.0)
    assert "step 2/10 4.0 images/s 0:21 left" in run.out.getvalue(), "eight steps, and a validation as the last one"


def test_epochs_that_are_not_validated_have_no_score(monkeypatch):
    """Every second of five and the last: after the 2nd epoch of 10 s, 30 s are left, and two validations of 5 s."""
    run = Run(monkeypatch, freq=2, terminal=False)
    run.progress.set_params({"epochs": 5, "steps": 10})
    for epoch in range(2):
        run.progress.on_epoch_begin(epoch)
        run.steps(0, 10)
        if epoch:
            run.end_epoch(epoch, 0.5)
        else:
            run.progress.on_epoch_end(epoch, {"loss": 0.91})
    assert run.out.getvalue().splitlines() == [
        "epoch 1/5: loss 0.9100, 10 s",
        "epoch 2/5: loss 0.9100, val loss 0.8400, mean IoU 0.5000, best 0.5000 at epoch 1, 15 s",
    ]
    run.progress.on_epoch_begin(2)
    assert run.progress.describe((1, 0.0), (2, 1.0), {"loss": 1.0})[2] == "0:38 left"


def test_an_epoch_of_which_only_the_validation_was_left(monkeypatch):
    run = Run(monkeypatch)
    run.progress.on_epoch_begin(1)
    run.end_epoch(1, 0.5)
    assert run.out.getvalue().endswith("best 0.5000 at epoch 1, 5 s\n")


def test_waiting_within_steps_counts_too(monkeypatch):
    """TensorFlow's fetch their batches themselves."""
    run = Run(monkeypatch)
    run.progress.on_epoch_begin(0)
    run.steps(0, 1)
    run.progress.model.waited += 0.5
    run.steps(1, 2)
    assert run.out.getvalue().endswith("waiting 75 %")


def test_messages_end_the_line(monkeypatch):
    run = Run(monkeypatch)
    with run.screen:
        run.screen.show("step 1 of many")
        run.screen.show("step 2")
        run.screen.report("stopping")
        run.screen.warn("no room")
        run.screen.show("step 3")
    assert run.out.getvalue() == "\rstep 1 of many\rstep 2        \nstopping\n\rstep 3\n"
    assert run.errors.getvalue() == "warning: no room\n"


def test_a_line_is_cut_to_the_terminal(monkeypatch):
    run = Run(monkeypatch)
    monkeypatch.setenv("COLUMNS", "7")
    run.screen.show("step 1 of many")
    assert run.out.getvalue() == "\rstep 1"


@pytest.mark.parametrize("columns", [20, 40, 80, 96, 97, 98])
def test_a_line_has_what_matters_most_and_no_part_of_a_word(monkeypatch, columns):
    run = Run(monkeypatch)
    run.progress.set_params({"epochs": 200, "steps": 2975})
    run.progress.on_epoch_begin(103)
    run.steps(2000, 2001, dice=0.4123, cross_entropy=0.501)
    monkeypatch.setenv("COLUMNS", str(columns))
    run.steps(2001, 2002, dice=0.4123, cross_entropy=0.501)
    run.steps(2002, 2003, dice=0.4123, cross_entropy=0.501)
    *_, before, line = run.out.getvalue().split("\r")
    assert max(len(before.rstrip()), len(line)) < columns
    whole = "epoch 104/200 step 2003/2975|8.0 images/s|79:36:12 left|loss 0.913|lr 3.1e-04|waiting 25 %|dice 0.41|"
    whole = f"{whole}cross_entropy 0.50".split("|")
    parts = [whole[0][: columns - 1].rstrip(), *(" ".join(whole[: count + 1]) for count in range(len(whole)))]
    assert line.rstrip() == max((part for part in parts if len(part) < columns), key=len)


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet(monkeypatch, terminal):
    run = Run(monkeypatch, terminal, quiet=True)
    run.progress.on_epoch_begin(0)
    run.steps(0, 10, seconds=10.0)
    run.end_epoch(0, 0.5)
    run.screen.warn("no room")
    assert run.out.getvalue() == ""
    assert run.errors.getvalue() == "warning: no room\n"


def test_learning_rates_are_read_only_for_lines(monkeypatch):
    run, read = Run(monkeypatch, terminal=False), []
    monkeypatch.setattr(console, "read_learning_rate", lambda model: read.append(model) or 0.0)
    run.progress.on_epoch_begin(0)
    run.steps(0, 8, seconds=10.0)
    assert len(read) == 2


def test_times_are_short():
    assert [format_time(seconds) for seconds in (0.4, 71.6, 3672)] == ["0:00", "1:12", "1:01:12"]
