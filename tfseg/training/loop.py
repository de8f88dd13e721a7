"""python -m tfseg.train --config configs/X.yaml [--data.records DIR] [--train.epochs 3] ...

Trains a network on records, validates it after each epoch, and leaves a run folder (see `run_folder`) with a
SavedModel.
"""

import dataclasses
import signal
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfseg.config.schema import Config, parse_config, save_config
from tfseg.device import Choice
from tfseg.io import command
from tfseg.runs import run_dir
from tfseg.training import checkpoints

if TYPE_CHECKING:
    from tfseg.training.console import Screen
    from tfseg.training.distribution import Distribution
    from tfseg.training.trackers import Tracker

# What takes its time at first, by Keras' backend.
FIRST_STEP = {
    "tensorflow": "tracing the first step; EfficientNetB3 takes seconds, on a busy machine half a minute",
    "jax": "compiling the first step; on a CPU EfficientNetB3 takes two minutes",
    "torch": "steps are computed as they come, without being compiled",
}


def main() -> None:
    config = parse_config()
    if config.quiet:
        command.be_quiet()
    try:
        train(config)
    except checkpoints.Stopped as stopped:
        print(f"{stopped}{', without overwrite' if config.overwrite else ''}")
        sys.exit(130)  # the shell's code for Ctrl-C


def train(config: Config) -> dict:
    """Trains, scores and exports one run.

    Returns:
        The scores of the best epoch's network on the validation split, as in metrics.json; of several workers the first
        alone has them.

    Raises:
        ValueError: a setting does not fit the records, a record is damaged, or the run folder holds an earlier run, or
            is that of another process.
        OSError: the records cannot be read, or the run folder cannot be written.
        ModuleNotFoundError: `log` or `model` names what is of a package that is not installed.
        checkpoints.Stopped: Ctrl-C or SIGTERM; the same call goes on.
    """
    from tfseg.training.distribution import is_chief

    if not is_chief(config.device.distribution):  # the first worker holds the folder, for all
        return _train(config)
    with run_dir.hold_run(Path(config.run_dir)) as fault:
        if fault and not config.quiet:
            print(f"{fault}; nothing keeps a second training from this run_dir: see to it that there is none")
        return _train(config)


def _train(config: Config) -> dict:
    """Does what `train` says, in a run folder that no other process has."""
    run_dir.check_run(config)
    # Imported here, since TensorFlow takes seconds, and --help and a wrong setting are answered before.
    import keras

    from tfseg.device import choose_device, read_versions
    from tfseg.models.segmenter import check_names
    from tfseg.pipeline.pipeline import check_learnable, count_steps
    from tfseg.training.console import Screen
    from tfseg.training.learner import NotFinite
    from tfseg.training.trackers import make_trackers

    start = time.monotonic()
    check_names(config.model.encoder, config.model.decoder)  # an unknown one is told before anything is read
    screen = Screen(config.quiet)
    if config.device.distribution == "multiworker":
        screen.tell("waiting until all workers of TF_CONFIG are there")
    device = choose_device(**dataclasses.asdict(config.device))
    team = device.distribution
    screen.quiet |= not team.chief
    trackers = make_trackers(config, screen) if team.chief else []
    screen.tell(str(device))
    if config.train.batch_size % team.replicas:
        raise ValueError(
            f"train.batch_size: expected a multiple of {team.replicas}, the devices that share it, "
            f"got {config.train.batch_size}"
        )
    if config.optimizer.accumulate > 1 and team.replicas > 1:
        raise ValueError(
            f"optimizer.accumulate: expected 1 on {team.replicas} devices, got {config.optimizer.accumulate}; "
            "give each less of a batch, or take one device"
        )
    if config.data.service and team.workers > 1:
        raise ValueError("data.service: expected null with device.distribution multiworker: workers read their shares")
    check_learnable(config.data.records, config.data.train_split, config.data.val_split, config.loss.learn_void)
    steps = count_steps(config.data.records, config.data.train_split, config.train.batch_size)
    directory = Path(config.run_dir)
    state = None if config.overwrite else checkpoints.find_last(directory)
    if state and not run_dir.read_noted(directory):
        screen.tell(f"{directory}: has no {run_dir.RECORDS}, so that its records are known by data.records alone")
    rollbacks = state.rollbacks if state else 0
    while True:
        try:
            with team.told_loss():
                compare_workers(config, team, state)
                best_scores = learn(config, device, steps, state, rollbacks, screen, trackers)
            break
        except NotFinite as error:
            fault = describe_fault(config, steps, error, team.workers)
            if rollbacks == config.train.rollbacks:
                remedy = "lower optimizer.learning_rate, set optimizer.clip_norm, or let it go back by train.rollbacks"
                raise ValueError(f"{directory}: {fault}; {remedy}") from None
        except OSError as error:
            if config.overwrite or not (kept := checkpoints.find_steps(directory)):
                raise
            raise OSError(f"{error}; the same command goes on from the state after step {kept[-1]}") from error
        keras.backend.clear_session()
        config = dataclasses.replace(config, overwrite=False)  # else there was nothing to go back to
        state = checkpoints.find_last(directory)
        rollbacks += 1
        place = f"the state after step {state.step}" if state else "the start"
        screen.warn(f"{fault}; going on from {place}, with the rate times {0.5**rollbacks:g}")

    metrics = {}
    if team.chief:
        export(directory)
        metrics = {"split": config.data.val_split, "seconds": round(time.monotonic() - start), **best_scores}
        metrics |= {"device": device.reasons, "versions": read_versions()}
        run_dir.write_json(metrics, directory / run_dir.METRICS)
        for tracker in trackers:
            tracker.finish(metrics)
        size = "x".join(map(str, config.data.eval_size or ())) or "the stored size"
        found = f"best epoch {metrics['epoch']}: mean IoU {metrics['mean_iou']:.4f} of masks at {size}"
        print(f"{found}; all in {directory}; tfseg.evaluate --run scores masks at the images' own size")
    with team.told_loss():
        team.wait()
    return metrics


