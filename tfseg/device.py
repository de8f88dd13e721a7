"""Which accelerator, precision and compile mode: decided once, printed once."""

import platform
from typing import NamedTuple


class Choice(NamedTuple):
    """What a run computes on, and how."""

    kind: str  # cpu, cuda or metal
    precision: str  # a Keras dtype policy
    reason: str  # why this precision

    def __str__(self) -> str:
        return f"device: {self.kind}, precision {self.precision} ({self.reason})"


def choose_device(precision: str = "auto") -> Choice:
    """Looks for a GPU, lets its memory grow as needed, and sets Keras' precision.

    Args:
        precision: auto, float32, mixed_bfloat16 or mixed_float16; auto decides by the device.

    Returns:
        What was decided.
    """
    import keras

    gpus = find_gpus()
    kind = "cpu" if not gpus else "metal" if platform.system() == "Darwin" else "cuda"
    automatic, reason = pick_precision(kind, gpus)
    choice = Choice(kind, automatic, reason) if precision == "auto" else Choice(kind, precision, "as configured")
    keras.mixed_precision.set_dtype_policy(choice.precision)
    return choice


def find_gpus() -> list:
    """Lists TensorFlow's GPUs; under another backend, none, since Keras places the work itself."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return gpus


def pick_precision(kind: str, gpus: list) -> tuple[str, str]:
    """Returns a Keras dtype policy and the reason for it."""
    if kind == "cpu":
        return "float32", "half precision is slower on a CPU"
    if kind == "metal":
        return "float32", "the Metal plugin's sigmoid has no half precision kernel"
    import tensorflow as tf

    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16", "the card has bfloat16 tensor cores"
    if capability >= (7, 0):
        return "mixed_float16", "the card has float16 tensor cores"
    return "float32", "the card has no tensor cores"
