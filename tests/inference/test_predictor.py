import shutil

import numpy as np
import pytest
import tensorflow as tf
from helper_files import image_of_reds
from helper_models import MODEL_COLORS, MODEL_NAMES, write_model

from tfseg.inference.predictor import Predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("predict") / "model")


class TestPredictor:
    def test_classes_by_hand(self, model):
        predictor = Predictor(model)
        classes = predictor(np.stack([image_of_reds(0, 64, 200), image_of_reds(63, 191, 255)]))
        assert classes.dtype == np.uint8
        assert classes.tolist() == [[[0, 1, 3]], [[0, 2, 3]]]
        assert predictor.classes == MODEL_NAMES
        assert predictor.colors.dtype == np.uint8
        assert predictor.colors.tolist() == MODEL_COLORS

    @pytest.mark.parametrize(
        "images",
        [
            np.zeros((1, 4, 4, 3), np.float32),
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((1, 4, 4, 4), np.uint8),
            np.zeros((1, 0, 4, 3), np.uint8),
        ],
    )
    def test_images_of_another_kind(self, model, images):
        with pytest.raises(ValueError, match="expected images as uint8") as error:
            Predictor(model)(images)
        assert str(images.shape) in str(error.value)


class TestBadModels:
    @pytest.mark.parametrize("missing", [".", "labels.json", "saved_model.pb"])
    def test_missing_file(self, model, tmp_path, missing):
        copy = tmp_path / "copy"
        if missing != ".":
            shutil.copytree(model, copy)
            (copy / missing).unlink()
        with pytest.raises(FileNotFoundError, match=str(copy / missing) + ".* is missing"):
            Predictor(copy)

    @pytest.mark.parametrize("damaged", ["saved_model.pb", "variables/variables.index"])
    def test_damaged_file(self, model, tmp_path, damaged):
        copy = shutil.copytree(model, tmp_path / "copy")
        (copy / damaged).write_bytes(b"no such thing")
        with pytest.raises(ValueError, match=f"{copy}: the SavedModel is damaged"):
            Predictor(copy)

    @pytest.mark.parametrize(
        ("difference", "name"),
        [
            ({"serving": False}, "serving_default"),
            ({"images_name": "inputs"}, "serving_default"),
            ({"classes_type": tf.int32}, "serving_default"),
        ],
    )
    def test_other_signature(self, tmp_path, difference, name):
        write_model(tmp_path / "other", **difference)
        with pytest.raises(ValueError, match=f"expected a signature '{name}' from images"):
            Predictor(tmp_path / "other")

    def test_labels_of_another_model(self, tmp_path):
        write_model(tmp_path / "other", channels=8)
        with pytest.raises(ValueError, match=r"labels\.json names 4 classes, the model has 8"):
            Predictor(tmp_path / "other")
