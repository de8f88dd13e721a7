"""How fast a machine trains: parts of `tfseg doctor`, each of which runs in a process of its own.

A part takes the settings of a training, yields findings as they come, and dicts for the report. {"began": what} says
what is being tried, for the case that the process does not outlive it.
"""

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.config.schema import Config
from tfseg.conversion.finding.sources import Source
from tfseg.conversion.writing import encoding, manifests
from tfseg.device import Choice, choose_device
from tfseg.diagnostics.checks import DOUBLE, OK, PLAIN, VARIANTS, Finding, judge_rates
from tfseg.io import command
from tfseg.io.pixel_formats import RGB
from tfseg.records import labels, records
from tfseg.records.manifest import Split, shard_name, write_manifest
from tfseg.records.record_set import open_records
from tfseg.training import assembly
from tfseg.training.batches import open_batches
from tfseg.training.learner import Learner

ROUNDS, ROUND_SECONDS, ROUNDS_SECONDS = 5, 0.4, 10.0  # of a measurement of steps: how many, of one, of all at most
RATE_SECONDS = 2.0  # of a measurement of images/s
IMAGES = 32  # of each split of the records that are made

Part = Iterator[Finding | dict]


# ---- the step


def time_steps(config: Config, variant: str) -> Part:
    """Times the train step in float32 and in a variant of it, in turns."""
    precision = variant if variant.startswith("mixed_") else "float32"
    choices = [choose_device(config.accelerator.kind, name) for name in ("float32", precision)]
    yield {"began": "float32"}
    one = Stepper(config, choices[0])
    yield {"began": variant}
    size = config.train.batch_size * (2 if variant == DOUBLE else 1)
    sized = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=size))
    other = Stepper(sized, choices[1], plain=variant == PLAIN)
    seconds = take_turns(one, other)
    rates = [stepper.images / time for stepper, time in zip((one, other), seconds, strict=True)]
    gain = rates[1] / rates[0]
    if variant == VARIANTS[0]:  # the others measure it too, to have something to compare with
        yield Finding("step", OK, describe_step("float32", one, seconds[0]))
    compared = f"{gain:.2f} times the images/s of float32 beside it, {1000 * seconds[0]:.0f} ms"
    yield Finding("step", OK, f"{describe_step(variant, other, seconds[1])}; {compared}")
    rows = zip(("float32", variant), seconds, rates, (1.0, gain), strict=True)
    yield {
        "steps": {name: {"seconds": step, "pictures_per_second": rate, "gain": gain} for name, step, rate, gain in rows}
    }


def take_turns(*steppers: "Stepper") -> list[float]:
    """Lets each take steps for a while, several times over; returns the median seconds of a step of each."""
    for stepper in steppers:
        stepper.take()  # the first step after another network was built takes seconds
    rounds, start = [], time.perf_counter()
    while len(rounds) < ROUNDS and (not rounds or time.perf_counter() - start < ROUNDS_SECONDS):
        rounds.append([stepper.time(ROUND_SECONDS) for stepper in steppers])
    return [statistics.median(measured) for measured in zip(*rounds, strict=True)]


def describe_step(name: str, stepper: "Stepper", seconds: float) -> str:
    rate, first = stepper.images / seconds, f"the first after {stepper.first:.0f} s"
    return f"{name}: {1000 * seconds:.0f} ms a step of {stepper.images}, {rate:.0f} images/s, {first}"


class Stepper:
    """A learner that takes train steps on one fixed batch, as `train.py` compiles them."""

    def __init__(self, config: Config, choice: Choice, plain: bool = False):
        self.images = config.train.batch_size
        size, channels = command.parse_size(config.data.size), assembly.count_channels(config)
        batch = draw_batch(size, self.images, assembly.count_classes(config), channels)
        self.learner = build_learner(config, choice, plain)
        self.take = feed(self.learner, repeated(as_trained(batch, choice)))
        start = time.perf_counter()
        self.take()
        self.first = time.perf_counter() - start
        self.take()

    def time(self, seconds: float) -> float:
        """Takes steps for some time, at least one; returns the seconds per step."""
        start, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - start < seconds:
            self.take()
            count += 1
        return (time.perf_counter() - start) / count


def build_network(config: Config, choice: Choice) -> keras.Model:
    """Builds the network of a config with random weights, on which nothing here depends."""
    return build_learner(config, choice).network


def build_learner(config: Config, choice: Choice, plain: bool = False) -> Learner:
    """Builds and compiles what a training has; `plain` takes the optimizer of Keras itself."""
    keras.mixed_precision.set_dtype_policy(choice.precision)
    keras.utils.set_random_seed(0)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, weights=None))
    learner = assembly.build_learner(config, choice, steps=100, num_classes=assembly.count_classes(config))
    if plain:
        optimizer = learner.optimizer
        optimizer = getattr(keras.optimizers, type(optimizer).__name__).from_config(optimizer.get_config())
        learner.compile(optimizer, jit_compile=choice.xla)
    return learner


