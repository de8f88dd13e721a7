"""What `tfseg doctor` judges by: versions, numbers and rates in, findings out; nothing is measured here."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tfseg.io import command

OK, WARNING, FAILED = "ok", "warning", "failed"
METAL_PAIR = "pip install 'tensorflow>=2.18,<2.20' tensorflow-metal==1.2.0"
PLAIN, DOUBLE = "Keras' own Adam", "twice the batch"
VARIANTS = (PLAIN, "mixed_bfloat16", "mixed_float16", DOUBLE)  # of the train step in float32
PLUGIN_TENSORFLOW = (2, 21)  # which tensorflow-metal-plugin 0.4.1 is built for
OLDEST = {"tensorflow": (2, 18), "keras": (3, 12)}

# Largest norm of a difference, over the norm of what it differs from. Weights that are moved by 1e-6, some roundings as
# another order of sums makes, move outputs by up to 1e-4, and gradients by 3e-3 for the tiny encoder and 2e-2 for
# EfficientNetB3: signs flip at ReLUs. Moved by 5e-4, as half precision does, they make it 1e-2 and more, and 0.2 to 1.
FORWARD, GRADIENT = 1e-3, 1e-1

# Part of an error's text that names its cause: pattern -> remedy.
KNOWN_ERRORS = {
    "_pywrap_tensorflow_internal": METAL_PAIR,
    "SIGILL": "this TensorFlow is built for newer processors, with AVX; use another machine",
    "DLL load failed": "install the Microsoft Visual C++ redistributable",
    "libcud|libcublas|libnv": "pip install 'tf-segmentation[cuda]'",
    "SIGKILL|ResourceExhausted|out of memory|OOM |MemoryError": "free some memory, or give a smaller --size",
}


class Finding(NamedTuple):
    """One line of what was found, and what to do about it."""

    check: str
    state: str  # OK, WARNING or FAILED
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.state:8}{self.check:13}{self.text}"
        return f"{line}\n{'':21}-> {self.remedy}" if self.remedy else line


class Machine(NamedTuple):
    """What decides which packages a machine needs."""

    system: str = "Linux"  # as of `platform`, likewise the next
    machine: str = "x86_64"
    python: tuple[int, int] = (3, 12)
    macos: str = ""
    apple: bool = False  # the chip is Apple's, whatever this Python was built for
    nvidia: bool = False  # nvidia-smi answers

    @property
    def is_apple_silicon(self) -> bool:
        return self.system == "Darwin" and self.machine == "arm64"


# ---- versions


def check_versions(machine: Machine, packages: Mapping[str, str], backend: str = "tensorflow") -> list[Finding]:
    """Says what keeps the installed packages (name -> version) from working together on a machine.

    Args:
        machine: to be judged.
        packages: name -> version of those installed.
        backend: of Keras; TensorFlow needs no GPU if it only reads the data of another.
    """
    if machine.system == "Darwin" and machine.machine == "x86_64" and machine.apple:
        text = "this Python is built for Intel and runs under Rosetta; TensorFlow and the GPU need one for arm64"
        return [Finding("versions", FAILED, text, "install Python 3.11 or 3.12 for Apple Silicon, and tfseg with it")]
    findings = [*_check_tensorflow(machine, packages), *_check_oldest(packages)]
    if machine.is_apple_silicon:
        findings += _check_plugins(machine, packages)
        findings += _check_apple_silicon(machine, packages) if backend == "tensorflow" else []
        findings += _check_jax(packages) if backend == "jax" else []
    if machine.nvidia and "tensorflow-cpu" in packages:
        text = "there is an NVIDIA card, but this TensorFlow is built for the CPU alone"
        findings.append(Finding("versions", WARNING, text, f"pip uninstall -y tensorflow-cpu; {cuda_remedy()}"))
    if not findings:
        named = ", ".join(f"{name} {version}" for name, version in packages.items())
        findings.append(Finding("versions", OK, f"{named}: these go together"))
    return findings


def cuda_remedy() -> str:
    """Gives what installs TensorFlow for an NVIDIA card."""
    return "pip install 'tf-segmentation[cuda]'"


def _check_tensorflow(machine: Machine, packages: Mapping[str, str]) -> Iterable[Finding]:
    both = "tensorflow" in packages and "tensorflow-cpu" in packages
    if both:
        text = "tensorflow and tensorflow-cpu are both installed, and own the same files"
        remedy = f"pip uninstall -y tensorflow tensorflow-cpu; {install_remedy(machine)}"
        yield Finding("versions", FAILED, text, remedy)
    if not {"tensorflow", "tensorflow-cpu"} & set(packages):
        yield Finding("versions", FAILED, "TensorFlow is not installed", install_remedy(machine))
    if "tensorflow-macos" in packages:
        text = "tensorflow-macos is an empty shell since 2.16; plain tensorflow is the native build"
        yield Finding("versions", WARNING, text, "pip uninstall tensorflow-macos")


def install_remedy(machine: Machine) -> str:
    """Gives what installs TensorFlow on a machine."""
    if machine.is_apple_silicon:
        return "pip install tf-segmentation, with Python 3.11 or 3.12"
    if machine.system == "Darwin":
        return "none: TensorFlow has no build for Macs with Intel's chips since 2.17; use another machine"
    if machine.nvidia:
        return cuda_remedy()
    return "pip install 'tf-segmentation[cpu]', or 'tf-segmentation[cuda]' for an NVIDIA card"


def _check_oldest(packages: Mapping[str, str]) -> Iterable[Finding]:
    for name, version in packages.items():
        oldest = OLDEST.get(name.removesuffix("-cpu"))
        if oldest and numbers(version) < oldest:
            wanted = f"{name}>={oldest[0]}.{oldest[1]}"
            yield Finding("versions", FAILED, f"{name} {version} is too old", f"pip install '{wanted}'")


def _check_plugins(machine: Machine, packages: Mapping[str, str]) -> Iterable[Finding]:
    """Whether TensorFlow loads at all, whatever backend Keras has, since it loads every plugin that it finds."""
    metal, plugin = packages.get("tensorflow-metal"), packages.get("tensorflow-metal-plugin")
    tensorflow = packages.get("tensorflow")
    if metal and plugin:
        text = "tensorflow-metal and tensorflow-metal-plugin are both installed, and need other versions of TensorFlow"
        yield Finding("versions", FAILED, text, f"pip uninstall -y tensorflow-metal-plugin; {METAL_PAIR}")
    elif plugin and tensorflow and numbers(tensorflow)[:2] != PLUGIN_TENSORFLOW:
        wanted = "{}.{}".format(*PLUGIN_TENSORFLOW)
        text = f"tensorflow-metal-plugin {plugin} is built for TensorFlow {wanted}, not for {tensorflow}"
        remedy = f"pip install 'tensorflow=={wanted}.*'; or pip uninstall -y tensorflow-metal-plugin; {METAL_PAIR}"
        yield Finding("versions", FAILED, text, remedy)
    elif metal and metal != "1.2.0":
        text = f"tensorflow-metal {metal} does not load with the TensorFlow that tfseg needs; 1.2.0 does"
        yield Finding("versions", FAILED, text, METAL_PAIR)
    elif metal and tensorflow and numbers(tensorflow) >= (2, 20):
        text = f"TensorFlow {tensorflow} cannot load with tensorflow-metal {metal}: "
        yield Finding("versions", FAILED, f"{text}Library not loaded: _pywrap_tensorflow_internal.so", METAL_PAIR)
    if plugin and machine.macos and numbers(machine.macos) < (15,):
        text = f"macOS {machine.macos} is too old for tensorflow-metal-plugin, which needs 15"
        yield Finding(
            "versions", FAILED, text, f"update macOS; or pip uninstall -y tensorflow-metal-plugin; {METAL_PAIR}"
        )


def _check_apple_silicon(machine: Machine, packages: Mapping[str, str]) -> Iterable[Finding]:
    """Whether TensorFlow has the GPU, and in which precision."""
    if "tensorflow-metal-plugin" in packages:
        return
    if machine.python >= (3, 13):
        text = (
            f"tensorflow-metal has no wheel for Python {machine.python[0]}.{machine.python[1]}: no GPU for TensorFlow"
        )
        yield Finding("versions", WARNING, text, "use Python 3.11 or 3.12, or KERAS_BACKEND=torch")
    elif "tensorflow-metal" not in packages:
        text = "tensorflow-metal is not installed: TensorFlow computes on the CPU"
        yield Finding("versions", WARNING, text, METAL_PAIR)
    if lacks_bfloat16(machine, packages):
        text = f"macOS {machine.macos} has no bfloat16 on the GPU: float32 is used"
        yield Finding("versions", WARNING, text, "update to macOS 14 or newer")


def lacks_bfloat16(machine: Machine, packages: Mapping[str, str]) -> bool:
    """Whether TensorFlow on Apple's GPU has no bfloat16: the open plugin has not, nor has a macOS before 14."""
    return "tensorflow-metal-plugin" in packages or bool(machine.macos and numbers(machine.macos) < (14,))


