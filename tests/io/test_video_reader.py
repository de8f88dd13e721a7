"""What PyAV decodes: pixels, colours, how they are turned, and which stream."""

from fractions import Fraction

import numpy as np
import pytest
from helper_videos import moving, read_whole, write_video

from tfseg.io.video import read_film, write_film

pytest.importorskip("av", reason="needs PyAV, the extra video")

import av

Disposition = av.stream.Disposition


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4"])
def test_what_is_decoded(tmp_path, codec):
    ending = ".webm" if codec == "libvpx-vp9" else ".mp4"
    images = moving(8)
    pixels, times, film = read_whole(write_video(tmp_path / f"film{ending}", images, codec=codec))
    assert times == [Fraction(place, 25) for place in range(8)]
    assert (film.rate, film.count, film.notes) == (25, 8, [])
    differences = [
        np.abs(seen[:16].astype(int) - image[:16]).mean() for seen, image in zip(pixels, images, strict=True)
    ]
    assert max(differences) < 30


def test_ten_bits(tmp_path):
    image = np.full((64, 96, 3), [200, 60, 30], np.uint8)
    [pixels], _, _ = read_whole(write_video(tmp_path / "film.mp4", [image], codec="libx265", pix_fmt="yuv420p10le"))
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
    [pixels], _, _ = read_whole(write_video(tmp_path / "film.mkv", [frame], codec="ffv1", look=look))
    luma = y if color_range == 2 else (y - 16) * 255 / 219
    scale = 1 if color_range == 2 else 255 / 224
    kr, kb = weights
    red, blue = luma + 2 * (1 - kr) * (v - 128) * scale, luma + 2 * (1 - kb) * (u - 128) * scale
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    assert np.abs(pixels - np.array([red, green, blue])).max() < 1


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
    [plain], _, _ = read_whole(write_video(tmp_path / "plain.mp4", [image]))
    [pixels], _, film = read_whole(write_video(tmp_path / "film.mp4", [image], rotation=rotation))
    assert np.array_equal(pixels, turned(plain))
    assert film.notes == []
    write_film(tmp_path / "copy.mp4", read_film(tmp_path / "film.mp4"))
    assert read_whole(tmp_path / "copy.mp4")[0][0].shape == pixels.shape


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


def test_of_several_video_streams_the_default_one_is_taken(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=25, width=w, height=h) for w, h in ((96, 64), (64, 32))]
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for stream in streams:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(moving(1, stream.height, stream.width)[0])))
            output.mux(stream.encode(None))
    [pixels], _, film = read_whole(path)
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


def test_enormous_frames_are_refused(tmp_path, monkeypatch):
    from tfseg.io import video_reader

    path = write_video(tmp_path / "film.mp4", moving(2))
    monkeypatch.setattr(video_reader, "MOST_PIXELS", 64 * 96 - 1)
    with pytest.raises(ValueError, match=r"film\.mp4 has frames of 64x96 pixels"):
        read_film(path)
