"""The command that examines a machine, with parts that are literals, and once as a whole."""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tfseg import __version__, doctor
from tfseg.diagnostics import checks
from tfseg.diagnostics import doctor as room
from tfseg.diagnostics.checks import DOUBLE, FAILED, OK, PLAIN, WARNING, Finding, Machine
from tfseg.diagnostics.parts import Outcome

GOOD = {
    "tensorflow": [{"tensorflow": "2.19.1", "gpus": [{}]}],
    "backend": [{"backend": "tensorflow", "kind": ["cuda", "1 GPU seen"]}],
    "step mixed_bfloat16": [{"steps": {"mixed_bfloat16": {"gain": 2.0}}}],
    "input": [{"input": {"step": math.nan}}, {"finding": ["input", OK, f"{Path.home()}/records", ""]}],
}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command with parts that find what they are given; returns exit code and names of parts."""

    def run(children, *arguments):
        ran = []

        def start_part(part, config, seconds):
            ran.append(part)
            items, failure = children.get(part, []), None
            if isinstance(items, str):
                items, failure = [], Finding(part, FAILED, items)
            return Outcome([dict(item) for item in items], failure, "last words")

        monkeypatch.setattr(room, "start_part", start_part)
        monkeypatch.setattr(room, "find_machine", Machine)
        monkeypatch.setattr(room, "find_packages", lambda: {"tensorflow": "2.19.1", "keras": "3.15.1"})
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(SystemExit) as exit:
            doctor.main(arguments)
        assert list(tmp_path.glob("tfseg-doctor-*")) == []
        return exit.value.code, ran

    return run


def test_all_is_well(command, capsys):
    code, ran = command(GOOD)
    assert code == 0
    assert ran == [
        *("tensorflow", "backend", "compare", "operations"),
        *(f"step {variant}" for variant in checks.VARIANTS),
        *("records", "input"),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert "  kind: cuda  # 1 GPU seen" in lines
    assert "  precision: mixed_bfloat16  # 2.00 times the images/s of float32" in lines
    assert lines[-1].startswith("nothing failed: ")


def test_a_larger_batch_is_not_tried_on_a_cpu(command):
    _, ran = command(GOOD | {"backend": [{"backend": "tensorflow", "kind": ["cpu", "no GPU"]}]})
    assert f"step {DOUBLE}" not in ran and f"step {PLAIN}" in ran


def test_a_part_that_fails_stops_no_other(command, capsys):
    code, ran = command(GOOD | {"operations": "killed by SIGABRT"})
    assert code == 1
    assert ran[-1] == "input"
    assert "1 of " in capsys.readouterr().out.splitlines()[-1]


def test_warnings_are_no_failure(command):
    assert command(GOOD | {"input": [{"finding": ["input", WARNING, "input-bound", ""]}]})[0] == 0


def test_a_gpu_that_gives_other_numbers_is_not_chosen(command, capsys):
    code, _ = command(GOOD | {"compare": [{"finding": ["compare", FAILED, "over are stem", ""]}]})
    assert code == 1
    output = capsys.readouterr().out
    assert "  kind: cpu  # the GPU gives other numbers, see above" in output
    assert "  precision: float32" in output


def test_nothing_is_tried_where_tensorflow_does_not_load(command, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert command(GOOD | {"tensorflow": "no such library"}) == (1, ["tensorflow"])


def test_other_backends_go_without_what_is_tensorflows(command, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    backend = [{"backend": "torch", "kind": ["cpu", "torch places the work itself"]}]
    code, ran = command(GOOD | {"backend": backend, "tensorflow": "no such library"})
    assert code == 1
    assert not {"compare", "records", "input", f"step {PLAIN}"} & set(ran)
    output = capsys.readouterr().out
    assert "not compared: torch places the work itself" in output and "  kind: auto" in output


def test_json_is_strict_and_names_nobody(command, capsys, tmp_path):
    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    command(GOOD, "--json", str(tmp_path / "report.json"))
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=refuse)
    assert str(Path.home()) not in text
    assert report["measured"]["input"]["step"] is None
    assert report["findings"][-1]["text"] == "~/records"
    assert report["config"].startswith("accelerator:")
    capsys.readouterr()
    for arguments in (["--json", "-"], ["--json"]):
        command(GOOD, *arguments)
        printed = capsys.readouterr()
        assert json.loads(printed.out)["config"] == report["config"]
        assert "nothing failed" in printed.err


def test_json_is_what_the_help_says(command, capsys):
    command(
        GOOD | {"compare": [{"finding": ["compare", FAILED, "over are stem", "set accelerator.kind to cpu"]}]}, "--json"
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["schema_version"], report["tfseg"]) == (1, __version__)
    assert {
        "check": "compare",
        "state": "failed",
        "text": "over are stem",
        "remedy": "set accelerator.kind to cpu",
    } in (report["findings"])
    assert {finding["state"] for finding in report["findings"]} <= {"ok", "warning", "failed"}
    with pytest.raises(SystemExit):
        doctor.main(["--help"])
    described = capsys.readouterr().out
    for name in (*report, *report["findings"][0]):
        assert re.search(rf"\b{name}\b", described), f"--help does not name {name}"


def test_help_needs_no_tensorflow():
    code = (
        "import sys\nfrom tfseg import doctor\nsys.argv = ['doctor', '--help']\n"
        "try:\n    doctor.main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(' '.join({'tensorflow', 'keras', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--records DIR" in done.stdout


@pytest.mark.slow
def test_the_whole_command(tmp_path):
    report = tmp_path / "report.json"
    words = [sys.executable, "-m", "tfseg.doctor", "--size", "32x32", "--json", str(report)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout
    checks = {finding["check"] for finding in json.loads(report.read_text(encoding="utf-8"))["findings"]}
    assert checks == {"machine", "versions", "device", "compare", "operations", "step", "input"}
    assert list(tmp_path.glob("tfseg-doctor-*")) == []
