"""Operations that were wrong on some devices are found, and right ones pass."""

import keras
import numpy as np
import pytest

from tfseg.device import choose_device
from tfseg.diagnostics import probes
from tfseg.diagnostics.checks import FAILED, OK, WARNING


@pytest.mark.parametrize("name", probes.PROBES)
def test_probes_pass_on_a_cpu(name):
    assert probes.probe(name, probes.run_compiled).state == OK


def without_relu(layer, x):
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def with_wrong_rest(function, x):
    result = probes.run_compiled(function, x)
    if isinstance(result, tuple | list):
        result[0][:, 16:] = result[0][:, 16:][:, ::-1]
    return result


def unsorted(function, x):
    result = probes.run_compiled(function, x)
    return x if isinstance(result, np.ndarray) else result


def transposed(function, *arrays):
    return probes.run_compiled(function, *arrays).transpose(0, 2, 1)


def with_one_image_for_all(function, *arrays):
    result = probes.run_compiled(function, *arrays)
    return np.broadcast_to(result[:1], result.shape)


def rounded(function, x):
    return [np.round(part, 1) for part in probes.run_compiled(function, x)]


@pytest.mark.parametrize(
    ("name", "run", "meaning"),
    [
        ("a convolution and its gradients", with_one_image_for_all, "a network cannot be trained on this device"),
        ("a depthwise convolution of a batch, and its gradients", with_one_image_for_all, "cannot be trained"),
        ("a convolution of a doubled image", with_one_image_for_all, "cannot be trained"),
        ("sigmoid in half precision", rounded, "set accelerator.precision to float32"),
        ("a dense layer with ReLU", without_relu, "tfseg has no such layer; own models"),
        ("top_k and sort of 500", with_wrong_rest, "leave loss.lovasz at 0"),
        ("top_k and sort of 500", unsorted, "leave loss.lovasz at 0"),
        ("the confusion matrix", transposed, "scores from this device are wrong"),
    ],
)
def test_probes_fail_on_wrong_operations(name, run, meaning):
    finding = probes.probe(name, run)
    assert finding.state == FAILED
    assert meaning in finding.remedy


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("name", [name for name in probes.PROBES if "gradients" in name])
def test_probes_fail_on_wrong_gradients(monkeypatch, name, shift):
    """Of the kernel alone, or of the input alone."""
    plain = keras.Layer.get_weights

    def wrong(layer):
        weights = plain(layer)
        return [1.1 * weight + 0.1 for weight in weights] if isinstance(layer, probes.Shift) == shift else weights

    train = keras.Model.train_on_batch

    def then_err(model, *arguments):
        loss = train(model, *arguments)
        monkeypatch.setattr(keras.Layer, "get_weights", wrong)
        return loss

    monkeypatch.setattr(keras.Model, "train_on_batch", then_err)
    assert probes.probe(name, probes.run_compiled).state == FAILED


@pytest.mark.parametrize("place", [0, 1])
def test_sigmoids_are_tried_in_both_kinds_of_half_precision(place):
    def one_wrong(function, x):
        parts = [*probes.run_compiled(function, x)]
        parts[place] = np.round(parts[place], 1)
        return parts

    assert probes.probe("sigmoid in half precision", one_wrong).state == FAILED


@pytest.mark.parametrize(("own", "state"), [(0.0008, OK), (0.0229, WARNING)])
def test_a_slow_layout_is_found(own, state):
    seconds = {"channels first": 0.0008, "channels last": 0.0229, probes.KERAS: own}
    finding = probes.judge_layouts(seconds)
    assert finding.state == state
    assert "channels first 0.8 ms, channels last 22.9 ms" in finding.text


def brighter(result):
    return result[0] + 2, result[1]


def other_classes(result):
    return result[0], np.roll(result[1], 1, axis=2)


def probe_augmentation(config, damage_numbers=dict, damage_images=tuple, kind="cpu"):
    def run(function, *arrays):
        result = probes.run_compiled(function, *arrays)
        return damage_numbers(result) if isinstance(result, dict) else damage_images(result)

    return probes.probe_augmentation(config, choose_device("cpu")._replace(kind=kind), run)


@pytest.mark.parametrize(("damage", "state"), [(tuple, OK), (brighter, FAILED), (other_classes, FAILED)])
def test_the_augmentation_is_compared(config, damage, state):
    assert probe_augmentation(config, damage_images=damage).state == state


def test_the_augmentation_is_compared_in_signed_bytes_on_metal(config):
    assert probe_augmentation(config, kind="metal").state == OK


def test_a_device_that_draws_other_numbers(config):
    finding = probe_augmentation(config, lambda numbers: {name: value + 0.1 for name, value in numbers.items()})
    assert finding.state == WARNING
    assert "other random numbers" in finding.text
