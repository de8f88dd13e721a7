"""Which files are read as videos, and what stands for PyAV where it is not installed."""

import os
import sys
from pathlib import Path

import pytest
from helper_videos import moving, steady, write_video

from tfseg.io import video
from tfseg.io.video import read_film, write_film

pytest.importorskip("av", reason="needs PyAV, the extra video")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {}\n"),
        ("list.mpd", '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{}</BaseURL></MPD>'),
        ("list.sdp", "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
        ("empty.mp4", ""),
    ],
)
def test_a_list_of_other_files_is_no_video(tmp_path, name, content):
    secret = write_video(tmp_path / "secret.ts", moving(3))
    (tmp_path / name).write_text(content.format(secret))
    with pytest.raises(ValueError, match=rf"{name} is no video that FFmpeg can read"):
        read_film(tmp_path / name)


def test_nothing_else_is_opened(tmp_path, monkeypatch):
    """Even by a container that may name other files: FFmpeg asks us for each, and is refused."""
    write_video(tmp_path / "secret.ts", moving(3))
    (tmp_path / "list.ffconcat").write_text("ffconcat version 1.0\nfile secret.ts\n")
    from tfseg.io import video_reader

    monkeypatch.setattr(video_reader, "FORMATS", ("concat", "mpegts"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"list\.ffconcat is no video that FFmpeg can read|none of its frames"):
        read_film("list.ffconcat")


@pytest.mark.parametrize("name", ["http://127.0.0.1:9/film.mp4", "concat:film.mp4|film.mp4", "file:film.mp4", "pipe:0"])
def test_addresses_are_names_of_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "film.mp4", moving(2))
    with pytest.raises(FileNotFoundError, match="no such video file"):
        read_film(name)


def test_what_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError):
        read_film(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "film.mp4")
        with pytest.raises(ValueError, match="is a named pipe"):
            read_film(tmp_path / "film.mp4")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_names_that_are_no_unicode(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff/film\xe4.mp4"))
    path.parent.mkdir()
    write_film(path, steady(3))
    film = read_film(path)
    write_film(path.with_name("copy.mp4"), film)
    assert len(list(path.parent.iterdir())) == 2
    (path.parent / "none.mp4").touch()
    with pytest.raises(ValueError, match="is no video"):
        read_film(path.parent / "none.mp4")


def test_without_pyav_a_line_says_what_is_lost(tmp_path, monkeypatch):
    source = write_video(tmp_path / "film.mp4", moving(4), sound="aac")
    monkeypatch.setattr(video, "has_pyav", lambda: False)
    film = read_film(source)
    write_film(tmp_path / "copy.mp4", film)
    assert film.notes[-1] == (
        f"{tmp_path}/copy.mp4 is read and written by OpenCV: without sound, at a constant frame rate, as MPEG-4 Part 2,"
        " which browsers do not show; for H.264 with sound and times, install PyAV with pip install "
        "'tf-segmentation[video]'"
    )
    folder = steady()
    write_film(tmp_path / "folder.mp4", folder)
    assert len(folder.notes) == 1 and "without sound" not in folder.notes[0]
    for codec, ending, asked in (("hevc", "mp4", "--codec hevc"), (None, "mkv", "--container mkv")):
        with pytest.raises(ValueError, match=f"{asked}: PyAV is not installed; install PyAV with pip install"):
            write_film(tmp_path / f"other.{ending}", steady(), codec)


@pytest.mark.parametrize(("codec", "container"), [("av1", "mp4"), (None, "avi")])
def test_what_is_not_written(codec, container):
    with pytest.raises(ValueError, match=r"--(codec|container): expected .*, got"):
        video.check_output(codec, container)
