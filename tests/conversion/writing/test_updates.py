"""An update makes the very bytes of a conversion from nothing, and encodes no image again that has not changed."""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from helper_killed import moments
from helpers import flip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfseg import convert
from tfseg.annotations.coco import index_coco
from tfseg.conversion import beam, converter
from tfseg.conversion.finding import sources
from tfseg.conversion.reading.evidence import Evidence
from tfseg.conversion.reading.samples import Sample
from tfseg.conversion.writing import encoding, journal, plan, shards, updates
from tfseg.conversion.writing.fingerprints import fingerprint_part, fingerprint_sample
from tfseg.conversion.writing.rows import pack_evidence, unpack_evidence
from tfseg.io import locks
from tfseg.records.ledger import LEDGER_NAME
from tfseg.records.manifest import read_manifest
from tfseg.records.verifier import find_faults
from tfseg.runs import run_dir

BEFORE = Path(__file__).parents[2] / "data" / "before"
CLOCK = iter(range(10**18, 2 * 10**18, 1000))  # each file that is written has a time of its own
COLORS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)}


def write_sample(root, split, id, seed, size=(4, 6), palette=False):
    """Writes an image of noise and a mask of one class, grey or with a palette."""
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    mask = np.full(size, seed % 3, np.uint8)
    for kind, array in (("images", noise), ("masks", mask)):
        (path := root / kind / split / f"{id}.png").parent.mkdir(parents=True, exist_ok=True)
        if kind == "masks" and palette:
            image = Image.fromarray(array).convert("L")
            image.putpalette([part for color in COLORS.values() for part in color])
            image.save(path)
        else:
            cv2.imwrite(str(path), array)
        time = next(CLOCK)
        os.utime(path, ns=(time, time))


def remove(root, split, id):
    for kind in ("images", "masks"):
        (root / kind / split / f"{id}.png").unlink()


@pytest.fixture
def raw(tmp_path):
    """A raw data set of 3 + 1 shards: 20 images to train on, 4 to validate with."""
    for index in range(24):
        write_sample(tmp_path / "raw", "train" if index < 20 else "val", f"{index:02d}", index)
    (tmp_path / "raw/map.yaml").write_text("0: void\n1: sky\n2: flat\n")
    return tmp_path / "raw"


def open_raw(raw):
    return sources.open_source(raw, None, raw / "map.yaml")


