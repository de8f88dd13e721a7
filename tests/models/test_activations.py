import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.models.activations import jit_swish, tanh_sigmoid, tanh_swish

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 4e-3), ("float16", 5e-4)])
def test_jit_swish_is_swish(dtype, tolerance):
    x = tf.cast(np.linspace(-30, 30, 999), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = jit_swish(x)
    gradient = tape.gradient(outputs, x)
    exact = np.asarray(x, np.float64)
    sigmoid = 1 / (1 + np.exp(-exact))
    assert outputs.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64), sigmoid + exact * sigmoid * (1 - sigmoid), atol=tolerance
    )
    np.testing.assert_array_equal(outputs, keras.activations.silu(x))


@pytest.mark.parametrize("ours, keras_name", [(tanh_sigmoid, "sigmoid"), (tanh_swish, "silu")])
def test_by_tanh_is_the_same(ours, keras_name):
    x = tf.constant(np.linspace(-8, 8, 20001), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        mine, theirs = ours(x), getattr(keras.activations, keras_name)(x)
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(mine, x), tape.gradient(theirs, x), atol=2e-6)
