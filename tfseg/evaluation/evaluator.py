"""python -m tfseg.evaluate --run DIR | --model DIR --records DIR [--split val]

Scores a SavedModel on a split of records, on Cityscapes by its official rule as well, and prints the tables. What is
scored are the masks that `predict` writes: of the size of the ground truth, made in the same way. With --masks, files
that `predict` wrote are scored.
"""

import argparse
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfseg.inference.files import ENDINGS
from tfseg.inference.image_segmenter import ImageSegmenter, Size, choose_classes, enlarge
from tfseg.inference.labels_file import learns_void, read_sizes
from tfseg.inference.model_folder import find_model
from tfseg.inference.predictor import Predictor, choose_sizes, make_segmenter
from tfseg.inference.tta import InferenceSettings, add_options, read_options
from tfseg.io import command, images
from tfseg.io.paths import is_local, open_path
from tfseg.io.png import write_png
from tfseg.metrics.cityscapes import OfficialScore, label_ids_of
from tfseg.records.manifest import Manifest, read_manifest
from tfseg.records.records import find_truth, keeps_label_ids
from tfseg.runs import run_dir
from tfseg.visualization.tables import official_table, percent, scores_table

SCORES, MATRICES = "scores-{}.json", "matrices-{}.npz"  # of a split
MASK_ENDING = ENDINGS[0]
HEADLINES = ("mean_category_iou", "mean_class_iou")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tfseg.evaluate",
        description="Scores a network on a split of records. On Cityscapes that is the official score, too, from the "
        "label ids that the records keep, at full resolution.",
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--run", type=Path, metavar="DIR", help="run folder, as written by tfseg.train")
    model.add_argument("--model", type=Path, metavar="DIR", help="SavedModel, as written by tfseg.export, or a run")
    parser.add_argument("--records", metavar="DIR", help="folder of records (those that the run was trained on)")
    parser.add_argument("--split", help="split to score (the run's validation split, or val)")
    model.add_argument(
        "--masks", type=Path, metavar="DIR", help="folder of masks of the split's images, as written by tfseg.predict"
    )
    parser.add_argument(
        "--learn-void", action="store_true", help="of --masks: void is a class that was learned, and counts"
    )
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="pictures at a time (4)")
    parser.add_argument(
        "--instances", type=Path, metavar="DIR", help="root of Cityscapes, for the scores that need *_instanceIds.png"
    )
    parser.add_argument(
        "--submission", type=Path, metavar="DIR", help="where to write label ids for the official tools"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"where {SCORES.format('SPLIT')} goes (the run folder)")
    add_options(parser, "--size")
    options = parser.parse_args(arguments)
    if not options.run and not options.records:
        parser.error(f"--{'model' if options.model else 'masks'} needs --records")
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, got {options.batch_size}")
    if options.learn_void and not options.masks:
        parser.error("--learn-void goes with --masks; a model knows by itself whether it learned void")
    inference = read_options(options)
    records, split = options.records, options.split or "val"
    if options.run:
        data = run_dir.read_config(options.run).data
        records = records or run_dir.find_records(options.run)
        split = options.split or data.val_split
    if options.masks:
        scores = evaluate_masks(options.masks, records, split, learn_void=options.learn_void, out=options.out)
    else:
        model = find_model(options.model or options.run)
        wanted = options.input_size
        scores = evaluate(
            model,
            records,
            split,
            sizes=sizes_of_run(options.run) if options.run and wanted is None else choose_sizes(wanted, model),
            batch_size=options.batch_size,
            inference=inference,
            instances=options.instances,
            submission=options.submission,
            out=options.out or options.run,
        )
    print(describe(scores) if scores else f"{split} of {records} has no ground truth, and no score")


def describe(scores: dict) -> str:
    """Words the score that counts: the official one where there is one, else the mean IoU."""
    found = [f"mean IoU {percent(scores['mean_iou'])} %"] if "mean_iou" in scores else []
    found += [
        f"official {name} {percent(scores['official'][name])} %"
        for name in HEADLINES
        if name in scores.get("official", ())
    ]
    return f"scored {scores['split']} of {scores['records']}: {', '.join(found)}"


