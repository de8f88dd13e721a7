"""Folders whose names TensorFlow takes for patterns."""

import numpy as np
import pytest
import tensorflow as tf

from tfseg.inference.predictor import Predictor
from tfseg.io.atomic import write_json
from tfseg.io.paths import without_patterns

NAMES = (
    "lr[0.001]",
    "a\\b",
    "a*b",
    "a?b",
    "{a,b}",
    "a]",
    "[a",
    "two words",
    "straße",
    "new\nline",
    "*",
    "[0-9]",
    "~",
    "#%",
)


class Constant(tf.Module):
    """Says class `kind` of every pixel."""

    def __init__(self, kind: int):
        self.kind = tf.Variable(tf.one_hot(kind, 2))

    def signatures(self):
        images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")

        @tf.function(input_signature=[images])
        def probabilities(images):
            return {"probabilities": tf.zeros_like(images[..., :1], tf.float32) + self.kind}

        @tf.function(input_signature=[images])
        def classes(images):
            return {"classes": tf.cast(tf.argmax(probabilities(images)["probabilities"], -1), tf.uint8)}

        return {"serving_default": classes, "probabilities": probabilities}


def save(kind, directory):
    model = Constant(kind)
    tf.saved_model.save(model, str(directory), signatures=model.signatures())
    colors = [{"id": index, "name": str(index), "color": [0, 0, index]} for index in range(2)]
    write_json({"classes": colors}, directory / "labels.json")


def test_models_load_from_any_name(tmp_path, monkeypatch):
    save(0, tmp_path / "aXb/model")  # which "a*b" and "a?b" match
    pixels = np.zeros((1, 2, 3, 3), np.uint8)
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").symlink_to(tmp_path / "aXb/model")
        assert Predictor(tmp_path / name / "model")(pixels).max() == 0, name
    (tmp_path / "a[X]b").mkdir()
    save(1, tmp_path / "a[X]b/model")
    monkeypatch.chdir(tmp_path / "a[X]b")
    assert Predictor("model")(pixels).min() == 1, "that of aXb matches"


def test_a_plain_name_is_taken_as_it_is(tmp_path):
    with without_patterns(tmp_path) as place:
        assert place == tmp_path


def test_a_temporary_folder_of_such_a_name_is_told(tmp_path, monkeypatch):
    (tmp_path / "[t]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "[t]"))
    with (
        pytest.raises(OSError, match="TensorFlow cannot load from this name; set TMPDIR"),
        without_patterns(tmp_path / "a*b"),
    ):
        pass
