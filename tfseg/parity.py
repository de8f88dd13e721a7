"""How far what was exported differs from the network it was made of, on real pictures: numbers, scores, bytes, time."""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from tfseg import coreml, litert, onnx_export
from tfseg.predict import Predictor
from tfseg.tables import percent, table

FILE = "parity.json"
# Format -> the files and folders of an export that it consists of.
PARTS = {
    "SavedModel": ("saved_model.pb", "variables"),
    **{f"LiteRT {precision}": (name,) for precision, name in litert.FILES.items()},
    "ONNX": (onnx_export.FILE,),
    "Core ML": (coreml.PACKAGE,),
}
# What a format has to reach: the share of pixels of the network's own class, or else how much mean IoU it may lose.
SHARES = {"SavedModel": 0.9999, "ONNX": 0.9999, "LiteRT float32": 0.9999, "LiteRT float16": 0.999}
LOSSES = {"LiteRT int8": 0.01}


class Model(Protocol):
    """One format, loaded: pictures, uint8 (B, H, W, 3) -> class ids, uint8 (B, H, W)."""

    def __call__(self, images: np.ndarray) -> np.ndarray: ...

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The same pictures -> float32 (B, H, W, C), in 0..1."""


def load_models(directory: Path) -> dict[str, Model]:
    """Loads every format of an export that runs here, by its name in `PARTS`."""
    models = {"SavedModel": Predictor(directory)}
    for name, parts in PARTS.items():
        kind = litert.LiteRT if name.startswith("LiteRT") else onnx_export.Onnx
        if name not in ("SavedModel", "Core ML") and (directory / parts[0]).exists():
            models[name] = kind(directory / parts[0])
    return models


def compare(network, models: Mapping[str, Model], examples: Sequence[dict]) -> dict:
    """Compares formats with the network, picture by picture, all of them in turns.

    Args:
        network: keras.Model, float pixels 0..255 (B, H, W, 3) -> logits (B, H, W, C).
        models: by the format's name.
        examples: {"id": bytes, "image": uint8 (H, W, 3), "mask": uint8 (H, W)}, at least one, of one size.

    Returns:
        `pictures`, their ids; `size`, [height, width]; `cores` of this machine; `mean_iou` of the network on these
        pictures, void truth left out; and by format under `formats`

        * `largest_difference` of a probability,
        * `other_class`, the share of pixels that have another class than the network gives them,
        * `mean_iou`, and `iou_change`, that less the network's,
        * `milliseconds`, the median time from one picture to its class ids, after one more that is not counted,
        * `bar` in words, and whether it is `met`.
    """
    from keras import ops

    from tfseg.metrics import scores

    for model in models.values():
        model(examples[0]["image"][np.newaxis])
    seconds, differences, others = ({name: [] for name in models} for _ in range(3))
    matrices = dict.fromkeys(["network", *models], 0)
    for example in examples:
        image, mask = example["image"][np.newaxis], example["mask"][np.newaxis]
        logits = ops.cast(network(image.astype(np.float32), training=False), "float32")
        expected = ops.convert_to_numpy(ops.softmax(logits))
        classes = ops.convert_to_numpy(ops.argmax(logits, axis=-1))
        matrices["network"] += count(mask, classes, logits.shape[-1])
        for name, model in models.items():
            start = time.perf_counter()
            answered = model(image)
            seconds[name].append(time.perf_counter() - start)
            differences[name].append(np.abs(model.probabilities(image) - expected).max())
            others[name].append((answered != classes).mean())
            matrices[name] += count(mask, answered, logits.shape[-1])
    mean_ious = {name: scores(matrix, [*map(str, range(len(matrix)))])["mean_iou"] for name, matrix in matrices.items()}
    formats = {
        name: judge(
            name,
            {
                "largest_difference": float(max(differences[name])),
                "other_class": float(np.mean(others[name])),
                "mean_iou": mean_ious[name],
                "iou_change": mean_ious[name] - mean_ious["network"],
                "milliseconds": 1000 * statistics.median(seconds[name]),
            },
        )
        for name in models
    }
    return {
        "pictures": [example["id"].decode() for example in examples],
        "size": [*examples[0]["mask"].shape],
        "cores": os.cpu_count(),
        "mean_iou": mean_ious["network"],
        "formats": formats,
    }


def count(mask: np.ndarray, classes: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels of one picture by truth and prediction, int64 (classes, classes)."""
    from keras import ops

    from tfseg.metrics import confusion_matrix

    return ops.convert_to_numpy(confusion_matrix(mask, classes, num_classes))[0].astype(np.int64)


def judge(name: str, measured: dict) -> dict:
    """Returns what was measured of a format, with its bar; what is not a number meets none."""
    if name in SHARES:
        bar = f"{100 * SHARES[name]:g} % of pixels of the same class"
        met = 1 - measured["other_class"] >= SHARES[name]
    else:
        bar = f"at most {100 * LOSSES[name]:g} point of mean IoU lost"
        met = -measured["iou_change"] <= LOSSES[name]
    return {**measured, "bar": bar, "met": met}


def add_bytes(report: dict, directory: Path) -> None:
    """Adds to each format of a report what it takes on the disk, `bytes`, and an entry for one that was not run."""
    for name, parts in PARTS.items():
        paths = [directory / part for part in parts]
        if paths[0].exists():
            files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
            report["formats"].setdefault(name, {})["bytes"] = sum(file.stat().st_size for file in files)


def lay_out(report: dict) -> str:
    """Lays out the table of a report: that of `compare`, after `add_bytes`."""
    rows = [
        ("format", "MB", "largest difference", "other class %", "mean IoU %", "change", "ms a picture", "bar"),
        ("the network", "", "", "", percent(report["mean_iou"]), "", "", ""),
    ]
    for name, entry in report["formats"].items():
        size = f"{entry['bytes'] / 1e6:.1f}"
        if "met" not in entry:
            rows.append((name, size, *["-"] * 5, "not run"))
            continue
        rows.append(
            (
                name,
                size,
                f"{entry['largest_difference']:.1e}",
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
