"""Whether an error means that memory ran out, whoever raises it."""

import re

_WORDS = re.compile(
    r"out of memory|\bOOM\b|RESOURCE_EXHAUSTED|failed to alloc|ALLOC_FAILED|insufficient memory|bad_alloc", re.I
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether Python, NumPy, OpenCV or TensorFlow had no memory left, on this machine or on its GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    return of_library(error) and bool(_WORDS.search(str(error)))


def of_library(error: BaseException) -> bool:
    """Tells whether OpenCV or TensorFlow raised an error of its own, which says nothing of the file in work."""
    return type(error).__module__.split(".")[0] in ("cv2", "tensorflow")
