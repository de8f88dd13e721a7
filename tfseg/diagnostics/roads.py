"""The roads from Keras to the GPU of Apple Silicon: which one an installation takes, and which it should take."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tfseg.diagnostics.checks import FAILED, METAL_PAIR, OK, WARNING, Finding, Machine, numbers

# Probes of what no network of tfseg has.
HARMLESS = ("a dense layer with ReLU", "top_k and sort of 500")


class Road(NamedTuple):
    """A road to the GPU.

    Attributes:
        backend: of Keras.
        package: the distribution that leads to the GPU.
        precision: of trainings.
        known: what speaks against it, as its users report; nothing of it was run by tfseg on a Mac.
        install: commands.
        experiment: whether it is still one.
    """

    backend: str
    package: str
    precision: str
    known: str
    install: str
    experiment: bool = False


METAL = Road(
    "tensorflow",
    "tensorflow-metal",
    "float32, and mixed_bfloat16 from macOS 14 on",
    "a dense layer loses its ReLU, and sorting is wrong beyond 16; for Python 3.11 and 3.12 alone",
    METAL_PAIR,
)
PLUGIN = Road(
    "tensorflow",
    "tensorflow-metal-plugin",
    "float32",
    "no bfloat16, and the fused optimizer runs on the processor until TensorFlow 2.22; macOS 15 or newer",
    "pip uninstall -y tensorflow-metal; pip install 'tensorflow==2.21.*'; pip install tensorflow-metal-plugin==0.4.1",
    experiment=True,
)
TORCH = Road(
    "torch",
    "torch",
    "float32, mixed_bfloat16 or mixed_float16",
    "gradients of convolutions were slow with channels last until August 2026, so tfseg has channels first",
    "pip install torch; export KERAS_BACKEND=torch",
)
JAX = Road(
    "jax",
    "jax-mps",
    "float32",
    "some of JAX's own tests fail on it; it wants Python 3.12, and JAX of its own version",
    "pip install jax-mps; export KERAS_BACKEND=jax",
    experiment=True,
)
MLX = Road(
    "mlx",
    "keras-mlx",
    "float32",
    "an experiment of the Keras team, with tonight's build of Keras, see docs/backends.md",
    "see docs/backends.md; export KERAS_BACKEND=mlx",
    experiment=True,
)
ROADS = (METAL, PLUGIN, TORCH, JAX, MLX)


# Checks of what must be right before anything is computed at all.
FOUNDATIONS = ("versions", "tensorflow", "backend", "step")


def find_road(backend: str, packages: Mapping[str, str]) -> Road | None:
    """Finds the road that a backend of Keras takes with the packages installed (name -> version); None: the CPU's."""
    there = [road for road in ROADS if road.backend == backend and road.package in packages]
    return there[0] if there else None


def describe_road(
    machine: Machine, chip: str, backend: str, packages: Mapping[str, str], kind: str | None = None
) -> Finding:
    """Names chip, system, package, precision and what is known against it, for a Mac of Apple Silicon.

    Args:
        machine: the Mac.
        chip: its processor.
        backend: of Keras.
        packages: name -> version of those installed.
        kind: of the device that Keras was seen to compute on; None: it was not, since it did not load.
    """
    place = f"{chip}, macOS {machine.macos}"
    road = find_road(backend, packages)
    if road is None:
        return Finding("road", WARNING, f"{place}: no package leads Keras on {backend} to the GPU")
    if {METAL.package, PLUGIN.package} <= {*packages}:
        return Finding("road", FAILED, f"{place}: {METAL.package} and {PLUGIN.package}, of which TensorFlow loads one")
    versions = ", ".join(
        f"{name} {packages[name]}" for name in dict.fromkeys((backend, road.package)) if name in packages
    )
    if kind in (None, "cpu"):
        seen = "Keras did not load" if kind is None else "Keras computes on the CPU"
        return Finding("road", WARNING, f"{place}: {versions} would lead to the GPU, but {seen}")
    return Finding("road", OK, f"{place}: to the GPU by {versions}; {road.precision}; known: {road.known}")


def recommend_road(
    machine: Machine,
    backend: str,
    packages: Mapping[str, str],
    findings: Iterable[Finding],
    kind: str | None = None,
) -> Finding:
    """Says in one line whether to stay on a road, or how to get on a better one.

    Args:
        machine: a Mac of Apple Silicon.
        backend: of Keras.
        packages: name -> version of those installed.
        findings: of the examination so far.
        kind: as of `describe_road`.
    """
    findings = [*findings]
    road = find_road(backend, packages)
    wrong = [one.text.partition(":")[0] for one in findings if is_wrong(one)]
    best = METAL if machine.python in ((3, 11), (3, 12)) else TORCH
    if wrong:
        better = TORCH if backend == "tensorflow" else METAL if best is METAL else None
        text = f"wrong on this road: {', '.join(wrong)}"
        if better is None:
            text = f"{text}; take Python 3.12, and tensorflow-metal"
        else:
            text = f"{text}; {better.package} is the other road"
        return Finding("road", FAILED, text, lead_to(better or METAL, backend, packages))
    if any(one.state == FAILED and one.check in FOUNDATIONS for one in findings):
        text = f"recommended: {best.package}; what failed above stands in the way"
        return Finding("road", WARNING, text, lead_to(best, backend, packages))
    if road and not road.experiment and kind in (None, "cpu"):
        other = TORCH if road is METAL else METAL
        text = f"{road.package} has no GPU here, as in a virtual machine; else {other.package} is the other road"
        return Finding("road", WARNING, text, lead_to(other, backend, packages))
    if road and not road.experiment:
        return Finding("road", OK, f"recommended: {road.package}, as it is; which road is the fastest is not known")
    reason = f"is no experiment, as {road.package} is" if road else "leads to the GPU"
    return Finding("road", WARNING, f"recommended: {best.package}, which {reason}", lead_to(best, backend, packages))


def lead_to(road: Road, backend: str, packages: Mapping[str, str]) -> str:
    """Gives the commands that lead to a road from what is installed, and from a backend."""
    if road is not METAL:
        return road.install
    steps = [f"pip uninstall -y {PLUGIN.package}"] if PLUGIN.package in packages else []
    versions = numbers(packages.get("tensorflow", "")), packages.get(METAL.package)
    if not ((2, 18) <= versions[0] < (2, 20) and versions[1] == "1.2.0"):
        steps.append(METAL.install)
    if backend != "tensorflow":
        steps.append("export KERAS_BACKEND=tensorflow")
    return "; ".join(steps) or METAL.install


def is_wrong(finding: Finding) -> bool:
    """Whether a finding says that what a network computes here is wrong."""
    harmless = finding.text.startswith(tuple(f"{name}:" for name in HARMLESS))
    return finding.state == FAILED and finding.check in ("compare", "operations") and not harmless
