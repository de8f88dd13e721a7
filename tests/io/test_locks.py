import errno
import subprocess
import sys

import pytest

from tfseg.io import locks


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_a_lock_goes_on_to_a_process_that_was_handed_the_file(tmp_path):
    with (tmp_path / "log").open("a") as log, (tmp_path / "log").open("a") as ours:
        assert locks.take(log)
        wait = [sys.executable, "-c", "input()"]
        with subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.DEVNULL) as process:
            log.close()
            assert not locks.take(ours)
            process.stdin.close()
            assert locks.take(ours, wait=True)


@pytest.mark.skipif(locks.fcntl is None, reason="no locks here")
def test_without_locks_a_place_is_free_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with locks.open_lock(tmp_path / ".lock") as file:
        assert locks.take_or_say(file, "data/records.cache", wait=True)
    assert capsys.readouterr().err == (
        "data/records.cache: No locks available; see to it that nothing else writes there\n"
    )