def sizes_of_run(run: Path) -> list[Size]:
    """The sizes to which images are resized for the SavedModel of a run: those of its validation."""
    sizes = read_sizes(run / run_dir.SAVED_MODEL / run_dir.LABELS)
    if sizes is None:
        size = run_dir.read_config(run).data.eval_size
        print(
            f"{run}: its model does not say at which size it was validated; it is scored at "
            f"{'x'.join(map(str, size)) if size else 'the stored size'}, as config.yaml has it, but predict and the "
            "service show it each image at its own; export the run again",
            file=sys.stderr,
        )
        return [size] if size else []
    return sizes


def evaluate(
    model: Path,
    records: str | Path,
    split: str,
    *,
    sizes: Sequence[Size] | None = None,
    batch_size: int = 4,
    inference: InferenceSettings | None = None,
    instances: Path | None = None,
    submission: Path | None = None,
    out: Path | None = None,
) -> dict:
    """Scores a SavedModel on a split, and prints the tables.

    Args:
        model: folder of the SavedModel.
        records: folder of shards and manifest.json.
        split: its name; one without ground truth only for a submission.
        sizes: (height, width) to which images are resized for the network, one after the other; None: as the model was
            validated, or, if it does not know that, as stored.
        batch_size: images that the network sees at a time, where they have one size then.
        inference: how it sees them, see there; None: once, as they are.
        instances: root of Cityscapes, whose *_instanceIds.png are wanted for iIoU.
        submission: folder for a PNG file of label ids an image, of its original size.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: they are not written. The latter holds `ids` and
            `matrices`, int64 (images, classes, classes), the confusion matrix of each image, rows are truth.

    Returns:
        As in scores-SPLIT.json: what `pixel_scores.PixelScores` gives, at the size of the ground truth, which is that
        of the raw mask where the records keep it, and else as stored; where they are of Cityscapes and keep label ids,
        as training splits do not, under "official" what `official.OfficialScore` gives. Empty without ground truth.

    Raises:
        ValueError: the split is not there or has no ground truth, the model tells other classes apart than the records,
            or a record is damaged.
        OSError: model, records or instances cannot be read, or something cannot be written.
    """
    from tqdm import tqdm

    from tfseg.pipeline.pipeline import check_split, check_truth, told_damage

    manifest = read_manifest(records)
    if not submission:
        check_truth(records, split)
    has_truth = check_split(manifest, records, split).has_truth
    predictor = Predictor(model)
    segment = make_segmenter(predictor, inference, sizes)
    learn_void = learns_void(Path(model, run_dir.LABELS))
    judge = Judge(manifest, split, predictor.classes if has_truth else None, learn_void)
    if has_truth and not (judge.pixels or judge.official):
        raise ValueError(
            f"{model}: tells {', '.join(predictor.classes)} apart, and {records} has {', '.join(manifest.classes)}; "
            "score it on records of its own classes"
        )
    label_ids = label_ids_of(predictor.classes) if submission else None
    if submission:
        submission.mkdir(parents=True, exist_ok=True)
    with told_damage(records), tqdm(total=manifest.splits[split].count, unit="image", disable=None) as bar:
        for batch in gather(read_records(records, split, segment), batch_size):
            prepared = np.stack([example["prepared"] for example in batch])
            for example, likely in zip(batch, segment.probabilities(prepared), strict=True):
                truth, raw = example["truth"], example["label_ids"]
                if (official := judge.official or submission) and raw is None:
                    raise ValueError(f"{records}: {example['id']} has no raw mask (label_ids/encoded)")
                found, likely = choose_classes(likely, truth.shape), enlarge(likely, truth.shape)
                seen = read_instances(instances, split, example["id"]) if official and instances else None
                judge.add(example["id"], likely, found, truth, raw, seen)
                if submission:
                    write_png(submission / f"{example['id']}_labelIds.png", label_ids[found])
                bar.update()
    if not has_truth:
        return {}
    how = {"resize": [[*size] for size in segment.sizes], "inference": segment.inference.to_json()}
    return judge.finish({"split": split, "records": absolute(records), **how}, out)


