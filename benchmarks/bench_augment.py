"""Measures the augmentation against the same set of effects from other libraries, and against a train step.

    pip install '.[bench]'
    python -m benchmarks.bench_augment
    python -m benchmarks.bench_augment --step 320x320

Milliseconds for a batch of 8 images and masks, in turns in one process, each in a graph as a train step holds it.
albumentations runs in as many threads as there are cores. Medians of several rounds, and ratios. What is not installed
is left out.
"""

import argparse
import importlib
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.results import save_results
from tfseg.config.parse import load_config
from tfseg.io import command

BATCH_SIZE = 8
SETTINGS = Path(__file__).parents[1] / "configs" / "cityscapes_320_augmented.yaml"


def ours() -> Callable:
    """The write-up's set with cutout and class-mix."""
    import tensorflow as tf

    from tfseg.augmentation.augmenter import Augmenter

    settings = vars(load_config(SETTINGS).augment) | {"cutout": 0.3, "class_mix": 0.5}
    augmentation = Augmenter(**settings, seed=0)
    compiled = tf.function(augmentation)
    steps = iter(range(10**9))
    return lambda image, mask: compiled(image, mask, tf.constant(next(steps)))


def keras_layers() -> Callable:
    """The nearest of each; Keras has no gamma, tone curve, motion blur, nor noise that leaves masks alone."""
    from keras import layers

    return in_a_row(
        [
            layers.CutMix(factor=0.5),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(15 / 360),
            layers.RandomZoom(0.2),
            layers.RandomShear(0.05, 0.05),
            layers.RandomPerspective(scale=0.05),
            layers.RandomBrightness(0.1),
            layers.RandomContrast(0.2),
            layers.RandomSaturation(0.6),
            layers.RandomHue(0.03),
            layers.RandomGaussianBlur(kernel_size=7),
            layers.RandomSharpness(0.3),
            layers.RandomErasing(),
        ]
    )


def keras_cv() -> Callable:
    """The nearest of each; KerasCV has no gamma, tone curve, motion blur, perspective, noise or class-mix."""
    from keras_cv import layers

    return in_a_row(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(15 / 360, segmentation_classes=8),
            layers.RandomZoom(0.2),
            layers.RandomShear(0.05, 0.05),
            layers.RandomBrightness(0.1),
            layers.RandomContrast((0, 255), 0.2),
            layers.RandomSaturation((0.4, 0.6)),
            layers.RandomHue(0.03, value_range=(0, 255)),
            layers.RandomGaussianBlur(kernel_size=7, factor=1.0),
            layers.RandomSharpness(0.3, value_range=(0, 255)),
            layers.RandomCutout(0.3, 0.3),
        ]
    )


def in_a_row(layers: list) -> Callable:
    """A graph that applies the layers of Keras or KerasCV which run on this version, and says which do not."""
    import tensorflow as tf

    def apply(chosen, image, mask):
        batch = {"images": tf.cast(image, tf.float32), "segmentation_masks": tf.cast(mask, tf.float32)[..., None]}
        for layer in chosen:
            batch = layer(batch, training=True)
        return batch["images"], batch["segmentation_masks"]

    def runs(layer) -> bool:
        try:
            tf.function(apply)([layer], np.zeros((2, 64, 64, 3), np.uint8), np.zeros((2, 64, 64), np.uint8))
        except Exception as error:
            print(f"left out: {type(layer).__name__}: {str(error).splitlines()[0][:80]}", file=sys.stderr)
            return False
        return True

    chosen = [layer for layer in layers if runs(layer)]
    return tf.function(lambda image, mask: apply(chosen, image, mask))


def albumentations() -> Callable:
    """The same effects with the same probabilities, one image after another in each thread, bytes to bytes."""
    import albumentations as A
    import cv2

    cv2.setNumThreads(0)
    s = load_config(SETTINGS).augment
    p = {"rotation": 1.0, **s.probability}
    change = A.Compose(
        [
            A.HorizontalFlip(p=s.flip),
            A.Affine(scale=s.zoom, rotate=(-15, 15), shear=(-5, 5), border_mode=cv2.BORDER_REPLICATE, p=1.0),
            A.Perspective(scale=(0.0, s.perspective), p=p["perspective"]),
            A.OneOf(
                [
                    A.RandomBrightnessContrast(s.brightness, 0.0, p=1.0),
                    A.RandomBrightnessContrast(0.0, s.contrast, p=1.0),
                    A.RandomGamma((80, 125), p=1.0),
                    A.RandomToneCurve(s.tone_curve, p=1.0),
                ],
                p=s.one_of[0]["p"],
            ),
            A.ColorJitter(brightness=0, contrast=0, saturation=s.saturation, hue=s.hue / 360, p=1.0),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, s.blur), p=1.0),
                    A.MotionBlur((3, 5), p=1.0),
                    A.Sharpen((0.0, s.sharpen), (1.0, 1.0), p=1.0),
                ],
                p=s.one_of[1]["p"],
            ),
            A.GaussNoise((0.0, s.noise), p=p["noise"]),
            A.CoarseDropout((1, 1), (0.01, 0.3), (0.01, 0.3), fill=127, fill_mask=0, p=1.0),
        ]
    )
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def apply(image, mask):
        changed = list(pool.map(lambda pair: change(image=pair[0], mask=pair[1]), zip(image, mask, strict=True)))
        return np.stack([one["image"] for one in changed]), np.stack([one["mask"] for one in changed])

    return apply


