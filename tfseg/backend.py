"""Keras as tfseg needs it, and what differs by its backend.

Whoever imports Keras imports this module too, so that Keras' defaults are settled before any layer is made: Keras takes
them from ~/.keras/keras.json, which another project may have written. Its backend is honoured, or the environment
variable KERAS_BACKEND; the rest would make other networks, or none.
"""

import contextlib
import functools
import importlib.metadata
import platform
import sys
import threading

import keras
import numpy as np
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
elif keras.backend.backend() == "torch":
    import torch  # pyright: ignore[reportMissingImports]  # one backend is installed, not all
elif keras.backend.backend() == "jax":
    import jax  # pyright: ignore[reportMissingImports]  # as above
elif keras.backend.backend() == "mlx":
    import mlx.core as mx  # pyright: ignore[reportMissingImports]  # as above


COUNTING = threading.Lock()  # tf.data calls from several threads


def settle() -> None:
    """Sets the order of axes, the type of numbers and the smallest of them to what Keras has without that file."""
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    if keras.config.floatx() != "float32":
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")  # which may have been made of it; `device` chooses that of a training


settle()


def as_floats(image):
    """Returns pixels of 0..255 in float32, of any type; bytes may be signed, since Metal has no kernel for others.

    Args:
        image: floats, uint8, or int8 with the same eight bits, so that -1 stands for 255.
    """
    floats = ops.cast(image, "float32")
    if keras.backend.standardize_dtype(image.dtype) == "int8":
        floats = ops.where(floats < 0, floats + 256, floats)
    return floats


def as_ids(mask):
    """Returns class ids in int32, of integers of any type; as of `as_floats`, int8 are bytes: -1 stands for 255."""
    signed = keras.backend.standardize_dtype(mask.dtype) == "int8"
    return ops.cast(as_floats(mask) if signed else mask, "int32")


def one_hot(ids, num_classes: int):
    """As `keras.ops.one_hot`, in float32; all zero where an id is that of no class, on PyTorch too."""
    if keras.backend.backend() == "torch":
        ids = ops.where(ids < num_classes, ids, -1)
    return ops.one_hot(ids, num_classes, dtype="float32")


def is_at_hand(x) -> bool:
    """Whether the numbers of a tensor are there to be looked at, as they are not while a step is traced or compiled."""
    if isinstance(x, np.ndarray):
        return True
    if keras.backend.backend() == "tensorflow":
        return isinstance(x, tf.__internal__.EagerTensor)
    if keras.backend.backend() == "torch":
        return type(x) is torch.Tensor and x.device.type != "meta" and not torch.compiler.is_compiling()
    if keras.backend.backend() == "mlx":
        return isinstance(x, mx.array) and _is_evaluated(x)
    return isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)


def _is_evaluated(x) -> bool:
    """Whether MLX can compute a tensor now; it says no more of one that is traced."""
    try:
        mx.eval(x)
    except (ValueError, RuntimeError):  # "Attempting to eval an array during function transformations"
        return False
    return True


def check_gradients() -> None:
    """Raises ValueError if the backend gives wrong ones in silence, as the MLX that keras-mlx 0.0.1 installs."""
    if keras.backend.backend() == "mlx" and tuple(map(int, mx.__version__.split(".")[:3])) < (0, 32, 4):
        raise ValueError(
            f"KERAS_BACKEND mlx: MLX {mx.__version__} gives wrong gradients of convolutions with strides, see "
            "https://github.com/ml-explore/mlx/pull/3800; pip install --no-deps 'mlx>=0.32.4' and, of the same "
            "version, mlx-metal, on Linux mlx-cpu"
        )


