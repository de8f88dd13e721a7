"""Scores a run, a SavedModel or masks in files on a split of records, on Cityscapes by its official rule as well.

What is scored are the masks that `tfseg predict` writes: made in the same way, of the ground truth's size.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfseg.evaluation.ground_truth import Example, read_instances, read_split
from tfseg.evaluation.judge import Judge
from tfseg.evaluation.mask_files import find_mask, list_masks, read_mask
from tfseg.evaluation.score_files import Evaluation, write_scores
from tfseg.inference.image_segmenter import ImageSegmenter, Size
from tfseg.inference.labels_file import learns_void, read_sizes
from tfseg.inference.model_folder import find_model
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.flags_in_python import note_arguments
from tfseg.io.paths import is_local
from tfseg.io.png import write_png
from tfseg.io.progress import show_progress, track
from tfseg.metrics.cityscapes import label_ids_of
from tfseg.records.labels import VOID
from tfseg.records.record_set import RecordSet, check_pixels, open_records
from tfseg.runs import run_dir


@note_arguments()
def evaluate_run(
    run: str | os.PathLike,
    records: str | Path | RecordSet | None = None,
    split: str | None = None,
    *,
    sizes: Sequence[Size] | None = None,
    batch_size: int = 4,
    inference: InferenceSettings | None = None,
    instances: str | Path | None = None,
    submission: str | Path | None = None,
    out: str | Path | None = None,
    runtime: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores the SavedModel of a run on a split, and writes the scores into the run folder.

    Args:
        run: the run folder.
        records: folder of records; None: those that the run was trained on.
        split: its name; None: the run's validation split.
        sizes: (height, width) to which images are resized for the network, one after the other; None: those of the
            run's validation.
        batch_size: images that the network sees at a time, where they have one size then.
        inference: how it sees them, by sliding window or at several scales; None: once, as a whole.
        instances: root of Cityscapes, whose `*_instanceIds.png` are wanted for iIoU.
        submission: folder for a PNG file of label ids an image, of its original size.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: the run folder.
        runtime: what computes the model, as of `load_model`.
        progress: whether a terminal shows how far it is.

    Returns:
        What was found: `scores`, of masks of the ground truth's size; `official`, the official score of Cityscapes;
        `ids` of the images; and `matrices`, int64 (images, classes, classes), the confusion matrix of each, rows are
        ground truth. `to_dict()` gives the content of scores-SPLIT.json.

    Raises:
        ValueError: the split is not there or has no ground truth, the records have other classes or kinds of images
            than the model, or a record is damaged.
        OSError: the folder holds no run, its training has not ended, records or instances cannot be read, or something
            cannot be written.
    """
    run = Path(run)
    config = run_dir.read_config(run)
    records = run_dir.open_run_records(run) if records is None else open_records(records)
    model = find_model(run)
    notes = ()
    if sizes is None:
        sizes, notes = sizes_of_run(run)
    evaluation = evaluate_model(
        model,
        records,
        split or config.data.val_split,
        sizes=sizes,
        batch_size=batch_size,
        inference=inference,
        instances=instances,
        submission=submission,
        out=run if out is None else out,
        runtime=runtime,
        progress=progress,
    )
    return dataclasses.replace(evaluation, notes=notes)


def sizes_of_run(run: Path) -> tuple[list[Size], tuple[str, ...]]:
    """Gives the sizes to which images are resized for the SavedModel of a run, those of its validation, and notes."""
    sizes = read_sizes(run / run_dir.SAVED_MODEL / run_dir.LABELS)
    if sizes is not None:
        return sizes, ()
    size = run_dir.read_config(run).data.eval_size
    note = (
        f"{run}: its model does not say at which size it was validated; it is scored at "
        f"{'x'.join(map(str, size)) if size else 'the stored size'}, as config.yaml has it, but predict and the "
        "service show it each image at its own; export the run again"
    )
    return [size] if size else [], (note,)


