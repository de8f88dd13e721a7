"""Checks that TFRecord shards are whole and hold what their manifest says.

    python -m tfseg.verify data/records/cityscapes
    python -m tfseg.verify data/records/cityscapes --quick

Every byte, record, picture and mask is read; --quick looks at the manifest, the names and the sizes alone.
Each fault is a line that names file and record. The exit code is 1 if there are any.
"""

import argparse
import os
import sys
from collections.abc import Sized

from tfseg.io import command
from tfseg.io.paths import open_path
from tfseg.records import verifier
from tfseg.records.manifest import MANIFEST_NAME, parse_manifest
from tfseg.records.verifier import Fault


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", metavar="DIR", help="folder of shards and manifest.json")
    parser.add_argument("--quick", action="store_true", help="do not read the shards")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes at work (default: one a core)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Checks what the command line says, prints all faults and ends with exit code 1 if there are any."""
    options = parse_arguments(arguments)
    faults = verifier.find_faults(options.records, options.quick, options.workers)
    print(*faults, summarise(options.records, faults, options.quick), sep="\n")
    if faults:
        sys.exit(1)


def summarise(directory: str, faults: list[Fault], quick: bool = False) -> str:
    """Makes the last line: how many faults in how many shards and what to do, or that all is well."""
    number = count(faults, "fault")
    try:
        splits = parse_manifest(open_path(directory) / MANIFEST_NAME).splits.values()
    except (ValueError, OSError):
        return f"{number}; {verifier.ADVICE}"
    shards = {shard.name for split in splits for shard in split.shards}
    if not faults:
        pictures = count([id for split in splits for id in split.ids], "picture")
        sound = "names and sizes" if quick else "all"
        return f"{directory}: {pictures} in {count(shards, 'shard')}, {sound} as the manifest says"
    names = {fault.path.name for fault in faults}
    places = []
    if MANIFEST_NAME in names:
        places.append(MANIFEST_NAME)
    if names & shards:
        places.append(f"{len(names & shards)} of {count(shards, 'shard')}")
    if others := names - shards - {MANIFEST_NAME}:
        places.append(count(others, "other file"))
    return f"{number} in {' and '.join(places)}; {verifier.ADVICE}"


def count(items: Sized, word: str) -> str:
    """Counts things in words: "1 shard", "3,475 pictures"."""
    return f"{len(items):,} {word}{'' if len(items) == 1 else 's'}"


if __name__ == "__main__":
    command.run(main)
