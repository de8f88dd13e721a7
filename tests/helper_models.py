"""Models that need no training: a SavedModel that classifies by red, a predictor, exports that err."""

import json

import numpy as np
from helpers import CLASS_COLORS, draw

from tfseg.io.pixel_formats import RGB
from tfseg.records.labels import CATEGORIES, CATEGORY_COLORS

MODEL_NAMES = ["void", "dim", "bright", "glaring"]
MODEL_COLORS = [[0, 0, 0], [10, 20, 30], [100, 110, 120], [200, 210, 220]]
MODEL_CLASSES = [
    {"id": id, "name": name, "color": color}
    for id, (name, color) in enumerate(zip(MODEL_NAMES, MODEL_COLORS, strict=True))
]


def write_model(directory, serving=True, images_name="images", classes_type="uint8", channels=4):
    """Writes a SavedModel that needs no network: class 0 for red 0..63, 1 for 64..127, 2 for 128..191, 3 above."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, 3), tf.uint8, name=images_name)

    @tf.function(input_signature=[spec])
    def classify(images):
        return {"classes": tf.cast(images[..., 0] // 64, classes_type)}

    @tf.function(input_signature=[spec])
    def probabilities(images):
        return {"probabilities": tf.one_hot(images[..., 0] // 64, channels)}

    signatures = {"serving_default": classify} if serving else {}
    tf.saved_model.save(tf.Module(), str(directory), signatures={**signatures, "probabilities": probabilities})
    (directory / "labels.json").write_text(json.dumps({"classes": MODEL_CLASSES}))
    return directory


class FakePredictor:
    """Tells each pixel's class from its image alone: all flat where red is above 100, else sky."""

    classes = [*CATEGORIES]  # noqa: RUF012
    sizes = ((12, 16), (6, 8))
    pixels = RGB
    runtime, size = "tensorflow", None

    def __init__(self, directory, runtime=None):
        pass

    def network(self, images):
        bright = (images[..., :1] > 100).astype(np.float32)
        return np.concatenate([0 * bright, bright, *[0 * bright] * 3, 1 - bright, *[0 * bright] * 2], axis=-1)


class Recolored:
    """A model that sees flat for the first rows of sky, and is otherwise as sure as can be."""

    def __init__(self, rows):
        self.rows = rows

    def __call__(self, images):
        distances = np.abs(images[..., np.newaxis, :].astype(int) - CLASS_COLORS).sum(axis=-1)
        ids = distances.argmin(axis=-1).astype(np.uint8)
        ids[:, 1 : 1 + self.rows] = 1
        return ids

    def probabilities(self, images):
        return np.eye(8, dtype=np.float32)[self(images)]


def true_network(images, training):
    """Logits of the true classes."""
    from keras import ops

    assert not training
    return ops.convert_to_tensor(20 * Recolored(0).probabilities(images))


def make_parity_report():
    """The report of parity on two images, with one format that answers as the network and one that does not."""
    from tfseg.exporters.parity import ENCODED, compare

    drawn = [(f"p{index}".encode(), *draw(index, 24, 32)) for index in range(2)]
    examples = [{"id": id, "image": image, "mask": mask} for id, image, mask in drawn]
    models = {"SavedModel": Recolored(0).probabilities, "LiteRT int8": Recolored(2).probabilities}
    encoded = {ENCODED: lambda image: Recolored(1)(image[np.newaxis])[0]}
    return compare(true_network, models, examples, self_resizing=encoded)


def nearest_color_network(colors=CATEGORY_COLORS):
    """Gives each pixel the class of the nearest colour: |pixel - color|^2 is smallest where this logit is largest."""
    import keras

    colors = colors.astype(np.float32)
    images = keras.Input((None, None, 3))
    logits = keras.layers.Conv2D(len(colors), 1)
    network = keras.Model(images, logits(images))
    logits.set_weights([2 * colors.T[np.newaxis, np.newaxis], -np.square(colors).sum(axis=1)])
    return network


def random_images(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
