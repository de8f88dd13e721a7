"""Which accelerator, precision and compile mode: decided once, printed once.

The facts on Metal are those of tensorflow-metal 1.2.0: which kernels it registers, and for which types.
"""

import importlib
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tfseg.training.distribution import Distribution, distribute


class Choice(NamedTuple):
    """What a run computes on, and how."""

    kind: str  # cpu, cuda, metal, or on PyTorch mps
    precision: str  # a Keras dtype policy
    xla: bool | str  # `jit_compile` of Keras: "auto" leaves it to the backend
    network: dict[str, bool]  # how the network computes the same: arguments `tanh` and `cpu` of `network.build_network`
    batches: dict[str, bool]  # how batches get there: arguments `signed` and `ahead` of `pipeline.to_device`
    reasons: dict[str, str]  # each choice in words, and why
    distribution: Distribution = Distribution()  # who shares each batch

    def __str__(self) -> str:
        return "device: " + "; ".join(f"{choice} ({reason})" for choice, reason in self.reasons.items())


def choose_device(
    kind: str = "auto", precision: str = "auto", prefetch: bool = True, distribution: str = "none"
) -> Choice:
    """Looks for a GPU, lets its memory grow as needed, and sets Keras' precision.

    To be called before TensorFlow computes anything: after that it can hide no device.

    Args:
        kind: auto, cpu, cuda or metal; auto takes the GPU that there is.
        precision: auto, float32, mixed_bfloat16 or mixed_float16; auto decides by the device.
        prefetch: whether TensorFlow sends each batch to its GPU before its step begins.
        distribution: none; mirrored: all devices of that kind; or multiworker: those of all machines in TF_CONFIG.

    Returns:
        What was decided.

    Raises:
        ValueError: there is no such device, Keras runs on a backend that cannot train, or not on several devices, or
            TF_CONFIG does not say who the workers are.
    """
    import keras

    from tfseg.backend import settle

    settle()
    backend = keras.backend.backend()
    if distribution != "none" and backend != "tensorflow":
        raise ValueError(f"device.distribution: expected none on {backend}, got {distribution}; or train on tensorflow")
    if backend == "tensorflow":
        gpus = find_gpus()
        kind, kind_reason = pick_kind(kind, len(gpus))
        automatic, precision_reason = pick_precision(kind, gpus)
        xla, xla_reason = pick_xla(kind)
        if gpus:
            use_gpus(gpus if kind != "cpu" else [])
    else:
        use_gpus([])  # TensorFlow only reads the data
        kind, kind_reason = place_elsewhere(backend, kind)
        automatic, precision_reason = "float32", f"the default on {backend}"
        xla, xla_reason = (False, "operation by operation") if backend == "torch" else ("auto", f"as {backend} does")
    if precision != "auto":
        automatic, precision_reason = precision, "as configured"
    keras.mixed_precision.set_dtype_policy(automatic)
    network = {
        "tanh": kind == "metal" and automatic != "float32",
        "cpu": kind == "cpu" and backend == "tensorflow",
    }
    on_gpu = kind != "cpu" and backend == "tensorflow"
    batches = {"signed": kind == "metal" and on_gpu, "ahead": prefetch and on_gpu and distribution == "none"}
    shared = distribute(kind, distribution)
    reasons = {
        kind: kind_reason,
        automatic: precision_reason,
        {True: "XLA", False: "no XLA", "auto": "compiled"}[xla]: xla_reason,
        **explain(backend, on_gpu, **network, **batches),
    }
    if distribution != "none":
        reasons[str(shared)] = (
            "each takes its part of a batch" if shared.replicas > 1 else "there is only one, nothing is shared out"
        )
    return Choice(kind, automatic, xla, network, batches, reasons, shared)


