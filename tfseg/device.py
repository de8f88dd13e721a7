"""Which accelerator, precision and compile mode: decided once, printed once.

The facts on Metal are those of tensorflow-metal 1.2.0: which kernels it registers, and for which types.
"""

import importlib
import json
import os
import platform
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    import tensorflow as tf


# Other backends of Keras, and how each is made to compute on another device.
PLACED_BY = {
    "torch": ", and the environment variable KERAS_TORCH_DEVICE to the device",
    "jax": ", and the environment variable JAX_PLATFORMS to the device",
    "mlx": "; MLX takes the GPU where it finds one",
}
APPLE_GPUS = ("mps", "gpu")  # as others than TensorFlow name it


class Cluster(NamedTuple):
    """The processes that train as one."""

    addresses: list[str]  # host:port of each
    index: int  # of this one


class NetworkOptions(TypedDict):
    """How a network computes the same numbers; see `segmenter.build_network`."""

    tanh: bool
    cpu: bool
    fused: bool


class BatchOptions(TypedDict):
    """How batches get to the device; see `pipeline.to_device`."""

    signed: bool
    ahead: bool


class Choice(NamedTuple):
    """What a run computes on, and how."""

    kind: str  # cpu, cuda, metal; or Apple's GPU as another backend names it: mps on PyTorch and JAX, gpu on MLX
    precision: str  # a Keras dtype policy
    xla: bool | str  # `jit_compile` of Keras: "auto" leaves it to the backend
    network: NetworkOptions
    batches: BatchOptions
    reasons: dict[str, str]  # each choice in words, and why
    fused: bool = True  # whether optimizer and train step are ours; else they are those of Keras
    strategy: "tf.distribute.Strategy | None" = None  # by which several devices share each batch
    cluster: Cluster | None = None  # the processes that do, if they are several

    @property
    def replicas(self) -> int:
        """Devices that share each batch."""
        return self.strategy.num_replicas_in_sync if self.strategy is not None else 1

    def scope(self) -> AbstractContextManager:
        """Within which a network to train is built and compiled."""
        return self.strategy.scope() if self.strategy is not None else nullcontext()

    def __str__(self) -> str:
        return "device: " + "; ".join(f"{choice} ({reason})" for choice, reason in self.reasons.items())


def choose_device(
    kind: str = "auto", precision: str = "auto", prefetch: bool = True, strategy: str = "none", fused: bool = True
) -> Choice:
    """Looks for a GPU, lets its memory grow as needed, and sets Keras' precision.

    To be called before TensorFlow computes anything: after that it can hide no device.

    Args:
        kind: auto, cpu, cuda or metal; auto takes the GPU that there is.
        precision: auto, float32, mixed_bfloat16 or mixed_float16; auto decides by the device.
        prefetch: whether TensorFlow sends each batch to its GPU before its step begins.
        strategy: none; mirrored: all devices of that kind; or multiworker: those of all machines in TF_CONFIG.
        fused: whether layers, optimizer and train step may be ours; else they are those of Keras.

    Returns:
        What was decided.

    Raises:
        ValueError: there is no such device, Keras runs on a backend that cannot train, or not on several devices, or
            TF_CONFIG does not say who the workers are.
    """
    import keras

    from tfseg.backend import check_metal_precision, settle

    settle()
    backend = keras.backend.backend()
    if strategy != "none" and backend != "tensorflow":
        raise ValueError(f"accelerator.strategy: expected none on {backend}, got {strategy}; or train on tensorflow")
    pick = pick_on_tensorflow if backend == "tensorflow" else pick_elsewhere
    (kind, kind_reason), (automatic, precision_reason), (xla, xla_reason) = pick(backend, kind)
    if precision != "auto":
        automatic, precision_reason = precision, "as configured"
    check_metal_precision(kind, automatic)
    keras.mixed_precision.set_dtype_policy(automatic)
    network = make_network_options(backend, kind, automatic, fused)
    on_gpu = kind != "cpu" and backend == "tensorflow"
    batches: BatchOptions = {"signed": kind == "metal" and on_gpu, "ahead": prefetch and on_gpu and strategy == "none"}
    shared, cluster = make_strategy(kind, strategy)
    reasons = {
        kind: kind_reason,
        automatic: precision_reason,
        {True: "XLA", False: "no XLA", "auto": "compiled"}[xla]: xla_reason,
        **explain(backend, on_gpu, **network, **batches),
    }
    choice = Choice(kind, automatic, xla, network, batches, reasons, fused, shared, cluster)
    if strategy != "none":
        alone = "there is only one, nothing is shared out"
        reasons[describe_strategy(choice)] = "each takes its part of a batch" if choice.replicas > 1 else alone
    if choice.replicas > 1 and not fused:
        raise ValueError(
            f"accelerator.fused: expected true with accelerator.strategy {strategy} on {choice.replicas} devices, "
            "since Keras' own train step cannot share out a batch of bytes; got false"
        )
    return choice


