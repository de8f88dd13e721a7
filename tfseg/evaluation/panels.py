"""The images that a report shows in its panels: some evenly spread, some drawn, the best and the worst."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tfseg.evaluation.ground_truth import read_example
from tfseg.evaluation.scored_run import ScoredRun
from tfseg.inference.image_segmenter import ImageSegmenter
from tfseg.inference.predictor import Predictor, make_segmenter
from tfseg.inference.tta import InferenceSettings
from tfseg.io.pixel_formats import as_rgb
from tfseg.io.resizing import resize
from tfseg.records.labels import VOID
from tfseg.records.record_set import RecordSet
from tfseg.visualization.figures import Sample


def predict_panels(
    predictor: Predictor, scored: ScoredRun, records: RecordSet, samples: int
) -> dict[str, list[Sample]]:
    """Predicts the images of each panel, by its name, in the way in which the split was scored.

    Args:
        predictor: the run's SavedModel.
        scored: the run and its scores.
        records: which were scored.
        samples: how many images a panel has.

    Raises:
        ValueError: a record is damaged.
        OSError: the records cannot be read.
    """
    from tfseg.metrics.confusion import scores as score  # imports Keras
    from tfseg.pipeline.damage import explain_read_errors  # imports TensorFlow
    from tfseg.pipeline.examples import spread

    ignore_class = None if scored.scores.get("learn_void") else VOID
    means = [score(matrix, predictor.classes, ignore_class)["mean_iou"] for matrix in scored.matrices]
    chosen = {"panel": spread(len(means), samples), **choose(means, samples)}
    wanted = {place: means[place] for places in chosen.values() for place in places}
    sizes = [tuple(size) for size in scored.scores["resize"]]
    segment = make_segmenter(predictor, InferenceSettings.from_json(scored.scores["inference"]), sizes)
    with explain_read_errors(records):
        rows = predict_samples(segment, records, scored.split, wanted, ignore_class)
    return {name: [rows[place] for place in places] for name, places in chosen.items()}


def predict_samples(
    segment: ImageSegmenter, records: RecordSet, split: str, means: Mapping[int, float], ignore_class: int | None
) -> dict[int, Sample]:
    """Predicts images of a split.

    Args:
        segment: the model.
        records: where the images are.
        split: the split.
        means: place of an image, counted from 0 in the manifest's order -> its mean IoU.
        ignore_class: as of `Sample`.

    Returns:
        The samples by their places.
    """
    from tfseg.pipeline.examples import read_places

    rows, places = {}, sorted(means)
    for place, stored in zip(places, read_places(records, split, places, size=None), strict=True):
        example = read_example(stored, records)
        size = example.truth.shape
        [prediction] = segment.masks(segment.prepare(example.image)[np.newaxis], [size])
        image = as_rgb(resize(example.image, size))
        rows[place] = Sample(example.id, image, example.truth, prediction, means[place], ignore_class)
    return rows


def choose(means: Sequence[float], samples: int) -> dict[str, list[int]]:
    """Chooses so many images for each panel, or all if there are fewer.

    Args:
        means: mean IoU of each image; nan of one without ground truth, which is neither good nor bad.
        samples: how many.

    Returns:
        Places in `means`, by the panel's name: drawn, the same of so many images every time; the best, the very best
        first; the worst, the very worst first.
    """
    drawn = np.random.default_rng(0).permutation(len(means))[:samples]
    ranked = sorted((place for place, mean in enumerate(means) if not math.isnan(mean)), key=means.__getitem__)
    return {
        "panel-random": sorted(drawn.tolist()),
        "panel-best": ranked[::-1][:samples],
        "panel-worst": ranked[:samples],
    }
