"""Converts a raw data set to TFRecord shards with a manifest, what every training starts from.

    python -m tfseg.convert --root data/cityscapes --out data/records/cityscapes --size 512x1024
    python -m tfseg.convert --root data/mine --label-map data/mine/map.yaml --out data/records/mine

The first form is for the Cityscapes tree (leftImg8bit/ and gtFine/, or the same files under images/ and masks/), the
second for any images/<split>/ with masks/<split>/ of the same names and a label map, lines of `mask value: class`.
--root and --out may also be places in a store, such as gs://bucket/folder, with pip install 'tf-segmentation[cloud]'.
What can be read in two ways is decided by the files and reported below the closing table, as are files that are not
taken; files that contradict each other are refused, all at once.
The output is whole or not there. Interrupted conversions resume; a finished one changes nothing.

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

from tfseg.conversion import beam
from tfseg.conversion.converter import convert_dataset
from tfseg.conversion.encoding import EXIF_MODES, MASK_RESIZES
from tfseg.conversion.shards import BadFilesError
from tfseg.conversion.summary import summary_notes, summary_rows
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.records.manifest import Manifest
from tfseg.records.records import CODECS
from tfseg.visualization.tables import plain_table


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; what is for Beam is left as `beam_arguments`."""
    parser = argparse.ArgumentParser(
        prog=command.program("convert"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --label is an option of Beam, not short for --label-map
    )
    add = parser.add_argument
    add("--root", required=True, help="folder of the raw data set, or its place in a store")
    add("--out", required=True, help="folder to make, for shards and manifest.json; also a place in a store")
    add("--coarse", action="store_true", help="take the coarse masks of Cityscapes, in gtCoarse/")
    map_help = "classes to learn: categories (8, default) or train_ids (19) of Cityscapes, or a YAML file of "
    map_help += "`mask value: class` lines, which other data sets need; the classes are the 8 categories unless the "
    map_help += "file has an entry `classes` of `name: [red, green, blue]` lines; void, which counts nowhere, is put "
    map_help += "before them if it is not their first"
    add("--label-map", metavar="MAP", help=map_help)
    size_help = "HEIGHTxWIDTH that every image is resized to, such as 512x1024; original: as it is (default)"
    add("--size", default="original", help=size_help)
    codec_help = "of the stored images: jpeg is small (default), png exact, raw exact and large with nothing to decode"
    add("--codec", default="jpeg", choices=CODECS, help=codec_help)
    add("--quality", type=int, default=95, help="of JPEG, 1 to 100 (default 95)")
    resize_help = (
        "a smaller mask takes the value in the middle of each cell (default) or the one that covers most of it"
    )
    add("--mask-resize", default="nearest", choices=MASK_RESIZES, help=resize_help)
    exif_help = "turn images and masks upright as their EXIF data say (default), or take both as they are stored: for "
    exif_help += "masks that were drawn on images that a program had not turned"
    add("--exif", default="rotate", choices=EXIF_MODES, help=exif_help)
    add("--splits", nargs="+", help="splits to convert, such as train val (default: all that are there)")
    add("--workers", type=int, help="processes at work (default: one per core); not with --runner")
    add("--limit", type=int, help="at most so many images of each split, to try things out")
    add("--overwrite", action="store_true", help="replace records that are there, once the new are whole")
    add("--runner", help="let Apache Beam do it: DataflowRunner, FlinkRunner, SparkRunner, DirectRunner")
    options, options.beam_arguments = parser.parse_known_args(arguments)
    if options.beam_arguments and not options.runner:
        parser.error(f"unrecognized arguments: {' '.join(options.beam_arguments)}")
    if options.workers is not None and options.runner:
        parser.error("--workers counts processes of this machine; with --runner, Beam has options for its workers")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Converts what the command line says and prints a table of it."""
    options = parse_arguments(arguments)
    try:
        records = convert_dataset(
            options.root,
            options.out,
            splits=options.splits,
            label_map=options.label_map,
            coarse=options.coarse,
            warn=lambda text: print(f"{command.called()}: warning: {printable(text)}", file=sys.stderr),
            size=None if options.size == "original" else command.parse_size(options.size),
            codec=options.codec,
            quality=options.quality,
            mask_resize=options.mask_resize,
            exif=options.exif,
            workers=options.workers if options.workers is not None else os.cpu_count() or 1,
            limit=options.limit,
            overwrite=options.overwrite,
            write_parts=beam.make_writer(options.runner, options.beam_arguments) if options.runner else None,
        )
    except BadFilesError as error:
        if error.count == 1:
            raise
        for fault in error.faults:
            print(f"{command.called()}: {printable(fault)}", file=sys.stderr)
        more = f", of which the first {len(error.faults)} are" if error.count > len(error.faults) else ","
        raise ValueError(f"{error.count} files cannot be converted{more} named above") from None
    print(make_table(records.manifest))


def make_table(manifest: Manifest) -> str:
    """Makes the closing table: the splits, then what was decided. Many classes take a row each."""
    return "\n".join(map(printable, [*plain_table(summary_rows(manifest)), *summary_notes(manifest)]))


if __name__ == "__main__":
    command.run(main)
