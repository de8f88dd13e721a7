import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfseg.config.parse import load_config
from tfseg.config.schema import Augment, Config, Data, Loss, Model, Optimizer, Train
from tfseg.device import choose_device
from tfseg.diagnostics import checks as doctor_checks
from tfseg.diagnostics import device, doctor, speed
from tfseg.diagnostics.checks import DOUBLE, FAILED, OK, PLAIN, WARNING, Finding, Machine

MAC = Machine("Darwin", "arm64", (3, 12), "14.5", apple=True)
METAL = {"tensorflow": "2.19.1", "tensorflow-metal": "1.2.0", "keras": "3.15.1"}
CARD = Machine(nvidia=True)


@pytest.fixture(autouse=True)
def policy():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.fixture
def config(tmp_path):
    return Config(
        Data(str(tmp_path / "records"), size="32x32"),
        run_dir="none",
        augment=Augment(flip=0.5, rotation=10.0, contrast=0.2),
        model=Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8)),
        loss=Loss(1.0, 1.0),
        optimizer=Optimizer("adamw", weight_decay=0.01),
        train=Train(batch_size=2),
    )


# ---- versions


@pytest.mark.parametrize(
    ("machine", "packages"),
    [
        (MAC, METAL),
        (Machine(), {"tensorflow-cpu": "2.21.0", "keras": "3.15.1"}),
        (CARD, {"tensorflow": "2.18.0", "keras": "3.12.0"}),
        (Machine("Windows", "AMD64"), {"tensorflow-cpu": "2.20.0rc0", "keras": "3.15.1"}),
    ],
)
def test_packages_that_go_together(machine, packages):
    (finding,) = doctor_checks.check_versions(machine, packages)
    assert finding.state == OK
    assert all(version in finding.text for version in packages.values())


