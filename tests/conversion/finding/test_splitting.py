"""Which split an image without a folder of splits goes into."""

from pathlib import Path

import pytest

from tfseg.conversion.finding.members import Member
from tfseg.conversion.finding.splitting import Splitting, find_lists, part_by_lists, part_by_share, read_list

PLACE = Path("place")


def members(*paths, split=""):
    return [Member(split, tuple(path.split("/")), PLACE / f"{path}.jpg", PLACE / f"{path}.png") for path in paths]


def frames(count, drives=1):
    return members(*(f"drive{number % drives}/{number:04d}" for number in range(count)))


# ---- shares


def test_a_share_is_that_of_most_data_sets():
    names, words = part_by_share(frames(2000), Splitting(val_share=0.1, test_share=0.2), PLACE)
    counts = {split: names.count(split) for split in ("train", "val", "test")}
    assert counts == {"train": 1406, "val": 198, "test": 396}  # 1400, 200 and 400 in the mean
    assert words == "1406 train, 198 val, 396 test, by a hash of the path and seed 0"


def test_images_that_are_added_move_no_others():
    few, many = frames(100), frames(300)
    before = part_by_share(few, Splitting(val_share=0.3), PLACE)[0]
    after = part_by_share(many, Splitting(val_share=0.3), PLACE)[0]
    assert after[:100] == before
    # What becomes test is taken from train alone.
    with_test = part_by_share(few, Splitting(val_share=0.3, test_share=0.2), PLACE)[0]
    assert [name == "val" for name in with_test] == [name == "val" for name in before]


def test_a_greater_share_keeps_the_smaller():
    small, large = (part_by_share(frames(200), Splitting(val_share=share), PLACE)[0] for share in (0.1, 0.3))
    assert {number for number, name in enumerate(small) if name == "val"} < {
        number for number, name in enumerate(large) if name == "val"
    }


def test_a_seed_decides():
    first, second = (part_by_share(frames(100), Splitting(val_share=0.3, seed=seed), PLACE)[0] for seed in (0, 1))
    assert first != second


def test_the_hash_is_the_same_for_ever():
    names, _ = part_by_share(members("a", "b", "c", "d", "e", "f"), Splitting(val_share=0.5), PLACE)
    # SHA-256 of "0/a" to "0/f", its first 8 bytes as a fraction of 2**64, is below 0.5 or not.
    assert names == ["train", "val", "val", "train", "val", "val"]


def test_groups_stay_together():
    images = frames(200, drives=20)
    names, words = part_by_share(images, Splitting(val_share=0.3, group_by="^[^/]+"), PLACE)
    splits = {}
    for member, name in zip(images, names, strict=True):
        splits.setdefault(member.key[0], set()).add(name)
    assert len(splits) == 20 and all(len(of_drive) == 1 for of_drive in splits.values())
    assert set().union(*splits.values()) == {"train", "val"}
    assert words.endswith(" of 20 groups, by a hash of the group and seed 0")
    # What is in brackets counts.
    bracketed = part_by_share(images, Splitting(val_share=0.3, group_by="^([^/]+)/0"), PLACE)[0]
    assert bracketed == names


def test_a_group_that_is_not_found():
    with pytest.raises(ValueError, match=r"place: --group-by drive\\d finds nothing in 2 of 3 paths: a, b"):
        part_by_share(members("a", "drive1", "b"), Splitting(val_share=0.3, group_by=r"drive\d"), PLACE)


@pytest.mark.parametrize(
    ("splitting", "message"),
    [
        (Splitting(val_share=0.001), "no image came into the split val, .* there are 5 images; change the share, try"),
        (Splitting(val_share=0.5, test_share=0.001), "no image came into the split test"),
        (Splitting(val_share=0.999), "no image came into the split train"),
        (Splitting(val_share=0.3, group_by="drive"), "there are 1 groups; .* another --seed than 0, or list the ids"),
    ],
)
def test_a_split_that_comes_out_empty(splitting, message):
    with pytest.raises(ValueError, match=message):
        part_by_share(frames(5), splitting, PLACE)


def test_no_share_makes_all_train():
    assert part_by_share(frames(3), Splitting(val_share=0), PLACE) == (["train"] * 3, "all 3 images are train")


