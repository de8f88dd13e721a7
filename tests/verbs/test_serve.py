import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helper_models import write_model

from tfseg import serve


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("serve") / "model")


@pytest.mark.parametrize(
    ("environment", "options", "reason"),
    [
        ({}, ["--model", "nothing"], "labels.json is missing"),
        ({}, ["--port", "65536"], "--port: expected a number in 0..65535"),
        ({"PORT": "http"}, [], "PORT: expected a number in 0..65535, got 'http'"),
        ({"AIP_HTTP_PORT": "http"}, [], "AIP_HTTP_PORT: expected a number in 0..65535, got 'http'"),
        ({"AIP_HEALTH_ROUTE": "health"}, [], "AIP_HEALTH_ROUTE: expected a path such as /predict, got 'health'"),
        ({"MODEL_NAME": "a/b"}, [], r"--name or \$MODEL_NAME: expected 1 to 100 letters"),
        ({}, ["--proxies", "-1"], "--proxies must be in 0..16, got -1"),
        ({"TFSEG_API_KEY": " \n"}, [], "TFSEG_API_KEY is empty"),
        ({"TFSEG_API_KEY": "ab\ncd"}, [], "TFSEG_API_KEY: character 3 is a line break; a key is printable ASCII"),
        ({"TFSEG_API_KEY": "ab cd"}, [], "TFSEG_API_KEY: character 3 is a blank"),
        ({"TFSEG_API_KEY": "k\xe9y"}, [], r"TFSEG_API_KEY: character 2 is U\+00E9"),
        ({"TFSEG_API_KEY": "k\x7f"}, [], r"TFSEG_API_KEY: character 2 is U\+007F"),
        ({}, ["--cors-origin", "seg.example.com"], "expected https://HOST"),
        ({"TFSEG_API_KEY": "key"}, ["--cors-origin", "*"], "with a key, name each origin"),
        ({}, ["--queue", "0"], "--queue must be at least 1"),
        ({}, ["--timeout", "inf"], "--timeout must be above 0 s, at most 3600"),
        ({}, ["--batch-wait", "-1"], "--batch-wait must be in 0..1000"),
        ({}, ["--alpha", "2"], "--alpha must be in 0..1"),
        ({}, ["--overlap", "0.5"], "--sliding-window"),
    ],
)
def test_what_is_refused_at_the_start(model, monkeypatch, environment, options, reason):
    for name in serve.PORTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((ValueError, FileNotFoundError), match=reason):
        serve.main(["--model", str(model), *options])


@pytest.mark.parametrize(
    ("given", "environment", "port"),
    [
        (None, {}, 8080),
        (None, {"PORT": "80"}, 80),
        (None, {"PORT": "80", "AIP_HTTP_PORT": "7080"}, 7080),
        ("0", {"PORT": "80"}, 0),
    ],
)
def test_the_port(monkeypatch, given, environment, port):
    monkeypatch.setattr(os, "environ", environment)
    assert serve.read_port(given) == port


@pytest.mark.parametrize("key", ["key\n", " key\r\n", "\tkey "])
def test_blanks_and_line_breaks_around_a_key_are_none_of_it(monkeypatch, key):
    monkeypatch.setenv("TFSEG_API_KEY", key)
    assert serve.read_key() == "key"


def test_help_needs_no_flask_and_says_what_the_reference_does():
    hide = "import sys; sys.modules.update(dict.fromkeys(['flask', 'gunicorn', 'tensorflow', 'keras']))\n"
    script = hide + "from tfseg import serve; serve.main(['--help'])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    reference = (Path(__file__).parents[2] / "docs/serve.md").read_text(encoding="utf-8")
    options = (set(re.findall(r"--[a-z][a-z-]+", text)) for text in (reference, done.stdout))
    assert next(options) == next(options) - {"--help"}
