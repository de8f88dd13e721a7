"""ONNX Runtime, for an .onnx file."""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tfseg.inference.runtimes.choice import Network, check_channels
from tfseg.io.cores import count_cores


class OnnxRuntime(Network):
    """An .onnx file as `choice.Network`."""

    def __init__(self, path: Path, channels: int = 3):
        """Loads it; raises ValueError if it is damaged, or takes and gives other things than an export."""
        content, cores = path.read_bytes(), count_cores()
        try:
            session = open_session(content, cores)
        except Exception as error:  # of the many kinds of its own, all of which are plain RuntimeErrors or less
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
        inputs, outputs = session.get_inputs(), {output.name: output for output in session.get_outputs()}
        if [value.name for value in inputs] != ["images"] or "probabilities" not in outputs:
            raise ValueError(
                f"{path}: expected images as its input, and probabilities; was it written by tfseg export?"
            )
        check_channels(path, inputs[0].shape, channels)
        self._session, self.classes = session, outputs["probabilities"].shape[-1]
        # The model for those who have one core each, and until there is one, what it is made of.
        self._alone, self._content = (session, None) if cores == 1 else (None, content)
        self._opening = threading.Lock()
        self._pool = ThreadPoolExecutor(cores, "onnxruntime")

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> float32 (B, H, W, classes), in 0..1.

        Each core has an image of its own, which takes less time, and less memory, than all of them for each layer.
        """
        if len(images) == 1:
            return self._run(self._session, images)
        run = functools.partial(self._run, self._open_alone())
        return np.concatenate([*self._pool.map(run, np.split(images, len(images)))])

    def _open_alone(self):
        """Opens the model once more, for those who have one core each: what threads share, they wait for."""
        with self._opening:
            if self._content is not None:
                self._alone, self._content = open_session(self._content, 1), None
            return self._alone

    def _run(self, session, images: np.ndarray) -> np.ndarray:
        return session.run(["probabilities"], {"images": images})[0]


def open_session(content: bytes, threads: int):
    """Opens the content of an .onnx file for so many threads."""
    import onnxruntime  # pyright: ignore[reportMissingImports]  an extra

    options = onnxruntime.SessionOptions()
    # By itself it takes all cores of the machine, and binds its threads to them, whatever the process is bound to.
    options.intra_op_num_threads = threads
    # Else its threads go on turning for a while after each image, and slow down what runs beside it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else it keeps a plan of its memory for each size of images that it has seen, and memory for all of them.
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
