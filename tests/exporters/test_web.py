"""The folder of the page: what lies in it, where ONNX Runtime Web comes from, and what is refused."""

import hashlib
import json
import re
import sys

import keras
import pytest
from helper_models import nearest_color_network
from helpers import CLASS_COLORS, write_run

from tfseg import export
from tfseg.config.schema import Config, Data
from tfseg.exporters import exporter, web, web_runtime
from tfseg.exporters.exporter import export_run
from tfseg.exporters.folder import check_replaceable
from tfseg.exporters.web_runtime import LICENSES, PROGRAM, VENDORED, VERSION, RuntimeFile, find_runtime
from tfseg.io.pixel_formats import PixelFormat


def contents(files):
    return {file.name: f"the content of {file.name}".encode() for file in files}


@pytest.fixture
def other_files(monkeypatch):
    """Lets small files stand for those of ONNX Runtime Web."""
    for name in ("PROGRAM", "LICENSES"):
        files = getattr(web_runtime, name)
        small = [file._replace(sha256=hashlib.sha256(contents([file])[file.name]).hexdigest()) for file in files]
        monkeypatch.setattr(web_runtime, name, tuple(small))


def write_files(folder, files, attribute):
    """Writes files by their "name" in an export, or their "source" in the package of npm."""
    for file in files:
        path = folder / getattr(file, attribute)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents([file])[file.name])
    return folder


def test_every_file_of_the_page_is_exported():
    assert {path.name for path in web.SOURCES.iterdir() if path.is_file()} == {*web.FILES}
    text = (web.SOURCES / "index.html").read_text(encoding="utf-8")
    named = {name for file in web.FILES for name in re.findall(r'"(?:\./)?([\w./-]+\.(?:js|css))"', text_of(file))}
    assert named == {name for name in web.FILES if name.endswith((".js", ".css"))} | {"runtime/ort.wasm.min.js"} | {
        "runtime/ort-wasm-simd-threaded.js"
    }
    assert "unsafe-inline" not in text and "<style" not in text


def text_of(file):
    return (web.SOURCES / file).read_text(encoding="utf-8")


