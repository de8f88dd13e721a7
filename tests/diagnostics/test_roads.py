"""The road that an installation takes to Apple's GPU, and the one it should take: a Mac is its names and versions."""

from pathlib import Path

import pytest

from tfseg.diagnostics import roads
from tfseg.diagnostics.checks import FAILED, METAL_PAIR, OK, WARNING, Finding, Machine
from tfseg.diagnostics.machine import PACKAGES

MAC = Machine("Darwin", "arm64", (3, 12), "15.5", apple=True)
NEW = MAC._replace(python=(3, 13))
TENSORFLOW = {"tensorflow": "2.19.1", "keras": "3.15.1"}
METAL = TENSORFLOW | {"tensorflow-metal": "1.2.0"}
OPEN = {"tensorflow": "2.21.0", "tensorflow-metal-plugin": "0.4.1", "keras": "3.15.1"}
TORCH = TENSORFLOW | {"torch": "2.13.0"}
PAGE = Path(__file__).parents[2] / "docs/apple_silicon.md"


def test_every_package_that_leads_there_is_looked_for():
    assert {road.package for road in roads.ROADS} <= {*PACKAGES}


@pytest.mark.parametrize(
    ("backend", "packages", "state", "text"),
    [
        ("tensorflow", METAL, OK, "by tensorflow 2.19.1, tensorflow-metal 1.2.0; float32, and mixed_bfloat16 from"),
        ("tensorflow", OPEN, OK, "by tensorflow 2.21.0, tensorflow-metal-plugin 0.4.1; float32; known: no bfloat16"),
        ("tensorflow", TORCH, WARNING, "no package leads Keras on tensorflow to the GPU"),
        ("torch", TORCH | METAL, OK, "by torch 2.13.0; float32, mixed_bfloat16 or mixed_float16; known: gradients of"),
        ("jax", {"jax": "0.11.0"}, WARNING, "no package leads Keras on jax to the GPU"),
        (
            "tensorflow",
            METAL | OPEN,
            FAILED,
            "tensorflow-metal and tensorflow-metal-plugin, of which TensorFlow loads one",
        ),
        ("jax", {"jax": "0.11.0", "jax-mps": "0.11.0"}, OK, "by jax 0.11.0, jax-mps 0.11.0; float32; "),
        ("mlx", {"mlx": "0.32.4", "keras-mlx": "0.0.1"}, OK, "by mlx 0.32.4, keras-mlx 0.0.1; float32; known: an exp"),
    ],
)
def test_the_road_is_named(backend, packages, state, text):
    finding = roads.describe_road(MAC, "Apple M1", backend, packages, "gpu")
    assert (finding.check, finding.state) == ("road", state)
    assert finding.text.startswith("Apple M1, macOS 15.5: ") and text in finding.text


@pytest.mark.parametrize(
    ("kind", "words"), [(None, "but Keras did not load"), ("cpu", "but Keras computes on the CPU")]
)
def test_a_road_that_does_not_arrive(kind, words):
    finding = roads.describe_road(MAC, "Apple M1", "torch", TORCH, kind)
    assert (finding.state, finding.text) == (
        WARNING,
        f"Apple M1, macOS 15.5: torch 2.13.0 would lead to the GPU, {words}",
    )


