"""Trainings that are stopped by a signal, or go back from a loss that is not finite."""

import csv
import re
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfseg.config.parse import parse_config
from tfseg.training import assembly, checkpoints, loop
from tfseg.training.learner import NotFinite

TERMS = ("dice", "auxiliary")
NOT_FINITE = (
    rf"step 2 of epoch 2: the loss is not finite \({', '.join(f'{term} nan' for term in TERMS)}\) "
    r"on (train-\d{3}(, )?){4}"
)


@pytest.fixture
def settings(tiny_records, tmp_path):
    """Three epochs of five steps."""
    values = {"data.records": tiny_records, "data.size": "24x32", "run_dir": tmp_path / "run", "model.encoder": "tiny"}
    values |= {"model.weights": "null", "model.decoder_channels": "[8, 8, 8, 8, 8]", "loss.auxiliary": 0.4}
    values |= {"train.epochs": 3, "train.batch_size": 4}
    return [argument for name, value in values.items() for argument in (f"--{name}", str(value))]


def read_history(run):
    with (run / "history.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_a_signal_stops_after_the_step(settings, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tfseg.train", *settings, "--train.epochs", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not process.stdout.readline().startswith("epoch 1/500"):
            assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output.splitlines()[-1].startswith("stopped after step")
    assert checkpoints.find_last(run).step >= 1


@pytest.mark.long
def test_a_loss_that_is_not_finite_is_gone_back_from(settings, tmp_path, monkeypatch, capsys):
    """At step 7, unless the rate is smaller."""
    build, shares = assembly.build_learner, []

    def build_faulty(*args, share):
        learner = build(*args, share=share)
        shares.append(share)
        terms = learner.loss_function.terms
        if share == 1:
            learner.loss_function.terms = lambda *of: {
                name: keras.ops.where(learner.steps == 7, np.nan, term) for name, term in terms(*of).items()
            }
        return learner

    monkeypatch.setattr(assembly, "build_learner", build_faulty)
    arguments = ["--train.rollbacks", "1", "--optimizer.learning_rate", "3e-3"]
    loop.learn_until_finite(loop.prepare(parse_config([*settings, *arguments])))
    assert shares == [1.0, 0.5]
    told = rf"{NOT_FINITE}; resuming from the checkpoint after step 5, with the learning rate times 0.5\n"
    assert re.search(told, capsys.readouterr().err)
    assert [row["learning_rate"] for row in read_history(tmp_path / "run")][1:] == ["0.0015", "0.0015"]
    assert checkpoints.find_last(tmp_path / "run").rollbacks == 1


@pytest.mark.long
def test_a_loss_that_is_not_finite_ends_it(settings, tmp_path, monkeypatch, capsys):
    def learn(*_):
        raise NotFinite(7, dict.fromkeys(TERMS, np.nan))

    monkeypatch.setattr(loop, "learn", learn)
    with pytest.raises(ValueError, match=rf"run: {NOT_FINITE}; lower optimizer.learning_rate"):
        loop.train_run(parse_config([*settings, "--train.rollbacks", "2"]))
    assert re.findall("from the start, with the learning rate times (.*)", capsys.readouterr().err) == ["0.5", "0.25"]
