"""One training, from its settings to the SavedModel: the room's one door is `train_run`.

Validates between epochs, scores what it exports at the end, and leaves a run folder, see `runs.run_dir`.
"""

import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.config.schema import Config
from tfseg.io.escaping import printable
from tfseg.records.record_set import open_records
from tfseg.runs import run_dir
from tfseg.training import checkpoints, run
from tfseg.training.run import Training

if TYPE_CHECKING:
    from tfseg.training.learner import NotFinite, PlainLearner

# What takes its time at first, by Keras' backend.
FIRST_STEP = {
    "tensorflow": "tracing the first step, which takes seconds, on a busy machine half a minute",
    "jax": "compiling the first step; on a CPU EfficientNetB3 takes two minutes",
    "mlx": "compiling the first step, unless MLX_DISABLE_COMPILE is set; on a CPU EfficientNet takes minutes",
    "torch": "steps are computed as they come, without being compiled",
}


def train_run(config: Config) -> dict:
    """Trains, scores and exports one run.

    Returns:
        The scores of the best epoch's network on the validation split, of masks of the ground truth's own size, as in
        metrics.json; of several workers the first alone has them.

    Raises:
        ValueError: a setting does not fit the records, a record is damaged, or the run folder holds an earlier run, or
            is that of another process.
        OSError: the records cannot be read, or the run folder cannot be written.
        ModuleNotFoundError: `log` or `model` names what is of a package that is not installed.
        checkpoints.Stopped: Ctrl-C or SIGTERM; the same call resumes.
    """
    from tfseg.training.distribution import is_chief

    if not is_chief(config.accelerator.strategy):  # the first worker holds the folder, for all
        return _train(config)
    with run_dir.hold_run(Path(config.run_dir)) as fault:
        if fault and not config.quiet:
            print(
                f"{printable(fault)}; nothing keeps a second training from this run_dir: see to it that there is none"
            )
        return _train(config)


def _train(config: Config) -> dict:
    """Does what `train_run` says, in a run folder that no other process has."""
    from tfseg.models.segmenter import check_names
    from tfseg.training.start import check_start

    start = time.monotonic()
    run_dir.check_run(config)
    check_names(config.model.encoder, config.model.decoder)  # an unknown one is reported before anything is read
    check_start(config)
    with run_dir.hold_records(config.data.records):
        training = prepare(config)
        best_scores = learn_until_finite(training)
        metrics = run.finish_run(training, best_scores, start) if training.distribution.chief else {}
    with training.distribution.explain_lost_worker():
        training.distribution.wait()
    return metrics


def prepare(config: Config) -> Training:
    """Chooses the device and opens the records, and checks that a run can learn from them.

    Raises:
        ValueError, OSError, ModuleNotFoundError: as of `train_run`.
    """
    from tfseg.device import choose_device, read_port
    from tfseg.io.sockets import describe_open_port
    from tfseg.training import distribution
    from tfseg.training.console import Screen
    from tfseg.training.keras_hooks import choose_fused
    from tfseg.training.trackers import make_trackers
    from tfseg.training.workers import check_shares

    screen = Screen(config.quiet)
    if config.accelerator.strategy == "multiworker":
        if port := read_port(os.environ.get("TF_CONFIG")):
            screen.warn(describe_open_port(port))
        screen.report("waiting until all workers of TF_CONFIG are there")
    device, warning = choose_fused(choose_device(**dataclasses.asdict(config.accelerator)))
    workers = distribution.distribute(device)
    screen.quiet |= not workers.chief
    if warning and workers.chief:
        screen.warn(warning)
    trackers = make_trackers(config, screen) if workers.chief else []
    screen.report(str(device))
    check_shares(config, workers, device.strategy is not None)
    records, data = open_records(config.data.records), config.data
    records.check_learnable(data.train_split, data.val_split, config.loss.ignore_class)
    steps = records.count_steps(data.train_split, config.train.batch_size)
    return Training(config, records, device, workers, screen, trackers, steps)