def test_the_vendored_files_are_found(tmp_path, other_files, monkeypatch):
    monkeypatch.setattr(web_runtime, "VENDORED", write_files(tmp_path, (*PROGRAM, *LICENSES), "name"))
    assert find_runtime() == contents((*PROGRAM, *LICENSES))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lets an empty package stand for the installed ONNX Runtime."""
    folder = tmp_path / "installed" / "onnxruntime"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    return folder


def test_the_licences_of_the_installed_package_go_with_that_of_npm_which_lacks_them(tmp_path, other_files, installed):
    write_files(installed.parent, LICENSES, "source")
    assert find_runtime(write_files(tmp_path, PROGRAM, "source")) == contents((*PROGRAM, *LICENSES))


def test_the_licences_may_lie_beside_the_package_of_npm(tmp_path, other_files, installed):
    assert find_runtime(write_files(tmp_path, (*PROGRAM, *LICENSES), "source")) == contents((*PROGRAM, *LICENSES))


def test_licences_that_are_nowhere_are_asked_for(tmp_path, other_files, installed):
    with pytest.raises(
        ValueError,
        match=rf"lacks onnxruntime/LICENSE; .* in its folder what pip download --no-deps onnxruntime=={VERSION} brings",
    ):
        find_runtime(write_files(tmp_path, PROGRAM, "source"))


def test_licences_of_another_version_are_refused(tmp_path, other_files, installed):
    write_files(installed.parent, LICENSES, "source")
    (installed / "ThirdPartyNotices.txt").write_bytes(b"of another version")
    with pytest.raises(
        ValueError, match=rf"ThirdPartyNotices.txt is not that of onnxruntime-web {VERSION}: .* pip down"
    ):
        find_runtime(write_files(tmp_path, PROGRAM, "source"))


def test_a_build_without_the_files_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(web_runtime, "VENDORED", tmp_path / "runtime")
    message = (
        "--formats web: this tfseg was built without onnxruntime-web; in a clone, python tools/fetch_web_runtime.py "
        f"brings it; elsewhere, unpack what npm pack onnxruntime-web@{VERSION} brings, and give its folder as "
        "--web-runtime"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        find_runtime()


def test_a_folder_that_lacks_a_file_is_refused(tmp_path, other_files):
    write_files(tmp_path, PROGRAM[:2], "source")
    with pytest.raises(
        ValueError, match=r"^--web-runtime: .* lacks dist/ort-wasm-simd-threaded.wasm; expected the unpacked"
    ):
        find_runtime(tmp_path)


def test_another_version_is_refused(tmp_path, other_files):
    write_files(tmp_path, PROGRAM, "source")
    (tmp_path / PROGRAM[0].source).write_bytes(b"another")
    with pytest.raises(
        ValueError, match=rf"ort\.wasm\.min\.mjs is not that of onnxruntime-web {VERSION}: its SHA-256 is "
    ):
        find_runtime(tmp_path)


def test_what_is_vendored_here_is_the_one_version():
    if not VENDORED.is_dir():
        pytest.skip(f"needs {web_runtime.PACKAGE}: python {web_runtime.TOOL}")
    assert [*find_runtime()] == [file.name for file in (*PROGRAM, *LICENSES)]
    assert f"ONNX Runtime Web v{VERSION}".encode() in find_runtime()[PROGRAM[0].name]


def test_files_are_known_by_their_hashes():
    for file in (*PROGRAM, *LICENSES):
        assert isinstance(file, RuntimeFile) and re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_the_folder_can_be_replaced_unless_something_else_lies_in_it(tmp_path):
    for name in ("labels.json", "model.onnx", "saved_model.pb"):
        (tmp_path / name).write_text(json.dumps({"classes": [{"id": 0, "name": "void", "color": [0, 0, 0]}]}))
    words = web.write(contents((*PROGRAM, *LICENSES)), tmp_path)
    assert {*words} == {"web/index.html"}
    assert (tmp_path / "web/model.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
    assert {path.name for path in (tmp_path / "web/runtime").iterdir()} == {file.name for file in (*PROGRAM, *LICENSES)}
    check_replaceable(tmp_path)
    (tmp_path / "web/CNAME").write_text("city.example")
    with pytest.raises(ValueError, match=r"is no export to replace, it holds a file or folder \(web/CNAME"):
        check_replaceable(tmp_path)


@pytest.mark.parametrize("pixels", [PixelFormat(1), PixelFormat(4), PixelFormat(3, ((0, 4095),) * 3)])
def test_other_images_than_8_bit_rgb_are_refused(pixels):
    with pytest.raises(ValueError, match=f"browsers give 8-bit RGB, and the network takes {pixels}; leave out web"):
        web.check_pixels(pixels)


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes SavedModels")
def test_the_command_exports_the_page_with_its_onnx_file(tmp_path, tiny_records, monkeypatch, capsys, other_files):
    for package in ("onnx", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason="pip install 'tf-segmentation[export]'")
    run = write_run(Config(Data(str(tiny_records), size="24x32"), str(tmp_path / "run")))
    monkeypatch.setattr(exporter, "load_network", {run: nearest_color_network(CLASS_COLORS)}.__getitem__)
    npm, out = write_files(tmp_path / "npm", (*PROGRAM, *LICENSES), "source"), tmp_path / "model"
    words = ["--run", str(run), "--out", str(out), "--formats", "web", "--images", "1", "--web-runtime", str(npm)]
    export.main(words)
    printed = capsys.readouterr().out
    assert re.search(r"^\| web page +\| +\d+\.\d \|.*\| as ONNX \|$", printed, re.MULTILINE)
    assert f"to see the page: python -m http.server --directory {out}/web\n" in printed
    assert (out / "web/model.onnx").read_bytes() == (out / "model.onnx").read_bytes()
    labels, shown = (json.loads((folder / "labels.json").read_text()) for folder in (out, out / "web"))
    assert {*labels["files"]} == {"model.onnx", "web/index.html"} and shown["classes"] == labels["classes"]
    card = (out / "model_card.md").read_text()
    assert "* `web/index.html`: a page that computes" in card and "The web page computes the file of ONNX" in card
    assert "Core ML" not in card
    export.main(words)  # in the place of the earlier one


def test_a_run_of_other_images_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "check_packages", lambda formats: None)
    monkeypatch.setattr(exporter.run_dir, "read_pixels", lambda run: PixelFormat(5))
    with pytest.raises(ValueError, match="takes 8-bit 5-channel; leave out web"):
        export_run("run", tmp_path / "model", ["web"])
    assert not (tmp_path / "model").exists()
