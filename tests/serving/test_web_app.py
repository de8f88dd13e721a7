import shutil
import socket
import sys
import types
from pathlib import Path

import pytest
from helper_files import image_of_reds, save
from helper_models import write_model

from tfseg.serving import web_app, web_view


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("app") / "city")


@pytest.fixture
def served(monkeypatch):
    """What Streamlit would be asked for; it need not be installed."""
    asked = []
    monkeypatch.setitem(sys.modules, "streamlit", types.ModuleType("streamlit"))
    monkeypatch.setattr(web_app, "run_streamlit", asked.extend)
    return asked


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_models_are_loaded_before_the_page_is_served(model, served, port, tmp_path, capsys):
    save(tmp_path / "samples" / "a.png", image_of_reds(0))
    web_app.open_page([model], samples=tmp_path / "samples", port=port)
    assert capsys.readouterr().out == f"http://127.0.0.1:{port}; Ctrl-C ends it\n"
    assert served[served.index("--") + 1 :] == ["--model", str(model), "--samples", str(tmp_path / "samples")]
    assert web_view.load_model.cache_info().currsize >= 1


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ("abc", {}, "one model or two side by side can be shown, got 3"),
        (["a", "b/../a"], {}, "--model a is given twice"),
        (["nowhere"], {}, "nowhere/labels.json is missing"),
        (["nowhere"], {"samples": Path("elsewhere")}, "--samples elsewhere is no folder"),
        (["nowhere"], {"samples": Path()}, r"\. holds no .png"),
        (["nowhere"], {"port": 65536}, r"--port must be in 1\.\.65535, got 65536"),
    ],
)
def test_what_cannot_be_served_is_reported_before(served, port, tmp_path, monkeypatch, models, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=message):
        web_app.open_page([*map(Path, models)], **{"port": port, **options})
    assert not served


def test_a_run_and_samples_with_litter(model, served, port, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "run" / "saved_model")
    for name in ("b10.png", "b9.png", "._b9.png"):
        save(tmp_path / "samples" / name, image_of_reds(0))
    (tmp_path / "samples" / "notes.txt").touch()
    web_app.open_page([tmp_path / "run"], samples=tmp_path / "samples", port=port)
    assert served[served.index("--") + 2] == str(tmp_path / "run" / "saved_model")
    assert [path.name for path in web_view.list_samples(tmp_path / "samples")] == ["b9.png", "b10.png"]
    assert "warning: " in (printed := capsys.readouterr().err) and "1 .txt left out" in printed and "._" not in printed


def test_a_taken_port_is_reported(served):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"--host 127.0.0.1 --port {port} cannot be had: .*; choose another"):
            web_app.open_page([Path("nowhere")], port=port)


@pytest.mark.parametrize(("host", "only_here"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_only_this_machine_unless_asked(host, only_here):
    arguments = web_app.streamlit_arguments(host, 8501, 20)
    assert f"--server.address={host}" in arguments
    assert ("--server.allowedHosts=127.0.0.1" in arguments) == only_here  # names of other machines do not lead here


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_names_behind_a_proxy(host):
    arguments = web_app.streamlit_arguments(host, 8501, 20, ["seg.example.com", "*.city.org"])
    for name in ("seg.example.com", "*.city.org", "localhost", "127.0.0.1"):
        assert f"--server.allowedHosts={name}" in arguments
    assert "--server.corsAllowedOrigins=https://seg.example.com" in arguments
    assert not any("corsAllowedOrigins=https://*" in argument for argument in arguments)


@pytest.mark.parametrize("name", ["", "https://seg.com", "seg.com:443", "a b", "*", "seg.*.com", "a..b"])
def test_what_is_no_name_behind_a_proxy(served, port, name):
    with pytest.raises(ValueError, match="--allowed-host: expected a name such as"):
        web_app.open_page([Path("nowhere")], port=port, allowed_hosts=[name])
    assert not served


def test_nobody_else_is_asked_for_our_address(monkeypatch):
    """As Streamlit does for each page elsewhere that tries to connect."""
    asked = types.SimpleNamespace(get_external_ip=lambda: "1.2.3.4")
    package = types.ModuleType("streamlit")
    package.net_util = asked
    cli = types.SimpleNamespace(main=lambda arguments: None)
    monkeypatch.setitem(sys.modules, "streamlit", package)
    monkeypatch.setitem(sys.modules, "streamlit.web", types.SimpleNamespace(cli=cli))
    web_app.run_streamlit([])
    assert asked.get_external_ip() is None


def test_what_streamlit_must_not_do():
    arguments = web_app.streamlit_arguments("127.0.0.1", 8501, 20)
    assert {
        "--server.headless=true",
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--server.maxUploadSize=20",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
        "--client.allowedOrigins=https://none.invalid",
        "--logger.hideWelcomeMessage=true",
    } <= set(arguments)


def test_the_page_reads_what_is_written_for_it():
    arguments = web_app.write_page_arguments([Path("city"), Path("town")], Path("images"), "native")
    read = web_app.read_page_arguments(arguments)
    assert (read.model, read.samples, read.input_size) == ([Path("city"), Path("town")], Path("images"), "native")
    read = web_app.read_page_arguments(web_app.write_page_arguments([Path("city")], None, None))
    assert (read.model, read.samples, read.input_size) == ([Path("city")], None, None)
