"""Commands whose standard streams are closed, full, or read by nobody any more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRINTS = """
import sys
from tfseg.io import command
sys.argv = ["verify"]
def main():
    print("first", flush=True)
    for _ in range(100_000):
        print("more")
    {ending}
command.run(main)
"""
NO_SHELL = pytest.mark.skipif(sys.platform == "win32", reason="has another shell")


def call(shell: str, code: str, unbuffered: str = "") -> subprocess.CompletedProcess:
    """Runs Python with this code as $1 of a shell."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PY": sys.executable}
    environment["PYTHONUNBUFFERED"] = unbuffered
    words = ["bash", "-c", f"set -o pipefail; {shell}", "bash", code]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)


@NO_SHELL
@pytest.mark.parametrize("ending", ["pass", "sys.exit(1)", "raise ValueError('at its end')"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_ends_ends_a_command_without_a_word(ending, unbuffered):
    done = call('"$PY" -c "$1" | head -1', PRINTS.format(ending=ending), unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (141, "first\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("print_code", ["print(1)", "print(1, flush=True)"])
def test_a_full_disk_below_the_output_is_one_line(print_code):
    code = f"import sys; from tfseg.io import command; sys.argv = ['verify']; command.run(lambda: {print_code})"
    done = call('"$PY" -c "$1" >/dev/full', code)
    assert (done.returncode, done.stderr) == (1, "verify: error: standard output: No space left on device\n")


@NO_SHELL
def test_files_do_not_take_the_numbers_of_closed_streams():
    code = """
import os, sys
from tfseg.io import command
def main():
    print("lost"), print("lost", file=sys.stderr), sys.stdin.read()
    file = open(sys.executable)
    os.system("echo lost; echo lost >&2")
    sys.exit(file.fileno())
command.run(main)
"""
    done = call('"$PY" -c "$1" <&- >&- 2>&-', code)
    assert done.returncode > 2 and done.stdout == done.stderr == ""
