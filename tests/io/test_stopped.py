"""A process is found stopped by what the system says of it, by both ways of asking."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tfseg.io import stopped


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("way", ["by /proc", "by ps"])
def test_finds_the_stopped_among_the_living(way, monkeypatch):
    if way == "by ps":
        monkeypatch.setattr(stopped, "_PROC", stopped._PROC / "nowhere")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        numbers = [os.getpid(), process.pid, None]
        assert stopped.find_stopped(numbers) == set()
        os.kill(process.pid, signal.SIGSTOP)
        end = time.monotonic() + 10
        while stopped.find_stopped(numbers) != {process.pid}:
            assert time.monotonic() < end
        process.kill()
    assert stopped.find_stopped(numbers) == set()
