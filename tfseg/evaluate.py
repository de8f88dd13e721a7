"""python -m tfseg.evaluate --run DIR [--records DIR] [--split val]

Scores a run's network on a split of records, at the size that its validation used, and prints the table.
"""

import argparse
from pathlib import Path

from tfseg import cli, run_folder


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tfseg.evaluate", description="Scores a run on a split of records.")
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    parser.add_argument(
        "--records", metavar="DIR", help="folder of records (default: those that the run was trained on)"
    )
    parser.add_argument("--split", help="split to score (default: the run's validation split)")
    options = parser.parse_args(arguments)
    evaluate(options.run, options.records, options.split)


def evaluate(run: Path, records: str | None = None, split: str | None = None) -> dict:
    """Scores a run's network, writes RUN/scores-SPLIT.json, and prints the table.

    Args:
        run: run folder.
        records: folder of records; None: those of the run.
        split: name of the split; None: the run's validation split.

    Returns:
        The scores, see `metrics.score`.

    Raises:
        ValueError: the split is not there or has no ground truth, or a record is damaged.
        OSError: the run or the records cannot be read; with class weights, those that the run was trained on as well.
    """
    config = run_folder.read_config(run)
    # Imported here, since TensorFlow takes seconds, and --help and a wrong folder are answered before.
    import keras

    from tfseg.device import can_sort, find_gpus, pick_kind, use_gpus
    from tfseg.metrics import Scorer, score
    from tfseg.pipeline import check_truth, make_eval_batches, told_damage
    from tfseg.report import scores_table
    from tfseg.train import make_loss

    if keras.backend.backend() != "tensorflow":
        use_gpus([])  # TensorFlow only reads the records
    elif config.loss.lovasz and not can_sort(pick_kind("auto", len(find_gpus()))[0]):
        use_gpus([])  # the processor can
    records, split = records or config.data.records, split or config.data.val_split
    check_truth(records, split)
    batches = make_eval_batches(records, split, size=config.data.eval_size, batch_size=config.train.batch_size)
    scorer = Scorer(run_folder.load_network(run), make_loss(config))
    with told_damage(records):
        scores = score(scorer, batches)
    run_folder.write_json({"split": split, **scores}, run / f"scores-{split}.json")
    print(scores_table(scores))
    print(f"scored {split} of {records}; the numbers are in {run / f'scores-{split}.json'}")
    return scores


if __name__ == "__main__":
    cli.run(main)