def learn(
    config: Config,
    device: Choice,
    steps: int,
    state: checkpoints.State | None,
    rollbacks: int,
    screen: "Screen",
    trackers: list["Tracker"],
) -> dict:
    """Trains from a state, or from the start, to the end.

    Args:
        config: of the run.
        device: to compute on.
        steps: of an epoch.
        state: to go on from.
        rollbacks: how often the rate was halved.
        screen: to tell on how it goes.
        trackers: to send it to.

    Returns:
        The scores of the best epoch, see `learner.Validate`; those that the chief alone has may be None elsewhere.

    Raises:
        NotFinite: the loss was not finite.
        ValueError, OSError, checkpoints.Stopped: as of `train`.
    """
    import keras

    from tfseg.exporters.description import describe_model, validated_sizes
    from tfseg.metrics.confusion import Scorer
    from tfseg.pipeline.pipeline import read_examples, to_device, told_damage
    from tfseg.records.manifest import read_manifest
    from tfseg.training.console import Progress
    from tfseg.training.learner import ApplyRest, Freeze, HistoryFile, KeepState, TensorBoard, Validate, finish_epoch
    from tfseg.training.panels import Panels

    if config.train.seed is not None:
        keras.utils.set_random_seed(config.train.seed)
    directory, manifest = Path(config.run_dir), read_manifest(config.data.records)
    classes, colors = tuple(manifest.classes), manifest.palette
    if not config.overwrite:
        check_classes(directory, config.data.records, classes)
    epoch, step = locate(state, steps)
    replicas = device.distribution.replicas
    batches, val_batches = make_batches(config, epoch, step, device.distribution.share, replicas)
    learner = build_learner(config, device, steps, len(classes), share=0.5**rollbacks)
    network = learner.network
    screen.tell(f"network: {network.name}, {network.count_params():,} parameters")
    tell_costs(config, learner, steps, device, screen)

    team = device.distribution
    if team.chief:
        run_dir.open_run(config)
        save_config(config, directory / run_dir.CONFIG)
        run_dir.note_records(config)
        sizes = validated_sizes(manifest.size, config.data.eval_size)
        labels = describe_model(classes, colors, sizes, config.loss.learn_void)
        run_dir.write_json(labels, directory / run_dir.LABELS)
    team.wait()
    if not (directory / run_dir.CONFIG).is_file():
        raise ValueError(
            f"run_dir {directory}: worker {team.index} does not see what the first one wrote there; "
            "give a folder on storage that all machines share"
        )
    for tracker in trackers:
        tracker.start(directory, config)
    screen.tell(FIRST_STEP[keras.backend.backend()])
    with told_damage(config.data.records), stoppable(screen) as stop, screen:
        validate = Validate(
            Scorer(network, learner.loss_function, classes),
            to_device(val_batches, **device.batches),
            directory / run_dir.BEST_WEIGHTS,
            state and state.best,
            config.train.patience,
            stop,
            screen,
            team,
        )
        callbacks = [  # in this order: a run that is stopped while it validates does so again
            Freeze(network.get_layer(config.model.encoder), config.train.frozen_epochs),
            ApplyRest(),
            KeepState(directory, steps, config.train.save_minutes, validate, stop, rollbacks, screen, team),
            validate,
        ]
        if team.chief:
            data, tensorboard = config.data, directory / run_dir.TENSORBOARD
            examples = read_examples(data.records, data.val_split, count=4, size=data.eval_size)
            history = HistoryFile(directory / run_dir.HISTORY, epoch)
            callbacks += [
                history,
                TensorBoard(tensorboard, write_graph=False),
                Panels(tensorboard / "validation", examples, colors),
                Progress(screen, config.train.batch_size, lambda: validate.best_scores, history.before),
                *trackers,
            ]
        if state:
            screen.tell(f"going on after step {step} of epoch {epoch + 1}")
            checkpoints.load(learner, directory, state)
            rest = to_device(batches, **{**device.batches, "ahead": False})
            rest = rest.as_numpy_iterator() if team.replicas == 1 else iter(team.spread(rest))
            finish_epoch(learner, rest, epoch, step, callbacks, {"epochs": config.train.epochs, "steps": steps})
            if learner.stop_training:
                return validate.best_scores
            epoch += 1
            del batches, rest  # with what they keep in memory
            batches, _ = make_batches(config, epoch, share=team.share)
        learner.fit(
            team.spread(to_device(batches, **device.batches)),
            initial_epoch=epoch,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the batches are
            verbose=0,
            callbacks=callbacks,
        )
    return validate.best_scores


