"""Several devices that share each batch: two logical CPUs, and two processes, stand for them."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg import convert, device
from tfseg.config.schema import Accelerator, Config, Data, Optimizer, Train
from tfseg.device import Cluster, read_cluster
from tfseg.records.record_set import open_records
from tfseg.synthetic import sample_city
from tfseg.training import checkpoints, distribution, loop
from tfseg.training.callbacks import SaveCheckpoints
from tfseg.training.distribution import Distribution, Mirrored
from tfseg.training.validation import Validate
from tfseg.training.workers import compare_workers

pytestmark = pytest.mark.tensorflow
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "TF_CPP_MIN_LOG_LEVEL": "2"}


def name_workers() -> list[dict]:
    """The environments of two workers on this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(2)]
    addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    tasks = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)]
    return [{**ENVIRONMENT, "TF_CONFIG": json.dumps(task)} for task in tasks]


def start_all(command, environments) -> list[subprocess.Popen]:
    return [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for environment in environments
    ]


def end_all(processes) -> list[tuple[int, str, str]]:
    """Waits for processes: exit code, output and errors of each."""
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_two_devices_and_two_workers_learn_as_one():
    script = Path(__file__).with_name("distribution_run.py")
    single = start_all([sys.executable, script, "none", "mirrored"], [ENVIRONMENT])
    workers = start_all([sys.executable, script, "multiworker"], name_workers())
    results = end_all([*single, *workers])
    assert not any(code for code, *_ in results), [errors[-2000:] for *_, errors in results]
    one, *others = [run for _, output, _ in results for run in json.loads(output)]
    words = "mirrored on 2 devices", "worker 0 of 2, 2 devices", "worker 1 of 2, 2 devices"
    for other, word in zip(others, words, strict=True):
        assert word in other["device"]
        np.testing.assert_allclose(other["losses"], one["losses"], atol=1e-4)
        assert other["val_loss"] == pytest.approx(one["val_loss"], abs=1e-4), "moving statistics, too"
        assert other["averages"] == pytest.approx(one["averages"], rel=1e-5)
        assert other["matrix"] == one["matrix"]
        assert other["steps"] == one["steps"] == 6
    for worker in others[1:]:
        assert worker["gathered"] == [[0, 7], [1, 7]]
        assert worker["any"] == [True, False]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A training by two workers, but for its run folder."""
    root = tmp_path_factory.mktemp("city")
    sample_city.make_sample_city(root / "raw", (64, 128), {"train": 16, "val": 5, "test": 2}, seed=0, workers=1)
    convert.main(["--root", str(root / "raw"), "--out", str(root / "records"), "--workers", "1"])
    values = {"data.records": root / "records", "data.size": "64x128", "model.encoder": "tiny", "model.weights": "null"}
    values |= {"train.epochs": 12, "train.batch_size": 4, "train.save_minutes": 0, "augment.flip": 0.5}
    values |= {"optimizer.learning_rate": 3e-3, "optimizer.ema_momentum": 0.5, "accelerator.strategy": "multiworker"}
    settings = [argument for name, value in values.items() for argument in (f"--{name}", str(value))]
    return [sys.executable, "-m", "tfseg.train", *settings, "--run_dir"]


def wait_for_state(processes, run: Path, after: int = 0) -> None:
    while all(process.poll() is None for process in processes):
        if any(step > after for step in checkpoints.find_steps(run)):
            return
        time.sleep(0.05)


@pytest.mark.slow
def test_a_lost_worker_ends_a_training_that_goes_on_when_all_are_back(command, tmp_path):
    """Either one, killed; then one that is asked to stop. To the last bit as if nothing had been."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    (code, output, errors), (other, *lines) = end_all(start_all([*command, whole], name_workers()))
    assert (code, other) == (0, 0), errors
    assert "best epoch" in output and lines[0].strip() == "waiting until all workers of TF_CONFIG are there"
    for victim, kill, step in ((1, signal.SIGKILL, 0), (0, signal.SIGKILL, 9), (1, signal.SIGTERM, 15)):
        processes = start_all([*command, cut], name_workers())
        wait_for_state(processes, cut, step)
        processes[victim].send_signal(kill)
        results = end_all(processes)
        code, output, errors = results[1 - victim]
        if kill == signal.SIGTERM:
            assert [code for code, *_ in results] == [130, 130], errors
            assert all("stopped after step" in output for _, output, _ in results)
        else:
            assert code == 1, (output, errors)
            lost = f"error: worker {1 - victim} of 2: another one is gone or cannot be reached"
            assert lost in errors and "the same command resumes from the checkpoint after step" in errors
    (code, output, errors), _ = end_all(start_all([*command, cut], name_workers()))
    assert code == 0 and "resuming after step" in output, errors
    for name in ("history.csv", "metrics.json"):
        assert (whole / name).exists() and (cut / name).exists()
    rows = [list(csv.reader((run / "history.csv").read_text().splitlines())) for run in (whole, cut)]
    assert [row[:-1] for row in rows[0]] == [row[:-1] for row in rows[1]]
    assert len(rows[0]) == 1 + 12, "each epoch is written once"
    weights = [checkpoints.weights_path(run, 48) for run in (whole, cut)]
    assert checkpoints.checksum(weights[0]) == checkpoints.checksum(weights[1])


