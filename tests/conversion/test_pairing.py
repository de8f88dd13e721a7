"""Which mask belongs to which image: what the names of all have in common."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.conversion.pairing import Affix, Rule, find_rivals, find_rule


def keys(*names):
    return [tuple(name.split("/")) for name in names]


@pytest.mark.parametrize(
    ("images", "masks", "rule"),
    [
        (("a", "b"), ("a", "b"), Rule()),
        (("a", "b"), ("a_mask", "b_mask"), Rule(mask=Affix(suffix="_mask"))),
        (("0001TP_006690", "0001TP_006720"), ("0001TP_006690_L", "0001TP_006720_L"), Rule(mask=Affix(suffix="_L"))),
        (("a", "b"), ("a_gtFine_labelIds", "b_gtFine_labelIds"), Rule(mask=Affix(suffix="_gtFine_labelIds"))),
        (("0b-2",), ("0b-2_train_id",), Rule(mask=Affix(suffix="_train_id"))),
        (("0001", "0002"), ("0001gt", "0002gt"), Rule(mask=Affix(suffix="gt"))),
        (("0001", "0002"), ("gt0001", "gt0002"), Rule(mask=Affix(prefix="gt"))),
        (("x1", "x2"), ("x1gt", "x2agt"), Rule()),
        (("a", "b"), ("mask_a", "mask_b"), Rule(mask=Affix(prefix="mask_"))),
        (
            ("a_leftImg8bit", "b_leftImg8bit"),
            ("a_gtFine_labelTrainIds", "b_gtFine_labelTrainIds"),
            Rule(Affix(suffix="_leftImg8bit"), Affix(suffix="_gtFine_labelTrainIds")),
        ),
        (("img_1", "img_2"), ("mask_1", "mask_2"), Rule(Affix(prefix="img_"), Affix(prefix="mask_"))),
        # Of a part of the names, what they have in common is no ending.
        (("a", "b"), ("a", "b_mask"), Rule()),
        (("frame_1", "frame_2", "frame_3"), ("frame_1", "frame_2"), Rule()),
        (("d1/a", "d2/a"), ("d1/a-m", "d2/a-m"), Rule(mask=Affix(suffix="-m"))),
        (("a", "b"), ("c", "d"), Rule()),
        # A number is no ending, and one pair is no rule for both sides.
        (("1",), ("1_2",), Rule()),
        (("ulm_a",), ("ulm_b",), Rule()),
        # Files that hold no classes.
        (("a", "b"), ("a_color", "b_color"), Rule()),
        (("a", "b"), ("a_gtFine_instanceIds", "b_gtFine_instanceIds"), Rule()),
        (("a_mask",), ("a_mask",), Rule()),
        ((), ("a",), Rule()),
        (("a",), (), Rule()),
    ],
)
def test_finds_what_names_have_in_common(images, masks, rule):
    assert find_rule(keys(*images), keys(*masks)) == rule


def test_endings_that_are_given_are_all():
    assert find_rule(keys("a", "b"), keys("a_mask", "b_mask"), (False, True)) == Rule()
    images, masks = keys("a_x", "b_x"), keys("a", "b")
    assert find_rule(images, masks) == Rule(Affix(suffix="_x"))
    assert find_rule(images, masks, (True, False)) == Rule()


def test_two_rules_that_pair_one_image_with_two_masks():
    images = keys("a_m", "b")
    with pytest.raises(
        ValueError, match=r"the masks a_m and a_m_m could both be that of the image a_m, .*--mask-suffix"
    ):
        find_rule(images, keys("a_m", "a_m_m"))


def test_a_second_mask_of_an_image():
    images, masks = keys("d/a", "d/b"), keys("d/a", "d/a_mask", "d/b", "d/c")
    assert [*find_rivals(images, masks)] == [(("d", "a"), ("d", "a"), ("d", "a_mask"))]
    assert not [*find_rivals(images, images)]


NAMES = st.lists(st.text("ab12_-", min_size=1, max_size=6), min_size=2, max_size=6, unique=True)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(NAMES, st.sampled_from(["", "_mask", "-gt", "_L"]), st.sampled_from(["", "mask_", "gt-"]))
def test_what_all_masks_share_is_found(names, suffix, prefix):
    """Either at the beginning or at the end: every image gets the mask that was made for it."""
    if suffix and prefix:
        prefix = ""
    masks = [f"{prefix}{name}{suffix}" for name in names]
    rule = find_rule(keys(*names), keys(*masks))
    image_of = {rule.image.strip((name,)): name for name in names}
    assert [image_of[rule.mask.strip((mask,))] for mask in masks] == names
