"""Errors that come of limits of the system say which, and what to do."""

import errno
import os
import subprocess
import sys

import pytest

from tfseg.io import command, limits


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.EMFILE, "Too many open files", "a.png"), limits.FILES),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), limits.PROCESSES),
        (RuntimeError("can't start new thread"), limits.PROCESSES),
    ],
)
def test_a_limit_is_named_in_one_line(error, advice, monkeypatch):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["verify"])
    with pytest.raises(SystemExit) as exit:
        command.run(main)
    assert exit.value.code == f"verify: error: {advice}"


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
def test_what_tensorflow_cannot_write_is_no_want_of_memory(monkeypatch):
    """Though it raises the same error for both."""
    import tensorflow as tf

    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(SystemExit) as exit:
        command.run(lambda: tf.io.write_file("/dev/full", "x"))
    assert exit.value.code == "train: error: /dev/full: cannot be written: No space left on device"


def test_other_errors_are_no_limits():
    assert limits.advise_limit(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert limits.advise_limit(RuntimeError("the model is odd")) is None


@pytest.mark.skipif(limits.resource is None, reason="has no such limits")
@pytest.mark.parametrize(
    ("limit", "number", "message"),
    [
        ("RLIMIT_AS", 2 << 30, "address space is limited to 2.0 GiB, of which TensorFlow needs 4; allow more with"),
        ("RLIMIT_NPROC", 12, "threads are limited to 12, of which TensorFlow needs 64; allow more with ulimit -u"),
    ],
)
def test_a_framework_is_not_begun_within_too_small_limits(limit, number, message, monkeypatch):
    of = {getattr(limits.resource, limit): number}
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (of.get(which, -1), -1))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(OSError, match=message):
        command.Announcement("train").find_spec("tensorflow", None)
    of.clear()
    limits.check_limits("TensorFlow", "train")


@pytest.mark.skipif(limits.resource is None, reason="has no such limits")
def test_what_only_loads_a_model_needs_less_address_space(monkeypatch):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (2 << 30, -1))
    limits.check_limits("TensorFlow", "predict")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no addresses")
@pytest.mark.parametrize("gibibytes", [0.2, 0.4])  # with the first NumPy and OpenCV raise, with the second they crash
def test_no_verb_is_loaded_into_too_few_addresses(gibibytes):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({int(gibibytes * 2**30)},) * 2)"
    code = f"{limit}; from tfseg.__main__ import main; main(['verify', 'nowhere'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    message = f"address space is limited to {gibibytes:.2f} GiB, and no command can be loaded into less than 0.5"
    assert done.stderr == f"verify: error: {message}; allow more with ulimit -v\n"
