"""A network traced once, from pixels to classes and probabilities, for whatever format it is exported to."""

import tensorflow as tf


class Traced:
    """A Keras network as functions of TensorFlow, all of which share one trace of it.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, 3) -> logits (B, H, W, C).

    Attributes:
        variables: a tf.Module that holds its weights.
    """

    def __init__(self, network):
        self.variables = tf.Module()
        self.variables.weights = [weight.value for weight in network.weights]

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
        def float32_logits(pixels):
            # A network trained in half precision gives half logits; softmax and argmax must not be taken on those.
            return tf.cast(network(pixels, training=False), tf.float32)

        self._float32_logits = float32_logits

    def logits(self, images):
        """Maps pixels, 0..255 of any type, (B, H, W, 3), to logits, float32 (B, H, W, C)."""
        return self._float32_logits(tf.cast(images, tf.float32))

    def outputs(self, images) -> dict:
        """Maps pixels to `classes` and `probabilities`, as below."""
        logits = self.logits(images)
        return {"classes": choose(logits), "probabilities": tf.nn.softmax(logits)}

    def classes(self, images):
        """Maps pixels to class ids, uint8 (B, H, W)."""
        return choose(self.logits(images))

    def probabilities(self, images):
        """Maps pixels to probabilities, float32 (B, H, W, C), in 0..1."""
        return tf.nn.softmax(self.logits(images))


def choose(logits):
    """The class ids of logits, uint8, which is no output type of argmax."""
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)
