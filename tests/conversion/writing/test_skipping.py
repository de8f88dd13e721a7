"""Bad samples are left out on request: listed one by one, and what comes out is what the good ones make."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helper_killed import moments
from PIL import Image

from tfseg import convert
from tfseg.conversion import converter
from tfseg.conversion.converter import convert_dataset
from tfseg.conversion.reading.faults import BadFilesError, Skipped
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import image_formats, skipping
from tfseg.conversion.writing.ownership import SKIPPED_NAME
from tfseg.conversion.writing.plan import storage_order
from tfseg.io.atomic import UNFINISHED
from tfseg.records.records import decode_example, read_shard

CLOCK = iter(range(10**18, 2 * 10**18, 1000))  # each file that is written has a time of its own


def write_pair(raw, split, id, value=1, size=(4, 6)):
    """Writes an image of one grey, and a mask of one value."""
    for kind, pixels in (("images", np.full((*size, 3), 90, np.uint8)), ("masks", np.full(size, value, np.uint8))):
        path = raw / kind / split / f"{id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        os.utime(path, ns=(moment := next(CLOCK), moment))


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])
    os.utime(path, ns=(moment := next(CLOCK), moment))


@pytest.fixture
def raw(tmp_path):
    """A raw data set of 2 + 1 shards: t0 to t9 and v0 to v2, all of which are good."""
    raw = tmp_path / "raw"
    for index in range(10):
        write_pair(raw, "train", f"t{index}", index % 3)
    for index in range(3):
        write_pair(raw, "val", f"v{index}", 1)
    (raw / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    return raw


def spoil(raw):
    """Makes some of each kind bad: t1, t3, t5, t7 and v1."""
    cut(raw / "images/train/t1.png")
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(raw / "masks/train/t3.png")
    Image.fromarray(np.full((4, 5), 1, np.uint8)).save(raw / "masks/train/t5.png")
    (raw / "masks/train/t7.png").unlink()
    (raw / "images/val/v1.png").unlink()
    (raw / "images/val/v1.png").symlink_to("nowhere.png")


def convert_raw(raw, out, **options):
    return convert_dataset(raw, out, label_map=raw / "map.yaml", **{"skip_bad": True} | options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines(out):
    return [json.loads(line) for line in (out / SKIPPED_NAME).read_bytes().splitlines()]


def from_nothing(raw, **options):
    place = raw.parent / "from_nothing"
    shutil.rmtree(place, ignore_errors=True)
    convert_raw(raw, place, **options)
    return contents(place)


# ---- what is listed


def test_each_kind_of_fault_is_listed(raw, tmp_path, capsys):
    spoil(raw)
    records = convert_raw(raw, tmp_path / "out")
    unknown = "mask values [9] are not in the label map, which knows [0, 1, 2]"
    other_size = f"is 4x6, but its mask {raw}/masks/train/t5.png is 4x5"
    assert [(it["split"], it["id"], it["fault"], it["advice"]) for it in lines(tmp_path / "out")] == [
        ("train", "t1", f"{raw}/images/train/t1.png: is cut short or damaged (57 bytes)", "copy it again"),
        ("train", "t3", f"{raw}/masks/train/t3.png: {unknown}", skipping.ADVICE),
        ("train", "t5", f"{raw}/images/train/t5.png: {other_size}", "make them agree"),
        ("train", "t7", f"{raw}/images/train/t7.png: has no mask", "add it, or remove the image"),
        ("val", "v1", f"{raw}/masks/val/v1.png: has no image", "add it, or remove the mask"),
        ("val", "v1", f"{raw}/images/val/v1.png: is a link to nowhere.png, which is not there", "mend or remove it"),
    ]
    assert [(it["image"], it["mask"]) for it in lines(tmp_path / "out")][2:5] == [
        (f"{raw}/images/train/t5.png", f"{raw}/masks/train/t5.png"),
        (f"{raw}/images/train/t7.png", None),
        (None, f"{raw}/masks/val/v1.png"),
    ]
    assert {name: split.count for name, split in records.manifest.splits.items()} == {"train": 6, "val": 2}
    assert (records.manifest.findings or {})["skipped"] == {"train": 4, "val": 1}, "v1 is listed twice"
    *_, line, commonest = capsys.readouterr().out.splitlines()
    assert line == f"{tmp_path}/out: left out 5 bad of 13 samples; {SKIPPED_NAME} there says which and why"
    assert commonest.startswith(f"{tmp_path}/out: the commonest fault, 1 of 6: ")


def test_the_commonest_fault_is_named(raw, tmp_path, capsys):
    cut(raw / "images/train/t0.png")
    for index in range(2, 10):
        Image.fromarray(np.full((4, 6), index, np.uint8)).save(raw / f"masks/train/t{index}.png")
    convert_raw(raw, tmp_path / "out")
    *_, line, commonest = capsys.readouterr().out.splitlines()
    assert "left out 8 bad of 13 samples" in line
    assert commonest == (
        f"{tmp_path}/out: the commonest fault, 7 of 8: {raw}/masks/train/t3.png: mask values [3] are not in the label "
        "map, which knows [0, 1, 2]"
    )


def add_pairs(raw):
    """Adds 30 pairs to train, and gives an id that is not among the few that are looked at first."""
    for index in range(10, 40):
        write_pair(raw, "train", f"t{index}")
    order = storage_order("train", [Sample(f"t{n}", raw, raw) for n in range(40)])
    looked_at = [sample.id for sample in image_formats.spread(order, image_formats.FEW_IMAGES)]
    return next(sample.id for sample in order if sample.id not in looked_at)


@pytest.mark.parametrize("skip_bad", [False, True])
def test_images_of_another_kind_are_none_of_the_bad(raw, tmp_path, skip_bad):
    id = add_pairs(raw)
    Image.fromarray(np.full((4, 6), 900, np.uint16)).save(raw / f"images/train/{id}.png")
    with pytest.raises(ValueError, match=rf"several kinds: 8-bit RGB in 39 .*, 16-bit grey in 1 .*{id}\.png"):
        convert_raw(raw, tmp_path / "out", skip_bad=skip_bad, splits=["train"])


def test_what_was_bad_and_is_of_another_kind_now(raw, tmp_path):
    id = add_pairs(raw)
    cut(raw / f"images/train/{id}.png")
    convert_raw(raw, tmp_path / "out", splits=["train"])
    Image.fromarray(np.full((4, 6), 900, np.uint16)).save(raw / f"images/train/{id}.png")
    with pytest.raises(ValueError, match=rf"several kinds: .*, 16-bit grey in 1 .*{id}\.png"):
        convert_raw(raw, tmp_path / "out", splits=["train"], update=True)


def test_the_others_are_stored_as_by_themselves(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "good")
    for id in ("t1", "t3", "t5", "t7"):
        for kind in ("images", "masks"):
            (tmp_path / f"good/{kind}/train/{id}.png").unlink()
    for kind in ("images", "masks"):
        (tmp_path / f"good/{kind}/val/v1.png").unlink()
    convert_raw(tmp_path / "good", tmp_path / "alone")
    spoil(raw)
    convert_raw(raw, tmp_path / "out")
    alone, out = contents(tmp_path / "alone"), contents(tmp_path / "out")
    shards = {name for name in alone if name.endswith(".tfrecord")}
    assert len(shards) == 2 and {name: out[name] for name in shards} == {name: alone[name] for name in shards}
    assert SKIPPED_NAME not in alone and out.keys() == alone.keys() | {SKIPPED_NAME}


def test_workers_and_splits_by_share(raw, tmp_path):
    spoil(raw)
    one, two = (convert_raw(raw, tmp_path / f"out{count}", workers=count).path for count in (1, 2))
    assert contents(one) == contents(two)
    shutil.rmtree(raw / "images/val")
    shutil.rmtree(raw / "masks/val")
    convert_raw(raw, tmp_path / "shares", val_share=0.4)
    found = [(it["id"], it["split"]) for it in lines(tmp_path / "shares")]
    assert found[0] == ("t7", None) and {id for id, split in found if split in ("train", "val")} == {"t1", "t3", "t5"}


def test_a_limit_counts_bad_ones(raw, tmp_path):
    samples = [Sample(f"t{index}", Path(), Path()) for index in range(10)]
    order = [sample.id for sample in storage_order("train", samples)]
    cut(raw / f"images/train/{order[1]}.png")
    cut(raw / f"images/train/{order[9]}.png")
    records = convert_raw(raw, tmp_path / "out", limit=3)
    assert records.manifest.splits["train"].ids == [order[0], order[2]]
    assert [it["id"] for it in lines(tmp_path / "out")] == [order[1]]


@pytest.mark.parametrize("workers", [1, 2])
def test_coco(raw, tmp_path, workers):
    image = {"width": 6, "height": 4}
    document = {
        "images": [{"id": index, "file_name": f"t{index}.png", **image} for index in range(3)]
        + [{"id": 3, "file_name": "lost.png", **image}],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 1, "segmentation": [shape], "iscrowd": 0}
            for index, shape in enumerate([[1, 1, 4, 1, 4, 2, 1, 2], [1, 1], [0, 0, 3, 0, 3, 3]])
        ],
        "categories": [{"id": 1, "name": "car"}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    (tmp_path / "car.yaml").write_text("classes: [background, car]\n")
    where = {"images": raw / "images/train", "masks": path, "label_map": tmp_path / "car.yaml", "val_share": 0}
    records = convert_dataset(None, tmp_path / "out", skip_bad=True, workers=workers, **where)
    assert sorted(records.manifest.splits["train"].ids) == ["t0", "t2"]
    assert [(it["id"], it["mask"]) for it in lines(tmp_path / "out")] == [("lost.png", str(path)), ("t1", str(path))]
    fault = "t1.png: annotations[1] (id 1): has a polygon of 2 numbers, expected x and y of three points or more"
    assert lines(tmp_path / "out")[1]["fault"] == f"{path}: {fault}"


def test_lists_that_a_data_set_brings_along(raw, tmp_path):
    voc = tmp_path / "voc"
    shutil.copytree(raw / "images/train", voc / "JPEGImages")
    shutil.copytree(raw / "masks/train", voc / "SegmentationClass")
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    (voc / "ImageSets/Segmentation/train.txt").write_text("t0\nt1\ngone\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("t2\n")
    with pytest.raises(ValueError, match="1 of the 3 lines are no image with a mask: gone"):
        convert_dataset(voc, tmp_path / "out", label_map=raw / "map.yaml")
    records = convert_dataset(voc, tmp_path / "out", label_map=raw / "map.yaml", skip_bad=True, warn=str)
    assert sorted(records.manifest.splits["train"].ids) == ["t0", "t1"]
    assert [(it["split"], it["id"], it["image"]) for it in lines(tmp_path / "out")] == [("train", "gone", None)]


def test_a_label_map_is_proposed_by_the_good_masks(raw, tmp_path):
    cut(raw / "masks/train/t1.png")
    shown = []
    options = {"skip_bad": True, "on_proposal": lambda proposal, path: shown.append(proposal), "codec": "png"}
    records = convert_dataset(raw, tmp_path / "out", **options)
    assert "1 of 13 masks are bad and not counted" in shown[0].notes and shown[0].images == 12
    assert records.manifest.splits["train"].count == 9 and [it["id"] for it in lines(tmp_path / "out")] == ["t1"]
    with pytest.raises(BadFilesError, match=r"t1.png: is cut short"):
        convert_dataset(raw, tmp_path / "other", **options | {"skip_bad": False})


# ---- what is refused all the same


def test_nothing_left_of_a_split(raw, tmp_path):
    for index in range(3):
        cut(raw / f"images/val/v{index}.png")
    with pytest.raises(ValueError, match=r"all 3 images of split val are bad, .*--skip-bad.*v0.png: is cut short"):
        convert_raw(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not [*tmp_path.glob(f"*/new/{SKIPPED_NAME}")]
    for path in (raw / "masks/val").iterdir():
        path.rename(path.with_name("x" + path.name[1:]))
    with pytest.raises(ValueError, match="3 of the images have no mask"):
        convert_raw(raw, tmp_path / "out")


def test_a_second_mask_of_an_image_leaves_it_open_which_is_meant(raw, tmp_path):
    shutil.copy(raw / "masks/train/t2.png", raw / "masks/train/t2_new.png")
    with pytest.raises(ValueError, match=r"t2.png and .*t2_new.png could both be the mask of .*t2.png"):
        convert_raw(raw, tmp_path / "out")


def test_palettes_that_contradict_each_other(raw, tmp_path):
    cut(raw / "images/train/t1.png")
    for id, colors in (("t2", (0, 0, 0, 9, 9, 9, 9, 0, 0)), ("t4", (0, 0, 0, 7, 7, 7, 9, 0, 0))):
        mask = Image.fromarray(np.ones((4, 6), np.uint8)).convert("P")
        mask.putpalette(colors)
        mask.putdata([1] * 23 + [2])
        mask.save(raw / f"masks/train/{id}.png")
    with pytest.raises(BadFilesError, match=r"of its palette, where") as raised:
        convert_raw(raw, tmp_path / "out")
    assert raised.value.count == 1 and not raised.value.can_be_skipped


def test_without_the_flag_it_is_named(raw, tmp_path, capsys):
    words = ["--root", str(raw), "--label-map", str(raw / "map.yaml"), "--out", str(tmp_path / "out"), "--workers", "1"]
    (raw / "masks/val/v0.png").unlink()
    with pytest.raises(
        ValueError, match=r"1 of the images have no mask .*, or have tfseg convert leave it out by --skip"
    ):
        convert.main(words)
    (raw / "images/val/v0.png").unlink()
    cut(raw / "images/val/v1.png")
    with pytest.raises(ValueError, match=r"v1.png: is cut short .*; or --skip-bad leaves out what is bad$"):
        convert.main(words)
    cut(raw / "images/train/t1.png")
    with pytest.raises(ValueError, match=r"^2 files cannot be converted, named above; or --skip-bad leaves out wh"):
        convert.main(words)
    assert capsys.readouterr().err.count("is cut short") == 2
    convert.main([*words, "--skip-bad"])
    assert "bad     train 1, val 1, left out" in capsys.readouterr().out.splitlines()


# ---- again: resumed, kept, brought up to date


def test_what_is_there_is_kept(raw, tmp_path, capsys):
    spoil(raw)
    convert_raw(raw, tmp_path / "out")
    before = contents(tmp_path / "out")
    convert_raw(raw, tmp_path / "out")
    assert "is there already" in capsys.readouterr().out and contents(tmp_path / "out") == before
    for path in ("masks/train/t7.png", "images/val/v1.png"):
        shutil.copy(raw / "masks/train/t0.png" if "masks" in path else raw / "images/val/v0.png", tmp_path / "copy.png")
        (raw / path).unlink(missing_ok=True)
        shutil.copy(tmp_path / "copy.png", raw / path)
    with pytest.raises(
        ValueError, match=rf"not the same 10; .*; what {SKIPPED_NAME} there lists was left out by --skip"
    ):
        convert_raw(raw, tmp_path / "out", skip_bad=False)


def test_updates(raw, tmp_path, capsys):
    spoil(raw)
    out = tmp_path / "out"
    convert_raw(raw, out)
    convert_raw(raw, out, update=True)
    assert "6 images unchanged" not in capsys.readouterr().out and contents(out) == from_nothing(raw)
    write_pair(raw, "train", "t1", 2)  # mended
    cut(raw / "images/train/t2.png")  # gone bad
    convert_raw(raw, out, update=True)
    assert "7 images unchanged, 1 new, 0 changed, 1 removed" in capsys.readouterr().out
    assert [it["id"] for it in lines(out)] == ["t2", "t3", "t5", "t7", "v1", "v1"]
    assert contents(out) == from_nothing(raw)
    (raw / "images/train/t7.png").unlink()  # bad, and gone now: only the list changes
    convert_raw(raw, out, update=True)
    assert "0 of 2 shards written anew" in capsys.readouterr().out and contents(out) == from_nothing(raw)
    for id in ("t2", "t3", "t5"):
        write_pair(raw, "train", id, 1)
    (raw / "images/val/v1.png").unlink()
    (raw / "masks/val/v1.png").unlink()
    convert_raw(raw, out, update=True)
    assert not (out / SKIPPED_NAME).exists() and contents(out) == from_nothing(raw)


def test_an_interrupted_update(raw, tmp_path, monkeypatch, capsys):
    def break_off(*arguments):
        raise KeyboardInterrupt

    out = tmp_path / "out"
    spoil(raw)
    before = contents(convert_raw(raw, out).path)
    write_pair(raw, "train", "t1", 2)
    cut(raw / "images/train/t2.png")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", break_off)
        convert_raw(raw, out, update=True)
    assert contents(out) == before and "bad samples so far" in capsys.readouterr().out
    convert_raw(raw, out, update=True)
    assert contents(out) == from_nothing(raw) and "resuming, 2 of 2 shards" in capsys.readouterr().out


def test_a_list_is_not_believed(raw, tmp_path):
    cut(raw / "images/train/t1.png")
    out = tmp_path / "out"
    convert_raw(raw, out)
    whole = contents(out)
    for text in (b"[1]\n", b'{"split": "train", "id": "t2"}\n', b"\xff"):
        (out / SKIPPED_NAME).write_bytes(text)
        convert_raw(raw, out, update=True)
        assert contents(out) == whole


def test_killed_at_any_moment(raw, tmp_path, monkeypatch):
    spoil(raw)
    whole, place = from_nothing(raw), tmp_path / "place"

    def prepare():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()

    left = set()
    for moment in moments(monkeypatch, prepare, lambda: convert_raw(raw, place / "out")):
        box = place / ".out.tfseg-incomplete/new"
        left.add((box / SKIPPED_NAME).exists() and len([*box.glob("*.tfrecord")]))
        convert_raw(raw, place / "out")
        assert contents(place / "out") == whole and [path.name for path in place.iterdir()] == ["out"], moment
    assert {0, 1, 2} <= left


@pytest.mark.long
def test_a_killed_command_resumes_without_what_was_found_bad(tmp_path, capsys):
    raw, out, random = tmp_path / "raw", tmp_path / "out", np.random.default_rng(0)
    for index in range(64):
        write_pair(raw, "train", f"{index:02d}", index % 3, (96, 128))
        pixels = random.integers(0, 256, (96, 128, 3), np.uint8)
        Image.fromarray(pixels).save(raw / f"images/train/{index:02d}.png")
    (raw / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    cut(raw / "images/train/03.png")
    whole = from_nothing(raw)
    words = ["--root", str(raw), "--label-map", str(raw / "map.yaml"), "--out", str(out), "--workers", "2"]
    command = [sys.executable, "-m", "tfseg.convert", *words, "--skip-bad"]
    folder = tmp_path / ".out.tfseg-incomplete/new"
    for _ in range(20):
        shutil.rmtree(out, ignore_errors=True)
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        while process.poll() is None and not ((folder / SKIPPED_NAME).exists() and [*folder.glob("*.tfrecord")]):
            time.sleep(0.001)
        with_list = (folder / SKIPPED_NAME).exists()
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        if process.wait() and with_list:
            break
    capsys.readouterr()
    convert_raw(raw, out, workers=2)
    printed = capsys.readouterr().out
    assert contents(out) == whole and "bad samples so far" not in printed
    assert not [path for path in out.iterdir() if path.name.startswith(UNFINISHED)]


def test_in_a_store(raw, tmp_path):
    upath = pytest.importorskip("upath")
    store = upath.UPath(f"memory://{tmp_path.name}")
    cut(raw / "images/train/t1.png")
    convert_raw(raw, tmp_path / "out")
    convert_raw(raw, store / "out")
    assert contents(store / "out") == contents(tmp_path / "out")
    write_pair(raw, "train", "t1", 1)
    cut(raw / "images/train/t2.png")
    convert_raw(raw, store / "out", update=True)
    assert contents(store / "out") == from_nothing(raw)
    write_pair(raw, "train", "t2", 1)
    convert_raw(raw, store / "out", update=True)
    assert contents(store / "out") == from_nothing(raw) and not (store / "out" / SKIPPED_NAME).exists()


# ---- the list itself


@pytest.mark.parametrize(
    ("fault", "parts"),
    [
        ("a; b.png: is cut short; copy it again", ("a; b.png: is cut short", "copy it again")),
        ("a; b.png: is odd", ("a; b.png: is odd", skipping.ADVICE)),
        ("m.png: has 9; add it; or leave it", ("m.png: has 9", "add it; or leave it")),
    ],
)
def test_advice_follows_the_first_semicolon_after_the_name(fault, parts):
    assert skipping.split_fault(Skipped("train", "a", "a; b.png", "m.png", fault)) == parts


def test_a_line_is_plain_ascii():
    (line,) = skipping.skipped_text([Skipped("train", "é\udcff", "a.png", "", "a.png: x")]).splitlines()
    assert line.isascii() and json.loads(line)["id"] == "é\udcff"


def test_records_with_a_list_are_sound(raw, tmp_path):
    spoil(raw)
    records = convert_raw(raw, tmp_path / "out")
    ids = [
        decode_example(data).id
        for shard in records.manifest.splits["train"].shards
        for data in read_shard(tmp_path / "out" / shard.name)
    ]
    assert ids == records.manifest.splits["train"].ids and len(ids) == 6


# ---- images of 16 bits


def test_the_range_of_16_bits_is_that_of_a_conversion_from_nothing(raw, tmp_path):
    for index, path in enumerate(sorted(raw.glob("images/*/*.png"))):
        Image.fromarray(np.full((4, 6), 1000 * index, np.uint16)).save(path)
    mask = raw / "masks/train/t9.png"
    good = mask.read_bytes()
    Image.fromarray(np.full((4, 6), 9, np.uint8)).save(mask)
    records = convert_raw(raw, tmp_path / "out")
    assert (records.manifest.channels, records.manifest.value_range) == (1, [[0, 9000]])  # with t9, which is left out
    assert len(lines(tmp_path / "out")) == 1
    mask.write_bytes(good)
    convert_raw(raw, tmp_path / "out", update=True)
    assert contents(tmp_path / "out") == from_nothing(raw)
    Image.fromarray(np.full((4, 6), 65000, np.uint16)).save(raw / "images/train/t9.png")
    with pytest.raises(
        ValueError, match=r"value_range is \[\[0, 9000\]\], not \[\[0, 65000\]\]; .*--value-range 0,9000"
    ):
        convert_raw(raw, tmp_path / "out", update=True)
    kept = convert_raw(raw, tmp_path / "out", update=True, value_range=[[0, 9000]])
    assert kept.manifest.value_range == [[0, 9000]]
