"""Several devices that share each batch; two logical CPUs stand for them, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tfseg import device, train
from tfseg.config import Config, Data, Device, Train


@pytest.mark.slow
def test_two_devices_learn_as_one():
    script = Path(__file__).with_name("distribution_run.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr
    one, two = json.loads(child.stdout)
    assert "mirrored on 2 devices" in two["device"]
    np.testing.assert_allclose(two["losses"], one["losses"], atol=1e-4)
    assert two["val_loss"] == pytest.approx(one["val_loss"], abs=1e-4), "moving statistics, too"
    assert two["matrix"] == one["matrix"]
    assert two["steps"] == one["steps"] == 6


def test_one_device_shares_nothing_out():
    choice = device.choose_device("cpu", "float32", distribution="mirrored")
    assert choice.replicas == 1
    assert "mirrored on 1 device (there is only one, nothing is shared out)" in str(choice)


def test_other_backends_refuse(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"device.distribution: expected none on jax, got mirrored; or"):
        device.choose_device(distribution="mirrored")


def test_a_batch_is_shared_out_evenly(monkeypatch, tmp_path):
    class Two:
        num_replicas_in_sync = 2

    monkeypatch.setattr(device, "mirror", lambda kind: Two())
    config = Config(
        Data("none"), str(tmp_path / "run"), train=Train(batch_size=3), device=Device("cpu", distribution="mirrored")
    )
    with pytest.raises(ValueError, match=r"train.batch_size: expected a multiple of 2, .*, got 3"):
        train.train(config)