def check_classes(directory: Path, records: str, classes: tuple[str, ...]) -> None:
    """Raises ValueError if a stopped run learned other classes than the records have now."""
    if not ((directory / run_dir.LABELS).exists() and run_dir.has_learnt(directory)):
        return
    before, _ = run_dir.read_labels(directory)
    if tuple(before) != classes:
        raise ValueError(
            f"{directory}: learns the classes {', '.join(before)}, and {records} has {', '.join(classes)} now; "
            "give another run_dir, or --overwrite true to delete it"
        )


def compare_workers(config: Config, team: "Distribution", state: checkpoints.State | None) -> None:
    """Raises ValueError on every worker unless all train the same, from the same state.

    Records are the same if their manifest is, wherever they lie on each machine.
    """
    settings = run_dir.list_lasting(config) | {"data.records": run_dir.identify(config.data.records)}
    settings = zlib.crc32(repr(settings).encode())
    found = team.gather([settings, state.step if state else 0])
    for worker, (other, step) in enumerate(found.tolist()):
        if other != found[0, 0]:
            raise ValueError(f"worker {worker} has other settings than worker 0; start all with the same command")
        if step != found[0, 1]:
            raise ValueError(
                f"run_dir {config.run_dir}: worker {worker} would go on after step {step}, worker 0 after step "
                f"{found[0, 1]}; give a folder on storage that all machines share"
            )


def describe_fault(config: Config, steps: int, error, workers: int = 1) -> str:
    """Says at which step and on which pictures the loss was not finite; the error is a `learner.NotFinite`."""
    epoch, step = divmod(error.step - 1, steps)
    terms = ", ".join(f"{name} {value:.4g}" for name, value in error.terms.items())
    if config.train.seed is None or config.data.service:
        pictures = "pictures that are not known, since their order is not fixed"
    else:
        shares = [(index, workers) for index in range(workers)]
        streams = [make_training_stream(config, epoch, step, share, only_ids=True) for share in shares]
        pictures = ", ".join(id.decode() for stream in streams for id in next(stream.as_numpy_iterator()))
    return f"step {step + 1} of epoch {epoch + 1}: the loss is not finite ({terms}) on {pictures}"


