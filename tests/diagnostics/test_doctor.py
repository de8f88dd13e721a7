"""The examination of a machine: which settings it takes, and what it leaves."""

import tempfile

import pytest

from tfseg.config.schema import Loss
from tfseg.diagnostics import doctor
from tfseg.diagnostics.checks import FAILED, OK, Finding, Machine


def test_an_interrupt_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def examine(config, report, synthetic):
        assert report.config.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", examine)
    with pytest.raises(KeyboardInterrupt):
        doctor.examine_machine()
    assert list(tmp_path.iterdir()) == []


def test_a_config_is_examined(tmp_path, tiny_records):
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: r\ndata:\n  records: {tiny_records}\n  size: 64x64\ntrain:\n  batch_size: 3\n")
    options = {"full": False, "size": "32x64", "records": None}
    config, synthetic = doctor.choose_config(tmp_path, file, **options)
    assert (config.data.records, config.data.size, config.train.batch_size) == (str(tiny_records), "32x64", 3)
    assert not synthetic
    file.write_text("run_dir: r\ndata:\n  records: nowhere\nloss:\n  class_weights: manifest\n  focal: 1.0\n")
    config, synthetic = doctor.choose_config(tmp_path, file, **options)
    assert synthetic and config.data.records == str(tmp_path / "records")
    assert config.loss == Loss(focal=1.0), "there are no pixels to count yet"


def test_full_is_the_large_network(tmp_path):
    config, _ = doctor.choose_config(tmp_path, None, full=True, size=None, records=None)
    assert (config.model.encoder, config.data.size, config.train.batch_size) == ("efficientnetb3", "320x320", 8)


def test_records_that_are_not_there_end_it_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder of records"):
        doctor.examine_machine(records=tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_road_on_a_mac_comes_last(monkeypatch, tmp_path, wrong):
    machine = Machine("Darwin", "arm64", (3, 12), "15.5", apple=True)
    packages = {"tensorflow": "2.19.1", "tensorflow-metal": "1.2.0", "keras": "3.15.1"}
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setattr(doctor, "find_machine", lambda: machine)
    monkeypatch.setattr(doctor, "find_packages", lambda: packages)
    monkeypatch.setattr(doctor, "find_processor", lambda: "Apple M1")
    monkeypatch.setattr(doctor, "examine_training", lambda config, report, *_: report.add(*found) or "")
    found = [Finding("compare", FAILED if wrong else OK, "forward: GPU against CPU")]
    report = doctor.Report(tmp_path / "config.yaml", 1, lambda line: None)
    report.measured["kind"] = ["metal", "1 GPU seen"]
    doctor.examine(doctor.make_config(tmp_path, full=False), report, synthetic=True)
    named, advice = report.findings[-2:]
    assert named.check == advice.check == "road"
    assert named.text.startswith("Apple M1, macOS 15.5: to the GPU by tensorflow 2.19.1, tensorflow-metal 1.2.0; ")
    assert (advice.state, "wrong on this road: forward" in advice.text) == ((FAILED, True) if wrong else (OK, False))


def test_the_road_is_that_of_kerass_backend(monkeypatch, tmp_path):
    packages = {"tensorflow": "2.19.1", "tensorflow-metal": "1.2.0", "torch": "2.13.0"}
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setattr(doctor, "find_machine", lambda: Machine("Darwin", "arm64", (3, 12), "15.5", apple=True))
    monkeypatch.setattr(doctor, "find_packages", lambda: packages)
    monkeypatch.setattr(doctor, "find_processor", lambda: "Apple M1")
    monkeypatch.setattr(doctor, "examine_training", lambda *_: "")
    report = doctor.Report(tmp_path / "config.yaml", 1, lambda line: None)
    doctor.examine(doctor.make_config(tmp_path, full=False), report, synthetic=True)
    named, advice = report.findings[-2:]
    assert named.text.endswith("torch 2.13.0 would lead to the GPU, but Keras did not load")
    assert advice.remedy == "export KERAS_BACKEND=tensorflow", "tensorflow-metal is there already"


@pytest.mark.parametrize(
    ("package", "macos", "tried"),
    [
        ("tensorflow-metal", "15.5", True),
        ("tensorflow-metal", "13.6", False),
        ("tensorflow-metal-plugin", "15.5", False),
    ],
)
def test_a_precision_that_the_gpu_lacks_is_not_tried(monkeypatch, tmp_path, package, macos, tried):
    machine = Machine("Darwin", "arm64", (3, 12), macos, apple=True)
    report, ran = doctor.Report(tmp_path / "config.yaml", 1, lambda line: None), []
    report.measured = {
        "gpus": [{}],
        "backend": "tensorflow",
        "kind": ["metal", ""],
        "steps": {},
        "tensorflow": "2.21.0",
    }
    monkeypatch.setattr(report, "run", lambda part: ran.append(part) or True)
    doctor.examine_training(doctor.make_config(tmp_path, full=False), report, True, machine, {package: "1"})
    assert ("step mixed_bfloat16" in ran) == tried and "step mixed_float16" in ran
