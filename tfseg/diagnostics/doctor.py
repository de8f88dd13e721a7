"""python -m tfseg.doctor [--full] [--config configs/X.yaml] [--records DIR] [--json FILE]

Looks a machine over before a training: whether the packages go together, what devices there are, whether they compute
the right numbers, how fast the train step is in each precision, and whether the input keeps up. Ends with settings for
a training here. What touches the device runs in processes of its own, so a crash is a finding like the others.
"""

import argparse
import dataclasses
import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tfseg import __version__
from tfseg.config.parse import load_config, save_config
from tfseg.config.schema import Augment, Config, Data, Loss, Model, Optimizer
from tfseg.diagnostics.checks import (
    DOUBLE,
    FAILED,
    OK,
    PLAIN,
    VARIANTS,
    WARNING,
    Finding,
    Machine,
    check_gpus,
    check_versions,
    find_remedy,
    scrub,
    summarise,
    write_fragment,
)
from tfseg.io import command as cli

PACKAGES = ("tensorflow", "tensorflow-cpu", "tensorflow-metal", "tensorflow-macos", "keras", "numpy", "torch", "jax")
QUICK, FULL = 90, 600  # seconds that a part may take
DONE = {"done": True}  # the last that a part says; how its process ends then is of no account
MARK = "tfseg.doctor: "  # begins what a part says to its parent; libraries print on stdout too
GIBIBYTE = 2**30


class Report:
    """Findings, shown as they come, and numbers."""

    def __init__(self, config: Path, seconds: float, show=print):
        self.config, self.seconds, self.show = config, seconds, show
        self.findings: list[Finding] = []
        self.measured: dict = {}

    def add(self, *findings: Finding) -> None:
        self.findings += findings
        for finding in findings:
            self.show(str(finding), flush=True)

    def run(self, part: str) -> bool:
        """Runs a part of doctor_device.py or doctor_speed.py; returns whether it came to its end."""
        command = [sys.executable, "-m", "tfseg.doctor", "--part", part, "--config", str(self.config)]
        items, failure, errors = run_child(part, command, self.seconds)
        for item in items:
            if "finding" in item:
                self.add(Finding(*item["finding"]))
            else:
                item.pop("began", None)
                self.measured.setdefault("steps", {}).update(item.pop("steps", {}))
                self.measured.update(item)
        if failure:
            self.add(failure)
            self.measured.setdefault("errors", {})[part] = errors.splitlines()[-30:]
        return failure is None


# ---- processes


def run_child(part: str, command: Sequence[str], seconds: float) -> tuple[list[dict], Finding | None, str]:
    """Runs a part; what it said until its end, a finding if that was not a good one, and what is on its stderr."""
    # Ctrl-C is for this process alone, which then ends the other.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
            ending = describe_end(process.returncode, errors)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            ending = f"over {seconds:.0f} s, given up"
        finally:
            process.kill()
    items = [json.loads(line.removeprefix(MARK)) for line in output.splitlines() if line.startswith(MARK)]
    if DONE in items:
        return items[:-1], None, errors
    ending = ending or "ended before it was done"
    began = next((item["began"] for item in reversed(items) if "began" in item), part)
    return items, judge_end(part, began, ending), errors


