"""On Apple Silicon: TensorFlow loads with tensorflow-metal, and the GPU gives a train step the numbers of the CPU."""

import platform
import sys

import pytest

from tfseg.config.parse import save_config
from tfseg.diagnostics.checks import FAILED, Finding, check_versions
from tfseg.diagnostics.machine import find_machine, find_packages
from tfseg.diagnostics.parts import start_part

if sys.platform != "darwin" or platform.machine() != "arm64":
    pytest.skip("needs a Mac with Apple Silicon", allow_module_level=True)
if "tensorflow-metal" not in find_packages():
    pytest.skip("needs tensorflow-metal", allow_module_level=True)


@pytest.fixture
def run(config, tmp_path):
    """Runs a part of the doctor; returns what it found and measured."""
    save_config(config, tmp_path / "config.yaml")

    def run(part):
        outcome = start_part(part, str(tmp_path / "config.yaml"), 600)
        assert outcome.failure is None, f"{outcome.failure}\n{outcome.errors}"
        findings = [Finding(*item["finding"]) for item in outcome.items if "finding" in item]
        return findings, {key: value for item in outcome.items for key, value in item.items()}

    return run


def failures(findings):
    return [str(finding) for finding in findings if finding.state == FAILED]


def test_the_pair_goes_together():
    assert [
        str(finding) for finding in check_versions(find_machine(), find_packages()) if finding.state == FAILED
    ] == []


def test_tensorflow_loads_with_the_plugin(run):
    findings, _ = run("tensorflow")
    assert failures(findings) == []


def test_the_gpu_gives_the_numbers_of_the_cpu(run):
    _, measured = run("tensorflow")
    if not measured["gpus"]:
        pytest.skip("TensorFlow loads with tensorflow-metal, and sees no GPU: a virtual machine?")
    findings, _ = run("compare")
    assert findings and failures(findings) == []
