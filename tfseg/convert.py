"""Converts a raw data set to TFRecord shards with a manifest, what every training starts from.

    python -m tfseg.convert --root data/cityscapes --out data/records/cityscapes --size 512x1024
    python -m tfseg.convert --root data/mine --label-map data/mine/map.yaml --out data/records/mine
    python -m tfseg.convert --images photos --masks labels --val-share 0.1 --label-map map.yaml --out data/records/mine

The first form is for the Cityscapes tree (leftImg8bit/ and gtFine/, or the same files under images/ and masks/), the
second for any images/<split>/ with masks/<split>/ and a label map, lines of `mask value: class`; the trees of
mmsegmentation, ADE20K, BDD100K, CamVid, COCO-Stuff, IDD, KITTI, Mapillary Vistas, Pascal VOC, CVAT, Roboflow and
Supervisely are recognised too. The third is for two folders of any names and depth, with or without train/ and val/.
Where a label map is needed and none is given, one is proposed by what all masks hold: printed, and written beside --out
as NAME.label_map.yaml, to be edited; the exit status is 3 then. With --yes the conversion continues with it.
--root and --out may also be places in a store, such as gs://bucket/folder, with pip install 'tf-segmentation[cloud]'.
What can be read in two ways is decided by the files and reported below the closing table, as are files that are not
taken. Files that are bad or contradict each other are refused, all at once; with --skip-bad the bad ones are left out
and listed. The output is whole or not there. Interrupted conversions resume; a finished one changes nothing.

--runner makes the same files with Apache Beam, on many machines (pip install 'tf-segmentation[beam]'); unknown options
are then for Beam. All machines must have tfseg and reach --root and --out, in a store or by one path on a shared disk:

    ... --runner DataflowRunner --project P --region R --temp_location gs://bucket/tmp --sdk_container_image IMAGE
    ... --runner FlinkRunner --flink_master host:8081 --environment_type DOCKER --environment_config IMAGE
    ... --runner DirectRunner   tries the pipeline in this one process
"""

import argparse
import functools
import os
import shlex
import sys
from pathlib import Path

from tfseg.conversion import beam, flags
from tfseg.conversion.converter import convert_dataset
from tfseg.conversion.proposing.proposal import Proposal
from tfseg.conversion.proposing.proposed_file import proposal_notes, proposal_rows
from tfseg.conversion.reading.faults import BadFilesError
from tfseg.conversion.summary import fault_lines, summary_notes, summary_rows
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.records.manifest import Manifest
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
    add("--root", help="folder of the raw data set, or its place in a store")
    add("--out", required=True, help="folder to make, for shards and manifest.json; also a place in a store")
    add("--coarse", action="store_true", help="take the coarse masks of Cityscapes, in gtCoarse/")
    flags.add_label_map_flags(parser)
    flags.add_storage_flags(parser)
    add("--splits", nargs="+", help="splits to convert, such as train val (default: all that are there)")
    add("--workers", type=int, help="processes at work (default: one per core); not with --runner")
    flags.add_output_flags(parser)
    add("--runner", help="let Apache Beam do it: DataflowRunner, FlinkRunner, SparkRunner, DirectRunner")
    flags.add_source_flags(parser)
    options, options.beam_arguments = parser.parse_known_args(arguments)
    if not (options.root or options.images):
        parser.error("the following arguments are required: --root, or --images and --masks")
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
            workers=options.workers if options.workers is not None else os.cpu_count() or 1,
            limit=options.limit,
            overwrite=options.overwrite,
            update=options.update,
            skip_bad=options.skip_bad,
            on_proposal=functools.partial(show_proposal, arguments, options.yes),
            write_parts=beam.make_writer(options.runner, options.beam_arguments) if options.runner else None,
            **flags.read_storage_flags(options),
            **flags.read_source_flags(options),
        )
    except BadFilesError as error:
        *lines, last = fault_lines(error)
        for line in lines:
            print(f"{command.called()}: {printable(line)}", file=sys.stderr)
        raise ValueError(last) from None
    print(make_table(records.manifest))


def show_proposal(arguments: list[str] | None, goes_on: bool, proposal: Proposal, path: Path) -> None:
    """Prints a proposed label map; unless the conversion continues, it ends with the next command and exit status 3."""
    lines = [proposal.heading, *plain_table(proposal_rows(proposal)), *proposal_notes(proposal), f"label map {path}"]
    print("\n".join(map(printable, lines)))
    if not goes_on:
        words = [*(sys.argv[1:] if arguments is None else arguments), "--label-map", str(path)]
        print(f"look at it and edit it, then: {command.program('convert')} {printable(shlex.join(words))}")
        sys.exit(3)


def make_table(manifest: Manifest) -> str:
    """Makes the closing table: the splits, then what was decided. Many classes take a row each."""
    return "\n".join(map(printable, [*plain_table(summary_rows(manifest)), *summary_notes(manifest)]))


if __name__ == "__main__":
    command.run(main)
