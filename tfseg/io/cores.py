"""How many cores a process may use, which is fewer than there are under taskset and in some containers."""

import os


def count_cores() -> int:
    """How many cores this process may use, by the system and, if it is set, by OMP_NUM_THREADS."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(threads)) if threads.isdigit() and int(threads) else cores
