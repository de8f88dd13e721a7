"""Duplicates in two splits and in one, and frames of one drive in two splits."""

import numpy as np
import pytest
from helper_audit import draw_scene

from tfseg.auditing.duplicates import find_duplicates, split_id
from tfseg.auditing.features import measure
from tfseg.auditing.reading import Image


def features_of(splits):
    """Features of {split: {id: (image, mask)}}."""
    return [
        measure(Image(split, id, *pair), place, 8)
        for split, images in splits.items()
        for place, (id, pair) in enumerate(images.items())
    ]


def find(splits):
    return [(one.kind, one.place, one.what) for one in find_duplicates(features_of(splits))]


def brighter(pair):
    return np.clip(pair[0] * 1.1 + 8, 0, 255).astype(np.uint8), pair[1]


SCENES = [draw_scene(seed) for seed in range(8)]
OTHERS = {f"{letter}_x": scene for letter, scene in zip("pqrst", SCENES[3:], strict=True)}


def test_different_images_are_no_duplicates():
    assert find({"train": OTHERS, "val": {"a_x": SCENES[0], "b_x": SCENES[1]}}) == []


def test_a_copy_in_another_split_is_reported_where_scores_are_taken():
    found = find_duplicates(features_of({"train": {"a_x": SCENES[0], **OTHERS}, "val": {"z_y": SCENES[0]}}))
    (one,) = found
    assert (one.kind, one.place) == ("duplicates", "val/z_y")
    assert one.what == "has the same pixels as train/a_x, in another split"
    assert one.details == {
        "similarity": 1.0,
        "exact": True,
        "mirrored": False,
        "other_split": "train",
        "copies": ["train/a_x"],
    }


def test_across_splits_is_worse_than_within_and_exact_worse_than_alike():
    exact, alike = SCENES[0], brighter(SCENES[1])
    across = find_duplicates(
        features_of({"train": {"a_x": SCENES[0], "b_x": SCENES[1], **OTHERS}, "val": {"y_y": exact, "z_z": alike}})
    )
    within = find_duplicates(
        features_of({"train": {"a_x": SCENES[0], "b_x": SCENES[1], "y_y": exact, "z_z": alike, **OTHERS}})
    )
    scores = [one.score for one in (*across, *within)]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 4


def test_mirrored_copies_are_said_to_be():
    image, mask = SCENES[0]
    mirrored = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    assert find({"train": {"a_x": SCENES[0], **OTHERS}, "val": {"z_y": mirrored}}) == [
        ("duplicates", "val/z_y", "mirrored, looks as train/a_x, in another split")
    ]


def test_copies_within_a_split_are_one_finding():
    splits = {"train": {"a_x": SCENES[0], "b_y": SCENES[0], "c_z": brighter(SCENES[0]), **OTHERS}}
    assert find(splits) == [("duplicates", "train/a_x", "has the same pixels as b_y, c_z, in the same split")]


def test_equal_images_with_other_masks_are_worse():
    image, mask = SCENES[0]
    (same,) = find_duplicates(features_of({"train": {"a_x": (image, mask), "b_y": (image, mask), **OTHERS}}))
    (other,) = find_duplicates(features_of({"train": {"a_x": (image, mask), "b_y": (image, 0 * mask), **OTHERS}}))
    assert other.what == "has the same pixels as b_y, in the same split, but their masks differ"
    assert other.score > same.score


def drive(count, first=0, step=1):
    """Frames of a drive: a wide scene that moves by some columns a frame."""
    image, mask = draw_scene(99, (96, 512))
    return {
        f"seq_{first + index:04d}": (image[:, step * index :][:, :128].copy(), mask[:, step * index :][:, :128].copy())
        for index in range(count)
    }


def test_frames_of_a_drive_in_two_splits_leak():
    frames = list(drive(10, step=2).items())
    splits = {"train": dict(frames[:7]) | OTHERS, "val": dict(frames[7:])}
    found = [one for one in find_duplicates(features_of(splits)) if one.kind == "leakage"]
    (one,) = found
    assert one.place == "val"
    assert one.what.startswith("3 of 3 frames of seq_* look like a neighbour of theirs in train, most of all seq_0007")
    assert one.what.endswith(" and seq_0006; keep a drive in one split")
    assert (one.details["frames"], one.details["similar_frames"], one.details["other_split"]) == (3, 3, "train")
    assert one.details["pairs"][0]["other"] == "seq_0006"


def test_frames_that_are_no_neighbours_but_look_alike_leak():
    """The car stands: frame 0 and frame 9 show the same, with frames of elsewhere between them."""
    image, mask = SCENES[0]
    darker = (image * 0.9).astype(np.uint8), mask
    between = {f"seq_{index:04d}": scene for index, scene in enumerate(SCENES[1:5], 1)}
    splits = {"train": {"seq_0000": (image, mask), **between}, "val": {"seq_0009": darker}}
    (one,) = find_duplicates(features_of(splits))
    assert (one.kind, one.place) == ("leakage", "val")
    assert [(pair["id"], pair["other"]) for pair in one.details["pairs"]] == [("seq_0009", "seq_0000")]


def test_other_images_with_numbers_do_not_leak():
    splits = {
        "train": {f"img_{index}": scene for index, scene in enumerate(SCENES[:5])},
        "val": {f"img_{index}": scene for index, scene in enumerate(SCENES[5:], 5)},
    }
    assert find(splits) == []


def test_frames_of_a_drive_within_a_split_are_one_finding_of_little_weight():
    found = find_duplicates(features_of({"train": {**drive(3, step=0), **OTHERS}}))
    exact, rest = [one for one in found if one.details.get("exact")], [one for one in found if "stem" in one.details]
    assert len(exact) == 1 and rest == []  # equal pixels are duplicates, whatever the ids
    darker = {
        id: ((pair[0] * 0.9).astype(np.uint8), pair[1]) if index else pair
        for index, (id, pair) in enumerate(drive(2, step=0).items())
    }
    (one,) = find_duplicates(features_of({"train": {**darker, **OTHERS}}))
    assert one.what == "2 of 2 frames of seq_* look as another frame of the drive, in the same split"
    assert one.score < 0.2


@pytest.mark.parametrize(
    ("id", "parts"),
    [
        ("0016E5_07959", ("0016E5_*", 7959)),
        ("drive/0001_left", ("drive/*_left", 1)),
        ("7", ("*", 7)),
        ("street", None),
        ("x" + "1" * 40, None),
    ],
)
def test_split_id(id, parts):
    assert split_id(id) == parts
