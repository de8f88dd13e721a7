import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfseg.io import json_stream
from tfseg.io.json_stream import iterate_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def read(tmp_path, data):
    path = tmp_path / "a.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [tuple(entry) for entry in iterate_json(path)]


def test_what_it_reads(tmp_path):
    assert read(
        tmp_path, '\ufeff { "info": {"a": [1]}, "images": [ 7 , [8], {"b": 9} ],\n "none": [], "n": 12 }\n'
    ) == [
        ("info", None, {"a": [1]}),
        ("images", 0, 7),
        ("images", 1, [8]),
        ("images", 2, {"b": 9}),
        ("none", None, []),
        ("n", None, 12),
    ]
    assert read(tmp_path, '["a", [], 1e3]') == [("", 0, "a"), ("", 1, []), ("", 2, 1000.0)]
    assert read(tmp_path, "{}") == read(tmp_path, "[]") == []


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 2**20])
@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck], derandomize=True, database=None)
@given(value=st.lists(JSON, max_size=4) | st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_wherever_a_chunk_ends(tmp_path, monkeypatch, chunk, value):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    wanted = [("", index, element) for index, element in enumerate(value)] if isinstance(value, list) else []
    for key, inner in value.items() if isinstance(value, dict) else ():
        is_long = isinstance(inner, list) and inner and key
        wanted += [(key, index, element) for index, element in enumerate(inner)] if is_long else [(key, None, inner)]
    if isinstance(value, dict) and isinstance(value.get(""), list):  # the name of an outermost list
        return
    assert read(tmp_path, json.dumps(value, ensure_ascii=False)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON of an object or a list, it begins with ''"),
        ("12", "is no JSON of an object or a list, it begins with '1'"),
        ('{"a": [1, 2', "is no JSON: expected , but got the end of the file"),
        ('{"a": [1, tru', "a[1]: is no JSON, or cut short: Expecting value"),
        ('{"a": [{"b": 1, "b": 2}]}', "a[0]: has the key 'b' twice"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('[{"b": 9223372036854775808}]', "entry 0: has the number '9223372036854775808', expected integers of 64 bits"),
        ('{"a": ' + '{"b":' * 100_000, "a: is nested too deep"),
        ("[" * 100_000, "entry 0: is nested too deep"),
        ("{1: 2}", "is no JSON: expected a key in quotes, got '1'"),
        ("[] x", "is no JSON: after its end stands 'x'"),
        (b'["\xff"]', "is no text in UTF-8: invalid start byte; save it as UTF-8"),
    ],
)
def test_what_it_refuses(tmp_path, text, message):
    with pytest.raises(ValueError) as raised:
        read(tmp_path, text)
    assert str(raised.value) == f"{tmp_path / 'a.json'}: {message}"


def test_only_so_much(tmp_path, monkeypatch):
    for name, most in (("CHUNK", 4), ("MOST_ENTRY", 40), ("MOST_FILE_BYTES", 200)):
        monkeypatch.setattr(json_stream, name, most)
    assert len(read(tmp_path, json.dumps(["a" * 30] * 5))) == 5
    with pytest.raises(ValueError, match=r"entry 1: has more than 40 letters, which are not read"):
        read(tmp_path, json.dumps(["a", "b" * 100]))
    with pytest.raises(ValueError, match=r"has more than 200 bytes, which are not read"):
        read(tmp_path, json.dumps(["a" * 30] * 10))
    for name, most in (("_WHOLE", 10), ("MOST_VALUES", 6)):
        monkeypatch.setattr(json_stream, name, most)
    with pytest.raises(ValueError, match=r"entry 0: has more than 6 values, which are not read"):
        read(tmp_path, json.dumps([[1] * 13]))
