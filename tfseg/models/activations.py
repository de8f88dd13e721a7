"""Sigmoid and swish with Keras' results that take less time, or that run where Keras' do not."""

import keras
from keras import ops

from tfseg import backend

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable("tfseg")
def tanh_sigmoid(x):
    """The logistic function by tanh, which Metal has in half precision: sigmoid(x) = (tanh(x / 2) + 1) / 2."""
    return 0.5 * ops.tanh(0.5 * x) + 0.5


@keras.saving.register_keras_serializable("tfseg")
def tanh_swish(x):
    """Swish (Ramachandran, Zoph and Le 2017) by tanh: x sigmoid(x)."""
    return x * tanh_sigmoid(x)


@keras.saving.register_keras_serializable("tfseg")
def jit_swish(x):
    """Swish on TensorFlow, with a gradient that XLA compiles to one operation where TensorFlow makes six."""

    @tf.custom_gradient
    def activate(x):
        return x * tf.sigmoid(x), lambda gradient: backend.jit(_swish_gradient)(x, gradient)

    return activate(x)


def _swish_gradient(x, gradient):
    wide = ops.cast(x, "float32")  # in registers: it costs no memory
    sigmoid = ops.sigmoid(wide)
    return ops.cast(ops.cast(gradient, "float32") * sigmoid * (1 + wide * (1 - sigmoid)), x.dtype)
