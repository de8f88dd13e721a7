"""Masks that lie beside their images."""

import numpy as np
import pytest
from helper_audit import draw_scene

from tfseg.auditing.alignment import Aligner, find_borders, shift_mask
from tfseg.auditing.features import draw_shift, measure
from tfseg.auditing.reading import Image
from tfseg.auditing.shifted import describe, find_shifted

SCENES = [draw_scene(seed) for seed in range(24)]


def test_a_mask_in_place_measures_nothing():
    for image, mask in SCENES:
        assert Aligner(image).find_shift(mask).measure < 0.3


@pytest.mark.parametrize(("down", "right"), [(0, 6), (-5, 0), (4, -6)])
def test_a_shifted_mask_is_moved_back(down, right):
    image, mask = SCENES[0]
    shift = Aligner(image).find_shift(shift_mask(mask, down, right))
    assert shift.measure > 1
    assert abs(shift.down + down) <= 1 and abs(shift.right + right) <= 1


def test_a_shift_is_in_pixels_of_the_stored_image():
    image, mask = (np.repeat(np.repeat(array, 5, axis=0), 5, axis=1) for array in SCENES[1])
    shift = Aligner(image).find_shift(shift_mask(mask, 0, 30))
    assert shift.down == pytest.approx(0, abs=3) and shift.right == pytest.approx(-30, abs=3)


def test_nothing_is_said_without_borders_or_of_small_images():
    image, mask = SCENES[0]
    assert Aligner(image).find_shift(0 * mask) is None
    assert Aligner(image[:20, :20]).find_shift(mask[:20, :20]) is None
    assert Aligner(0 * image).find_shift(mask) is None


def test_borders_by_hand():
    assert find_borders(np.array([[1, 1, 2], [1, 1, 2], [1, 1, 1]], np.uint8)).tolist() == [
        [0, 1, 1],
        [0, 1, 1],
        [0, 0, 1],
    ]


def test_shift_mask_by_hand():
    assert shift_mask(np.array([[1, 2], [3, 4]]), 1, 0).tolist() == [[1, 2], [1, 2]]
    assert shift_mask(np.array([[1, 2], [3, 4]]), 0, -1).tolist() == [[2, 2], [4, 4]]


def test_shifted_masks_rank_above_all_others():
    images = [Image("train", f"{index}", *scene) for index, scene in enumerate(SCENES)]
    for index, shift in ((3, (0, 7)), (9, (-6, 3))):
        images[index] = images[index]._replace(mask=shift_mask(images[index].mask, *shift))
    found = find_shifted([measure(image, place, 8) for place, image in enumerate(images)])
    found.sort(key=lambda one: -one.score)
    assert {one.id for one in found[:2]} == {"3", "9"}
    assert min(one.score for one in found[:2]) > 0.8
    assert all(one.score < 0.5 for one in found[2:])


def test_few_images_say_nothing():
    images = [Image("train", f"{index}", *scene) for index, scene in enumerate(SCENES[:5])]
    assert find_shifted([measure(image, place, 8) for place, image in enumerate(images)]) == []


def test_a_shift_on_purpose_is_the_same_each_time():
    image = Image("train", "a", *SCENES[0])
    assert draw_shift(image) == draw_shift(image) != draw_shift(image._replace(id="b"))
    assert 128 / 40 - 1 < np.hypot(*draw_shift(image)) < 128 / 16 + 1


@pytest.mark.parametrize(
    ("shift", "words"),
    [((-3, 12), "3 pixels up and 12 right"), ((5, 0), "5 pixels down"), ((0, -4), "4 pixels left")],
)
def test_describe(shift, words):
    assert describe(*shift) == words