def count_cores() -> int:
    """How many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(threads)) if threads.isdigit() and int(threads) else cores


def read_memory() -> int | None:
    """Bytes of memory that this machine has, or its container may use; None: the system does not say."""
    sizes = read_memory_sizes()
    return sizes.get("limit", sizes.get("total"))


def read_memory_sizes() -> dict[str, int]:
    """Bytes of memory by name, as far as the system says: total, available, and the container's limit if less."""
    sizes = {}
    with suppress(ValueError, OSError, AttributeError):  # Windows has no sysconf
        sizes["total"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(ValueError, OSError, KeyError):
        rows = dict(row.split(":", 1) for row in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        sizes["available"] = int(rows["MemAvailable"].split()[0]) * 1024
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(ValueError, OSError):  # "max"
            limit = int(Path(path).read_text(encoding="ascii"))
            if 0 < limit < min(sizes.get(name, limit + 1) for name in ("total", "limit")):
                sizes["limit"] = limit
    return sizes


def read_versions() -> dict[str, str]:
    """Versions of Python, tfseg, Keras and TensorFlow, and of Keras' backend if that is another."""
    import keras

    packages = dict.fromkeys(("tfseg", "keras", "tensorflow", keras.backend.backend()))  # each once
    versions = {name: importlib.import_module(name).__version__ for name in packages}
    return {"python": platform.python_version(), **versions}


def explain(backend: str, on_gpu: bool, tanh: bool, cpu: bool, signed: bool, ahead: bool) -> dict[str, str]:
    """Returns what follows from the device: each choice in words, and the reason for it."""
    reasons = {}
    if on_gpu:
        reasons["memory as needed"] = "TensorFlow would take all of the GPU's at once"
    if ahead:
        reasons["the next batch sent ahead"] = "so that no step waits for it"
    if signed:
        reasons["bytes as int8"] = "Metal has nothing that takes uint8"
    reasons["nearest upsampling"] = "within its convolution, four ninths of the work"
    if backend == "tensorflow":
        reasons["fused batch normalisation and Adam"] = "Keras makes a dozen and thirty operations of one"
    else:
        reasons["batch normalisation and Adam of Keras"] = f"there are no fused ones on {backend}"
    if tanh:
        reasons["sigmoids by tanh"] = "Metal's sigmoid is for float32 alone"
    if cpu:
        reasons["convolutions in pieces and as products"] = "faster on a CPU"
    return reasons


def place_elsewhere(backend: str, wanted: str) -> tuple[str, str]:
    """Returns the kind of device on which PyTorch or JAX computes, and the reason for it."""
    from keras import ops

    if backend not in ("torch", "jax"):
        raise ValueError(f"KERAS_BACKEND: expected tensorflow, torch or jax, got {backend}")
    device = ops.zeros(()).device  # where Keras puts what it makes
    there = device.type if backend == "torch" else device.platform
    there = "cuda" if there == "gpu" else there
    if wanted in ("auto", there):
        return there, f"chosen by {backend}"
    setting = "KERAS_TORCH_DEVICE" if backend == "torch" else "JAX_PLATFORMS"
    raise ValueError(
        f"device.kind: {wanted} is not what {backend} computes on, which is {there}; "
        f"set it to auto, and the environment variable {setting} to the device"
    )


def can_sort(kind: str) -> bool:
    """Whether a device sorts millions of numbers right: Metal's kernel did not beyond 16, see tensorflow#57204."""
    return kind != "metal"


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
        "cuda": "see nvidia-smi, and install with pip install 'tf-segmentation[cuda]'",
        "metal": "tensorflow-metal comes with tfseg on Apple Silicon with Python 3.11 or 3.12",
    }
    raise ValueError(f"device.kind: {wanted} is not to be had, {count}; {remedy[wanted]}, or set it to auto")


def pick_precision(kind: str, gpus: list) -> tuple[str, str]:
    """Returns a Keras dtype policy and the reason for it."""
    if kind == "cpu":
        return "float32", "bfloat16 is faster on some CPUs, see tfseg.doctor"
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
