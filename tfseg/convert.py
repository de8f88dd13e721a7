"""Converts a raw data set to TFRecord shards with a manifest, what every training starts from.

    python tools/make_tfrecords.py --root data/cityscapes --out data/records/cityscapes --size 512x1024
    python tools/make_tfrecords.py --root data/mine --label-map data/mine/map.yaml --out data/records/mine

The first form is for the Cityscapes tree (leftImg8bit/ and gtFine/, or the same files under images/ and masks/), the
second for any images/<split>/ with masks/<split>/ of the same names and a label map, lines of `mask value: class`.
--root and --out may also be places in a store, such as gs://bucket/folder, with pip install 'tf-segmentation[cloud]'.
What can be read in two ways is decided by the files and told below the closing table, as are files that are not taken;
files that contradict each other are refused, all at once.
The output is whole or not there. A conversion that was interrupted goes on where it stopped, and one that is finished
changes nothing.

--runner makes the same files with Apache Beam, on many machines (pip install 'tf-segmentation[beam]'); unknown options
are then for Beam. All machines must have tfseg and reach --root and --out, in a store or by one full path on a disk
they share:

    ... --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp --sdk_container_image IMAGE
    ... --runner FlinkRunner --flink_master host:8081 --environment_type DOCKER --environment_config IMAGE
    ... --runner DirectRunner   tries the pipeline in this one process
"""

import argparse
import os
import sys

from tfseg.conversion import beam, converter, sources
from tfseg.io import command
from tfseg.records import records


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; what is for Beam is left as `beam_arguments`."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --label is an option of Beam, not short for --label-map
    )
    parser.add_argument("--root", required=True, help="folder of the raw data set, or its place in a store")
    parser.add_argument(
        "--out", required=True, help="folder to make, for shards and manifest.json; also a place in a store"
    )
    parser.add_argument("--coarse", action="store_true", help="take the coarse masks of Cityscapes, in gtCoarse/")
    parser.add_argument(
        "--label-map",
        metavar="MAP",
        help="classes to learn: categories (8, default) or train_ids (19) of Cityscapes, or a YAML file of "
        "`mask value: class` lines, which other data sets need; the classes are the 8 categories unless the file has "
        "an entry `classes` of `name: [red, green, blue]` lines; void, which counts nowhere, is put before them if it "
        "is not their first",
    )
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
        "--mask-resize",
        default="nearest",
        choices=converter.MASK_RESIZES,
        help="a smaller mask takes the value in the middle of each cell (default) or the one that covers most of it",
    )
    parser.add_argument(
        "--exif",
        default="rotate",
        choices=converter.EXIF_MODES,
        help="turn pictures and masks upright as their EXIF data say (default), or take both as they are stored: for "
        "masks that were drawn on pictures that a program had not turned",
    )
    parser.add_argument(
        "--splits", nargs="+", help="splits to convert, such as train val (default: all that are there)"
    )
    parser.add_argument("--workers", type=int, help="processes at work (default: one a core); not with --runner")
    parser.add_argument("--limit", type=int, help="at most so many pictures of each split, to try things out")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace records that are there, once the new are whole"
    )
    parser.add_argument(
        "--runner", help="let Apache Beam do it: DataflowRunner, FlinkRunner, SparkRunner, DirectRunner"
    )
    options, options.beam_arguments = parser.parse_known_args(arguments)
    if options.beam_arguments and not options.runner:
        parser.error(f"unrecognized arguments: {' '.join(options.beam_arguments)}")
    if options.workers is not None and options.runner:
        parser.error("--workers counts processes of this machine; with --runner, Beam has options for its workers")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Converts what the command line says and prints a table of it."""
    options = parse_arguments(arguments)
    size = None if options.size == "original" else command.parse_size(options.size)
    write_parts = beam.make_writer(options.runner, options.beam_arguments) if options.runner else None
    source = sources.open_source(options.root, options.splits, options.label_map, options.coarse)
    for warning in source.warnings:
        print(f"make_tfrecords: warning: {warning}", file=sys.stderr)
    try:
        manifest = converter.convert(
            source,
            options.out,
            size=size,
            codec=options.codec,
            quality=options.quality,
            mask_resize=options.mask_resize,
            exif=options.exif,
            workers=options.workers if options.workers is not None else os.cpu_count() or 1,
            limit=options.limit,
            overwrite=options.overwrite,
            write_parts=write_parts,
        )
    except converter.BadFilesError as error:
        if error.count == 1:
            raise
        for fault in error.faults:
            print(f"make_tfrecords: {fault}", file=sys.stderr)
        more = f", of which the first {len(error.faults)} are" if error.count > len(error.faults) else ","
        raise ValueError(f"{error.count} files cannot be converted{more} named above") from None
    print(converter.summarise(manifest))


if __name__ == "__main__":
    command.run(main)
