import itertools
import os

import pytest

from tfseg.io.yaml_reader import LARGEST, MOST_VALUES, check_text, parse_yaml, read_yaml

LETTERS = "abcdefghij"
# Each name a list of nine times the one before: 9**9 values in 400 bytes.
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in itertools.pairwise(LETTERS)
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.yaml"


def test_plain_values_are_read(path):
    path.write_text("﻿# a\na: [1, 2.5, true, ~, 'x']\nb: &b {c: 1e-4}\nd: *b\n", encoding="utf-8")
    assert read_yaml(path) == {"a": [1, 2.5, True, None, "x"], "b": {"c": "1e-4"}, "d": {"c": "1e-4"}}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_unicode_as_windows_saves_it_is_read(path, order):
    path.write_bytes("\ufeffa: stra\xdfe\r\n".encode(order))
    assert read_yaml(path) == {"a": "stra\xdfe"}
    path.write_bytes("\ufeffa: 1".encode(order) + b"x")
    with pytest.raises(ValueError, match=r"a\.yaml: is no text in UTF-8"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: !!bool x", "a.yaml, line 2: 'x' is no bool"),
        ("a: !!int ''", "a.yaml, line 1: '' is no int"),
        ("a: !!float x", "a.yaml, line 1: 'x' is no float"),
        ("a: !!python/object/apply:os.system [id]", "got python/object/apply:os.system"),
        ("a: !!binary aGk=", "a list, or names with values, got binary"),
        ("a: !!set {b}", "a list, or names with values, got set"),
        ("a: !own 1", "a list, or names with values, got !own"),
        ("a: 2024-01-01", "a list, or names with values, got timestamp; in quotes it is text"),
        (f"a: {10**400}", "a.yaml, line 1: expected a number of at most 40 letters, got 401"),
        ("a: " + "1:" * 60_000 + "1", "a.yaml, line 1: expected a number of at most 40 letters, got 120,001"),
        ("a: 1\n---\nb: 1", "a.yaml, line 2: expected one document, but found another"),
        ("a: 1\nb: 2\na: 3", "a.yaml, line 3: a is set twice"),
        ("a:\n  0x10: 2\n  16: 3", "a.yaml, line 3: 16 is set twice"),
        ("? [a]\n: 2", "a.yaml, line 1: found unhashable key"),
        ("a: *b", "a.yaml, line 1: found undefined alias 'b'"),
        ("\n&a [*a]", "a.yaml, line 2: holds an alias of what it is in"),
        ("[" * 30_000, "a.yaml, line 1: nested deeper than 20 lists and mappings"),
        ("{a: " * 30_000, "a.yaml, line 1: nested deeper than 20 lists and mappings"),
        ("- " * 30_000, "a.yaml, line 1: nested deeper than 20 lists and mappings"),
        (
            "a: &a " + "[" * 15 + "]" * 15 + "\nb: " + "[" * 15 + "*a" + "]" * 15,
            "a.yaml, line 2: nested deeper than 20",
        ),
        (LAUGHS, "a.yaml, line 5: holds more than 20,000 values, counted as often as aliases repeat them"),
        ("[" + "1," * MOST_VALUES + "]", "a.yaml, line 1: holds more than 20,000 values"),
        ('a: "\\UFFFFFFFF"', "a.yaml: "),
        ('a: "b\\0c"', "a.yaml, line 1: holds a character that text cannot have"),
        ("a: 1\nb: \0", "a.yaml, line 2: holds a character that text cannot have"),
        ("#" * (LARGEST + 1), "a.yaml: has more than 131,072 bytes"),
        ("a: !!bool " + "x" * 9999, "is no bool"),
    ],
)
def test_what_is_wrong_is_one_short_line(path, text, line):
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_yaml(path)
    assert line in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400 + len(str(path))


def test_bytes_that_are_no_text_are_named_by_their_line(path):
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ValueError, match=r"a.yaml: is no text in UTF-8, by its line 2; save it as UTF-8"):
        read_yaml(path)


def test_what_is_no_file_is_not_waited_for(path):
    with pytest.raises(FileNotFoundError):
        read_yaml(path)
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"a.yaml: is a named pipe \(FIFO\), expected a file"):
        read_yaml(path)


def test_names_are_escaped():
    with pytest.raises(ValueError, match=r"^\\x1b\[2J, line 2: \\x1b\[31m is set twice$"):
        parse_yaml('"\\e[31m": 1\n"\\e[31m": 2', "\x1b[2J")


@pytest.mark.parametrize("text", ["[" * 3000, LAUGHS, "9" * 5000, " " * (LARGEST + 1)])
def test_text_that_another_reader_would_take_long_for(text):
    with pytest.raises(ValueError):
        check_text(text)


@pytest.mark.parametrize("text", ["a: b: c", "[1", "!!bool x", "runs/a", "{a: [1]}", "*"])
def test_text_that_is_merely_wrong_is_another_readers(text):
    check_text(text)
