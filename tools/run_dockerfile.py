"""Runs a Dockerfile's steps without Docker, each in its own folder, to see that it builds and that its command answers.

    apt-get install bubblewrap debootstrap
    python tools/run_dockerfile.py --target serve --mirror MIRROR

Needs root on Linux. Each stage is a folder, made by the steps as a builder would make it: with nothing of this machine
but its network and what --share and --env name, such as the settings by which pip reaches an index here. At the end it
prints the sum of the image's files, starts its command as its user, and asks its health check until that is content.
Folders are temporary unless --work names a place for them: a folder that is new or empty, or one of an earlier run, in
which nothing but the stages of that run is ever deleted.

Of a Dockerfile it knows ARG, CMD, COPY, ENV, EXPOSE, FROM, HEALTHCHECK, RUN, USER and WORKDIR, as used here.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # this program runs where tfseg is not installed, too

from tfseg.io import removal  # noqa: E402

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

WORK = removal.Kind("work folder of run_dockerfile", ())  # its mark names the stages that were made there
STAGE = removal.Kind("stage of a Dockerfile", ("**",), lambda folder: folder.name in made_stages(folder.parent))

SHARED = removal.Kind("folder of a stage", ("**",), lambda folder: removal.is_ours(folder.parents[2], STAGE))

# As in Debian's images.
DOCKER_CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache { pkgcache ""; srcpkgcache ""; };
"""


