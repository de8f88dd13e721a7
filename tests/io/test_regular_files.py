import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from tfseg.io.json_reader import read_bounded
from tfseg.io.regular_files import check_regular, read_file


def test_a_file_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"\r\n\x1a" * 1000)
    assert read_file(tmp_path / "a") == read_file(str(tmp_path / "a"), most=3000) == b"\r\n\x1a" * 1000
    with pytest.raises(ValueError, match=r"a: has more than 2,999 bytes"):
        read_file(tmp_path / "a", most=2999)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_file(tmp_path / "link", 3000) == b"\r\n\x1a" * 1000


@pytest.mark.parametrize("read", [read_file, read_bounded])
def test_a_small_file_takes_little_memory_however_large_it_may_be(tmp_path, read):
    (tmp_path / "a").write_bytes(b"abc")
    tracemalloc.start()
    try:
        assert read(tmp_path / "a", 2**30) == b"abc"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs Linux's /proc")
def test_a_file_that_has_no_size_is_read_whole():
    version = Path("/proc/version")
    assert version.stat().st_size == 0 and len(version.read_bytes()) > 10
    assert read_file(version, 10_000) == version.read_bytes()
    with pytest.raises(ValueError, match="has more than 5 bytes"):
        read_file(version, 5)


def test_what_is_no_file_is_refused_by_name_and_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pi\npe")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for name, kind in (
            ("pi\npe", r"pi\\npe: is a named pipe \(FIFO\)"),
            ("socket", "socket: is a socket"),
            ("/dev/zero", "/dev/zero: is a device"),
        ):
            for read in (read_file, check_regular):
                with pytest.raises(ValueError, match=f"^{kind}, expected a file$"):
                    read(name)
    with pytest.raises(IsADirectoryError, match="folder"):
        read_file("folder")
    with pytest.raises(FileNotFoundError):
        read_file("nothing")
