"""Which mask belongs to which image: what the names of all have in common."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.conversion.finding.pairing import Affix, Affixes, find_affixes, find_rivals


def keys(*names):
    return [tuple(name.split("/")) for name in names]


@pytest.mark.parametrize(
    ("images", "masks", "affixes"),
    [
        (("a", "b"), ("a", "b"), Affixes()),
        (("a", "b"), ("a_mask", "b_mask"), Affixes(mask=Affix(suffix="_mask"))),
        (("0001TP_006690", "0001TP_006720"), ("0001TP_006690_L", "0001TP_006720_L"), Affixes(mask=Affix(suffix="_L"))),
        (("a", "b"), ("a_gtFine_labelIds", "b_gtFine_labelIds"), Affixes(mask=Affix(suffix="_gtFine_labelIds"))),
        (("0b-2",), ("0b-2_train_id",), Affixes(mask=Affix(suffix="_train_id"))),
        (("0001", "0002"), ("0001gt", "0002gt"), Affixes(mask=Affix(suffix="gt"))),
        (("0001", "0002"), ("gt0001", "gt0002"), Affixes(mask=Affix(prefix="gt"))),
        (("x1", "x2"), ("x1gt", "x2agt"), Affixes()),
        (("a", "b"), ("mask_a", "mask_b"), Affixes(mask=Affix(prefix="mask_"))),
        (
            ("a_leftImg8bit", "b_leftImg8bit"),
            ("a_gtFine_labelTrainIds", "b_gtFine_labelTrainIds"),
            Affixes(Affix(suffix="_leftImg8bit"), Affix(suffix="_gtFine_labelTrainIds")),
        ),
        (("img_1", "img_2"), ("mask_1", "mask_2"), Affixes(Affix(prefix="img_"), Affix(prefix="mask_"))),
        # Of a part of the names, what they have in common is no ending.
        (("a", "b"), ("a", "b_mask"), Affixes()),
        (("frame_1", "frame_2", "frame_3"), ("frame_1", "frame_2"), Affixes()),
        (("d1/a", "d2/a"), ("d1/a-m", "d2/a-m"), Affixes(mask=Affix(suffix="-m"))),
        (("a", "b"), ("c", "d"), Affixes()),
        # A number is no ending, and one pair is no affixes for both sides.
        (("1",), ("1_2",), Affixes()),
        (("ulm_a",), ("ulm_b",), Affixes()),
        # Files that hold no classes.
        (("a", "b"), ("a_color", "b_color"), Affixes()),
        (("a", "b"), ("a_gtFine_instanceIds", "b_gtFine_instanceIds"), Affixes()),
        (("a_mask",), ("a_mask",), Affixes()),
        ((), ("a",), Affixes()),
        (("a",), (), Affixes()),
    ],
)
def test_finds_what_names_have_in_common(images, masks, affixes):
    assert find_affixes(keys(*images), keys(*masks)) == affixes


def test_endings_that_are_given_are_all():
    assert find_affixes(keys("a", "b"), keys("a_mask", "b_mask"), (False, True)) == Affixes()
    images, masks = keys("a_x", "b_x"), keys("a", "b")
    assert find_affixes(images, masks) == Affixes(Affix(suffix="_x"))
    assert find_affixes(images, masks, (True, False)) == Affixes()


def test_two_rules_that_pair_one_image_with_two_masks():
    images = keys("a_m", "b")
    with pytest.raises(
        ValueError, match=r"the masks a_m and a_m_m could both be that of the image a_m, .*--mask-suffix"
    ):
        find_affixes(images, keys("a_m", "a_m_m"))


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
    affixes = find_affixes(keys(*names), keys(*masks))
    image_of = {affixes.image.strip((name,)): name for name in names}
    assert [image_of[affixes.mask.strip((mask,))] for mask in masks] == names