def _check_jax(packages: Mapping[str, str]) -> Iterable[Finding]:
    """Whether jax-mps has the JAX that it is built for: that of its own version."""
    jax, plugin = packages.get("jax"), packages.get("jax-mps")
    if plugin and (jax is None or numbers(jax)[:2] != numbers(plugin)[:2]):
        wanted = ".".join(map(str, numbers(plugin)[:2]))
        text = f"jax-mps {plugin} goes with JAX {wanted}, not with {jax or 'none'}"
        yield Finding("versions", FAILED, text, f"pip install 'jax=={wanted}.*'")


def check_gpus(machine: Machine, packages: Mapping[str, str], gpus: int) -> list[Finding]:
    """Says whether TensorFlow sees the card that the system sees."""
    if machine.nvidia and not gpus and "tensorflow-cpu" not in packages:  # which was reported before
        text = "nvidia-smi shows a card, TensorFlow sees no GPU"
        return [Finding("device", WARNING, text, cuda_remedy())]
    return []


def numbers(version: str) -> tuple[int, ...]:
    """ "2.21.0rc1" -> (2, 21, 0): the numbers that a version begins with."""
    return tuple(int(part) for part in re.sub(r"[^\d.].*", "", version).split(".") if part)


def find_remedy(error: str) -> str:
    """Gives the remedy of an error that is known, else nothing."""
    return next((remedy for pattern, remedy in KNOWN_ERRORS.items() if re.search(pattern, error)), "")


