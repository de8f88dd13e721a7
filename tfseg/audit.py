"""Finds what is likely to be wrong in records: one list of duplicates, leaked frames, bad masks and label errors.

    python -m tfseg.audit data/records
    python -m tfseg.audit data/records --model runs/camvid --out audit
    python -m tfseg.audit data/records --fail-on duplicates,leakage

The score of a finding is the share of such findings that are expected to be faults; it ranks all kinds together. It is
estimated on the data set itself, from faults that are made on purpose in memory. Nothing is written but to --out:
audit.html, a page that shows the first findings, audit.json and audit.csv with all of them.

Label errors need a model that was trained on the classes of the records. It contradicts few errors of images that it
was trained on, since it has learnt them; the other splits are what it judges best.

  duplicates       the same image, resized, encoded again, brighter or mirrored, in two splits or in one
  leakage          frames of one drive that look alike in two splits; ids that differ by a number are of one drive
  shifted_masks    masks whose borders fit the edges of the image better elsewhere
  label_errors     regions that the model is sure are of another class
  constant_masks   masks that are all void, or of one class
  odd_masks        masks with shares of classes unlike all others
  coverage         classes that a split lacks, or nearly so
"""

import argparse
import os
import sys
from pathlib import Path

from tfseg.auditing.auditor import audit_records, parse_kinds
from tfseg.auditing.coverage import FEW_IMAGES
from tfseg.auditing.findings import LIKELY
from tfseg.auditing.report import check_out, make_table, summarise, write_report
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.io.words import count_of


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog=command.program("audit"), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("records", metavar="RECORDS", help=f"folder of records, made by {command.program('convert')}")
    add("--model", metavar="RUN", help="run folder or SavedModel of the same classes, to look for label errors")
    add("--splits", nargs="+", metavar="NAME", help="splits to look at (default: all)")
    add("--limit", type=int, default=50, metavar="N", help="findings to show (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="folder for audit.html, audit.json and audit.csv")
    fail_help = f"kinds, with commas; exit code 1 if there is one with a score of {LIKELY} or more"
    add("--fail-on", default="", metavar="KINDS", help=fail_help)
    few_help = "report classes that are in fewer images of a split (default: %(default)s)"
    add("--few-images", type=int, default=FEW_IMAGES, metavar="N", help=few_help)
    workers_help = "processes at work (default: one per core)"
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help=workers_help)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Audits what the command line says, prints the findings, and ends with exit code 1 if there is one to fail on."""
    options = parse_arguments(arguments)
    if options.limit < 1:
        raise ValueError(f"--limit: expected 1 or more, got {options.limit}")
    failing = parse_kinds(options.fail_on)
    if "label_errors" in failing and not options.model:
        raise ValueError("--fail-on: label_errors are found by a model alone; give --model RUN, or leave them out")
    if options.out:
        check_out(options.out)
    audit = audit_records(
        options.records,
        options.model,
        splits=options.splits,
        few_images=options.few_images,
        workers=options.workers,
    )
    if audit.findings:
        print(make_table(audit.findings, options.limit))
    print(summarise(audit, options.limit))
    for note in audit.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    if options.out:
        print(f"written: {printable(write_report(audit, options.out, options.limit)[0])}")
    if failures := audit.count(failing):
        names = ", ".join(failing)
        sys.exit(f"audit: {count_of(failures, 'finding')} of {names} with a score of {LIKELY} or more")


if __name__ == "__main__":
    command.run(main)
