"""tfseg doctor [--full] [--config configs/X.yaml] [--records DIR] [--model DIR] [--json [FILE]]

Examines a machine before a training: whether the packages go together, what devices there are, whether they compute
the right numbers, how fast the train step is in each precision, and whether the input keeps up. Ends with settings for
a training here. What touches the device runs in processes of its own, so a crash is a finding like the others. Ends
with 1 if a check failed. With --model, examines that alone: which runtime computes it fastest here.

--json writes an object, without names of users and home folders: schema_version, 1; tfseg, its version; findings, a
list of objects with check, state (ok, warning or failed), text and remedy (may be empty); measured, the numbers;
settings, those it was measured with; config, the YAML that it ends with; seconds.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tfseg import __version__
from tfseg.diagnostics.checks import FAILED, summarise
from tfseg.diagnostics.doctor import SCHEMA_VERSION, examine_machine
from tfseg.io import command


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=command.program("doctor"),
        description=__doc__.split("\n\n", 1)[1] if __doc__ else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--full", action="store_true", help="EfficientNetB3 at 320x320 instead of a small network")
    parser.add_argument("--config", metavar="FILE.yaml", help="examine the training that this file describes")
    parser.add_argument("--size", metavar="HxW", help="HEIGHTxWIDTH of the images")
    parser.add_argument(
        "--records", metavar="DIR", help="records to measure the input with; synthetic images if not given"
    )
    parser.add_argument(
        "--model", metavar="DIR", help="exported model, or run, whose runtimes are timed; nothing else is examined then"
    )
    parser.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="everything for a bug report; without a FILE, or as -, to stdout",
    )
    options = parser.parse_args(arguments)
    show = partial(print, file=sys.stderr if options.json == "-" else sys.stdout, flush=True)
    if options.model:
        examine_one_model(parser, options, show)
    found = examine_machine(options.config, full=options.full, size=options.size, records=options.records, log=show)
    if found.fragment:
        show(f"\n# for a training here, as {command.program('train')} --config takes it\n{found.fragment}")
    show(f"{summarise(found.findings)}; {found.seconds:.0f} s")
    if options.json:
        write_json(found.to_dict(), options.json)
    sys.exit(1 if found.failed else 0)


def examine_one_model(parser: argparse.ArgumentParser, options: argparse.Namespace, show: Callable) -> NoReturn:
    """Examines --model, and ends."""
    for name in ("full", "config", "size", "records"):
        if getattr(options, name):
            parser.error(f"--{name} is of a training; give it without --model")
    from tfseg.diagnostics.runtimes import examine_model  # here: --help answers without NumPy

    findings = examine_model(options.model, show)
    show(summarise(findings))
    if options.json:
        content = {"schema_version": SCHEMA_VERSION, "tfseg": __version__, "model": Path(options.model).name}
        write_json({**content, "findings": [finding._asdict() for finding in findings]}, options.json)
    sys.exit(any(finding.state == FAILED for finding in findings))


def write_json(content: dict, place: str) -> None:
    """Writes a report to a file or, as -, to stdout."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    if place == "-":
        sys.stdout.write(text)
    else:
        Path(place).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    command.run(main)
