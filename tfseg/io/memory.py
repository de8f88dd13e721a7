"""Whether an error means that memory ran out, whoever raises it."""

import errno
import re

from tfseg.io.limits import find_full_disk

# Words in which frameworks say that memory is not enough, in errors of no kind of their own.
_WORDS = re.compile(
    r"out of memory|\bOOM\b|RESOURCE_EXHAUSTED|(failed|unable) to alloc|(cannot|can't) allocate memory"
    r"|(not enough|insufficient) memory|failed to map segment|ALLOC_FAILED|bad_alloc|Dst tensor is not initialized",
    re.IGNORECASE,
)


def find_want_of_memory(error: BaseException | None) -> BaseException | None:
    """Finds the error that says that memory was not enough, be it this one or one that it comes of; None: no such."""
    while error is not None:
        named = {kind.__name__ for kind in type(error).__mro__}
        foreign = not isinstance(error, ValueError | OSError | ModuleNotFoundError)
        if named & {"MemoryError", "OutOfMemoryError"} or getattr(error, "errno", None) == errno.ENOMEM:
            return error
        text = str(error)
        # Of a message that is too large for gRPC, the same kind of error is raised.
        exhausted = "ResourceExhaustedError" in named or _WORDS.search(text)
        if foreign and exhausted and "message larger than" not in text and not find_full_disk(error):
            return error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def of_library(error: BaseException) -> bool:
    """Whether OpenCV or TensorFlow raised an error of its own, which says nothing of the file in work."""
    return type(error).__module__.split(".")[0] in ("cv2", "tensorflow")