def describe_end(code: int, errors: str) -> str:
    """Says how a process ended; nothing if it ended well."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 0:
        return ""
    lines = [line.strip().removeprefix("doctor: error: ") for line in errors.splitlines() if line.strip()]
    named = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return (named or lines or [f"ended with exit code {code}"])[-1][:300]


def judge_end(part: str, began: str, ending: str) -> Finding:
    """Makes a finding of a part that did not end well."""
    remedy = find_remedy(ending)
    # A variant of the step that is too slow is a measurement too, and so is a batch too large for the memory.
    spent = "given up" in ending or (began == DOUBLE and "memory" in remedy)
    state = WARNING if began in VARIANTS and spent else FAILED
    return Finding(part.split()[0], state, f"{began}: {ending}", remedy)


def run_part(part: str, config: Config) -> None:
    """Runs a part here, and writes for `run_child` what it yields."""
    from tfseg.diagnostics import device, speed

    for item in itertools.chain((device.PARTS | speed.PARTS)[part](config), [DONE]):
        message = {"finding": list(item)} if isinstance(item, Finding) else item
        print(f"{MARK}{json.dumps(message)}", flush=True)


# ---- the machine


def find_machine() -> Machine:
    """Looks at what decides which packages are needed."""
    system, macos = platform.system(), platform.mac_ver()[0]
    apple = system == "Darwin" and ask("sysctl", "-n", "hw.optional.arm64") == "1"
    nvidia = bool(ask("nvidia-smi", "-L"))
    return Machine(system, platform.machine(), sys.version_info[:2], macos, apple, nvidia)


def find_packages() -> dict[str, str]:
    """Name -> version of what is installed of PACKAGES."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def ask(*command: str) -> str:
    """What a program of the system answers; nothing if there is none or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def describe_machine(machine: Machine) -> list[Finding]:
    """Lists processor, memory, disk and cards."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"macOS {machine.macos}" if machine.macos else f"{machine.system} {platform.release()}"
    python = f"Python {platform.python_version()}, {system}, {machine.machine}"
    text = f"{python}; {find_processor()}, {cores} of {os.cpu_count()} cores"
    shared = ", which the GPU shares" if machine.is_apple_silicon else ""
    findings = [Finding("machine", OK, text), Finding("machine", OK, describe_memory(read_memory()) + shared)]
    if machine.nvidia:
        query = "--query-gpu=name,memory.total,memory.free,driver_version"
        findings += [
            Finding("machine", OK, f"card: {row}")
            for row in ask("nvidia-smi", query, "--format=csv,noheader").split("\n")
        ]
    return findings


