"""Videos by PyAV, and what stands for it where it is not installed."""

import os
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helper_videos import IRREGULAR, MS, damage, moving, packets, places, write_video

from tfseg.io import video
from tfseg.io.film import Film
from tfseg.io.video import read_film, write_film

av = pytest.importorskip("av", reason="needs PyAV, the extra video")
Disposition = av.stream.Disposition


def read(path):
    """Reads a film whole: its pixels, its times in seconds, and the film."""
    film = read_film(path)
    frames = list(film.frames)
    return [frame.pixels for frame in frames], [frame.time * film.time_base for frame in frames], film


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4"])
def test_what_is_decoded(tmp_path, codec):
    ending = ".webm" if codec == "libvpx-vp9" else ".mp4"
    images = moving(8)
    pixels, times, film = read(write_video(tmp_path / f"film{ending}", images, codec=codec))
    assert times == [Fraction(place, 25) for place in range(8)]
    assert (film.rate, film.count, film.notes) == (25, 8, [])
    differences = [
        np.abs(seen[:16].astype(int) - image[:16]).mean() for seen, image in zip(pixels, images, strict=True)
    ]
    assert max(differences) < 30


def test_ten_bits(tmp_path):
    image = np.full((64, 96, 3), [200, 60, 30], np.uint8)
    [pixels], _, _ = read(write_video(tmp_path / "film.mp4", [image], codec="libx265", pix_fmt="yuv420p10le"))
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - image).max() <= 3


