"""Parts of an examination in processes of their own: what they say, and how they end."""

import signal
import subprocess
import sys

import pytest

from tfseg.diagnostics import checks, parts
from tfseg.diagnostics.checks import DOUBLE, FAILED, WARNING

DONE = "print('tfseg.doctor: {\"done\": true}', flush=True)"


def child(code, seconds=20, part="compare"):
    outcome = parts.run_child(part, [sys.executable, "-c", code], seconds)
    return outcome.items, outcome.failure


def test_what_a_child_says_is_kept_and_what_libraries_print_is_not():
    items, finding = child(f"print('hello'); print('tfseg.doctor: {{\"cache\": 1.5}}'); print('{{}}'); {DONE}")
    assert (items, finding) == ([{"cache": 1.5}], None)


@pytest.mark.parametrize("code", ["import os; os.abort()", "import time; time.sleep(60)"])
def test_how_a_child_ends_that_has_said_all(code):
    assert child(f"{DONE}; {code}", seconds=1) == ([], None)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise ValueError('no kernel')", "the GPU's side: ValueError: no kernel"),
        ("import os; os.abort()", "the GPU's side: killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "the GPU's side: killed by SIGKILL"),
        ("pass", "the GPU's side: ended before it was done"),
        ("import sys; sys.exit(3)", "the GPU's side: ended with exit code 3"),
        ("import time; time.sleep(60)", "the GPU's side: over 1 s, given up"),
    ],
)
def test_a_child_that_fails_is_a_finding(code, text):
    say = 'print(\'tfseg.doctor: {"began": "the GPU\\\'s side"}\', flush=True); '
    items, finding = child(say + code, seconds=1 if "sleep" in code else 20)
    assert items == [{"began": "the GPU's side"}]
    assert (finding.check, finding.state, finding.text) == ("compare", FAILED, text)


@pytest.mark.parametrize(
    ("began", "ending", "state"),
    [
        ("mixed_float16", "over 90 s, given up", WARNING),
        ("mixed_float16", "killed by SIGABRT", FAILED),
        ("float32", "over 90 s, given up", FAILED),
        (DOUBLE, "ResourceExhaustedError: no room", WARNING),
        (DOUBLE, "killed by SIGSEGV", FAILED),
    ],
)
def test_too_slow_or_too_large_is_no_failure_of_what_need_not_be(began, ending, state):
    assert parts.judge_end(f"step {began}", began, ending).state == state


def test_no_child_is_left_after_an_interrupt(monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def communicate(self, *args, **kwargs):
            started.append(self)
            raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(KeyboardInterrupt):
        child("import time; time.sleep(60)")
    assert started[0].returncode == -signal.SIGKILL


def test_the_error_of_the_pair_that_does_not_load_has_its_remedy():
    error = (
        "tensorflow.python.framework.errors_impl.NotFoundError: dlopen(/x/tensorflow-plugins/libmetal_plugin.dylib, "
        "0x0006): Library not loaded: @rpath/_pywrap_tensorflow_internal.so"
    )
    errors = f"Traceback (most recent call last):\n  File ...\n{error}\n  Referenced from: /x/libmetal_plugin.dylib\n"
    assert parts.describe_end(1, errors) == error
    assert parts.judge_end("tensorflow", "tensorflow", error).remedy == checks.METAL_PAIR
    assert checks.find_remedy("ValueError: something else") == ""
