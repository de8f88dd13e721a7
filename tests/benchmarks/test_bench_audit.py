"""What the benchmark of the audit plants, and what it takes for found."""

import dataclasses

import numpy as np
import pytest
from helper_audit import draw_scenes, write_audited

from benchmarks import bench_audit
from benchmarks.bench_audit import Planted, is_found, plant, read_all, summarise, write_records
from tfseg.auditing.findings import Finding
from tfseg.records.record_set import open_records
from tfseg.records.verifier import find_faults


@pytest.fixture
def records(tmp_path):
    train, val = draw_scenes(14), {f"{id}v": pair for id, pair in draw_scenes(6, first=50).items()}
    return open_records(write_audited(tmp_path / "records", {"train": train, "val": val}))


def test_a_third_of_each_kind_is_planted_in_images_of_its_own(records, monkeypatch):
    monkeypatch.setattr(bench_audit, "LEAST_PIXELS", 40)
    before = read_all(records)
    changed, planted = plant(before, 9, 8, seed=0)
    assert [fault.kind for fault in planted] == ["wrong class"] * 3 + ["shifted mask"] * 3 + ["duplicate"] * 3
    named = [f"{fault.split}/{fault.id}" for fault in planted] + [fault.other for fault in planted if fault.other]
    assert len(set(named)) == 12
    differing = [
        f"{split}/{old.id}"
        for split in before
        for old, new in zip(before[split], changed[split], strict=False)
        if not np.array_equal(old.mask, new.mask)
    ]
    assert set(differing) == {f"{fault.split}/{fault.id}" for fault in planted[:6]}
    assert len(changed["val"]) == len(before["val"]) + 3
    assert plant(before, 9, 8, seed=0)[1] == planted != plant(before, 9, 8, seed=1)[1]


def test_a_wrong_class_fills_its_box(records, monkeypatch):
    monkeypatch.setattr(bench_audit, "LEAST_PIXELS", 40)
    before = read_all(records)
    changed, (fault, *_) = plant(before, 9, 8, seed=0)
    place = [record.id for record in before[fault.split]].index(fault.id)
    old, new = (splits[fault.split][place].mask for splits in (before, changed))
    rows, columns = np.nonzero(old != new)
    assert len(np.unique(new[old != new])) == 1
    assert fault.box == (rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_the_changed_records_are_sound(records, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_audit, "LEAST_PIXELS", 40)
    changed, _ = plant(read_all(records), 9, 8, seed=0)
    write_records(records, changed, tmp_path / "changed")
    assert [str(fault) for fault in find_faults(tmp_path / "changed") if "channel" not in str(fault)] == []


FINDINGS = [
    Finding("label_errors", "val", "a", "", 0.9, box=(0, 0, 10, 10)),
    Finding("duplicates", "val", "copy", "", 0.8, details={"copies": ["train/b"]}),
    Finding("shifted_masks", "train", "c", "", 0.7),
]


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        (Planted("wrong class", "val", "a", (0, 5, 10, 10)), 1),
        (Planted("wrong class", "val", "a", (0, 6, 10, 10)), None),
        (Planted("wrong class", "train", "a", (0, 0, 10, 10)), None),
        (Planted("shifted mask", "train", "c"), 3),
        (Planted("shifted mask", "val", "a"), None),
        (Planted("duplicate", "val", "copy", other="train/b"), 2),
        (Planted("duplicate", "val", "copy", other="train/x"), None),
    ],
)
def test_what_is_found(fault, place):
    assert is_found(fault, FINDINGS) == place


def test_only_what_is_shown_counts():
    planted = [Planted("shifted mask", "train", "c"), Planted("wrong class", "val", "a", (0, 0, 10, 10))]
    assert summarise(planted, FINDINGS, 3)["all, all"] == {"planted": 2, "found": 2}
    results = summarise(planted, FINDINGS, 2)
    assert results["all, all"] == {"planted": 2, "found": 1}
    assert results["shifted mask, train"] == {"planted": 1, "found": 0}


def test_a_finding_without_a_box_holds_no_region():
    finding = dataclasses.replace(FINDINGS[0], box=None)
    assert is_found(Planted("wrong class", "val", "a", (0, 0, 10, 10)), [finding]) is None
