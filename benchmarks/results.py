"""The file of a benchmark's measurements, from which docs/results has its tables."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from tfseg.diagnostics.machine import find_instructions, find_packages, find_processor

# What keeps kernels from instructions that the processor has.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "TF_ENABLE_ONEDNN_OPTS")


def save_results(path: Path | None, name: str, results: Any, cores: int | None = None) -> None:
    """Writes what was measured, the command that measured it, and on what, as JSON; without a path, nothing."""
    if path is not None:
        command = shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
        content = {"command": command, "machine": describe_machine(cores), "results": results}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def describe_machine(cores: int | None = None) -> str:
    """Words cores, processor, instruction sets and versions; `cores` of all are used, or all that there are."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = ", ".join(f"{name} {version}" for name, version in find_packages().items())
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    return f"cores: {cores or there}; {find_processor()}; {', '.join([find_instructions(), *limits])}; {versions}"
