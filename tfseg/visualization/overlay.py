"""The colours of classes laid over an image."""

import numpy as np

from tfseg.io.pixel_formats import as_rgb

ROWS = 256  # that are blended at a time, in floats of four times the memory


def blend(image: np.ndarray, class_ids: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """Lays the colours of the classes over an image.

    Args:
        image: (H, W, channels) uint8, of which three are shown, see `as_rgb`.
        class_ids: (H, W) uint8, values 0..C-1.
        colors: (C, 3) uint8.
        alpha: 0 shows the image alone, 1 the colours alone.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: alpha is something else.
    """
    check_alpha(alpha)
    image = as_rgb(image)
    blended = np.empty_like(image)
    for start in range(0, len(image), ROWS):
        rows = slice(start, start + ROWS)
        mixed = (1 - alpha) * image[rows].astype(np.float32) + alpha * colors[class_ids[rows]].astype(np.float32)
        blended[rows] = np.rint(mixed)
    return blended


def check_alpha(alpha: float) -> None:
    """Raises ValueError unless an opacity is one."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected 0 to 1, got {alpha}")
