"""Examines a machine before a training.

Whether the packages go together, what devices there are, whether they compute the right numbers, how fast the train
step is in each precision, and whether the input keeps up; and with which settings to train here. What touches the
device runs in processes of its own, see `parts`.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
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
    lacks_bfloat16,
    scrub,
    write_fragment,
)
from tfseg.diagnostics.machine import describe_machine, find_machine, find_packages, find_processor
from tfseg.diagnostics.parts import start_part
from tfseg.diagnostics.roads import describe_road, recommend_road

QUICK, FULL = 90, 600  # seconds that a part may take
SCHEMA_VERSION = 1  # of the file of --json; another one wherever a key is renamed or taken away


@dataclass(frozen=True)
class Examination:
    """What was found on a machine.

    Attributes:
        findings: in the order in which they were found.
        measured: numbers, as in the file of --json.
        config: the settings with which it was measured.
        fragment: settings for a training here, as YAML; empty if nothing could be said.
        seconds: that it took.
    """

    findings: list[Finding]
    measured: dict
    config: Config
    fragment: str
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return any(finding.state == FAILED for finding in self.findings)

    def to_dict(self) -> dict:
        """Gives everything for a bug report, fit for strict JSON, without names of users and home folders."""
        content = {
            "schema_version": SCHEMA_VERSION,
            "tfseg": __version__,
            "seconds": self.seconds,
            "findings": [finding._asdict() for finding in self.findings],
            "measured": self.measured,
            "settings": dataclasses.asdict(self.config),
            "config": self.fragment,
        }
        home = os.path.expanduser("~")  # noqa: PTH111, which raises nothing where there is no home
        return scrub(content, home, Path(home).name)


class Report:
    """Findings, logged as they come, and numbers.

    Args:
        config: file of the settings to examine.
        seconds: that a part may take.
        log: called with each finding as text.
    """

    def __init__(self, config: Path, seconds: float, log: Callable[[str], object]):
        self.config, self.seconds, self.log = config, seconds, log
        self.findings: list[Finding] = []
        self.measured: dict = {}

    def add(self, *findings: Finding) -> None:
        self.findings += findings
        for finding in findings:
            self.log(str(finding))

    def run(self, part: str) -> bool:
        """Runs a part; returns whether it came to its end."""
        outcome = start_part(part, str(self.config), self.seconds)
        for item in outcome.items:
            if "finding" in item:
                self.add(Finding(*item["finding"]))
            else:
                item.pop("began", None)
                self.measured.setdefault("steps", {}).update(item.pop("steps", {}))
                self.measured.update(item)
        if outcome.failure:
            self.add(outcome.failure)
            self.measured.setdefault("errors", {})[part] = outcome.errors.splitlines()[-30:]
        return outcome.failure is None


def examine_machine(
    config: str | Path | None = None,
    *,
    full: bool = False,
    size: str | None = None,
    records: str | Path | None = None,
    log: Callable[[str], object] = lambda line: None,
) -> Examination:
    """Examines this machine, which takes a minute or more.

    Args:
        config: file of a training to examine; None: a small network.
        full: without a config, EfficientNetB3 at 320x320 instead.
        size: HEIGHTxWIDTH of the images; None: as the config has it.
        records: folder of records to measure the input with; None: those of the config, or synthetic images where
            there are none.
        log: called with each line as it is found.

    Raises:
        ValueError: a setting is wrong, or the manifest of `records` is damaged.
        OSError: the config cannot be read, or `records` is no folder of records.
    """
    start = time.monotonic()
    if records:
        from tfseg.records.manifest import read_manifest  # here: --help answers without NumPy

        read_manifest(records)  # a wrong folder is an error at once, not a finding after minutes
    with tempfile.TemporaryDirectory(prefix="tfseg-doctor-") as name:
        folder = Path(name)
        settings, synthetic = choose_config(folder, config, full=full, size=size, records=records)
        save_config(settings, folder / "config.yaml")
        report = Report(folder / "config.yaml", FULL if full or config else QUICK, log)
        network = f"{settings.model.encoder}, {settings.data.size}, batch {settings.train.batch_size}"
        images = "synthetic images" if synthetic else settings.data.records
        log(f"tfseg {__version__}; measured with {network}, {images}")
        fragment = examine(settings, report, synthetic)
    return Examination(report.findings, report.measured, settings, fragment, time.monotonic() - start)


def choose_config(
    folder: Path, path: str | Path | None, *, full: bool, size: str | None, records: str | Path | None
) -> tuple[Config, bool]:
    """Makes the settings to examine, and says whether their records are to be synthetic, in a folder; see above."""
    config = load_config(path) if path else make_config(folder, full)
    place = str(records or config.data.records)
    synthetic = not records and not Path(place, "manifest.json").exists()
    place = str(folder / "records") if synthetic else place
    loss = dataclasses.replace(config.loss, class_weights=None) if synthetic else config.loss  # no pixels to count yet
    data = dataclasses.replace(config.data, records=place, size=size or config.data.size)
    return dataclasses.replace(config, data=data, loss=loss), synthetic


def make_config(folder: Path, full: bool) -> Config:
    """Makes the settings of a small network, or of a full one, with all that takes time in a training."""
    return Config(
        Data(str(folder / "none"), size="320x320" if full else "128x128"),
        run_dir="none",
        augment=Augment(flip=0.5, rotation=10.0, brightness=0.1, contrast=0.2, saturation=0.2, hue=10.0),
        model=Model("efficientnetb3" if full else "tiny", None),
        loss=Loss(1.0, 1.0),
        optimizer=Optimizer("adamw", 1e-3, "cosine", weight_decay=0.01),
    )


def examine(config: Config, report: Report, synthetic: bool) -> str:
    """Makes all checks; returns the settings that it found best, nothing if it could not tell."""
    from tfseg.device import read_memory_sizes  # here: --help answers without NumPy

    machine, packages, memory = find_machine(), find_packages(), read_memory_sizes()
    report.measured |= {"machine": machine._asdict(), "packages": packages, "memory": memory}
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    report.add(*describe_machine(machine, memory), *check_versions(machine, packages, backend))
    fragment = examine_training(config, report, synthetic, machine, packages)
    if machine.is_apple_silicon:
        backend = report.measured.get("backend", backend)
        kind = report.measured.get("kind", [None])[0]
        report.add(describe_road(machine, find_processor(), backend, packages, kind))
        report.add(recommend_road(machine, backend, packages, report.findings, kind))
    return fragment


def examine_training(
    config: Config, report: Report, synthetic: bool, machine: Machine, packages: dict[str, str]
) -> str:
    """Checks devices, steps and input; returns as `examine` does."""
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
    kind = report.measured["kind"][0]
    pointless = {
        PLAIN: not own,
        DOUBLE: own and kind == "cpu",  # any batch keeps a CPU busy
        "mixed_bfloat16": own and kind == "metal" and lacks_bfloat16(machine, packages),
    }
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
