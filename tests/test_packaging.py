"""What an installer makes of pyproject.toml on each kind of machine, asked of uv's resolver; nothing is installed."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[1]
MAC = "aarch64-apple-darwin"
LINUX = "x86_64-unknown-linux-gnu"

# What uv says where the index does not answer.
UNREACHABLE = "Failed to fetch|Could not connect|error sending request|dns error|Connection refused|timed out"


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
