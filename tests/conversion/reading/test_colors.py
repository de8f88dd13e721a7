"""Colours of masks become class ids: exactly, the nearest, the default, or they are listed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.conversion.reading.colors import class_ids_of_colors
from tfseg.records.labels import CITYSCAPES, LabelMap

BY_COLOR = {(0, 0, 0): 0, (100, 0, 0): 1, (100, 0, 20): 2}
MAP = LabelMap(("void", "a", "b"), np.array([*BY_COLOR], np.uint8), np.full(256, 255, np.uint8), True, BY_COLOR)


def pixels(*colors):
    return np.array([colors], np.uint8)


def test_colours_are_exact():
    assert class_ids_of_colors(pixels((0, 0, 0), (100, 0, 20), (100, 0, 0)), MAP).tolist() == [[0, 2, 1]]


def test_the_nearest_within_the_tolerance():
    """By the largest difference of a channel, then over all channels, then the earlier of the label map."""
    colors = pixels((97, 3, 0), (100, 0, 11), (100, 0, 10), (103, 3, 23))
    assert class_ids_of_colors(colors, MAP, 10).tolist() == [[1, 2, 1, 2]]
    with pytest.raises(ValueError, match=r"lacks: \(100, 0, 10\) in 1 pixels, \(100, 0, 11\) in 1 pixels;"):
        class_ids_of_colors(colors, MAP, 8)
    over_all = dataclasses.replace(MAP, by_color={(10, 10, 10): 1, (10, 0, 0): 2})
    assert class_ids_of_colors(pixels((0, 4, 4)), over_all, 10).tolist() == [[2]]


def test_the_default_takes_what_is_left():
    with_default = dataclasses.replace(MAP, default=2)
    assert class_ids_of_colors(pixels((9, 9, 9), (98, 0, 0), (0, 0, 0)), with_default, 3).tolist() == [[2, 1, 0]]


def test_unknown_colours_are_listed_the_commonest_first():
    colors = [(0, 200, index) for index in range(25)] + [(7, 7, 250)] * 3
    with pytest.raises(ValueError) as raised:
        class_ids_of_colors(pixels(*colors), MAP)
    report = str(raised.value)
    assert report.startswith("has colours that the label map lacks: (7, 7, 250) in 3 pixels, (0, 200, 0) in 1 pixels, ")
    assert report.count(" pixels") == 20 and " and 6 colours more; add them to it, such as '#0707fa': CLASS" in report


def test_the_tolerance_that_would_do_is_named():
    with pytest.raises(ValueError, match="; --color-tolerance 4 takes them for the nearest of its colours; or add"):
        class_ids_of_colors(pixels((104, 0, 0), (1, 0, 0)), MAP)


def test_a_colour_of_two_classes_is_explained():
    shared = LabelMap(("void", "a", "b"), np.array([[0, 0, 0], [9, 9, 9], [9, 9, 9]], np.uint8), MAP.lookup)
    with pytest.raises(ValueError, match=r"; \(9, 9, 9\) is the colour of both a and b; "):
        class_ids_of_colors(pixels((9, 9, 9)), shared)


def test_the_colours_of_cityscapes():
    train_ids = CITYSCAPES["train_ids"]
    assert class_ids_of_colors(train_ids.colors[None], train_ids).tolist() == [[*range(20)]]


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=8),
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=5, unique=True),
    st.integers(0, 255),
)
def test_nearest_by_definition(colors, known, tolerance):
    label_map = dataclasses.replace(MAP, by_color={color: place for place, color in enumerate(known)}, default=9)
    for color, found in zip(colors, class_ids_of_colors(pixels(*colors), label_map, tolerance)[0], strict=True):
        ranks = []
        for other in known:
            differences = [abs(here - there) for here, there in zip(color, other, strict=True)]
            ranks.append((max(differences), sum(difference**2 for difference in differences)))
        best = min(range(len(known)), key=lambda place: ranks[place])
        assert found == (best if ranks[best][0] <= tolerance else 9)


def test_the_default_is_not_for_a_colour_of_two_classes():
    by_color = {(0, 0, 0): 0}
    colors = np.array([[0, 0, 0], [9, 9, 9], [9, 9, 9]], np.uint8)
    both = LabelMap(("void", "a", "b"), colors, np.full(256, 255, np.uint8), True, by_color, default=0)
    assert class_ids_of_colors(pixels((0, 0, 0), (1, 1, 1)), both).tolist() == [[0, 0]]
    with pytest.raises(ValueError, match=r"\(9, 9, 9\) in 1 pixels.*; \(9, 9, 9\) is the colour of both a and b"):
        class_ids_of_colors(pixels((1, 1, 1), (9, 9, 9)), both)
