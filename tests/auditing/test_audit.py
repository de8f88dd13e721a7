"""The whole audit: on records, with and without a model, its files, its page, the command."""

import csv
import io
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from helper_audit import FLAT, SKY, VEHICLE, draw_scene, draw_scenes, fake_model, write_audited
from helper_pages import Page
from helpers import change_record, edit_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseg import audit as tool
from tfseg.auditing import auditor, judging, page, report
from tfseg.auditing.alignment import shift_mask
from tfseg.auditing.auditor import audit_records
from tfseg.auditing.findings import Finding, rank
from tfseg.io import codecs, outputs
from tfseg.records.record_set import open_records


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Records with one fault of each kind: 26 images to train on, 4 to validate on."""
    train, val = draw_scenes(26), {f"{letter}_v": draw_scene(100 + index) for index, letter in enumerate("klmn")}
    image, mask = train["c_x"]
    train["c_x"] = image, shift_mask(mask, 0, 7)
    val["copy_v"] = train["d_x"]
    image, mask = train["e_x"]
    train["e_x"] = image, np.full_like(mask, FLAT)
    image, mask = train["f_x"]
    _, labels = cv2.connectedComponents((mask == VEHICLE).astype(np.uint8))
    train["f_x"] = image, np.where(labels == 1, SKY, mask).astype(np.uint8)
    return write_audited(tmp_path_factory.mktemp("faulty") / "records", {"train": train, "val": val}, shards=2)


@pytest.fixture(scope="module")
def audit(faulty):
    return audit_records(faulty, fake_model(), progress=False)


def test_each_fault_is_among_the_first(audit):
    places = [(one.kind, one.place) for one in audit.findings]
    planted = {
        ("duplicates", "val/copy_v"),
        ("shifted_masks", "train/c_x"),
        ("constant_masks", "train/e_x"),
        ("label_errors", "train/f_x"),
    }
    assert set(places[:4]) == planted


def test_without_a_model_all_but_label_errors_is_found(faulty):
    audit = audit_records(faulty, progress=False)
    kinds = {one.kind for one in audit.findings if one.score >= 0.5}
    assert {"duplicates", "shifted_masks", "constant_masks"} <= kinds
    assert "label_errors" not in {one.kind for one in audit.findings}
    assert audit.notes == ["without --model, label errors are not looked for"]


def test_workers_find_the_same(faulty):
    assert audit_records(faulty, workers=2, progress=False).findings == audit_records(faulty, progress=False).findings


def test_some_splits_alone(faulty):
    audit = audit_records(faulty, splits=["val"], progress=False)
    assert {one.split for one in audit.findings} <= {"val"}
    assert "duplicates" not in {one.kind for one in audit.findings}


def test_a_model_weighs_shifted_masks():
    shifted = [Finding("shifted_masks", "train", id, "", 0.6) for id in ("worse", "better")]
    judged = [
        judging.Judgement("train", "worse", [], None, (0.9, 0.5)),
        judging.Judgement("train", "better", [], None, (0.5, 0.9)),
    ]
    worse, better = auditor.weigh_shifts(shifted, judged)
    assert (worse.score, better.score) == (pytest.approx(0.18), 0.97)


def test_regions_of_shifted_masks_and_of_copies_are_left_out():
    errors = [Finding("label_errors", "val", id, "", 0.9) for id in ("a", "b", "c", "d", "e")]
    others = [
        Finding("shifted_masks", "val", "a", "", 0.9),
        Finding("shifted_masks", "val", "b", "", 0.3),
        Finding("duplicates", "val", "c", "", 0.9, details={"other_split": "train"}),
        Finding("duplicates", "val", "d", "", 0.9, details={"masks_differ": True}),
    ]
    assert [one.id for one in auditor.leave_out_explained(errors, others)] == ["b", "d", "e"]


def test_shards_that_are_not_read_whole_are_named(faulty, tmp_path):
    folder = write_audited(tmp_path / "records", {"train": draw_scenes(3)})
    change_record(folder, "train-00000-of-00001.tfrecord", 1, image__encoded=b"\x89PNG damaged")
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.tfrecord: record 1: "):
        audit_records(folder, progress=False)


def test_masks_with_unknown_values_are_named(tmp_path):
    folder = write_audited(tmp_path / "records", {"train": draw_scenes(3)})
    mask = draw_scene(1)[1]
    mask[0, 0] = 9
    change_record(folder, "train-00000-of-00001.tfrecord", 1, mask__encoded=codecs.pack_mask(mask))
    with pytest.raises(ValueError, match=r"record 1 \(b_x\) has a mask with the values \[9\], expected 0 to 7"):
        audit_records(folder, progress=False)


def test_bad_arguments(faulty, tmp_path):
    with pytest.raises(ValueError, match="has no split 'test', it has train, val"):
        audit_records(faulty, splits=["test"])
    with pytest.raises(ValueError, match="few_images: expected 1 or more, got 0"):
        audit_records(faulty, few_images=0)
    with pytest.raises(FileNotFoundError, match=r"nowhere.*is missing"):
        audit_records(faulty, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such folder of records"):
        audit_records(tmp_path / "nowhere")


def test_a_model_of_other_classes_is_refused_before_it_is_loaded(faulty, tmp_path):
    entries = [{"id": id, "name": name, "color": [id, 0, 0]} for id, name in enumerate(["void", "cat"])]
    (tmp_path / "labels.json").write_text(json.dumps({"classes": entries}))
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"predicts the classes void, cat, and .* has void, flat, construction"):
        audit_records(faulty, tmp_path)


# ---- files


def test_files(audit, tmp_path):
    files = report.write_report(audit, tmp_path / "out", 5)
    assert [path.name for path in files] == ["audit.html", "audit.json", "audit.csv"]
    written = json.loads(files[1].read_text())
    assert written["splits"] == {"train": 26, "val": 5} and written["model"] == "fake"
    assert len(written["findings"]) == len(audit.findings)
    assert written["findings"][0]["kind"] == audit.findings[0].kind
    rows = list(csv.reader(io.StringIO(files[2].read_text())))
    assert rows[0] == ["rank", "score", "kind", "split", "id", "what", "top", "left", "height", "width"]
    assert [row[4] for row in rows[1:]] == [one.id for one in audit.findings]
    error = next(row for row in rows if row[2] == "label_errors")
    assert all(cell.isdigit() for cell in error[6:])


def test_page(audit):
    parsed = Page(page.make_page(audit, 4))
    crops = page.cut_crops(audit, audit.findings[:4])
    captions = {audit.findings[place - 1].kind: [crop.caption for crop in crops[place]] for place in crops}
    assert captions["label_errors"] == captions["shifted_masks"] == ["image", "ground truth", "prediction"]
    assert captions["duplicates"] == ["val/copy_v", "train/d_x"]
    assert captions["constant_masks"] == ["image", "ground truth"]
    assert len(parsed.images) == sum(map(len, crops.values()))
    assert f"{len(audit.findings)} findings, the most suspicious first. The first 4 are shown" in parsed.text


def test_the_frame_is_around_the_region(audit):
    place, finding = next((n, one) for n, one in enumerate(audit.findings, 1) if one.kind == "label_errors")
    crop = page.cut_crops(audit, audit.findings[:place])[place][0].pixels
    rows, columns = np.nonzero((crop == page.FRAME).all(axis=-1))
    window = page.grow(finding.box, (96, 128))
    scale = crop.shape[0] / window[2]
    assert rows.min() == pytest.approx((finding.box[0] - window[0]) * scale, abs=1)
    assert np.ptp(columns) == pytest.approx(finding.box[3] * scale, abs=2)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_a_window_holds_its_box_and_stays_in_the_image(height, width, data):
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = top, left, data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    first, start, rows, columns = page.grow(box, (height, width))
    assert 0 <= first <= top and top + box[2] <= first + rows <= height
    assert 0 <= start <= left and left + box[3] <= start + columns <= width


def test_names_from_data_stay_text(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    scenes = draw_scenes(3)
    folder = write_audited(tmp_path / "records", {"train": scenes, "val": {f"=1+1{evil}": scenes["a_x"]}})

    def rename(manifest):
        manifest["classes"][VEHICLE] = evil
        manifest["label_map"][str(VEHICLE)] = evil

    edit_manifest(folder, rename)
    audit = audit_records(folder, fake_model(), progress=False)
    text = page.make_page(audit, 50)
    assert evil not in text and "&lt;img src=x" in text
    rows = list(csv.reader(io.StringIO(report.make_csv(audit.findings))))
    assert "'=1+1" + evil in [row[4] for row in rows]


def test_one_is_no_plural(tmp_path, capsys):
    folder = write_audited(tmp_path / "records", {"train": draw_scenes(1)})
    tool.main([str(folder), "--workers", "1"])
    printed = capsys.readouterr().out
    assert "class flat is in 1 image, fewer than 5" in printed
    assert "1 image of train: 7 findings, " in printed


def test_long_ids_do_not_stretch_the_table():
    finding = Finding("duplicates", "val", "a" * 255, f"looks as train/{'b' * 255}, in another split", 0.5)
    assert len(report.make_table([finding], 5).splitlines()[1]) < 300


def test_escape_sequences_do_not_reach_the_terminal():
    finding = Finding("duplicates", "val", "a\x1b[31m", "looks as \u202eb", 0.5)
    assert report.make_table([finding], 5).splitlines()[1] == (r"1   0.50  duplicates  val/a\x1b[31m  looks as \u202eb")


def test_other_files_are_left_alone(audit, tmp_path):
    (tmp_path / "audit.csv").write_text("mine")
    with pytest.raises(ValueError, match=r"audit\.csv: is there already and was not written by this tool"):
        report.write_report(audit, tmp_path, 5)
    assert (tmp_path / "audit.csv").read_text() == "mine"
    with pytest.raises(ValueError, match="holds records"):
        report.check_out(open_records(audit.records).path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        report.check_out(tmp_path / "file")


def test_a_link_to_nowhere_is_of_others_too(audit, tmp_path):
    (tmp_path / "audit.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"audit\.csv: is there already"):
        report.write_report(audit, tmp_path, 5)
    assert (tmp_path / "audit.csv").is_symlink()


def test_two_audits_do_not_write_at_once(audit, tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "PATIENCE", 0.1)
    with outputs.write_alone(tmp_path), pytest.raises(OSError, match="another process is writing here"):
        report.write_report(audit, tmp_path, 5)


def test_nothing_is_written_into_a_folder_of_records(audit, tmp_path):
    """A conversion would not replace it any more."""
    folder = open_records(audit.records).path
    with pytest.raises(ValueError, match="records: holds records, among which nothing else may lie"):
        report.check_out(folder / "deep" / "audit")
    assert not (folder / "deep").exists()
    (tmp_path / "manifest.json").write_text("{}")  # of some other program
    report.check_out(tmp_path / "audit")


def test_an_earlier_audit_is_replaced(audit, tmp_path):
    report.write_report(audit, tmp_path, 1)
    before = (tmp_path / "audit.html").read_bytes()
    report.write_report(audit, tmp_path, 3)
    assert (tmp_path / "audit.html").read_bytes() != before
    assert not list(tmp_path.glob("incomplete-*"))


def test_ranking_is_by_score_and_then_always_the_same():
    findings = [
        Finding("coverage", "val", "", "b", 0.5),
        Finding("duplicates", "val", "b", "", 0.5),
        Finding("duplicates", "val", "a", "", 0.5),
        Finding("leakage", "val", "", "", 0.9),
    ]
    ranked = [(one.kind, one.id) for one in rank(findings)]
    assert ranked == [("leakage", ""), ("duplicates", "a"), ("duplicates", "b"), ("coverage", "")]


# ---- the command


def test_command(faulty, tmp_path, capsys):
    tool.main([str(faulty), "--limit", "2", "--workers", "1", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    head, first, second, summary, written = printed.out.splitlines()
    assert head.split() == ["score", "kind", "where", "what"]
    assert first.split()[:4] == ["1", "0.99", "duplicates", "val/copy_v"]
    assert second.split()[0] == "2"
    assert summary.startswith("31 images of train, val: ") and summary.endswith("; the first 2 are shown")
    assert written == f"written: {tmp_path / 'out' / 'audit.html'}"
    assert "note: without --model, label errors are not looked for" in printed.err


def test_a_sound_data_set(tmp_path, capsys):
    folder = write_audited(tmp_path / "records", {"train": draw_scenes(3)})
    tool.main([str(folder), "--workers", "1", "--fail-on", "duplicates,leakage,shifted_masks,constant_masks"])
    assert "3 images of train" in capsys.readouterr().out


def test_exit_code(faulty):
    tool.main([str(faulty), "--workers", "1", "--fail-on", "leakage"])
    with pytest.raises(SystemExit, match=r"audit: 1 finding of duplicates, leakage with a score of 0.5 or more$"):
        tool.main([str(faulty), "--workers", "1", "--fail-on", "duplicates,leakage"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fail-on", "typos"], "--fail-on: expected kinds of duplicates, leakage, .* got 'typos'"),
        (["--limit", "0"], "--limit: expected 1 or more, got 0"),
        (["--fail-on", "leakage,label_errors"], "--fail-on: label_errors are found by a model alone; give --model RUN"),
    ],
)
def test_bad_options(faulty, options, message):
    with pytest.raises(ValueError, match=message):
        tool.main([str(faulty), *options])


def test_nothing_large_is_loaded_without_a_model(faulty):
    code = f"""
import sys
from tfseg import audit
audit.main([{str(faulty)!r}, "--workers", "1"])
print(sorted({{"keras", "tensorflow", "matplotlib"}} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
