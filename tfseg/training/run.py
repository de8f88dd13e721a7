"""A training with all that it has, and the beginning and the end of its run folder."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfseg.config.parse import save_config
from tfseg.config.schema import Config
from tfseg.device import Choice
from tfseg.io.atomic import write_json
from tfseg.io.escaping import printable
from tfseg.io.removal import write_mark
from tfseg.records.record_set import RecordSet
from tfseg.runs import run_dir
from tfseg.runs.contents import RUN
from tfseg.runs.weights import load_network
from tfseg.visualization.tables import HEADLINES

if TYPE_CHECKING:
    from tfseg.training.console import Screen
    from tfseg.training.distribution import Distribution
    from tfseg.training.trackers import Tracker


class Training(NamedTuple):
    """What a training has from its beginning to its end."""

    config: Config
    records: RecordSet
    device: Choice
    distribution: "Distribution"
    screen: "Screen"
    trackers: "list[Tracker]"
    steps: int  # of an epoch

    @property
    def directory(self) -> Path:
        """The run folder."""
        return Path(self.config.run_dir)


def check_classes(directory: Path, records: object, classes: Sequence[str]) -> None:
    """Raises ValueError if a stopped run learned other classes than the records have now."""
    if not ((directory / run_dir.LABELS).exists() and run_dir.has_learnt(directory)):
        return
    before, _ = run_dir.read_labels(directory)
    if [*before] != [*classes]:
        raise ValueError(
            f"{directory}: learns the classes {', '.join(before)}, and {records} has {', '.join(classes)} now; "
            "give another run_dir, or --overwrite true to delete it"
        )


def begin_run(training: Training) -> None:
    """Writes what a run folder has from the beginning, and waits until all workers see it.

    Raises:
        ValueError: a worker does not see the run folder of the first one.
    """
    from tfseg.exporters.description import describe_model, validated_sizes

    config, records, directory = training.config, training.records, training.directory
    workers = training.distribution
    if workers.chief:
        run_dir.open_run(config)
        write_mark(directory, RUN)
        save_config(config, directory / run_dir.CONFIG)
        run_dir.note_records(config, records)
        sizes = validated_sizes(records.size, config.data.eval_size)
        pixels = records.manifest.pixels
        labels = describe_model(tuple(records.classes), records.palette, sizes, config.loss.ignore_class, pixels)
        write_json(labels, directory / run_dir.LABELS)
    workers.wait()
    if not (directory / run_dir.CONFIG).is_file():
        raise ValueError(
            f"run_dir {directory}: worker {workers.index} does not see what the first one wrote there; "
            "give a folder on storage that all machines share"
        )
    for tracker in training.trackers:
        tracker.start(directory, config)


def finish_run(training: Training, best_scores: dict, start: float) -> dict:
    """Exports the best epoch's network, scores the SavedModel on the validation split, and writes and prints that.

    Whatever stops it, the same training finishes it: its checkpoint after the last step is validated, and all this is
    done again.

    Args:
        training: that has ended.
        best_scores: of the validation of its best epoch, see `validation.Validate`.
        start: when it began, by time.monotonic.

    Returns:
        What metrics.json holds: the scores of `score_model`, and under "validation" those that chose the epoch.
    """
    from tfseg.device import read_versions

    directory = training.directory
    export(directory)
    scores = score_model(training)
    metrics = {"split": training.config.data.val_split, "seconds": round(time.monotonic() - start)}
    metrics |= {"epoch": best_scores["epoch"], **scores, "validation": describe_validation(training, best_scores)}
    metrics |= {"device": training.device.reasons, "versions": read_versions()}
    write_json(metrics, directory / run_dir.METRICS)
    for tracker in training.trackers:
        tracker.finish(metrics)
    print(printable(describe_end(metrics, directory)))
    return metrics


def score_model(training: Training) -> dict:
    """Scores the SavedModel of a run on its validation split as `evaluate --run` does, and writes what that writes.

    TensorFlow computes it, whatever Keras computes with: on other backends on the CPU.

    Returns:
        What scores-SPLIT.json holds, but for where the records lie: scores of masks of the ground truth's own size, see
        `evaluator.evaluate_model`.
    """
    from tfseg.evaluation.evaluator import evaluate_run
    from tfseg.training.batches import count_validated

    config, records = training.config, training.records
    split = config.data.val_split
    count = records.split(split).count
    training.screen.report(f"scoring the exported model on the {count:,} images of {split}, at the ground truth's size")
    batch_size = count_validated(config, records, training.distribution.replicas)
    found = evaluate_run(training.directory, records, split, batch_size=batch_size, progress=not config.quiet)
    return {name: value for name, value in found.to_dict().items() if name != "records"}


def describe_validation(training: Training, best_scores: dict) -> dict:
    """Gives the validation's own scores of the best epoch, and the size of the masks that they are of, in words."""
    from tfseg.training.batches import describe_size
    from tfseg.training.validation import Validate

    scores = {name: best_scores[name] for name in Validate.SHOWN if name in best_scores}
    return {"size": describe_size(training.config, training.records), **scores}


def describe_end(metrics: dict, directory: Path) -> str:
    """Words the last line of a training."""
    official, validation = metrics.get("official", {}), metrics["validation"]
    means = {"mean IoU": metrics["mean_iou"]}
    means |= {f"official {name}": official[name] for name in HEADLINES if name in official}
    scores = ", ".join(f"{name} {score:.4f}" for name, score in means.items())
    return (
        f"best epoch {metrics['epoch']}: {scores}, of masks at the ground truth's size; "
        f"mean IoU {validation['mean_iou']:.4f} in validation at {validation['size']}; all in {directory}"
    )


def export(run: Path) -> None:
    """Makes the SavedModel of a run in float32, whatever it was trained in and on."""
    import keras

    from tfseg.exporters.exporter import export_by_tensorflow, export_saved_model

    if keras.backend.backend() == "tensorflow":
        keras.mixed_precision.set_dtype_policy("float32")
        labels, sizes = run_dir.read_labels(run), run_dir.read_sizes(run) or ()
        ignore_class = run_dir.read_config(run).loss.ignore_class
        pixels = run_dir.read_pixels(run)
        export_saved_model(load_network(run), run / run_dir.SAVED_MODEL, *labels, sizes, ignore_class, pixels)
    else:
        export_by_tensorflow(run, run / run_dir.SAVED_MODEL)
