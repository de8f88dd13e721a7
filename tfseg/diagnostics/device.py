"""Whether a device computes what it should: parts of `python -m tfseg.doctor`, as those of doctor_speed.py."""

import dataclasses
import itertools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from tfseg.augmentation import effects
from tfseg.augmentation.layer import Augmentation
from tfseg.backend import as_floats
from tfseg.config.schema import Config
from tfseg.device import Choice, choose_device
from tfseg.diagnostics.checks import FAILED, FORWARD, GRADIENT, OK, WARNING, Finding, compare, judge_difference
from tfseg.diagnostics.speed import Part, as_trained, build_network, draw_batch, to_numpy
from tfseg.io import command
from tfseg.metrics.confusion import confusion_matrix
from tfseg.training import assembly

SMALL = 128  # height and width of what is compared, at most


# ---- what there is


def load_tensorflow(config: Config) -> Part:
    """Imports TensorFlow and lists its GPUs."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    yield {"tensorflow": tf.__version__, "gpus": [{key: str(value) for key, value in gpu.items()} for gpu in details]}
    named = [", ".join(f"{key} {value}" for key, value in gpu.items()) for gpu in details]
    yield Finding("device", OK, f"TensorFlow {tf.__version__} loads; GPUs: {'; '.join(named) or 'none'}")


def load_backend(config: Config) -> Part:
    """Says what Keras computes with, and what a training would choose."""
    backend = keras.backend.backend()
    yield Finding("device", OK, f"Keras {keras.__version__} computes with {describe_backend(backend)}")
    choice = choose_device(**dataclasses.asdict(config.accelerator))
    yield {"backend": backend, "kind": [choice.kind, choice.reasons[choice.kind]], "precision": choice.precision}
    yield Finding("device", OK, f"a training would take {choice}".replace("device: ", ""))


def describe_backend(name: str) -> str:
    """Name, version and devices of a backend of Keras."""
    if name == "torch":
        import torch

        return f"torch {torch.__version__}; CUDA {torch.cuda.is_available()}, MPS {torch.backends.mps.is_available()}"
    if name == "jax":
        import jax

        return f"jax {jax.__version__} on {', '.join(map(str, jax.devices()))}"
    return name


# ---- the same batch twice


def compare_devices(config: Config) -> Part:
    """Takes a batch forward and backward on CPU and GPU, or without a GPU in eager and compiled operations."""
    import tensorflow as tf

    choice = choose_device(config.accelerator.kind, "float32")
    # NVIDIA's cards multiply float32 with 10 bits of mantissa if allowed, which is no fault of theirs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    size = tuple(min(side, SMALL) for side in command.parse_size(config.data.size))
    batch = draw_batch(size, 2, assembly.count_classes(config))
    gpu = choice.kind != "cpu"
    weights = build_network(config, choice).get_weights()
    yield {"began": "the CPU's side"}
    one = take_both_ways(config, choice, batch, weights, "CPU:0", compiled=gpu)
    yield {"began": "the GPU's side" if gpu else "the compiled side"}
    other = take_both_ways(config, choice, batch, weights, "GPU:0" if gpu else "CPU:0", compiled=True)
    what = "GPU against CPU" if gpu else "no GPU, so compiled against eager on the CPU"
    remedy = f"{'set accelerator.kind to cpu, and ' if gpu else ''}report it, with the file of --json"
    for kind, tolerance in (("forward", FORWARD), ("gradient", GRADIENT)):
        found = compare(one[kind], other[kind], tolerance)
        yield {kind: found._asdict()}
        yield judge_difference(kind, f"{what}, {len(one[kind])} arrays", found, tolerance, remedy)


def take_both_ways(config: Config, choice: Choice, batch: dict, weights: list, device: str, compiled: bool) -> dict:
    """Computes every layer's output, the loss and every weight's gradient for a batch, on one device.

    Returns:
        {"forward": name -> array in the order of the layers, "gradient": the same from the loss backwards}.
    """
    import tensorflow as tf

    def run(function):
        function = tf.function(function, autograph=False) if compiled else function
        return to_numpy(function(as_floats(tf.constant(batch["image"])), tf.constant(batch["mask"])))

    with tf.device(device):
        network = build_network(config, choice)  # anew, so that its weights lie on the device
        network.set_weights(weights)
        layers = flatten(network)
        for layer in layers:
            if hasattr(
                layer, "rate"
            ):  # of dropout, random on either; batch normalisation goes by the batch, as trained
                layer.rate = 0.0
        loss = assembly.make_loss(config)

        def learn(image, mask):
            with tf.GradientTape() as tape:
                value = ops.mean(loss(mask, network(image, training=True)))
            return value, tape.gradient(value, network.trainable_variables)

        # Where each layer's output is asked for, nothing is fused; so the others are computed on their own.
        prediction = run(lambda image, mask: network(image, training=False))
        outputs = run(lambda image, mask: list_outputs(network, image))
        value, gradients = run(learn)
    forward = dict(zip([layer.name for layer in layers], outputs, strict=True))
    forward |= {"the loss": value, "the prediction, fused": prediction}
    paths = [weight.path for weight in network.trainable_variables]
    return {"forward": forward, "gradient": dict(reversed(list(zip(paths, gradients, strict=True))))}


def flatten(model: keras.Model) -> list:
    """Lists the layers in the order of the data, of a model inside those that it is made of."""
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    return [inner for layer in layers for inner in (flatten(layer) if isinstance(layer, keras.Model) else [layer])]


def list_outputs(model: keras.Model, x) -> list:
    """Computes the output of each of the layers that `flatten` lists, as in training."""
    own = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer | keras.Model)]
    made = keras.Model(model.inputs, [layer.output for layer in own])(x, training=True)
    outputs = {layer.name: [output] for layer, output in zip(own, keras.tree.flatten(made), strict=True)}
    for before, layer in itertools.pairwise(model.layers):
        if isinstance(layer, keras.Model):
            outputs[layer.name] = list_outputs(layer, outputs[before.name][-1])
    return [output for layer in model.layers for output in outputs.get(layer.name, [])]


# ---- what was wrong on some devices


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
    values, places = run(lambda x: tuple(ops.top_k(x, 100)), x)
    expected = np.sort(x, axis=-1)
    ordered = np.array_equal(run(lambda x: ops.sort(x, axis=-1), x), expected)
    there = np.array_equal(np.take_along_axis(x, np.asarray(places, int), axis=1), values)
    return ordered and there and np.array_equal(values, expected[:, :-101:-1])


def computes_confusion(run: Callable) -> bool:
    truth, predicted = np.random.default_rng(0).integers(0, 8, (2, 2, 64, 64), np.int32)
    expected = [np.bincount(8 * a.ravel() + b.ravel(), minlength=64) for a, b in zip(truth, predicted, strict=True)]
    got = run(lambda truth, predicted: confusion_matrix(truth, predicted, 8), truth, predicted)
    return np.array_equal(got, np.reshape(expected, (2, 8, 8)))


# Name -> what tells whether it is right, and what it means if not.
PROBES = {
    "a dense layer with ReLU": (
        computes_dense,
        "tfseg has no such layer; own models with Dense(activation='relu') give wrong values here",
    ),
    "top_k and sort of 500": (
        computes_top_k,
        "leave loss.lovasz at 0; own losses that sort, as OHEM does, give wrong values here",
    ),
    "the confusion matrix": (computes_confusion, "scores from this device are wrong; set accelerator.kind to cpu"),
}


def probe_augmentation(config: Config, choice: Choice, run: Callable) -> Finding:
    """Compares draws and pictures of the augmentation with those that plain operations give on the CPU."""
    import tensorflow as tf

    classes = assembly.count_classes(config)
    augmentation = Augmentation(**dataclasses.asdict(config.augment), num_classes=classes, seed=0)
    count, step = 8, 3
    batch = draw_batch((SMALL, SMALL), count, classes)
    with tf.device("CPU:0"):
        numbers = to_numpy(augmentation.draw_numbers(count, step, 0))
        drawn = augmentation.draw(count, SMALL, SMALL, step)
        tensors = {key: tf.constant(pixels) for key, pixels in batch.items()}
        expected = to_numpy(effects.change(**tensors, **drawn))
    got = run(lambda image: augmentation.draw_numbers(count, step, 0), batch["image"])
    if not all(np.allclose(got[name], numbers[name], atol=1e-6) for name in numbers):
        text = "augmentation: other random numbers than on the CPU, so no picture can be compared"
        return Finding("operations", WARNING, text, "a run with a seed will not be the same on another device")
    sent = as_trained(batch, choice)
    got = run(lambda image, mask: augmentation(image, mask, step), sent["image"], sent["mask"])
    pixels, classes = np.mean(np.abs(got[0] - expected[0]) <= 1), np.mean(got[1] == expected[1])
    text = (
        f"augmentation: {pixels:.2%} of the picture within a grey level of the CPU's, {classes:.2%} of the mask equal"
    )
    # Where a rounding decides which pixel is seen, an edge may jump; elsewhere a grey level is much.
    if min(pixels, classes) >= 0.999:
        return Finding("operations", OK, text)
    return Finding("operations", FAILED, text, "set accelerator.kind to cpu, or leave out the settings of augment")


PARTS = {
    "tensorflow": load_tensorflow,
    "backend": load_backend,
    "compare": compare_devices,
    "operations": probe_operations,
}
