"""Says what network a training has: weights, multiply-adds, receptive field, memory, and, if asked, speed.

    python -m tfseg.describe --config configs/cityscapes.yaml
    python -m tfseg.describe --config configs/cityscapes.yaml --size 320x320 --model.encoder efficientnetb0
    python -m tfseg.describe --run runs/cityscapes --measure --json model.json

Takes every setting of a training after --config. Weights are random, since nothing depends on them. A GMAC is 10^9
multiply-adds of convolutions, dense layers and attention, and of what is pooled or enlarged by products of matrices, of
one picture in inference; a GFLOP counts each of them as two. Biases, normalisation, activations, sums and other pooling
are left out: of what TensorFlow's profiler counts, 0 to 1.3 percent in 20 networks of 6 encoders and all decoders at
320x320. Other layers that are not counted are named. The receptive field is that of one logit, exact, over all paths
but those through global pooling and attention. The memory is an estimate: augmentation, loss, gradients of activations
and what kernels work with come on top. On a CPU, training EfficientNetB0 took 1.4 times the activations and half a GiB
for its graph; --measure tells.
"""

import argparse
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from tfseg.config.parse import change_config, parse_config
from tfseg.config.schema import Config
from tfseg.diagnostics import metal
from tfseg.io import command
from tfseg.runs.run_dir import read_config, read_labels, write_json

ROUNDS, ROUND_SECONDS = 5, 0.4  # of a measurement: how many, and of one at least
PARTS = ("encoder", "decoder", "head")


def describe(config: Config, num_classes: int | None = None) -> dict:
    """Describes the network of a config for one picture of `data.size`, and its memory for a batch.

    Args:
        config: of a training.
        num_classes: that the network tells apart; None: those of the records.
    """
    from tfseg.device import choose_device
    from tfseg.models import complexity
    from tfseg.training import assembly

    device = choose_device(precision=config.accelerator.precision)
    count = num_classes or assembly.count_classes(config)
    learner = assembly.build_learner(config, device, steps=100, num_classes=count)
    network, encoder, size = learner.network, config.model.encoder, command.parse_size(config.data.size)
    calls = complexity.walk(network, size)
    parameters = add_up(((layer.name, layer.count_params()) for layer in network.layers), encoder)
    macs = add_up(((call.path, complexity.count_macs(call)) for call in calls), encoder)
    trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    memory = complexity.estimate_memory(learner, calls, config.train.batch_size)
    return {
        "encoder": encoder,
        "size": list(size),
        "batch_size": config.train.batch_size,
        "precision": device.precision,
        "parameters": {
            **parameters,
            "trainable": trainable,
            "not_trainable": parameters["all"] - trainable,
            "bytes": memory["weights"],
        },
        "gmacs": {part: count / 1e9 for part, count in macs.items()},
        "gflops": 2 * macs["all"] / 1e9,
        "not_counted": {
            name: {"layers": layers, "weights": weights}
            for name, (layers, weights) in complexity.find_unknown(calls).items()
        },
        "receptive_field": complexity.find_field(calls)._asdict(),
        "estimated_bytes": memory,
    }


def add_up(counts: Iterable[tuple[str, int]], encoder: str) -> dict[str, int]:
    """Sums by part of the network, of numbers by the path of the layer."""
    sums = dict.fromkeys(("all", *PARTS), 0)
    for path, count in counts:
        part = {encoder: "encoder", "logits": "head"}.get(path.partition("/")[0], "decoder")
        sums[part] += count
        sums["all"] += count
    return sums


