"""Looks at a data set before a training: counts, sizes, colours, histograms, an example, class weights.

    python -m tfseg.explore --root data/sample-city/raw --out data/sample-city/look
    python -m tfseg.explore --records data/sample-city/records --out data/sample-city/look
    python -m tfseg.explore --images data/mine/photos --masks data/mine/labels --label-map map.yaml --out look

Writes index.html, a page that needs no other file, with its figures beside it as classes.png, labels.png, rows.png and
example.png, and all numbers as statistics.json. Those of an earlier run are replaced, other files are left alone.

Of raw data, page and output also say what a conversion would do: layout, splits, how masks are read, the label map,
given or proposed, what is bad, and the command. Nothing is refused for a bad file here.
"""

import argparse
import os
import sys

from tfseg.conversion.flags import add_reading_flags, add_source_flags, is_any_given, read_source_flags
from tfseg.exploration.explorer import explore_dataset
from tfseg.io import command
from tfseg.io.escaping import printable


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("explore"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
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
    add_reading_flags(parser)
    add_source_flags(parser)
    options = parser.parse_args(arguments)
    if not (options.root or options.records or options.images):
        parser.error("one of the arguments --root --records is required, or --images with --masks")
    if options.records and (options.label_map or options.coarse):
        parser.error("--label-map and --coarse are for --root; records hold their own")
    if options.records and (options.mask_values != "auto" or options.color_tolerance):
        parser.error("--mask-values and --color-tolerance are for raw masks; records hold class ids")
    if options.records and is_any_given(options):
        parser.error("where raw data lie and how they are split is not asked of records, which hold their splits")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Looks at what the command line says, writes what was found and prints a short table of it."""
    options = parse_arguments(arguments)
    found = explore_dataset(
        options.root,
        options.out,
        records=options.records,
        label_map=options.label_map,
        coarse=options.coarse,
        splits=options.splits,
        limit=options.limit,
        workers=options.workers,
        mask_values=options.mask_values,
        color_tolerance=options.color_tolerance,
        **read_source_flags(options),
    )
    print(found.summary)
    print("".join(f"{line}\n" for line in found.preview), end="")
    for note in found.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    print(f"written: {printable(found.files[0])}")


if __name__ == "__main__":
    command.run(main)
