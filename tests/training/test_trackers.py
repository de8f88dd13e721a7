"""With modules that stand for wandb and mlflow, and note what they are asked for."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from tfseg.config.schema import Config, Data, Log
from tfseg.training.console import Screen
from tfseg.training.trackers import make_trackers


@pytest.fixture
def calls(monkeypatch):
    """What the fake modules were called with."""
    calls = []

    def note(name, result=None):
        return lambda *args, **options: calls.append((name, args, options)) or result

    run = SimpleNamespace(
        id="w1", log=note("log"), summary=SimpleNamespace(update=note("update")), finish=note("finish")
    )
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=note("init", run)))
    started = SimpleNamespace(info=SimpleNamespace(run_id="m1"))
    names = ("set_experiment", "log_params", "log_metrics", "end_run")
    fake = SimpleNamespace(start_run=note("start_run", started), **{name: note(name) for name in names})
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return calls


LAST = {"best_epoch": 2, "best_mean_iou": 0.5, "best_official_mean_class_iou": 0.6, "best_validation_loss": 0.7}


def make(tmp_path, errors=None, **log):
    config = Config(Data("records"), run_dir=str(tmp_path), log=Log(**log))
    (tracker,) = make_trackers(config, Screen(errors=errors))
    return tracker, config


def train(tracker, config, tmp_path):
    tracker.start(tmp_path, config)
    tracker.on_epoch_end(0, {"loss": 0.9})
    tracker.start(tmp_path, config)  # as after a rollback
    tracker.on_epoch_end(1, {"loss": 0.8})
    parts = {"official": {"mean_class_iou": 0.6, "class_iou": {"car": 0.6}}, "validation": {"size": "8x8", "loss": 0.7}}
    tracker.finish({"epoch": 2, "mean_iou": 0.5, "iou": [0.5], "split": "val", **parts})


def test_wandb(tmp_path, calls):
    for _ in range(2):
        train(*make(tmp_path, wandb="streets"), tmp_path)
    init, *sent = calls[:5]
    assert init[2]["project"] == "streets" and init[2]["config"]["data.records"] == "records"
    assert sent == [
        ("log", ({"loss": 0.9},), {"step": 1}),
        ("log", ({"loss": 0.8},), {"step": 2}),
        ("update", ({"epoch": 2, "mean_iou": 0.5, "official_mean_class_iou": 0.6, "validation_loss": 0.7},), {}),
        ("finish", (), {}),
    ]
    assert [call[2]["id"] for call in calls if call[0] == "init"] == [None, "w1"], "the second resumes the first"


def test_mlflow(tmp_path, calls):
    for _ in range(2):
        train(*make(tmp_path, mlflow="streets"), tmp_path)
    assert calls[0] == ("set_experiment", ("streets",), {})
    assert calls[2][1][0]["data.records"] == "records"
    assert calls[3:7] == [
        ("log_metrics", ({"loss": 0.9},), {"step": 1}),
        ("log_metrics", ({"loss": 0.8},), {"step": 2}),
        ("log_metrics", (LAST,), {}),
        ("end_run", (), {}),
    ]
    assert [call[2]["run_id"] for call in calls if call[0] == "start_run"] == [None, "m1"]
    assert [call[0] for call in calls].count("log_params") == 1


def test_each_keeps_its_own_id(tmp_path, calls):
    for name in ("wandb", "mlflow"):
        train(*make(tmp_path, **{name: "streets"}), tmp_path)
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"Wandb": "w1", "MLflow": "m1"}


def test_a_tracker_that_fails_is_reported_once(tmp_path, calls, monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(sys.modules["mlflow"], "log_metrics", fail)
    errors = io.StringIO()
    train(*make(tmp_path, errors, mlflow="streets"), tmp_path)
    assert errors.getvalue() == "warning: MLflow: ConnectionError: no route; nothing more is sent there\n"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_one_that_is_not_installed_is_reported_before_anything(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        make(tmp_path, **{name: "streets"})
    assert caught.value.name == name
