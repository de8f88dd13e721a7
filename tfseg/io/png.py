"""Arrays -> PNG files."""

from pathlib import Path

import cv2
import numpy as np

from tfseg.io.atomic import write_bytes


def encode_png(pixels: np.ndarray) -> bytes:
    """Makes a PNG of (H, W) or RGB (H, W, 3), uint8; by OpenCV, in a tenth of Pillow's time and a few more bytes."""
    return cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., ::-1])[1].tobytes()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG as of `encode_png`; the file appears, or replaces an older one, only when it is whole.

    Raises:
        OSError: the disk does not take it.
    """
    write_bytes(encode_png(pixels), path, sync=False)
