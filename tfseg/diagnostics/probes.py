"""Operations that were wrong on some devices, compared with NumPy: a part of `tfseg doctor`."""

import dataclasses
import statistics
import time
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
from tfseg.models.layers import UpsampledConv2D
from tfseg.training import assembly

SMALL = 128  # height and width of what is augmented
SLOWER = 3  # times as long as the faster layout: no longer a matter of taste


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
    if keras.backend.backend() == "torch":
        yield {"began": "the layouts of a convolution"}
        layouts = time_layouts()
        yield {"layouts": layouts}
        yield judge_layouts(layouts)


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


def computes_convolution(run: Callable) -> bool:
    """The convolution of 3x3 and its gradients, in a train step."""
    layer = keras.layers.Conv2D(6, 3, padding="same", use_bias=False, dtype="float32")
    return learns(run, layer, 5, np.matmul, lambda window, gradient: np.einsum("nhwa,nhwb->ab", window, gradient))


def computes_depthwise(run: Callable) -> bool:
    """Of batches larger than 1, Apple's GPU gave wrong numbers in PyTorch (pytorch#188335)."""
    layer = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, dtype="float32")

    def gather(window, gradient):
        return np.sum(window * gradient, axis=(0, 1, 2))[:, None]

    return learns(run, layer, 6, lambda window, kernel: window * kernel[:, 0], gather)


def learns(run: Callable, layer: keras.Layer, channels: int, apply: Callable, gather: Callable) -> bool:
    """Whether a convolution of 3x3, and what a train step moves its kernel and its input by, are NumPy's.

    Args:
        run: as `run_compiled`.
        layer: of stride 1, with a kernel alone.
        channels: of its input.
        apply: pixels of a place in the window, and the kernel there -> their part of the output.
        gather: the same pixels, and the output's gradient -> the gradient of the kernel there.
    """
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 12, 16, channels)).astype("float32")
    image = keras.Input(batch_shape=x.shape)
    shift = Shift()
    model = keras.Model(image, layer(shift(image)))
    kernel = np.asarray(layer.get_weights()[0])
    places = list(np.ndindex(3, 3))

    def windows(pixels):
        padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return [padded[:, row : row + 12, column : column + 16] for row, column in places]

    expected = np.sum([apply(window, kernel[place]) for window, place in zip(windows(x), places, strict=True)], axis=0)
    right = np.allclose(run(layer, x), expected, atol=0.05)  # NVIDIA's cards round to 10 bits
    gradient = random.normal(size=expected.shape).astype("float32")
    model.compile(
        keras.optimizers.SGD(1.0),
        loss=lambda gradient, output: ops.sum(gradient * output),
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model.train_on_batch(x, gradient)
    of_kernel = np.reshape([gather(window, gradient) for window in windows(x)], kernel.shape)
    # Each pixel goes to the nine around it, so its gradient comes from them, by the kernel turned round.
    turned = [kernel[2 - row, 2 - column] for row, column in places]
    back = (np.swapaxes(part, 0, 1) if part.shape[1] > 1 else part for part in turned)
    of_input = np.sum([apply(window, part) for window, part in zip(windows(gradient), back, strict=True)], axis=0)
    moved = kernel - layer.get_weights()[0], -shift.get_weights()[0]
    return right and np.allclose(moved[0], of_kernel, atol=0.5) and np.allclose(moved[1], of_input, atol=0.05)


class Shift(keras.layers.Layer):
    """Adds a weight of its own to each number of a batch, whose gradient is that of the batch."""

    def build(self, shape):
        self.by = self.add_weight(shape=shape, initializer="zeros", name="by")

    def call(self, x):
        return x + self.by


def computes_upsampled(run: Callable) -> bool:
    """The decoder's convolution of a doubled image, beside its part of a skip."""
    random = np.random.default_rng(0)
    x, skip = (random.normal(size=(2, *size)).astype("float32") for size in ((6, 8, 5), (12, 16, 3)))
    layer = UpsampledConv2D(4, dtype="float32")
    layer.build([x.shape, skip.shape])
    kernel = layer.get_weights()[0]
    doubled = np.concatenate([x.repeat(2, axis=1).repeat(2, axis=2), skip], axis=-1)
    padded = np.pad(doubled, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(padded[:, i : i + 12, j : j + 16] @ kernel[i, j] for i, j in np.ndindex(3, 3))
    return np.allclose(run(lambda x, skip: layer([x, skip]), x, skip), expected, atol=0.05)


def computes_sigmoid(run: Callable) -> bool:
    """In half precision, to which Apple's GPU has come late."""
    x = np.linspace(-12, 12, 1001, dtype="float32")
    names = ("float16", "bfloat16")
    found = run(lambda x: tuple(ops.cast(ops.sigmoid(ops.cast(x, name)), "float32") for name in names), x)
    return all(np.allclose(one, 1 / (1 + np.exp(-x)), atol=0.01) for one in found)


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


WRONG = "a network cannot be trained on this device; set accelerator.kind to cpu, or take another backend of Keras"
# Name -> a function that says whether it is right, and what it means if not.
PROBES = {
    "a convolution and its gradients": (computes_convolution, WRONG),
    "a depthwise convolution of a batch, and its gradients": (computes_depthwise, WRONG),
    "a convolution of a doubled image": (computes_upsampled, WRONG),
    "sigmoid in half precision": (computes_sigmoid, "set accelerator.precision to float32"),
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


def time_layouts() -> dict[str, float]:
    """Seconds of a convolution and its gradients on PyTorch, by the layout of its memory, and as Keras lays it out."""
    import torch  # pyright: ignore[reportMissingImports] - not installed with TensorFlow

    def learn(layout: str) -> float:
        shape = (8, 56, 56, 64) if layout == KERAS else (8, 64, 56, 56)
        x = torch.randn(shape, device=place, requires_grad=True)
        kernel = torch.randn((3, 3, 64, 64) if layout == KERAS else (64, 64, 3, 3), device=place, requires_grad=True)
        start = time.perf_counter()
        if layout == KERAS:
            output = ops.conv(x, kernel, padding="same")
        else:
            order = torch.channels_last if layout == "channels last" else torch.contiguous_format
            parts = (tensor.contiguous(memory_format=order) for tensor in (x, kernel))
            output = torch.nn.functional.conv2d(*parts, padding=1)
        output.sum().backward()
        x.grad.sum().item()  # which waits for the device
        return time.perf_counter() - start

    place = ops.zeros(()).device
    rounds = [[learn(layout) for layout in LAYOUTS] for _ in range(8)][1:]
    return dict(zip(LAYOUTS, map(statistics.median, zip(*rounds, strict=True)), strict=True))


def judge_layouts(seconds: dict[str, float]) -> Finding:
    """Makes a finding of `time_layouts`."""
    text = "convolution and its gradients: " + ", ".join(
        f"{name} {1000 * value:.1f} ms" for name, value in seconds.items()
    )
    if seconds[KERAS] <= SLOWER * min(seconds.values()):
        return Finding("operations", OK, text)
    remedy = "update Keras and PyTorch, or take another backend of Keras"
    return Finding("operations", WARNING, f"{text}: Keras takes a slow layout here", remedy)


KERAS = "as Keras lays it out"
LAYOUTS = ("channels first", "channels last", KERAS)
PARTS = {"operations": probe_operations}
