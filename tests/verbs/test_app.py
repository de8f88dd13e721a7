import subprocess
import sys

import pytest

from tfseg import app
from tfseg.io import command


def test_help_needs_neither_tensorflow_nor_streamlit():
    code = """
import sys
sys.modules.update(tensorflow=None, keras=None, streamlit=None)
from tfseg import app
app.main(["--help"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--samples DIR" in done.stdout


def test_without_streamlit_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    monkeypatch.setattr(sys, "argv", ["app.py", "--model", "m"])
    with pytest.raises(SystemExit) as ending:
        command.run(app.main)
    assert (
        ending.value.code
        == "app: error: Streamlit is not installed; install it with pip install 'tf-segmentation[app]'"
    )


def test_the_port_may_stand_in_the_environment(monkeypatch):
    monkeypatch.setenv("PORT", "9000")
    assert app.make_parser().parse_args(["--model", "city"]).port == 9000
    assert app.make_parser().parse_args(["--model", "city", "--port", "9001"]).port == 9001
