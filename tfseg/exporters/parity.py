"""How far what was exported differs from the network it was made of, on real images: numbers, scores, bytes, time.

All of them take the one way from image to mask, `inference.image_segmenter`; so does, inside its graph, the
SavedModel when it is given a file.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tfseg.exporters import coreml, litert, litert_mixed, onnx, openvino, web
from tfseg.exporters.description import takes_files
from tfseg.inference.image_segmenter import ImageSegmenter, Network, Size
from tfseg.inference.predictor import Predictor
from tfseg.inference.runtimes.choice import RUNTIMES, find_runtimes
from tfseg.inference.runtimes.litert import LiteRT
from tfseg.io import masks
from tfseg.io.png import encode_png
from tfseg.io.progress import track
from tfseg.visualization.tables import percent, table

FILE = "parity.json"
ENCODED = "SavedModel, files"  # its signature that takes files
WEB_PAGE = "web page"  # which computes the file of ONNX
# Format -> the files and folders of an export that it consists of.
PARTS = {
    "SavedModel": ("saved_model.pb", "variables"),
    **{f"LiteRT {precision}": (name,) for precision, name in litert.FILES.items()},
    "LiteRT int8, logits": (litert.LOGITS,),
    "LiteRT int8, float16": (litert_mixed.MIXED,),
    "LiteRT int8 weights": (litert_mixed.WEIGHTS,),
    "ONNX": (onnx.FILE,),
    "OpenVINO": (openvino.FILE, openvino.WEIGHTS),
    "Core ML": (coreml.PACKAGE,),
    WEB_PAGE: (web.FOLDER,),
}
# What a format has to reach: the share of pixels of the network's own class, or else how much mean IoU it may lose.
SHARES = {
    **dict.fromkeys(("SavedModel", ENCODED, "ONNX", "OpenVINO", "LiteRT float32"), 0.9999),
    "LiteRT float16": 0.999,
}
LOSSES = {
    **dict.fromkeys(("LiteRT int8", "LiteRT int8, logits"), 0.01),
    **dict.fromkeys(("LiteRT int8, float16", "LiteRT int8 weights"), 0.002),
}


def load_models(directory: Path) -> dict[str, Network]:
    """Loads every format of an export that runs here, by its name in `PARTS`, as a function that does not resize."""
    names = {parts[0]: name for name, parts in PARTS.items()}
    models = {
        names[RUNTIMES[runtime].file]: Predictor(directory, runtime).network for runtime in find_runtimes(directory)
    }
    if (path := directory / litert.LOGITS).is_file():
        models[names[litert.LOGITS]] = LiteRT(path, Predictor(directory, "tensorflow").pixels.channels).network
    return models


def load_encoded(directory: Path) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Loads what takes files: by its name a function from an image, uint8 (H, W, channels), to its mask, by a PNG.

    None where there is no such file of a record's bytes: of a model that takes 16 bits, or other channels than PNG has.
    """
    predictor = Predictor(directory, "tensorflow")
    if predictor.pixels.bits == 16 or not takes_files(predictor.pixels):
        return {}
    return {ENCODED: lambda image: masks.decode_mask(predictor.answer_files([encode_png(image)])[0])}


def compare(
    network,
    models: Mapping[str, Network],
    examples: Sequence[dict],
    sizes: Sequence[Size] = (),
    self_resizing: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
) -> dict:
    """Compares formats with the network, image by image, all of them in turns.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, channels) -> logits (B, H, W, C).
        models: by the format's name.
        examples: {"id": bytes, "image": uint8 (H, W, channels), "mask": uint8 (H, W)}, at least one, of any sizes.
        sizes: to which images are resized for the network and for all models, see `ImageSegmenter`.
        self_resizing: by name what makes a mask of an image by itself, resizing included.

    Returns:
        `pictures`, their ids; `size`, [height, width] of what the network sees of the first; `cores` of this machine;
        `mean_iou` of the network on these images, void ground truth left out; and by format under `formats`

        * `largest_difference` of a probability; not of `self_resizing`,
        * `other_class`, the share of pixels that have another class than the network gives them,
        * `mean_iou`, and `iou_change`, that less the network's,
        * `milliseconds`, the median time from one image to its class ids, after one more that is not counted,
        * `bar` in words, and whether it is `met`.
    """
    run = as_function(network)
    classes = run(np.zeros((1, *(sizes[-1] if sizes else (32, 32)), examples[0]["image"].shape[-1]), np.uint8)).shape[
        -1
    ]
    reference = ImageSegmenter(run, classes, sizes)
    segmenters = {
        name: ImageSegmenter(model, classes, sizes, in_numpy=name != "SavedModel") for name, model in models.items()
    }
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {**segmenters, **(self_resizing or {})}
    for segment in ways.values():
        segment(examples[0]["image"])
    own_matrix = np.zeros((classes, classes), np.int64)
    found = {name: Measured(np.zeros_like(own_matrix)) for name in ways}
    for example in track(examples, desc="comparing", unit="image"):
        image, mask = example["image"], example["mask"]
        prepared = reference.prepare(image)[np.newaxis]
        expected, expected_classes = reference.probabilities(prepared), reference(image)
        own_matrix += count(mask, expected_classes, classes)
        for name, segment in ways.items():
            found[name].add(segment, image, mask, expected_classes)
            if name in segmenters:
                found[name].compare(segmenters[name].probabilities(prepared), expected)
    mean_iou = find_mean_iou(own_matrix)
    return {
        "pictures": [example["id"].decode() for example in examples],
        "size": [*reference.prepare(examples[0]["image"]).shape[:2]],
        "cores": os.cpu_count(),
        "mean_iou": mean_iou,
        "formats": {name: judge(name, measured.summarize(mean_iou)) for name, measured in found.items()},
    }


