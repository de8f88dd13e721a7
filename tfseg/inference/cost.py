"""What predictions took: seconds and memory."""

import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def describe_cost(seconds: Sequence[float], memory: float | None) -> str:
    """Words what images took: seconds of each, and MiB, where they are known; empty without images."""
    if not seconds:
        return ""
    first, *others = seconds
    parts = [f"the first took {first:.2f} s"]
    if others:
        parts.append(f"the others {statistics.median(others):.2f} s (median)")
    return ": " + ", ".join(parts) + (f"; {memory:,.0f} MiB at most" if memory else "")


def peak_memory() -> float | None:
    """Measures the most memory that this process has held so far, in MiB; None on Windows."""
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = Path("/proc/self/status")  # on Linux, getrusage counts the process that started this one, too
    if not status.is_file():
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    return int(found[1]) / 1024 if found else None