def make_network_options(backend: str, kind: str, precision: str, fused: bool) -> NetworkOptions:
    """Decides how a network computes on a kind of device, in a precision."""
    return {
        "tanh": kind == "metal" and precision != "float32",
        "cpu": kind == "cpu" and backend == "tensorflow" and fused,
        "fused": fused,
    }


def find_network_options(fused: bool) -> NetworkOptions:
    """Decides the same for the device and the precision that Keras has as it is; unlike `choose_device`, sets neither.

    Args:
        fused: whether layers may be ours; else they are those of Keras.
    """
    import keras

    backend, precision = keras.backend.backend(), keras.config.dtype_policy().name
    if backend != "tensorflow":
        return make_network_options(backend, place_elsewhere(backend, "auto")[0], precision, fused)
    import tensorflow as tf

    kind, _ = pick_kind("auto", len(tf.config.get_visible_devices("GPU")))
    return make_network_options(backend, kind, precision, fused)


def pick_on_tensorflow(backend: str, wanted: str):
    """Returns device, precision and compile mode on TensorFlow, each with the reason for it; hides what is not used."""
    gpus = find_gpus()
    kind, reason = pick_kind(wanted, len(gpus))
    precision = pick_precision(kind, gpus)
    if gpus:
        use_gpus(gpus if kind != "cpu" else [])
    return (kind, reason), precision, pick_xla(kind)


def pick_elsewhere(backend: str, wanted: str):
    """Returns the same on another backend, where TensorFlow only reads the data."""
    from tfseg.backend import check_gradients

    check_gradients()
    use_gpus([])
    compiled = (False, "operation by operation") if backend == "torch" else ("auto", f"as {backend} does")
    return place_elsewhere(backend, wanted), ("float32", f"the default on {backend}"), compiled


def describe_strategy(choice: Choice) -> str:
    """Which devices share each batch, in words."""
    devices = f"{choice.replicas} device{'s' if choice.replicas > 1 else ''}"
    if choice.cluster:
        return f"worker {choice.cluster.index} of {len(choice.cluster.addresses)}, {devices}"
    return f"mirrored on {devices}"


def make_strategy(kind: str, name: str):
    """Makes the TensorFlow strategy by which all visible devices of a kind share each batch.

    Args:
        kind: of device: cpu, or any other for GPUs.
        name: none, mirrored or multiworker.

    Returns:
        tf.distribute.Strategy and `Cluster`; None for what there is not.

    Raises:
        ValueError: as of `read_cluster`, or this process cannot listen at its address.
    """
    if name == "none":
        return None, None
    import tensorflow as tf

    if name == "multiworker":
        cluster = read_cluster(os.environ.get("TF_CONFIG"))
        try:
            return tf.distribute.MultiWorkerMirroredStrategy(), cluster
        except tf.errors.UnknownError as error:
            address = cluster.addresses[cluster.index]
            raise ValueError(
                f"TF_CONFIG: worker {cluster.index} cannot listen at {address}; "
                "give an address of this machine, and a port that no other process has"
            ) from error
    devices = tf.config.list_logical_devices("CPU" if kind == "cpu" else "GPU")
    if len(devices) == 1:  # a strategy for it alone would only take from what it can do
        return None, None
    return tf.distribute.MirroredStrategy([device.name for device in devices]), None