@pytest.mark.parametrize(
    ("splitting", "message"),
    [
        (Splitting(val_share=1.0), "--val-share: expected a share from 0 to less than 1, such as 0.1, got 1.0"),
        (Splitting(test_share=-0.1), "--test-share: expected a share"),
        (Splitting(val_share=float("nan")), "--val-share: expected a share"),
        (Splitting(val_share=0.5, test_share=0.5), "0.5 and 0.5 leave no image to train"),
        (Splitting(val_share=0.1, lists={"train": "a"}), "--split and --val-share: .*got both"),
        (Splitting(group_by="a"), "--group-by: keeps together what --val-share parts"),
        (Splitting(val_share=0.1, group_by="("), r"--group-by \(: is no regular expression: "),
        (Splitting(lists={"a/b": "a"}), "--split: has the split 'a/b', expected a name without /"),
    ],
)
def test_refuses_what_cannot_be_meant(splitting, message):
    with pytest.raises(ValueError, match=message):
        splitting.check()


# ---- lists


def write(folder, **lists):
    for name, text in lists.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.txt" for name in lists}


@pytest.mark.parametrize(
    "line",
    ["drive1/0001", "0001", "0001.jpg", "drive1/0001.jpg", "drive1_0001", "./drive1/0001.jpg", "/data/drive1/0001"],
)
def test_a_line_may_be_an_id_a_path_or_a_name(tmp_path, line):
    images = members("drive1/0001", "drive1/0002")
    lists = write(tmp_path, train=line + "\n", val="0002\n")
    assert part_by_lists(images, lists, PLACE) == (["train", "val"], [])


def test_a_path_below_the_folder_of_a_split(tmp_path):
    images = [*members("0001", split="train"), *members("0001", split="val")]
    lists = write(tmp_path, val="train/0001.jpg\r\n\r\n", train="\ufeffval/0001\r\n")
    assert part_by_lists(images, lists, PLACE) == (["val", "train"], [])
    with pytest.raises(ValueError, match=r"val\.txt: 0001 could be train/0001 and val/0001; write the path"):
        part_by_lists(images, write(tmp_path, val="0001\n"), PLACE)


def test_another_folder_is_another_image(tmp_path):
    lists = write(tmp_path, train="drive2/0001\ndrive1/0001\n")
    names, warnings = part_by_lists(members("drive1/0001"), lists, PLACE)
    assert names == ["train"]
    assert warnings == [f"{lists['train']}: 1 of the 2 lines are no image with a mask: drive2/0001"]


def test_images_in_no_list_and_lines_without_an_image(tmp_path):
    images = members("a", "b", "c")
    lists = write(tmp_path, train="a\nx\ny\n", val="b\nb\n")
    names, warnings = part_by_lists(images, lists, PLACE)
    assert names == ["train", "val", None]
    assert warnings == [f"{lists['train']}: 2 of the 3 lines are no image with a mask: x, y"]
    with pytest.raises(ValueError, match=r"train\.txt: 2 of the 3 lines are no image with a mask: x, y"):
        part_by_lists(images, lists, PLACE, must_be_there=True)


def test_an_image_in_two_lists(tmp_path):
    with pytest.raises(ValueError, match=r"val\.txt: a\.jpg is in the list of train too; an image in two splits"):
        part_by_lists(members("a", "b"), write(tmp_path, train="a\n", val="b\na.jpg\n"), PLACE)


def test_a_list_of_something_else(tmp_path):
    with pytest.raises(ValueError, match=r"train\.txt: none of its 2 lines is an image of place: x, y"):
        part_by_lists(members("a"), write(tmp_path, train="x\ny\n"), PLACE)
    (tmp_path / "train.txt").write_bytes(b"\n\n")
    with pytest.raises(ValueError, match=r"train\.txt: is empty; expected ids"):
        read_list(tmp_path / "train.txt")
    (tmp_path / "train.txt").write_bytes(b"Z\xfcrich\n")
    with pytest.raises(ValueError, match=r"train\.txt: expected a list of ids in UTF-8"):
        read_list(tmp_path / "train.txt")
    with pytest.raises(FileNotFoundError):
        read_list(tmp_path / "lost.txt")


def test_lists_that_come_with_the_data(tmp_path):
    write(tmp_path, train="a", Validation="b", trainval="a\nb", default="a", night="c")
    assert find_lists(tmp_path) == {
        "train": tmp_path / "train.txt",
        "val": tmp_path / "Validation.txt",
        "night": tmp_path / "night.txt",
    }
    assert find_lists(tmp_path / "lost") == {}