def build_learner(config: Config, device: Choice, steps: int, num_classes: int, share: float = 1.0):
    """Builds and compiles what a config trains: network, augmentation and loss as one model.

    Args:
        config: of the run.
        device: to compute on.
        steps: of an epoch.
        num_classes: that the network tells apart, void included.
        share: of the learning rate.

    Raises:
        ValueError: as of `make_loss`, or the device cannot compute the loss.
        OSError: as of `make_loss`.
    """
    from tfseg.augmentation.layer import Augmentation
    from tfseg.device import can_sort
    from tfseg.models.segmenter import build_network
    from tfseg.training.learner import Learner, make_optimizer

    if config.loss.lovasz and not can_sort(device.kind):
        raise ValueError(
            f"loss.lovasz: expected 0 on {device.kind}, whose sorting cannot be trusted, got {config.loss.lovasz}; "
            "take loss.jaccard, or set device.kind to cpu"
        )
    with device.distribution.scope():
        network = build_network(num_classes, **dataclasses.asdict(config.model), **device.network)
        augment, seed = dataclasses.asdict(config.augment), config.train.seed
        augmentation = Augmentation(**augment, num_classes=num_classes, seed=seed)
        learner = Learner(network, make_loss(config), augmentation)
        settings = dataclasses.replace(config.optimizer, learning_rate=share * config.optimizer.learning_rate)
        optimizer = make_optimizer(settings, config.train.epochs, steps)
        learner.compile(optimizer, jit_compile=device.xla)
        if settings.encoder_rate < 1:
            optimizer.slow_down(network.get_layer(config.model.encoder).trainable_variables, settings.encoder_rate)
    return learner


def count_classes(config: Config) -> int:
    """How many classes the records have; if they are not there, as many as Cityscapes has categories."""
    from tfseg.records.labels import CATEGORIES
    from tfseg.records.manifest import read_manifest

    try:
        return len(read_manifest(config.data.records).classes)
    except FileNotFoundError:
        return len(CATEGORIES)


def make_loss(config: Config):
    """Makes the loss that a config describes, with the class weights of its records if it wants them.

    Raises:
        ValueError: there are to be class weights, and the training split is missing or holds nothing but void.
        OSError: there are to be class weights, and the records cannot be read.
    """
    from tfseg.losses import SegmentationLoss

    weights = read_class_weights(config) if config.loss.class_weights == "manifest" else None
    return SegmentationLoss(**{**dataclasses.asdict(config.loss), "class_weights": weights})


def read_class_weights(config: Config) -> list[float]:
    """Reads how much each class weighs from the pixels of the training split; errors as of `make_loss`."""
    from tfseg.pipeline.pipeline import check_split
    from tfseg.records.class_weights import class_weights
    from tfseg.records.manifest import read_manifest

    records, name = config.data.records, config.data.train_split
    split = check_split(read_manifest(records), records, name)
    if not split.has_truth:
        raise ValueError(f"{records}: split {name!r} holds nothing but void; loss.class_weights must be null for it")
    return class_weights(split, with_void=config.loss.learn_void)


def locate(state: checkpoints.State | None, steps: int) -> tuple[int, int]:
    """Returns the epoch, counted from 0, that a state is of, and how many of its steps are done: all, at its end."""
    if state is None:
        return 0, 0
    epoch, step = divmod(state.step - 1, steps)
    return epoch, step + 1


@contextmanager
def stoppable(screen: "Screen") -> Iterator[threading.Event]:
    """Gives an event that the first Ctrl-C or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main one hears signals
        return

    def ask(*_) -> None:
        stop.set()
        restore()
        screen.interrupt("stopping after this step, or its epoch's validation; once more stops at once")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        restore()


def tell_costs(config: Config, learner, steps: int, device: Choice, screen: "Screen") -> None:
    """Tells what a batch and an epoch will take, as far as the network's graph says; warns if memory is too small."""
    from tfseg.device import count_cores, read_memory
    from tfseg.models import complexity

    mebibyte, gibibyte = 2**20, 2**30
    batch = config.train.batch_size // device.distribution.replicas
    calls = complexity.walk(learner.network, command.parse_size(config.data.size))
    memory = complexity.estimate_memory(learner, calls, batch)
    macs = sum(map(complexity.count_macs, calls))
    waiting = config.data.ram_budget * mebibyte
    on_cpu = device.kind == "cpu"
    # On a GPU of its own memory, what waits for it lies elsewhere; Apple's is that of the machine.
    least = complexity.estimate_peak(memory) if on_cpu else memory["all"]
    needed = least + (waiting if device.kind in ("cpu", "metal", "mps") else 0)
    text = f"estimated from the network's graph: {needed / gibibyte:.1f} GiB of memory{'' if on_cpu else ' at least'}"
    text += f" in batches of {batch}, {macs / 1e9:.1f} billion multiply-adds a picture"
    if on_cpu:
        cores, pictures = count_cores(), steps * config.train.batch_size
        seconds = complexity.estimate_seconds(macs * pictures, cores)
        text += f", {format_duration(seconds)} an epoch if {cores} cores are as fast as those of docs/results/step"
        text += f", {format_duration(seconds * config.train.epochs)} in all; validation comes on top"
    screen.tell(text)
    there = read_memory() if device.kind in ("cpu", "metal", "mps") else None
    if there and needed > there:
        screen.warn(
            f"{needed / gibibyte:.1f} GiB, as estimated, are more than the {there / gibibyte:.1f} GiB of this machine; "
            "lower train.batch_size, data.size or data.ram_budget, or take a smaller model.encoder, as "
            "configs/cityscapes_laptop.yaml does"
        )


