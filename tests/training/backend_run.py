"""A training, and what other backends' trainings left, under KERAS_BACKEND; test_backends.py starts it.

python tests/training/backend_run.py train START --SETTING VALUE ...    trains from given weights
python tests/training/backend_run.py read OUT RUN ...                scores and resumes runs: OUT/RUN.npz each
"""

import sys
from pathlib import Path

import keras
import numpy as np

from tfseg.augmentation.augmenter import Augmenter
from tfseg.config.parse import parse_config
from tfseg.metrics.confusion import Scorer, score
from tfseg.models import segmenter
from tfseg.pipeline.pipeline import make_eval_batches
from tfseg.records.record_set import open_records
from tfseg.runs import run_dir
from tfseg.runs.weights import load_network
from tfseg.training import assembly, checkpoints, loop
from tfseg.training.learner import Learner
from tfseg.training.optimizers import make_optimizer


def train_from(start: str, arguments: list[str]) -> None:
    """Trains as the command does, but for the weights that it begins with."""
    build = segmenter.build_network

    def build_from_start(*args, **kwargs):
        built = build(*args, **kwargs)
        if kwargs.get("auxiliary"):  # else it is built to be exported
            built.load_weights(start)
        return built

    segmenter.build_network = build_from_start
    loop.train_run(parse_config(arguments))


def read(out: str, *runs: str) -> None:
    """Writes of each run: the scores of its best weights, and what its last ones hold and resume to."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (4, 64, 64, 3), np.uint8)
    batch = {"image": image, "mask": image[..., 0] // 32}
    config = run_dir.read_config(runs[0])
    learner, data = make_learner(config), config.data
    learner(batch)
    for run in runs:
        checkpoints.load(learner, Path(run), checkpoints.find_last(Path(run)))
        found = {"optimizer": np.concatenate([flat(variable) for variable in learner.optimizer.variables])}
        found["logits"] = keras.ops.convert_to_numpy(learner.network(image.astype(np.float32)))
        found["losses"] = [learner.train_on_batch(batch, return_dict=True)["loss"] for _ in range(2)]
        found["steps"] = flat(learner.steps)
        scorer = Scorer(load_network(run), learner.loss_function)
        batches = make_eval_batches(open_records(data.records), "val", size=data.eval_size, batch_size=4)
        found["matrix"] = score(scorer, batches)["confusion_matrix"]
        np.savez(Path(out, f"{Path(run).name}.npz"), **found)


def make_learner(config) -> Learner:
    model = config.model
    built = segmenter.build_network(8, model.encoder, None, model.decoder, model.decoder_channels, auxiliary=True)
    learner = Learner(built, assembly.make_loss(config), Augmenter())
    learner.compile(make_optimizer(config.optimizer, config.train.epochs, 1), jit_compile="auto")
    return learner


def flat(variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64).ravel()


if __name__ == "__main__":
    command, first, *rest = sys.argv[1:]
    train_from(first, rest) if command == "train" else read(first, *rest)
