"""The benchmarks start: each imports and answers --help, and the one that takes seconds runs once at a tiny size."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
COMMANDS = [
    name for name in MODULES if name.startswith(("bench_", "fuzz_", "attack_", "check_", "peer_trainers", "screen_"))
]


def call(*words) -> subprocess.CompletedProcess:
    """Runs Python in the repository; skips the test where an optional package is missing."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    if "ModuleNotFoundError" in done.stderr and "tfseg" not in done.stderr.splitlines()[-1]:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.long
@pytest.mark.parametrize("name", sorted({*MODULES} - {*COMMANDS}))  # the others are imported below
def test_imports(name):
    call("-c", f"import benchmarks.{name}")


@pytest.mark.long
@pytest.mark.parametrize("name", COMMANDS)
def test_help_answers(name):
    assert call("-m", f"benchmarks.{name}", "--help").stdout.startswith("usage: ")


def test_the_cheapest_runs(tmp_path):
    words = ["--size", "64x128", "--images", "2", "--rounds", "1", "--json", tmp_path / "results.json"]
    assert "| | ms per image |" in call("-m", "benchmarks.bench_scores", *words).stdout
    written = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert written["command"].startswith("python -m benchmarks.bench_scores --size 64x128 ")
    assert [len(written["results"][name]) for name in ("tfseg", "cityscapesscripts")] == [1, 1]