# FFmpeg's numbers of matrices -> the weights of red and blue in brightness (ITU-T H.273, table 4); 2: it names none.
@pytest.mark.parametrize(("matrix", "weights"), [(2, (0.299, 0.114)), (1, (0.2126, 0.0722)), (6, (0.299, 0.114))])
@pytest.mark.parametrize("color_range", [0, 1, 2])  # unspecified, limited, full
def test_colors_are_what_the_file_says(tmp_path, matrix, weights, color_range):
    y, u, v = 120, 90, 180
    frame = av.VideoFrame(32, 32, "yuv420p")
    for plane, value in zip(frame.planes, (y, u, v), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    frame.colorspace, frame.color_range = matrix, color_range
    look = {"colorspace": matrix, "color_range": color_range}
    [pixels], _, _ = read(write_video(tmp_path / "film.mkv", [frame], codec="ffv1", look=look))
    luma = y if color_range == 2 else (y - 16) * 255 / 219
    scale = 1 if color_range == 2 else 255 / 224
    kr, kb = weights
    red, blue = luma + 2 * (1 - kr) * (v - 128) * scale, luma + 2 * (1 - kb) * (u - 128) * scale
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    assert np.abs(pixels - np.array([red, green, blue])).max() < 1


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize("ending", [".mp4", ".mov"])
def test_times_and_sound_are_kept(tmp_path, codec, ending):
    source = write_video(tmp_path / "film.mp4", moving(10), IRREGULAR, sound="aac", seconds=0.8)
    pixels, times, film = read(source)
    assert times == [time * MS for time in IRREGULAR]
    copy = tmp_path / f"copy{ending}"
    assert write_film(copy, read_film(source), codec) == 10
    again, times_again, film_again = read(copy)
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
    _, times, _ = read(tmp_path / "copy.mkv")
    assert [time - times[0] for time in times] == [time * MS for time in IRREGULAR]
    assert [content for _, content in packets(tmp_path / "copy.mkv", "audio")] == [
        content for _, content in packets(source, "audio")
    ]
    sound, image = packets(tmp_path / "copy.mkv", "audio"), packets(tmp_path / "copy.mkv", "video")
    assert abs(image[0][0] - sound[0][0] - Fraction(1024, 48_000)) <= MS  # together, as before


@pytest.mark.parametrize(("sound", "ending"), [("libmp3lame", ".mp4"), ("libopus", ".mp4"), ("flac", ".mkv")])
def test_sound_of_other_codecs(tmp_path, sound, ending):
    source = write_video(tmp_path / "film.mkv", moving(6), sound=sound)
    film = read_film(source)
    write_film(tmp_path / f"copy{ending}", film)
    assert film.notes == []
    assert [content for _, content in packets(tmp_path / f"copy{ending}", "audio")] == [
        content for _, content in packets(source, "audio")
    ]


def test_sound_that_the_container_cannot_hold_is_left_out_with_a_note(tmp_path):
    source = write_video(tmp_path / "film.asf", moving(6), codec="mpeg4", sound="wmav2", seconds=0.2)
    film = read_film(source)
    assert write_film(tmp_path / "copy.mp4", film) == 6
    assert f"sound of {source} is left out: .mp4 holds no wmav2; .mkv may" in film.notes
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_of_a_stream_gets_what_a_file_needs(tmp_path):
    """AAC of a transport stream has a head in each packet, which .mp4 has once."""
    source = write_video(tmp_path / "film.ts", moving(12), sound="aac")
    write_film(tmp_path / "copy.mp4", read_film(source))
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000
    assert read(tmp_path / "copy.mp4")[1][0] < 0.1  # a transport stream begins at 1.4 s


@pytest.mark.parametrize(
    ("rotation", "turned"),
    [
        ({"degrees": 0}, lambda image: image),
        ({"degrees": 90}, lambda image: np.rot90(image)),  # FFmpeg counts against the clock
        ({"degrees": 180}, lambda image: np.rot90(image, 2)),
        ({"degrees": -90}, lambda image: np.rot90(image, -1)),
        ({"degrees": 0, "hflip": True}, lambda image: image[:, ::-1]),
        ({"degrees": 0, "vflip": True}, lambda image: image[::-1]),
    ],
)
def test_the_rotation_of_phones(tmp_path, rotation, turned):
    image = np.zeros((64, 96, 3), np.uint8)
    image[:20, :40], image[-20:, :30] = [220, 40, 40], [40, 40, 220]
    [plain], _, _ = read(write_video(tmp_path / "plain.mp4", [image]))
    [pixels], _, film = read(write_video(tmp_path / "film.mp4", [image], rotation=rotation))
    assert np.array_equal(pixels, turned(plain))
    assert film.notes == []
    write_film(tmp_path / "copy.mp4", read_film(tmp_path / "film.mp4"))
    assert read(tmp_path / "copy.mp4")[0][0].shape == pixels.shape


def test_rotation_by_an_odd_angle(tmp_path):
    film = read_film(write_video(tmp_path / "film.mp4", moving(2), rotation={"degrees": 20}))
    assert [frame.pixels.shape for frame in film.frames] == 2 * [(64, 96, 3)]
    assert "at an angle; the nearest multiple of 90 degrees is taken" in film.notes[0]


@pytest.mark.parametrize(("rotation", "aspect"), [(None, Fraction(4, 3)), ({"degrees": 90}, Fraction(3, 4))])
def test_pixels_that_are_no_squares(tmp_path, rotation, aspect):
    look = {"sample_aspect_ratio": Fraction(4, 3)}
    film = read_film(write_video(tmp_path / "film.mp4", moving(2), look=look, rotation=rotation))
    assert film.pixel_aspect == aspect
    write_film(tmp_path / "copy.mp4", film)
    assert read_film(tmp_path / "copy.mp4").pixel_aspect == aspect


def test_interlaced_and_hdr_are_said(tmp_path):
    look = {"color_trc": 16, "color_primaries": 9, "colorspace": 9}
    image = av.VideoFrame.from_ndarray(moving(1)[0])
    image.color_trc = 16
    film = read_film(write_video(tmp_path / "film.mp4", [image], codec="libx265", pix_fmt="yuv420p10le", look=look))
    assert film.notes == [f"{tmp_path}/film.mp4 is HDR (PQ); its colours are taken as they are, and look pale"]
    film = read_film(write_video(tmp_path / "film.mp4", moving(4), options={"x264-params": "tff=1"}))
    assert len(list(film.frames)) == 4
    assert film.notes == [f"{tmp_path}/film.mp4 is interlaced; both fields of a frame stay in it"]


def test_a_damaged_frame_costs_one_frame_and_a_warning(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(20), sound="aac", seconds=0.8)
    _, whole, _ = read(path)
    sound = packets(path, "audio")
    place = places(path)[12]
    damage(path, place)
    _, times, film = read(path)
    assert times == [time for time in whole if time != place[2]]
    assert film.notes == [f"{path} is damaged at {float(place[2]):.3f} s: that frame is left out"]
    write_film(tmp_path / "copy.mp4", read_film(path))
    assert read(tmp_path / "copy.mp4")[1] == times
    assert packets(tmp_path / "copy.mp4", "audio") == sound


def test_a_frame_that_is_lost_without_an_error_is_reported(tmp_path):
    """As of AV1, whose decoder passes over what it does not know."""
    path = write_video(tmp_path / "film.mp4", moving(20), codec="libsvtav1", keyframes=4)
    found = places(path)
    damage(path, found[10])
    _, times, film = read(path)
    assert 10 <= len(times) < 20
    assert len(film.notes) >= 1 and all("film.mp4 is damaged" in note for note in film.notes)


def test_warnings_are_bounded(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(40), keyframes=1)
    for place in places(path)[5:35]:
        damage(path, place)
    _, times, film = read(path)
    lost = 40 - len(times)
    assert lost > 10
    assert len(film.notes) <= 7
    assert f"film.mp4 is damaged: {lost - 5} more frames are left out" in "\n".join(film.notes)


@pytest.mark.parametrize(
    ("ending", "share"), [(".mkv", 0.5), (".ts", 0.5), (".avi", 0.5), (".mp4", 0.5), (".mp4", 0.95)]
)
def test_of_a_film_cut_short_is_kept_what_it_holds(tmp_path, ending, share):
    path = write_video(tmp_path / f"film{ending}", moving(50), codec="mpeg4" if ending == ".avi" else "libx264")
    if ending == ".mp4":  # with its table at the start
        write_film(path, read_film(path))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    _, times, film = read(path)
    assert 10 < len(times) < 50
    if ending != ".ts":  # whose head says nothing
        assert any("cut short" in note for note in film.notes)


def test_a_film_without_its_table(tmp_path):
    path = write_video(tmp_path / "film.mp4", moving(5))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(
        ValueError, match=r"film\.mp4 is no video that FFmpeg can read .*: it is cut short, or a playlist"
    ):
        read_film(path)


def test_of_several_video_streams_the_default_one_is_taken(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=25, width=w, height=h) for w, h in ((96, 64), (64, 32))]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream in streams:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(moving(1, stream.height, stream.width)[0])))
            output.mux(stream.encode(None))
    [pixels], _, film = read(path)
    assert pixels.shape == (32, 64, 3)
    assert "film.mkv has 2 video streams; number 1 is taken" in film.notes[0]