# ---- numbers


class Difference(NamedTuple):
    """How far two results are apart, and where."""

    largest: float
    at: str  # the name of the largest
    over: list[str]  # names of those that exceed the tolerance, in the order of the data


def compare(reference: Mapping, other: Mapping, tolerance: float) -> Difference:
    """Compares arrays by name: the norm of the difference over the norm of the reference.

    Args:
        reference: name -> array, in the order in which one follows from the other.
        other: the same names.
        tolerance: the largest share that passes. What is not a finite number does not.
    """
    import numpy as np

    norms = {name: np.linalg.norm(np.asarray(array, np.float64)) for name, array in reference.items()}
    # The gradient of a shift that the next normalisation takes back is nothing but rounding, 1e-8 of the others.
    floor = 1e-4 * max(norms.values())
    shares = {}
    for name, norm in norms.items():
        apart = np.linalg.norm(np.asarray(other[name], np.float64) - np.asarray(reference[name], np.float64))
        share = apart / max(norm, floor) if apart else 0.0
        shares[name] = float(share) if np.isfinite(share) else math.inf
    at = max(shares, key=lambda name: shares[name])
    return Difference(shares[at], at, [name for name, share in shares.items() if share > tolerance])


def judge_difference(kind: str, what: str, found: Difference, tolerance: float, remedy: str) -> Finding:
    """Makes a finding of a comparison of one kind, such as "forward", of what with what."""
    if not found.over:
        text = f"{kind}: {what}; largest difference {found.largest:.0e} ({found.at}), {tolerance:.0e} passes"
        return Finding("compare", OK, text)
    first, more = ", ".join(found.over[:3]), len(found.over) - 3
    text = f"{kind}: {what}; over {tolerance:.0e} are {first}{f' and {more} more' if more > 0 else ''}"
    text += f"; largest {found.largest:.0e} ({found.at})"
    return Finding("compare", FAILED, text, remedy)


