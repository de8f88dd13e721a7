"""The ledger of records: what its lines say, what damages it, and what `verify` says of it."""

import dataclasses
import hashlib
import json

import pytest
from helpers import write_records

from tfseg.io import tfrecord
from tfseg.records import ledger
from tfseg.records.ledger import LEDGER_NAME, Row, Section, ledger_fault, read_ledger, read_row, row_line, write_ledger
from tfseg.records.manifest import read_manifest
from tfseg.records.records import read_shard
from tfseg.records.verifier import find_faults


@pytest.fixture
def folder(tmp_path):
    """Records of 3 + 1 images in two shards a split, with a ledger."""
    folder = write_records(tmp_path / "records", {"train": 3, "val": 2})
    write(folder)
    return folder


def rows_of(folder, shard, ids):
    classes = len(read_manifest(folder).classes)
    return [
        Row(id, "f" * 64, len(data), hashlib.sha256(data).hexdigest(), [1] * classes, [1, 2, 3], [4, 5, 6], {})
        for id, data in zip(ids, read_shard(folder / shard.name), strict=True)
    ]


def write(folder, change=lambda row: row, change_section=lambda section: section):
    sections = []
    for split in read_manifest(folder).splits.values():
        ids = iter(split.ids)
        for shard in split.shards:
            rows = rows_of(folder, shard, [next(ids) for _ in range(shard.count)])
            section = change_section(Section(shard.name, shard.count, shard.sha256, []))
            sections.append((section, b"".join(row_line(change(row)) for row in rows)))
    write_ledger(folder, sections)


def test_lines_say_where_their_records_lie(folder):
    lines = list(read_ledger(folder, read_manifest(folder)))
    places = [(line.split, line.section.shard, line.index, line.row.id) for line in lines]
    assert places == [
        ("train", "train-00000-of-00002.tfrecord", 0, "train-000"),
        ("train", "train-00000-of-00002.tfrecord", 1, "train-001"),
        ("train", "train-00001-of-00002.tfrecord", 0, "train-002"),
        ("val", "val-00000-of-00002.tfrecord", 0, "val-000"),
        ("val", "val-00001-of-00002.tfrecord", 0, "val-001"),
    ]
    for line in lines:
        with (folder / line.section.shard).open("rb") as shard, (folder / LEDGER_NAME).open("rb") as file:
            data = tfrecord.read_record(shard, line.offset, line.row.bytes)
            assert hashlib.sha256(data).hexdigest() == line.row.sha256
            assert read_row(file, line.place) == line.row


def test_each_line_is_json(folder):
    lines = (folder / LEDGER_NAME).read_text().splitlines()
    assert [*json.loads(lines[0])] == ["ledger"] and [*json.loads(lines[-1])] == ["sha256"]
    assert [*json.loads(lines[2])] == [field.name for field in dataclasses.fields(Row)]


def test_records_are_sound_with_a_ledger_and_without(folder):
    assert find_faults(folder) == [] and ledger_fault(folder, read_manifest(folder)) is None
    (folder / LEDGER_NAME).unlink()
    assert find_faults(folder) == [] and ledger_fault(folder, read_manifest(folder)) is None


def flip_a_digit(data):
    return data.replace(b'"channel_sums":[1,', b'"channel_sums":[7,', 1)


def lose_a_line(data):
    lines = data.splitlines(keepends=True)
    return b"".join(lines[:2] + lines[3:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "line 1 is cut short, or missing"),
        (lambda data: b"\n", "line 1 is no JSON"),
        (lambda data: b"[]\n" + data, "line 1 is not the head of a ledger"),
        (lambda data: data.replace(b'"ledger":1', b'"ledger":9'), "line 1 is of the version '9' of ledgers"),
        (lambda data: data[:-1], "line 11 is cut short, or missing"),
        (lambda data: data[: len(data) // 2], "is cut short, or missing"),
        (lambda data: data + b"{}\n", "line 11 must be the last"),
        (flip_a_digit, "line 11 is not the checksum of the lines before it"),
        (lose_a_line, "line 3 has the id 'train-001' where the manifest has 'train-000'"),
        (lambda data: data.replace(b"[1,2,3]", b"[1,2]", 1), "line 3 counts 8 classes, and 2 and 3 channels"),
        (lambda data: data.replace(b'"bytes":', b'"bytes":-', 1), "line 3 has a record of -"),
        (lambda data: data.replace(b'"bytes":', b'"bytes":1', 1), "line 4 ends train-00000-of-00002.tfrecord at"),
        (lambda data: data.replace(b'"id"', b'"id":"x","id"', 1), "line 3 has the key 'id' twice"),
        (lambda data: b"{" + b" " * ledger.MOST_LINE_BYTES + b"}\n" + data, "line 1 has more than 4,194,304 bytes"),
    ],
)
def test_damage_is_one_fault_of_one_line(folder, change, message):
    path = folder / LEDGER_NAME
    path.write_bytes(change(path.read_bytes()))
    (fault,) = find_faults(folder)
    assert fault.path == path and message in fault.message and "\n" not in fault.message
    assert fault.message.endswith("; no training needs it, and `convert --update` makes it anew")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"change": lambda row: dataclasses.replace(row, id=row.id + "x")}, "'train-000x' where the manifest has"),
        (
            {"change_section": lambda it: dataclasses.replace(it, sha256="0" * 64)},
            "line 2 begins 'train-00000-of-00002",
        ),
        ({"change_section": lambda it: dataclasses.replace(it, count=9)}, "of 9 records"),
    ],
)
def test_a_ledger_of_other_records(folder, change, message):
    write(folder, **change)
    (fault,) = find_faults(folder, quick=True)
    assert message in fault.message
