"""tfseg compare BASELINE RUN ... [--out DIR]

Compares runs, or repeats of them with several seeds, that were scored on the same images: scores side by side,
differences to the first with intervals, settings that differ, and their curves in one figure.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.evaluation.comparison import compare_runs
from tfseg.evaluation.comparison_page import check_out, write_comparison
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.metrics.bootstrap import LEVEL
from tfseg.visualization.tables import describe_scores, evaluation_tables


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=command.program("compare"),
        description="Compares runs that were scored on the same images: scores side by side, differences to the "
        f"first with {LEVEL} % intervals by bootstrap over images, settings that differ, and curves in one figure. "
        "Of a repeat, means over its seeds are compared, with intervals over seeds and images together. Runs "
        "without scores, or with scores older than their SavedModel, are scored first.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folders of runs, or of repeats, the first is the baseline"
    )
    parser.add_argument("--split", help="split to compare on (default: the runs' validation split)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for compare.md, compare.json and curves.png (default: none are written)",
    )
    options = parser.parse_args(arguments)
    if options.out:
        check_out(options.out)
    comparison = compare_runs(options.runs, options.split)
    for evaluation in comparison.evaluations:  # on stderr, which leaves stdout to the comparison
        lines = [
            *map(printable, evaluation.notes),
            evaluation_tables(evaluation.content),
            describe_scores(evaluation.content),
        ]
        print("\n".join(lines), file=sys.stderr)
    print(comparison)
    if options.out:
        paths = write_comparison(comparison, options.out)
        print(f"\nwritten: {printable(', '.join(map(str, paths)))}")


if __name__ == "__main__":
    command.run(main)
