"""The one way of an image from pixels to mask, whatever computes the network and whoever asks.

Decode (`io.images`) -> resize as the model was validated -> network -> probabilities at the image's size -> the
likeliest class of each pixel. Evaluation, report, prediction of files and films, service, page and the comparison of
formats all take it; inside a SavedModel, `exporters.saved_model` lays the same steps into the graph.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfseg.inference.tta import InferenceSettings
from tfseg.io import resizing

Size = tuple[int, int]
Network = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ImageSegmenter:
    """A network as a function from an image, uint8 (H, W, channels), to its mask, uint8 (H, W)."""

    network: Network
    """uint8 images (B, h, w, channels) as they are -> float32 probabilities (B, h, w, classes)."""
    classes: int
    """How many classes it distinguishes."""
    sizes: Sequence[Size] = ()
    """(height, width) to which an image is resized, one after the other; none: the network sees it at its own size."""
    inference: InferenceSettings = field(default_factory=InferenceSettings)
    """How the network sees it then."""
    in_numpy: bool = False
    """Whether probabilities become masks by NumPy, so that TensorFlow is not imported."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Predicts the mask of an image."""
        return self.masks(self.prepare(image)[np.newaxis], [image.shape[:2]])[0]

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Resizes an image, uint8 (H, W, channels), to what the network is shown, uint8 (h, w, channels)."""
        return resizing.resize_along(image, self.sizes)

    def probabilities(self, prepared: np.ndarray) -> np.ndarray:
        """Predicts probabilities, (B, h, w, classes), of prepared images, (B, h, w, channels)."""
        return self.inference.probabilities(self.network, prepared, self.classes)

    def masks(self, prepared: np.ndarray, sizes: Sequence[Size]) -> list[np.ndarray]:
        """Predicts the masks of prepared images, (B, h, w, channels), that were of these sizes."""
        probabilities = self.probabilities(prepared)
        return [self.choose(likely, size) for likely, size in zip(probabilities, sizes, strict=True)]

    def choose(self, probabilities: np.ndarray, size: Size) -> np.ndarray:
        """Chooses the likeliest class of each pixel of an image of a size.

        Args:
            probabilities: float32 (h, w, classes).
            size: (height, width) of the image.

        Returns:
            uint8 (height, width).
        """
        if self.in_numpy:
            return resizing.choose_classes_of_array(probabilities, size)
        return _compiled("choose_classes")(probabilities[np.newaxis], np.array(size, np.int32)).numpy()[0]

    def enlarge(self, probabilities: np.ndarray, size: Size) -> np.ndarray:
        """Resizes probabilities, float32 (h, w, classes), to the size of an image: float32 (height, width, classes)."""
        if self.in_numpy:
            return resizing.enlarge_array(probabilities, size)
        return _compiled("enlarge")(probabilities[np.newaxis], np.array(size, np.int32)).numpy()[0]


@functools.cache
def _compiled(name: str):
    import tensorflow as tf

    signature = [tf.TensorSpec((None, None, None, None), tf.float32), tf.TensorSpec((2,), tf.int32)]
    return tf.function(getattr(resizing, name), input_signature=signature, autograph=False)
