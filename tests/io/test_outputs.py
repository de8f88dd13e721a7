"""Folders of reports: names of others stay, links among them, and one process writes at a time."""

import fcntl
import os
import threading

import pytest

from tfseg.io import outputs
from tfseg.io.outputs import check_names, has_mark, write_alone


@pytest.mark.parametrize("taken", ["write_text", "mkdir", "dangling"])
def test_a_taken_name_is_refused_unless_the_folder_is_ours(tmp_path, taken):
    path = tmp_path / "b.csv"
    if taken == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    else:
        getattr(path, taken)(*(["mine"] if taken == "write_text" else []))
    with pytest.raises(ValueError, match=r"b\.csv: is there already and was not written by this tool"):
        check_names(tmp_path, ["a.html", "b.csv"], lambda _: False)
    check_names(tmp_path, ["a.html", "b.csv"], lambda _: True)
    check_names(tmp_path, ["a.html", "c.csv"], lambda _: False)


def test_a_mark_counts_in_the_head_of_a_page_alone(tmp_path):
    page = tmp_path / "a.html"
    assert not has_mark(page, "<ours>")
    page.write_text("<head><ours></head>")
    assert has_mark(page, "<ours>")
    page.write_text(" " * outputs.HEAD + "<ours>")
    assert not has_mark(page, "<ours>")


def hold(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_who_writes_waits_for_another_process(tmp_path):
    descriptor = hold(tmp_path)
    threading.Timer(0.2, os.close, [descriptor]).start()
    with write_alone(tmp_path), pytest.raises(OSError, match="temporarily"):
        os.close(hold_at_once(tmp_path))
    os.close(hold_at_once(tmp_path))


def hold_at_once(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def test_but_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "PATIENCE", 0.1)
    descriptor = hold(tmp_path)
    with pytest.raises(OSError, match="another process is writing here; wait until it ends, or name another folder"):
        write_alone(tmp_path).__enter__()
    os.close(descriptor)
