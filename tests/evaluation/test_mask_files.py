"""Masks in files are found by the ids of their images."""

import pytest

from tfseg.evaluation.mask_files import find_mask, list_masks


def test_masks_are_found_in_the_folders_that_ids_begin_with(tmp_path):
    for name in ("007", "0001/007", "0002/007", "a/0002/u\u0308", "b/c"):
        path = tmp_path / f"{name}_classes.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = list_masks(tmp_path)

    def names(id):
        return [str(path.relative_to(tmp_path)) for path in found[id]]

    assert names("0001_007") == ["0001/007_classes.png"]
    assert names("007") == [f"{folder}007_classes.png" for folder in ("", "0001/", "0002/")]
    assert names("0002_\u00fc") == names("a_0002_\u00fc") == ["a/0002/u\u0308_classes.png"]
    assert "a_007" not in found and names("c") == ["b/c_classes.png"]


def test_of_masks_of_one_name_that_in_the_fewest_folders_is_taken(tmp_path):
    for folder in ("a", "b/c", "b/d"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "007_classes.png").touch()
    assert find_mask(list_masks(tmp_path), "007", tmp_path) == tmp_path / "a/007_classes.png"
    (tmp_path / "a/007_classes.png").unlink()
    with pytest.raises(ValueError, match=r"has 2 masks of 007, .*c/007.* and .*d/007_classes.png; remove one"):
        find_mask(list_masks(tmp_path), "007", tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="masks: there is no such folder of masks"):
        list_masks(tmp_path / "masks")


def test_ids_that_are_paths(tmp_path):
    for name in ("val/0001", "val/d1/0002", "0003", "seq_0004"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}_classes.png").touch()
    masks = list_masks(tmp_path)
    for id, name in (
        ("val/0001", "val/0001"),
        ("val/d1/0002", "val/d1/0002"),
        ("d1/0002", "val/d1/0002"),  # predicted with a folder above
        ("val/0003", "0003"),  # predicted from inside the folder val/
        ("seq/0004", "seq_0004"),
    ):
        assert find_mask(masks, id, tmp_path) == tmp_path / f"{name}_classes.png"
    with pytest.raises(FileNotFoundError, match=r"has no train_0001_classes\.png or 0001_classes\.png"):
        find_mask(masks, "train/0001", tmp_path)