def find_processor() -> str:
    """The processor's name."""
    if Path("/proc/cpuinfo").exists():
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = [row.partition(":")[2].strip() for row in rows if row.startswith("model name")]
        if named:
            return named[0]
    return ask("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or "a processor without a name"


def read_memory() -> dict[str, int]:
    """Bytes by name: total, available and limit, as far as they are known."""
    memory = {}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory["total"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if Path("/proc/meminfo").exists():
        rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        memory["available"] = int(rows["MemAvailable"].split()[0]) * 1024
    for place in ("memory.max", "memory/memory.limit_in_bytes"):  # of control groups, version 2 and 1
        file = Path("/sys/fs/cgroup", place)
        limit = file.read_text(encoding="utf-8").strip() if file.exists() else "max"
        if limit.isdigit() and int(limit) < memory.get("total", 0):
            memory["limit"] = int(limit)
    return memory


def describe_memory(memory: dict[str, int]) -> str:
    parts = [f"{name} {size / GIBIBYTE:.1f} GiB" for name, size in memory.items()]
    return f"disk: {shutil.disk_usage('.').free / GIBIBYTE:.1f} GiB free here; memory: {', '.join(parts) or 'unknown'}"


# ---- the whole


def examine(config: Config, report: Report, synthetic: bool) -> str:
    """Makes all checks; returns the settings that it found best, nothing if it could not tell."""
    machine, packages = find_machine(), find_packages()
    report.measured |= {"machine": machine._asdict(), "packages": packages, "memory": read_memory()}
    report.add(*describe_machine(machine), *check_versions(machine, packages))
    if report.run("tensorflow"):
        report.add(*check_gpus(machine, packages, len(report.measured["gpus"])))
    elif os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        report.add(Finding("device", WARNING, "nothing else was tried, since TensorFlow does not load"))
        return ""
    if not report.run("backend"):
        return ""
    same = compare_devices(report)
    report.run("operations")
    own = report.measured["backend"] == "tensorflow"
    pointless = {PLAIN: not own, DOUBLE: own and report.measured["kind"][0] == "cpu"}  # any batch keeps a CPU busy
    for variant in VARIANTS:
        if not pointless.get(variant):
            report.run(f"step {variant}")
    if "tensorflow" not in report.measured:
        report.add(Finding("input", WARNING, "not measured: the pipeline is TensorFlow's, which does not load"))
    elif not synthetic or report.run("records"):
        report.run("input")
    return advise(report, same, config.train.batch_size)


def advise(report: Report, same: bool, batch_size: int) -> str:
    """Writes settings from what was measured; `same` says whether the GPU gives the CPU's numbers."""
    kind, steps = report.measured["kind"], report.measured["steps"]
    if report.measured["backend"] != "tensorflow":
        kind = "auto", kind[1]
    elif not same and kind[0] != "cpu":
        kind, steps = ("cpu", "the GPU gives other numbers, see above"), {}
    return write_fragment(kind, steps, batch_size, report.measured.get("cache"))


def compare_devices(report: Report) -> bool:
    """Compares the devices where that can be; returns whether nothing is known against them."""
    backend = report.measured["backend"]
    if backend != "tensorflow":
        text = f"not compared: {backend} places the work itself, so it cannot be had on two devices"
        report.add(Finding("compare", OK, text))
        return True
    ended = report.run("compare")
    return ended and not any(finding[:2] == ("compare", FAILED) for finding in report.findings)


def choose_config(options: argparse.Namespace, folder: Path) -> tuple[Config, bool]:
    """Makes the settings to examine, and says whether their records are to be drawn."""
    if options.config:
        config = load_config(options.config)
    else:
        config = Config(
            Data(str(folder / "none"), size="320x320" if options.full else "128x128"),
            run_dir="none",
            augment=Augment(flip=0.5, rotation=10.0, brightness=0.1, contrast=0.2, saturation=0.2, hue=10.0),
            model=Model("efficientnetb3" if options.full else "tiny", None),
            loss=Loss(1.0, 1.0),
            optimizer=Optimizer("adamw", 1e-3, "cosine", weight_decay=0.01),
        )
    records = options.records or config.data.records
    synthetic = not options.records and not Path(records, "manifest.json").exists()
    records = str(folder / "records") if synthetic else records
    loss = dataclasses.replace(config.loss, class_weights=None) if synthetic else config.loss  # no pixels to count yet
    data = dataclasses.replace(config.data, records=records, size=options.size or config.data.size)
    return dataclasses.replace(config, data=data, loss=loss), synthetic


def write_json(report: Report, config: Config, fragment: str, seconds: float, place: str) -> None:
    """Writes everything for a bug report, to a file or, as -, to stdout."""
    content = {
        "tfseg": __version__,
        "seconds": seconds,
        "findings": [finding._asdict() for finding in report.findings],
        "measured": report.measured,
        "settings": dataclasses.asdict(config),
        "config": fragment,
    }
    home = os.path.expanduser("~")  # noqa: PTH111, which raises nothing where there is no home
    text = json.dumps(scrub(content, home, Path(home).name), indent=1, allow_nan=False) + "\n"
    if place == "-":
        sys.stdout.write(text)
    else:
        Path(place).write_text(text, encoding="utf-8")


def doctor(options: argparse.Namespace) -> int:
    """Examines the machine, and says what it found; returns the exit code."""
    start = time.monotonic()
    show = partial(print, file=sys.stderr) if options.json == "-" else print
    with tempfile.TemporaryDirectory(prefix="tfseg-doctor-") as name:
        folder = Path(name)
        config, synthetic = choose_config(options, folder)
        save_config(config, folder / "config.yaml")
        report = Report(folder / "config.yaml", FULL if options.full or options.config else QUICK, show)
        network = f"{config.model.encoder}, {config.data.size}, batch {config.train.batch_size}"
        show(f"tfseg {__version__}; measured with {network}, {'drawn pictures' if synthetic else config.data.records}")
        fragment = examine(config, report, synthetic)
    if fragment:
        show(f"\n# for a training here, as python -m tfseg.train --config takes it\n{fragment}")
    failed = any(finding.state == FAILED for finding in report.findings)
    seconds = time.monotonic() - start
    show(f"{summarise(report.findings)}; {seconds:.0f} s")
    if options.json:
        write_json(report, config, fragment, seconds, options.json)
    return 1 if failed else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.doctor",
        description=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="EfficientNetB3 at 320x320 instead of a small network")
    parser.add_argument("--config", metavar="FILE.yaml", help="examine the training that this file describes")
    parser.add_argument("--size", metavar="HxW", help="HEIGHTxWIDTH of the pictures")
    parser.add_argument(
        "--records", metavar="DIR", help="records to measure the input with; drawn pictures if not given"
    )
    parser.add_argument("--json", metavar="FILE", help="everything in a file for a bug report; - is stdout")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options.part, load_config(options.config))
    else:
        sys.exit(doctor(options))


if __name__ == "__main__":
    cli.run(main)