STACKS = {"tfseg": ours, "keras.layers": keras_layers, "KerasCV": keras_cv, "albumentations": albumentations}
NEEDS = {"KerasCV": "keras_cv", "albumentations": "albumentations"}


def bench(sizes: list[str], rounds: int) -> dict:
    """Measures all in turns: {size: {stack: [milliseconds of each round]}}."""
    stacks = {}
    for name, make in STACKS.items():
        try:
            importlib.import_module(NEEDS.get(name, "keras"))
        except ImportError as error:
            print(f"left out: {name}: {error}", file=sys.stderr)
            continue
        stacks[name] = make()
    results = {}
    for size in sizes:
        shape = (BATCH_SIZE, *command.parse_size(size))
        random = np.random.default_rng(0)
        image = random.integers(0, 256, (*shape, 3), np.uint8)
        mask = np.repeat(np.repeat(random.integers(0, 8, (BATCH_SIZE, 8, 8)), shape[1] // 8, 1), shape[2] // 8, 2)
        mask = mask.astype(np.uint8)
        for change in stacks.values():  # traced and compiled
            change(image, mask)
        results[size] = {name: [] for name in stacks}
        for _ in range(rounds):
            for name, change in stacks.items():
                results[size][name].append(milliseconds(change, image, mask))
    return results


def bench_step(sizes: list[str], rounds: int) -> dict:
    """Measures a train step of the EfficientNetB3 U-Net without augmentation: {size: [milliseconds of each round]}."""
    from tfseg.augmentation.augmenter import Augmenter
    from tfseg.device import choose_device
    from tfseg.losses.segmentation_loss import SegmentationLoss
    from tfseg.models.segmenter import build_network
    from tfseg.training.learner import Learner
    from tfseg.training.optimizers import Adam

    device = choose_device()
    network = build_network(8, encoder="efficientnetb3", weights=None, **device.network)
    learner = Learner(network, SegmentationLoss(1.0, 1.0), Augmenter())
    learner.compile(Adam(1e-4), jit_compile=device.xla)
    results = {}
    for size in sizes:
        shape = (BATCH_SIZE, *command.parse_size(size))
        batch = {"image": np.zeros((*shape, 3), np.uint8), "mask": np.ones(shape, np.uint8)}
        learner.train_on_batch(batch)  # traced
        results[size] = [milliseconds(learner.train_on_batch, batch) for _ in range(rounds)]
    return results


def milliseconds(call: Callable, *arguments) -> float:
    """Time until what is returned is there."""
    start = time.perf_counter()
    result = call(*arguments)
    np.asarray(result[0] if isinstance(result, tuple) else result)
    return 1000 * (time.perf_counter() - start)


def table(results: dict, steps: dict) -> list[str]:
    """Rows of medians; of each other library, and of the train step, how many times ours it is."""
    stacks = list(next(iter(results.values())))
    head = ["batch", *stacks, *(["train step of the B3 U-Net"] if steps else [])]
    rows = [f"| {' | '.join(head)} |", f"|---{'|---:' * (len(head) - 1)}|"]
    for size, by_stack in results.items():
        medians = [statistics.median(by_stack[name]) for name in stacks]
        cells = [f"{medians[0]:.0f} ms", *(f"{value:.0f} ms ({value / medians[0]:.1f}x)" for value in medians[1:])]
        if steps:
            step = statistics.median(steps[size]) if size in steps else None
            cells.append("" if step is None else f"{step:.0f} ms ({step / medians[0]:.0f}x)")
        rows.append(f"| {BATCH_SIZE}x{size} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["320x320", "512x1024"], help="HEIGHTxWIDTH (default: both)")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each (default: %(default)s)")
    parser.add_argument("--step", nargs="+", default=[], help="HEIGHTxWIDTH of batches to measure a train step on too")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    results = bench(options.sizes, options.rounds)
    steps = bench_step(options.step, 3) if options.step else {}
    print("\n".join(table(results, steps)))
    save_results(options.json, "bench_augment", {"augment": results, "step": steps})


if __name__ == "__main__":
    command.run(main)