def format_duration(seconds: float) -> str:
    """Writes an estimate of a time: 40 as "40 seconds", 4000 as "67 minutes", 40000 as "11 hours"."""
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length and (unit != "hours" or seconds >= 2 * length):
            return f"{seconds / length:.0f} {unit}"
    return f"{max(round(seconds), 1)} seconds"


def count_validated(config: Config, replicas: int = 1) -> int:
    """How many images are validated at once: as many as have no more pixels than one device trains on, at least 1.

    Scores are those of the whole split, whatever this is; losses that are sums over a batch, as Dice, are of these.

    Args:
        config: of the run.
        replicas: devices that share a training batch; the first of them validates.
    """
    from tfseg.records.manifest import read_manifest

    trained, size = command.parse_size(config.data.size), config.data.eval_size
    size = size or read_manifest(config.data.records).size or trained  # None: of their own sizes, one at a time
    batch = config.train.batch_size // replicas
    return max(batch * trained[0] * trained[1] // (size[0] * size[1]), 1)


def make_batches(config: Config, epoch: int = 0, step: int = 0, share: tuple[int, int] = (0, 1), replicas: int = 1):
    """Makes a worker's training batches, from a step of an epoch on, and the validation batches.

    Args:
        config: which describes them.
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        share: which worker of how many.
        replicas: devices of all workers.
    """
    from tfseg.pipeline.pipeline import check_truth, make_eval_batches

    data = config.data
    if data.service:
        epoch = step = 0  # its batches come as they are ready, there is no place to go on from
    check_truth(data.records, data.val_split)
    val_batches = make_eval_batches(
        data.records, data.val_split, size=data.eval_size, batch_size=count_validated(config, replicas)
    )
    return make_training_stream(config, epoch, step, share), val_batches


def make_training_stream(config: Config, epoch: int, step: int, share: tuple[int, int], only_ids: bool = False):
    """Makes a worker's training batches, see `make_batches` and `pipeline.make_train_batches`."""
    from tfseg.pipeline.crops import Windows
    from tfseg.pipeline.order import Share
    from tfseg.pipeline.pipeline import make_train_batches

    data = config.data
    return make_train_batches(
        data.records,
        data.train_split,
        size=command.parse_size(data.size),
        batch_size=config.train.batch_size // share[1],
        fit=data.fit,
        windows=Windows(tuple(data.scale), data.max_class_share, data.rare_classes),
        shuffle=data.shuffle,
        ram_budget=data.ram_budget,
        seed=config.train.seed,
        epoch=epoch,
        step=step,
        share=Share(*share) if share[1] > 1 else None,
        cache=data.cache,
        service=data.service,
        only_ids=only_ids,
    )


def export(run: Path) -> None:
    """Makes the SavedModel of a run in float32, whatever it was trained in and on."""
    import keras

    from tfseg.exporters.exporter import export_by_tensorflow, export_saved_model

    if keras.backend.backend() == "tensorflow":
        keras.mixed_precision.set_dtype_policy("float32")
        labels, sizes = run_dir.read_labels(run), run_dir.read_sizes(run) or ()
        learn_void = run_dir.read_config(run).loss.learn_void
        export_saved_model(run_dir.load_network(run), run / run_dir.SAVED_MODEL, *labels, sizes, learn_void)
    else:
        export_by_tensorflow(run, run / run_dir.SAVED_MODEL)


if __name__ == "__main__":
    command.run(main)
