"""python -m tfseg.evaluate --run DIR | --model DIR --records DIR [--split val]

Scores a SavedModel on a split of records, on Cityscapes by its official rule as well, and prints the tables.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseg import cli, pictures, run_folder
from tfseg.inference import Inference, add_options, read_options
from tfseg.official import OfficialScore, label_ids_of
from tfseg.paths import is_local, open_path
from tfseg.predict import Predictor, enlarge, write_png
from tfseg.records import Manifest, keeps_label_ids, read_manifest
from tfseg.tables import official_table, scores_table

SCORES, MATRICES = "scores-{}.json", "matrices-{}.npz"  # of a split


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.evaluate",
        description="Scores a network on a split of records. On Cityscapes that is the official score, too, from the "
        "label ids that the records keep, at full resolution.",
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--run", type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    model.add_argument("--model", type=Path, metavar="DIR", help="SavedModel, as written by tfseg.export")
    parser.add_argument("--records", metavar="DIR", help="folder of records (those that the run was trained on)")
    parser.add_argument("--split", help="split to score (the run's validation split, or val)")
    parser.add_argument(
        "--size", metavar="HxW", help="size of the network's input (as in the run's validation; stored)"
    )
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="pictures at a time (4)")
    parser.add_argument(
        "--instances", type=Path, metavar="DIR", help="root of Cityscapes, for the scores that need *_instanceIds.png"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="DIR", help="where to write label ids for the official tools"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where {SCORES.format('SPLIT')} goes (the run folder)")
    add_options(parser)
    options = parser.parse_args(arguments)
    if options.model and not options.records:
        parser.error("--model needs --records")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {options.batch_size}")
    inference = read_options(options)
    records, split, size = options.records, options.split or "val", None
    if options.run:
        data = run_folder.read_config(options.run).data
        records, split, size = (
            records or run_folder.find_records(options.run),
            options.split or data.val_split,
            data.eval_size,
        )
    size = cli.parse_size(options.size) if options.size else size
    scores = evaluate(
        options.model or options.run / run_folder.SAVED_MODEL,
        records,
        split,
        size=size,
        batch_size=options.batch_size,
        inference=inference,
        instances=options.instances,
        submission=options.submission,
        out=options.out or options.run,
    )
    print(f"scored {split} of {records}" if scores else f"{split} of {records} has no ground truth, and no score")


def evaluate(
    model: Path,
    records: str | Path,
    split: str,
    *,
    size: tuple[int, int] | None = None,
    batch_size: int = 4,
    inference: Inference | None = None,
    instances: Path | None = None,
    submission: Path | None = None,
    out: Path | None = None,
) -> dict:
    """Scores a SavedModel on a split, and prints the tables.

    Args:
        model: folder of the SavedModel.
        records: folder of shards and manifest.json.
        split: its name; one without ground truth only for a submission.
        size: (height, width) that pictures are squashed to for the network; None: as stored.
        batch_size: pictures that the network sees at a time.
        inference: how it sees them, see there; None: once, as they are.
        instances: root of Cityscapes, whose *_instanceIds.png are wanted for iIoU.
        submission: folder for a PNG file of label ids a picture, of its original size.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: they are not written. The latter holds `ids` and
            `matrices`, int64 (pictures, classes, classes), the confusion matrix of each picture, rows are truth.

    Returns:
        As in scores-SPLIT.json: what `pixel_scores.PixelScores` gives, on the records' masks at `size`, and where they
        are of Cityscapes and keep label ids, as training splits do not, under "official", what `official.OfficialScore`
        gives at full resolution, from probabilities enlarged bilinearly. Empty without ground truth.

    Raises:
        ValueError: the split is not there or has no ground truth, the model tells other classes apart than the records,
            or a record is damaged.
        OSError: model, records or instances cannot be read, or something cannot be written.
    """
    from tqdm import tqdm

    from tfseg.pipeline import check_split, check_truth, make_eval_batches, told_damage
    from tfseg.pixel_scores import PixelScores

    inference = inference or Inference()
    manifest = read_manifest(records)
    if not submission:
        check_truth(records, split)
    has_truth = check_split(manifest, records, split).has_truth
    predictor = Predictor(model)
    pixels = PixelScores(predictor.classes) if has_truth and predictor.classes == manifest.classes else None
    official = make_official(manifest, split, predictor.classes) if has_truth else None
    if has_truth and not (pixels or official):
        raise ValueError(
            f"{model}: tells {', '.join(predictor.classes)} apart, and {records} has {', '.join(manifest.classes)}; "
            "score it on records of its own classes"
        )
    label_ids = label_ids_of(predictor.classes) if submission else None
    if submission:
        submission.mkdir(parents=True, exist_ok=True)
    ids = []
    batches = make_eval_batches(records, split, size=size, batch_size=batch_size, names=True)
    with told_damage(records), tqdm(total=manifest.splits[split].count, unit="picture", disable=None) as bar:
        for batch in batches.as_numpy_iterator():
            probabilities = inference.probabilities(predictor.probabilities, batch["image"], len(predictor.classes))
            for id, mask, raw, likely in zip(
                *(batch[key] for key in ("id", "mask", "label_ids")), probabilities, strict=True
            ):
                ids.append(id.decode())
                if pixels:
                    pixels.add(likely, mask)
                if official or submission:
                    truth = decode_label_ids(raw, ids[-1], records)
                    classes = enlarge(likely, truth.shape)
                if official:
                    official.add(truth, classes, instances and read_instances(instances, split, ids[-1]))
                if submission:
                    write_png(submission / f"{ids[-1]}_labelIds.png", label_ids[classes])
                bar.update()
    if not has_truth:
        return {}
    place = str(open_path(records).absolute()) if is_local(open_path(records)) else str(records)
    scores = {"split": split, "records": place, "size": size, "inference": dataclasses.asdict(inference)}
    if pixels:
        scores |= pixels.result()
        print(scores_table(scores))
    if official:
        scores["official"] = official.result()
        print(f"\n{official_table(scores['official'])}")
    if out:
        out.mkdir(parents=True, exist_ok=True)
        run_folder.write_json(scores, out / SCORES.format(split))
        if pixels:
            with run_folder.replacing(out / MATRICES.format(split)) as unfinished, unfinished.open("wb") as file:
                np.savez_compressed(file, ids=ids, matrices=np.array(pixels.matrices))
    return scores


def is_scored(run: Path, split: str) -> bool:
    """Whether a run folder has scores and matrices of a split, none older than its SavedModel, if that is there."""
    made = [run / name.format(split) for name in (SCORES, MATRICES)]
    source = run / run_folder.SAVED_MODEL / "saved_model.pb"
    if not all(path.is_file() for path in made):
        return False
    return not source.is_file() or source.stat().st_mtime <= min(path.stat().st_mtime for path in made)


def make_official(manifest: Manifest, split: str, classes: Sequence[str]) -> OfficialScore | None:
    """Makes what scores by the official rule, if records and classes are of Cityscapes, and label ids are kept."""
    if not (manifest.source.startswith("cityscapes") and keeps_label_ids(split)):
        return None
    try:
        return OfficialScore(classes)
    except ValueError:
        return None


def decode_label_ids(encoded: bytes, id: str, records: str | Path) -> np.ndarray:
    """Decodes the raw mask of a record, uint8 (height, width)."""
    if not encoded:
        raise ValueError(f"{records}: {id} has no raw mask (label_ids/encoded), as the training splits have none")
    try:
        return pictures.decode_mask(encoded)
    except ValueError as error:
        raise ValueError(f"{records}: the raw mask of {id} {error}") from error


def read_instances(root: Path, split: str, id: str) -> np.ndarray:
    """Reads the instance ids of a picture of Cityscapes, int32 (height, width).

    Raises:
        FileNotFoundError: there is no such file, or more than one.
        ValueError: it is damaged.
    """
    from PIL import Image

    pattern = f"gtFine/{split}/*/{id}_gtFine_instanceIds.png"
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(f"{root / pattern}: expected one file, found {len(found)}; see --instances")
    try:
        with Image.open(found[0]) as picture:
            return np.array(picture).astype(np.int32)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{found[0]}: is damaged: {error}") from None


if __name__ == "__main__":
    cli.run(main)
