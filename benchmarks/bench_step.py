"""Measures a train step and inference of a U-Net over EfficientNet: graph, first call, images per second.

    python -m benchmarks.bench_step
    python -m benchmarks.bench_step --peer
    python -m benchmarks.bench_step --peer --block --encoder efficientnetlite0
    python -m benchmarks.bench_step --peer --size 320x320 --batch 8 --precision mixed_bfloat16

"tfseg" is the network and its optimizer as they are trained, "plain" the same from Keras' own layers. With --peer there
is "torch" too: segmentation_models_pytorch's Unet over the same encoder, channels last, on the same device, which has a
quarter fewer weights, since it takes narrower features from the encoder; --block adds "block", tfseg's with
model.skips: block, which has such features too. Each is measured in processes of its own, in
turns, the step compiled as in a training, without augmentation. Medians of several rounds, and ratios. The environment
variable KERAS_BACKEND says which backend tfseg runs on; plain is TensorFlow's alone.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.results import save_results
from tfseg.io import command

STEPS = 5  # of each round
NUM_CLASSES = 8


def measure(kind: str, options: argparse.Namespace) -> dict:
    """Measures in a process of its own; see `measure_keras` for what."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure_here, args=(kind, options, results))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{kind}: failed")
    return results.get()


def _measure_here(kind: str, options: argparse.Namespace, results) -> None:
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])  # before anything counts them
    random = np.random.default_rng(0)
    shape = (options.batch, *command.parse_size(options.size))
    image, mask = random.integers(0, 256, (*shape, 3), np.uint8), random.integers(0, NUM_CLASSES, shape, np.uint8)
    if kind == "torch":
        results.put(measure_torch(image, mask, options.precision, options.encoder))
    else:
        results.put(measure_keras(image, mask, options.precision, options.encoder, kind))
    results.close()
    results.join_thread()


def measure_keras(image, mask, precision: str, encoder: str, kind: str) -> dict:
    """Nodes of the step's graph, seconds of the first call, of each of the next steps, and of inferences."""
    import keras

    from tfseg.augmentation.augmenter import Augmenter
    from tfseg.config.schema import Optimizer
    from tfseg.device import choose_device
    from tfseg.losses.segmentation_loss import SegmentationLoss
    from tfseg.models.segmenter import build_network
    from tfseg.training.learner import Learner
    from tfseg.training.optimizers import make_optimizer

    device = choose_device(precision=precision)
    keras.utils.set_random_seed(0)
    if kind == "plain":
        make_plain()
    settings = {"encoder": encoder, "weights": None, "skips": "block" if kind == "block" else "expanded"}
    settings |= {} if kind == "plain" else device.network
    learner = Learner(build_network(NUM_CLASSES, **settings), SegmentationLoss(1.0, 1.0), Augmenter())
    optimizer = make_optimizer(Optimizer("adamw", 1e-3, "cosine", weight_decay=0.01), 10, 100)
    learner.compile(optimizer, jit_compile=device.xla)
    batch = {"image": image, "mask": mask}
    learner(batch)  # makes the weights
    if keras.backend.backend() == "tensorflow":
        nodes, step = compile_step(learner, batch)
    else:
        nodes, step = (lambda: None), lambda: learner.train_on_batch(batch)
    first, *steps = (seconds(step) for _ in range(1 + STEPS))
    pixels = image.astype(np.float32)
    _, *inferences = (seconds(lambda: learner.network.predict_on_batch(pixels)) for _ in range(1 + STEPS))
    return {"device": str(device), "nodes": nodes(), "first": first, "steps": steps, "inferences": inferences}


def compile_step(learner, batch: dict) -> tuple[Callable[[], int], Callable[[], float]]:
    """Returns what counts the nodes of the compiled step, once it has run, and the step."""
    import tensorflow as tf

    compiled = tf.function(learner.train_step)
    batch = {key: tf.constant(value) for key, value in batch.items()}

    def count() -> int:
        graph = compiled.get_concrete_function(batch).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    return count, lambda: float(compiled(batch)["loss"])


