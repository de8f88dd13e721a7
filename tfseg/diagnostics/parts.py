"""Parts of an examination, each in a process of its own, so that a crash is a finding like the others.

    python -m tfseg.diagnostics.parts PART CONFIG

runs one part here and writes what it finds to stdout, for `run_child`.
"""

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tfseg.config.parse import load_config
from tfseg.config.schema import Config
from tfseg.diagnostics.checks import DOUBLE, FAILED, VARIANTS, WARNING, Finding, find_remedy
from tfseg.io import command

DONE = {"done": True}  # the last that a part says; how its process ends then is of no account
MARK = "tfseg.doctor: "  # begins what a part says to its parent; libraries print on stdout too


@dataclass(frozen=True)
class Outcome:
    """What came of a part.

    Attributes:
        items: what it said, as of `run_part`.
        failure: set if its process did not end well.
        errors: what its process wrote to stderr.
    """

    items: list[dict]
    failure: Finding | None
    errors: str


def start_part(part: str, config: str, seconds: float) -> Outcome:
    """Runs a part, with the settings in a file, in a process of its own, for so many seconds at most."""
    return run_child(part, [sys.executable, "-m", "tfseg.diagnostics.parts", part, config], seconds)


def run_child(part: str, arguments: Sequence[str], seconds: float) -> Outcome:
    """Runs the command of a part."""
    # Ctrl-C is for this process alone, which then ends the other.
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True
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
        return Outcome(items[:-1], None, errors)
    ending = ending or "ended before it was done"
    began = next((item["began"] for item in reversed(items) if "began" in item), part)
    return Outcome(items, judge_end(part, began, ending), errors)


def describe_end(code: int, errors: str) -> str:
    """Words how a process ended; nothing if it ended well."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code == 0:
        return ""
    lines = [line.strip().removeprefix("parts: error: ") for line in errors.splitlines() if line.strip()]
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
    from tfseg.diagnostics import device, probes, speed

    for item in itertools.chain((device.PARTS | probes.PARTS | speed.PARTS)[part](config), [DONE]):
        say({"finding": list(item)} if isinstance(item, Finding) else item)


def say(message: dict) -> None:
    """Writes a message to the parent."""
    print(f"{MARK}{json.dumps(message)}", flush=True)


def main() -> None:
    part, config = sys.argv[1:]
    run_part(part, load_config(config))


if __name__ == "__main__":
    command.run(main)
