"""What devices there are, and whether they compute the same: parts of `tfseg doctor`."""

import dataclasses
import itertools

import keras
from keras import ops

from tfseg.backend import as_floats
from tfseg.config.schema import Config
from tfseg.device import Choice, choose_device
from tfseg.diagnostics.checks import FORWARD, GRADIENT, OK, Finding, compare, judge_difference
from tfseg.diagnostics.speed import Part, build_network, draw_batch, to_numpy
from tfseg.io import command
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
    """Words name, version and devices of a backend of Keras."""
    if name == "torch":
        import torch  # pyright: ignore[reportMissingImports] - not installed with TensorFlow

        return f"torch {torch.__version__}; CUDA {torch.cuda.is_available()}, MPS {torch.backends.mps.is_available()}"
    if name == "jax":
        import jax  # pyright: ignore[reportMissingImports] - not installed with TensorFlow

        return f"jax {jax.__version__} on {', '.join(map(str, jax.devices()))}"
    if name == "mlx":
        import mlx.core as mx  # pyright: ignore[reportMissingImports] - not installed with TensorFlow

        return f"mlx {mx.__version__} on {mx.default_device()}"
    return name


# ---- the same batch twice


def compare_devices(config: Config) -> Part:
    """Takes a batch forward and backward on CPU and GPU, or without a GPU in eager and compiled operations."""
    import tensorflow as tf

    choice = choose_device(config.accelerator.kind, "float32")
    # NVIDIA's cards multiply float32 with 10 bits of mantissa if allowed, which is no fault of theirs.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    height, width = command.parse_size(config.data.size)
    size = min(height, SMALL), min(width, SMALL)
    batch = draw_batch(size, 2, assembly.count_classes(config), assembly.count_channels(config))
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
            if hasattr(layer, "rate"):  # dropout's, which is random; batch normalisation goes by the batch, as trained
                layer.rate = 0.0
        loss = assembly.make_loss(config)

        def learn(image, mask):
            with tf.GradientTape() as tape:
                value = ops.mean(loss(mask, network(image, training=True)))
            return value, tape.gradient(value, network.trainable_variables)  # pyright: ignore - Keras' type is wider

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


PARTS = {"tensorflow": load_tensorflow, "backend": load_backend, "compare": compare_devices}