def convert_raw(raw, out, **options):
    return converter.convert(open_raw(raw), out, **{"codec": "raw", **options})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def from_nothing(raw, **options):
    """The bytes of a conversion from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        convert_raw(raw, Path(folder, "out"), **options)
        return contents(Path(folder, "out"))


def count_encoded(monkeypatch):
    """Notes the id of every sample that is read from now on."""
    encoded, check = [], encoding.check_sample

    def note(sample, settings):
        encoded.append(sample.id)
        return check(sample, settings)

    monkeypatch.setattr(encoding, "check_sample", note)
    return encoded


@pytest.fixture
def out(raw, tmp_path):
    """Records of the raw data set."""
    convert_raw(raw, tmp_path / "out")
    return tmp_path / "out"


def part_with(raw, id):
    return next(part for part in plan.plan_parts(open_raw(raw)) if id in [sample.id for sample in part.samples])


def edit_ledger(out, change):
    path = out / LEDGER_NAME
    path.write_bytes(change(path.read_bytes()))


# ---- the same bytes


STEP = st.tuples(st.sampled_from(["add", "change", "remove", "touch"]), st.integers(0, 30))


@pytest.mark.long
@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(STEP, max_size=4), min_size=1, max_size=3), st.sampled_from(["raw", "png"]), st.booleans())
def test_any_changes_make_the_bytes_of_a_conversion_from_nothing(rounds, codec, palette):
    with tempfile.TemporaryDirectory() as folder:
        root, there = Path(folder, "raw"), {}
        for index in range(17):
            there[f"{index:02d}"] = "train" if index < 16 else "val"
            write_sample(root, there[f"{index:02d}"], f"{index:02d}", index, palette=palette)
        (root / "map.yaml").write_text("0: void\n1: sky\n2: flat\n")
        convert_raw(root, Path(folder, "out"), codec=codec)
        for steps in rounds:
            for step, number in steps:
                id = f"{number:02d}"
                if step == "add" and id not in there:
                    there[id] = "train" if number % 2 else "val"
                    write_sample(root, there[id], id, number, palette=palette)
                elif step == "change" and id in there:
                    write_sample(root, there[id], id, number + 100, palette=palette)
                elif step == "touch" and id in there:
                    os.utime(root / "images" / there[id] / f"{id}.png", ns=(number, number))
                elif step == "remove" and id in there and [*there.values()].count(there[id]) > 1:
                    remove(root, there.pop(id), id)
            convert_raw(root, Path(folder, "out"), codec=codec, update=True)
            assert contents(Path(folder, "out")) == from_nothing(root, codec=codec)
        assert find_faults(Path(folder, "out")) == []
        assert {path.name for path in Path(folder).iterdir()} == {"raw", "out"}


def test_only_what_is_new_or_has_changed_is_read(raw, out, monkeypatch, capsys):
    write_sample(raw, "train", "30", 30)
    write_sample(raw, "train", "31", 31)
    write_sample(raw, "val", "22", 99)
    remove(raw, "train", "05")
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    assert sorted(encoded) == ["22", "30", "31"]
    assert "22 images unchanged, 2 new, 1 changed, 1 removed; 4 of 4 shards written anew\n" in capsys.readouterr().out
    assert contents(out) == from_nothing(raw)


def test_what_lies_in_a_folder_of_records(raw, out):
    names = {part.name for part in plan.plan_parts(open_raw(raw))} | {"manifest.json", LEDGER_NAME}
    assert {path.name for path in out.iterdir()} == names
    write_sample(raw, "train", "03", 99)
    convert_raw(raw, out, update=True)
    assert {path.name for path in out.iterdir()} == names


def test_shards_that_stay_are_linked(raw, out, capsys):
    places = {path.name: path.stat().st_ino for path in out.iterdir()}
    changed = part_with(raw, "03").name
    write_sample(raw, "train", "03", 99)
    convert_raw(raw, out, update=True)
    now = {path.name: path.stat().st_ino for path in out.glob("*.tfrecord")}
    assert [name for name, place in sorted(now.items()) if place != places[name]] == [changed]
    assert "23 images unchanged, 0 new, 1 changed, 0 removed; 1 of 4 shards written anew\n" in capsys.readouterr().out
    assert contents(out) == from_nothing(raw)


def test_shards_that_cannot_be_linked_are_copied(raw, out, monkeypatch, capsys):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    kept = next(part.name for part in plan.plan_parts(open_raw(raw)) if part != part_with(raw, "03"))
    place = (out / kept).stat().st_ino
    write_sample(raw, "train", "03", 99)
    convert_raw(raw, out, update=True)
    assert "; 1 of 4 shards written anew\n" in capsys.readouterr().out
    assert contents(out) == from_nothing(raw) and (out / kept).stat().st_ino != place


def test_a_shard_that_is_a_link_is_refused_as_when_it_is_replaced(raw, out):
    shard = out / part_with(raw, "03").name
    shard.rename(raw.parent / "elsewhere")
    shard.symlink_to(raw.parent / "elsewhere")
    write_sample(raw, "train", "04", 99)
    for option in ({"update": True}, {"overwrite": True}):
        with pytest.raises(ValueError, match=r"\(a link\)"):
            convert_raw(raw, out, **option)
    assert (raw.parent / "elsewhere").exists()


def test_nothing_is_written_if_nothing_has_changed(raw, out, monkeypatch, capsys):
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in [out, *out.iterdir()]}
    encoded = count_encoded(monkeypatch)
    assert convert_raw(raw, out, update=True) == read_manifest(out)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in [out, *out.iterdir()]} == before
    assert not encoded
    assert "24 images unchanged, 0 new, 0 changed, 0 removed; 0 of 4 shards written anew\n" in capsys.readouterr().out


def test_a_touched_file_is_encoded_again_to_the_same_record(raw, out, monkeypatch):
    before = contents(out)
    os.utime(raw / "masks/train/03.png", ns=(1, 1))
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    assert encoded == ["03"]
    after = contents(out)
    assert before.pop(LEDGER_NAME) != after[LEDGER_NAME]
    assert {name: data for name, data in after.items() if name != LEDGER_NAME} == before
    assert after == from_nothing(raw)


def test_a_data_set_that_was_moved_with_its_times_is_the_same(raw, out, monkeypatch):
    raw.rename(raw.parent / "moved")
    encoded = count_encoded(monkeypatch)
    convert_raw(raw.parent / "moved", out, update=True)
    assert not encoded and contents(out) == from_nothing(raw.parent / "moved")


def test_findings_alone_have_changed(raw, out, monkeypatch):
    """A file that is not taken is counted in the manifest."""
    (raw / "images/train/notes.gif").write_text("of somebody")
    encoded = count_encoded(monkeypatch)
    manifest = convert_raw(raw, out, update=True)
    assert manifest.findings is not None and manifest.findings["left_out"] and not encoded
    assert contents(out) == from_nothing(raw)


def test_a_manifest_that_was_laid_out_anew_is_written_again(raw, out, monkeypatch):
    path = out / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    assert not encoded and contents(out) == from_nothing(raw)


def test_an_image_moves_to_another_split(raw, out, capsys):
    for kind in ("images", "masks"):
        (raw / kind / "train/07.png").rename(raw / kind / "val/07.png")
    convert_raw(raw, out, update=True)
    assert "23 images unchanged, 1 new, 0 changed, 1 removed" in capsys.readouterr().out
    assert contents(out) == from_nothing(raw)


def test_an_update_where_nothing_is(raw, tmp_path, capsys):
    convert_raw(raw, tmp_path / "out", update=True)
    assert contents(tmp_path / "out") == from_nothing(raw) and "unchanged" not in capsys.readouterr().out


def test_with_several_workers(raw, out):
    write_sample(raw, "train", "03", 99)
    write_sample(raw, "train", "40", 40)
    convert_raw(raw, out, update=True, workers=2)
    assert contents(out) == from_nothing(raw)


def test_with_the_limit_of_before(raw, tmp_path):
    convert_raw(raw, tmp_path / "out", limit=9)
    for index in range(40, 50):
        write_sample(raw, "train", f"{index}", index)
    convert_raw(raw, tmp_path / "out", limit=9, update=True)
    assert contents(tmp_path / "out") == from_nothing(raw, limit=9)


def test_with_beam(raw, out, capsys):
    pytest.importorskip("apache_beam")
    write_sample(raw, "train", "03", 99)
    part = part_with(raw, "05")
    flip(out / part.name, 40)
    convert_raw(raw, out, update=True, write_parts=beam.make_writer("DirectRunner"))
    assert contents(out) == from_nothing(raw)
    assert "0, " in capsys.readouterr().err  # of the record that is damaged
    write_sample(raw, "train", "04", 98)
    convert_raw(raw, out, update=True, write_parts=beam.make_writer("DirectRunner"))
    assert contents(out) == from_nothing(raw)


# ---- what goes wrong


def break_off(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("stops_at", "finished"), [(0, 1), (2, 3)])  # the one of val is as it was
def test_an_interrupted_update_resumes(raw, out, monkeypatch, capsys, stops_at, finished):
    before = contents(out)
    for id in ("03", "40"):
        write_sample(raw, "train", id, 99)
    write_part, parts = shards.write_part, plan.plan_parts(open_raw(raw))
    last = parts[stops_at]

    def stop(part, *arguments):
        return break_off() if part == last else write_part(part, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "write_part", stop)
        convert_raw(raw, out, update=True)
    assert contents(out) == before
    kept = out.with_name(".out.tfseg-incomplete") / "new"
    places = {path.name: path.stat().st_ino for path in kept.glob("*.tfrecord")}
    assert len(places) == finished
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    assert {name: (out / name).stat().st_ino for name in places} == places
    assert f"resuming, {finished} of 4 shards are finished\n" in capsys.readouterr().out
    assert {*encoded} <= {"03", "40"} & {sample.id for part in parts[stops_at:] for sample in part.samples}
    assert contents(out) == from_nothing(raw)


def test_killed_at_any_moment(raw, tmp_path, monkeypatch):
    (place := tmp_path / "x").mkdir()
    convert_raw(raw, tmp_path / "first", limit=1)
    old = contents(tmp_path / "first")
    chosen = plan.plan_parts(open_raw(raw), 1)[0].samples[0]
    write_sample(raw, "train", chosen.id, 99)
    new = from_nothing(raw, limit=1)

    def prepare():
        shutil.rmtree(place)
        place.mkdir()
        shutil.copytree(tmp_path / "first", place / "out")

    found = []
    for moment in moments(monkeypatch, prepare, lambda: convert_raw(raw, place / "out", limit=1, update=True)):
        there = place / "out" if (place / "out").exists() else place / ".out.tfseg-incomplete/replaced"
        of_conversions = (".tfrecord.jsonl", "journal.json")
        found.append({name: data for name, data in contents(there).items() if not name.endswith(of_conversions)})
        assert found[-1] in (old, new), moment
        convert_raw(raw, place / "out", limit=1, update=True)
        assert contents(place / "out") == new, moment
        assert [path.name for path in place.iterdir()] == ["out"], moment
    assert old in found and found[-1] == new


def test_interrupted_and_then_taken_back(raw, out, monkeypatch):
    shutil.copytree(raw, raw.with_name("before"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", break_off)
        write_sample(raw, "train", "03", 99)
        convert_raw(raw, out, update=True)
    assert (out.with_name(".out.tfseg-incomplete") / "new").exists()
    shutil.rmtree(raw)
    raw.with_name("before").rename(raw)
    convert_raw(raw, out, update=True)
    assert {path.name for path in out.parent.iterdir()} == {"raw", "out"} and contents(out) == from_nothing(raw)


def test_killed_between_the_two_renames_and_then_changed_again(raw, out, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", break_off)
        write_sample(raw, "train", "03", 99)
        convert_raw(raw, out, update=True)
    out.rename(out.with_name(".out.tfseg-incomplete") / "replaced")
    write_sample(raw, "train", "40", 40)
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    assert sorted(encoded) == ["03", "40"] and contents(out) == from_nothing(raw)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (2, 3)}, "size is original, not 2x3"),
        ({"codec": "png"}, "codec is raw, not png"),
        ({"mask_resize": "majority"}, "mask_resize is nearest, not majority"),
        ({"exif": "ignore"}, "exif is rotate, not ignore"),
    ],
)
def test_other_settings_are_refused(raw, out, options, message):
    before = contents(out)
    with pytest.raises(ValueError, match=rf"made with other settings: ({message}); .*--overwrite, which converts ever"):
        convert_raw(raw, out, update=True, **options)
    assert contents(out) == before


def test_a_split_that_is_not_taken_is_not_removed(raw, out):
    before = contents(out)
    with pytest.raises(ValueError, match="other settings: split val, of 4 images, is not taken now; an update keeps"):
        converter.convert(sources.open_source(raw, ["train"], raw / "map.yaml"), out, codec="raw", update=True)
    assert contents(out) == before


def test_another_label_map_is_refused(raw, out):
    (raw / "map.yaml").write_text("0: void\n1: flat\n2: sky\n")
    with pytest.raises(ValueError, match="the label map is another one"):
        convert_raw(raw, out, update=True)


def test_update_and_overwrite_are_two(raw, out):
    with pytest.raises(ValueError, match="expected update or overwrite, got both"):
        convert_raw(raw, out, update=True, overwrite=True)


def lose_the_ledger(out):
    (out / LEDGER_NAME).unlink()


def test_records_without_a_ledger_are_encoded_again(raw, out, monkeypatch, capsys):
    lose_the_ledger(out)
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, out, update=True)
    report = capsys.readouterr().out
    assert f"{out}: has no {LEDGER_NAME}, as of an earlier version; all 24 images are encoded again\n" in report
    assert f"{out}: 24 images encoded again; 4 of 4 shards written anew\n" in report
    assert len(encoded) == 24 and contents(out) == from_nothing(raw)


@pytest.mark.parametrize("name", ["records", "records_v1"])
def test_records_of_version_0_1_0(tmp_path, name, capsys):
    shutil.copytree(BEFORE / name, tmp_path / "out")
    there = read_manifest(tmp_path / "out")
    root = tmp_path / "raw"
    for index, split in enumerate(["train"] * 3 + ["val"]):
        mask = np.full((64, 128), 26, np.uint8)
        endings = {"images": "", "masks": ""}
        if there.source == "cityscapes":
            endings = {"leftImg8bit": "_leftImg8bit", "gtFine": "_gtFine_labelIds"}
        for folder, ending in endings.items():
            (path := root / folder / split / f"ulm/ulm_00000{index}_000019{ending}.png").parent.mkdir(
                parents=True, exist_ok=True
            )
            array = mask if folder in ("gtFine", "masks") else np.dstack([mask] * 3)
            cv2.imwrite(str(path), array % 8 if there.source == "folders" else array)
    (root / "map.yaml").write_text("".join(f"{value}: {cls}\n" for value, cls in there.label_map.items()))
    source = sources.open_source(root, None, None if there.source == "cityscapes" else root / "map.yaml")
    options = {"size": (24, 32), "codec": there.codec}
    converter.convert(source, tmp_path / "out", update=True, **options)
    reason = "is stored as an earlier version did" if name == "records_v1" else f"has no {LEDGER_NAME}"
    assert reason in capsys.readouterr().out
    converter.convert(source, tmp_path / "fresh", **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def flip_a_digit(data):
    return data.replace(b'"bytes":', b'"bytes":1', 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "line 1 is cut short"),
        (lambda data: data[: len(data) // 2], "is cut short"),
        (lambda data: data.replace(b'"channel_sums":[', b'"channel_sums":[1', 1), "is not the checksum of the lines"),
        (lambda data: data.replace(b'"sha256":"', b'"sha256":"0', 1), "the manifest has"),
        (lambda data: data.replace(b'"holders":[', b'"holders":["x",', 1), "an entry `seen` that no conversion wrote"),
        (lambda data: data.replace(b'"seen":{', b'"seen":{"more":1,', 1), "an entry `seen` that no conversion wrote"),
    ],
)
def test_a_ledger_that_cannot_be_relied_on(raw, out, monkeypatch, capsys, change, message):
    edit_ledger(out, change)
    encoded, warnings = count_encoded(monkeypatch), []
    convert_raw(raw, out, update=True, warn=warnings.append)
    (warning,) = warnings
    assert message in warning and str(out / LEDGER_NAME) in warning and "cannot be relied on" in warning
    assert "all 24 images are encoded again" in capsys.readouterr().out
    assert len(encoded) == 24 and contents(out) == from_nothing(raw)


def test_the_ledger_of_other_records(raw, out, tmp_path, monkeypatch):
    write_sample(raw, "train", "03", 99)
    convert_raw(raw, tmp_path / "other")
    shutil.copy(tmp_path / "other" / LEDGER_NAME, out)
    warnings = []
    convert_raw(raw, out, update=True, warn=warnings.append)
    assert len(warnings) == 1 and contents(out) == from_nothing(raw)


@pytest.mark.parametrize("place", [3, 10, 40])  # in the length, in its checksum, in the data
@pytest.mark.parametrize("others_change", [False, True])
def test_a_damaged_record_is_encoded_again(raw, out, monkeypatch, place, others_change):
    part = part_with(raw, "03")
    flip(out / part.name, place)
    if others_change:
        write_sample(raw, "train", part.samples[1].id, 99)
    encoded, warnings = count_encoded(monkeypatch), []
    convert_raw(raw, out, update=True, warn=warnings.append)
    (warning,) = warnings
    first = part.samples[0].id
    assert re.match(rf"{re.escape(str(out / part.name))}: record 0, {first}, is .*; this image is enco", warning)
    assert sorted(encoded) == sorted([first, part.samples[1].id] if others_change else [first])
    assert contents(out) == from_nothing(raw)


def test_a_shard_of_other_content_with_sound_checksums(raw, out, monkeypatch):
    """Only the SHA-256 of each record shows it."""
    first, second = [part.name for part in plan.plan_parts(open_raw(raw))][:2]
    size = (out / first).stat().st_size
    (out / first).write_bytes((out / second).read_bytes()[:size].ljust(size, b"\0"))
    warnings = []
    convert_raw(raw, out, update=True, warn=warnings.append)
    assert warnings and all(first in warning for warning in warnings) and contents(out) == from_nothing(raw)


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_shard_that_is_not_whole(raw, out, monkeypatch, damage):
    part = part_with(raw, "03")
    if damage == "missing":
        (out / part.name).unlink()
    else:
        data = (out / part.name).read_bytes()
        (out / part.name).write_bytes(data[: len(data) // 2])
    counted, warnings = count_encoded(monkeypatch), []
    convert_raw(raw, out, update=True, warn=warnings.append)
    encoded = [*counted]
    assert contents(out) == from_nothing(raw)
    if damage == "missing":
        assert warnings == [f"{out / part.name}: is missing; its images are encoded again"]
        assert encoded == [sample.id for sample in part.samples]
    else:
        assert 0 < len(encoded) == len(warnings) < len(part.samples)


def test_a_bad_new_image_changes_nothing(raw, out):
    before = contents(out)
    write_sample(raw, "train", "40", 40)
    (raw / "images/train/40.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"40\.png: is no PNG"):
        convert_raw(raw, out, update=True)
    assert contents(out) == before


def test_a_new_palette_that_contradicts_those_of_before(raw, tmp_path):
    for index in range(24):
        write_sample(raw, "train" if index < 20 else "val", f"{index:02d}", index, palette=True)
    convert_raw(raw, tmp_path / "out")
    write_sample(raw, "train", "40", 1)
    image = Image.fromarray(np.full((4, 6), 1, np.uint8)).convert("L")
    image.putpalette([0, 0, 0, 9, 9, 200, 0, 128, 0])
    image.save(raw / "masks/train/40.png")
    with pytest.raises(ValueError, match=r"has \((9, 9, 200|128, 0, 0)\) at index 1 of its palette, where"):
        convert_raw(raw, tmp_path / "out", update=True)


def test_a_damaged_manifest(raw, out):
    flip(out / "manifest.json", 0)
    with pytest.raises(ValueError, match=r"manifest\.json: is damaged"):
        convert_raw(raw, out, update=True)


def test_a_manifest_that_disagrees_with_itself(raw, out):
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["splits"]["val"]["ids"].pop()
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"split val has 3 ids, but .*; --overwrite replaces the damaged folder"):
        convert_raw(raw, out, update=True)


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_records_that_a_training_reads(raw, out):
    before = contents(out)
    with run_dir.hold_records(out):
        convert_raw(raw, out, update=True)  # which changes nothing
        write_sample(raw, "train", "03", 99)
        with pytest.raises(ValueError, match="a training reads these records; wait until it ends"):
            convert_raw(raw, out, update=True)
    assert contents(out) == before


def test_records_that_others_replace_meanwhile(raw, out, monkeypatch):
    write_sample(raw, "train", "03", 99)
    compare = updates.compare

    def replace(*arguments):
        found = compare(*arguments)
        converter.convert(open_raw(raw), out, codec="raw", overwrite=True)
        return found

    monkeypatch.setattr(updates, "compare", replace)
    with pytest.raises(ValueError, match="another conversion has just replaced it; update again"):
        convert_raw(raw, out, update=True)
    assert contents(out) == from_nothing(raw)


def test_in_a_store(raw, monkeypatch, capsys):
    upath = pytest.importorskip("upath")
    store = upath.UPath("memory://updates")
    for path in raw.rglob("*.*"):
        (store / "raw" / path.relative_to(raw).as_posix()).write_bytes(path.read_bytes())
    place = "memory://updates/raw"

    def convert_store(out, **options):
        converter.convert(sources.open_source(place, None, raw / "map.yaml"), f"memory://updates/{out}", **options)
        return {path.name: path.read_bytes() for path in (store / out).iterdir()}

    first = convert_store("out")
    encoded = count_encoded(monkeypatch)
    assert convert_store("out", update=True) == first and not encoded
    image = store / "raw/images/train/03.png"
    image.write_bytes((store / "raw/images/train/04.png").read_bytes())
    updated = convert_store("out", update=True)
    assert "lies in a store, where records are written in place; all 24 images are" in capsys.readouterr().out
    assert len(encoded) == 24 and updated == convert_store("fresh") != first


# ---- the parts


def test_what_was_seen_comes_back_from_a_row():
    sample, palettes = Sample("a", Path("a.jpg"), Path("m/a.png")), ["00"]
    path = str(sample.mask)
    seen = Evidence(
        {"palette of colours": 1},
        {"0000ff": {"0": path, "7": path}},
        [path],
        [0] * 256,
        {"6": 1},
        {},
        {"4x6": 1},
        1,
        path,
    )
    seen.holders[7] = seen.holders[255] = 1
    assert all(getattr(seen, field.name) for field in dataclasses.fields(Evidence) if field.name != "undecided")
    packed = json.loads(json.dumps(pack_evidence(seen, sample, palettes)))
    assert path not in json.dumps(packed) and palettes == ["00", "0000ff"]
    assert unpack_evidence(packed, sample, palettes) == seen
    elsewhere = unpack_evidence(packed, sample._replace(mask=Path("n/a.png")), palettes)
    assert (elsewhere.first_bare, elsewhere.palettes["0000ff"]["7"]) == ("n/a.png", "n/a.png")
    assert pack_evidence(Evidence(), sample, palettes) == {}


@pytest.mark.parametrize(
    "packed",
    [
        {"kinds": {"grey": "1"}},
        {"kinds": ["grey"]},
        {"sizes": {"x": 1}},
        {"sizes": {"0x6": 1}},
        {"bare": None},
        {"greys": [1]},
        {"holders": [256]},
        {"palettes": {"0": [7]}},
        {"palettes": {"1": ["a"]}},
        {"others": 1},
    ],
)
def test_what_no_conversion_has_seen_is_refused(packed):
    with pytest.raises(ValueError, match="has an entry `seen` that no conversion wrote"):
        unpack_evidence(packed, Sample("a", Path("i"), Path("m")), ["no hex", "00"])


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"id": "b"}, True),
        ({"form": "layers", "layers": (("sky", "m"),)}, False),
        ({"form": "coco", "data": b"{}"}, False),
    ],
)
def test_the_fingerprint_of_a_sample(tmp_path, change, same):
    for name in ("i", "m"):
        (tmp_path / name).write_text(name)
    sample = Sample("a", tmp_path / "i", tmp_path / "m")
    if "layers" in change:
        change = change | {"layers": tuple((name, tmp_path / path) for name, path in change["layers"])}
    assert (fingerprint_sample(sample._replace(**change)) == fingerprint_sample(sample)) == same


def test_a_file_of_many_images_changes_only_those_of_which_it_says_something_else(tmp_path):
    for name in ("i", "coco.json"):
        (tmp_path / name).write_text(name)
    sample = Sample("a", tmp_path / "i", tmp_path / "coco.json", "coco", b"{}")
    before = fingerprint_sample(sample)
    (tmp_path / "coco.json").write_text("longer than before")
    assert fingerprint_sample(sample) == before != fingerprint_sample(sample._replace(data=b'{"height":1}'))


def test_annotations_that_stand_elsewhere_in_their_file_are_the_same(tmp_path):
    """An export numbers its annotations anew, from the first that was added on."""
    images = [{"id": place, "file_name": name, "height": 4, "width": 6} for place, name in enumerate(("a", "b"))]
    triangle, other = [[0, 0, 4, 0, 0, 3]], [[0, 0, 5, 0, 0, 3]]

    def index(*annotations):
        """The fingerprint of image b, of (image, polygons) in this order."""
        entries = [
            {"id": place + 1, "image_id": image, "category_id": 1, "segmentation": polygons}
            for place, (image, polygons) in enumerate(annotations)
        ]
        content = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "sky"}]}
        (path := tmp_path / "coco.json").write_text(json.dumps(content))
        (tmp_path / "b").write_text("b")
        os.utime(tmp_path / "b", ns=(1, 1))
        data = [*index_coco(path)][1].data
        return fingerprint_sample(Sample("b", tmp_path / "b", path, "coco", data))

    assert index((1, triangle)) == index((0, other), (0, triangle), (1, triangle)) != index((1, other))
    assert index((1, triangle), (1, other)) != index((1, other), (1, triangle))


def test_one_layer_has_changed(tmp_path):
    for name in ("i", "sky", "road"):
        (tmp_path / name).write_text(name)
    layers = (("sky", tmp_path / "sky"), ("road", tmp_path / "road"))
    sample = Sample("a", tmp_path / "i", tmp_path, "layers", b"", layers)
    before = fingerprint_sample(sample)
    assert fingerprint_sample(sample._replace(layers=(("car", tmp_path / "sky"), layers[1]))) != before
    (tmp_path / "road").write_text("longer")
    assert fingerprint_sample(sample) != before


def test_a_part_elsewhere_is_another_but_its_images_are_not(raw):
    here = fingerprint_part(plan.plan_parts(open_raw(raw))[0])
    raw.rename(raw.parent / "moved")
    there = fingerprint_part(plan.plan_parts(open_raw(raw.parent / "moved"))[0])
    assert here.images == there.images and here.whole != there.whole


def test_rows_that_are_lost_cost_their_shard(raw, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(converter, "write_manifest", break_off)
        convert_raw(raw, tmp_path / "out")
    part = plan.plan_parts(open_raw(raw))[1]
    (tmp_path / ".out.tfseg-incomplete/new" / journal.rows_name(part.name)).write_bytes(b"{}\n")
    encoded = count_encoded(monkeypatch)
    convert_raw(raw, tmp_path / "out")
    assert encoded == [sample.id for sample in part.samples] and contents(tmp_path / "out") == from_nothing(raw)


def test_the_command(raw, tmp_path, capsys):
    arguments = ["--root", raw, "--label-map", raw / "map.yaml", "--out", tmp_path / "out", "--workers", "1"]
    convert.main([*map(str, arguments)])
    write_sample(raw, "val", "40", 40)
    convert.main([*map(str, arguments), "--update"])
    assert "24 images unchanged, 1 new, 0 changed, 0 removed; 1 of 4 shards written anew" in capsys.readouterr().out
