"""Looks at a data set before a training: counts, sizes, colours, histograms, an example, class weights.

    python -m tfseg.explore --root data/sample-city/raw --out data/sample-city/look
    python -m tfseg.explore --records data/sample-city/records --out data/sample-city/look

Writes index.html, a page that needs no other file, with its figures beside it as classes.png, labels.png, rows.png and
example.png, and all numbers as statistics.json. Those of an earlier run are replaced, other files are left alone.
"""

import argparse
import os
import sys

from tfseg.conversion import reader
from tfseg.exploration import page
from tfseg.exploration import survey as explore
from tfseg.io import command


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root", metavar="DIR", help="folder of a raw data set")
    source.add_argument("--records", metavar="DIR", help="folder of records, made by tools/make_tfrecords.py")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into")
    parser.add_argument(
        "--label-map", metavar="MAP", help="with --root, as of make_tfrecords.py: categories, train_ids or a YAML file"
    )
    parser.add_argument(
        "--coarse", action="store_true", help="with --root, look at Cityscapes' coarse masks, in gtCoarse/"
    )
    parser.add_argument(
        "--splits", nargs="+", metavar="NAME", help="splits to look at, such as train val (default: all that are there)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="at most so many pictures of each split, evenly spread")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at work (default: one a core)"
    )
    options = parser.parse_args(arguments)
    if options.records and (options.label_map or options.coarse):
        parser.error("--label-map and --coarse are for --root; records hold their own")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Looks at what the command line says, writes what was found and prints a short table of it."""
    options = parse_arguments(arguments)
    if options.root:
        data_set = reader.open_raw(options.root, options.splits, options.label_map, options.coarse)
    else:
        data_set = reader.open_records(options.records, options.splits)
    page.check_out(options.out)
    survey = explore.survey(data_set, options.limit, options.workers)
    written = page.write(survey, options.out)
    print(page.make_summary(survey))
    for note in page.notes(survey):
        print(f"note: {note}", file=sys.stderr)
    print(f"written: {written[0]}")


if __name__ == "__main__":
    command.run(main)