def test_one_device_shares_nothing_out():
    choice = device.choose_device("cpu", "float32", strategy="mirrored")
    assert choice.replicas == 1
    assert "mirrored on 1 device (there is only one, nothing is shared out)" in str(choice)


def test_other_backends_refuse(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"accelerator.strategy: expected none on jax, got mirrored; or"):
        device.choose_device(strategy="mirrored")


class Two(Distribution):
    """Two workers, of which this one hears that the other has said so, too, or not."""

    replicas = workers = 2

    def __init__(self, index=0, other=(False, False)):
        self.index, self.other = index, other

    def gather(self, values):
        return np.array([values, self.other[: len(values)]], np.int64)


def test_a_batch_is_shared_out_evenly(monkeypatch, tmp_path):
    monkeypatch.setattr(distribution, "distribute", lambda *_: Two())
    config = Config(
        Data("none"),
        str(tmp_path / "run"),
        train=Train(batch_size=3),
        accelerator=Accelerator("cpu", strategy="mirrored"),
    )
    with pytest.raises(ValueError, match=r"train.batch_size: expected a multiple of 2, .*, got 3"):
        loop.train_run(config)


def test_devices_that_share_a_batch_do_not_gather_gradients_of_several(monkeypatch, tmp_path):
    monkeypatch.setattr(distribution, "distribute", lambda *_: Two())
    optimizer, where = Optimizer(gradient_accumulation_steps=2), Accelerator("cpu", strategy="mirrored")
    config = Config(Data("none"), str(tmp_path / "run"), optimizer=optimizer, accelerator=where)
    with pytest.raises(
        ValueError, match=r"optimizer.gradient_accumulation_steps: expected 1 on 2 devices, got 2; give each less"
    ):
        loop.train_run(config)


def test_workers_read_without_a_service(monkeypatch, tmp_path):
    monkeypatch.setattr(device, "make_strategy", lambda *_: (None, None))
    monkeypatch.setattr(distribution, "distribute", lambda *_: Two())
    data = Data("none", service="grpc://localhost:5050")
    config = Config(data, str(tmp_path / "run"), accelerator=Accelerator("cpu", strategy="multiworker"))
    with pytest.raises(ValueError, match=r"data.service: expected null with accelerator.strategy multiworker"):
        loop.train_run(config)


HOSTS = ["a:1", "b:1", "c:1"]


