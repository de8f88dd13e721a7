"""LiteRT, for a .tflite file: one image at a time, all of one size."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfseg.inference.runtimes.choice import Network, check_channels
from tfseg.io.cores import count_cores


@contextmanager
def without_deprecation() -> Iterator[None]:
    """Hides TensorFlow's advice to take another package than its own interpreter, with which it still comes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s)\s*Warning:.*LiteRT interpreter")
        yield


def make_interpreter(content: bytes, own_kernels: bool = False):
    """Makes an interpreter of a file, on all cores; `own_kernels`: without XNNPACK, whose numbers are not those of all.

    Raises:
        ValueError, RuntimeError: the content is none.
    """
    try:  # the runtime that is kept up; the XNNPACK in TensorFlow 2.21 gets some int8 convolutions wrong
        from ai_edge_litert import interpreter as package  # pyright: ignore[reportMissingImports]  an extra
    except ImportError:
        from tensorflow.lite.python import interpreter as package
    kinds = package.OpResolverType
    kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if own_kernels else kinds.AUTO
    with without_deprecation():
        return package.Interpreter(model_content=content, num_threads=count_cores(), experimental_op_resolver_type=kind)


class LiteRT(Network):
    """A .tflite file as `choice.Network`."""

    def __init__(self, path: Path, channels: int = 3, content: bytes | None = None):
        """Loads it, or `content`; raises ValueError if that is damaged, or takes and gives what no export does."""
        try:
            self.interpreter = make_interpreter(content or path.read_bytes())
            self.run = self.interpreter.get_signature_runner()
            takes, gives = self.run.get_input_details()["images"], self.run.get_output_details()
            self.output = "logits" if "logits" in gives else "probabilities"
            gives = gives[self.output]
        except (ValueError, RuntimeError, KeyError) as error:
            raise ValueError(f"{path} is damaged, or no export: {' '.join(str(error).split())}") from None
        shape = [int(side) for side in takes["shape"]]
        check_channels(path, shape, channels)
        self._sides = self.size = (shape[1], shape[2])
        self.classes = int(gives["shape"][-1])
        self.scale, self.zero_point = gives["quantization"]  # 0 and 0 of floats
        self.name, self._lock = path.name, threading.Lock()

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) of the file's own size -> float32 (B, H, W, classes), in 0..1."""
        if images.shape[1:3] != self.size:
            wanted = "x".join(map(str, self._sides))
            raise ValueError(
                f"{self.name} takes images of {wanted} alone, got {'x'.join(map(str, images.shape[1:3]))}; give "
                f"--input-size {wanted}, or --sliding-window {wanted}"
            )
        with self._lock:
            found = [self.run(images=image[np.newaxis])[self.output].copy() for image in images]
        answer = np.float32(self.scale or 1) * (np.concatenate(found) - np.float32(self.zero_point))
        return answer if self.output == "probabilities" else softmax(answer)


def softmax(logits: np.ndarray) -> np.ndarray:
    """float32 (..., C) -> probabilities (..., C)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
