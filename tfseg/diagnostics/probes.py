"""Operations that were wrong on some devices, compared with NumPy: a part of `tfseg doctor`."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from tfseg.augmentation import effects
from tfseg.augmentation.augmenter import Augmenter
from tfseg.config.schema import Config
from tfseg.device import Choice, choose_device
from tfseg.diagnostics.checks import FAILED, OK, WARNING, Finding
from tfseg.diagnostics.speed import Part, as_trained, draw_batch, to_numpy
from tfseg.metrics.confusion import confusion_matrix
from tfseg.training import assembly

SMALL = 128  # height and width of what is augmented


def probe_operations(config: Config) -> Part:
    """Compares a few operations with NumPy, and the augmentation with itself."""
    choice = choose_device(config.accelerator.kind, "float32")
    for name in PROBES:
        yield {"began": name}
        yield probe(name, run_compiled)
    if keras.backend.backend() == "tensorflow":
        yield {"began": "the augmentation"}
        yield probe_augmentation(config, choice, run_compiled)
    else:
        text = f"augmentation: not compared, {keras.backend.backend()} has no second device here to compare with"
        yield Finding("operations", OK, text)


def probe(name: str, run: Callable) -> Finding:
    """Runs one of PROBES by `run_compiled`."""
    computes, meaning = PROBES[name]
    if computes(run):
        return Finding("operations", OK, f"{name}: as NumPy has it")
    return Finding("operations", FAILED, f"{name}: not what NumPy has", meaning)


def run_compiled(function: Callable, *arrays):
    """Calls a function of tensors as a training does, where it computes by default."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, autograph=False)
    return to_numpy(function(*map(ops.convert_to_tensor, arrays)))


def computes_dense(run: Callable) -> bool:
    """tensorflow-metal 1.2.0 loses the ReLU of a dense layer with bias (tensorflow#92686)."""
    random = np.random.default_rng(0)
    x, kernel, bias = (random.normal(size=shape).astype("float32") for shape in ((4, 32), (32, 16), (16,)))
    layer = keras.layers.Dense(16, activation="relu", dtype="float32")
    layer.build(x.shape)
    layer.set_weights([kernel, bias])
    return np.allclose(run(layer, x), np.maximum(x @ kernel + bias, 0), atol=0.05)  # NVIDIA's cards round to 10 bits


def computes_top_k(run: Callable) -> bool:
    """Beyond 16 they were wrong on M1 (tensorflow#57204)."""
    x = np.random.default_rng(0).permuted(np.arange(4 * 500, dtype="float32").reshape(4, 500), axis=1)
    values, places = run(lambda x: tuple(ops.top_k(x, 100)), x)  # pyright: ignore[reportArgumentType] - Keras' stub
    expected = np.sort(x, axis=-1)
    ordered = np.array_equal(run(lambda x: ops.sort(x, axis=-1), x), expected)
    there = np.array_equal(np.take_along_axis(x, np.asarray(places, int), axis=1), values)
    return ordered and there and np.array_equal(values, expected[:, :-101:-1])


def computes_confusion(run: Callable) -> bool:
    truth, predicted = np.random.default_rng(0).integers(0, 8, (2, 2, 64, 64), np.int32)
    expected = [np.bincount(8 * a.ravel() + b.ravel(), minlength=64) for a, b in zip(truth, predicted, strict=True)]
    got = run(lambda truth, predicted: confusion_matrix(truth, predicted, 8), truth, predicted)
    return np.array_equal(got, np.reshape(expected, (2, 8, 8)))


# Name -> a function that says whether it is right, and what it means if not.
PROBES = {
    "a dense layer with ReLU": (
        computes_dense,
        "tfseg has no such layer; own models with Dense(activation='relu') give wrong values here",
    ),
    "top_k and sort of 500": (
        computes_top_k,
        "leave loss.lovasz at 0; own losses that sort give wrong values here",
    ),
    "the confusion matrix": (computes_confusion, "scores from this device are wrong; set accelerator.kind to cpu"),
}


def probe_augmentation(config: Config, choice: Choice, run: Callable) -> Finding:
    """Compares draws and images of the augmentation with those that plain operations give on the CPU."""
    import tensorflow as tf

    classes = assembly.count_classes(config)
    augmentation = Augmenter(**dataclasses.asdict(config.augment), num_classes=classes, seed=0)
    count, step = 8, 3
    batch = draw_batch((SMALL, SMALL), count, classes, assembly.count_channels(config))
    with tf.device("CPU:0"):
        numbers = to_numpy(augmentation.draw_numbers(count, step, 0))
        drawn = augmentation.draw(count, SMALL, SMALL, step)
        tensors = {key: tf.constant(pixels) for key, pixels in batch.items()}
        expected = to_numpy(effects.change(**tensors, **drawn))
    found = run(lambda image: augmentation.draw_numbers(count, step, 0), batch["image"])
    if not all(np.allclose(found[name], numbers[name], atol=1e-6) for name in numbers):
        text = "augmentation: other random numbers than on the CPU, so no image can be compared"
        return Finding("operations", WARNING, text, "a run with a seed will not be the same on another device")
    sent = as_trained(batch, choice)
    return judge_augmentation(
        run(lambda image, mask: augmentation(image, mask, step), sent["image"], sent["mask"]), expected
    )


def judge_augmentation(found: tuple, expected: tuple) -> Finding:
    """Makes a finding of augmented images and masks, and of those that they should be."""
    pixels, classes = np.mean(np.abs(found[0] - expected[0]) <= 1), np.mean(found[1] == expected[1])
    text = f"augmentation: {pixels:.2%} of the image within a grey level of the CPU's, {classes:.2%} of the mask equal"
    # Where a rounding decides which pixel is seen, an edge may jump; elsewhere a grey level is much.
    if min(pixels, classes) >= 0.999:
        return Finding("operations", OK, text)
    return Finding("operations", FAILED, text, "set accelerator.kind to cpu, or leave out the settings of augment")


PARTS = {"operations": probe_operations}