def measure(config: Config) -> dict:
    """Measures train step and inference in a process of its own, whose memory is nobody else's.

    Raises:
        ChildProcessError: the process was killed, as where memory is too small.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(measure_here, config).result()
        except BrokenProcessPool:
            size, batch = config.data.size, config.train.batch_size
            raise ChildProcessError(
                f"the process that measured {batch} pictures of {size} was killed, as where memory is too small; "
                "give a smaller --size or --batch"
            ) from None


def measure_here(config: Config) -> dict:
    """Takes train steps and inferences on one batch, after two of each that are not counted.

    Returns:
        Device; peak bytes of memory of the process, before the network was built and in training; pictures/s, medians.
    """
    import numpy as np

    from tfseg.device import choose_device
    from tfseg.diagnostics.speed import Stepper, draw_batch
    from tfseg.inference.predictor import peak_memory

    device = choose_device(precision=config.accelerator.precision)
    batch = config.train.batch_size
    before = round(2**20 * peak_memory())
    stepper = Stepper(config, device)
    step = statistics.median(stepper.time(ROUND_SECONDS) for _ in range(ROUNDS))
    peak = round(2**20 * peak_memory())
    pixels = draw_batch(command.parse_size(config.data.size), batch)["image"].astype(np.float32)

    def infer() -> float:
        start = time.perf_counter()
        stepper.learner.network.predict_on_batch(pixels)
        return time.perf_counter() - start

    _, _, *inferences = (infer() for _ in range(2 + ROUNDS))
    return {
        "device": str(device),
        "kind": device.kind,
        "bytes_before": before,
        "peak_bytes": peak,
        "trained_pictures_per_second": batch / step,
        "inferred_pictures_per_second": batch / statistics.median(inferences),
    }


def place_on_metal(config: Config) -> dict:
    """What `check_metal` finds: whether the step passes, and its lines."""
    size, batch = command.parse_size(config.data.size), config.train.batch_size
    report = metal.examine(metal.trace(metal.build(config), size, batch))
    return {"passes": report.passes, "lines": list(metal.describe(report))}


def table(found: dict) -> Iterable[str]:
    """Lines of a description: name, padded, and what was found."""
    rows = list(rows_of_network(found))
    if "measured" in found:
        rows += rows_of_measurement(found["measured"], found["batch_size"])
    if "metal" in found:
        rows += [("Metal" if index == 0 else "", line) for index, line in enumerate(found["metal"]["lines"])]
    return (f"{name:<20} {text}".rstrip() for name, text in rows)


def rows_of_network(found: dict) -> Iterable[tuple[str, str]]:
    size, batch, parameters = "x".join(map(str, found["size"])), found["batch_size"], found["parameters"]
    yield "network", f"{found['encoder']}, {size}, batch {batch}, {found['precision']}"
    yield "parameters", f"{parameters['all']:,}: " + ", ".join(f"{part} {parameters[part]:,}" for part in PARTS)
    yield "", f"trainable {parameters['trainable']:,}, not trainable {parameters['not_trainable']:,}"
    yield "weights", in_mebibytes(parameters["bytes"])
    gmacs = found["gmacs"]
    yield "GMACs a picture", f"{gmacs['all']:.3f}: " + ", ".join(f"{part} {gmacs[part]:.3f}" for part in PARTS)
    yield "GFLOPs a picture", f"{found['gflops']:.3f}, a multiply-add counts as two"
    for name, unknown in found["not_counted"].items():
        yield "not counted", f"{name}: {unknown['layers']} layers with {unknown['weights']:,} weights"
    field = found["receptive_field"]
    pooled = "; global pooling or attention adds the whole picture" if field["pools_globally"] else ""
    yield "receptive field", f"{field['height']}x{field['width']} pixels{pooled}"
    memory = {name: in_mebibytes(size) for name, size in found["estimated_bytes"].items()}
    parts = ", ".join(f"{name} {size}" for name, size in memory.items() if name != "all")
    yield "memory, estimated", f"{memory['all']} in training: {parts}"


def rows_of_measurement(measured: dict, batch: int) -> Iterable[tuple[str, str]]:
    peak, before = in_mebibytes(measured["peak_bytes"]), in_mebibytes(measured["bytes_before"])
    yield "memory, measured", f"{peak} at most in training on {measured['kind']}, {before} before there was a network"
    for name in ("trained", "inferred"):
        yield f"{name}, measured", f"{measured[f'{name}_pictures_per_second']:.2f} pictures/s in batches of {batch}"


def in_mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def main() -> None:
    """Describes the network that the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config", metavar="FILE.yaml", help="settings of a training; any of them can follow")
    source.add_argument("--run", metavar="DIR", help="a run folder, for the settings in it")
    parser.add_argument("--size", metavar="HxW", help="HEIGHTxWIDTH of the pictures (default: data.size)")
    parser.add_argument("--batch", type=int, metavar="N", help="pictures a step (default: train.batch_size)")
    parser.add_argument("--measure", action="store_true", help="measure memory and pictures/s, in another process")
    parser.add_argument("--metal", action="store_true", help="say what would leave Apple's GPU, see check_metal.py")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the same as JSON")
    options, settings = parser.parse_known_args()
    if options.run and settings:
        parser.error(f"{settings[0]}: settings go with --config; of a run, only --size and --batch can be others")
    if options.run:
        config = read_config(options.run)
    else:
        settings += ["--config", options.config]
        config = parse_config(["--run_dir", "none", *settings], program="python -m tfseg.describe")
    others = {"data.size": options.size, "train.batch_size": options.batch}
    others = {name: value for name, value in others.items() if value is not None}
    config = change_config(config, {"model.weights": None, "loss.class_weights": None, **others})
    found = describe(config, len(read_labels(options.run)[0]) if options.run else None)
    if options.measure:
        found["measured"] = measure(config)
    if options.metal:
        found["metal"] = place_on_metal(config)
    print("\n".join(table(found)))
    if options.json:
        write_json(found, options.json)


if __name__ == "__main__":
    command.run(main)
