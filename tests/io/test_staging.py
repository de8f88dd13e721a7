"""A folder is the old one or the new one, whatever ends the process that makes it; only what is ours is replaced."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from helper_killed import moments

from tfseg.io import locks, removal, staging
from tfseg.io.removal import Kind, RefusedError
from tfseg.io.staging import stage_folder

KIND = Kind("test folder", ("proof", r"\d", r"inner/\d"), lambda folder: (folder / "proof").exists(), last=("proof",))


def write(folder, digit):
    (folder / "inner").mkdir()
    for name in ("proof", "1", "inner/2"):
        (folder / name).write_text(digit)


def content(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(digit):
    return dict.fromkeys(("proof", "1", "inner/2"), digit)


def make(place, digit="3"):
    with stage_folder(place, KIND) as new:
        write(new, digit)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def place(tmp_path):
    (tmp_path / "x").mkdir()
    return tmp_path / "x" / "place"


def test_it_appears_when_it_is_whole(place):
    with stage_folder(place, KIND) as new:
        write(new, "1")
        assert not place.exists() and names(place.parent) == [".place.tfseg-incomplete"]
    assert content(place) == whole("1") and names(place.parent) == ["place"]
    make(place, "2")
    assert content(place) == whole("2") and names(place.parent) == ["place"]


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(28, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("keeps", [False, True])
def test_what_fails_leaves_the_old_folder(place, error, keeps):
    make(place, "1")
    with pytest.raises(type(error)), stage_folder(place, KIND, lambda _: keeps) as new:
        write(new, "2")
        raise error
    assert content(place) == whole("1")
    assert names(place.parent) == [*([".place.tfseg-incomplete"] if keeps else []), "place"]
    with stage_folder(place, KIND, lambda _: keeps) as new:
        assert content(new) == (whole("2") if keeps else {})
        if not keeps:
            write(new, "2")
    assert content(place) == whole("2") and names(place.parent) == ["place"]


@pytest.mark.parametrize("before", ["full", "empty", "none"])
def test_killed_at_any_moment(place, monkeypatch, before):
    def prepare():
        shutil.rmtree(place.parent)
        place.parent.mkdir()
        if before != "none":
            place.mkdir()
        if before == "full":
            write(place, "1")

    replaced, seen = staging.staging_path(place) / "replaced", set()
    for moment in moments(monkeypatch, prepare, lambda: make(place)):
        there = place if place.exists() else replaced
        found = content(there) if there.exists() else {}
        assert found in ([whole("1"), whole("3")] if before == "full" else [{}, whole("3")]), moment
        seen.add(found.get("1"))
        make(place, "4")
        assert content(place) == whole("4") and names(place.parent) == ["place"], moment
    assert seen == {"3", "1" if before == "full" else None}
    assert moment >= 6


def test_after_a_kill_the_old_folder_comes_back_even_if_the_next_one_fails(place, monkeypatch):
    def prepare():
        shutil.rmtree(place.parent)
        place.parent.mkdir()
        make(place, "1")

    for moment in moments(monkeypatch, prepare, lambda: make(place)):
        with pytest.raises(ValueError, match="bad"), stage_folder(place, KIND):
            raise ValueError("bad")
        assert content(place) in (whole("1"), whole("3")) and names(place.parent) == ["place"], moment


def test_what_came_to_the_place_meanwhile_is_not_overwritten(place):
    make(place, "1")
    with pytest.raises(RefusedError, match=r"place: holds a file or folder \(thesis.tex\)"):  # noqa: SIM117
        with stage_folder(place, KIND) as new:
            write(new, "2")
            (place / "thesis.tex").write_text("years of work")
    assert content(place) == {**whole("1"), "thesis.tex": "years of work"} and names(place.parent) == ["place"]


def test_two_folders_at_one_place_are_left_to_their_owner(place):
    make(place, "1")
    box = staging.staging_path(place)
    box.mkdir()
    removal.write_mark(box, staging.BOX)
    place.rename(box / "replaced")
    (box / "new").mkdir()
    place.mkdir()
    write(place, "5")
    with pytest.raises(RefusedError, match=r"replaced: is what \S+ was before something else came there"):
        make(place, "2")
    assert content(place) == whole("5") and content(box / "replaced") == whole("1")


def test_a_sibling_of_that_name_that_is_not_ours(place, tmp_path):
    box = staging.staging_path(place)
    box.mkdir()
    (box / "new").mkdir()
    (box / "new/thesis.tex").write_text("years of work")
    with pytest.raises(RefusedError, match=r"\.place\.tfseg-incomplete: was not made by tfseg; move it away"):
        make(place)
    assert names(box) == ["new"]
    box.rename(tmp_path / "away")
    box.symlink_to(tmp_path / "away")
    with pytest.raises(RefusedError, match="is a symbolic link"):
        make(place)
    assert content(tmp_path / "away") == {"new/thesis.tex": "years of work"}


def test_a_link_leads_to_nothing_but_an_empty_folder(place, tmp_path):
    (tmp_path / "link").symlink_to(place)
    assert staging.resolve_place(tmp_path / "link") == place
    place.mkdir()
    assert staging.resolve_place(tmp_path / "link") == place
    write(place, "1")
    with pytest.raises(RefusedError, match=rf"link: is a symbolic link to {place}; name that folder itself"):
        staging.resolve_place(tmp_path / "link")


HOLDER = """
import sys, time
from pathlib import Path
from tfseg.io.staging import stage_folder
from tfseg.io.removal import Kind
with stage_folder(Path(sys.argv[1]), Kind("test folder", ())) as new:
    (new / "half").touch()
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_one_process_makes_it_at_a_time(place):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        busy = rf"place: another process is writing here \(process {process.pid} on \S+\); wait for it"
        with pytest.raises(RefusedError, match=busy):
            make(place)
        make(place.with_name("sibling"))
        process.kill()
    make(place)
    assert names(place.parent) == ["place", "sibling"]


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
@pytest.mark.parametrize("years", [-30, 30])
def test_no_clock_decides_whose_it_is(place, years):
    """A clock that jumps makes nothing old: a lock is held by a process, not by a time."""
    with stage_folder(place, KIND):
        then = time.time() + years * 365 * 24 * 3600
        for path in (staging.staging_path(place), *staging.staging_path(place).iterdir()):
            os.utime(path, (then, then))
        with pytest.raises(RefusedError, match="another process is writing here"):
            make(place)


def test_a_file_system_without_locks_makes_it_too(place, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks, "take", fail)
    make(place)
    assert content(place) == whole("3") and names(place.parent) == ["place"]
    assert "place: Operation not supported; see to it that nothing else writes there\n" in capsys.readouterr().err
