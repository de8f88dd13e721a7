"""ONNX Runtime, for an .onnx file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tfseg.inference.runtimes.choice import Network, check_channels
from tfseg.io.cores import count_cores


class OnnxRuntime(Network):
    """An .onnx file as `choice.Network`."""

    def __init__(self, path: Path, channels: int = 3):
        """Loads it; raises ValueError if it is damaged, or takes and gives other things than an export."""
        import onnxruntime  # pyright: ignore[reportMissingImports]  an extra

        options = onnxruntime.SessionOptions()
        # By itself it takes all cores of the machine, and binds its threads to them, whatever the process is bound to.
        options.intra_op_num_threads = count_cores()
        # Else its threads go on turning for a while after each image, and slow down what runs beside it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the many kinds of its own, all of which are plain RuntimeErrors or less
            raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from None
        inputs, outputs = session.get_inputs(), {output.name: output for output in session.get_outputs()}
        if [value.name for value in inputs] != ["images"] or "probabilities" not in outputs:
            raise ValueError(
                f"{path}: expected images as its input, and probabilities; was it written by tfseg export?"
            )
        check_channels(path, inputs[0].shape, channels)
        self._session, self.classes = session, outputs["probabilities"].shape[-1]
        self._pool = ThreadPoolExecutor(count_cores(), "onnxruntime")

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> float32 (B, H, W, classes), in 0..1.

        Each core has an image of its own, which takes less time, and less memory, than all of them for each layer.
        """
        found = self._pool.map(self._run, np.split(images, len(images))) if len(images) > 1 else [self._run(images)]
        return np.concatenate([*found])

    def _run(self, images: np.ndarray) -> np.ndarray:
        return self._session.run(["probabilities"], {"images": images})[0]
