"""Measures what fused operations save in a train step of the EfficientNetB3 U-Net: graph, first call, step.

    python tools/bench_step.py
    python tools/bench_step.py --size 224x224 --batch 4 --cores 1 --rounds 3

"fused" is the network as it is trained, with `fused.BatchNormalization` and `fused.AdamW`; "plain" the same as Keras
does it. Each is measured in processes of its own, in turns, the step compiled as in a training, without augmentation.
Medians of several rounds, and ratios.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from tfseg import cli

KINDS = ("plain", "fused")
STEPS = 5  # of each round


def measure(kind: str, size: tuple[int, int], batch: int, cores: int) -> dict:
    """Nodes of the step's graph, seconds of the first call, and of each of the next steps."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=_measure_here, args=(kind, size, batch, cores, results))
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(f"{kind}: failed")
    return results.get()


def _measure_here(kind: str, size: tuple[int, int], batch: int, cores: int, results) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before TensorFlow counts them
    import keras
    import tensorflow as tf

    from tfseg import fused
    from tfseg.augment import Augmentation
    from tfseg.config import Optimizer
    from tfseg.learner import Learner, make_optimizer
    from tfseg.losses import SegmentationLoss
    from tfseg.unet import build_unet

    keras.utils.set_random_seed(0)
    if kind == "plain":
        fused.BatchNormalization.call = keras.layers.BatchNormalization.call
        fused.AdamW = keras.optimizers.AdamW
        Learner.compile = keras.Model.compile
    network = build_unet(8, encoder="efficientnetb3", weights=None)
    learner = Learner(network, SegmentationLoss(1.0, 1.0), Augmentation())
    learner.compile(make_optimizer(Optimizer("adamw", 1e-3, "cosine", weight_decay=0.01), 10, 100))
    random = np.random.default_rng(0)
    shape = (batch, *size)
    data = {"image": random.integers(0, 256, (*shape, 3), np.uint8), "mask": random.integers(0, 8, shape, np.uint8)}
    data = {key: tf.constant(value) for key, value in data.items()}
    learner(data)  # makes the weights
    step = tf.function(learner.train_step)

    def seconds() -> float:
        start = time.perf_counter()
        float(step(data)["loss"])
        return time.perf_counter() - start

    first = seconds()
    graph = step.get_concrete_function(data).graph.as_graph_def()
    nodes = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)
    results.put({"nodes": nodes, "first": first, "steps": [seconds() for _ in range(STEPS)]})
    results.close()
    results.join_thread()


def table(results: dict) -> list[str]:
    """Rows of medians, and fused as a share of plain."""
    rows = ["| | nodes | first call s | step s |", "|---|---:|---:|---:|"]
    medians = {}
    for kind, rounds in results.items():
        steps = [seconds for one in rounds for seconds in one["steps"]]
        first = statistics.median(one["first"] for one in rounds)
        medians[kind] = rounds[0]["nodes"], first, statistics.median(steps)
        nodes, first, step = medians[kind]
        rows.append(f"| {kind} | {nodes:,} | {first:.1f} | {step:.2f} |")
    shares = [ours / theirs for theirs, ours in zip(*(medians[kind] for kind in KINDS), strict=True)]
    rows.append(f"| fused, as a share of plain | {' | '.join(f'{share:.2f}' for share in shares)} |")
    return rows


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="224x224", help="HEIGHTxWIDTH (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="pictures (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=1, help="to run on (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each kind (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    results = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind, rounds in results.items():
            rounds.append(measure(kind, cli.parse_size(options.size), options.batch, options.cores))
    print("\n".join(table(results)))
    if options.json:
        command = " ".join(["python tools/bench_step.py", *sys.argv[1:]])
        options.json.write_text(json.dumps({"command": command, "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
