"""Screens choices of a recipe by a fractional factorial design: which of them move the score, in short trainings.

    python -m benchmarks.screen_recipe --config docs/results/screening/base.yaml --out runs/screening \
        --json docs/results/screening/screening.json

Ten choices of two levels each are set in 16 trainings, so that every level of each is in 8 of them, and every pair of
levels of two choices in 4: the effect of a choice is the mean score of the 8 trainings that have it less the mean of
the 8 that have not. Three seeds with and without each of ten choices would take 33 trainings, and compare 3 with 3.
Each training has a seed of its own, and as many epochs as take the same time.

The price: an effect is mixed with those that pairs of choices have only together. Five contrasts are left for which no
choice stands, and what they are is taken for chance; the pairs most likely to act together (`TOGETHER`) are in them.
See Box, Hunter and Hunter, Statistics for Experimenters, 2nd edition, chapter 6.

A training that has ended is not run again, so that the same command goes on with a screening that was stopped.
"""

import argparse
import csv
import json
import math
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.results import save_results
from tfseg.tuning.processes import share_cores, start_process

RUNS = 16
EPOCHS = {"expanded 256x320": 7, "block 256x320": 9, "expanded 192x256": 10, "block 192x256": 13}
# Name: number of its column, and what it sets. The number in binary says of which of the four basic columns the column
# is the product.
CHOICES = {
    "block": (4, {"model.skips": "block"}),
    "cross_entropy": (11, {"loss.cross_entropy": 1.0}),
    "auxiliary": (5, {"loss.auxiliary": 0.4}),
    "jitter": (2, {"data.crop_scale": [0.5, 2.0]}),
    "rare_class_sampling": (3, {"data.rare_class_sampling": 0.5}),
    "class_mix": (15, {"augment.class_mix": 0.5}),
    "ema": (6, {"optimizer.ema_momentum": 0.99}),
    "learning_rate": (7, {"optimizer.learning_rate": 0.002}),
    "encoder_lr_multiplier": (9, {"optimizer.encoder_lr_multiplier": 0.3}),
    "small_crops": (10, {"data.size": "192x256"}),
}
TOGETHER = [
    ("learning_rate", "encoder_lr_multiplier"),
    ("cross_entropy", "auxiliary"),
    ("jitter", "small_crops"),
    ("rare_class_sampling", "class_mix"),
]
T5 = 2.571  # the 0.975 quantile of Student's t with 5 degrees of freedom


def list_signs(column: int) -> np.ndarray:
    """The levels of a column in the 16 trainings: (16,) of -1 (off) and 1 (on)."""
    return np.array([(-1) ** (column & ~run).bit_count() for run in range(RUNS)])


def list_settings(run: int, epochs: dict[str, int]) -> dict[str, object]:
    """What a training sets, beside the config that all have in common.

    Args:
        run: 0..15.
        epochs: of each pair of skips and size of crops, such as {"block 192x256": 15}.
    """
    settings: dict[str, object] = {}
    for column, chosen in CHOICES.values():
        settings |= chosen if list_signs(column)[run] > 0 else {}
    pair = f"{settings.get('model.skips', 'expanded')} {settings.get('data.size', '256x320')}"
    return settings | {"train.epochs": epochs[pair], "train.seed": run}


def train(run: int, options: argparse.Namespace, shares: queue.Queue) -> None:
    """Runs one of the trainings on a share of the cores, unless it has ended before."""
    folder = options.out / f"{run:02}"
    if (folder / "metrics.json").exists():
        return
    flags = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in list_settings(run, options.epochs).items()
    ]
    cores = shares.get()
    try:
        command = [sys.executable, "-m", "tfseg.train", "--config", options.config, f"--run_dir={folder}", *flags]
        with (options.out / f"{run:02}.log").open("w", encoding="utf-8") as log:
            process = start_process(command, log, cores)
            if status := process.wait():
                raise RuntimeError(f"training {run} ended with {status}; see {log.name}")
    finally:
        shares.put(cores)


