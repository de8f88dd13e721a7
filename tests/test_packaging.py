"""What users install: dependencies on each kind of machine, asked of uv's resolver; the wheel, built and installed."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from setuptools import find_packages

from tfseg import __version__
from tfseg.__main__ import VERBS, main
from tfseg.io import command

ROOT = Path(__file__).parents[1]
KERNELS = ("tfseg/diagnostics/metal_kernels.json", "tfseg/diagnostics/metal_plugin_kernels.json")
DELEGATES = ("tfseg/diagnostics/delegates/edgetpu.json", "tfseg/diagnostics/delegates/schema.json")
RUNTIME = "tfseg/exporters/web_files/runtime"  # which tools/fetch_web_runtime.py makes
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")  # of a wheel, beside tfseg/
MAC = "aarch64-apple-darwin"
LINUX = "x86_64-unknown-linux-gnu"

# Verbs that are still to take their name in --help from command.program.

# What uv says where the index does not answer.
UNREACHABLE = "Failed to fetch|Could not connect|error sending request|dns error|Connection refused|timed out"

# Imports every module of the tfseg that Python finds, and prints where each lies, or which optional package it lacks.
IMPORT_ALL = """
import importlib, pkgutil, tfseg
for module in pkgutil.walk_packages(tfseg.__path__, "tfseg."):
    try:
        print(importlib.import_module(module.name).__file__)
    except ModuleNotFoundError as error:
        print("lacks", error.name)
"""


def resolve(platform: str, python: str, *extras: str) -> subprocess.CompletedProcess:
    """Resolves the project's dependencies for a machine; skips the test where the package index is out of reach."""
    if importlib.util.find_spec("uv") is None or os.environ.get("UV_OFFLINE"):
        pytest.skip("needs uv and the package index")
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--no-python-downloads"]
    command += ["--quiet", "--no-header", "--no-annotate", "--python-platform", platform, "--python-version", python]
    command += [word for extra in extras for word in ("--extra", extra)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode and re.search(UNREACHABLE, " ".join(done.stderr.split()), re.IGNORECASE):
        pytest.skip("needs the package index")
    return done


def versions(platform: str, python: str, *extras: str) -> dict[str, str]:
    """Package -> version."""
    done = resolve(platform, python, *extras)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([\w.-]+)==(\S+)", done.stdout, re.MULTILINE))


@pytest.mark.long
@pytest.mark.parametrize("python", [pytest.param("3.11", marks=pytest.mark.slow), "3.12"])
def test_apple_silicon_gets_the_pair_that_loads(python):
    packages = versions(MAC, python)
    assert re.fullmatch(r"2\.1[89]\.\d+", packages["tensorflow"])
    assert packages["tensorflow-metal"] == "1.2.0"
    assert "tensorflow-macos" not in packages  # an empty shell since 2.16
    assert int(packages["keras"].split(".")[0]) == 3


def test_apple_silicon_with_python_3_13_is_refused_by_name():
    done = resolve(MAC, "3.13")  # tensorflow-metal has no wheel for it
    assert done.returncode != 0
    assert "tensorflow-metal" in done.stderr


def test_linux_cpu_gets_the_small_tensorflow():
    packages = versions(LINUX, "3.12", "cpu", "keras-hub")
    assert {"tensorflow-cpu", "kagglehub"} <= set(packages)
    assert not {"tensorflow", "tensorflow-metal", "tensorflow-text"} & set(packages)
    assert not [name for name in packages if name.startswith("nvidia-")]


def test_linux_cuda_gets_tensorflow_and_its_libraries():
    packages = versions(LINUX, "3.12", "cuda")
    assert "tensorflow" in packages
    assert "nvidia-cudnn-cu12" in packages
    assert not {"tensorflow-cpu", "tensorflow-metal"} & set(packages)


def test_linux_on_arm_gets_tensorflow():
    packages = versions("aarch64-manylinux_2_28", "3.12", "cpu")
    assert "tensorflow" in packages
    assert not {"tensorflow-cpu", "tensorflow-metal"} & set(packages)


def test_an_intel_mac_is_refused_by_name():
    done = resolve("x86_64-apple-darwin", "3.12", "cpu")  # the last TensorFlow that was built for it is 2.16
    assert done.returncode != 0
    assert "tensorflow" in done.stderr and "macosx_12_0_arm64" in done.stderr, "and for what there is one"


@pytest.mark.slow
def test_an_intel_mac_can_convert():
    packages = versions("x86_64-apple-darwin", "3.12")
    assert "kornia-rs" in packages and not [name for name in packages if name.startswith("tensorflow")]


@pytest.mark.slow
def test_linux_alone_gets_no_tensorflow():
    packages = versions(LINUX, "3.12")  # which of the two is the user's to say
    assert not [name for name in packages if re.match(r"tensorflow(-cpu|-metal)?$", name)]


def test_python_and_modules_are_declared():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["requires-python"] == ">=3.11"
    assert set(pyproject["project"]["optional-dependencies"]) >= {"cpu", "cuda", "dev"}
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tfseg").rglob("__init__.py")}
    found = find_packages(str(ROOT), **pyproject["tool"]["setuptools"]["packages"]["find"])
    assert {name.replace(".", "/") for name in found} == packages


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what it is made of; a build leaves files beside its sources."""
    sources, out = (tmp_path_factory.mktemp(name) for name in ("sources", "wheel"))
    for name in SOURCES:
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "tfseg", sources / "tfseg", ignore=shutil.ignore_patterns("__pycache__"))
    isolated = int(importlib.metadata.version("setuptools").partition(".")[0]) < 77
    words = ["--no-deps", "--wheel-dir", out, *([] if isolated else ["--no-build-isolation"]), sources]
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", *words], capture_output=True, text=True, timeout=300)
    if done.returncode and isolated:
        pytest.skip("needs setuptools 77 or newer, here or from the package index")
    assert done.returncode == 0, done.stderr
    [path] = out.iterdir()
    return path


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    """Folder of the programs of an environment that has the wheel, the packages of this one, and no clone."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, symlinks=True)
    names = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=names))
    (packages / "packages.pth").write_text(sysconfig.get_path("purelib"))  # the .pth files in there are not read
    programs = Path(sysconfig.get_path("scripts", "venv", vars=names))
    words = ["--python", programs / "python", "install", "--no-deps", "--no-index", "--ignore-installed", wheel]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, timeout=120)
    return programs


