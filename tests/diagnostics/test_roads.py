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
        ("tensorflow", TORCH, WARNING, "Keras computes by tensorflow on the CPU"),
        ("torch", TORCH | METAL, OK, "by torch 2.13.0; float32, mixed_bfloat16 or mixed_float16; known: channels last"),
        ("jax", {"jax": "0.11.0"}, WARNING, "Keras computes by jax on the CPU"),
        ("jax", {"jax": "0.11.0", "jax-mps": "0.11.0"}, OK, "by jax 0.11.0, jax-mps 0.11.0; float32; "),
        ("mlx", {"mlx": "0.32.4", "keras-mlx": "0.0.1"}, OK, "by mlx 0.32.4, keras-mlx 0.0.1; float32; known: an exp"),
    ],
)
def test_the_road_is_named(backend, packages, state, text):
    finding = roads.describe_road(MAC, "Apple M1", backend, packages)
    assert (finding.check, finding.state) == ("road", state)
    assert finding.text.startswith("Apple M1, macOS 15.5: ") and text in finding.text


@pytest.mark.parametrize(
    ("machine", "backend", "packages", "state", "text", "remedy"),
    [
        (MAC, "tensorflow", METAL, OK, "tensorflow-metal, as it is", ""),
        (MAC, "torch", TORCH, OK, "torch, as it is", ""),
        (MAC, "tensorflow", OPEN, WARNING, "tensorflow-metal, which is no experiment", METAL_PAIR),
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
            METAL_PAIR,
        ),
        (NEW, "mlx", {"keras-mlx": "0.0.1"}, WARNING, "torch, which is no experiment, as keras-mlx is", "=torch"),
    ],
)
def test_one_line_recommends_a_road(machine, backend, packages, state, text, remedy):
    finding = roads.recommend_road(machine, backend, packages, [Finding("compare", OK, "forward: GPU against CPU")])
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
    finding = roads.recommend_road(machine, backend, packages, [WRONG])
    assert finding.state == FAILED and remedy in finding.remedy
    assert "wrong on this road: a depthwise convolution of a batch, and its gradients" in finding.text
    assert ("Python 3.12" in finding.text) == (machine is NEW and backend == "torch")


def test_what_no_network_has_is_of_no_account():
    harmless = [Finding("operations", FAILED, f"{name}: not what NumPy has") for name in roads.HARMLESS]
    assert roads.recommend_road(MAC, "tensorflow", METAL, harmless).state == OK


def test_the_page_has_every_road_with_its_commands():
    text = PAGE.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for road in roads.ROADS:
        (row,) = (row for row in rows if f"`{road.package}`" in row.split("|")[1])
        if not road.install.startswith("see "):
            assert all(
                f"`{command}`" in row for command in road.install.split("; ") if command.startswith("pip install")
            )
        assert f"`KERAS_BACKEND={road.backend}`" in row or road.backend == "tensorflow"
