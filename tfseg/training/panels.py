"""TensorBoard's images: after each validation, what the network makes of some of the validation split."""

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfseg.io.pixel_formats import as_rgb
from tfseg.training.validation import averaged

PIXELS = 512  # that an image has at most, on its longer side


class Panels(keras.callbacks.Callback):
    """Draws image, ground truth and prediction side by side when an epoch was validated, by averaged weights if any.

    Training continues as it would have without.

    Args:
        folder: for TensorBoard's file.
        examples: what to draw, as of `pipeline.read_examples`.
        colors: of the classes, (C, 3) uint8 RGB.
    """

    def __init__(self, folder: Path, examples: Iterable[dict], colors: np.ndarray):
        super().__init__()
        self.folder, self.examples, self.colors, self.writer = folder, list(examples), colors, None

    def on_epoch_end(self, epoch: int, logs: dict):
        if "val_loss" not in logs:
            return
        import tensorflow as tf  # whose writer works with any backend

        self.writer = self.writer or tf.summary.create_file_writer(str(self.folder))
        with averaged(self.model), self.writer.as_default(step=epoch):
            for example in self.examples:
                image, truth = example["image"], example["mask"]
                panel = draw_panel(image, truth, self.predict(image), self.colors)
                tf.summary.image(example["id"].decode(), panel[np.newaxis])
        self.writer.flush()

    def predict(self, image: np.ndarray) -> np.ndarray:
        """The classes of an image: uint8 (height, width, channels) -> integers (height, width)."""
        logits = self.model.network(image[np.newaxis].astype("float32"), training=False)
        return ops.convert_to_numpy(logits)[0].argmax(axis=-1)


def draw_panel(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Lays an image, its ground truth and its prediction side by side, shrunk by a whole number to at most `PIXELS`.

    Args:
        image: uint8 (height, width, channels), of which three are shown, see `as_rgb`.
        truth: integers (height, width), class ids.
        prediction: the same.
        colors: of the classes, (C, 3) uint8 RGB.

    Returns:
        uint8 (smaller height, 3 x smaller width, 3).
    """
    every = -(-max(image.shape[:2]) // PIXELS)
    parts = as_rgb(image), colors[truth], colors[prediction]
    return np.hstack([part[::every, ::every] for part in parts])
