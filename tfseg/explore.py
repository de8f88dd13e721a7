"""Looks at a data set before a training: counts, sizes, colours, histograms, an example, class weights.

    python -m tfseg.explore --root data/sample-city/raw --out data/sample-city/look
    python -m tfseg.explore --records data/sample-city/records --out data/sample-city/look

Writes index.html, a page that needs no other file, with its figures beside it as classes.png, labels.png, rows.png and
example.png, and all numbers as statistics.json. Those of an earlier run are replaced, other files are left alone.
"""

import argparse
import os
import sys

from tfseg.exploration.explorer import explore_dataset
from tfseg.io import command


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("explore"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", metavar="DIR", help="folder of a raw data set")
    source.add_argument("--records", metavar="DIR", help=f"folder of records, made by {command.program('convert')}")
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder to write into")
    map_help = f"with --root, as of {command.program('convert')}: categories, train_ids or a YAML file"
    add("--label-map", metavar="MAP", help=map_help)
    add("--coarse", action="store_true", help="with --root, look at Cityscapes' coarse masks, in gtCoarse/")
    splits_help = "splits to look at, such as train val (default: all that are there)"
    add("--splits", nargs="+", metavar="NAME", help=splits_help)
    add("--limit", type=int, metavar="N", help="at most so many images of each split, evenly spread")
    workers_help = "processes at work (default: one per core)"
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help=workers_help)
    options = parser.parse_args(arguments)
    if options.records and (options.label_map or options.coarse):
        parser.error("--label-map and --coarse are for --root; records hold their own")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Looks at what the command line says, writes what was found and prints a short table of it."""
    options = parse_arguments(arguments)
    found = explore_dataset(**vars(options))
    print(found.summary)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written: {found.files[0]}")


if __name__ == "__main__":
    command.run(main)