def call(*words, cwd, code: int = 0) -> subprocess.CompletedProcess:
    """Runs a program in a folder away from the clone and checks its exit code."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    assert wheel.name == f"tf_segmentation-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        metadata = archive.read(f"tf_segmentation-{__version__}.dist-info/METADATA").decode()
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tfseg").rglob("*.*") if path.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert {"tfseg/py.typed", "tfseg/__main__.py", *KERNELS, *DELEGATES} <= files
    assert "tfseg/records/label_maps/camvid.yaml" in files
    assert {name for name in held if ".dist-info/" not in name} == files
    licences = ["LICENSE", *sorted(name for name in files if name.startswith(RUNTIME) and name.endswith(".txt"))]
    assert {f"tf_segmentation-{__version__}.dist-info/licenses/{name}" for name in licences} <= held
    expression = "Apache-2.0 AND MIT" if len(licences) > 1 else "Apache-2.0"
    assert {"Name: tf-segmentation", f"License-Expression: {expression}"} <= set(metadata.splitlines())


@pytest.mark.parametrize(
    ("vendored", "expression"), [((), "Apache-2.0"), (("LICENSE.txt", "ThirdPartyNotices.txt"), "Apache-2.0 AND MIT")]
)
def test_a_wheel_is_under_the_licences_of_what_it_holds(tmp_path, vendored, expression):
    """By its metadata alone, of a project that holds no code."""
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < 77:
        pytest.skip("needs setuptools 77 or newer")
    (tmp_path / RUNTIME).mkdir(parents=True)
    for name in vendored:
        (tmp_path / RUNTIME / name).write_text("terms")
    for name in SOURCES:
        shutil.copy(ROOT / name, tmp_path)
    shutil.copy(ROOT / "tfseg" / "__init__.py", tmp_path / "tfseg")
    code = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = (
        (tmp_path / f"tf_segmentation-{__version__}.dist-info" / "METADATA").read_text(encoding="utf-8").splitlines()
    )
    files = ["LICENSE", *(f"{RUNTIME}/{name}" for name in vendored)]
    assert [line for line in lines if line.startswith("License-")] == [
        f"License-Expression: {expression}",
        *(f"License-File: {file}" for file in files),
    ]


def test_an_index_would_take_the_wheel(wheel):
    pytest.importorskip("twine", reason="twine comes with the extra dev")
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_every_module_imports_from_the_wheel(installed, tmp_path):
    lines = call(installed / "python", "-I", "-c", IMPORT_ALL, cwd=tmp_path).stdout.splitlines()
    optional = {"apache_beam", "coremltools", "flask", "gunicorn", "optuna", "prometheus_client", "streamlit"}
    assert {line.removeprefix("lacks ") for line in lines if line.startswith("lacks ")} <= optional
    places = [Path(line) for line in lines if not line.startswith("lacks ")]
    assert len(places) > 80 and all(place.is_relative_to(installed.parent) for place in places)


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_the_command_and_needs_no_framework(verb, installed, tmp_path):
    done = call(installed / "python", "-I", "-X", "importtime", installed / "tfseg", verb, "--help", cwd=tmp_path)
    assert done.stdout.startswith(f"usage: tfseg {verb}")
    assert set(re.findall(r"\| +(tensorflow|keras|torch|jax)$", done.stderr, re.MULTILINE)) == set()


@pytest.mark.long
def test_the_command_makes_a_city_converts_and_verifies_it(installed, tmp_path):
    tfseg = installed / "tfseg"
    assert call(tfseg, "--version", cwd=tmp_path).stdout == f"tfseg {__version__}\n"
    sizes = ["--size", "64x128", "--train", "3", "--val", "2", "--test", "1"]
    call(tfseg, "sample_city", "--out", "raw", *sizes, cwd=tmp_path)
    call(tfseg, "convert", "--root", "raw", "--out", "records", "--size", "32x64", "--workers", "2", cwd=tmp_path)
    done = call(tfseg, "verify", "records", "--workers", "2", cwd=tmp_path)
    assert "all as the manifest says" in done.stdout
    done = call(tfseg, "verify", "nowhere", cwd=tmp_path, code=1)
    assert "nowhere: no such folder of records" in done.stdout


def test_every_verb_is_named():
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tfseg").glob("*.py")}
    runnable = {name for name, source in files.items() if 'if __name__ == "__main__":' in source}
    assert sorted(VERBS) == sorted(runnable - {"__main__"})


def test_the_list_of_verbs_has_a_line_for_each(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for verb, text in VERBS.items():
        assert f"  {verb:14}  {text}" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    "words, advice",
    [
        (["trian"], "unknown verb 'trian'; did you mean train? tfseg --help lists all"),
        (["--frobnicate"], "unknown verb '--frobnicate'; tfseg --help lists all"),
    ],
)
def test_an_unknown_verb_is_one_line(words, advice, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfseg"])
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"tfseg: error: {advice}\n")


@pytest.mark.parametrize("file, program", [("/usr/bin/tfseg", "tfseg"), ("/a/tfseg/__main__.py", "python -m tfseg")])
def test_without_a_verb_the_list_is_the_error(file, program, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [file])
    assert main([]) == 2
    assert capsys.readouterr().err.startswith(f"usage: {program} VERB ...\n")


def test_help_names_the_command_that_was_typed(monkeypatch):
    assert command.program("train") == "python -m tfseg.train"
    monkeypatch.setattr(command, "FRONT", "tfseg ")
    assert command.program("train") == "tfseg train"
