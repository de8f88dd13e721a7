"""TensorBoard's pictures: after each epoch, what the network makes of some of the validation split."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfseg.labels import CATEGORY_COLORS
from tfseg.learner import averaged

PIXELS = 512  # that a picture has at most, on its longer side


class Panels(keras.callbacks.Callback):
    """Draws picture, truth and prediction side by side after each epoch, by averaged weights if there are any.

    Training goes on as it would have without.

    Args:
        folder: for TensorBoard's file.
        examples: what to draw, as of `pipeline.read_examples`.
    """

    def __init__(self, folder: Path, examples: Iterable[dict]):
        super().__init__()
        self.folder, self.examples, self.writer = folder, list(examples), None

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf  # whose writer works with any backend

        self.writer = self.writer or tf.summary.create_file_writer(str(self.folder))
        with averaged(self.model), self.writer.as_default(step=epoch):
            for example in self.examples:
                panel = draw_panel(example["image"], example["mask"], self.predict(example["image"]))
                tf.summary.image(example["id"].decode(), panel[np.newaxis])
        self.writer.flush()

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The classes of a picture: uint8 (height, width, 3) -> integers (height, width)."""
        logits = self.model.network(image[np.newaxis].astype("float32"), training=False)
        return ops.convert_to_numpy(logits)[0].argmax(axis=-1)


def draw_panel(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Lays a picture, its truth and its prediction side by side, shrunk by a whole number to at most `PIXELS`.

    Args:
        image: uint8 (height, width, 3).
        truth: integers (height, width), category ids.
        prediction: the same.

    Returns:
        uint8 (smaller height, 3 x smaller width, 3).
    """
    every = -(-max(image.shape) // PIXELS)
    parts = image, CATEGORY_COLORS[truth], CATEGORY_COLORS[prediction]
    return np.hstack([part[::every, ::every] for part in parts])