def as_function(network) -> Network:
    """Makes of a Keras network a function as `ImageSegmenter` takes it."""
    from keras import ops

    def run(images: np.ndarray) -> np.ndarray:
        logits = ops.cast(network(images.astype(np.float32), training=False), "float32")
        return np.asarray(ops.convert_to_numpy(ops.softmax(logits)))

    return run


@dataclass
class Measured:
    """What is measured of one format, image by image."""

    matrix: np.ndarray
    """int64 (classes, classes), pixels by ground truth and prediction."""
    seconds: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    """The largest of each image between a probability and the network's."""
    others: list[float] = field(default_factory=list)
    """Share of each image's pixels that have another class than the network gives them."""

    def add(self, segment: Callable, image: np.ndarray, mask: np.ndarray, expected: np.ndarray) -> None:
        """Takes the time for an image, and compares its mask with ground truth and the network's mask."""
        start = time.perf_counter()
        answered = segment(image)
        self.seconds.append(time.perf_counter() - start)
        self.others.append(float((answered != expected).mean()))
        self.matrix += count(mask, answered, len(self.matrix))

    def compare(self, probabilities: np.ndarray, expected: np.ndarray) -> None:
        """Compares probabilities with the network's."""
        self.differences.append(float(np.abs(probabilities - expected).max()))

    def summarize(self, mean_iou: float) -> dict:
        """Sums up all images; `mean_iou` is the network's."""
        own = find_mean_iou(self.matrix)
        return {
            **({"largest_difference": max(self.differences)} if self.differences else {}),
            "other_class": float(np.mean(self.others)),
            "mean_iou": own,
            "iou_change": own - mean_iou,
            "milliseconds": 1000 * statistics.median(self.seconds),
        }


def find_mean_iou(matrix: np.ndarray) -> float:
    """Derives the mean IoU of a confusion matrix, void left out."""
    from tfseg.metrics.confusion import scores

    return scores(matrix, tuple(map(str, range(len(matrix)))))["mean_iou"]


def count(mask: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels of one image, uint8 (H, W), by ground truth and prediction, int64 (classes, classes)."""
    pairs = mask.astype(np.int64) * num_classes + classes
    return np.bincount(pairs.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes)


def judge(name: str, measured: dict) -> dict:
    """Returns what was measured of a format, with its bar; what is not a number meets none."""
    if name in SHARES:
        bar = f"{100 * SHARES[name]:g} % of pixels of the same class"
        met = 1 - measured["other_class"] >= SHARES[name]
    else:
        points = f"{100 * LOSSES[name]:g}"
        bar = f"at most {points} point{'' if points == '1' else 's'} of mean IoU lost"
        met = -measured["iou_change"] <= LOSSES[name]
    return {**measured, "bar": bar, "met": met}


def add_bytes(report: dict, directory: Path) -> None:
    """Adds to each format of a report what it takes on the disk, `bytes`, and an entry for one that was not run."""
    for name, parts in PARTS.items():
        paths = [directory / part for part in parts]
        if paths[0].exists():
            files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
            report["formats"].setdefault(name, {})["bytes"] = sum(file.stat().st_size for file in files)


def add_notes(report: dict, directory: Path) -> None:
    """Adds to LiteRT's mixed precision in a report how many of its operations stay in floats, `note`."""
    if chosen := litert_mixed.read_report(directory):
        report["formats"]["LiteRT int8, float16"]["note"] = litert_mixed.word(chosen)


def list_notes(report: dict) -> list[str]:
    """Words what a report notes of its formats."""
    return [f"{name}: {entry['note']}." for name, entry in report["formats"].items() if "note" in entry]


def lay_out(report: dict) -> str:
    """Lays out the table of a report: that of `compare`, after `add_bytes`."""
    rows = [
        ("format", "MB", "largest difference", "other class %", "mean IoU %", "change", "ms per image", "bar"),
        ("the network", "", "", "", percent(report["mean_iou"]), "", "", ""),
    ]
    for name, entry in report["formats"].items():
        size = f"{entry['bytes'] / 1e6:.1f}" if "bytes" in entry else ""
        if "met" not in entry:
            rows.append((name, size, "-", "-", "-", "-", "-", "as ONNX" if name == WEB_PAGE else "not run"))
            continue
        rows.append(
            (
                name,
                size,
                f"{entry['largest_difference']:.1e}" if "largest_difference" in entry else "-",
                f"{100 * entry['other_class']:.3f}",
                percent(entry["mean_iou"]),
                f"{100 * entry['iou_change']:+.2f}",
                f"{entry['milliseconds']:.0f}",
                "met" if entry["met"] else "missed",
            )
        )
    return table(rows)


def list_misses(report: dict) -> list[str]:
    """Words each bar that a format misses, with what it reached."""
    return [
        f"{name} misses its bar, {entry['bar']}: {100 * entry['other_class']:.3f} % of pixels have another class, mean "
        f"IoU changes by {100 * entry['iou_change']:+.2f} points"
        for name, entry in report["formats"].items()
        if not entry.get("met", True)
    ]