# ---- rates


def judge_rates(pipeline: float, step: float, together: float, shared: bool, raw: bool) -> Finding:
    """Says what a training waits for, from images per second.

    Args:
        pipeline: of the input pipeline alone.
        step: of the train step alone.
        together: of the step, fed by the pipeline.
        shared: whether both run on the same cores, so that each takes time from the other.
        raw: whether the records hold raw pixels already.
    """
    text = f"pipeline {pipeline:.0f}, step {step:.0f}, together {together:.0f} images/s: "
    cores = ", on the same cores" if shared else ""
    if pipeline < step:
        ways = ["data.cache ram", "a smaller --size", f"{command.program('data_service')} on another machine"]
        remedy = "; or ".join(ways if raw else [*ways[:1], "raw records, --codec raw", *ways[1:]])
        gap = f"input-bound, the pipeline gives 1/{step / pipeline:.1f} of what the step takes{cores}"
        return Finding("input", WARNING, text + gap, remedy)
    spare = f"compute-bound, the pipeline could feed {pipeline / step:.1f} such steps{cores}"
    return Finding("input", OK, f"{text}{spare}; train.batch_size, accelerator.precision and data.size decide")


def write_fragment(kind: tuple[str, str], steps: Mapping[str, Mapping], batch_size: int, cache: float | None) -> str:
    """Writes the settings that were found best, as YAML for a training's --config, each with its reason.

    Args:
        kind: of device, and the reason for it.
        steps: name of a variant -> {"gain": how many times the images per second of float32}.
        batch_size: of the steps that were measured.
        cache: how many times the images per second `data.cache ram` gives; None: not needed, or not measured.
    """
    gains = {name: step["gain"] for name, step in steps.items()}
    precision, reason = "float32", "nothing measured was more than 5 % faster"
    fastest = max((name for name in gains if name.startswith("mixed_")), key=lambda name: gains[name], default=None)
    if fastest is None:
        reason = "no other was measured"
    elif gains[fastest] > 1.05:
        precision, reason = fastest, f"{gains[fastest]:.2f} times the images/s of float32"
    lines = ["accelerator:", f"  kind: {kind[0]}  # {kind[1]}", f"  precision: {precision}  # {reason}"]
    double = gains.get(DOUBLE, 0)
    if double > 1.1:
        lines += ["train:", f"  batch_size: {2 * batch_size}  # {double:.2f} times the images/s of {batch_size}"]
    if cache is not None and cache > 1.1:
        lines += ["data:", f"  cache: ram  # the pipeline is too slow, and {cache:.1f} times as fast with it"]
    return "\n".join(lines) + "\n"


# ---- reports


def scrub(value: Any, home: str, user: str) -> Any:
    """Makes a value fit for strict JSON and for strangers: no number that is none, no home folder, no user's name."""
    if isinstance(value, Mapping):
        return {key: scrub(part, home, user) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(part, home, user) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        value = value.replace(home, "~") if len(home) > 1 else value
        return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\\s:'\"]|$)", "USER", value) if user else value
    return value


def summarise(findings: Iterable[Finding]) -> str:
    """Words how many findings there are of each state."""
    states = [finding.state for finding in findings]
    failed, warnings = states.count(FAILED), states.count(WARNING)
    if failed:
        return f"{failed} of {len(states)} checks failed, {warnings} warned"
    return f"nothing failed: {len(states)} findings, {warnings} of them warnings"
