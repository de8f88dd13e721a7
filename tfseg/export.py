"""Exports the best epoch of a run: SavedModel + labels.json, all that `tfseg predict` needs, and other formats.

tfseg export --run runs/city --out models/city --formats saved_model litert edgetpu onnx openvino coreml web
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.exporters.exporter import export_run
from tfseg.exporters.formats import FORMATS
from tfseg.exporters.parity import lay_out, list_misses, list_notes
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.io.renamed import accept_renamed


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("export"),
        description="Exports the best epoch of a run as a SavedModel with labels.json, and in other formats, each "
        "compared with the network on images of the validation split.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg train")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of the SavedModel; an earlier export is replaced"
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS,
        default=["saved_model"],
        help="formats to write; saved_model always is, and onnx with web, a page that runs the model in the browser; "
        "edgetpu: a .tflite file in int8 that ends with the logits; mixed: one in int8 but for what loses most by it; "
        "weight_only: one with weights in int8 that computes in floats",
    )
    parser.add_argument(
        "--records", metavar="DIR", help="folder of records (default: those that the run was trained on)"
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="HEIGHTxWIDTH of images for LiteRT, Edge TPU, Core ML and the comparison (default: as in the run's "
        "validation)",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=16,
        metavar="N",
        help="images to compare the formats on (default: 16); 0: no comparison, and no model card",
    )
    parser.add_argument(
        "--calibration",
        type=int,
        default=100,
        metavar="N",
        help="training images that LiteRT's int8 and mixed are calibrated on (default: 100)",
    )
    parser.add_argument(
        "--web-runtime",
        metavar="DIR",
        help="unpacked package onnxruntime-web of npm, for web (default: the one that tfseg was built with)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Exports what the command line names, and prints the table of the comparison."""
    options = make_parser().parse_args(accept_renamed(arguments, "export"))
    if options.images < 0 or options.calibration < 1:
        raise ValueError(
            f"--images must be at least 0 and --calibration at least 1, got {options.images} and {options.calibration}"
        )
    export = export_run(
        options.run,
        options.out,
        options.formats,
        records=options.records,
        size=read_size(options.size),
        images=options.images,
        calibration=options.calibration,
        web_runtime=options.web_runtime,
    )
    if report := export.parity:
        head = f"{len(report['pictures'])} images of {printable(report['split'])} in {printable(report['records'])}"
        print("\n".join([f"{head}:", lay_out(report), *list_notes(report)]))
        for miss in list_misses(report):
            print(f"warning: {printable(miss)}", file=sys.stderr)
    print(f"{', '.join(export.files)} are in {printable(export.directory)}")
    if "web" in options.formats:
        print(f"to see the page: python -m http.server --directory {printable(export.directory / 'web')}")


def read_size(text: str | None) -> tuple[int, int] | None:
    """Reads --size; raises ValueError, which names the flag, for what is no size."""
    try:
        return command.parse_size(text) if text else None
    except ValueError as error:
        raise ValueError(f"--size: {error}") from None


if __name__ == "__main__":
    command.run(main)
