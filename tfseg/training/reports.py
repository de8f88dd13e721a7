"""The callbacks of a training, in their order."""

import threading

from tfseg.metrics.confusion import Scorer
from tfseg.runs import run_dir
from tfseg.training.callbacks import ApplyRest, Freeze, HistoryFile, SaveCheckpoints, TensorBoard, is_scored
from tfseg.training.checkpoints import Checkpoint
from tfseg.training.console import Progress
from tfseg.training.learner import PlainLearner
from tfseg.training.panels import Panels
from tfseg.training.run import Training
from tfseg.training.validation import Validate


def make_callbacks(
    training: Training,
    learner: PlainLearner,
    val_batches,
    stop: threading.Event,
    checkpoint: Checkpoint | None,
    rollbacks: int,
    epoch: int,
) -> tuple[list, Validate]:
    """Makes the callbacks of a training, in the order in which they must come, and that which validates.

    Args:
        training, checkpoint, rollbacks: as of `learn`.
        learner: compiled.
        val_batches: of the validation split.
        stop: whether a stop is asked for.
        epoch: with which the training begins, counted from 0.
    """

    config, records, _, workers, screen, trackers, steps = training
    directory = training.directory
    # Of an epoch that was validated since its checkpoint, as a run's last is, neither knows the scores.
    (again,) = workers.any(workers.chief and is_scored(directory / run_dir.HISTORY, epoch))
    validate = Validate(
        Scorer(learner.network, learner.loss_function, tuple(records.classes)),
        val_batches,
        directory / run_dir.BEST_WEIGHTS,
        checkpoint.best if checkpoint else None,
        config.train.patience,
        stop,
        screen,
        workers,
        config.train.validation_freq,
        epoch if again else None,
    )
    callbacks = [  # in this order: a run that is stopped while it validates does so again
        Freeze(learner.network.get_layer(config.model.encoder), config.train.frozen_epochs),
        ApplyRest(),
        SaveCheckpoints(
            directory, steps, config.train.save_minutes, validate, stop, rollbacks, screen, workers, records
        ),
        validate,
    ]
    if workers.chief:
        callbacks += [*make_reports(training, validate, epoch), *trackers]
    return callbacks, validate


def make_reports(training: Training, validate: Validate, epoch: int) -> list:
    """Makes the callbacks that write losses, scores and panels, and report the progress."""
    from tfseg.pipeline.examples import read_examples

    config, records = training.config, training.records
    data, train, tensorboard = config.data, config.train, training.directory / run_dir.TENSORBOARD
    examples = read_examples(records, data.val_split, count=4, size=data.eval_size)
    history = HistoryFile(training.directory / run_dir.HISTORY, epoch)
    return [
        history,
        TensorBoard(tensorboard, write_graph=False),
        Panels(tensorboard / "validation", examples, records.palette),
        Progress(training.screen, train.batch_size, lambda: validate.best_scores or {}, history.before, validate.freq),
    ]
