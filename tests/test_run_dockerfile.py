"""The Dockerfile as far as it can be read without running it; tools/run_dockerfile.py runs its steps."""

import ast
import re
import sys
from pathlib import Path

import pytest
import run_dockerfile

ROOT = Path(__file__).parents[1]
STAGES = run_dockerfile.read_stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
STEPS = [step for _, steps in STAGES.values() for step in steps]


def test_lines_are_joined_and_comments_left_out():
    text = "# two\nFROM debian:trixie-slim AS base\nRUN a \\\n    # why\n    && b\n\nFROM base AS serve\nUSER 1000\n"
    stages = {"base": ("debian:trixie-slim", [("RUN", "a      && b")]), "serve": ("base", [("USER", "1000")])}
    assert run_dockerfile.read_stages(text) == stages


def test_stages_that_a_target_is_made_of():
    assert run_dockerfile.needed_stages(STAGES, "serve") == {"base", "installer", "serve-packages", "model", "serve"}
    assert run_dockerfile.needed_stages(STAGES, "installer") == {"base", "installer"}
    with pytest.raises(ValueError, match=r"no stage 'web', it has base, installer, serve-packages"):
        run_dockerfile.needed_stages(STAGES, "web")


def test_every_instruction_is_known_and_what_is_copied_is_there():
    known = {"ARG", "CMD", "COPY", "ENV", "EXPOSE", "HEALTHCHECK", "RUN", "USER", "WORKDIR"}
    assert {name for name, _ in STEPS} == known
    copies = [value.split()[:-1] for name, value in STEPS if name == "COPY" and not value.startswith("--from")]
    assert copies == [["docker"], ["tfseg"], ["${MODEL}/labels.json", "${MODEL}/model.onnx"]]
    assert all((ROOT / path).exists() for path in ("docker/install.sh", "tfseg"))


IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def is_sent(path):
    """Whether a path goes to the builder: the last pattern that fits it, or a folder above it, decides."""
    wildcards = {r"\*\*/": "(.*/)?", r"\*": "[^/]*", r"\[\^0\-9\]": "[^0-9]"}
    sent, places = True, [path, *map(str, Path(path).parents)]
    for line in IGNORED:
        pattern = re.escape(line.removeprefix("!"))
        for written, meant in wildcards.items():
            pattern = pattern.replace(written, meant)
        if not line.startswith("#") and any(re.fullmatch(pattern, place) for place in places):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize("model", ["demo", "city-0.2", "group/tram"])
def test_of_a_model_the_builder_gets_what_is_copied(model):
    copied = [value for name, value in STEPS if name == "COPY" and "${MODEL}" in value]
    for path in copied[0].replace("${MODEL}", f"models/{model}").split()[:-1]:
        assert is_sent(path)
    for name in (
        *("saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index", "fingerprint.pb"),
        *("model_int8.tflite", "model.xml", "model.bin", "model.mlpackage/Data/weights", "web/runtime/ort.wasm"),
        *("parity.json", "model_card.md"),
    ):
        assert not is_sent(f"models/{model}/{name}"), name
    assert is_sent(f"models/{model}") and is_sent(f"models/{model}/variables"), "else the older builder skips them"


def test_of_the_clone_the_builder_gets_code_and_pins():
    for path in ("tfseg/__init__.py", "tfseg/exporters/web_files/page.js", "docker/serve.txt"):
        assert is_sent(path)
    for path in (".git/config", "runs/a/labels.json", "tfseg/io/__pycache__/a.pyc", ".env", "tfseg.log"):
        assert not is_sent(path)
    assert not is_sent("tfseg/exporters/web_files/runtime/ort.wasm.min.js")


@pytest.mark.parametrize("name", ["serve", "app"])
def test_what_an_image_holds_is_pinned(name):
    """By version and hash, and nothing else stands there, such as the address of an index."""
    wanted, pinned = ((ROOT / "docker" / f"{name}{ending}").read_text(encoding="utf-8") for ending in (".in", ".txt"))
    pin = r"^([a-z\d.-]+)==[\w.]+((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
    pins = dict(re.findall(pin, pinned, re.MULTILINE))
    assert re.sub(pin, "", pinned, flags=re.MULTILINE) == ""
    assert {line.lower() for line in wanted.splitlines() if not line.startswith("#")} <= pins.keys()


def test_a_file_without_its_hash_is_refused():
    script = (ROOT / "docker/install.sh").read_text(encoding="utf-8")
    [install] = re.findall(r"^pip install .*", script, re.MULTILINE)
    assert {"--require-hashes", "--only-binary", "--no-deps"} <= set(install.split())


@pytest.mark.parametrize(("name", "more"), [("serve", []), ("app", ["tfseg.serving.web_page"])])
def test_an_image_holds_all_that_its_command_imports(name, more):
    """Without extras, without the progress bar of `predict`, and with ONNX Runtime as the one runtime."""
    wanted = (ROOT / f"docker/{name}.in").read_text(encoding="utf-8").lower().splitlines()
    packages = {"cv2": "opencv-python-headless", "PIL": "pillow", "werkzeug": "flask"}
    found = {packages.get(module, module.replace("_", "-")) for module in reach(f"tfseg.{name}", *more)}
    others = {"ai-edge-litert", "openvino", "tensorflow"}
    assert found - {"pillow-heif", "tqdm", "upath"} - others <= set(wanted)


def reach(*modules: str) -> set[str]:
    """The packages of others that some modules of tfseg import, and those that they import of it, at any time."""
    ahead, seen, found = [*modules], set(), set()
    while ahead:
        path = ROOT.joinpath(*ahead.pop().split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path in seen or not path.is_file():  # a name within a module
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            ahead += [one for one in names if one.startswith("tfseg.")]
            found |= {one.partition(".")[0] for one in names if not one.startswith("tfseg")}
    return found - set(sys.stdlib_module_names)


def test_the_base_image_is_one_of_a_digest():
    [source] = {source for source, _ in STAGES.values()} - STAGES.keys()
    assert re.fullmatch(r"debian:trixie-slim@sha256:[0-9a-f]{64}", source)


def test_a_file_of_two_names_counts_once(tmp_path):
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").write_bytes(bytes(500))
    assert run_dockerfile.measure(tmp_path) == pytest.approx(1500e-9)


def test_a_stage_is_deleted_only_where_this_program_made_it(tmp_path):
    (tmp_path / "mine/base").mkdir(parents=True)
    (tmp_path / "mine/base/thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="mine: is not empty, and no work folder of this program; name another"):
        run_dockerfile.open_work(tmp_path / "mine")
    run_dockerfile.open_work(work := tmp_path / "work")
    for _ in range(2):
        run_dockerfile.make_room(work / "base")
        (work / "base/usr/share").mkdir(parents=True)
        (work / "base/usr/share/thesis.tex").symlink_to(tmp_path / "mine/base/thesis.tex")
    run_dockerfile.open_work(work)
    (work / "model").mkdir()
    (work / "model/thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="model: holds no stage of a Dockerfile that tfseg made"):
        run_dockerfile.make_room(work / "model")
    run_dockerfile.make_room(work / "base")
    assert sorted(path.name for path in work.iterdir()) == [".tfseg.json", "model"]
    assert (work / "model/thesis.tex").exists() and (tmp_path / "mine/base/thesis.tex").exists()
