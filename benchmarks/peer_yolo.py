"""Trains YOLO26n-sem, Ultralytics' network for semantic segmentation, for peer_trainers.py.

From its YAML, thus from random weights, by Ultralytics' own trainer with its own loss and augmentation. Ultralytics is
under the AGPL: it is measured here, and no part of tfseg.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peer_data import PeerData
from tfseg.io.atomic import write_json

NETWORK = "yolo26n-sem.yaml"
# Arguments of its trainer. Of "documented", all that are left out are its defaults: batches of 16, of which four make a
# step of the optimizer. With few images there are too few such steps; "fitted" takes one after each batch of 8.
RECIPES = {
    "documented": {"imgsz": 480},
    "fitted": {"imgsz": 480, "batch": 8, "nbs": 8, "warmup_epochs": 1.0, "cos_lr": True, "close_mosaic": 5},
}
PLACES = ("data", "project", "save_dir")  # arguments that name folders of this machine


def train(
    data: PeerData, out: Path, minutes: float, seed: int, threads: int, settings: dict
) -> tuple[dict, dict[str, Iterator]]:
    """Trains for so long, by the trainer's own clock; returns what happened, and masks of the validation split.

    The clock runs from the first step to the last, with the validation after each epoch but the last. Masks are
    predicted by the weights of the best epoch, from images whose longer side is `imgsz`, as the trainer validates
    them, and again from images whose shorter side is `imgsz`, as it trains on them.
    """
    os.environ["YOLO_CONFIG_DIR"] = str(out / "settings")
    os.environ["YOLO_OFFLINE"] = "true"  # it would look for a newer release of itself, and for a font
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    import ultralytics

    ultralytics.settings.update({"sync": False})  # sends no statistics
    network = ultralytics.YOLO(NETWORK, task="semantic")
    watch = Watch(threads)
    network.add_callback("on_train_start", watch.start)
    network.add_callback("on_train_batch_start", watch.count_batch)
    network.add_callback("on_train_epoch_end", watch.stop)
    fixed = {"time": minutes / 60, "seed": seed, "project": str(out), "name": "ultralytics", "plots": False}
    network.train(data=str(describe(data)), pretrained=False, **(settings | fixed))
    trainer = network.trainer
    results = {
        "device": str(trainer.device),
        "seconds": watch.seconds,
        "steps": watch.counts["steps"],
        "images": watch.counts["images"],
        "epochs": trainer.epoch + 1,
        "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
        "settings": {name: value for name, value in vars(trainer.args).items() if name not in PLACES},
        "history": {name.strip(): values for name, values in trainer.read_results_csv().items()},
        "versions": {"ultralytics": ultralytics.__version__, "torch": torch.__version__},
    }
    longer = int(trainer.args.imgsz)
    shorter = round(longer * max(data.size) / min(data.size))
    sizes = {"masks": longer, f"masks_{shorter}": shorter}
    return results, {name: predict(data, trainer.best, size) for name, size in sizes.items()}


class Watch:
    """Counts what a trainer does, and how long it takes."""

    def __init__(self, threads: int):
        self.threads, self.counts, self.begin, self.seconds = threads, Counter(), 0.0, 0.0

    def start(self, trainer) -> None:
        import torch

        torch.set_num_threads(self.threads)  # it takes one by default
        trainer.optimizer.register_step_post_hook(lambda *_: self.counts.update(steps=1))
        self.begin = time.monotonic()

    def count_batch(self, trainer) -> None:
        self.counts.update(images=trainer.batch_size)

    def stop(self, trainer) -> None:
        self.seconds = time.monotonic() - self.begin


def describe(data: PeerData) -> Path:
    """Writes the YAML that Ultralytics wants of a data set, in the part of YAML that is JSON."""
    path = data.folder / "data.yaml"
    places = {split: f"images/{split}" for split in ("train", "val")}
    names = dict(enumerate(data.classes))
    write_json({"path": str(data.folder.absolute()), **places, "masks_dir": "masks", "names": names}, path)
    return path


def predict(data: PeerData, weights: Path, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields id and mask of the images of the validation split, from images whose longer side is `size`."""
    import ultralytics

    network = ultralytics.YOLO(weights, task="semantic")
    for image in data.images("val"):
        (result,) = network.predict(str(image), imgsz=size, save=False, verbose=False)
        yield image.stem, result.semantic_mask.data.cpu().numpy()
