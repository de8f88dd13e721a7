"""Which runtime computes a model: the one that is asked for, or the first whose file and package are there.

Nothing but that one is imported.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.io import command


class Runtime(NamedTuple):
    """What computes a model."""

    title: str
    file: str  # of an export, that it reads
    package: str  # that is imported
    install: str


_LITERT = ("ai_edge_litert", "pip install 'tf-segmentation[litert]'")

# By the name that --runtime takes, in the order in which they are chosen. Their masks are the SavedModel's on at least
# 99.99 % of pixels, but for those of the last four, which are chosen only by name.
RUNTIMES = {
    "tensorflow": Runtime("TensorFlow", "saved_model.pb", "tensorflow", "pip install 'tf-segmentation[cpu]'"),
    "onnxruntime": Runtime("ONNX Runtime", "model.onnx", "onnxruntime", "pip install 'tf-segmentation[onnxruntime]'"),
    "openvino": Runtime("OpenVINO", "model.xml", "openvino", "pip install 'tf-segmentation[openvino]'"),
    "litert": Runtime("LiteRT", "model_float32.tflite", *_LITERT),
    "litert_float16": Runtime("LiteRT, float16", "model_float16.tflite", *_LITERT),
    "litert_int8": Runtime("LiteRT, int8", "model_int8.tflite", *_LITERT),
    "litert_mixed": Runtime("LiteRT, int8 and float16", "model_mixed.tflite", *_LITERT),
    "litert_weight_only": Runtime("LiteRT, weights in int8", "model_int8_weights.tflite", *_LITERT),
}
ONLY_BY_NAME = ("litert_float16", "litert_int8", "litert_mixed", "litert_weight_only")
FILES = tuple(runtime.file for runtime in RUNTIMES.values())


class Network:
    """A network in a file, as a runtime computes it."""

    classes: int | None = None
    """How many it distinguishes; None where the file does not say."""
    size: tuple[int, int] | None = None
    """(height, width) of all images that it takes; None: any."""

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 images (B, h, w, channels) as they are -> float32 probabilities (B, h, w, classes)."""
        raise NotImplementedError


def choose_runtime(directory: Path, wanted: str | None = None) -> str:
    """Chooses what computes a model.

    Args:
        directory: its folder.
        wanted: a name of `RUNTIMES`; None: the first whose file and package are there, or else the first whose file is.

    Raises:
        FileNotFoundError: the folder does not hold what it reads.
        ValueError: there is no such runtime, or its package is not installed.
    """
    there = find_runtimes(directory)
    if wanted is None:
        free = [name for name in there if name not in ONLY_BY_NAME]
        if not there:
            raise FileNotFoundError(f"{directory / FILES[0]} is missing, and so are {', '.join(FILES[1:])}")
        if not free:
            names = " or ".join(f"--runtime {name}" for name in there)
            raise ValueError(
                f"{directory} holds {RUNTIMES[there[0]].file}, which is not as exact; ask for it by {names}"
            )
        return next((name for name in free if is_installed(name)), free[0])
    if wanted not in RUNTIMES:
        raise ValueError(f"runtime: expected one of {', '.join(RUNTIMES)}, got {wanted!r}")
    if wanted not in there:
        has = f"; the folder has what runs by {', '.join(there)}" if there else ""
        raise FileNotFoundError(
            f"{directory / RUNTIMES[wanted].file} is missing, which {RUNTIMES[wanted].title} reads{has}; "
            f"{command.program('export')} --formats {format_of(wanted)} writes it"
        )
    if not is_installed(wanted):
        raise ValueError(f"{RUNTIMES[wanted].title} is not installed; {RUNTIMES[wanted].install}")
    return wanted


def find_runtimes(directory: Path) -> list[str]:
    """Lists the runtimes whose file a folder holds, in the order of `RUNTIMES`."""
    return [name for name, runtime in RUNTIMES.items() if (directory / runtime.file).is_file()]


def is_installed(name: str) -> bool:
    """Whether a runtime's package is there; LiteRT's own one, or TensorFlow, which holds an interpreter, too."""
    packages = (RUNTIMES[name].package, *(["tensorflow"] if name.startswith("litert") else []))
    return any(importlib.util.find_spec(package) is not None for package in packages)


def format_of(name: str) -> str:
    """The format of tfseg export that writes a runtime's file."""
    formats = {"tensorflow": "saved_model", "onnxruntime": "onnx", "openvino": "openvino"}
    formats |= {"litert_mixed": "mixed", "litert_weight_only": "weight_only"}
    return formats.get(name, "litert")


def check_images(images: np.ndarray, channels: int) -> None:
    """Raises ValueError unless images are uint8 (B, H, W, channels), with at least one pixel."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != channels or images.size == 0:
        expected = f"uint8 (batch, height, width, {channels})"
        raise ValueError(f"expected images as {expected}, got {images.dtype} {images.shape}")


def check_channels(path: Path, shape: Sequence, channels: int) -> None:
    """Raises ValueError unless a file takes images of so many channels; `shape`: of its input."""
    if len(shape) != 4 or shape[3] != channels:
        raise ValueError(
            f"{path}: expected to take images (batch, height, width, {channels}), as labels.json says, but its "
            f"input is {tuple(shape)}; was it written by tfseg export?"
        )
