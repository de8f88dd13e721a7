"""The command that describes a network, on tiny ones."""

import dataclasses
import json

import keras
import pytest
from helpers import write_run

from tfseg import describe as verb
from tfseg.config.parse import save_config
from tfseg.config.schema import Config, Data, Model, Train


@pytest.fixture(autouse=True)
def policy():
    yield
    keras.mixed_precision.set_dtype_policy("float32")


def settings(**others):
    """Of a network that takes a second, and of a loss that would need records."""
    return Config(
        Data("nowhere", size="32x64"), "none", model=Model("tiny", None, decoder_channels=(8, 8, 8, 8, 8)), **others
    )


@pytest.fixture
def describe(tmp_path, capsys):
    """Runs the command on a training, and gives its JSON and what it printed."""

    def run(config, *arguments):
        save_config(config, tmp_path / "config.yaml")
        source = [] if "--run" in arguments else ["--config", str(tmp_path / "config.yaml")]
        out = tmp_path / "model.json"
        verb.main([*source, "--json", str(out), *arguments])
        return json.loads(out.read_text()), capsys.readouterr().out

    return run


def test_parts_make_the_whole(describe):
    found, printed = describe(settings(train=Train(batch_size=2)))
    parameters, gmacs, memory = found["parameters"], found["gmacs"], found["estimated_bytes"]
    assert parameters["head"] == 3 * 3 * 8 * 8 + 8
    assert parameters["all"] == sum(parameters[part] for part in ("encoder", "decoder", "head"))
    assert parameters["all"] == parameters["trainable"] + parameters["not_trainable"] == parameters["bytes"] / 4
    assert gmacs["head"] == pytest.approx(32 * 64 * 3 * 3 * 8 * 8 / 1e9)
    assert gmacs["all"] == pytest.approx(sum(gmacs[part] for part in ("encoder", "decoder", "head")))
    assert found["gflops"] == 2 * gmacs["all"]
    assert memory["weights"] == parameters["bytes"] and memory["gradients"] == 4 * parameters["trainable"]
    assert memory["optimizer"] == pytest.approx(2 * memory["gradients"], rel=0.01)  # Adam's two slots, and its counts
    assert found["not_counted"] == {} and "metal" not in found and "measured" not in found
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines())
    assert lines["network"] == "tiny, 32x64, batch 2, float32"
    assert lines["parameters"].startswith(f"{parameters['all']:,}: encoder {parameters['encoder']:,}, decoder ")


def test_settings_size_and_batch(describe):
    whole, _ = describe(settings())
    found, _ = describe(settings(), "--size", "64x64", "--batch", "4", "--optimizer.ema", "0.9")
    assert (found["size"], found["batch_size"], whole["batch_size"]) == ([64, 64], 4, 8)
    assert found["gmacs"]["all"] == pytest.approx(2 * whole["gmacs"]["all"])
    assert found["estimated_bytes"]["activations"] == whole["estimated_bytes"]["activations"]  # 4 x 64x64 = 8 x 32x64
    slots = [one["estimated_bytes"]["optimizer"] / one["estimated_bytes"]["gradients"] for one in (whole, found)]
    assert slots == pytest.approx([2, 3], rel=0.01)


@pytest.mark.slow
def test_a_run(describe, tmp_path):
    config = dataclasses.replace(settings(train=Train(batch_size=2)), run_dir=str(tmp_path / "run"))
    found, _ = describe(config, "--run", str(write_run(config)), "--size", "32x32")
    assert (found["batch_size"], found["size"]) == (2, [32, 32])


@pytest.mark.slow
def test_what_would_leave_metal(describe):
    found, printed = describe(settings(train=Train(batch_size=2)), "--metal")
    assert found["metal"]["passes"] and found["metal"]["lines"][-1] == "passes"
    assert printed.splitlines()[-1].split() == ["passes"]


@pytest.mark.slow
def test_memory_and_speed_are_measured(describe):
    found, printed = describe(settings(train=Train(batch_size=2)), "--measure")
    measured = found["measured"]
    assert measured["kind"] == "cpu"
    assert measured["peak_bytes"] > measured["bytes_before"] + found["estimated_bytes"]["all"]
    assert measured["inferred_pictures_per_second"] > measured["trained_pictures_per_second"] > 0
    assert f"{measured['trained_pictures_per_second']:.2f} images/s in batches of 2" in printed


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ([], SystemExit, "one of the arguments --config --run is required"),
        (["--run", "x", "--model.encoder", "tiny"], SystemExit, "--model.encoder: settings go with --config"),
        (["--run", "nowhere"], OSError, "nowhere: holds no run"),
    ],
)
def test_wrong_arguments(wrong, error, message, capsys):
    with pytest.raises(error) as raised:
        verb.main(wrong)
    assert message in capsys.readouterr().err + str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "message"), [(["--size", "32"], "data.size: expected a size"), (["--batch", "0"], "train.batch_size: ")]
)
def test_wrong_sizes(wrong, message, describe):
    with pytest.raises(ValueError, match=message):
        describe(settings(), *wrong)
