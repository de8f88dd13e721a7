"""A network traced once, from pixels to classes and probabilities, for every format; and the SavedModel of it."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from tfseg.exporters import encoded
from tfseg.exporters.description import takes_files
from tfseg.io import resizing
from tfseg.io.pixel_formats import RGB, PixelFormat
from tfseg.models.fold import fold


class Weights(tf.Module):
    """The variables of a Keras network, which a SavedModel stores by this object."""

    def __init__(self, network):
        super().__init__()
        self.weights = [weight.value for weight in network.weights]


class Traced:
    """A Keras network as functions of TensorFlow, all of which share one trace of it.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, channels) -> logits (B, H, W, C).
        sizes: (height, width) to which `classes`, `probabilities` and `encoded` resize an image, one after the other,
            before the network sees it; see `inference.image_segmenter`, which does the same outside of a graph.
        pixels: what the images are; as bytes, they have so many channels.

    Attributes:
        variables: a tf.Module that holds its weights.
    """

    def __init__(self, network, sizes: Sequence[tuple[int, int]] = (), pixels: PixelFormat = RGB):
        self.sizes, self.pixels = tuple(sizes), pixels
        self.variables = Weights(network)
        self._keras_network = network
        self._float32_logits = self._trace()
        images = tf.TensorSpec((None, None, None, pixels.channels), tf.uint8)
        self._network = tf.function(self._find_probabilities, input_signature=[images], autograph=False)
        self._classes = tf.function(self._choose_classes, input_signature=[images], autograph=False)

    def _trace(self, phased: bool = False):
        """Makes a tf.function of the network, from float32 pixels to logits; `phased`: see `fold`."""
        folded = fold(self._keras_network, phased)
        pixels = tf.TensorSpec((None, None, None, self.pixels.channels), tf.float32)

        @tf.function(input_signature=[pixels], autograph=False)
        def float32_logits(images):
            # A network trained in half precision gives half logits; softmax and argmax must not be taken on those.
            return tf.cast(folded(images), tf.float32)

        return float32_logits

    def logits(self, images):
        """Maps pixels, 0..255 of any type, (B, H, W, channels), as they are to logits, float32 (B, H, W, C)."""
        return self._float32_logits(tf.cast(images, tf.float32))

    def outputs(self, images) -> dict:
        """Maps pixels as they are to `classes`, uint8 (B, H, W), and `probabilities`, float32 (B, H, W, C)."""
        logits = self.logits(images)
        return {"classes": resizing.likeliest(logits), "probabilities": tf.nn.softmax(logits)}

    def function(self, plain: bool = False):
        """Makes a tf.function of `outputs`, of images of any size, for what converts TensorFlow's graphs.

        `plain`: without transposed convolutions and softmax, by others that together give the same.
        """
        signature = [tf.TensorSpec((None, None, None, self.pixels.channels), tf.uint8, name="images")]
        if not plain:
            return tf.function(self.outputs, input_signature=signature)
        logits = self._trace(phased=True)

        @tf.function(input_signature=signature)
        def plain_outputs(images):
            found = logits(tf.cast(images, tf.float32))
            return {"classes": resizing.likeliest(found), "probabilities": plain_softmax(found)}

        return plain_outputs

    def network(self, images):
        """Maps images, uint8 (B, H, W, channels), as they are to probabilities, float32 (B, H, W, C), in 0..1."""
        return tf.nn.softmax(self.logits(images))

    def probabilities(self, images):
        """Maps images, uint8 (B, H, W, channels), to probabilities of their own size, float32 (B, H, W, C), in 0..1."""
        return resizing.enlarge(self._network(images), tf.shape(images)[1:3])

    def classes(self, images):
        """Maps images, uint8 (B, H, W, channels), to class ids, uint8 (B, H, W)."""
        return self._classes(images)

    def _find_probabilities(self, images):
        return self.network(self.resize(images))

    def _choose_classes(self, images):
        return resizing.choose_classes(self._network(images), tf.shape(images)[1:3])

    def encoded(self, content):
        """Maps the content of an image file, a string scalar, to its mask as a grey PNG, a string scalar."""
        image = encoded.decode(content, self.pixels)
        return tf.io.encode_png(self.classes(image[tf.newaxis])[0, :, :, tf.newaxis])

    def resize(self, images):
        """Resizes images, uint8 (B, H, W, channels), to what the network is to see."""
        for size in self.sizes:
            images = resizing.resize_tensors(images, size)
        return images


def plain_softmax(logits):
    """What `tf.nn.softmax` gives of logits, float32 (B, H, W, C)."""
    exponentials = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    return exponentials / tf.reduce_sum(exponentials, axis=-1, keepdims=True)


def save_module(traced: Traced, directory: Path) -> None:
    """Saves the signatures and each of the weights once, as `directory`/saved_model.pb and variables/."""
    images_spec = tf.TensorSpec((None, None, None, traced.pixels.channels), tf.uint8, name="images")

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_classes(images):
        return {"classes": traced.classes(images)}

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_probabilities(images):
        return {"probabilities": traced.probabilities(images)}

    @tf.function(input_signature=[images_spec], autograph=False)
    def predict_unresized(images):
        return {"probabilities": traced.network(images)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")], autograph=False)
    def predict_files(image_bytes):
        # One after the other: each takes all cores, and memory by its own size.
        return {
            "mask_bytes": tf.map_fn(traced.encoded, image_bytes, parallel_iterations=1, fn_output_signature=tf.string)
        }

    signatures = {
        "serving_default": predict_classes,
        "probabilities": predict_probabilities,
        "network": predict_unresized,
        **({"encoded": predict_files} if takes_files(traced.pixels) else {}),
    }
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # what it notes is a folder that is renamed at once
    try:
        tf.saved_model.save(traced.variables, str(directory), signatures=signatures)
    finally:
        logger.setLevel(level)