def learn_until_finite(training: Training) -> dict:
    """Trains to the end; where a loss is not finite, from the last checkpoint on, with half the learning rate.

    Returns and errors as of `learn`, but for NotFinite: after `train.rollbacks`, it is a ValueError.
    """
    import keras

    from tfseg.training.learner import NotFinite
    from tfseg.training.workers import compare_workers

    directory = training.directory
    checkpoint = None if training.config.overwrite else checkpoints.find_last(directory)
    if checkpoint:
        check_origin(training, checkpoint)
    if checkpoint and not checkpoint.records and not run_dir.read_noted(directory):
        training.screen.report(f"{directory}: has no {run_dir.RECORDS}, so that data.records alone names its records")
    rollbacks = checkpoint.rollbacks if checkpoint else 0
    while True:
        try:
            with training.distribution.explain_lost_worker():
                compare_workers(training.config, training.records, training.distribution, checkpoint)
                return learn(training, checkpoint, rollbacks)
        except NotFinite as error:
            fault = describe_fault(training, error)
            if rollbacks == training.config.train.rollbacks:
                remedy = "lower optimizer.learning_rate, set optimizer.clip_norm, or let it go back by train.rollbacks"
                raise ValueError(f"{directory}: {fault}; {remedy}") from None
        except OSError as error:
            if training.config.overwrite or not (kept := checkpoints.find_steps(directory)):
                raise
            raise OSError(f"{error}; the same command resumes from the checkpoint after step {kept[-1]}") from error
        keras.backend.clear_session()
        # With overwrite there was no checkpoint to go back to.
        training = training._replace(config=dataclasses.replace(training.config, overwrite=False))
        checkpoint = checkpoints.find_last(directory)
        rollbacks += 1
        place = f"the checkpoint after step {checkpoint.step}" if checkpoint else "the start"
        training.screen.warn(f"{fault}; resuming from {place}, with the learning rate times {0.5**rollbacks:g}")


def check_origin(training: Training, checkpoint: checkpoints.Checkpoint) -> None:
    """Raises ValueError if a checkpoint has learnt from other records than those that are there now."""
    records = training.records
    if checkpoint.records not in (None, records.manifest_hash):
        raise ValueError(
            f"{training.directory}: its checkpoint has learnt from other records, of manifest.json "
            f"{checkpoint.records[:12]}, and {records} has {records.manifest_hash[:12]}; give another run_dir, "
            "or --overwrite true to delete it"
        )


def learn(training: Training, checkpoint: checkpoints.Checkpoint | None, rollbacks: int) -> dict:
    """Trains from a checkpoint, or from the start, to the end.

    Args:
        training: what to train.
        checkpoint: to resume from.
        rollbacks: how often the learning rate was halved.

    Returns:
        The scores of the best epoch, see `validation.Validate`; {} on a worker that validates nothing.

    Raises:
        NotFinite: the loss was not finite.
        ValueError, OSError, checkpoints.Stopped: as of `train_run`.
    """
    import keras

    from tfseg.pipeline.damage import explain_read_errors
    from tfseg.pipeline.transfer import to_device
    from tfseg.training.batches import make_val_batches, open_batches
    from tfseg.training.reports import make_callbacks
    from tfseg.training.stopping import stoppable

    config, records, device, workers, screen, _, steps = training
    if config.train.seed is not None:
        keras.utils.set_random_seed(config.train.seed)
    if not config.overwrite:
        run.check_classes(training.directory, records, records.classes)
    epoch, step = locate(checkpoint, steps)
    val_batches = make_val_batches(config, records, workers.replicas)
    make_batches = open_batches(config, records, workers.share)
    batches = make_batches(epoch, step)
    learner = build(training, rollbacks, resumes=checkpoint is not None)
    run.begin_run(training)
    screen.report(FIRST_STEP[keras.backend.backend()])
    with explain_read_errors(records), stoppable(screen) as stop, screen:
        val_batches = to_device(val_batches, **device.batches)
        callbacks, validate = make_callbacks(training, learner, val_batches, stop, checkpoint, rollbacks, epoch)
        if checkpoint:
            screen.report(f"resuming after step {step} of epoch {epoch + 1}")
            checkpoints.load(learner, training.directory, checkpoint)
            resume_epoch(training, learner, batches, epoch, step, callbacks)
            if learner.stop_training:
                return validate.best_scores or {}
            epoch += 1
            del batches  # with what waits in it
            batches = make_batches(epoch)
        fit(training, learner, batches, epoch, callbacks)
    return validate.best_scores or {}


