"""tfseg evaluate --run DIR | --model DIR --records DIR [--split val]

Scores a model on a split of records, on Cityscapes by its official rule as well, and prints the tables. What is
scored are the masks that `predict` writes: of the size of the ground truth, made in the same way. With --masks, files
that `predict` wrote are scored.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tfseg.evaluation import evaluator
from tfseg.evaluation.score_files import SCORES, Evaluation
from tfseg.inference.model_folder import find_model
from tfseg.inference.predictor import choose_sizes
from tfseg.inference.tta import add_options, read_options
from tfseg.io import command
from tfseg.io.escaping import printable
from tfseg.io.renamed import accept_renamed
from tfseg.records.labels import VOID
from tfseg.visualization.tables import describe_scores, evaluation_tables

OF_A_MODEL = ("instances", "submission", "input_size", "sliding_window", "overlap", "tta", "runtime")  # not of masks


def main(arguments: Sequence[str] | None = None) -> None:
    parser = make_parser()
    options = parser.parse_args(accept_renamed(arguments, "evaluate"))
    if not options.run and not options.records:
        parser.error(f"--{'model' if options.model else 'masks'} needs --records")
    if options.ignore_class != VOID and not options.masks:
        parser.error("--ignore-class goes with --masks; a model knows by itself whether it learned void")
    given = [name for name in OF_A_MODEL if getattr(options, name) is not None]
    if options.masks and given:
        parser.error(f"--{given[0].replace('_', '-')} goes with --run or --model; masks are scored as they are")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {options.batch_size}")
    evaluation = evaluate(options)
    for note in evaluation.notes:
        print(printable(note), file=sys.stderr)
    if found := evaluation.to_dict():
        print(evaluation_tables(found), describe_scores(found), sep="\n")
    else:
        print(f"{printable(evaluation.split)} of {printable(evaluation.records)} has no ground truth, and no score")
    if options.submission:
        print(f"label id images are in {printable(options.submission)}")


def evaluate(options: argparse.Namespace) -> Evaluation:
    """Does what the command line says."""
    if options.masks:
        split, ignore_class = options.split or "val", options.ignore_class
        return evaluator.evaluate_masks(
            options.masks, options.records, split, ignore_class=ignore_class, out=options.out
        )
    shared = {
        "batch_size": options.batch_size,
        "inference": read_options(options),
        "instances": options.instances,
        "submission": options.submission,
        "out": options.out,
        "runtime": options.runtime,
    }
    if options.run:
        sizes = None if options.input_size is None else choose_sizes(options.input_size, find_model(options.run))
        return evaluator.evaluate_run(options.run, options.records, options.split, sizes=sizes, **shared)
    model = find_model(options.model)
    sizes = choose_sizes(options.input_size, model)
    return evaluator.evaluate_model(model, options.records, options.split or "val", sizes=sizes, **shared)


def parse_class(text: str) -> int | None:
    """Reads the id of void, or none."""
    if text not in (str(VOID), "none"):
        raise argparse.ArgumentTypeError(f"expected {VOID}, the id of void, or none, got {text!r}")
    return None if text == "none" else VOID


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command.program("evaluate"),
        description="Scores a network on a split of records; on Cityscapes by the official rule, too, from the label "
        "ids that the records keep, at full resolution.",
    )
    scored = parser.add_mutually_exclusive_group(required=True)
    scored.add_argument("--run", type=Path, metavar="DIR", help="run folder, as written by tfseg train")
    scored.add_argument("--model", type=Path, metavar="DIR", help="exported model, as written by tfseg export")
    scored.add_argument(
        "--masks", type=Path, metavar="DIR", help="folder of masks of the split's images, as written by tfseg predict"
    )
    parser.add_argument(
        "--records", metavar="DIR", help="folder of records (default: those that the run was trained on)"
    )
    parser.add_argument("--split", help="split to score (default: the run's validation split, or val)")
    parser.add_argument(
        "--ignore-class",
        type=parse_class,
        default=VOID,
        metavar="ID",
        help=f"with --masks: {VOID} leaves void ground truth out of the scores, none counts it, as void was learned "
        f"(default: {VOID})",
    )
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="images at a time (default: 4)")
    parser.add_argument(
        "--instances", type=Path, metavar="DIR", help="root of Cityscapes, for iIoU, which needs *_instanceIds.png"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="DIR", help="folder for label id images, which the official tools read"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"folder of {SCORES.format('SPLIT')} (default: the run folder)"
    )
    add_options(parser, "--size")
    return parser


if __name__ == "__main__":
    command.run(main)
