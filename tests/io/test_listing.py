import os
import sys
import types
from pathlib import Path

import pytest

from tfseg.io import listing
from tfseg.io.listing import check_readable, list_images, natural_order, register_heif
from tfseg.io.paths import is_hidden


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(found, folder):
    return [path.relative_to(folder).as_posix() for path in found.images]


@pytest.mark.parametrize(
    "expected",
    [
        [f"frame_{number}.png" for number in range(12)],
        ["a.png", "a1.png", "a_1.png", "b.png"],
        ["001.png", "01.png", "1.png", "2.png", "010.png", "10.png", "11.png"],  # alike but for zeros: as text
        ["f_01_9.png", "f_1_10.png", "f_01_11.png"],
        ["IMG_9.JPG", "img_10.jpg", "IMG_11.JPG"],
        ["seq2/frame9.png", "seq10/frame1.png", "seq10/frame10.png"],
        ["9.png", "a.png", "b/1.png", "b/c/1.png", "b/d.png", "c.png"],
        ["v1.9.png", "v1.10.png"],
        ["20240101_235959_999.png", "20240102_000000_000.png"],
        [f"{10**40}.png", f"{10**40 + 1}.png"],
        ["x.jpg", "x.png"],
    ],
)
def test_numbers_in_names_are_numbers(tmp_path, expected):
    touch(tmp_path, *expected)
    assert names(list_images([tmp_path], tmp_path / "out"), tmp_path) == expected
    assert sorted(map(Path, reversed(expected)), key=natural_order) == list(map(Path, expected))


def test_litter_is_passed_over(tmp_path):
    litter = ["._a.png", ".hidden.png", ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/._a.png", "__MACOSX/b/c.png"]
    litter += ["Thumbs.db", ".DS_Store", "desktop.ini", "deep/.AppleDouble/a.png", "deep/@eaDir/a.png", "deep/._b.jpg"]
    touch(tmp_path, "a.png", "deep/b.jpg", *litter)
    found = list_images([tmp_path], tmp_path / "out")
    assert (names(found, tmp_path), found.left_out) == (["a.png", "deep/b.jpg"], [])
    assert not is_hidden("a._b.png")


def test_a_folder_that_is_named_is_read_whatever_its_name(tmp_path):
    touch(tmp_path, ".frames/a.png")
    assert len(list_images([tmp_path / ".frames"], tmp_path / "out").images) == 1


def test_what_is_not_taken_is_counted_by_suffix(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "register_heif", lambda: False)
    touch(tmp_path, "a.png", "b.WebP", "c.bmp", "d.tif", "e.TIFF", "f.jpeg", "README", "g.heic", "x/h.HEIC", "x/i.gif")
    touch(tmp_path, "j.txt", "k.txt", "l.txt", "out/a_classes.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    (tmp_path / "round").symlink_to(tmp_path)
    found = list_images([tmp_path], tmp_path / "out", ("_classes.png",))
    assert names(found, tmp_path) == ["a.png", "b.WebP", "c.bmp", "d.tif", "e.TIFF", "f.jpeg", "link.png"]
    (line,) = found.left_out
    assert line.startswith(f"{tmp_path}: 3 .txt, 2 .heic (pip install 'tf-segmentation[heic]' lets them be read), ")
    for count in ("1 without a suffix", "1 .gif", "1 no file", "1 link to a folder"):
        assert count in line
    assert "classes" not in line


def test_a_folder_without_images_is_told_by_what_it_holds(tmp_path):
    touch(tmp_path, "a.txt", "b.gif", "c.gif")
    with pytest.raises(ValueError, match=r"holds no \.png, .* file; it holds 2 \.gif, 1 \.txt"):
        list_images([tmp_path], tmp_path / "out")


def test_places_of_results(tmp_path):
    touch(tmp_path, "seq/0001/000.png", "seq/0002/000.png", "seq/a.png", "b.png")
    found = list_images([tmp_path / "seq", tmp_path / "b.png", tmp_path / "seq" / "0001" / "000.png"], tmp_path / "o")
    assert list(map(str, found.images.values())) == ["0001", "0002", ".", "."]


def test_two_links_to_one_file_are_two_images(tmp_path):
    touch(tmp_path, "a.png", "frames/1.png")
    (tmp_path / "frames" / "2.png").symlink_to("1.png")
    assert len(list_images([tmp_path / "frames"], tmp_path / "out").images) == 2


def test_heic_is_taken_with_its_extra(tmp_path, monkeypatch):
    touch(tmp_path, "a.heic", "b.png")
    register_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert names(list_images([tmp_path], tmp_path / "out"), tmp_path) == ["b.png"]
    with pytest.raises(ValueError, match=r"a\.heic is a HEIC image; pip install 'tf-segmentation\[heic\]'"):
        check_readable(tmp_path / "a.heic")
    asked = []
    extra = types.ModuleType("pillow_heif")
    extra.register_heif_opener = lambda: asked.append(1)
    monkeypatch.setitem(sys.modules, "pillow_heif", extra)
    register_heif.cache_clear()
    assert names(list_images([tmp_path], tmp_path / "out"), tmp_path) == ["a.heic", "b.png"]
    check_readable(tmp_path / "a.heic")
    assert asked == [1]
    register_heif.cache_clear()


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: is a named pipe"):
        check_readable(tmp_path / "a.png")
