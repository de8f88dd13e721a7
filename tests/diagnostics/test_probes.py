"""Operations that were wrong on some devices are found, and right ones pass."""

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
    finding = probes.probe(name, run)
    assert finding.state == FAILED
    assert meaning in finding.remedy


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
