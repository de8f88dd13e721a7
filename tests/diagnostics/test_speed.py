"""How fast a machine trains: steps and input, measured for an instant."""

import keras
import numpy as np
import pytest

from tfseg.device import choose_device
from tfseg.diagnostics import speed
from tfseg.diagnostics.checks import Finding


@pytest.mark.parametrize("classes", [2, 8, 150])
def test_drawn_masks_hold_the_classes_of_the_records(classes):
    mask = speed.draw_batch((200, 300), 4, classes)["mask"]
    assert np.unique(mask).tolist() == [*range(classes)]


@pytest.mark.long
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


@pytest.mark.long
def test_the_input_is_measured_on_drawn_records(config, monkeypatch):
    monkeypatch.setattr(speed, "RATE_SECONDS", 0.05)
    assert list(speed.write_images(config)) == [{"records": "32 synthetic images of 32x32, JPEG"}]
    items = list(speed.measure_input(config))
    rates = next(item["input"] for item in items if "input" in item)
    assert min(rates.values()) > 0
    assert any(isinstance(item, Finding) and item.check == "input" for item in items)
