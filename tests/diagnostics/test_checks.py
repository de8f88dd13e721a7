"""What the doctor judges by: versions, numbers and rates that are literals."""

import math

import numpy as np
import pytest

from tfseg.config.parse import load_config
from tfseg.diagnostics import checks
from tfseg.diagnostics.checks import DOUBLE, FAILED, OK, PLAIN, WARNING, Machine

MAC = Machine("Darwin", "arm64", (3, 12), "14.5", apple=True)
METAL = {"tensorflow": "2.19.1", "tensorflow-metal": "1.2.0", "keras": "3.15.1"}
NEW_MAC = MAC._replace(macos="26.1", python=(3, 13))
OPEN = {"tensorflow": "2.21.0", "tensorflow-metal-plugin": "0.4.1", "keras": "3.15.1"}
CARD = Machine(nvidia=True)


# ---- versions


@pytest.mark.parametrize(
    ("machine", "packages"),
    [
        (MAC, METAL),
        (NEW_MAC, OPEN),
        (Machine(), {"tensorflow-cpu": "2.21.0", "keras": "3.15.1"}),
        (CARD, {"tensorflow": "2.18.0", "keras": "3.12.0"}),
        (Machine("Windows", "AMD64"), {"tensorflow-cpu": "2.20.0rc0", "keras": "3.15.1"}),
    ],
)
def test_packages_that_go_together(machine, packages):
    (finding,) = checks.check_versions(machine, packages)
    assert finding.state == OK
    assert all(version in finding.text for version in packages.values())