@pytest.mark.parametrize(
    ("machine", "packages", "state", "text", "remedy"),
    [
        (Machine(), {}, FAILED, "TensorFlow is not installed", "pip install 'tfseg[cpu]'"),
        (CARD, {}, FAILED, "TensorFlow is not installed", "pip install 'tfseg[cuda]'"),
        (MAC, {"tensorflow-metal": "1.2.0"}, FAILED, "TensorFlow is not installed", "pip install tfseg,"),
        (Machine("Darwin", "x86_64"), {}, FAILED, "not installed", "no build for Macs with Intel's chips"),
        (MAC, METAL | {"tensorflow": "2.20.0"}, FAILED, "_pywrap_tensorflow_internal.so", doctor_checks.METAL_PAIR),
        (MAC, METAL | {"tensorflow": "2.21.0"}, FAILED, "2.21.0 cannot load", "'tensorflow>=2.18,<2.20'"),
        (MAC, METAL | {"tensorflow": "2.17.1"}, FAILED, "tensorflow 2.17.1 is too old", "'tensorflow>=2.18'"),
        (MAC, METAL | {"tensorflow-metal": "1.1.0"}, FAILED, "tensorflow-metal 1.1.0", "tensorflow-metal==1.2.0"),
        (MAC, {"tensorflow": "2.19.1"}, WARNING, "tensorflow-metal is not installed", "tensorflow-metal==1.2.0"),
        (MAC._replace(python=(3, 13)), {"tensorflow": "2.21.0"}, WARNING, "no wheel for Python 3.13", "3.11 or 3.12"),
        (MAC._replace(machine="x86_64"), METAL, FAILED, "under Rosetta", "for Apple Silicon"),
        (MAC._replace(macos="13.6.1"), METAL, WARNING, "macOS 13.6.1 has no bfloat16", "macOS 14"),
        (MAC, METAL | {"tensorflow-macos": "2.16.2"}, WARNING, "empty shell", "pip uninstall tensorflow-macos"),
        (Machine(), {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"}, FAILED, "own the same files", "uninstall -y"),
        (CARD, {"tensorflow-cpu": "2.21.0"}, WARNING, "built for the CPU alone", "pip install 'tfseg[cuda]'"),
        (Machine(), {"tensorflow": "2.21.0", "keras": "3.9.2"}, FAILED, "keras 3.9.2 is too old", "'keras>=3.12'"),
    ],
)
def test_packages_that_do_not(machine, packages, state, text, remedy):
    (finding,) = doctor_checks.check_versions(machine, packages)
    assert finding.state == state
    assert text in finding.text
    assert remedy in finding.remedy


def test_a_card_that_tensorflow_does_not_see():
    (finding,) = doctor_checks.check_gpus(CARD, {"tensorflow": "2.21.0"}, 0)
    assert (finding.state, finding.remedy) == (WARNING, "pip install 'tfseg[cuda]'")
    assert doctor_checks.check_gpus(CARD, {"tensorflow": "2.21.0"}, 1) == []
    assert doctor_checks.check_gpus(Machine(), {"tensorflow": "2.21.0"}, 0) == []


def test_the_error_of_the_pair_that_does_not_load_has_its_remedy():
    error = (
        "tensorflow.python.framework.errors_impl.NotFoundError: dlopen(/x/tensorflow-plugins/libmetal_plugin.dylib, "
        "0x0006): Library not loaded: @rpath/_pywrap_tensorflow_internal.so"
    )
    errors = f"Traceback (most recent call last):\n  File ...\n{error}\n  Referenced from: /x/libmetal_plugin.dylib\n"
    assert doctor.describe_end(1, errors) == error
    assert doctor.judge_end("tensorflow", "tensorflow", error).remedy == doctor_checks.METAL_PAIR
    assert doctor_checks.find_remedy("ValueError: something else") == ""


# ---- processes


DONE = "print('tfseg.doctor: {\"done\": true}', flush=True)"


def child(code, seconds=20, part="compare"):
    items, finding, _ = doctor.run_child(part, [sys.executable, "-c", code], seconds)
    return items, finding


def test_what_a_child_says_is_kept_and_what_libraries_print_is_not():
    items, finding = child(f"print('hello'); print('tfseg.doctor: {{\"cache\": 1.5}}'); print('{{}}'); {DONE}")
    assert (items, finding) == ([{"cache": 1.5}], None)


@pytest.mark.parametrize("code", ["import os; os.abort()", "import time; time.sleep(60)"])
def test_how_a_child_ends_that_has_said_all(code):
    assert child(f"{DONE}; {code}", seconds=1) == ([], None)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise ValueError('no kernel')", "the GPU's side: ValueError: no kernel"),
        ("import os; os.abort()", "the GPU's side: killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "the GPU's side: killed by SIGKILL"),
        ("pass", "the GPU's side: ended before it was done"),
        ("import sys; sys.exit(3)", "the GPU's side: ended with exit code 3"),
        ("import time; time.sleep(60)", "the GPU's side: over 1 s, given up"),
    ],
)
def test_a_child_that_fails_is_a_finding(code, text):
    say = 'print(\'tfseg.doctor: {"began": "the GPU\\\'s side"}\', flush=True); '
    items, finding = child(say + code, seconds=1 if "sleep" in code else 20)
    assert items == [{"began": "the GPU's side"}]
    assert (finding.check, finding.state, finding.text) == ("compare", FAILED, text)


@pytest.mark.parametrize(
    ("began", "ending", "state"),
    [
        ("mixed_float16", "over 90 s, given up", WARNING),
        ("mixed_float16", "killed by SIGABRT", FAILED),
        ("float32", "over 90 s, given up", FAILED),
        (DOUBLE, "ResourceExhaustedError: no room", WARNING),
        (DOUBLE, "killed by SIGSEGV", FAILED),
    ],
)
def test_too_slow_or_too_large_is_no_failure_of_what_need_not_be(began, ending, state):
    assert doctor.judge_end(f"step {began}", began, ending).state == state


def test_no_child_is_left_after_an_interrupt(monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def communicate(self, *args, **kwargs):
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(KeyboardInterrupt):
        child("import time; time.sleep(60)")
    assert started[0].returncode == -signal.SIGKILL


# ---- the same batch twice


def arrays(**damage):
    reference = {name: np.arange(1.0, 9.0, dtype="float32") for name in ("stem", "stage0", "stage1", "head")}
    return reference, reference | {name: reference[name] + value for name, value in damage.items()}


def test_the_damaged_layers_are_named_in_order():
    found = doctor_checks.compare(*arrays(head=0.1, stage1=0.5), 1e-3)
    assert found.over == ["stage1", "head"]
    assert found.at == "stage1"
    assert found.largest == pytest.approx(0.5 * math.sqrt(8 / 204))
    finding = doctor_checks.judge_difference("forward", "GPU against CPU", found, 1e-3, "stop")
    assert (finding.state, finding.remedy) == (FAILED, "stop")
    assert "over 1e-03 are stage1, head" in finding.text and finding.text.startswith("forward: GPU against CPU")


@pytest.mark.parametrize(("damage", "over", "state"), [(5e-3, [], OK), (6e-3, ["head"], FAILED)])
def test_the_tolerance_is_a_share_of_the_norm(damage, over, state):
    found = doctor_checks.compare(*arrays(head=damage), 1e-3)  # of which sqrt(8 / 204) counts
    assert found.over == over
    assert doctor_checks.judge_difference("forward", "", found, 1e-3, "stop").state == state


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_does_not_pass(value):
    assert doctor_checks.compare(*arrays(stage0=value), 1e-3).over == ["stage0"]


def test_rounding_about_zero_is_no_difference():
    one, other = arrays()
    one["shift"], other["shift"] = np.float32([1e-8, -1e-8]), np.float32([-2e-8, 1e-8])
    assert doctor_checks.compare(one, other, 1e-3).over == []


def test_compiled_and_eager_agree(config):
    findings = [item for item in device.compare_devices(config) if isinstance(item, Finding)]
    assert [finding.state for finding in findings] == [OK, OK]
    assert all("no GPU, so compiled against eager on the CPU" in finding.text for finding in findings)


def test_a_layer_that_computes_otherwise_is_the_first_named(config, monkeypatch):
    """Eager, as the reference is, one layer inside the encoder is made another."""
    import tensorflow as tf

    build = device.build_network

    def build_damaged(*args):
        network = build(*args)
        layer = network.get_layer("tiny").get_layer("stage2_relu")
        layer.activation = lambda x: keras.ops.relu(x) * (1.1 if tf.executing_eagerly() else 1.0)
        return network

    monkeypatch.setattr(device, "build_network", build_damaged)
    found = [item["forward"] for item in device.compare_devices(config) if "forward" in item]
    assert found[0]["over"][0] == "stage2_relu"


def test_a_gradient_that_is_wrong_alone(config, monkeypatch):
    """The forward values agree, the gradient from one layer on does not."""
    import tensorflow as tf

    build = device.build_network

    @tf.custom_gradient
    def lossy(x):
        return tf.nn.relu(x), lambda gradient: gradient * (0.0 if tf.executing_eagerly() else 1.0)

    def build_damaged(*args):
        network = build(*args)
        network.get_layer("tiny").get_layer("stage4_relu").activation = lossy
        return network

    monkeypatch.setattr(device, "build_network", build_damaged)
    forward, gradient = (item for item in device.compare_devices(config) if isinstance(item, Finding))
    assert (forward.state, gradient.state) == (OK, FAILED)
    assert "over 1e-01 are stage4_bn/beta, stage4_bn/gamma" in gradient.text


@pytest.mark.parametrize("classes", [2, 8, 150])
def test_drawn_masks_hold_the_classes_of_the_records(classes):
    mask = speed.draw_batch((200, 300), 4, classes)["mask"]
    assert np.unique(mask).tolist() == [*range(classes)]


def test_dropout_is_off_in_the_comparison(config, monkeypatch):
    def build(*_):
        pixels, x = keras.Input((None, None, 3)), keras.Input((None, None, 3))
        inner = keras.Model(x, keras.layers.Conv2D(8, 1)(keras.layers.Dropout(0.5, name="drop")(x)))
        return keras.Model(pixels, inner(keras.layers.Rescaling(1 / 255, name="scale")(pixels)))

    monkeypatch.setattr(device, "build_network", build)
    batch, weights = speed.draw_batch((8, 8), 2), build().get_weights()
    sides = device.take_both_ways(config, choose_device("cpu"), batch, weights, "CPU:0", compiled=True)
    assert np.array_equal(sides["forward"]["drop"], sides["forward"]["scale"])


# ---- what was wrong on some devices


@pytest.mark.parametrize("name", device.PROBES)
def test_probes_pass_on_a_cpu(name):
    assert device.probe(name, device.run_compiled).state == OK


def without_relu(layer, x):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def with_wrong_rest(function, x):
    result = device.run_compiled(function, x)
    if isinstance(result, tuple | list):
        result[0][:, 16:] = result[0][:, 16:][:, ::-1]
    return result


def unsorted(function, x):
    result = device.run_compiled(function, x)
    return x if isinstance(result, np.ndarray) else result


def transposed(function, *arrays):
    return device.run_compiled(function, *arrays).transpose(0, 2, 1)


@pytest.mark.parametrize(
    ("name", "run", "meaning"),
    [
        ("a dense layer with ReLU", without_relu, "tfseg has no such layer; own models"),
        ("top_k and sort of 500", with_wrong_rest, "leave loss.lovasz at 0"),
        ("top_k and sort of 500", unsorted, "leave loss.lovasz at 0"),
        ("the confusion matrix", transposed, "scores from this device are wrong"),
    ],
)
def test_probes_fail_on_wrong_operations(name, run, meaning):
    finding = device.probe(name, run)
    assert finding.state == FAILED
    assert meaning in finding.remedy


def brighter(result):
    return result[0] + 2, result[1]


def other_classes(result):
    return result[0], np.roll(result[1], 1, axis=2)


def probe_augmentation(config, damage_numbers=dict, damage_pictures=tuple, kind="cpu"):
    def run(function, *arrays):
        result = device.run_compiled(function, *arrays)
        return damage_numbers(result) if isinstance(result, dict) else damage_pictures(result)

    return device.probe_augmentation(config, choose_device("cpu")._replace(kind=kind), run)


@pytest.mark.parametrize(("damage", "state"), [(tuple, OK), (brighter, FAILED), (other_classes, FAILED)])
def test_the_augmentation_is_compared(config, damage, state):
    assert probe_augmentation(config, damage_pictures=damage).state == state


def test_the_augmentation_is_compared_in_signed_bytes_on_metal(config):
    assert probe_augmentation(config, kind="metal").state == OK


def test_a_device_that_draws_other_numbers(config):
    finding = probe_augmentation(config, lambda numbers: {name: value + 0.1 for name, value in numbers.items()})
    assert finding.state == WARNING
    assert "other random numbers" in finding.text


# ---- rates


def test_input_bound():
    finding = doctor_checks.judge_rates(120.0, 400.0, 118.0, shared=False, raw=False)
    assert finding.state == WARNING
    assert "pipeline 120, step 400, together 118 pictures/s: input-bound" in finding.text and "1/3.3" in finding.text
    assert "data.cache ram" in finding.remedy and "--codec raw" in finding.remedy
    assert "--codec raw" not in doctor_checks.judge_rates(120.0, 400.0, 118.0, shared=False, raw=True).remedy


def test_compute_bound():
    finding = doctor_checks.judge_rates(1200.0, 200.0, 190.0, shared=True, raw=False)
    assert (finding.state, finding.remedy) == (OK, "")
    assert "compute-bound" in finding.text and "6.0 such steps" in finding.text
    assert "train.batch_size" in finding.text and "on the same cores" in finding.text


def test_steps_are_timed_and_the_plain_optimizer_is_that_of_keras(config, monkeypatch):
    monkeypatch.setattr(speed, "ROUND_SECONDS", 0.01)
    plain = speed.build_learner(config, choose_device("cpu"), plain=True).optimizer
    fused = speed.build_learner(config, choose_device("cpu")).optimizer
    assert type(plain) is keras.optimizers.AdamW and type(fused).__module__ == "tfseg.training.optimizers"
    assert plain.weight_decay == fused.weight_decay == 0.01
    *_, last = speed.time_steps(config, "mixed_bfloat16")
    steps = last["steps"]
    assert steps["mixed_bfloat16"]["gain"] == pytest.approx(
        steps["float32"]["seconds"] / steps["mixed_bfloat16"]["seconds"]
    )
    assert steps["float32"]["pictures_per_second"] == pytest.approx(2 / steps["float32"]["seconds"])


def test_the_input_is_measured_on_drawn_records(config, monkeypatch):
    monkeypatch.setattr(speed, "RATE_SECONDS", 0.05)
    assert list(speed.write_pictures(config)) == [{"records": "32 drawn pictures of 32x32, JPEG"}]
    items = list(speed.measure_input(config))
    rates = next(item["input"] for item in items if "input" in item)
    assert min(rates.values()) > 0
    assert any(isinstance(item, Finding) and item.check == "input" for item in items)


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
    text = doctor_checks.write_fragment(("cpu", "no GPU"), steps(**gains), 8, None)
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: runs/x\ndata:\n  records: none\n{text}")
    config = load_config(file)
    assert (config.accelerator.kind, config.accelerator.precision) == ("cpu", precision)
    assert config.train.batch_size == 8
    assert all("#" in line for line in text.splitlines() if not line.endswith(":"))


def test_batch_size_and_cache_only_where_they_help(tmp_path):
    gains = {DOUBLE: 1.5}
    text = doctor_checks.write_fragment(("cuda", "1 GPU seen"), steps(**gains), 8, 3.0)
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: runs/x\n{text}  records: none\n")
    config = load_config(file)
    assert (config.train.batch_size, config.data.cache) == (16, "ram")
    assert "train" not in doctor_checks.write_fragment(("cuda", ""), steps(**{DOUBLE: 1.05}), 8, 1.0)


# ---- the command


GOOD = {
    "tensorflow": [{"tensorflow": "2.19.1", "gpus": [{}]}],
    "backend": [{"backend": "tensorflow", "kind": ["cuda", "1 GPU seen"]}],
    "step mixed_bfloat16": [{"steps": {"mixed_bfloat16": {"gain": 2.0}}}],
    "input": [{"input": {"step": math.nan}}, {"finding": ["input", OK, f"{Path.home()}/records", ""]}],
}


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command with children that say what they are told to; returns exit code and parts."""

    def run(children, *arguments):
        ran = []

        def run_child(part, command, seconds):
            ran.append(part)
            items, failure = children.get(part, []), None
            if isinstance(items, str):
                items, failure = [], Finding(part, FAILED, items)
            return [dict(item) for item in items], failure, "last words"

        monkeypatch.setattr(doctor, "run_child", run_child)
        monkeypatch.setattr(doctor, "find_machine", Machine)
        monkeypatch.setattr(doctor, "find_packages", lambda: {"tensorflow": "2.19.1", "keras": "3.15.1"})
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["doctor", *arguments])
        with pytest.raises(SystemExit) as exit:
            doctor.main()
        assert list(tmp_path.glob("tfseg-doctor-*")) == []
        return exit.value.code, ran

    return run


def test_all_is_well(command, capsys):
    code, ran = command(GOOD)
    assert code == 0
    assert ran == [
        *("tensorflow", "backend", "compare", "operations"),
        *(f"step {variant}" for variant in doctor_checks.VARIANTS),
        *("records", "input"),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert "  kind: cuda  # 1 GPU seen" in lines
    assert "  precision: mixed_bfloat16  # 2.00 times the pictures/s of float32" in lines
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


def test_an_interrupt_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def examine(config, report, synthetic):
        assert report.config.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "examine", examine)
    with pytest.raises(KeyboardInterrupt):
        doctor.doctor(SimpleNamespace(config=None, records=None, size=None, full=False, json=None))
    assert list(tmp_path.iterdir()) == []


def test_json_is_strict_and_names_nobody(command, capsys, tmp_path):
    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    command(GOOD, "--json", str(tmp_path / "report.json"))
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    report = json.loads(text, parse_constant=refuse)
    assert str(Path.home()) not in text
    assert report["measured"]["input"]["step"] is None
    assert report["findings"][-1]["text"] == "~/records"
    assert report["config"].startswith("device:")
    capsys.readouterr()
    command(GOOD, "--json", "-")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["config"] == report["config"]
    assert "nothing failed" in printed.err


def test_names_of_users_are_left_out():
    scrubbed = doctor_checks.scrub({"a": ["/home/ann/x", "/data/ann/y", "cannot", math.inf]}, "/home/ann", "ann")
    assert scrubbed == {"a": ["~/x", "/data/USER/y", "cannot", None]}


def test_a_config_is_examined(tmp_path, tiny_records):
    file = tmp_path / "run.yaml"
    file.write_text(f"run_dir: r\ndata:\n  records: {tiny_records}\n  size: 64x64\ntrain:\n  batch_size: 3\n")
    options = SimpleNamespace(config=str(file), records=None, size="32x64", full=False)
    config, synthetic = doctor.choose_config(options, tmp_path)
    assert (config.data.records, config.data.size, config.train.batch_size) == (str(tiny_records), "32x64", 3)
    assert not synthetic
    file.write_text("run_dir: r\ndata:\n  records: nowhere\nloss:\n  class_weights: manifest\n  focal: 1.0\n")
    config, synthetic = doctor.choose_config(options, tmp_path)
    assert synthetic and config.data.records == str(tmp_path / "records")
    assert config.loss == Loss(focal=1.0), "there are no pixels to count yet"


def test_full_is_the_large_network(tmp_path):
    options = SimpleNamespace(config=None, records=None, size=None, full=True)
    config, _ = doctor.choose_config(options, tmp_path)
    assert (config.model.encoder, config.data.size, config.train.batch_size) == ("efficientnetb3", "320x320", 8)


def test_help_needs_no_tensorflow():
    code = (
        "import sys\nfrom tfseg import doctor\nsys.argv = ['doctor', '--help']\n"
        "try:\n    doctor.main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(' '.join({'tensorflow', 'keras', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--records DIR" in done.stdout and "--part" not in done.stdout


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