@pytest.mark.parametrize(
    ("machine", "backend", "packages", "state", "text", "remedy"),
    [
        (MAC, "tensorflow", METAL, OK, "tensorflow-metal, as it is", ""),
        (MAC, "torch", TORCH, OK, "torch, as it is", ""),
        (
            MAC,
            "tensorflow",
            OPEN,
            WARNING,
            "tensorflow-metal, which is no experiment",
            f"pip uninstall -y tensorflow-metal-plugin; {METAL_PAIR}",
        ),
        (
            NEW,
            "tensorflow",
            OPEN,
            WARNING,
            "torch, which is no experiment",
            "pip install torch; export KERAS_BACKEND=torch",
        ),
        (NEW, "tensorflow", TENSORFLOW, WARNING, "torch, which leads to the GPU", "export KERAS_BACKEND=torch"),
        (
            MAC,
            "jax",
            {"jax-mps": "0.11.0"},
            WARNING,
            "tensorflow-metal, which is no experiment, as jax-mps is",
            f"{METAL_PAIR}; export KERAS_BACKEND=tensorflow",
        ),
        (NEW, "mlx", {"keras-mlx": "0.0.1"}, WARNING, "torch, which is no experiment, as keras-mlx is", "=torch"),
    ],
)
def test_one_line_recommends_a_road(machine, backend, packages, state, text, remedy):
    finding = roads.recommend_road(
        machine, backend, packages, [Finding("compare", OK, "forward: GPU against CPU")], "gpu"
    )
    assert (finding.check, finding.state) == ("road", state)
    assert text in finding.text and remedy in finding.remedy and bool(remedy) == bool(finding.remedy)
    assert "\n" not in finding.text + finding.remedy


WRONG = Finding("operations", FAILED, "a depthwise convolution of a batch, and its gradients: not what NumPy has")


@pytest.mark.parametrize(
    ("machine", "backend", "packages", "remedy"),
    [
        (MAC, "tensorflow", METAL, "KERAS_BACKEND=torch"),
        (MAC, "torch", TORCH, METAL_PAIR),
        (NEW, "torch", TORCH, METAL_PAIR),
    ],
)
def test_wrong_numbers_lead_to_the_other_road(machine, backend, packages, remedy):
    finding = roads.recommend_road(machine, backend, packages, [WRONG], "gpu")
    assert finding.state == FAILED and remedy in finding.remedy
    assert "wrong on this road: a depthwise convolution of a batch, and its gradients" in finding.text
    assert ("Python 3.12" in finding.text) == (machine is NEW and backend == "torch")


@pytest.mark.parametrize("check", roads.FOUNDATIONS)
@pytest.mark.parametrize(
    ("backend", "packages", "remedy"),
    [
        ("tensorflow", METAL, METAL_PAIR),
        ("tensorflow", METAL | OPEN, f"pip uninstall -y tensorflow-metal-plugin; {METAL_PAIR}"),
        ("torch", METAL, "export KERAS_BACKEND=tensorflow"),
        ("torch", TORCH, f"{METAL_PAIR}; export KERAS_BACKEND=tensorflow"),
    ],
)
def test_what_failed_keeps_a_road_from_being_right_as_it_is(check, backend, packages, remedy):
    finding = roads.recommend_road(MAC, backend, packages, [Finding(check, FAILED, "killed by SIGABRT")], "metal")
    assert (finding.state, finding.remedy) == (WARNING, remedy)
    assert finding.text == "recommended: tensorflow-metal; what failed above stands in the way"


@pytest.mark.parametrize(
    ("backend", "packages", "remedy"),
    [("tensorflow", METAL, "pip install torch; export KERAS_BACKEND=torch"), ("torch", METAL | TORCH, "=tensorflow")],
)
@pytest.mark.parametrize("kind", [None, "cpu"])
def test_a_gpu_that_is_not_seen(backend, packages, remedy, kind):
    finding = roads.recommend_road(MAC, backend, packages, [], kind)
    assert finding.state == WARNING and "has no GPU here, as in a virtual machine" in finding.text
    assert finding.remedy.endswith(remedy)


def test_what_no_network_has_is_of_no_account():
    harmless = [Finding("operations", FAILED, f"{name}: not what NumPy has") for name in roads.HARMLESS]
    assert roads.recommend_road(MAC, "tensorflow", METAL, harmless, "metal").state == OK


def test_the_page_has_every_road_with_its_commands():
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for road in roads.ROADS:
        (row,) = (row for row in rows if f"`{road.package}`" in row.split("|")[1])
        if not road.install.startswith("see "):
            assert all(f"`{command}`" in row for command in road.install.split("; ") if command.startswith("pip"))
        assert f"`KERAS_BACKEND={road.backend}`" in row or road.backend == "tensorflow"
