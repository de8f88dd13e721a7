"""Which runtime is named as the fastest, with processes that are literals, and once with TensorFlow in a real one."""

import json

import numpy as np
import pytest
from helper_models import write_model

from tfseg import doctor
from tfseg.diagnostics import runtimes
from tfseg.diagnostics.checks import FAILED, OK, WARNING, Finding
from tfseg.diagnostics.parts import Outcome
from tfseg.inference.runtimes.choice import RUNTIMES


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for runtime in RUNTIMES.values():
        (folder / runtime.file).write_bytes(b"")
    (folder / "labels.json").write_text("{}")
    return folder


@pytest.fixture
def children(monkeypatch):
    """Name -> milliseconds and mask of each runtime, or why it ended."""
    found = {
        "tensorflow": (90.0, [0, 1, 2, 3] * 2500),
        "onnxruntime": (60.0, [0, 1, 2, 3] * 2500),
        "openvino": (50.0, [0, 1, 2, 3] * 2500),
        "litert": (70.0, [0, 1, 2, 3] * 2500),
        "litert_float16": (70.0, [0, 1, 2, 3] * 2500),
        "litert_int8": (20.0, [0, 1, 2, 2] * 1000 + [0, 1, 2, 3] * 1500),
        "litert_mixed": (40.0, [0, 1, 2, 3] * 2500),
        "litert_weight_only": (70.0, [0, 1, 2, 3] * 2500),
    }

    def run_child(name, words, seconds):
        if isinstance(found[name], str):
            return Outcome([], Finding(name, FAILED, found[name], "remedy"), "")
        np.save(words[-1], np.array(found[name][1]))
        return Outcome([{"version": "1.2", "size": "24x32", "milliseconds": found[name][0]}], None, "")

    monkeypatch.setattr(runtimes, "run_child", run_child)
    monkeypatch.setattr(runtimes, "is_installed", lambda name: True)
    return found


def test_each_is_timed_and_the_fastest_named(model, children):
    findings = runtimes.examine_model(model)
    assert [finding.state for finding in findings] == [OK] * 9
    assert findings[0].text == "TensorFlow 1.2: 90.0 ms an image of 24x32"
    assert findings[2].text.endswith("50.0 ms an image of 24x32, 100.00 % of pixels as TensorFlow has them")
    assert findings[5].text.endswith("90.00 % of pixels as TensorFlow has them")
    assert findings[8].text == "the fastest here is OpenVINO: --runtime openvino", "int8 is for who asks for it"


def test_other_masks_are_a_warning(model, children):
    children["onnxruntime"] = 60.0, [0, 1, 2, 3] * 2499 + [0, 1, 3, 2]
    children["litert_int8"] = 20.0, [0, 1, 2, 2] * 1001 + [0, 1, 2, 3] * 1499
    states = {finding.text.split(" 1.2")[0]: finding.state for finding in runtimes.examine_model(model)}
    assert states["ONNX Runtime"] == states["LiteRT, int8"] == WARNING and states["OpenVINO"] == OK


def test_what_is_missing_or_crashes_stops_no_other(model, children, monkeypatch):
    monkeypatch.setattr(runtimes, "is_installed", lambda name: name != "tensorflow")
    children["openvino"] = "killed by SIGILL"
    findings = runtimes.examine_model(model)
    assert findings[0][1:] == (WARNING, "TensorFlow: not installed", "pip install 'tf-segmentation[cpu]'")
    assert findings[1].text == "ONNX Runtime 1.2: 60.0 ms an image of 24x32", "with which the others are compared"
    assert findings[2][1:] == (FAILED, "OpenVINO: killed by SIGILL", "remedy")
    assert findings[-1].text == "the fastest here is ONNX Runtime: --runtime onnxruntime"


def test_of_one_there_is_no_fastest(model, children):
    for runtime in [runtime for name, runtime in RUNTIMES.items() if name != "onnxruntime"]:
        (model / runtime.file).unlink()
    [finding] = runtimes.examine_model(model)
    assert finding.text == "ONNX Runtime 1.2: 60.0 ms an image of 24x32"


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
def test_the_command(model, children, capsys, fails, code):
    if fails:
        children["litert"] = "killed by SIGSEGV"
    with pytest.raises(SystemExit) as stopped:
        doctor.main(["--model", str(model), "--json"])
    assert stopped.value.code == code
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["model"], len(found["findings"])) == (1, "model", 9)
    with pytest.raises(SystemExit):
        doctor.main(["--model", str(model), "--size", "24x32"])
    assert "--size is of a training; give it without --model" in capsys.readouterr().err


def test_in_a_process_of_its_own(tmp_path):
    folder = write_model(tmp_path / "model")
    [finding] = runtimes.examine_model(folder)
    assert (
        finding.state == OK and finding.text.startswith("TensorFlow 2.") and " ms an image of 256x256" in finding.text
    )
