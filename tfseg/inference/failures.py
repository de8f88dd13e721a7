"""Why an image could not be predicted, in one line."""

import errno
from collections.abc import Sequence
from pathlib import Path

from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.smoothing import SmoothSegmenter
from tfseg.io.escaping import printable
from tfseg.io.memory import find_want_of_memory, of_library


def describe_failure(
    error: Exception, path: Path, shape: Sequence[int], segment: ImageSegmenter | SmoothSegmenter
) -> str:
    """Words why an image could not be predicted.

    Args:
        error: what was raised.
        path: the image's.
        shape: of the image, height and width first.
        segment: the way of the image through the model.

    Raises:
        Exception: the error, if it is a mistake of the program, or one that the next image would meet as well.
    """
    if find_want_of_memory(error):
        window = segment.inference.sliding_window
        remedy = f"a smaller --sliding-window than {describe_size(window)}" if window else "--sliding-window 512x512"
        seen = describe_size(segment.sizes[-1] if segment.sizes else shape)
        fault = f"{printable(path)} takes more memory than there is, seen at {seen}"
        return f"{fault}; give {remedy}, or a smaller --input-size"
    if of_library(error):
        return f"{printable(path)} cannot be predicted: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{printable(path)}: its results cannot be written: {error}"
    raise error


def describe_size(shape: Sequence[int]) -> str:
    """Writes (480, 640, ...) as 480x640."""
    return f"{shape[0]}x{shape[1]}"