def read_cluster(text: str | None) -> Cluster:
    """Reads TF_CONFIG, the environment variable by which TensorFlow's processes know each other.

    Raises:
        ValueError: it is missing, no JSON, or does not say who the workers are, or which one this is.
    """
    wanted = (
        'expected {"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}, '
        "the index being each worker's own"
    )
    if not text:
        raise ValueError(f"accelerator.strategy: multiworker needs the environment variable TF_CONFIG: {wanted}")
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        if not set(jobs) <= {"chief", "worker"} or not all(isinstance(job, list) for job in jobs.values()):
            raise ValueError
        tasks = [(job, place) for job in ("chief", "worker") for place in range(len(jobs.get(job, [])))]
        return Cluster([jobs[job][place] for job, place in tasks], tasks.index((task["type"], int(task["index"]))))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"TF_CONFIG: {wanted}; got {text}") from None


def read_port(text: str | None) -> int | None:
    """Reads from TF_CONFIG the port at which this worker will listen; None where `read_cluster` finds a fault."""
    try:
        cluster = read_cluster(text)
        return int(cluster.addresses[cluster.index].rpartition(":")[2])
    except ValueError:
        return None


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
    modules = {name: importlib.import_module("mlx.core" if name == "mlx" else name) for name in packages}
    versions = {name: module.__version__ for name, module in modules.items()}
    return {"python": platform.python_version(), **versions}


def explain(
    backend: str, on_gpu: bool, tanh: bool, cpu: bool, fused: bool, signed: bool, ahead: bool
) -> dict[str, str]:
    """Returns what follows from the device: each choice in words, and the reason for it."""
    reasons = {}
    if on_gpu:
        reasons["memory as needed"] = "TensorFlow would take all of the GPU's at once"
    if ahead:
        reasons["the next batch sent ahead"] = "so that no step waits for it"
    if signed:
        reasons["bytes as int8"] = "Metal has nothing that takes uint8"
    if fused:
        reasons["nearest upsampling"] = "within its convolution, four ninths of the work"
    if not fused:
        reasons["layers, optimizer and train step of Keras"] = "as configured"
    elif backend == "tensorflow":
        reasons["fused batch normalisation and Adam"] = "Keras makes a dozen and thirty operations of one"
    else:
        reasons["batch normalisation and Adam of Keras"] = f"there are no fused ones on {backend}"
    if tanh:
        reasons["sigmoids by tanh"] = "Metal's sigmoid is for float32 alone"
    if cpu:
        reasons["convolutions in pieces and as products"] = "faster on a CPU"
    return reasons


def place_elsewhere(backend: str, wanted: str) -> tuple[str, str]:
    """Returns the kind of device on which PyTorch, JAX or MLX computes, and the reason for it."""
    from tfseg.backend import find_place, keep_channels_first

    if backend not in PLACED_BY:
        raise ValueError(f"KERAS_BACKEND: expected tensorflow, {', '.join(PLACED_BY)}, got {backend}")
    there = find_place()
    if there == "mps" and backend == "torch":
        keep_channels_first()
    if wanted in ("auto", there) or (wanted == "metal" and there in APPLE_GPUS):
        return there, f"chosen by {backend}"
    raise ValueError(
        f"accelerator.kind: {wanted} is not what {backend} computes on, which is {there}; "
        f"set it to auto{PLACED_BY[backend]}"
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
    raise ValueError(f"accelerator.kind: {wanted} is not to be had, {count}; {remedy[wanted]}, or set it to auto")


def pick_precision(kind: str, gpus: list) -> tuple[str, str]:
    """Returns a Keras dtype policy and the reason for it."""
    if kind == "cpu":
        return "float32", "bfloat16 is faster on some CPUs, see tfseg doctor"
    if kind == "metal":
        # bfloat16 saves memory traffic; float16 would need its losses scaled, and Metal has no kernel to check them.
        from tfseg.backend import find_metal_plugin

        if find_metal_plugin() == "tensorflow-metal-plugin":
            return "float32", "tensorflow-metal-plugin has no bfloat16"
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
