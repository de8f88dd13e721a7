"""The Dockerfile as far as it can be read without running it; tools/run_dockerfile.py runs its steps."""

import re
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
    sources = [value.split()[0] for name, value in STEPS if name == "COPY" and not value.startswith("--from")]
    assert sources == ["docker", "tfseg", "${MODEL}"]
    assert all((ROOT / path).exists() for path in ("docker/install.sh", "tfseg"))


@pytest.mark.parametrize("name", ["serve", "app"])
def test_what_an_image_holds_is_pinned(name):
    wanted, pinned = ((ROOT / "docker" / f"{name}{ending}").read_text(encoding="utf-8") for ending in (".in", ".txt"))
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", pinned, re.MULTILINE))
    assert len(pins) == len(pinned.split())  # nothing else, such as the address of an index
    assert {line.lower() for line in wanted.splitlines() if not line.startswith("#")} <= pins.keys()


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
