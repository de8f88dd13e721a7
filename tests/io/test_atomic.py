import errno
import json
import os
from pathlib import Path

import pytest

from tfseg.io import atomic


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    return path


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_a_file_appears_when_it_is_whole(path):
    with atomic.write_whole(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old" and unfinished.suffix == ".json"
    assert contents(path.parent) == {"file.json": "new"}


def write_and_raise(path, error):
    with atomic.write_whole(path) as unfinished:
        unfinished.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(path, error):
    with pytest.raises(type(error)):
        write_and_raise(path, error)
    assert contents(path.parent) == {"file.json": "old"}


def test_an_error_of_the_system_names_the_file(path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"file\.json: cannot be written: No space left on device$") as info:
        write_and_raise(path, full)
    assert info.value.errno == errno.ENOSPC
    with pytest.raises(FileNotFoundError, match=r"directory: '.*nowhere/file\.json'$"):
        atomic.write_text("", path.parent / "nowhere/file.json")
    with pytest.raises(FileNotFoundError, match="elsewhere"), atomic.write_whole(path):
        (path.parent / "elsewhere").read_text()


def test_a_file_that_nobody_wrote(path):
    with pytest.raises(FileNotFoundError), atomic.write_whole(path):
        pass
    assert contents(path.parent) == {"file.json": "old"}


def test_a_link_under_the_name_of_what_is_unfinished_is_not_followed(path):
    other = path.with_name("other")
    other.write_text("of somebody")
    path.with_name("incomplete-file.json").symlink_to(other)
    with pytest.raises(OSError, match=r"incomplete-file\.json: is a link, where file\.json is written at first"):
        atomic.write_text("new", path)
    assert other.read_text() == "of somebody" and path.read_text() == "old"


def test_what_another_process_has_begun_meanwhile_is_left_to_it(path, monkeypatch):
    replace = Path.replace

    def replace_and_begin(unfinished, place):
        replace(unfinished, place)
        unfinished.write_text("half")

    monkeypatch.setattr(Path, "replace", replace_and_begin)
    atomic.write_text("new", path)
    assert contents(path.parent) == {"file.json": "new", "incomplete-file.json": "half"}


def test_text_bytes_and_json(path):
    atomic.write_text("Zürich\n", path)
    assert path.read_bytes() == "Zürich\n".encode()
    atomic.write_text("a\udcff", path, errors="replace")
    assert path.read_text() == "a?"
    atomic.write_bytes(b"\x00", path, sync=False)
    assert path.read_bytes() == b"\x00"
    atomic.write_json({"iou": [float("nan"), 0.5], "name": "a"}, path)
    assert json.loads(path.read_text()) == {"iou": [None, 0.5], "name": "a"}
    assert contents(path.parent).keys() == {"file.json"}


def test_in_a_store_what_failed_is_removed():
    upath = pytest.importorskip("upath")
    path = upath.UPath("memory://atomic/file.txt")
    atomic.write_text("whole", path)
    assert path.read_text() == "whole" and [file.name for file in path.parent.iterdir()] == ["file.txt"]
    with pytest.raises(ValueError, match="bad"):
        write_and_raise(path, ValueError("bad"))
    assert not path.exists()
