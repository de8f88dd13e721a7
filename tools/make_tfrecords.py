"""Converts a raw data set to TFRecord shards with a manifest, what every training starts from.

    python tools/make_tfrecords.py --root data/cityscapes --out data/records/cityscapes --size 512x1024
    python tools/make_tfrecords.py --root data/mine --label-map data/mine/map.yaml --out data/records/mine

The first form is for the Cityscapes tree (leftImg8bit/ and gtFine/), the second for any images/<split>/ with
masks/<split>/ of the same names and a label map, lines of `mask value: category`.
The output is whole or not there, and a second run with the same settings changes nothing.
"""

import argparse
import os
import signal
import sys

from tfseg import cli, convert, records, sources


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of the raw data set")
    parser.add_argument("--out", required=True, help="folder to make, for shards and manifest.json")
    parser.add_argument("--label-map", help="YAML file of `mask value: category` lines; not for Cityscapes")
    parser.add_argument(
        "--size",
        default="original",
        help="HEIGHTxWIDTH that every picture is squashed to, such as 512x1024; original: as it is (default)",
    )
    parser.add_argument(
        "--codec",
        default="jpeg",
        choices=records.CODECS,
        help="of the stored pictures: jpeg is small (default), png exact, raw exact and large with nothing to decode",
    )
    parser.add_argument("--quality", type=int, default=95, help="of JPEG, 1 to 100 (default 95)")
    parser.add_argument(
        "--splits", nargs="+", help="splits to convert, such as train val (default: all that are there)"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes at work (default: one a core)"
    )
    parser.add_argument("--limit", type=int, help="at most so many pictures of each split, to try things out")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace records that are there, once the new are whole"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Converts what the command line says and prints a table of it."""
    options = parse_arguments(arguments)
    size = None if options.size == "original" else cli.parse_size(options.size)
    source = sources.open_source(options.root, options.splits, options.label_map)
    manifest = convert.convert(
        source,
        options.out,
        size=size,
        codec=options.codec,
        quality=options.quality,
        workers=options.workers,
        limit=options.limit,
        overwrite=options.overwrite,
    )
    print(convert.summarise(manifest))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends as Ctrl-C does: nothing half-written stays
    cli.run(main)