@note_arguments()
def evaluate_model(
    model: str | Path,
    records: str | Path | RecordSet,
    split: str = "val",
    *,
    sizes: Sequence[Size] | None = None,
    batch_size: int = 4,
    inference: InferenceSettings | None = None,
    instances: str | Path | None = None,
    submission: str | Path | None = None,
    out: str | Path | None = None,
    runtime: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores an exported model on a split.

    Args:
        model: its folder.
        records: folder of shards and manifest.json, or what was opened of it.
        split: its name; one without ground truth only for a submission.
        sizes: (height, width) to which images are resized for the network, one after the other; None: as the model was
            validated, or, if it does not know that, as stored.
        batch_size: images that the network sees at a time, where they have one size then.
        inference: how it sees them, see `tta.InferenceSettings`; None: once, as they are.
        instances: root of Cityscapes, whose `*_instanceIds.png` are wanted for iIoU.
        submission: folder for a PNG file of label ids an image, of its original size.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: they are not written. The latter holds `ids` and
            `matrices`, int64 (images, classes, classes), the confusion matrix of each image, rows are ground truth.
        runtime: what computes the model, as of `load_model`.
        progress: whether a terminal shows how far it is.

    Returns:
        As of `evaluate_run`. The ground truth is the raw mask where the records keep it, and else as stored; the
        official score is there where they are of Cityscapes and keep label ids, as training splits do not.

    Raises:
        ValueError: the split is not there or has no ground truth, the model predicts other classes than the records
            have or takes other images, or a record is damaged.
        OSError: model, records or instances cannot be read, or something cannot be written.
    """
    from tfseg.pipeline.damage import explain_read_errors

    records = open_records(records)
    if not submission:
        records.check_truth(split)
    predictor = Predictor(model, runtime)
    check_pixels(predictor.pixels, records, model)
    segment = make_segmenter(predictor, inference, sizes)
    judge = make_judge(model, predictor.classes, records, split) if records.split(split).has_truth else None
    official = judge and judge.official
    label_ids = label_ids_of(predictor.classes) if submission else None
    if submission:
        Path(submission).mkdir(parents=True, exist_ok=True)
    count = records.split(split).count
    with explain_read_errors(records), show_progress(progress), track(total=count, unit="image") as bar:
        for example, probabilities in segment_split(records, split, segment, batch_size):
            if submission and example.label_ids is None:
                raise ValueError(f"{records}: {example.id} has no raw mask (label_ids/encoded)")
            size = example.truth.shape
            mask = segment.choose(probabilities, size)
            if judge:
                of_image = read_instances(Path(instances), split, example.id) if official and instances else None
                judge.add(example, mask, segment.enlarge(probabilities, size), of_image)
            if submission and label_ids is not None:
                write_png(Path(submission, f"{example.id}_labelIds.png"), label_ids[mask])
            bar.update()
    how = {"resize": [[*size] for size in segment.sizes], "inference": segment.inference.to_json()}
    if predictor.runtime != "tensorflow":
        how["runtime"] = predictor.runtime
    return finish(judge, records, split, how, out)


def make_judge(model: str | Path, classes: Sequence[str], records: RecordSet, split: str) -> Judge:
    """Makes the judge of a model; raises ValueError if the records have other classes."""
    try:
        return Judge(records, split, classes, None if learns_void(Path(model, run_dir.LABELS)) else VOID)
    except ValueError as error:
        raise ValueError(f"{model}: {error}") from None


def segment_split(
    records: RecordSet, split: str, segment: ImageSegmenter, batch_size: int
) -> Iterator[tuple[Example, np.ndarray]]:
    """Yields each example of a split with its probabilities, float32 (h, w, classes), at the network's size."""
    examples = ((example, segment.prepare(example.image)) for example in read_split(records, split))
    for batch in gather(examples, batch_size):
        probabilities = segment.probabilities(np.stack([prepared for _, prepared in batch]))
        for (example, _), own in zip(batch, probabilities, strict=True):
            yield example, own


def gather(
    examples: Iterable[tuple[Example, np.ndarray]], batch_size: int
) -> Iterator[list[tuple[Example, np.ndarray]]]:
    """Gathers examples that follow each other and whose prepared images have one size, up to so many."""
    batch = []
    for example in examples:
        if batch and (len(batch) == batch_size or batch[0][1].shape != example[1].shape):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


@note_arguments()
def evaluate_masks(
    masks: str | Path,
    records: str | Path | RecordSet,
    split: str = "val",
    *,
    ignore_class: int | None = VOID,
    out: str | Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Scores masks in files, as `tfseg predict` writes them, against the ground truth of a split.

    Args:
        masks: folder that holds ID_classes.png or ID_leftImg8bit_classes.png of each image, at any depth: class ids.
            Names of folders may be the first part of an ID, as they are where images lie in folders of their own.
        records: folder of shards and manifest.json, or what was opened of it.
        split: its name.
        ignore_class: `VOID`, whose ground truth then counts nowhere; None where void was learned and counts.
        out: folder for scores-SPLIT.json and matrices-SPLIT.npz; None: they are not written.
        progress: whether a terminal shows how far it is.

    Returns:
        As of `evaluate_model`, less what takes probabilities.

    Raises:
        ValueError: a mask is damaged, is not of its image's size, or holds other values than class ids; the split is
            not there or has no ground truth; another class is to be ignored.
        OSError: a mask is missing, or something cannot be read or written.

    Example:
        >>> import tfseg
        >>> tfseg.evaluate_masks("truth", "records").scores.mean_iou
        1.0
    """
    if ignore_class not in (VOID, None):
        raise ValueError(f"ignore_class: expected {VOID}, the id of void, or None, got {ignore_class}")
    found = list_masks(Path(masks))
    records = open_records(records)
    records.check_truth(split)
    from tfseg.pipeline.damage import explain_read_errors  # imports TensorFlow

    judge = Judge(records, split, records.classes, ignore_class)
    examples, count = read_split(records, split), records.split(split).count
    with explain_read_errors(records), show_progress(progress):
        for example in track(examples, total=count, unit="image"):
            path = find_mask(found, example.id, Path(masks))
            judge.add(example, read_mask(path, example.truth.shape, len(records.classes)))
    return finish(judge, records, split, {"masks": str(masks)}, out)


def finish(judge: Judge | None, records: RecordSet, split: str, how: dict, out: str | Path | None) -> Evaluation:
    """Gives what a judge found, with how it was found, and writes it; without a judge there is nothing to write."""
    place = locate(records)
    if judge is None:
        return Evaluation(split, place, {}, [], None, palette=records.palette)
    content = {"split": split, "records": place, **how, **judge.result()}
    evaluation = Evaluation(split, place, content, judge.ids, judge.matrices, palette=records.palette)
    if out is not None:
        write_scores(evaluation, Path(out))
    return evaluation


def locate(records: RecordSet) -> str:
    """The address of records, found from any folder."""
    return str(records.path.absolute()) if is_local(records.path) else str(records)
