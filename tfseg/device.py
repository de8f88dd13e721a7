"""Which accelerator, precision and compile mode: decided once, printed once.

The facts on Metal are those of tensorflow-metal 1.2.0: which kernels it registers, and for which types.
"""

import platform
from typing import NamedTuple


class Choice(NamedTuple):
    """What a run computes on, and how, each with the reason for it."""

    kind: str  # cpu, cuda or metal
    kind_reason: str
    precision: str  # a Keras dtype policy
    precision_reason: str
    xla: bool | str  # `jit_compile` of Keras: "auto" leaves it to the backend
    xla_reason: str
    tanh: bool  # whether sigmoids are computed by tanh, see `fused.fuse`

    def __str__(self) -> str:
        xla = {True: "XLA", False: "no XLA", "auto": "compiled"}[self.xla]
        parts = [
            f"device: {self.kind} ({self.kind_reason})",
            f"{self.precision} ({self.precision_reason})",
            f"{xla} ({self.xla_reason})",
        ]
        return "; ".join(parts + ["sigmoids by tanh (Metal's sigmoid is for float32 alone)"] * self.tanh)


def choose_device(kind: str = "auto", precision: str = "auto") -> Choice:
    """Looks for a GPU, lets its memory grow as needed, and sets Keras' precision.

    To be called before TensorFlow computes anything: after that it can hide no device.

    Args:
        kind: auto, cpu, cuda or metal; auto takes the GPU that there is.
        precision: auto, float32, mixed_bfloat16 or mixed_float16; auto decides by the device.

    Returns:
        What was decided.

    Raises:
        ValueError: there is no such device.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        gpus = find_gpus()
        kind, kind_reason = pick_kind(kind, len(gpus))
        automatic, precision_reason = pick_precision(kind, gpus)
        xla, xla_reason = pick_xla(kind)
        if gpus:
            use_gpus(gpus if kind != "cpu" else [])
    else:
        name = keras.backend.backend()
        kind, kind_reason = "cpu" if kind == "auto" else kind, f"{name} places the work itself"
        automatic, precision_reason = "float32", f"the default on {name}"
        xla, xla_reason = "auto", f"as {name} does"
    if precision != "auto":
        automatic, precision_reason = precision, "as configured"
    keras.mixed_precision.set_dtype_policy(automatic)
    tanh = kind == "metal" and automatic != "float32"
    return Choice(kind, kind_reason, automatic, precision_reason, xla, xla_reason, tanh)


def find_gpus() -> list:
    """Lists TensorFlow's GPUs."""
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


def use_gpus(gpus: list) -> None:
    """Hides all other GPUs, and takes memory as it is needed: by default TensorFlow takes all of it at once."""
    import tensorflow as tf

    tf.config.set_visible_devices(gpus, "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)


def pick_kind(wanted: str, gpus: int) -> tuple[str, str]:
    """Returns the kind of device and the reason for it."""
    there = "cpu" if not gpus else "metal" if platform.system() == "Darwin" else "cuda"
    count = f"{gpus} GPU{'s' if gpus > 1 else ''} seen" if gpus else "no GPU is seen by TensorFlow"
    if wanted in ("auto", there):
        return there, count
    if wanted == "cpu":
        return wanted, f"as configured, {count}"
    remedy = {
        "cuda": "see nvidia-smi, and install with pip install 'tfseg[cuda]'",
        "metal": "tensorflow-metal comes with tfseg on Apple Silicon with Python 3.11 or 3.12",
    }
    raise ValueError(f"device.kind: {wanted} is not to be had, {count}; {remedy[wanted]}, or set it to auto")


def pick_precision(kind: str, gpus: list) -> tuple[str, str]:
    """Returns a Keras dtype policy and the reason for it."""
    if kind == "cpu":
        return "float32", "half precision is slower on a CPU"
    if kind == "metal":
        # bfloat16 saves memory traffic; float16 would need its losses scaled, and Metal has no kernel to check them.
        version = platform.mac_ver()[0]
        if int(version.partition(".")[0] or 0) >= 14:
            return "mixed_bfloat16", f"macOS {version} has it"
        return "float32", f"macOS {version} has no bfloat16, 14 has"
    import tensorflow as tf

    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    if capability >= (8, 0):
        return "mixed_bfloat16", "the card has bfloat16 tensor cores"
    if capability >= (7, 0):
        return "mixed_float16", "the card has float16 tensor cores"
    return "float32", "the card has no tensor cores"


def pick_xla(kind: str) -> tuple[bool, str]:
    """Returns whether the network is compiled by XLA on TensorFlow, and the reason for it."""
    reasons = {
        "cpu": "four times slower for this network on a CPU",
        "metal": "there is none for Metal",
        "cuda": "not measured on CUDA yet",
    }
    return False, reasons[kind]
