"""Keras as tfseg needs it; whoever imports Keras here imports this module, so that it is so before any layer is made.

Keras takes its defaults from ~/.keras/keras.json, which another project may have written. Its backend is honoured, or
the environment variable KERAS_BACKEND; the rest would make other networks, or none.
"""

import keras


def settle() -> None:
    """Sets the order of axes, the type of numbers and the smallest of them to what Keras has without that file."""
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    if keras.config.floatx() != "float32":
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")  # which may have been made of it; `device` chooses that of a training


settle()
