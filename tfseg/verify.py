"""Checks that TFRecord shards are whole and hold what their manifest says.

    python -m tfseg.verify data/records/cityscapes
    python -m tfseg.verify data/records/cityscapes --quick

Every byte, record, image and mask is read; --quick looks at the manifest, the names and the sizes alone.
Each fault is a line that names file and record. The exit code is 1 if there are any.

Records of strangers can be checked: whatever they hold, it is read within bounds. A manifest takes at most 2 GB, one
of 100,000 images 0.1 GB. A worker holds one record at a time: its bytes, 2 GB at most, and 16 bytes for each pixel, of
which a record has no more than it says, than 2**30, and than 1024 for each of its bytes. Of many faults of a kind the
first 10,000 are printed, of a shard 1,000.
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
