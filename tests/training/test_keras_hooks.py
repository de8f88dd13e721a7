"""What is private in Keras: that it is there, and that a training does without it."""

import csv
import inspect

import keras
import numpy as np
import pytest

from tfseg import device
from tfseg.config.parse import parse_config
from tfseg.training import keras_hooks
from tfseg.training.assembly import build_learner, check_backend
from tfseg.training.learner import Learner, PlainLearner
from tfseg.training.loop import learn_until_finite, prepare, train_run
from tfseg.training.optimizers import FusedSteps


def make_config(records, run, **settings):
    """Two epochs of five steps."""
    values = {"data.records": records, "data.size": "32x32", "run_dir": run, "model.encoder": "tiny"}
    values |= {"model.weights": "null", "model.decoder_channels": "[8, 8, 8, 8, 8]", "train.epochs": 2}
    values |= {"train.batch_size": 4, "loss.cross_entropy": 1, "augment.flip": 0.5, **settings}
    values = {name: value for name, value in values.items() if value is not None}
    return parse_config([f"--{name}={value}" for name, value in values.items()])


def train(records, run, **settings):
    """Trains, without the export at the end; returns the losses of both epochs and of their validations."""
    learn_until_finite(prepare(make_config(records, run, **settings)))
    return read_losses(run)


def read_losses(run):
    with (run / "history.csv").open(encoding="utf-8") as file:
        return [[float(row["loss"]), float(row["val_loss"])] for row in csv.DictReader(file)]


@pytest.fixture
def other_keras(monkeypatch):
    """A Keras in which a step of an optimizer takes another argument."""
    step = keras.optimizers.Adam._backend_update_step

    def take_more(self, grads, trainable_variables, learning_rate, scale=None):
        return step(self, grads, trainable_variables, learning_rate)

    monkeypatch.setattr(keras.optimizers.Adam, "_backend_update_step", take_more)


def test_the_installed_keras_has_all_hooks():
    assert keras_hooks.find_changed() == []


def test_every_hook_that_is_missed_is_named(monkeypatch):
    monkeypatch.setitem(keras_hooks.OPTIMIZER, "_no_such_hook", ("grads",))
    monkeypatch.setitem(keras_hooks.MODEL, "fit", ("x",))
    assert keras_hooks.find_changed() == ["Model.fit", "Optimizer._no_such_hook"]


def test_what_is_overridden_is_known():
    """A method of ours that takes the place of one of Keras' is in the tables, or public there."""
    ours = [(Learner, keras.Model, keras_hooks.MODEL | keras_hooks.MODEL_ON_TENSORFLOW)]
    ours += [(FusedSteps, keras.optimizers.Adam, keras_hooks.OPTIMIZER | keras_hooks.OPTIMIZER_ON_TENSORFLOW)]
    for kind, keras_kind, known in ours:
        private = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if name in kind.__dict__}
        private = {name for name in private if name.startswith("_") and hasattr(keras_kind, name)} - {"__init__"}
        assert private <= {*known}


@pytest.mark.long
@pytest.mark.parametrize("name", [pytest.param("adam", marks=pytest.mark.slow), "adamw"])
def test_a_training_by_keras_alone_has_the_same_losses(tiny_records, tmp_path, name):
    settings = {"optimizer.name": name, "optimizer.ema_momentum": 0.5, "optimizer.clip_norm": 1.0}
    settings |= {"loss.auxiliary": 0.4, "loss.ohem_threshold": 0.7}
    settings |= {"optimizer.weight_decay": 0.1} if name == "adamw" else {}
    fused, plain = (
        train(tiny_records, tmp_path / kind, **settings, **{"accelerator.fused": kind}) for kind in ("true", "false")
    )
    np.testing.assert_allclose(plain, fused, rtol=2e-3)


def test_by_keras_alone_there_is_nothing_of_ours(tiny_records):
    settings = ["--data.records", str(tiny_records), "--run_dir", "none", "--model.encoder", "tiny"]
    config = parse_config([*settings, "--model.weights", "null", "--accelerator.fused", "false"])
    choice = device.choose_device("cpu", fused=False)
    assert "layers, optimizer and train step of Keras (as configured)" in str(choice)
    learner = build_learner(config, choice, steps=10, num_classes=8)
    assert type(learner) is PlainLearner and not isinstance(learner.optimizer, FusedSteps)
    kinds = {type(layer) for layer in learner.network._flatten_layers()}
    assert keras.layers.BatchNormalization in kinds
    assert {kind.__name__ for kind in kinds if kind.__module__ == "tfseg.models.layers"} == {"UpsampledConv2D"}
    assert learner.network.get_layer("decoder0a_conv").plain


@pytest.mark.long
def test_a_changed_keras_trains_with_one_warning(tiny_records, tmp_path, other_keras, capsys):
    train_run(make_config(tiny_records, tmp_path / "run"))
    losses = read_losses(tmp_path / "run")
    assert len(losses) == 2 and np.isfinite(losses).all()
    warned = capsys.readouterr().err
    assert warned.count("warning") == 1 and "Optimizer._backend_update_step changed; layers, optimizer and " in warned


@pytest.mark.long
def test_by_keras_alone_the_encoder_has_no_rate_of_its_own(tiny_records, tmp_path):
    with pytest.raises(ValueError, match=r"optimizer.encoder_lr_multiplier: expected 1 without accelerator.fused"):
        train(tiny_records, tmp_path / "run", **{"optimizer.encoder_lr_multiplier": 0.5, "accelerator.fused": "false"})


def test_mlx_accumulates_nothing(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "mlx")
    config = parse_config(["--data.records=none", "--run_dir=none", "--optimizer.gradient_accumulation_steps=2"])
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps: expected 1 on MLX, where .*, got 2; raise"):
        check_backend(config, None)


@pytest.mark.long
@pytest.mark.parametrize("fused", ["true", "false"])
def test_averages_of_a_frozen_encoder(tiny_records, tmp_path, fused):
    """At its end, Keras puts the averages in their weights' place, but counts only the weights that learn."""
    settings = {
        "optimizer.ema_momentum": 0.9,
        "train.frozen_epochs": 2,
        "accelerator.fused": fused,
        "loss.auxiliary": 0.4,
    }
    if keras.backend.backend() in ("jax", "mlx"):
        with pytest.raises(
            ValueError, match=r"^train.frozen_epochs: expected 0 on (JAX|MLX) with optimizer.ema_momentum, got"
        ):
            train(tiny_records, tmp_path / "run", **settings)
        return
    assert np.isfinite(train(tiny_records, tmp_path / "run", **settings)).all()


@pytest.mark.long
@pytest.mark.tensorflow
def test_gradients_are_accumulated_on_the_only_mirrored_device(tiny_records, tmp_path):
    settings = {"optimizer.gradient_accumulation_steps": 2, "accelerator.kind": "cpu", "loss.auxiliary": 0.4}
    plain = train(tiny_records, tmp_path / "plain", **settings)
    mirrored = train(tiny_records, tmp_path / "mirrored", **settings, **{"accelerator.strategy": "mirrored"})
    np.testing.assert_allclose(mirrored, plain, rtol=1e-5)
