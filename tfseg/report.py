"""A report of a run: report.html, a page that needs no other file, and its figures as PNGs.

    tfseg report --run runs/city

Works on what the run left on disk, and on what `evaluate` found on a split, which runs first if that is missing or
older than the SavedModel.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.evaluation.run_report import report_run
from tfseg.io import command, renamed
from tfseg.io.escaping import printable
from tfseg.visualization.figures import COLUMNS
from tfseg.visualization.tables import evaluation_tables


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=command.program("report"),
        description="Writes report.html into a run folder: scores, confusion matrix, curves, images, settings; and "
        "its figures into the folder report there. It shows what evaluate found, which runs first if need be.",
    )
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg train")
    parser.add_argument("--split", help="split to show (default: the run's validation split)")
    parser.add_argument("--samples", type=int, default=4, metavar="N", help="images per panel (default: 4)")
    parser.add_argument(
        "--columns",
        nargs="+",
        type=read_column,
        choices=COLUMNS,
        default=COLUMNS,
        help="columns of a panel (default: all)",
    )
    options = parser.parse_args(arguments)
    if options.samples < 1:
        raise ValueError(f"--samples must be at least 1, got {options.samples}")
    report = report_run(options.run, options.split, options.samples, options.columns)
    if report.evaluation:
        for note in report.evaluation.notes:
            print(printable(note), file=sys.stderr)
        print(evaluation_tables(report.evaluation.content))
    print("written: " + ", ".join(map(printable, [report.page, *report.figures.values()])))


def read_column(name: str) -> str:
    """Takes a column under its old name as well, with a warning."""
    now = renamed.COLUMNS.get(name, name)
    if now != name:
        print(
            f"warning: --columns {name} is now called {now}; the old name goes with the next release", file=sys.stderr
        )
    return now


if __name__ == "__main__":
    command.run(main)