def build(training: Training, rollbacks: int, resumes: bool) -> "PlainLearner":
    """Builds what a training trains, and reports its size, what it begins with and what it will take."""
    from tfseg.training.assembly import build_learner
    from tfseg.training.batches import describe_validations
    from tfseg.training.estimates import report_estimates
    from tfseg.training.start import load_start

    config, records, device, _, screen, _, steps = training
    if resumes:  # with all weights of a checkpoint: those that it began with may be gone, as on another machine
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, weights=None))
    learner = build_learner(config, device, steps, records, share=0.5**rollbacks)
    screen.report(f"network: {learner.network.name}, {learner.network.count_params():,} parameters")
    if config.model.start is not None and not resumes:
        screen.report("\n".join(load_start(learner.network, config.model.encoder, config.model.start, records.classes)))
    report_estimates(config, learner, steps, device, screen)
    screen.report(describe_validations(config, records, training.distribution.replicas))
    return learner


def fit(training: Training, learner: "PlainLearner", batches, epoch: int, callbacks: list) -> None:
    """Trains from the beginning of an epoch, counted from 0, to the end."""
    from tfseg.pipeline.transfer import to_device

    learner.fit(
        training.distribution.spread(to_device(batches, **training.device.batches)),
        initial_epoch=epoch,
        epochs=training.config.train.epochs,
        steps_per_epoch=training.steps,
        shuffle=False,  # the batches are
        verbose=0,
        callbacks=callbacks,
    )


def resume_epoch(training: Training, learner: "PlainLearner", batches, epoch: int, step: int, callbacks: list) -> None:
    """Takes the steps that an epoch is short of, on batches that begin with the first of them."""
    from tfseg.pipeline.transfer import to_device
    from tfseg.training.learner import finish_epoch

    workers = training.distribution
    rest = to_device(batches, signed=training.device.batches["signed"], ahead=False)
    rest = rest.as_numpy_iterator() if workers.replicas == 1 else iter(workers.spread(rest))
    params = {"epochs": training.config.train.epochs, "steps": training.steps}
    finish_epoch(learner, rest, epoch, step, callbacks, params)


def describe_fault(training: Training, error: "NotFinite") -> str:
    """Says at which step and on which images the loss was not finite."""
    from tfseg.training.batches import open_batches

    config = training.config
    epoch, step = divmod(error.step - 1, training.steps)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in error.terms.items())
    if config.train.seed is None or config.data.service:
        images = "images that are not known, since their order is not fixed"
    else:
        shares = [(index, training.distribution.workers) for index in range(training.distribution.workers)]
        streams = [open_batches(config, training.records, share)(epoch, step, only_ids=True) for share in shares]
        images = ", ".join(id.decode() for stream in streams for id in next(stream.as_numpy_iterator()))
    return f"step {step + 1} of epoch {epoch + 1}: the loss is not finite ({terms}) on {images}"


def locate(checkpoint: checkpoints.Checkpoint | None, steps: int) -> tuple[int, int]:
    """Returns the epoch, counted from 0, that a checkpoint is of, and how many of its steps are done: all, at its end.

    Args:
        checkpoint: None: the start of a training.
        steps: of an epoch.
    """
    if checkpoint is None:
        return 0, 0
    epoch, step = divmod(checkpoint.step - 1, steps)
    return epoch, step + 1
