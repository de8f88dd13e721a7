"""One set of masks, scored in three ways: `tfseg evaluate` on records, arrays, and the metric of plain Keras."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helper_models import FakePredictor

from tfseg.evaluation import evaluator
from tfseg.evaluation.ground_truth import read_split
from tfseg.io.png import write_png
from tfseg.losses.keras_losses import DiceLoss
from tfseg.metrics.mean_iou import MeanIoU
from tfseg.metrics.scores import score
from tfseg.records.record_set import open_records

NETWORK = FakePredictor("").network


def make_model(ignore_class):
    """The network of the fake predictor in Keras: flat where red is above 100, else sky."""
    pixels = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(8, 1)
    model = keras.Model(pixels, layer(pixels))
    kernel, bias = np.zeros((1, 1, 3, 8), np.float32), np.full(8, -999, np.float32)
    kernel[..., 0, 1], bias[1], bias[5] = 1.0, -100.0, 0.0
    layer.set_weights([kernel, bias])
    loss, metric = DiceLoss(ignore_class=ignore_class), MeanIoU(8, ignore_class=ignore_class)
    model.compile(keras.optimizers.SGD(0.0), loss, metrics=[metric])
    return model, metric


@pytest.mark.long
@pytest.mark.parametrize("ignore_class", [0, None])
def test_all_give_the_same_figures(tiny_records, tmp_path, monkeypatch, ignore_class):
    monkeypatch.setattr(evaluator, "Predictor", FakePredictor)
    monkeypatch.setattr(evaluator, "learns_void", lambda path: ignore_class is None)
    records = open_records(tiny_records)
    examples = list(read_split(records, "val"))
    images = np.stack([example.image for example in examples])
    truth = np.stack([example.truth for example in examples])
    probabilities = NETWORK(images)

    evaluated = evaluator.evaluate_model(tmp_path / "model", records, "val", sizes=[], out=tmp_path / "out").content
    assert 0 < evaluated["mean_iou"] < 1
    scores = score(truth, probabilities, classes=records.classes, ignore_class=ignore_class)
    assert scores.to_dict().items() <= json.loads((tmp_path / "out" / "scores-val.json").read_text()).items()
    assert scores.mean_iou == evaluated["mean_iou"]

    masks = probabilities.argmax(axis=-1).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    for example, mask in zip(examples, masks, strict=True):
        write_png(tmp_path / "masks" / f"{example.id}_classes.png", mask)
    of_files = evaluator.evaluate_masks(tmp_path / "masks", records, "val", ignore_class=ignore_class).content
    assert of_files["mean_iou"] == score(truth, masks, records.classes, ignore_class).mean_iou == scores.mean_iou

    model, metric = make_model(ignore_class)
    batches = tf.data.Dataset.from_tensor_slices((images.astype(np.float32), truth)).batch(2)  # 2, 2 and 1
    assert model.evaluate(batches, verbose=0, return_dict=True)["mean_iou"] == pytest.approx(scores.mean_iou, rel=1e-6)
    counted = scores.confusion_matrix.copy()
    counted[[] if ignore_class is None else ignore_class] = 0
    assert metric.confusion_matrix().tolist() == counted.tolist()
    history = model.fit(batches, validation_data=batches, shuffle=False, verbose=0).history
    assert history["val_mean_iou"] == history["mean_iou"] == pytest.approx([scores.mean_iou], rel=1e-6)
