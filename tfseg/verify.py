"""Checks that TFRecord shards are whole and hold what their manifest says.

    python -m tfseg.verify data/records/cityscapes
    python -m tfseg.verify data/records/cityscapes --quick

Every byte, record, image and mask is read; --quick looks at the manifest, the names and the sizes alone.
Each fault is a line that names file and record. The exit code is 1 if there are any.
"""

import argparse
import os
import sys

from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.records.verifier import find_faults, summarise_faults


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("verify"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", metavar="DIR", help="folder of shards and manifest.json")
    parser.add_argument("--quick", action="store_true", help="do not read the shards")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes at work (default: one per core)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Checks what the command line says, prints all faults and ends with exit code 1 if there are any."""
    options = parse_arguments(arguments)
    faults = find_faults(options.records, options.quick, options.workers)
    print(*faults, printable(summarise_faults(options.records, faults, options.quick)), sep="\n")
    if faults:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
