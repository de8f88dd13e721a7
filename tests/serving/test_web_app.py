import shutil
import socket
import subprocess
import sys
import types

import pytest
from helper_files import picture_of_reds, save
from helper_models import write_model

from tfseg.io import command
from tfseg.serving import web_app, web_view


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("app") / "city")


@pytest.fixture
def served(monkeypatch):
    """What Streamlit would be asked for; it need not be installed."""
    asked = []
    monkeypatch.setitem(sys.modules, "streamlit", types.ModuleType("streamlit"))
    monkeypatch.setattr(web_app, "serve", asked.extend)
    return asked


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


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
        command.run(web_app.main)
    advice = "Streamlit is not installed; install it with pip install 'tf-segmentation[app]'"
    assert ending.value.code == f"app: error: {advice}"


def test_models_are_loaded_before_the_page_is_served(model, served, port, tmp_path, capsys):
    save(tmp_path / "samples" / "a.png", picture_of_reds(0))
    web_app.main(["--model", str(model), "--samples", str(tmp_path / "samples"), "--port", port])
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}; Ctrl-C ends it\n"
    assert served[served.index("--") + 1 :] == ["--model", str(model), "--samples", str(tmp_path / "samples")]
    assert web_view.load_model.cache_info().currsize >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "a", "--model", "b", "--model", "c"], "one model or two side by side can be shown, got 3"),
        (["--model", "a", "--model", "b/../a"], "--model a is given twice"),
        (["--model", "nowhere"], "nowhere/labels.json is missing"),
        (["--model", "nowhere", "--samples", "elsewhere"], "--samples elsewhere is no folder"),
        (["--model", "nowhere", "--samples", "."], r"\. holds no .png"),
        (["--model", "nowhere", "--port", "65536"], r"--port must be in 1\.\.65535, got 65536"),
    ],
)
def test_what_cannot_be_served_is_told_before(served, port, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=message):
        web_app.main(["--port", port, *options])
    assert not served


def test_the_port_may_stand_in_the_environment(monkeypatch):
    monkeypatch.setenv("PORT", "9000")
    assert web_app.read_options(["--model", "city"]).port == 9000
    assert web_app.read_options(["--model", "city", "--port", "9001"]).port == 9001


def test_a_run_and_samples_with_litter(model, served, port, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "run" / "saved_model")
    for name in ("b10.png", "b9.png", "._b9.png"):
        save(tmp_path / "samples" / name, picture_of_reds(0))
    (tmp_path / "samples" / "notes.txt").touch()
    web_app.main(["--model", str(tmp_path / "run"), "--samples", str(tmp_path / "samples"), "--port", port])
    assert served[served.index("--") + 2] == str(tmp_path / "run" / "saved_model")
    assert [path.name for path in web_view.list_samples(tmp_path / "samples")] == ["b9.png", "b10.png"]
    assert "warning: " in (told := capsys.readouterr().err) and "1 .txt left out" in told and "._" not in told


def test_a_taken_port_is_told(served):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"--host 127.0.0.1 --port {port} cannot be had: .*; choose another"):
            web_app.main(["--model", "nowhere", "--port", str(port)])


@pytest.mark.parametrize(("host", "only_here"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_only_this_machine_unless_told(host, only_here):
    arguments = web_app.streamlit_arguments(web_app.read_options(["--model", "m", "--host", host]), 20)
    assert f"--server.address={host}" in arguments
    assert ("--server.allowedHosts=127.0.0.1" in arguments) == only_here  # names of other machines do not lead here


def test_what_streamlit_must_not_do():
    arguments = web_app.streamlit_arguments(web_app.read_options(["--model", "m"]), 20)
    assert {
        "--server.headless=true",
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--server.maxUploadSize=20",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
        "--logger.hideWelcomeMessage=true",
    } <= set(arguments)