@pytest.mark.parametrize("cover", [False, True])
def test_a_file_without_a_video(tmp_path, cover):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=48_000)
        picture = output.add_stream("png", rate=1, width=32, height=32, pix_fmt="rgb24") if cover else None
        if picture:
            picture.disposition = Disposition.attached_pic
            output.mux(picture.encode(av.VideoFrame.from_ndarray(moving(1, 32, 32)[0])))
            output.mux(picture.encode(None))
        tone = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        tone.sample_rate = 48_000
        output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    found = "a cover image and no video" if cover else "no video"
    with pytest.raises(ValueError, match=rf"song\.mp4 holds {found}, but sound; give a file with a video"):
        read_film(path)


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


def test_enormous_frames_are_refused(tmp_path, monkeypatch):
    from tfseg.io import video_reader

    path = write_video(tmp_path / "film.mp4", moving(2))
    monkeypatch.setattr(video_reader, "MOST_PIXELS", 64 * 96 - 1)
    with pytest.raises(ValueError, match=r"film\.mp4 has frames of 64x96 pixels"):
        read_film(path)


def test_frames_of_another_size_are_brought_to_the_first(tmp_path):
    parts = [write_video(tmp_path / f"{w}.h264", moving(3, h, w)) for h, w in ((64, 96), (32, 48))]
    (tmp_path / "film.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    pixels, times, film = read(tmp_path / "film.h264")
    assert [image.shape for image in pixels] == 6 * [(64, 96, 3)]
    assert times == sorted(set(times))
    assert "3 frames of another size, which are brought to 64x96" in "\n".join(film.notes)


def test_times_that_leap_or_do_not_grow_are_mended(tmp_path):
    parts = [write_video(tmp_path / f"{place}.ts", moving(6)) for place in range(2)]
    (tmp_path / "film.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    _, times, film = read(tmp_path / "film.ts")
    assert len(times) == 12 and times == sorted(set(times))
    assert times[-1] < 2
    assert "the times of" in film.notes[0]


def steady(count=5, height=64, width=96, rate=10):
    return Film.steady(moving(count, height, width), rate)


@pytest.mark.parametrize("rate", [17, 12.5, 29.97, 23.976, 1, 239.683])
def test_a_folder_of_frames(tmp_path, rate):
    assert write_film(tmp_path / "film.mp4", steady(rate=rate)) == 5
    _, times, film = read(tmp_path / "film.mp4")
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
    assert read(tmp_path / "film.mp4")[0][0].shape == (*shown, 3)


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


def test_sound_whose_head_is_damaged_costs_the_sound_alone(tmp_path):
    source = write_video(tmp_path / "film.webm", moving(6), codec="libvpx-vp9", sound="libopus", seconds=0.2)
    content = source.read_bytes()
    place = content.index(b"\x63\xa2")  # CodecPrivate, whose length follows
    length = content[place + 2] & 0x7F
    assert content[place + 3 : place + 11] == b"OpusHead"
    filler = b"\xec" + bytes([0x80 | (length + 1)]) + bytes(length + 1)  # Void, of the same length
    source.write_bytes(content[:place] + filler + content[place + 3 + length :])
    film = read_film(source)
    assert write_film(tmp_path / "copy.mp4", film) == 6
    assert f"sound of {source} is left out: .mp4 holds no opus; .mkv may" in film.notes
