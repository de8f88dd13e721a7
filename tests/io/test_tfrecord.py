"""TensorFlow's formats without TensorFlow: the same bytes, read back, and what is damaged is named to the record."""

import io

import pytest
import tensorflow as tf

from tfseg.io import tfrecord

RECORDS = [b"", b"a", b"x" * 127, b"y" * 128, bytes(range(256)) * 100]
FEATURES = {"id": b"ulm_000000", "image/height": 0, "image/width": 300, "z": b"", "big": 2**62, "long": b"\0" * 70_000}


def example_of(features):
    kinds = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=kinds))


def read(data):
    return list(tfrecord.read_records(io.BytesIO(data)))


def test_frames_as_tensorflow_does(tmp_path):
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
    data = (tmp_path / "a.tfrecord").read_bytes()
    assert b"".join(map(tfrecord.frame, RECORDS)) == data
    assert read(data) == RECORDS


def test_reads_one_record_where_it_lies():
    file, offset = io.BytesIO(b"".join(map(tfrecord.frame, RECORDS))), 0
    for record in RECORDS:
        assert tfrecord.read_record(file, offset, len(record)) == record
        offset += len(record) + tfrecord.FRAME_BYTES


@pytest.mark.parametrize(
    ("place", "offset", "length", "message"),
    [
        (0, 0, 3, "is cut short, or has a damaged length"),
        (9, 0, 3, "is cut short, or has a damaged length"),
        (13, 0, 3, "is damaged: its checksum fails"),
        (18, 0, 3, "is damaged: its checksum fails"),
        (40, 0, 2, "is cut short, or has a damaged length"),
        (40, 19, 3, "is cut short, or has a damaged length"),
    ],
)
def test_one_record_that_is_damaged_or_not_there(place, offset, length, message):
    data = bytearray(tfrecord.frame(b"abc").ljust(50, b"\0"))
    data[place] ^= 1
    with pytest.raises(ValueError, match=message):
        tfrecord.read_record(io.BytesIO(data), offset, length)


def test_one_record_that_is_cut_short():
    with pytest.raises(ValueError, match="is damaged: its checksum fails"):
        tfrecord.read_record(io.BytesIO(tfrecord.frame(b"abc")[:14]), 0, 3)


def test_encodes_examples_as_tensorflow_does():
    assert tfrecord.encode_example(FEATURES) == example_of(FEATURES).SerializeToString(deterministic=True)
    assert tfrecord.decode_example(tfrecord.encode_example(FEATURES)) == FEATURES
    assert tfrecord.decode_example(b"") == tfrecord.decode_example(tfrecord.encode_example({})) == {}


def test_several_values():
    example = example_of({"id": b"a"})
    example.features.feature["tiles"].bytes_list.value.extend([b"x", b"", b"yz"])
    features = {"id": b"a", "tiles": [b"x", b"", b"yz"]}
    assert tfrecord.decode_example(example.SerializeToString()) == features
    assert tfrecord.encode_example(features) == example.SerializeToString(deterministic=True)
    assert tfrecord.encode_example({"id": [b"a"]}) == example_of({"id": b"a"}).SerializeToString()


def test_leaves_out_features_of_other_kinds():
    example = example_of({"id": b"a"})
    example.features.feature["score"].float_list.value.append(0.5)
    example.features.feature["none"].SetInParent()
    assert tfrecord.decode_example(example.SerializeToString()) == {"id": b"a"}


@pytest.mark.parametrize("data", [b"<html>404</html>", b"\n", b"\n\x05ab", b"\xff" * 12, bytes(20), b"\n\x02\x08\x01"])
def test_refuses_what_is_no_example(data):
    with pytest.raises(ValueError, match=r"is no tf\.train\.Example"):
        tfrecord.decode_example(data)


def message(number: int, *contents: bytes) -> bytes:
    """Fields of one number, each with a content."""
    return b"".join(b"".join(tfrecord._field(number, content)) for content in contents)


def entry(key: bytes, feature: bytes) -> bytes:
    """An entry of an Example."""
    return message(1, message(1, key) + message(2, feature))


