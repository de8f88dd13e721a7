"""Every test is run by some environment, and by the main one in any case; the Makefile names no file of them."""

import re
import tomllib
from pathlib import Path

import pytest
from helper_environments import ENVIRONMENTS, TESTS, leaves_out, room_of

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TEST_FILES = sorted(TESTS.rglob("test_*.py"))


def test_the_main_environment_runs_all():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert settings["testpaths"] == ["tests"]
    recipe = re.search(r"^test: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]
    assert "pytest" in recipe and "--environment" not in recipe and "tests/" not in recipe
    assert [path for path in TEST_FILES if leaves_out("main", path)] == []


def test_the_makefile_names_no_test_file():
    assert re.findall(r"\S*test_\w*\.py", MAKEFILE) == []


def test_the_makefile_has_every_environment():
    assert set(re.findall(r"--environment[= ](\w+)", MAKEFILE)) == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_rooms_exist(environment):
    assert ENVIRONMENTS[environment] <= {room_of(path) for path in TEST_FILES}


def test_a_room_is_a_folder_or_a_file():
    assert room_of(TESTS / "models" / "decoders" / "test_unet.py") == room_of(TESTS / "models") == "models"
    assert room_of(TESTS / "test_losses.py") == "losses"
    assert leaves_out("beam", TESTS / "models") and not leaves_out("beam", TESTS / "conversion" / "test_beam.py")
    assert not leaves_out("beam", TESTS)