def make_plain() -> None:
    """Puts Keras' own layers, optimizer and compilation in the place of ours."""
    import keras
    from keras import layers

    from tfseg.models.decoders import unet
    from tfseg.models.layers import BatchNormalization
    from tfseg.training import learner, optimizers

    def upsampled_convolution(filters, name):
        def layer(inputs):
            x = layers.UpSampling2D(2, interpolation="nearest")(inputs[0])
            x = layers.Concatenate()([x, *inputs[1:]]) if inputs[1:] else x
            return layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)

        return layer

    unet.UpsampledConv2D = upsampled_convolution
    BatchNormalization.call = layers.BatchNormalization.call
    optimizers.AdamW = keras.optimizers.AdamW
    learner.Learner.compile = keras.Model.compile


def measure_torch(image, mask, precision: str, encoder: str) -> dict:
    """The same of PyTorch, which has no nodes, and whose first call is but its slowest."""
    import segmentation_models_pytorch
    import torch

    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    name = encoder.replace("efficientnetlite", "tu-tf_efficientnet_lite").replace("efficientnetb", "efficientnet-b")
    network = segmentation_models_pytorch.Unet(name, encoder_weights=None, classes=NUM_CLASSES)
    network = network.to(kind, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01, fused=True)
    dice, cross_entropy = segmentation_models_pytorch.losses.DiceLoss("multiclass"), torch.nn.CrossEntropyLoss()
    pixels = torch.from_numpy(image).to(kind).permute(0, 3, 1, 2).float() / 255  # in memory, channels are last
    truth = torch.from_numpy(mask).long().to(kind)
    half = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}.get(precision)
    scaler = torch.amp.GradScaler(kind, enabled=half is torch.float16)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(kind, half or torch.float32, enabled=half is not None):
            logits = network(pixels).float()
        loss = dice(logits, truth) + cross_entropy(logits, truth)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return float(loss.detach())

    def infer() -> None:
        with torch.inference_mode(), torch.autocast(kind, half or torch.float32, enabled=half is not None):
            network(pixels).float().cpu()

    first, *steps = (seconds(step) for _ in range(1 + STEPS))
    network.eval()
    _, *inferences = (seconds(infer) for _ in range(1 + STEPS))
    return {"device": f"torch on {kind}", "nodes": None, "first": first, "steps": steps, "inferences": inferences}


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(results: dict, batch: int) -> list[str]:
    """Rows of medians, and what tfseg makes of each other kind."""
    rows = ["| | nodes | first call s | step s | trained images/s | inferred images/s |"]
    rows += ["|---|---:|---:|---:|---:|---:|"]
    medians = {kind: summarize(rounds) for kind, rounds in results.items()}
    for kind, (nodes, first, step, inference) in medians.items():
        known = f"{nodes:,}" if nodes else ""
        rows.append(f"| {kind} | {known} | {first:.1f} | {step:.2f} | {batch / step:.2f} | {batch / inference:.2f} |")
    ours = medians["tfseg"]
    for kind, theirs in medians.items():
        if kind != "tfseg":
            shares = [f"{a / b:.2f}" if a and b else "" for a, b in zip(ours, theirs, strict=True)]
            rates = [f"{b / a:.2f}" for a, b in zip(ours[2:], theirs[2:], strict=True)]
            rows.append(f"| tfseg, as a share of {kind} | {' | '.join([*shares[:3], *rates])} |")
    return rows


def summarize(rounds: list[dict]) -> tuple[int | None, float, float, float]:
    """Nodes, and medians of the first calls, of all steps and of all inferences."""
    every = {key: [value for one in rounds for value in one[key]] for key in ("steps", "inferences")}
    first = statistics.median(one["first"] for one in rounds)
    return rounds[0]["nodes"], first, statistics.median(every["steps"]), statistics.median(every["inferences"])


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientnetb3", help="or efficientnetlite0, ... (default: %(default)s)")
    parser.add_argument("--block", action="store_true", help="measure tfseg with model.skips: block too")
    parser.add_argument("--size", default="224x224", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="or mixed_bfloat16, or mixed_float16")
    parser.add_argument("--cores", type=int, help="of the processor to run on (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind (default: %(default)s)")
    parser.add_argument("--peer", action="store_true", help="measure segmentation_models_pytorch too")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    kinds = ["plain"] * (backend == "tensorflow") + ["tfseg"] + ["block"] * options.block + ["torch"] * options.peer
    results = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, rounds in results.items():
            rounds.append(measure(kind, options))
    print("\n".join(table(results, options.batch)))
    save_results(options.json, "bench_step", results)


if __name__ == "__main__":
    command.run(main)
