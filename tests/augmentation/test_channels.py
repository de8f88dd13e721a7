"""Augmentation of images of other channels than RGB: all effects but those that take colours apart."""

import keras
import numpy as np
import pytest

from tfseg.augmentation.augmenter import Augmenter

EFFECTS = {"flip": 0.5, "rotation": 20, "zoom": (0.8, 1.25), "perspective": 0.1, "brightness": 0.2, "contrast": 0.3}
EFFECTS |= {"gamma": (0.7, 1.4), "tone_curve": 0.2, "blur": 1.0, "noise": 0.05, "cutout": 0.3, "class_mix": 0.5}


def augment(image, mask, **settings):
    found = Augmenter(channels=image.shape[-1], num_classes=3, seed=0, **settings)(image, mask)
    return [keras.ops.convert_to_numpy(array) for array in found]


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 4, 6])
def test_all_other_effects_work(channels):
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, channels), np.uint8)
    mask = np.random.default_rng(1).integers(0, 3, (2, 16, 24), np.uint8)
    changed, ids = augment(image, mask, **EFFECTS)
    assert changed.shape == image.shape and ids.shape == mask.shape
    assert changed.min() >= 0 and changed.max() <= 255 and {*np.unique(ids)} <= {0, 1, 2}
    assert not np.array_equal(changed, image)


@pytest.mark.long
def test_channels_are_changed_as_those_of_rgb_are():
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    mask = np.ones((2, 16, 24), np.uint8)
    settings = {"flip": 0.5, "rotation": 20, "brightness": 0.2, "contrast": 0.3, "gamma": (0.7, 1.4), "blur": 1.0}
    expected, _ = augment(image, mask, **settings)
    for channel in range(3):
        found, _ = augment(image[..., channel : channel + 1], mask, **settings)
        np.testing.assert_allclose(found[..., 0], expected[..., channel], atol=1e-2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"saturation": 0.3}, "augment.saturation: of RGB alone, but these images have 1 channel; set it to 0"),
        ({"hue": 5, "saturation": 0.1}, "augment.saturation and augment.hue: of RGB alone, .*; set both to 0"),
    ],
)
def test_effects_of_colour_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmenter(channels=1, **settings)
    Augmenter(channels=3, **settings)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match="image: expected 3 channels, got 1"):
        Augmenter()(np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 4, 4), np.uint8))