@pytest.mark.parametrize(
    ("machine", "packages", "state", "text", "remedy"),
    [
        (Machine(), {}, FAILED, "TensorFlow is not installed", "pip install 'tf-segmentation[cpu]'"),
        (CARD, {}, FAILED, "TensorFlow is not installed", "pip install 'tf-segmentation[cuda]'"),
        (MAC, {"tensorflow-metal": "1.2.0"}, FAILED, "TensorFlow is not installed", "pip install tf-segmentation,"),
        (Machine("Darwin", "x86_64"), {}, FAILED, "not installed", "no build for Macs with Intel's chips"),
        (MAC, METAL | {"tensorflow": "2.20.0"}, FAILED, "_pywrap_tensorflow_internal.so", checks.METAL_PAIR),
        (MAC, METAL | {"tensorflow": "2.21.0"}, FAILED, "2.21.0 cannot load", "'tensorflow>=2.18,<2.20'"),
        (MAC, METAL | {"tensorflow": "2.17.1"}, FAILED, "tensorflow 2.17.1 is too old", "'tensorflow>=2.18'"),
        (MAC, METAL | {"tensorflow-metal": "1.1.0"}, FAILED, "tensorflow-metal 1.1.0", "tensorflow-metal==1.2.0"),
        (MAC, {"tensorflow": "2.19.1"}, WARNING, "tensorflow-metal is not installed", "tensorflow-metal==1.2.0"),
        (MAC._replace(python=(3, 13)), {"tensorflow": "2.21.0"}, WARNING, "no wheel for Python 3.13", "3.11 or 3.12"),
        (MAC._replace(machine="x86_64"), METAL, FAILED, "under Rosetta", "for Apple Silicon"),
        (MAC._replace(macos="14.5"), OPEN, FAILED, "macOS 14.5 is too old", "update macOS"),
        (
            NEW_MAC,
            OPEN | {"tensorflow": "2.20.0"},
            FAILED,
            "built for TensorFlow 2.21, not for 2.20.0",
            "'tensorflow==2.21.*'",
        ),
        (NEW_MAC, OPEN | METAL, FAILED, "are both installed", "uninstall -y tensorflow-metal-plugin"),
        (MAC._replace(macos="13.6.1"), METAL, WARNING, "macOS 13.6.1 has no bfloat16", "macOS 14"),
        (MAC, METAL | {"tensorflow-macos": "2.16.2"}, WARNING, "empty shell", "pip uninstall tensorflow-macos"),
        (Machine(), {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"}, FAILED, "own the same files", "uninstall -y"),
        (CARD, {"tensorflow-cpu": "2.21.0"}, WARNING, "built for the CPU alone", "pip install 'tf-segmentation[cuda]'"),
        (Machine(), {"tensorflow": "2.21.0", "keras": "3.9.2"}, FAILED, "keras 3.9.2 is too old", "'keras>=3.12'"),
    ],
)
def test_packages_that_do_not(machine, packages, state, text, remedy):
    (finding,) = checks.check_versions(machine, packages)
    assert finding.state == state
    assert text in finding.text
    assert remedy in finding.remedy


def test_tensorflow_needs_no_gpu_on_a_mac_if_it_only_reads():
    packages = {"tensorflow": "2.19.1", "keras": "3.15.1", "torch": "2.13.0"}
    (finding,) = checks.check_versions(MAC, packages, "torch")
    assert finding.state == OK
    assert checks.check_versions(MAC, packages)[0].state == WARNING


def test_a_card_that_tensorflow_does_not_see():
    (finding,) = checks.check_gpus(CARD, {"tensorflow": "2.21.0"}, 0)
    assert (finding.state, finding.remedy) == (WARNING, "pip install 'tf-segmentation[cuda]'")
    assert checks.check_gpus(CARD, {"tensorflow": "2.21.0"}, 1) == []
    assert checks.check_gpus(Machine(), {"tensorflow": "2.21.0"}, 0) == []


# ---- numbers


def arrays(**damage):
    reference = {name: np.arange(1.0, 9.0, dtype="float32") for name in ("stem", "stage0", "stage1", "head")}
    return reference, reference | {name: reference[name] + value for name, value in damage.items()}


def test_the_damaged_layers_are_named_in_order():
    found = checks.compare(*arrays(head=0.1, stage1=0.5), 1e-3)
    assert found.over == ["stage1", "head"]
    assert found.at == "stage1"
    assert found.largest == pytest.approx(0.5 * math.sqrt(8 / 204))
    finding = checks.judge_difference("forward", "GPU against CPU", found, 1e-3, "stop")
    assert (finding.state, finding.remedy) == (FAILED, "stop")
    assert "over 1e-03 are stage1, head" in finding.text and finding.text.startswith("forward: GPU against CPU")


@pytest.mark.parametrize(("damage", "over", "state"), [(5e-3, [], OK), (6e-3, ["head"], FAILED)])
def test_the_tolerance_is_a_share_of_the_norm(damage, over, state):
    found = checks.compare(*arrays(head=damage), 1e-3)  # of which sqrt(8 / 204) counts
    assert found.over == over
    assert checks.judge_difference("forward", "", found, 1e-3, "stop").state == state


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_does_not_pass(value):
    assert checks.compare(*arrays(stage0=value), 1e-3).over == ["stage0"]


def test_rounding_about_zero_is_no_difference():
    one, other = arrays()
    one["shift"], other["shift"] = np.float32([1e-8, -1e-8]), np.float32([-2e-8, 1e-8])
    assert checks.compare(one, other, 1e-3).over == []


# ---- rates


def test_input_bound():
    finding = checks.judge_rates(120.0, 400.0, 118.0, shared=False, raw=False)
    assert finding.state == WARNING
    assert "pipeline 120, step 400, together 118 images/s: input-bound" in finding.text and "1/3.3" in finding.text
    assert "data.cache ram" in finding.remedy and "--codec raw" in finding.remedy
    assert "--codec raw" not in checks.judge_rates(120.0, 400.0, 118.0, shared=False, raw=True).remedy


def test_compute_bound():
    finding = checks.judge_rates(1200.0, 200.0, 190.0, shared=True, raw=False)
    assert (finding.state, finding.remedy) == (OK, "")
    assert "compute-bound" in finding.text and "6.0 such steps" in finding.text
    assert "train.batch_size" in finding.text and "on the same cores" in finding.text


# ---- settings


def steps(**gains):
    return {name: {"gain": gain} for name, gain in gains.items()}


@pytest.mark.parametrize(
    ("gains", "precision"),
    [
        ({}, "float32"),
        ({"mixed_bfloat16": 1.04, "mixed_float16": 0.2}, "float32"),
        ({"mixed_bfloat16": 1.3, "mixed_float16": 1.2}, "mixed_bfloat16"),
        ({"mixed_bfloat16": 1.3, "mixed_float16": 1.6, PLAIN: 9.0}, "mixed_float16"),
    ],
)
def test_the_settings_are_those_of_a_training(tmp_path, gains, precision):
    text = checks.write_fragment(("cpu", "no GPU"), steps(**gains), 8, None)
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: runs/x\ndata:\n  records: none\n{text}")
    config = load_config(file)
    assert (config.accelerator.kind, config.accelerator.precision) == ("cpu", precision)
    assert config.train.batch_size == 8
    assert all("#" in line for line in text.splitlines() if not line.endswith(":"))


def test_batch_size_and_cache_only_where_they_help(tmp_path):
    gains = {DOUBLE: 1.5}
    text = checks.write_fragment(("cuda", "1 GPU seen"), steps(**gains), 8, 3.0)
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: runs/x\n{text}  records: none\n")
    config = load_config(file)
    assert (config.train.batch_size, config.data.cache) == (16, "ram")
    assert "train" not in checks.write_fragment(("cuda", ""), steps(**{DOUBLE: 1.05}), 8, 1.0)


# ---- reports


def test_names_of_users_are_left_out():
    scrubbed = checks.scrub({"a": ["/home/ann/x", "/data/ann/y", "cannot", math.inf]}, "/home/ann", "ann")
    assert scrubbed == {"a": ["~/x", "/data/USER/y", "cannot", None]}


@pytest.mark.parametrize(
    ("jax", "text"),
    [(None, "jax-mps 0.11.1 goes with JAX 0.11, not with none"), ("0.10.2", "not with 0.10.2"), ("0.11.2", "")],
)
def test_jax_mps_goes_with_the_jax_of_its_version(jax, text):
    packages = {"tensorflow": "2.19.1", "jax-mps": "0.11.1", **({"jax": jax} if jax else {})}
    [finding] = checks.check_versions(MAC, packages, "jax")
    assert (finding.state, finding.remedy) == ((FAILED, "pip install 'jax==0.11.*'") if text else (OK, ""))
    assert text in finding.text


@pytest.mark.parametrize(
    ("macos", "packages", "lacks"),
    [("15.5", {}, False), ("13.6", {}, True), ("26.1", {"tensorflow-metal-plugin": "0.4.1"}, True)],
)
def test_who_lacks_bfloat16(macos, packages, lacks):
    assert checks.lacks_bfloat16(MAC._replace(macos=macos), packages) == lacks