def as_trained(batch: dict, choice: Choice) -> dict:
    """Bytes as they go to the device; see `pipeline.as_signed`."""
    return {key: pixels.view(np.int8) for key, pixels in batch.items()} if choice.batches["signed"] else batch


def repeated(batch: dict):
    """Yields a batch forever, as the backend takes it."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(batch).repeat()
    return iter(lambda: batch, None)


def feed(learner: Learner, batches) -> Callable[[], float]:
    """Returns what takes one step on the next of some batches, waits for it and gives its loss."""
    iterator = iter(batches)
    if keras.backend.backend() != "tensorflow":
        return lambda: learner.train_on_batch(to_numpy(next(iterator)), return_dict=True)["loss"]
    learner.make_train_function()
    return lambda: float(learner.train_function(iterator)["loss"])


def to_numpy(tree: Any) -> Any:
    """Turns the tensors of lists and dicts into arrays."""
    return keras.tree.map_structure(ops.convert_to_numpy, tree)


# ---- what feeds it


def write_images(config: Config) -> Part:
    """Writes records of a synthetic image for the training that a config describes, into the folder that it names."""
    data, folder = config.data, Path(config.data.records)
    height, width = command.parse_size(data.size)
    size = (2 * height, 2 * width) if data.fit == "crop" else (height, width)
    tile_width = records.choose_tile_width(size)
    settings = encoding.Settings(labels.CITYSCAPES["categories"], size, "jpeg", 95, "nearest", tile_width)
    image = {key: pixels[0] for key, pixels in draw_batch(size, 1).items()}
    count = max(IMAGES, config.train.batch_size)
    class_pixels = count * np.bincount(image["mask"].ravel(), minlength=len(labels.CATEGORIES))
    folder.mkdir(parents=True)
    splits = {}
    for split in (data.train_split, data.val_split):
        ids = [f"{split}{index}" for index in range(count)]
        examples = (encoding.encode_pixels(id, image["image"], image["mask"], settings) for id in ids)
        shard = records.write_shard(folder / shard_name(split, 0, 1), examples)
        splits[split] = Split(ids, [shard], class_pixels.tolist(), [127.0] * 3, [64.0] * 3)
    blank = manifests.blank_manifest(Source("folders", folder, settings.label_map, {}), settings)
    write_manifest(folder, dataclasses.replace(blank, splits=splits))
    yield {"records": f"{count} synthetic images of {size[0]}x{size[1]}, JPEG"}


def draw_batch(
    size: tuple[int, int], count: int, classes: int = len(labels.CATEGORIES), channels: int = RGB.channels
) -> dict:
    """Draws images of coloured blocks with noise, and their masks of so many classes: the same every time."""
    random = np.random.default_rng(0)
    block = 16
    coarse = random.integers(0, classes, (count, -(-size[0] // block), -(-size[1] // block)), np.uint8)
    mask = coarse.repeat(block, axis=1).repeat(block, axis=2)[:, : size[0], : size[1]]
    colors = random.integers(40, 216, (classes, channels))
    noise = random.normal(0, 12, (*mask.shape, channels)).astype("float32")
    return {"image": (colors[mask] + noise).clip(0, 255).astype("uint8"), "mask": np.ascontiguousarray(mask)}


def measure_input(config: Config) -> Part:
    """Measures the pipeline alone, the step alone and the step fed by the pipeline, in images per second."""
    from tfseg.pipeline.transfer import to_device

    choice = choose_device(**dataclasses.asdict(config.accelerator))
    yield {"began": "the pipeline"}
    records = open_records(config.data.records)
    batches = to_device(open_batches(config, records)(), choice.batches["signed"], choice.batches["ahead"])
    size = config.train.batch_size
    pipeline = measure_rate(functools.partial(next, iter(batches)), size)
    yield {"began": "the step"}
    stepper = Stepper(config, choice)
    step = measure_rate(stepper.take, size)
    yield {"began": "both"}
    together = measure_rate(feed(stepper.learner, batches), size)
    yield {"input": {"pipeline": pipeline, "step": step, "together": together}}
    raw = records.manifest.codec == "raw"
    yield judge_rates(pipeline, step, together, choice.kind == "cpu", raw)
    if pipeline < step and not config.data.cache:
        yield {"began": "data.cache ram"}
        cached = dataclasses.replace(config, data=dataclasses.replace(config.data, cache="ram"))
        rate = measure_rate(functools.partial(next, iter(open_batches(cached, records)())), size)
        yield {"cache": rate / pipeline}
        yield Finding("input", OK, f"with data.cache ram the pipeline gives {rate:.0f} images/s")


def measure_rate(take: Callable, images: int) -> float:
    """Counts images per second, after what lay ready at the start is used up."""
    start = time.perf_counter()
    for _ in range(12):  # more than `pipeline.PREFETCHED`
        take()
        if time.perf_counter() - start > RATE_SECONDS:
            break
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < RATE_SECONDS:
        take()
        count += 1
    return count * images / (time.perf_counter() - start)


PARTS = {
    "records": write_images,
    "input": measure_input,
    **{f"step {variant}": functools.partial(time_steps, variant=variant) for variant in VARIANTS},
}