def absolute(records: str | Path) -> str:
    """The address of records, found from any folder."""
    return str(open_path(records).absolute()) if is_local(open_path(records)) else str(records)


def evaluate_masks(
    masks: Path, records: str | Path, split: str, *, learn_void: bool = False, out: Path | None = None
) -> dict:
    """Scores masks in files, as `predict` writes them, against the ground truth of a split, and prints the tables.

    Args:
        masks: folder that holds ID_classes.png or ID_leftImg8bit_classes.png of each image, at any depth: class ids.
            Names of folders may be the first part of an ID, as they are where images lie in folders of their own.
        records: folder of shards and manifest.json.
        split: its name.
        learn_void: whether void is a class that was learned, and counts.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: they are not written.

    Returns:
        As `evaluate`, less what takes probabilities.

    Raises:
        ValueError: a mask is damaged, is not of its image's size, or holds other values than class ids; the split is
            not there or has no ground truth.
        OSError: a mask is missing, or something cannot be read or written.
    """
    from tfseg.pipeline.pipeline import check_truth, told_damage

    manifest = read_manifest(records)
    check_truth(records, split)
    found = find_masks(masks)
    judge = Judge(manifest, split, manifest.classes, learn_void)
    with told_damage(records):
        for example in read_records(records, split):
            id, truth = example["id"], example["truth"]
            names = [Path(id).name, f"{Path(id).name}_leftImg8bit"]
            paths = next((found[name] for name in names if name in found), [])
            if not paths:
                raise FileNotFoundError(f"{masks}: has no {' or '.join(f'{name}{MASK_ENDING}' for name in names)}")
            if len(paths) > 1 and len(paths[0].parts) == len(paths[1].parts):
                raise ValueError(f"{masks}: has {len(paths)} masks of {id}, {paths[0]} and {paths[1]}; take one away")
            mask = read_mask(paths[0], truth.shape, len(manifest.classes))
            judge.add(id, None, mask, truth, example["label_ids"])
    return judge.finish({"split": split, "records": absolute(records), "masks": str(masks)}, out)


def find_masks(folder: Path) -> dict[str, list[Path]]:
    """Finds masks in a folder and below: each by its name less the ending, and by the names of folders before it.

    seq/0001/007_classes.png is found as 007, 0001_007 and seq_0001_007, as the records call images in folders. Of one
    name the masks in the fewest folders come first.
    """
    found = {}
    for path in sorted(folder.rglob(f"*{MASK_ENDING}"), key=lambda path: (len(path.parts), path)):
        *folders, name = path.relative_to(folder).parts
        words = [*folders, name.removesuffix(MASK_ENDING)]
        for first in range(len(words)):
            found.setdefault(unicodedata.normalize("NFC", "_".join(words[first:])), []).append(path)
    return found


