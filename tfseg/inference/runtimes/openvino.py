"""OpenVINO, for an .xml file and the .bin file of its weights."""

import threading
from pathlib import Path

import numpy as np

from tfseg.inference.runtimes.choice import Network, check_channels


class OpenVino(Network):
    """An .xml file, with the .bin file beside it, as `choice.Network`."""

    def __init__(self, path: Path, channels: int = 3):
        """Loads it; raises ValueError if it is damaged, or takes and gives other things than an export."""
        import openvino  # pyright: ignore[reportMissingImports]  an extra

        try:
            # float32 whatever the processor would rather take, so that masks are those of the other runtimes.
            core = openvino.Core()  # pyright: ignore[reportAttributeAccessIssue]  the package
            model = core.read_model(path, path.with_suffix(".bin"))
            self._model = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            images, probabilities = self._model.input("images"), self._model.output("probabilities")
        except RuntimeError as error:
            raise ValueError(f"{path} is damaged, or no export: {' '.join(str(error).split())}") from None
        shapes = [
            [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
            for port in (images, probabilities)
        ]
        check_channels(path, shapes[0], channels)
        self.classes, self._output = shapes[1][-1], probabilities
        self._request, self._lock = self._model.create_infer_request(), threading.Lock()

    def network(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, channels) -> float32 (B, H, W, classes), in 0..1."""
        with self._lock:  # what comes out lies in the request until its next use
            return self._request.infer({"images": images})[self._output].copy()
