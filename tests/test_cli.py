import os
import subprocess
import sys

import pytest

from tfseg import cli


def test_sizes_are_height_by_width():
    assert cli.parse_size("512x1024") == (512, 1024)


@pytest.mark.parametrize("text", ["512", "512x", "0x4", "-1x4", "512X1024", "4x4x4", "a4x4", ""])
def test_bad_sizes(text):
    with pytest.raises(ValueError, match="expected a size as HEIGHTxWIDTH"):
        cli.parse_size(text)


def raises(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("b.png: is cut short"), "make: error: b.png: is cut short"),
        (FileNotFoundError("no such folder"), "make: error: no such folder"),
        (KeyboardInterrupt(), 130),
        (
            ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
            "make: error: TensorFlow is not installed; install it with pip install 'tfseg[cpu]' or 'tfseg[cuda]'",
        ),
        (
            ModuleNotFoundError("No module named 'optuna'", name="optuna"),
            "make: error: Optuna is not installed; install it with pip install 'tfseg[tune]'",
        ),
        (
            ModuleNotFoundError("No module named 'wandb'", name="wandb"),
            "make: error: log.wandb is set, and wandb is not installed; install it with pip install 'tfseg[wandb]'",
        ),
        (
            ModuleNotFoundError("No module named 'kagglehub'", name="keras_hub"),
            "make: error: KerasHub is not installed whole; install it with pip install 'tfseg[keras-hub]', then "
            "pip install --no-deps keras-hub",
        ),
        (
            ModuleNotFoundError("No module named 'jax'", name="jax"),
            "make: error: KERAS_BACKEND is jax, which is not installed; pip install jax, or set it to tensorflow",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(monkeypatch, error, code):
    monkeypatch.setattr(sys, "argv", ["tools/make.py"])
    with pytest.raises(SystemExit) as exit:
        cli.run(raises(error))
    assert exit.value.code == code


def test_our_own_mistakes_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(raises(ZeroDivisionError()))
    with pytest.raises(ModuleNotFoundError):
        cli.run(raises(ModuleNotFoundError("No module named 'numpy'", name="numpy")))


def test_names_that_cannot_be_printed_are_escaped():
    code = """
import os
import subprocess
import sys
from tfseg import cli
cli.run(lambda: print("a\\udcff \\u65e5"))
"""
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, timeout=60)
    assert done.stdout == b"a\\udcff \\u65e5" + os.linesep.encode()
