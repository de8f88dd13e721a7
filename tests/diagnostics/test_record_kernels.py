"""The table of a plugin's kernels, made of its own list."""

import json
import sys

import pytest
import record_kernels

LIST = """# Kernels, verified against TensorFlow 2.20.0.

| Op | dtypes | host-memory args |
|---|---|---|
| `Conv2D` | float16, float32 |  |
| `Sum` | float32 | reduction_indices |
| `All` | (no dtype constraint) | reduction_indices |
| `Abs` | float32 |  |
| `Tile` | float32 | multiples |
| `Tile` | float16 | multiples |
"""


def make(tmp_path, monkeypatch, text):
    (tmp_path / "kernels.md").write_text(text)
    arguments = ["record_kernels", str(tmp_path / "kernels.md"), "--out", str(tmp_path / "table.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    record_kernels.main()
    return json.loads((tmp_path / "table.json").read_text())


def test_the_plugins_kernels_come_before_those_of_tensorflow(tmp_path, monkeypatch):
    found = make(tmp_path, monkeypatch, LIST)
    assert "with TensorFlow 2.20.0" in found["about"]
    assert found["kernels"]["Conv2D"][0] == {"types": {"T": ["float16", "float32"]}}
    assert found["kernels"]["Sum"][0] == {"types": {"T": ["float32"]}, "host": ["reduction_indices"]}
    assert found["kernels"]["All"][0] == {"types": {}, "host": ["reduction_indices"]}
    assert [kernel["types"] for kernel in found["kernels"]["Abs"][:1]] == [{"T": ["float32"]}]
    assert len(found["kernels"]["Abs"]) > 1, "TensorFlow has it for any GPU, too"
    assert [kernel["types"]["T"] for kernel in found["kernels"]["Tile"][:2]] == [["float32"], ["float16"]]
    assert "VariableShape" in found["kernels"], "of TensorFlow itself, for any GPU"
    assert not [name for name in found["kernels"] if name.startswith(("Xla", "Collective"))]


def test_a_list_of_no_kernels_writes_nothing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"kernels\.md: expected a table of .+, got no row of one"):
        make(tmp_path, monkeypatch, "# Nothing\n")
    assert not (tmp_path / "table.json").exists()


def test_an_operation_that_tensorflow_has_not(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"kernels\.md, line 5: Konv2D: no operation of this TensorFlow; install"):
        make(tmp_path, monkeypatch, LIST.replace("Conv2D", "Konv2D"))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("| `Abs` | float32 | |", None),
        ("| `Abs` | float32 |", r"line 8: expected \| `Op` \| dtypes \| host-memory args \|, got '\| `Abs`"),
        ("| `Abs` | flot32 |  |", r"line 8: 'flot32' is no dtype of TensorFlow"),
        ("| `Sum` | float32 | nosuch |", r"line 8: Sum has no argument nosuch"),
        ("| `NoOp` | float32 |  |", r"line 8: NoOp has dtypes in the list, but no attribute"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, monkeypatch, row, words):
    text = "\n".join([*LIST.splitlines()[:7], row, ""])
    if words is None:
        assert make(tmp_path, monkeypatch, text)["kernels"]["Abs"][0] == {"types": {"T": ["float32"]}}
        return
    with pytest.raises(ValueError, match=words):
        make(tmp_path, monkeypatch, text)
    assert not (tmp_path / "table.json").exists()


def test_what_is_no_text_is_named(tmp_path):
    (tmp_path / "kernels.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"kernels\.md: is no text in UTF-8"):
        record_kernels.read_list(tmp_path / "kernels.md")
