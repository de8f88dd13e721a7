"""python -m tfseg.train --config configs/X.yaml [--data.records DIR] [--train.epochs 3] ...

Trains a network on records, validates it after each epoch, and leaves a run folder (see `run_folder`) with a
SavedModel.
"""

import dataclasses
import sys
import time
from pathlib import Path

from tfseg import cli, run_folder
from tfseg.config import Config, parse_config, save_config

# What takes its time at first, by Keras' backend.
FIRST_STEP = {
    "tensorflow": "tracing the first step; EfficientNetB3 takes seconds, on a busy machine half a minute",
    "jax": "compiling the first step; on a CPU EfficientNetB3 takes two minutes",
    "torch": "steps are computed as they come, without being compiled",
}


def main() -> None:
    train(parse_config())


def train(config: Config) -> dict:
    """Trains, scores and exports one run.

    Returns:
        The scores of the best epoch's network on the validation split, as in metrics.json.

    Raises:
        ValueError: a setting does not fit the records, a record is damaged, or the run folder holds an earlier run.
        OSError: the records cannot be read, or the run folder cannot be written.
    """
    # Imported here, since TensorFlow takes seconds, and --help and a wrong setting are answered before.
    import keras

    from tfseg.augment import Augmentation
    from tfseg.device import choose_device
    from tfseg.labels import CATEGORIES
    from tfseg.learner import HistoryFile, KeepLast, Learner, Validate, make_optimizer
    from tfseg.losses import SegmentationLoss
    from tfseg.metrics import Scorer
    from tfseg.pipeline import count_steps, to_device, told_damage
    from tfseg.unet import build_unet

    start = time.monotonic()
    device = choose_device(**dataclasses.asdict(config.device))
    print(device, flush=True)
    if config.train.seed is not None:
        keras.utils.set_random_seed(config.train.seed)
    batches, val_batches = (to_device(made, **device.batches) for made in make_batches(config))
    steps = count_steps(config.data.records, config.data.train_split, config.train.batch_size)
    network = build_unet(len(CATEGORIES), **dataclasses.asdict(config.model), **device.network)
    print(f"network: {network.name}, {network.count_params():,} parameters", flush=True)

    directory = run_folder.create(config.run_dir, config.overwrite)
    save_config(config, directory / run_folder.CONFIG)
    loss = SegmentationLoss(**dataclasses.asdict(config.loss))
    learner = Learner(network, loss, Augmentation(**dataclasses.asdict(config.augment), seed=config.train.seed))
    learner.compile(make_optimizer(config.optimizer, config.train.epochs, steps), jit_compile=device.xla)
    validate = Validate(Scorer(network, loss), val_batches, directory / run_folder.BEST_WEIGHTS)
    swap = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if config.optimizer.ema else []
    print(FIRST_STEP[keras.backend.backend()], flush=True)
    with told_damage(config.data.records):
        learner.fit(
            batches,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the batches are
            verbose=1 if sys.stdout.isatty() else 0,
            callbacks=[  # in this order: keep the state to go on from, put the averaged weights in place, use them
                KeepLast(directory / run_folder.LAST_WEIGHTS),
                *swap,
                validate,
                HistoryFile(directory / run_folder.HISTORY),
                keras.callbacks.TensorBoard(directory / run_folder.TENSORBOARD, write_graph=False),
            ],
        )

    export(directory)
    metrics = {"split": config.data.val_split, "seconds": round(time.monotonic() - start), **validate.best_scores}
    run_folder.write_json(metrics, directory / run_folder.METRICS)
    print(f"best epoch {metrics['epoch']}: mean IoU {metrics['mean_iou_7']:.4f} over 7 categories; all in {directory}")
    return metrics


def make_batches(config: Config, epoch: int = 0, step: int = 0):
    """Makes the training batches that a config describes, from a step of an epoch on, and the validation batches."""
    from tfseg.pipeline import check_truth, make_eval_batches, make_train_batches
    from tfseg.windows import Windows

    data = config.data
    check_truth(data.records, data.val_split)
    batches = make_train_batches(
        data.records,
        data.train_split,
        size=cli.parse_size(data.size),
        batch_size=config.train.batch_size,
        fit=data.fit,
        windows=Windows(tuple(data.scale), data.max_class_share, data.rare_classes),
        shuffle=data.shuffle,
        ram_budget=data.ram_budget,
        seed=config.train.seed,
        epoch=epoch,
        step=step,
        cache=data.cache,
        service=data.service,
    )
    val_batches = make_eval_batches(
        data.records, data.val_split, size=data.eval_size, batch_size=config.train.batch_size
    )
    return batches, val_batches


def export(run: Path) -> None:
    """Makes the SavedModel of a run in float32, whatever it was trained in and on."""
    import keras

    from tfseg.export import export_by_tensorflow, export_saved_model
    from tfseg.labels import CATEGORIES, CATEGORY_COLORS

    if keras.backend.backend() == "tensorflow":
        keras.mixed_precision.set_dtype_policy("float32")
        export_saved_model(run_folder.load_network(run), run / run_folder.SAVED_MODEL, CATEGORIES, CATEGORY_COLORS)
    else:
        export_by_tensorflow(run, run / run_folder.SAVED_MODEL)


if __name__ == "__main__":
    cli.run(main)
