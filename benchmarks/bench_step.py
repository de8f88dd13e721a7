"""Measures a train step and inference of a U-Net over EfficientNet: graph, first call, images per second.

    python -m benchmarks.bench_step
    python -m benchmarks.bench_step --peer .venv-peers/bin/python --encoder efficientnetlite0
    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 TF_ENABLE_ONEDNN_OPTS=1 python -m benchmarks.bench_step --cores 1

"expanded" and "block" are the network with these `model.skips` and its optimizer, as they are trained; "plain" is the
former from Keras' own layers. With --peer there are "torch", segmentation_models_pytorch's Unet over the same encoder,
channels last, whose features are as narrow as those of "block", and "torch compiled", the same by torch.compile. Each
is measured in processes of its own, in turns, the step compiled as in a training, without augmentation; and so is
"matrices", a product of large matrices, which is what the processor can do at most. Medians of several rounds, and
ratios. The environment variable KERAS_BACKEND says which backend tfseg runs on; plain is TensorFlow's alone.

It fails if Keras' own layers are faster than ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.results import describe_machine, save_results
from tfseg.io import command

STEPS = 5  # of each round
NUM_CLASSES = 8
OURS, PEERS = ("expanded", "block"), ("torch", "torch compiled")
TRAINED = 3  # times the multiply-adds of inference: forward, and the gradients of what comes in and of the weights
SIDE = 2048  # of the matrices


def measure(kind: str, options: argparse.Namespace) -> dict:
    """Measures in a process of its own; see `measure_keras` for what."""
    python = options.peer if kind in PEERS else sys.executable
    command_line = [python, "-m", "benchmarks.bench_step", *sys.argv[1:], "--measure", kind]
    process = subprocess.run(command_line, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        sys.exit(f"{kind}: failed")
    return json.loads(process.stdout.splitlines()[-1])


def measure_here(kind: str, options: argparse.Namespace) -> dict:
    """Measures in this process."""
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])  # before anything counts them
    random = np.random.default_rng(0)
    shape = (options.batch, *command.parse_size(options.size))
    image, mask = random.integers(0, 256, (*shape, 3), np.uint8), random.integers(0, NUM_CLASSES, shape, np.uint8)
    if kind == "matrices":
        return measure_matrices(options.precision)
    if kind in PEERS:
        return measure_torch(image, mask, options.precision, options.encoder, kind == "torch compiled")
    return measure_keras(image, mask, options.precision, options.encoder, kind)


def measure_matrices(precision: str) -> dict:
    """Multiply-adds per second of a product of large matrices, in the best of several calls."""
    import keras

    half = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}.get(precision, "float32")
    matrix = keras.random.uniform((SIDE, SIDE), dtype=half)
    best = min(seconds(lambda: keras.ops.convert_to_numpy(keras.ops.sum(matrix @ matrix))) for _ in range(2 * STEPS))
    return {"macs_per_second": SIDE**3 / best}


def measure_keras(image, mask, precision: str, encoder: str, kind: str) -> dict:
    """Multiply-adds of an image, nodes of the graph, seconds of the first call, the next steps and inferences."""
    import keras

    from tfseg.augmentation.augmenter import Augmenter
    from tfseg.config.schema import Optimizer
    from tfseg.device import choose_device
    from tfseg.losses.segmentation_loss import SegmentationLoss
    from tfseg.models import complexity
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
    on_tensorflow = keras.backend.backend() == "tensorflow"
    if on_tensorflow:
        nodes, step = compile_step(learner, batch)
    else:
        nodes, step = (lambda: None), lambda: learner.train_on_batch(batch)
    first, *steps = (seconds(step) for _ in range(1 + STEPS))
    pixels = image.astype(np.float32)
    exported = on_tensorflow and kind in OURS
    infer = compile_inference(learner.network) if exported else learner.network.predict_on_batch
    _, *inferences = (seconds(lambda: infer(pixels)) for _ in range(1 + STEPS))
    macs = sum(map(complexity.count_macs, complexity.walk(learner.network, image.shape[1:3])))
    found = {"device": str(device), "macs": macs, "nodes": nodes()}
    return {**found, "first": first, "steps": steps, "inferences": inferences}


def compile_step(learner, batch: dict) -> tuple[Callable[[], int], Callable[[], float]]:
    """Returns what counts the nodes of the compiled step, once it has run, and the step."""
    import tensorflow as tf

    compiled = tf.function(learner.train_step)
    batch = {key: tf.constant(value) for key, value in batch.items()}

    def count() -> int:
        graph = compiled.get_concrete_function(batch).graph.as_graph_def()
        return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    return count, lambda: float(compiled(batch)["loss"])


def compile_inference(network) -> Callable:
    """Returns the network as it is exported, which TensorFlow does, as a function of arrays that gives arrays."""
    import tensorflow as tf

    from tfseg.models.fold import fold

    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    compiled = tf.function(fold(network), input_signature=[spec], autograph=False)
    return lambda pixels: compiled(tf.constant(pixels)).numpy()


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


def measure_torch(image, mask, precision: str, encoder: str, compiled: bool = False) -> dict:
    """The same of PyTorch, which has no nodes, and whose first call is but its slowest."""
    import segmentation_models_pytorch
    import torch
    import torch.utils.flop_counter

    kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind == "cpu":
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    name = encoder.replace("efficientnetlite", "tu-tf_efficientnet_lite").replace("efficientnetb", "efficientnet-b")
    network = segmentation_models_pytorch.Unet(name, encoder_weights=None, classes=NUM_CLASSES)
    network = network.to(kind, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.01, fused=True)
    dice, cross_entropy = segmentation_models_pytorch.losses.DiceLoss("multiclass"), torch.nn.CrossEntropyLoss()
    run = torch.compile(network) if compiled else network
    pixels = torch.from_numpy(image).to(kind).permute(0, 3, 1, 2).float() / 255  # in memory, channels are last
    truth = torch.from_numpy(mask).long().to(kind)
    half = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}.get(precision)
    scaler = torch.amp.GradScaler(kind, enabled=half is torch.float16)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(kind, half or torch.float32, enabled=half is not None):
            logits = run(pixels).float()
        loss = dice(logits, truth) + cross_entropy(logits, truth)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return float(loss.detach())

    def infer() -> None:
        with torch.inference_mode(), torch.autocast(kind, half or torch.float32, enabled=half is not None):
            run(pixels).float().cpu()

    first, *steps = (seconds(step) for _ in range(1 + STEPS))
    network.eval()
    _, *inferences = (seconds(infer) for _ in range(1 + STEPS))
    counter = torch.utils.flop_counter.FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(pixels[:1])
    found = {"device": f"torch {torch.__version__} on {kind}", "macs": counter.get_total_flops() // 2, "nodes": None}
    return {**found, "first": first, "steps": steps, "inferences": inferences}


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Medians(NamedTuple):
    """What was measured of one kind."""

    macs: int  # of an image in inference
    nodes: int | None
    first: float  # seconds of the first call, of a step and of an inference
    step: float
    inference: float


def summarize(rounds: list[dict]) -> Medians:
    """Medians of the first calls, of all steps and of all inferences."""
    steps, inferences = ([value for one in rounds for value in one[key]] for key in ("steps", "inferences"))
    first = statistics.median(one["first"] for one in rounds)
    return Medians(
        rounds[0]["macs"], rounds[0]["nodes"], first, statistics.median(steps), statistics.median(inferences)
    )


def table(results: dict, batch: int) -> list[str]:
    """Rows of medians, with the share of what products of matrices reach in brackets."""
    peak = max(one["macs_per_second"] for one in results["matrices"])
    rows = ["| | GMAC | nodes | first call s | step s | trained images/s | inferred images/s |"]
    rows += ["|---|---:|---:|---:|---:|---:|---:|"]
    for kind, rounds in results.items():
        if kind == "matrices":
            continue
        found = summarize(rounds)
        cells = [f"{found.macs / 1e9:.2f}", f"{found.nodes:,}" if found.nodes else ""]
        cells += [f"{found.first:.1f}", f"{found.step:.2f}"]
        for time_taken, macs in ((found.step, TRAINED * found.macs), (found.inference, found.macs)):
            cells.append(f"{batch / time_taken:.2f} ({batch * macs / time_taken / peak:.2f})")
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    return rows


def compare(results: dict) -> list[str]:
    """Rows of how many times as fast as each other kind ours are, by images, and by multiply-adds."""
    rows = [
        "| | trained images/s | multiply-adds/s | inferred images/s | multiply-adds/s |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind in OURS:
        own = summarize(results[kind])
        for other in results:
            if other not in (*OURS, "matrices"):
                theirs = summarize(results[other])
                faster, work = (theirs.step / own.step, theirs.inference / own.inference), own.macs / theirs.macs
                cells = [f"{value:.2f}" for ratio in faster for value in (ratio, ratio * work)]
                rows.append(f"| {kind} as a share of {other} | {' | '.join(cells)} |")
    return rows


def find_slower(results: dict) -> list[str]:
    """Names what Keras' own layers are faster at than ours."""
    if "plain" not in results:
        return []
    plain, found = summarize(results["plain"]), []
    for kind in OURS:
        own = summarize(results[kind])
        found += [f"{kind}, {what}" for what in ("step", "inference") if getattr(own, what) > getattr(plain, what)]
    return found


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientnetb3", help="or efficientnetlite0, ... (default: %(default)s)")
    parser.add_argument("--size", default="224x224", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="images (default: %(default)s)")
    parser.add_argument("--precision", default="float32", help="or mixed_bfloat16, or mixed_float16")
    parser.add_argument("--cores", type=int, help="of the processor to run on (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind (default: %(default)s)")
    parser.add_argument(
        "--peer",
        nargs="?",
        const=sys.executable,
        metavar="PYTHON",
        help="measure segmentation_models_pytorch too, which this Python has (default: the one that runs this)",
    )
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--measure", metavar="KIND", help=argparse.SUPPRESS)  # in this process; prints it as JSON
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure_here(options.measure, options)))
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    kinds = ["matrices", *["plain"] * (backend == "tensorflow"), *OURS, *(PEERS if options.peer else ())]
    results = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, rounds in results.items():
            rounds.append(measure(kind, options))
    print("\n".join([describe_machine(options.cores), "", *table(results, options.batch), "", *compare(results)]))
    save_results(options.json, "bench_step", results, options.cores)
    if slower := find_slower(results):
        sys.exit(f"slower than Keras' own layers: {'; '.join(slower)}")


if __name__ == "__main__":
    command.run(main)