def find_metal_plugin() -> str:
    """Names the package by which TensorFlow has Apple's GPU, tensorflow-metal or the open one; empty: neither."""
    for name in ("tensorflow-metal-plugin", "tensorflow-metal"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            return name
    return ""


def check_metal_precision(kind: str, precision: str) -> None:
    """Raises ValueError if TensorFlow's plugin for Apple's GPU lacks a precision: all layers would leave the GPU."""
    if (kind, precision) == ("metal", "mixed_bfloat16") and find_metal_plugin() == "tensorflow-metal-plugin":
        raise ValueError(
            "accelerator.precision: tensorflow-metal-plugin has no kernel for mixed_bfloat16, so every layer would run "
            "on the processor; take auto or float32, or tensorflow-metal, see tfseg doctor"
        )


def find_place() -> str:
    """Names the device where PyTorch, JAX or MLX puts what Keras makes: cpu, cuda, mps or gpu, see `device.Choice`."""
    if keras.backend.backend() == "mlx":
        return mx.default_device().type.name
    device = ops.zeros(()).device
    if keras.backend.backend() == "torch":
        return device.type
    return "cuda" if device.platform == "gpu" else device.platform


def keep_channels_first() -> None:
    """Undoes, for this process, that Keras on PyTorch lays out with channels last what its convolutions take.

    On Apple's GPU their gradients took 30 times as long in that layout (https://github.com/pytorch/pytorch/issues/193349)
    until PyTorch's change of August 2026, and Keras makes no exception of it. Keras before 3.14 does nothing that would
    have to be undone.
    """
    from keras.src.backend.torch import nn  # no public name leads there

    if hasattr(nn, "_maybe_convert_to_channels_last"):
        nn._maybe_convert_to_channels_last = torch.Tensor.contiguous


def sync_state(model: keras.Model) -> None:
    """Gives a model's variables their values, which they have not within an epoch of `fit` on JAX and MLX."""
    for name in ("jax_state_sync", "mlx_state_sync"):
        getattr(model, name, lambda: None)()


def check_pixels(image) -> None:
    """Raises ValueError if an image that is at hand holds floats of 0..1, or -1..1, where 0..255 is wanted.

    Whole numbers alone, such as those of a black image, pass; bytes are not looked at.
    """
    if not is_at_hand(image) or "float" not in keras.backend.standardize_dtype(image.dtype):
        return
    pixels = ops.convert_to_numpy(image)
    if pixels.size and np.abs(pixels).max() <= 1 and (pixels % 1).any():
        low, high = pixels.min(), pixels.max()
        raise ValueError(
            f"image: expected pixels in 0..255, got {low:.3g} to {high:.3g}; multiply those of 0..1 by 255"
        )


def check_ids(ids, num_classes: int, name: str, ignore: int | None = None) -> None:
    """Raises ValueError if class ids that are at hand are no whole numbers in 0..num_classes-1.

    Args:
        ids: integers, or floats that are whole numbers; int8 as `as_ids` takes them.
        num_classes: how many there are.
        name: what they are called.
        ignore: a value beside them that is allowed.
    """
    if not is_at_hand(ids):
        return
    ids = ops.convert_to_numpy(ids)
    ids = ids.view(np.uint8) if ids.dtype == np.int8 else ids
    wrong = (ids < 0) | (ids >= num_classes) | (ids % 1 != 0)
    if ignore is not None:
        wrong &= ids != ignore
    if wrong.any():
        raise ValueError(
            f"{name}: expected class ids in 0..{num_classes - 1}, got {ids[wrong].flat[0]} ({wrong.sum():,} of "
            f"{ids.size:,} pixels are none)"
        )


def count_replicas() -> int:
    """On how many devices the same step is computed, each on its part of the batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync if keras.backend.backend() == "tensorflow" else 1


def find_replica():
    """The number of the device that computes, from 0 on."""
    context = tf.distribute.get_replica_context() if count_replicas() > 1 else None
    return context.replica_id_in_sync_group if context else 0


def sum_over_replicas(x):
    """Sums a tensor, or each of a list, over all devices; its gradient is the sum of all devices' gradients."""
    context = tf.distribute.get_replica_context() if count_replicas() > 1 else None
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x) if context else x


def mean_over_replicas(x):
    """The mean over all devices, as `sum_over_replicas`."""
    return sum_over_replicas(x) / count_replicas() if count_replicas() > 1 else x


def is_in_graph(x) -> bool:
    """Whether a tensor is one of a TensorFlow graph that is traced, such as that of `tf.data.Dataset.map`."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and tensorflow.is_tensor(x) and not hasattr(x, "numpy")


def call_from_graph(function, tensors: list, dtypes: list[str]) -> list:
    """Lets a TensorFlow graph call a function of NumPy arrays, which may compute on any backend.

    Args:
        function: arrays -> as many arrays of the same shapes.
        tensors: of the graph.
        dtypes: of what it returns.

    Returns:
        Tensors of the graph, whose shapes are known as far as those of the arguments are.

    Raises:
        ValueError: Keras computes by MLX, of which a thread that did not make its streams has none.
    """
    if keras.backend.backend() == "mlx":
        raise ValueError("MLX computes in one thread, and tf.data calls from others; augment batches within the model")
    import tensorflow as tf

    results = tf.numpy_function(function, tensors, [tf.as_dtype(dtype) for dtype in dtypes])
    for result, tensor in zip(results, tensors, strict=True):
        result.set_shape(tensor.shape)
    return results


def count_up(counter):
    """Adds 1 to an int32 variable and returns what it was: a number of its own for each parallel call of tf.data."""
    if keras.backend.backend() == "tensorflow" and _is_in_dataset():
        return tf.raw_ops.ResourceCountUpTo(resource=counter.value.handle, limit=2**31 - 1, T=tf.int32)
    # Devices that count together wait for each other, and so may not wait for a lock.
    with contextlib.nullcontext() if count_replicas() > 1 else COUNTING:
        before = counter + 0  # a copy
        counter.assign(before + 1)
    return before


def _is_in_dataset() -> bool:
    """Whether TensorFlow traces a function of tf.data, whose calls may run at the same time."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if getattr(graph, "name", "").startswith("Dataset_"):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def reaches_counters() -> bool:
    """Whether a step that XLA compiles may count: TensorFlow keeps int32 variables beside a GPU, where XLA has none."""
    return keras.backend.backend() != "tensorflow" or not tf.config.list_physical_devices("GPU")


def compile_step(train_step, strategy, jit_compile):
    """Makes of a Keras model's train step on TensorFlow the compiled step of all replicas.

    Args:
        train_step: batch -> logs, the same ones on each replica.
        strategy: tf.distribute.Strategy.
        jit_compile: whether by XLA.

    Returns:
        batch, or batch of each replica -> logs.
    """

    @functools.partial(tf.function, autograph=False, reduce_retracing=True, jit_compile=jit_compile)
    def step(batch):
        logs = strategy.run(train_step, args=(batch,))
        return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

    return step


def gather(rows, places):
    """Returns the rows at places, whole numbers from 0 on, of any shape; as `keras.ops.take` along axis 0.

    Keras looks for negative places, with operations on whole numbers that Metal has no kernel for.
    """
    return tf.gather(rows, places) if keras.backend.backend() == "tensorflow" else ops.take(rows, places, axis=0)


@functools.cache
def jit(function):
    """Returns a function of tensors compiled on its own by XLA where that is known to work, else itself.

    On a CPU, XLA makes short work of chains over pixels, but takes four times as long for a network.
    """
    if keras.backend.backend() == "tensorflow" and platform.system() == "Linux":
        return tf.function(function, jit_compile=True, autograph=False)
    return function
