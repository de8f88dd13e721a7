"""Ground truth as records and Cityscapes' files hold it, and what is wrong with it."""

import numpy as np
import pytest

from tfseg.evaluation import ground_truth
from tfseg.io.png import encode_png


def test_instances_are_looked_for_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gtFine/val/\*/a_gtFine_instanceIds.png: expected one file, found 0"):
        ground_truth.read_instances(tmp_path, "val", "a")
    folder = tmp_path / "gtFine/val/ulm"
    folder.mkdir(parents=True)
    (folder / "a_gtFine_instanceIds.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a_gtFine_instanceIds.png: is no grey PNG file, as instance ids are"):
        ground_truth.read_instances(tmp_path, "val", "a")


def test_names_of_images_are_no_patterns(tmp_path):
    folder = tmp_path / "gtFine/val/ulm"
    folder.mkdir(parents=True)
    for name in ("a", "[a]"):
        (folder / f"{name}_gtFine_instanceIds.png").write_bytes(encode_png(np.full((1, 1), len(name), np.uint8)))
    assert ground_truth.read_instances(tmp_path, "val", "[a]").tolist() == [[3]]
    with pytest.raises(FileNotFoundError, match="expected one file, found 0"):
        ground_truth.read_instances(tmp_path, "val", "*")


def test_a_raw_mask_that_is_missing_or_damaged_is_named():
    with pytest.raises(ValueError, match="r: a has no raw mask"):
        ground_truth.decode_label_ids(b"", "a", "r")
    with pytest.raises(ValueError, match="r: the raw mask of a is no PNG file"):
        ground_truth.decode_label_ids(b"no image", "a", "r")
