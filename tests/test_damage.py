"""Commands that meet a damaged record name it, whatever TensorFlow and Keras make of it on the way."""

import re
import shutil

import numpy as np
import pytest
from test_verify import VAL, flip

from tfseg import report, run_folder
from tfseg.config import parse_config, save_config
from tfseg.evaluate import evaluate
from tfseg.network import build_network
from tfseg.train import export, train


@pytest.fixture
def folder(tiny_records, tmp_path):
    """A copy to damage, of 24x32 pictures."""
    return shutil.copytree(tiny_records, tmp_path / "r")


@pytest.fixture
def config(folder, tmp_path):
    values = {"data.records": folder, "data.size": "32x32", "run_dir": tmp_path / "run", "model.encoder": "tiny"}
    values |= {"model.weights": "null", "train.epochs": 1, "train.batch_size": 4, "loss.cross_entropy": 1.0}
    return parse_config([argument for name, value in values.items() for argument in (f"--{name}", str(value))])


def told(path, id):
    return re.escape(f"{path}: record 0 ({id}) is damaged: its checksum fails; copy what is damaged again, or convert")


def test_train(folder, config):
    flip(folder / VAL, 100)  # read in a callback, within fit
    with pytest.raises(ValueError, match=told(folder / VAL, "val-000")):
        train(config)


def test_evaluate(folder, config):
    run = run_folder.open_run(config)
    save_config(config, run / run_folder.CONFIG)
    network = build_network(8, "tiny", None, decoder_channels=config.model.decoder_channels)
    run_folder.save_weights(network, run / run_folder.BEST_WEIGHTS)
    export(run)
    flip(folder / VAL, 100)
    with pytest.raises(ValueError, match=told(folder / VAL, "val-000")):
        evaluate(run / run_folder.SAVED_MODEL, folder, "val", size=(32, 32))


def test_report(folder):
    flip(folder / VAL, 100)
    with pytest.raises(ValueError, match=told(folder / VAL, "val-000")):
        report.predict_samples(lambda images: np.zeros(images.shape[:3], np.uint8), folder, "val", 5, None)
