import os
import socket
from pathlib import Path

import pytest

from tfseg.io.regular_files import check_regular, read_file


def test_a_file_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"\r\n\x1a" * 1000)
    assert read_file(tmp_path / "a") == read_file(str(tmp_path / "a"), most=3000) == b"\r\n\x1a" * 1000
    with pytest.raises(ValueError, match=r"a: has more than 2,999 bytes"):
        read_file(tmp_path / "a", most=2999)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_file(tmp_path / "link", 3000) == b"\r\n\x1a" * 1000


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
