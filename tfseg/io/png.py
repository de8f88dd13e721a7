"""Arrays -> PNG files."""

from pathlib import Path

import cv2
import numpy as np

from tfseg.io.atomic import write_bytes


def encode_png(pixels: np.ndarray) -> bytes:
    """Makes a PNG of (H, W), or (H, W, channels) of grey, RGB or RGBA, uint8.

    By OpenCV, in a tenth of Pillow's time and a few more bytes.
    """
    if pixels.ndim == 3:
        pixels = pixels[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]]
    return cv2.imencode(".png", pixels)[1].tobytes()


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes a PNG as of `encode_png`; the file appears, or replaces an older one, only when it is whole.

    Raises:
        OSError: the disk does not take it.
    """
    write_bytes(encode_png(pixels), path, sync=False)
