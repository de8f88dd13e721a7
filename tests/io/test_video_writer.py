"""Videos written by PyAV: each frame at its time, whole or not at all."""

import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helper_videos import IRREGULAR, MS, moving, packets, read_whole, steady, write_video

from tfseg.io.film import Film
from tfseg.io.video import read_film, write_film

pytest.importorskip("av", reason="needs PyAV, the extra video")

import av

from tfseg.io import video_writer


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_times_and_sound_are_kept(tmp_path, codec, ending):
    source = write_video(tmp_path / "film.mp4", moving(10), IRREGULAR, sound="aac", seconds=0.8)
    pixels, times, film = read_whole(source)
    assert times == [time * MS for time in IRREGULAR]
    copy = tmp_path / f"copy{ending}"
    assert write_film(copy, read_film(source), codec) == 10
    again, times_again, film_again = read_whole(copy)
    assert times_again == times
    assert film_again.time_base == film.time_base
    assert packets(copy, "audio") == packets(source, "audio")
    assert max(np.abs(one.astype(int) - other).mean() for one, other in zip(pixels, again, strict=True)) < 25  # noise
    with av.open(str(copy)) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == (codec, "yuv420p", 1, 1)
        assert container.streams.video[0].codec_context.codec_tag == ("hvc1" if codec == "hevc" else "avc1")
    content = copy.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # a browser shows it before it has all of it
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([copy.name, source.name])


def test_matroska_counts_in_milliseconds(tmp_path):
    source = write_video(tmp_path / "film.mp4", moving(10), IRREGULAR, sound="aac")
    write_film(tmp_path / "copy.mkv", read_film(source))
    _, times, _ = read_whole(tmp_path / "copy.mkv")
    assert [time - times[0] for time in times] == [time * MS for time in IRREGULAR]
    assert [content for _, content in packets(tmp_path / "copy.mkv", "audio")] == [
        content for _, content in packets(source, "audio")
    ]
    sound, image = packets(tmp_path / "copy.mkv", "audio"), packets(tmp_path / "copy.mkv", "video")
    assert abs(image[0][0] - sound[0][0] - Fraction(1024, 48_000)) <= MS  # together, as before


@pytest.mark.parametrize("rate", [17, 12.5, 29.97, 23.976, 1, 239.683])
def test_a_folder_of_frames(tmp_path, rate):
    assert write_film(tmp_path / "film.mp4", steady(rate=rate)) == 5
    _, times, film = read_whole(tmp_path / "film.mp4")
    assert np.allclose([float(time) for time in times], np.arange(5) / rate, rtol=1e-3)
    assert film.rate == pytest.approx(rate, rel=1e-2)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(("size", "shown"), [((15, 25), (16, 26)), ((64, 63), (64, 64)), ((1, 1), (2, 2))])
def test_odd_sides_grow_by_a_line(tmp_path, codec, size, shown):
    if codec == "hevc" and size == (1, 1):
        with pytest.raises(ValueError, match=r"film\.mp4: libx265 takes no frames of 2x2 pixels"):
            write_film(tmp_path / "film.mp4", steady(2, *size), codec)
        assert not list(tmp_path.iterdir())
        return
    write_film(tmp_path / "film.mp4", steady(2, *size), codec)
    assert read_whole(tmp_path / "film.mp4")[0][0].shape == (*shown, 3)


def test_the_date_is_kept(tmp_path):
    source = write_video(tmp_path / "film.mp4", moving(2))
    content = bytearray(source.read_bytes())
    place = content.index(b"mvhd") + 8  # seconds since 1904
    content[place : place + 4] = struct.pack(">I", 3_800_000_000)
    source.write_bytes(content)
    write_film(tmp_path / "copy.mp4", read_film(source))
    with av.open(str(source)) as one, av.open(str(tmp_path / "copy.mp4")) as other:
        assert other.metadata["creation_time"] == one.metadata["creation_time"]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], r"film\.mp4: there is no frame to write"),
        ([*moving(2), moving(1, 32, 32)[0]], "frame 2 has another size, 32x32 after 64x96"),
    ],
)
def test_what_cannot_be_written(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_film(tmp_path / "film.mp4", Film.steady(frames, 10))
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_film_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "film.mp4"
    write_film(path, steady(4))

    def stop_early():
        yield from moving(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(path, Film.steady(stop_early(), 10))
    assert read_film(path).count == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="lists open files as Linux does")
def test_a_file_that_cannot_hold_the_sound_is_closed_before_it_is_written_anew(tmp_path, monkeypatch):
    source, begun, start = write_video(tmp_path / "film.mp4", moving(3), sound="aac"), [], video_writer._Output._start

    def fail_with_sound(output, height, width):
        opened = [path for path in Path("/proc/self/fd").iterdir() if path.resolve() == output.unfinished.resolve()]
        start(output, height, width)
        begun.append((output.container, len(opened)))
        if len(begun) == 1:
            raise av.error.InvalidDataError(1, "no head can be written")

    monkeypatch.setattr(video_writer._Output, "_start", fail_with_sound)
    film = read_film(source)
    assert write_film(tmp_path / "copy.mp4", film) == 3
    assert [opened for _, opened in begun] == [0, 0]
    assert film.notes == [f"the sound of {source} is left out: .mp4 cannot hold it"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from tfseg.io.film import Film
from tfseg.io.video import write_film
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
images = np.random.default_rng(0).integers(0, 256, (12, 128, 128, 3), np.uint8)
try:
    write_film(Path(sys.argv[1]), Film.steady(images, 10))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
@pytest.mark.parametrize("most", [0, 20, 40_000, 120_000])
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_full_disk_leaves_nothing(tmp_path, most, ending):
    """A limit on files' sizes is met as a full disk is, by any user."""
    path = tmp_path / f"film{ending}"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, path, str(most)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert f"film{ending}" in done.stdout and "incomplete" not in done.stdout
    assert list(tmp_path.iterdir()) == []
