import pytest

from tfseg.io import json_reader
from tfseg.io.json_reader import parse_json, read_bounded


def test_what_it_reads():
    assert parse_json(b'{"a": [1, -2.5, null, true, "x"], "b": {"a": 9223372036854775807}}') == {
        "a": [1, -2.5, None, True, "x"],
        "b": {"a": 2**63 - 1},
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" * 100_000, "is nested too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is nested too deep"),
        (b'{"a": 1, "b": 2, "a": 3}', "has the key 'a' twice"),
        (b'{"b": {"\\u001b": 1, "\\u001b": 1}}', r"has the key '\x1b' twice"),
        (b"[9223372036854775808]", "has the number '9223372036854775808', expected integers of 64 bits"),
        (b"[-" + b"9" * 400 + b"]", f"has the number '-{'9' * 76}...', expected integers of 64 bits"),
        (b"{", "is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff", "is no JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_what_it_refuses(data, message):
    with pytest.raises(ValueError) as raised:
        parse_json(data)
    assert str(raised.value) == message


def test_only_so_many_values(monkeypatch):
    monkeypatch.setattr(json_reader, "MOST_VALUES", 5)
    assert parse_json(b"[0, 0, 0, 0, 0]") == [0] * 5
    with pytest.raises(ValueError, match=r"^has more than 5 values, which are not read$"):
        parse_json(b"[0, 0, 0, 0, {}, []]")


def test_only_so_many_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(10))
    assert read_bounded(path, 10) == bytes(10)
    with path.open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(ValueError, match=r"^has more than 10 bytes, which are not read$"):
        read_bounded(path, 10)
