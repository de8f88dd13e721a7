"""Says which operators of a .tflite file would leave an accelerator, without the accelerator.

    tfseg check_delegate --target edgetpu models/city/model_int8.tflite
    tfseg check_delegate --target gpu models/city/model_float16.tflite --json placed.json

Compares operators, their types, versions, shapes and options with what the delegate's makers published, and parts the
graph as LiteRT does. Ends with 0 if nothing leaves, with 1 if something does, and with 2 if the file cannot be judged.
Compilers and drivers may leave out more; nothing is said of speed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.diagnostics.delegates.check import TARGETS, check_delegate
from tfseg.io import command
from tfseg.io.atomic import write_json
from tfseg.visualization.tables import table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=command.program("check_delegate"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="the file")
    parser.add_argument("--target", choices=TARGETS, required=True, help="the accelerator's delegate")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for every operator and the sources, as JSON")
    options = parser.parse_args(arguments)
    try:
        report = check_delegate(options.model, options.target)
    except (ValueError, OSError) as error:
        parser.error(str(error))  # ends with 2: 1 says that something leaves
    print(table(report.rows()))
    print("\n".join(["", *report.lines()]))
    try:
        if options.json:
            write_json(report.to_dict(), options.json)
    except OSError as error:
        parser.error(f"--json: {error}")
    sys.exit(0 if report.passes else 1)


if __name__ == "__main__":
    command.run(main)
