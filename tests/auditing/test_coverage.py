"""Gaps in classes, constant masks, masks unlike all others: by counts of pixels alone."""

import numpy as np
import pytest

from tfseg.auditing.coverage import find_constant, find_gaps, find_odd
from tfseg.auditing.features import Features

CLASSES = ["void", "road", "sky", "car"]
COMMON = [0, 60, 40, 0]


def features_of(splits):
    """Features of {split: [class pixels, ...]}, of which nothing else is known."""
    return [
        Features(
            split, f"{index}", index, (10, 10), b"", b"", np.zeros((32, 32), np.uint8), np.array(pixels), None, None
        )
        for split, images in splits.items()
        for index, pixels in enumerate(images)
    ]


def gaps(splits, few_images=1):
    return [(one.place, one.what) for one in find_gaps(features_of(splits), CLASSES, few_images)]


def test_a_class_that_a_split_lacks():
    with_car = [0, 60, 30, 10]
    assert gaps({"train": [COMMON, with_car], "val": [COMMON]}) == [
        ("val", "class car is in no image here, but in 1 of train")
    ]


def test_a_class_in_one_split_of_three():
    with_car = [0, 60, 30, 10]
    assert [what for _, what in gaps({"train": [with_car], "val": [COMMON], "test": [COMMON]})] == [
        "class car is in no image here, but in 1 of train; it is in train alone"
    ] * 2


def test_a_class_that_nobody_has():
    assert gaps({"train": [COMMON], "val": [COMMON]}) == [("train, val", "class car is in no image")]


def test_a_class_in_few_images():
    with_car = [0, 60, 30, 10]
    splits = {"train": [with_car, with_car, with_car, COMMON], "val": [with_car, with_car, COMMON]}
    assert gaps(splits, few_images=3) == [("val", "class car is in 2 images, fewer than 3")]


def test_a_split_without_ground_truth_lacks_nothing():
    assert gaps({"train": [[0, 60, 30, 10]], "test": [[100, 0, 0, 0]]}) == []


def constant(splits):
    return [(one.place, one.what) for one in find_constant(features_of(splits), CLASSES)]


def test_masks_of_one_value():
    assert constant({"train": [COMMON] * 20 + [[100, 0, 0, 0], [0, 100, 0, 0]]}) == [
        ("train/20", "the mask is all void, so that nothing is learnt from it"),
        ("train/21", "the mask is all road"),
    ]


def test_void_is_worse_than_a_class():
    void, road = find_constant(features_of({"train": [COMMON] * 20 + [[100, 0, 0, 0], [0, 100, 0, 0]]}), CLASSES)
    assert void.score > road.score


def test_many_masks_of_one_class_are_how_the_data_set_is():
    assert constant({"train": [COMMON] * 5 + [[0, 100, 0, 0]] * 5}) == [("train", "5 of 10 masks are road alone")]


def test_a_split_that_is_all_void_is_one_finding():
    assert constant({"test": [[100, 0, 0, 0]] * 3}) == [("test", "has no ground truth: all its masks are void")]


def test_a_mask_of_another_label_map_is_odd():
    random = np.random.default_rng(0)
    roads = random.integers(50, 70, 40).tolist()
    masks = [[0, road, 95 - road, 5] for road in roads]
    masks[7] = [0, 5, 60, 35]
    found = find_odd(features_of({"train": masks}), CLASSES)
    assert [one.id for one in found][:1] == ["7"]
    assert found[0].score == pytest.approx(max(one.score for one in found))
    assert found[0].what == "the shares of the classes are unlike those of other masks: 5 % road, usual are 60 %"


def test_few_masks_say_nothing():
    assert find_odd(features_of({"train": [COMMON] * 4 + [[0, 1, 9, 90]]}), CLASSES) == []
    assert find_odd(features_of({"train": [COMMON] * 8 + [[0, 1, 9, 90]]}), CLASSES) == []