def measure_effects(scores: np.ndarray) -> dict:
    """The effect of each choice on a score, and what chance makes of it.

    Args:
        scores: (16,).

    Returns:
        {"effects": {choice: points}, "interval": half of the width of their 95 % intervals,
        "together": {"a, b": points, of pairs that are in contrasts of their own}}.
    """
    effects = {name: float(list_signs(column) @ scores) / (RUNS / 2) for name, (column, *_) in CHOICES.items()}
    free = sorted(set(range(1, RUNS)) - {column for column, *_ in CHOICES.values()})
    contrasts = {column: float(list_signs(column) @ scores) / (RUNS / 2) for column in free}
    interval = T5 * math.sqrt(sum(contrast**2 for contrast in contrasts.values()) / len(free))
    pairs = {}
    for first, second in TOGETHER:
        signs = list_signs(CHOICES[first][0]) * list_signs(CHOICES[second][0])
        pairs[f"{first}, {second}"] = float(signs @ scores) / (RUNS / 2)
    return {"effects": effects, "interval": interval, "together": pairs}


def read_run(folder: Path) -> dict:
    """What a training scored, in percent, and how long it took: {"epochs", "seconds", "mean", "iou": {class: ...}}."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    with (folder / "history.csv").open(encoding="utf-8") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    iou = {
        name: 100 * share for name, share in zip(metrics["classes"], metrics["iou"], strict=True) if share is not None
    }
    return {"epochs": len(seconds), "seconds": sum(seconds), "mean": 100 * metrics["mean_iou"], "iou": iou}


def summarize(runs: list[dict], scored: list[str]) -> dict:
    """The effects on the mean IoU and on that of some classes, and the seconds of the trainings with each choice.

    Args:
        runs: as `read_run` gives them, in their order.
        scored: names of classes.
    """
    results = {"mean": measure_effects(np.array([run["mean"] for run in runs]))}
    results |= {name: measure_effects(np.array([run["iou"][name] for run in runs])) for name in scored}
    return results


def effects_table(results: dict) -> list[str]:
    """Effects as lines of Markdown, a choice a line, the strongest first."""
    scores = list(results)
    effects = results["mean"]["effects"]
    order = sorted(effects, key=effects.get, reverse=True)
    return [
        "| | " + " | ".join(scores) + " |",
        "|---|" + "---:|" * len(scores),
        *(
            f"| {it} | " + " | ".join(f"{results[score]['effects'][it]:+.1f}" for score in scores) + " |"
            for it in order
        ),
        "| half of a 95 % interval | " + " | ".join(f"{results[score]['interval']:.1f}" for score in scores) + " |",
    ]


def runs_table(runs: list[dict], scored: list[str]) -> list[str]:
    """What each training set and scored, as lines of Markdown."""
    lines = [
        f"| | choices that are on | epochs | mean | {' | '.join(scored)} |",
        "|---:|---|" + "---:|" * (2 + len(scored)),
    ]
    for number, run in enumerate(runs):
        on = ", ".join(name for name, (column, _) in CHOICES.items() if list_signs(column)[number] > 0)
        scores = [run["mean"], *(run["iou"][name] for name in scored)]
        lines.append(f"| {number} | {on} | {run['epochs']} | " + " | ".join(f"{score:.1f}" for score in scores) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="what all trainings have in common")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--epochs", type=json.loads, default=EPOCHS, help=f"default: {json.dumps(EPOCHS)}")
    parser.add_argument("--parallel", type=int, default=2, help="trainings at a time (default: 2)")
    parser.add_argument("--classes", default="object,human,vehicle", help="whose IoU is shown (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the scores and effects")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shares: queue.Queue = queue.Queue()
    for share in share_cores(options.parallel):
        shares.put(share)
    with ThreadPoolExecutor(options.parallel) as pool:
        list(pool.map(lambda run: train(run, options, shares), range(RUNS)))
    runs = [read_run(options.out / f"{run:02}") for run in range(RUNS)]
    results = summarize(runs, options.classes.split(","))
    print("\n".join([*effects_table(results), "", *runs_table(runs, options.classes.split(","))]))
    runs = [{"settings": list_settings(run, options.epochs)} | scores for run, scores in enumerate(runs)]
    save_results(options.json, "screen_recipe", {"effects": results, "runs": runs})


if __name__ == "__main__":
    main()
