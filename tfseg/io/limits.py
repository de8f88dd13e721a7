"""Errors that come of limits of the system, with the limit and what to do about it."""

import errno
import os
import re

try:
    import resource
except ImportError:  # Windows
    resource = None

FILES = "no more files may be opened; allow more with ulimit -n 1024"
# GiB of addresses, most of it no memory: a training of TensorFlow on 2 cores has 3.9 GB; a SavedModel takes less.
ADDRESS_SPACE, SMALL_SPACE = 4.0, 1.5
SMALL = ("predict", "evaluate")
LEAST_SPACE = 0.5  # with less, NumPy and OpenCV on 2 cores fail or crash while they are loaded
THREADS = 64  # TensorFlow on 2 cores aborts with 12
# How TensorFlow ends the message of an error that the system has refused to write a file; before it stands the file.
_NOT_WRITTEN = re.compile(r"(?:^|\}\} )([^;{}]+); (No space left on device|Disk quota exceeded|File too large)\b")
PROCESSES = "no more processes or threads may be started; allow more with ulimit -u, or lower --workers if it has any"


def advise_limit(error: BaseException) -> str | None:
    """The line on a limit that an error comes of; None: of no limit."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return FILES
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and str(error) == "can't start new thread"):
        return PROCESSES
    return find_full_disk(error)


def find_full_disk(error: BaseException) -> str | None:
    """The line on a file that TensorFlow could not write; None: that is not the error.

    TensorFlow raises a ResourceExhaustedError for it, as where memory is not enough.
    """
    found = _NOT_WRITTEN.search(str(error)) if type(error).__module__.startswith("tensorflow") else None
    return found and f"{found[1]}: cannot be written: {found[2]}"


def check_least_space() -> str | None:
    """The line on a limit under which no verb can be loaded; None: there is no such limit."""
    space = resource.getrlimit(resource.RLIMIT_AS)[0] if resource is not None else -1
    if not 0 <= space < LEAST_SPACE * 2**30:
        return None
    return (
        f"address space is limited to {space / 2**30:.2f} GiB, and no command can be loaded into less than "
        f"{LEAST_SPACE:g}; allow more with ulimit -v"
    )


def check_limits(name: str, verb: str) -> None:
    """Raises OSError if limits leave a verb too little for a framework, which would hang, fail oddly or abort later."""
    if resource is None:
        return
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    needed = SMALL_SPACE if verb in SMALL else ADDRESS_SPACE
    if 0 <= space < needed * 2**30:
        raise OSError(
            f"address space is limited to {space / 2**30:.1f} GiB, of which {name} needs {needed:g}; "
            "allow more with ulimit -v, or limit the memory itself, as containers do"
        )
    threads = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if 0 <= threads < THREADS and os.geteuid() != 0:  # of the superuser, the system does not count them
        raise OSError(f"threads are limited to {threads}, of which {name} needs {THREADS}; allow more with ulimit -u")