@dataclass
class Stage:
    """What a stage has come to: its files are in `folder`, the rest is as `docker inspect` reports of an image."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    arguments: dict[str, str] = field(default_factory=dict)
    user: int = 0
    directory: str = "/"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], shared: Sequence[tuple[str, str]] = (), **extra: str) -> list[str]:
        """Gives the command line that runs a command in this stage's files, as its user."""
        settings = [word for pair in {**self.environment, **extra}.items() for word in ("--setenv", *pair)]
        shared = [("/etc/resolv.conf", "/etc/resolv.conf"), *shared]
        binds = [word for here, there in shared for word in ("--ro-bind-try", here, there)]
        return [
            *("bwrap", "--bind", str(self.folder), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run"),
            *("--unshare-pid", "--die-with-parent", "--clearenv", *settings, *binds, "--chdir", self.directory),
            *("--", "setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups", *command),
        ]


def read_stages(text: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Gives by a stage's name what it starts from, and its instructions and what stands behind each.

    Lines are joined, comments left out.
    """
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages = {}
    for line in re.sub(r"\\\n", " ", text).splitlines():
        instruction, _, value = line.strip().partition(" ")
        if instruction == "FROM":
            source, name = re.fullmatch(r"(\S+) AS ([a-z0-9][\w.-]*)", value.strip()).groups()
            steps = []
            stages[name] = source, steps
        elif instruction:
            steps.append((instruction, value.strip()))
    return stages


def build(stages: dict[str, tuple[str, list]], target: str, options: argparse.Namespace) -> Stage:
    """Runs the steps of a stage and of those that it is made of."""
    needed, built = needed_stages(stages, target), {}
    for name, (source, steps) in stages.items():
        if name in needed:
            print(f"== {name}, from {source}", flush=True)
            built[name] = start_stage(source, built, options.work / name, options.mirror)
            for instruction, value in steps:
                take_step(built[name], built, instruction, value, options)
    return built[target]


def needed_stages(stages: dict[str, tuple[str, list]], target: str) -> set[str]:
    """Names a stage and all that it is made of.

    Raises:
        ValueError: there is no such stage.
    """
    if target not in stages:
        raise ValueError(f"the Dockerfile has no stage {target!r}, it has {', '.join(stages)}")
    needed, ahead = set(), [target]
    while ahead:
        name = ahead.pop()
        needed.add(name)
        source, steps = stages[name]
        copied = [re.match(r"--from=(\S+)", value) for instruction, value in steps if instruction == "COPY"]
        ahead += stages.keys() & {source, *(found[1] for found in copied if found)}
    return needed


def made_stages(work: Path) -> list[str]:
    """Names the stages that this program made in a folder."""
    return (removal.read_mark(work, WORK) or {}).get("stages", [])


def open_work(work: Path) -> None:
    """Makes the folder of the stages, or takes that of an earlier run.

    Raises:
        ValueError: it is not empty, and was not made by this program.
    """
    work.mkdir(parents=True, exist_ok=True)
    if removal.read_mark(work, WORK) is None:
        if not removal.is_empty(work):
            raise ValueError(f"--work {work}: is not empty, and no work folder of this program; name another")
        removal.write_mark(work, WORK, stages=[])


def make_room(folder: Path) -> None:
    """Deletes a stage of an earlier run, and notes that the one to come was made here.

    Raises:
        ValueError: something else lies there, or a mount point in it.
    """
    removal.remove_folder(folder, STAGE)
    stages = sorted({*made_stages(folder.parent), folder.name})
    removal.write_mark(folder.parent, WORK, stages=stages)


def start_stage(source: str, stages: dict[str, Stage], folder: Path, mirror: str) -> Stage:
    """Makes a stage of another, or of Debian's packages, which is what Debian's images are made of."""
    make_room(folder)
    if source in stages:
        before = stages[source]
        subprocess.run(["cp", "--archive", "--reflink=auto", str(before.folder), str(folder)], check=True)
        return Stage(folder, dict(before.environment), dict(before.arguments), before.user, before.directory)
    suite = re.fullmatch(r"debian:(\w+)-slim(@sha256:[0-9a-f]{64})?", source)[1]
    subprocess.run(
        ["debootstrap", "--variant=minbase", suite, str(folder), mirror], check=True, stdout=subprocess.DEVNULL
    )
    (folder / "etc/apt/apt.conf.d/docker-clean").write_text(DOCKER_CLEAN)
    subprocess.run(["chroot", str(folder), "apt-get", "clean"], check=True)
    for kind in ("doc", "info", "locale", "man"):  # which the slim images leave out
        removal.remove_folder(folder / "usr/share" / kind, SHARED)
    return Stage(folder)


def take_step(
    stage: Stage, stages: dict[str, Stage], instruction: str, value: str, options: argparse.Namespace
) -> None:
    """Does one instruction."""
    if instruction == "RUN":
        print("RUN", value, flush=True)
        subprocess.run(stage.run(["/bin/sh", "-c", value], options.share, **dict(options.env)), check=True)
    elif instruction == "ARG":
        name, _, default = value.partition("=")
        stage.arguments[name] = dict(options.build_arg).get(name, default)
    elif instruction == "ENV":
        for word in shlex.split(value):
            name, _, setting = word.partition("=")
            stage.environment[name] = string.Template(setting).safe_substitute(stage.environment)
    elif instruction == "COPY":
        copy(stage, stages, string.Template(value).substitute(stage.arguments))
    elif instruction == "USER":
        stage.user = int(value)
    elif instruction == "WORKDIR":
        stage.directory = value
        (stage.folder / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
    elif instruction == "CMD":
        stage.command = json.loads(value)
    elif instruction == "HEALTHCHECK":
        stage.health = json.loads(value[value.index("[") :])
    elif instruction != "EXPOSE":
        raise ValueError(f"{instruction} is no instruction that this program knows")


def copy(stage: Stage, stages: dict[str, Stage], value: str) -> None:
    """Copies files, or what is in a folder, from the project or from another stage."""
    *sources, place = value.split()
    origin = ROOT
    if sources[0].startswith("--from="):
        origin = stages[sources.pop(0).removeprefix("--from=")].folder
    here = stage.folder / place.lstrip("/")
    (here if place.endswith("/") else here.parent).mkdir(parents=True, exist_ok=True)
    for source in sources:
        there = origin / source.lstrip("/")
        if there.is_dir():
            shutil.copytree(
                there, here, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(there, here)


def measure(folder: Path) -> float:
    """Sums up the bytes of a folder's files, a file of two names once, in GB."""
    files = {(status.st_dev, status.st_ino): status.st_size for status in map(os.lstat, map(str, folder.rglob("*")))}
    return sum(files.values()) / 1e9


def try_command(stage: Stage, patience: float) -> tuple[float, int]:
    """Starts the image's command, waits until its health check is content, and stops it as `docker stop` does.

    Returns:
        The seconds that it took to be healthy, and its exit code.

    Raises:
        OSError: it ended, or was not healthy in time.
    """
    start = time.monotonic()
    with subprocess.Popen(stage.run(stage.command)) as process:
        try:
            while subprocess.run(stage.run(stage.health), stderr=subprocess.DEVNULL, check=False).returncode:
                if process.poll() is not None:
                    raise OSError(f"the command ended with exit code {process.returncode}")
                if time.monotonic() - start > patience:
                    raise OSError(f"the command was not healthy within {patience:.0f} s")
                time.sleep(0.5)
            healthy = time.monotonic() - start
            # The command is the child of bubblewrap's first process in there, and that the child of its own.
            os.kill(first_child(first_child(process.pid)), signal.SIGTERM)
            return healthy, process.wait(timeout=30)
        finally:
            process.kill()


def first_child(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def pair(separator: str):
    """Gives a reader of two words with a separator between them."""

    def read(text: str) -> tuple[str, str]:
        first, found, second = text.partition(separator)
        if not found:
            raise argparse.ArgumentTypeError(f"expected two words with {separator} between them, got {text!r}")
        return first, second

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds a target of the Dockerfile, and starts its command.")
    parser.add_argument("--target", default="serve", help="stage of the Dockerfile (serve)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep a folder for each stage in it (none is kept)")
    parser.add_argument("--mirror", required=True, metavar="URL", help="of Debian's packages, as /etc/apt names it")
    for option, separator, meaning in (
        ("--build-arg", "=", "NAME=VALUE of an ARG"),
        ("--share", ":", "HERE:THERE, a path of this machine that RUN steps may read, and where"),
        ("--env", "=", "NAME=VALUE that they see in their environment"),
    ):
        parser.add_argument(option, action="append", default=[], type=pair(separator), metavar="PAIR", help=meaning)
    parser.add_argument("--patience", type=float, default=120.0, help="seconds until the command must be healthy (120)")
    options = parser.parse_args()
    stages = read_stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        options.work = (options.work or Path(temporary)).resolve()
        try_target(stages, options)


def try_target(stages: dict[str, tuple[str, list]], options: argparse.Namespace) -> None:
    """Builds what the command line says, and starts it."""
    try:
        open_work(options.work)
        image = build(stages, options.target, options)
        print(f"{measure(image.folder):.2f} GB in {image.folder}", flush=True)
        healthy, code = try_command(image, options.patience)
    except (ValueError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"run_dockerfile: error: {error}")
    print(f"healthy after {healthy:.1f} s; ended with exit code {code} when told to stop")


if __name__ == "__main__":
    main()
