"""What is removed is ours and known by name; where anything else lies, nothing is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tfseg.io import removal
from tfseg.io.removal import Kind, RefusedError

KIND = Kind(
    "test folder", (r"config\.yaml", r"\d{8}\.json", r"inner/\d+\.bin", "any/**", "deep/**/.+_mask\\.png", "empty/")
)


@pytest.fixture
def folder(tmp_path):
    """One of ours with everything that it may hold."""
    folder = tmp_path / "ours"
    for name in ("config.yaml", "00000003.json", "inner/7.bin", "any/a/b", "deep/a/x_mask.png", "deep/y_mask.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "empty").mkdir()
    (folder / "any/link").symlink_to(tmp_path)
    removal.write_mark(folder, KIND)
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refuse(folder, match, kind=KIND):
    before = names(folder)
    for remove in (removal.remove_folder, removal.empty_folder, removal.check_removable):
        with pytest.raises(RefusedError, match=match):
            remove(folder, kind)
    assert names(folder) == before, "nothing at all was removed"


def test_what_is_known_goes(folder, tmp_path):
    (tmp_path / "stays").touch()
    removal.remove_folder(folder, KIND)
    assert names(tmp_path) == ["stays"], "and the link in it was not followed"
    removal.remove_folder(folder, KIND)  # is gone already


def test_what_a_folder_holds_goes_and_some_files_stay(folder):
    removal.empty_folder(folder, KIND, keep=("config.yaml",))
    assert names(folder) == ["config.yaml"]


@pytest.mark.parametrize(
    "name",
    [
        *("notes.txt", ".notes", "config.yaml.bak", "CONFIG.yaml", "2024-notes.json", "000000003.json.txt", "new/x"),
        *("inner/x.bin", "inner/7.bin2", "inner/8.bin/x", "deep/a/x.png", "empty/x", "0000000³.json", "config.yaml\n"),
    ],
)
def test_what_is_not_known_keeps_all(folder, name):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("years of work")
    refuse(folder, r"ours: holds a file or folder \(.+\), no part of a test folder, so nothing in it is removed; move")


def test_some_of_many_strangers_are_named_and_all_counted(folder):
    for name in "edcba":
        (folder / name).touch()
    refuse(folder, r"holds 5 files or folders \(a, b, c \.\.\.\)")


def test_a_name_that_is_no_unicode_is_named(folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).touch()
    refuse(folder, r"\(\?\)")


def test_without_proof_nothing_goes(folder, tmp_path):
    (folder / removal.MARK).unlink()
    refuse(folder, r"ours: holds no test folder that tfseg made")
    for mark in ("", "[]", "{}", '{"made_by": "tfseg", "kind": "run"}', "[" * 100_000):
        (folder / removal.MARK).write_text(mark)
        refuse(folder, "holds no test folder")
    proven = Kind("test folder", KIND.known, lambda folder: (folder / "config.yaml").exists())
    removal.remove_folder(folder, proven)
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", ["mine", "{}", '["tfseg"]', '{"made_by": "somebody", "kind": "test folder"}'])
def test_a_file_of_others_under_the_name_of_the_mark_stays(tmp_path, content):
    (tmp_path / removal.MARK).write_text(content)
    with pytest.raises(RefusedError, match=r"\.tfseg\.json: was not written by tfseg; move it away"):
        removal.write_mark(tmp_path, KIND)
    assert (tmp_path / removal.MARK).read_text() == content


def test_a_link_under_the_name_of_the_mark_stays(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / removal.MARK).symlink_to(folder / removal.MARK)
    with pytest.raises(RefusedError, match="was not written by tfseg"):
        removal.write_mark(tmp_path / "other", KIND)


def test_a_mark_of_another_kind_is_replaced(folder):
    other = Kind("other folder", ())
    removal.write_mark(folder, other)
    assert removal.read_mark(folder, other) and not removal.read_mark(folder, KIND)


def test_an_empty_folder_needs_no_proof(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b/.DS_Store").touch()
    for name in ("a", "b"):
        removal.remove_folder(tmp_path / name, KIND)
    assert names(tmp_path) == []


def test_an_empty_folder_within_is_nobodys(folder, tmp_path):
    (folder / "figures").mkdir()
    removal.remove_folder(folder, KIND)
    assert names(tmp_path) == []


def test_what_systems_leave_goes_with_the_folder(folder, tmp_path):
    for name in (".DS_Store", "Thumbs.db", "inner/._7.bin", "desktop.ini"):
        (folder / name).touch()
    removal.remove_folder(folder, KIND)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["config.yaml", "inner", "inner/8.bin", "any"])
def test_a_link_under_a_known_name_is_a_strangers(folder, tmp_path, name):
    away = tmp_path / "away"
    away.mkdir()
    (away / "8.bin").touch()
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(away)
    refuse(folder, rf"{name} \(a link\)")
    assert (away / "8.bin").exists()


def test_a_folder_that_is_a_link(folder, tmp_path):
    (tmp_path / "latest").symlink_to(folder)
    refuse(tmp_path / "latest", rf"latest: is a symbolic link to {folder}; name that folder itself")
    (tmp_path / "nowhere").symlink_to("gone")
    with pytest.raises(RefusedError, match="is a symbolic link to gone"):
        removal.remove_folder(tmp_path / "nowhere", KIND)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(RefusedError, match="file: is a file, not a folder"):
        removal.remove_folder(tmp_path / "file", KIND)


def test_places_that_are_never_removed(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    refuse(folder, "ours: is the working directory, which is never removed")
    with pytest.raises(RefusedError, match=r"\.: is the working directory"):
        removal.remove_folder(Path(), KIND)
    monkeypatch.chdir(folder / "inner")
    refuse(folder, "ours: holds the working directory")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(folder))
    refuse(folder, "ours: is the home directory")
    monkeypatch.setenv("HOME", str(folder / "any/a"))
    refuse(folder, "ours: holds the home directory")
    with pytest.raises(RefusedError, match="/: holds the working directory"):
        removal.remove_folder(Path("/"), Kind("all", ("**",), lambda _: True))


@pytest.fixture
def mount(tmp_path):
    """Mounts one folder over another, as long as a test lasts."""
    done = []

    def bind(source, place):
        place.mkdir(exist_ok=True)
        if subprocess.run(["mount", "--bind", str(source), str(place)], capture_output=True).returncode:
            pytest.skip("needs the right to mount")
        done.append(place)

    yield bind
    for place in done:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no mounts here")
def test_mount_points(folder, tmp_path, mount):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/1.bin").write_text("years of work")
    mount(tmp_path / "source", folder / "inner")
    refuse(folder, r"ours: has a mount point in it, \S+inner")
    refuse(folder / "inner", "inner: is a mount point", Kind("all", ("**",), lambda _: True))
    assert (tmp_path / "source/1.bin").exists()


def test_a_stranger_that_comes_while_it_is_removed_stays(folder, monkeypatch):
    look = removal._look

    def look_and_add(place, parts, *rest):
        look(place, parts, *rest)
        if not parts:
            (folder / "inner/late.txt").write_text("years of work")

    monkeypatch.setattr(removal, "_look", look_and_add)
    with pytest.raises(OSError, match="not empty"):
        removal.remove_folder(folder, KIND)
    assert (folder / "inner/late.txt").read_text() == "years of work"


@pytest.mark.skipif(not removal._BY_DESCRIPTOR, reason="no folders can be held open here")
def test_a_link_that_comes_while_it_is_removed_is_not_followed(folder, tmp_path, monkeypatch):
    (tmp_path / "away").mkdir()
    (tmp_path / "away/7.bin").write_text("years of work")
    look = removal._look

    def look_and_swap(place, parts, *rest):
        look(place, parts, *rest)
        if not parts:
            (folder / "inner").rename(tmp_path / "inner")
            (folder / "inner").symlink_to(tmp_path / "away")

    monkeypatch.setattr(removal, "_look", look_and_swap)
    with pytest.raises(OSError):
        removal.remove_folder(folder, KIND)
    assert (tmp_path / "away/7.bin").exists()


def test_the_proof_goes_last(folder, monkeypatch):
    gone, unlink = [], os.unlink
    monkeypatch.setattr(removal.os, "unlink", lambda name, **at: gone.append(str(name)) or unlink(name, **at))
    removal.remove_folder(folder, Kind(KIND.name, KIND.known, last=("config.yaml",)))
    assert gone[-2:] == ["config.yaml", removal.MARK]


def test_it_works_without_descriptors(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(removal, "_BY_DESCRIPTOR", False)
    removal.remove_folder(folder, KIND)
    assert names(tmp_path) == []


def test_files_are_removed_by_their_whole_names(tmp_path):
    for name in ("00000003.json", "2024-notes.txt", "00000003.json.txt", "incomplete-x", "00000004.json/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "00000005.json").symlink_to("2024-notes.txt")
    removal.remove_files(tmp_path, r"\d{8}\.json")
    kept = ["00000003.json.txt", "00000004.json", "00000004.json/x", "00000005.json", "2024-notes.txt", "incomplete-x"]
    assert names(tmp_path) == kept
    removal.remove_files(tmp_path / "nowhere", ".+")