@pytest.mark.parametrize(
    ("config", "cluster"),
    [
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 2}}, Cluster(HOSTS, 2)),
        ({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": "1"}}, Cluster(HOSTS, 1)),
        ({"cluster": {"chief": HOSTS[:1], "worker": HOSTS[1:]}, "task": {"type": "chief", "index": 0}}, (HOSTS, 0)),
        ({"cluster": {"chief": HOSTS[:1], "worker": HOSTS[1:]}, "task": {"type": "worker", "index": 1}}, (HOSTS, 2)),
    ],
)
def test_tf_config_says_who_is_who(config, cluster):
    assert read_cluster(json.dumps(config)) == cluster


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        json.dumps({"cluster": {"worker": HOSTS}}),
        json.dumps({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": 3}}),
        json.dumps({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": -1}}),
        json.dumps({"cluster": {"worker": HOSTS}, "task": {"type": "worker", "index": None}}),
        json.dumps({"cluster": {"worker": HOSTS, "ps": ["d:1"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": HOSTS, "chief": ["d:1"]}, "task": {"type": "chief", "index": 1}}),
        json.dumps({"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_a_wrong_tf_config_is_reported(text):
    with pytest.raises(ValueError) as caught:
        read_cluster(text)
    assert str(caught.value).startswith('TF_CONFIG: expected {"cluster": {"worker": ["host0:port"')
    assert str(caught.value).endswith(f"got {text}")


def test_workers_need_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=r"multiworker needs the environment variable TF_CONFIG: expected \{"):
        device.make_strategy("cpu", "multiworker")


def test_each_worker_says_its_row_once(monkeypatch):
    """However many devices it has."""

    class Strategy:
        num_replicas_in_sync = 4

        def experimental_distribute_values_from_function(self, give):
            contexts = [type("Context", (), {"replica_id_in_sync_group": replica}) for replica in (2, 3)]
            return [give(context) for context in contexts]

    monkeypatch.setattr(distribution, "_compile_sum", lambda _: lambda rows: rows[0] + rows[1])
    assert Mirrored(Strategy(), Cluster(HOSTS[:2], 1)).gather([5, 6]).tolist() == [[0, 0], [5, 6]]


def test_workers_must_train_the_same(tmp_path, tiny_records):
    class Other(Two):
        def gather(self, values):
            return np.array([values, [values[0] + self.other[0], self.other[1]]])

    config, checkpoint = Config(Data("none"), str(tmp_path)), checkpoints.Checkpoint(3, None, [], [], 0)
    records = open_records(tiny_records)
    compare_workers(config, records, Other(other=(0, 3)), checkpoint)
    with pytest.raises(ValueError, match="worker 1 has other settings than worker 0; start all with the same command"):
        compare_workers(config, records, Other(other=(1, 3)), checkpoint)
    with pytest.raises(ValueError, match="worker 1 would resume after step 0, worker 0 after step 3; give a folder on"):
        compare_workers(config, records, Other(other=(0, 0)), checkpoint)


def test_workers_may_have_their_records_anywhere(tmp_path, tiny_records):
    moved = shutil.copytree(tiny_records, tmp_path / "moved")
    seen = []

    class One(Distribution):
        def gather(self, values):
            seen.append(values[0])
            return super().gather(values)

    for records in (tiny_records, f"{tiny_records}/", moved):
        compare_workers(Config(Data(str(records)), "run"), open_records(records), One(), None)
    with (moved / "manifest.json").open("a") as file:
        file.write(" ")
    compare_workers(Config(Data(str(moved)), "run"), open_records(moved), One(), None)
    assert len({*seen[:3]}) == 1 and seen[3] != seen[0]


class Model(keras.Model):
    """What the callbacks want of a learner."""

    def __init__(self):
        super().__init__()
        self.network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        self.built = True
        self.compile(keras.optimizers.SGD())

    def check_loss(self):
        pass


def test_only_the_chief_saves_and_any_stop_stops_all(tmp_path):
    for index, other, files in ((0, True, 2), (1, True, 0), (0, False, 0)):
        run = tmp_path / f"{index}{other}"
        run.mkdir()
        validate = Validate(None, None, run / "best.weights.h5")
        keep = SaveCheckpoints(run, 10, 60, validate, threading.Event(), distribution=Two(index, (other, False)))
        keep.set_model(Model())
        keep.on_train_begin()
        keep.on_epoch_begin(0)
        if other:
            with pytest.raises(checkpoints.Stopped, match="stopped after step 4 of epoch 1"):
                keep.on_train_batch_end(3, {"loss": 1.0})
        else:
            keep.on_train_batch_end(3, {"loss": 1.0})
        assert len([*run.rglob("0*")]) == files


def test_the_chief_scores_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("tfseg.training.validation.score", lambda *_: pytest.fail("that is the chief's"))
    for other, stopped, ended in (((0, 0), False, False), ((0, 1), False, True), ((1, 0), True, False)):
        validate = Validate(None, None, tmp_path / "best.weights.h5", patience=1, distribution=Two(1, other))
        validate.set_model(Model())
        validate.model.stop_training = False
        if stopped:
            with pytest.raises(checkpoints.Stopped, match="stopped in epoch 1's validation"):
                validate.on_epoch_end(0, {})
        else:
            validate.on_epoch_end(0, {})
        assert validate.model.stop_training == ended
    assert not [*tmp_path.iterdir()]
