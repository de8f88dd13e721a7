"""Images with their masks, and the ids that they get."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg.conversion.finding.members import Member, make_ids, repeated_ids

FILE = Path("file")


def members(*paths, split=""):
    return [Member(split, tuple(path.split("/")), FILE, FILE) for path in paths]


@pytest.mark.parametrize(
    ("images", "ids", "repeated"),
    [
        (members("a", "b", split="train"), ["a", "b"], []),
        (members("seq/0001/a", "a"), ["seq_0001_a", "a"], []),
        ([*members("a", split="train"), *members("b", split="val")], ["a", "b"], []),
        # The same name in two splits, in two drives, or by the way that folders are joined.
        (
            [*members("0001", "x", split="train"), *members("0001", split="val")],
            ["train/0001", "train/x", "val/0001"],
            ["0001"],
        ),
        (members("d1/0001", "d2/0001"), ["d1_0001", "d2_0001"], []),
        (members("a_b/c", "a/b_c"), ["a_b/c", "a/b_c"], ["a_b_c"]),
        (members("a_b/c", "a/b_c", "x", split="val"), ["val/a_b/c", "val/a/b_c", "val/x"], ["a_b_c"]),
    ],
)
def test_ids(images, ids, repeated):
    assert make_ids(images) == ids
    assert repeated_ids(images) == repeated


PATHS = st.lists(st.sampled_from(["a", "b", "a_b", "b_a"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.sampled_from(["train", "val"]), PATHS), min_size=1, max_size=8, unique=True))
def test_no_two_images_have_one_id(images):
    own = [Member(split, tuple(path.split("/")), FILE, FILE) for split, path in images]
    ids = make_ids(own)
    assert len({*ids}) == len(ids)
    # Short where that can be.
    short = ["_".join(member.key) for member in own]
    assert (ids == short) == (len({*short}) == len(short)) or ids == [f"{m.split}/{m.path}" for m in own]