def read_mask(path: Path, shape: tuple[int, int], classes: int) -> np.ndarray:
    """Reads a mask of class ids, uint8 (height, width), of a size; raises ValueError if it is none."""
    try:
        mask = images.decode_mask(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if mask.shape != shape or mask.max(initial=0) >= classes:
        raise ValueError(
            f"{path}: expected {'x'.join(map(str, shape))} pixels of class ids below {classes}, as tfseg.predict "
            f"writes them, got {'x'.join(map(str, mask.shape))} with values up to {mask.max(initial=0)}"
        )
    return mask


def read_records(records: str | Path, split: str, segment: ImageSegmenter | None = None) -> Iterator[dict]:
    """Reads a split image by image, in the manifest's order.

    Yields:
        {"id": str, "truth": uint8 class ids, see `records.find_truth`, "label_ids": uint8 raw mask or None, "prepared":
        the image as the network is to see it, uint8; None without `segment`}.
    """
    from tfseg.pipeline.pipeline import make_eval_batches

    manifest = read_manifest(records)
    for batch in make_eval_batches(records, split, size=None, batch_size=1, names=True).as_numpy_iterator():
        example = {name: array[0] for name, array in batch.items()}
        truth, raw = read_truth(example, manifest, records)
        prepared = segment.prepare(example["image"]) if segment else None
        yield {"id": example["id"].decode(), "truth": truth, "label_ids": raw, "prepared": prepared}


def read_truth(example: dict, manifest: Manifest, records: str | Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Gives the truth of what `pipeline.read_places` yields, see `records.find_truth`, and its raw mask, if kept."""
    id, raw = example["id"].decode(), example["label_ids"]
    shapes = example["image"].shape[:2], example["mask"].shape
    if shapes[0] != shapes[1]:
        image, mask = ("x".join(map(str, shape)) for shape in shapes)
        raise ValueError(f"{records}: {id} has an image of {image} and a mask of {mask}; convert it again")
    label_ids = decode_label_ids(raw, id, records) if raw else None
    try:
        return find_truth(manifest, example["mask"], label_ids), label_ids
    except ValueError as error:
        raise ValueError(f"{records}: {id}: {error}") from None


def gather(examples: Iterable[dict], batch_size: int) -> Iterator[list[dict]]:
    """Gathers examples that follow each other and whose prepared images have one size, up to so many."""
    batch = []
    for example in examples:
        if batch and (len(batch) == batch_size or batch[0]["prepared"].shape != example["prepared"].shape):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


class Judge:
    """Gathers masks and their truth, and gives what is scored of them.

    Args:
        manifest: of the records.
        split: their split.
        classes: what the masks tell apart; None: nothing is scored.
        learn_void: whether void is one of them that was learned, so that it counts.

    Attributes:
        pixels: by the classes of the records, None if they are others.
        official: by the rule of Cityscapes, None elsewhere.
    """

    def __init__(self, manifest: Manifest, split: str, classes: Sequence[str] | None, learn_void: bool = False):
        from tfseg.metrics.segmentation import PixelScores

        self.pixels = PixelScores(classes, learn_void) if classes and [*classes] == manifest.classes else None
        self.official = make_official(manifest, split, classes) if classes else None
        self.split, self.ids = split, []

    def add(
        self,
        id: str,
        likely: np.ndarray | None,
        found: np.ndarray,
        truth: np.ndarray,
        label_ids: np.ndarray | None,
        instances: np.ndarray | None = None,
    ) -> None:
        """Adds an image: its probabilities, if there are any, its mask, its truth, raw mask and instances."""
        self.ids.append(id)
        if self.pixels:
            self.pixels.add_mask(found, truth, likely)
        if self.official:
            self.official.add(label_ids, found, instances)

    def finish(self, what: dict, out: Path | None) -> dict:
        """Gives `what` and the scores, prints them, and writes them into a folder."""
        scores = dict(what)
        if self.pixels:
            scores |= self.pixels.result()
            print(scores_table(scores))
        if self.official:
            scores["official"] = self.official.result()
            print(f"\n{official_table(scores['official'])}")
        if out:
            out.mkdir(parents=True, exist_ok=True)
            run_dir.write_json(scores, out / SCORES.format(self.split))
            if self.pixels:
                matrices = out / MATRICES.format(self.split)
                with run_dir.replacing(matrices) as unfinished, unfinished.open("wb") as file:
                    np.savez_compressed(file, ids=self.ids, matrices=np.array(self.pixels.matrices))
        return scores


def is_scored(run: Path, split: str) -> bool:
    """Whether a run folder has scores and matrices of a split, none older than its SavedModel, if that is there.

    Scores of masks of the network's size, as they were once, do not count.
    """
    made = [run / name.format(split) for name in (SCORES, MATRICES)]
    source = run / run_dir.SAVED_MODEL / "saved_model.pb"
    if not all(path.is_file() for path in made):
        return False
    text = made[0].read_text(encoding="utf-8", errors="replace")
    if '"confusion_matrix"' in text and '"resize"' not in text:
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
        return images.decode_mask(encoded)
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
    command.run(main)
