"""What a machine has: its system, processor, memory, disk, cards and packages."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tfseg.diagnostics.checks import OK, Finding, Machine

PACKAGES = (
    *("tensorflow", "tensorflow-cpu", "tensorflow-metal", "tensorflow-metal-plugin", "tensorflow-macos"),
    *("keras", "keras-nightly", "numpy", "torch", "jax", "jax-mps", "mlx", "keras-mlx"),
)
GIBIBYTE = 2**30
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX"}  # Linux' and macOS' name -> the usual one


def find_machine() -> Machine:
    """Finds what decides which packages are needed."""
    system, macos = platform.system(), platform.mac_ver()[0]
    apple = system == "Darwin" and ask("sysctl", "-n", "hw.optional.arm64") == "1"
    nvidia = bool(ask("nvidia-smi", "-L"))
    return Machine(system, platform.machine(), sys.version_info[:2], macos, apple, nvidia)


def find_packages() -> dict[str, str]:
    """Gives name -> version of those of `PACKAGES` that are installed."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def ask(*command: str) -> str:
    """Gives what a program of the system answers; nothing if there is none or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def describe_machine(machine: Machine, memory: Mapping[str, int]) -> list[Finding]:
    """Lists processor, memory, disk and cards; `memory` is bytes by name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"macOS {machine.macos}" if machine.macos else f"{machine.system} {platform.release()}"
    python = f"Python {platform.python_version()}, {system}, {machine.machine}"
    text = f"{python}; {find_processor()}, {cores} of {os.cpu_count()} cores"
    shared = ", which the GPU shares" if machine.is_apple_silicon else ""
    findings = [Finding("machine", OK, text), Finding("machine", OK, describe_memory(memory) + shared)]
    if machine.nvidia:
        query = "--query-gpu=name,memory.total,memory.free,driver_version"
        findings += [
            Finding("machine", OK, f"card: {row}")
            for row in ask("nvidia-smi", query, "--format=csv,noheader").split("\n")
        ]
    return findings


def find_processor() -> str:
    """Gives the processor's name."""
    if Path("/proc/cpuinfo").exists():
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
        if named:
            return named[0]
    return ask("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or "a processor without a name"


def find_instructions() -> str:
    """Names the processor's vector instructions that speed of networks depends on, such as "AVX2, AVX-512, AMX"."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "NEON"
    if Path("/proc/cpuinfo").exists():
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = next((row.partition(":")[2] for row in rows if row.startswith("flags")), "")
    else:
        flags = ask("sysctl", "-n", "machdep.cpu.leaf7_features").lower()
    there = flags.split()
    return ", ".join(name for flag, name in INSTRUCTIONS.items() if flag in there) or "no AVX2"


def describe_memory(memory: Mapping[str, int]) -> str:
    """Words the free space on the disk, and bytes of memory by name."""
    parts = [f"{name} {size / GIBIBYTE:.1f} GiB" for name, size in memory.items()]
    return f"disk: {shutil.disk_usage('.').free / GIBIBYTE:.1f} GiB free here; memory: {', '.join(parts) or 'unknown'}"
