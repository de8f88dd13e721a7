"""Commands that meet a damaged record name it, whatever TensorFlow and Keras make of it on the way."""

import re
import shutil

import numpy as np
import pytest
from helper_models import FakePredictor
from helpers import VAL, encode_bgr, flip, rewrite, write_run

from tfseg.config.parse import parse_config
from tfseg.evaluation import evaluator
from tfseg.evaluation.evaluator import evaluate_model
from tfseg.evaluation.panels import predict_panels
from tfseg.evaluation.scored_run import ScoredRun
from tfseg.io import tfrecord
from tfseg.models.segmenter import build_network
from tfseg.records import records
from tfseg.records.labels import CATEGORIES
from tfseg.records.record_set import open_records
from tfseg.runs import run_dir
from tfseg.runs.weights import save_weights
from tfseg.training.loop import train_run
from tfseg.training.run import export


@pytest.fixture
def folder(tiny_records, tmp_path):
    """A copy to damage, of 24x32 images."""
    return shutil.copytree(tiny_records, tmp_path / "r")


@pytest.fixture
def config(folder, tmp_path):
    values = {"data.records": folder, "data.size": "32x32", "run_dir": tmp_path / "run", "model.encoder": "tiny"}
    values |= {"model.weights": "null", "train.epochs": 1, "train.batch_size": 4, "loss.cross_entropy": 1.0}
    return parse_config([argument for name, value in values.items() for argument in (f"--{name}", str(value))])


def damaged(path, id):
    return re.escape(f"{path}: record 0 ({id}) is damaged: its checksum fails; copy what is damaged again, or convert")


@pytest.mark.long
def test_train(folder, config):
    flip(folder / VAL, 100)  # read in a callback, within fit
    with pytest.raises(ValueError, match=damaged(folder / VAL, "val-000")):
        train_run(config)


@pytest.mark.long
def test_evaluate(folder, config):
    run = write_run(config)
    network = build_network(8, "tiny", None, decoder_channels=config.model.decoder_channels)
    save_weights(network, run / run_dir.BEST_WEIGHTS)
    export(run)
    flip(folder / VAL, 100)
    with pytest.raises(ValueError, match=damaged(folder / VAL, "val-000")):
        evaluate_model(run / run_dir.SAVED_MODEL, folder, "val")


class Blind:
    """Sees void everywhere."""

    classes = CATEGORIES
    sizes = ()
    runtime, size = "tensorflow", None

    def network(self, images):
        return np.zeros((*images.shape[:3], 8), np.float32)


def test_report(folder, config):
    flip(folder / VAL, 100)
    scores = {"resize": [], "inference": {}}
    scored = ScoredRun(folder, config, "val", scores, np.arange(5), np.ones((5, 8, 8), np.int64))
    with pytest.raises(ValueError, match=damaged(folder / VAL, "val-000")):
        predict_panels(Blind(), scored, open_records(folder), samples=5)


@pytest.mark.parametrize("sizes", [[], [(24, 32)]])
def test_a_mask_of_another_size_than_its_image(folder, sizes, monkeypatch):
    """Neither is resized to the other's size."""
    examples = list(records.read_shard(folder / VAL))
    features = tfrecord.decode_example(examples[1]) | {"image/encoded": encode_bgr(np.zeros((24, 30, 3), np.uint8))}
    rewrite(folder, VAL, [examples[0], tfrecord.encode_example(features), *examples[2:]])
    monkeypatch.setattr(evaluator, "Predictor", FakePredictor)
    monkeypatch.setattr(evaluator, "learns_void", lambda path: False)
    with pytest.raises(ValueError, match=r"record 1 \(val-001\) has an image of 24x30 and a mask of 24x32"):
        evaluate_model("a function", folder, "val", sizes=sizes)