HOSTILE = {
    "a number of 70 bits": b"\n" + b"\xff" * 9 + b"\x7f",
    "a megabyte of 0xFF": b"\xff" * 10**6,
    "a length beyond the end": b"\n\xff\xff\xff\xff\x0f",
    "200,000 empty fields": b"\n\x00" * 200_000,
    "another field of an Example": message(5, entry(b"id", message(1, message(1, b"a")))),
    "a feature of two lists": message(1, entry(b"id", message(1, message(1, b"a")) + message(1, message(1, b"b")))),
    "an entry of two keys": message(1, message(1, message(1, b"a", b"b") + message(2, b""))),
    "an entry of a key and an unknown field": message(1, message(1, message(1, b"id") + message(3, b""))),
    "a number in an unknown field": message(1, entry(b"n", message(3, message(2, b"\x18")))),
    "a key that is no text": message(1, entry(b"\xff", message(1, message(1, b"a")))),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_refuses_what_readers_take_in_more_ways_than_one(data):
    with pytest.raises(ValueError, match=r"^is no tf\.train\.Example$"):
        tfrecord.decode_example(data)


def test_refuses_a_key_that_is_there_twice():
    data = message(1, b"".join(entry(b"i\n", message(1, message(1, value))) for value in (b"a", b"b")))
    with pytest.raises(ValueError, match=r"^has the key 'i\\n' twice$"):
        tfrecord.decode_example(data)


def test_lists_what_has_another_kind_of_value():
    features = {
        b"floats": message(2, message(1, b"\0\0\0\0")),
        b"none": message(1, b""),
        b"numbers": message(3, message(1, b"\x18\x19")),
        b"unset": b"",
        b"id": message(1, message(1, b"a")),
        b"below": message(3, message(1, b"\xff" * 9 + b"\x01")),
    }
    data = message(1, b"".join(entry(key, feature) for key, feature in features.items()))
    assert tfrecord.decode_example(data) == {"id": b"a", "below": -1}
    assert tfrecord.list_others(data) == ["floats", "none", "numbers"]


def test_finds_any_changed_byte_and_any_cut():
    data = b"".join(map(tfrecord.frame, [b"abc", b"defgh"]))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(tfrecord.DamagedRecordError, match=f"record {int(place >= 19)} "):
            read(bytes(changed))
        if place not in (0, 19):  # a cut between two records cannot be seen in the file alone
            with pytest.raises(tfrecord.DamagedRecordError, match=f"record {int(place >= 19)} is cut short"):
                read(data[:place])


def test_views_of_a_file_copy_nothing():
    data = b"".join(map(tfrecord.frame, RECORDS))
    viewed = [*tfrecord.view_records(memoryview(data))]
    assert viewed == RECORDS and all(record.obj is data for record in viewed)
    example = memoryview(tfrecord.encode_example({"a": b"xyz", "b": [b"1", b"2"], "c": 7}))
    viewed = tfrecord.view_example(example)
    assert viewed == {"a": b"xyz", "b": [b"1", b"2"], "c": 7}
    assert viewed["a"].obj is example.obj


def test_views_find_any_changed_length_and_any_cut():
    data = b"".join(map(tfrecord.frame, [b"abc", b"defgh"]))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        record = int(place >= 19)
        if place - 19 * record < 12:
            with pytest.raises(tfrecord.DamagedRecordError, match=f"record {record} "):
                [*tfrecord.view_records(memoryview(changed))]
        if place not in (0, 19):
            with pytest.raises(tfrecord.DamagedRecordError, match=f"record {record} is cut short"):
                [*tfrecord.view_records(memoryview(data[:place]))]


def test_a_wild_length_asks_for_no_memory(tmp_path):
    length = (2**60).to_bytes(8, "little")
    (tmp_path / "a").write_bytes(length + tfrecord._masked_crc(length) + b"abc")
    with (
        (tmp_path / "a").open("rb") as file,
        pytest.raises(tfrecord.DamagedRecordError, match="record 0 is cut short"),
    ):
        list(tfrecord.read_records(file))


def test_a_record_too_large_to_be_parsed_is_not_read(tmp_path):
    length = (2**31).to_bytes(8, "little")
    with (tmp_path / "a").open("wb") as file:
        file.write(length + tfrecord._masked_crc(length))
        file.truncate(2**31 + 16)  # takes no room on the disk
    with (
        (tmp_path / "a").open("rb") as file,
        pytest.raises(tfrecord.DamagedRecordError, match=r"has 2,147,483,648 bytes, more than the 2,147,483,647 that"),
    ):
        list(tfrecord.read_records(file))
