"""What network a training has: weights, multiply-adds, receptive field, memory, and, if asked, speed.

A GMAC is 10^9 multiply-adds of convolutions, dense layers and attention, and of what is pooled or enlarged by products
of matrices, of one image in inference; a GFLOP counts each of them as two. Biases, normalisation, activations, sums and
other pooling are left out: of what TensorFlow's profiler counts, 0 to 1.3 percent in 20 networks of 6 encoders and all
decoders at 320x320. Other layers that are not counted are named. The receptive field is that of one logit, exact, over
all paths but those through global pooling and attention. The memory is an estimate: augmentation, loss, gradients of
activations and what kernels work with come on top. On a CPU, training EfficientNetB0 took 1.4 times the activations and
half a GiB for its graph; `measure` says how much it is.
"""

import dataclasses
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from tfseg.config.schema import Config
from tfseg.diagnostics import metal
from tfseg.io import command

ROUNDS, ROUND_SECONDS = 5, 0.4  # of a measurement: how many, and of one at least
PARTS = ("encoder", "decoder", "head")


@dataclass(frozen=True)
class Measurement:
    """Memory and speed of a network.

    Attributes:
        device: on which, with the reasons for it.
        kind: of the device: cpu, cuda, metal, mps or gpu, as of `device.Choice`.
        bytes_before: peak memory of the process before there was a network.
        peak_bytes: that in training.
        trained_pictures_per_second: images per second in training, the median.
        inferred_pictures_per_second: images per second in inference, the median.
    """

    device: str
    kind: str
    bytes_before: int
    peak_bytes: int
    trained_pictures_per_second: float
    inferred_pictures_per_second: float


@dataclass(frozen=True)
class MetalCheck:
    """What `metal` finds: whether the train step passes, and its lines."""

    passes: bool
    lines: list[str]


@dataclass(frozen=True)
class ModelSummary:
    """What a network is made of and what it costs.

    Attributes:
        encoder: its name.
        size: [height, width] of the images.
        batch_size: of a train step.
        precision: a Keras dtype policy.
        parameters: counts of "all", of `PARTS`, "trainable", "not_trainable", and their "bytes".
        gmacs: 10^9 multiply-adds per image, of "all" and of `PARTS`.
        gflops: twice those of all.
        not_counted: type of layer -> {"layers", "weights"} of those whose multiply-adds are not known.
        receptive_field: "height", "width", "pools_globally".
        estimated_bytes: memory in training, "all" and by purpose.
        measured: memory and speed, if they were measured.
        metal: what would leave Apple's GPU, if that was asked.
    """

    encoder: str
    size: list[int]
    batch_size: int
    precision: str
    parameters: dict[str, int]
    gmacs: dict[str, float]
    gflops: float
    not_counted: dict[str, dict[str, int]]
    receptive_field: dict
    estimated_bytes: dict[str, int]
    measured: Measurement | None = None
    metal: MetalCheck | None = None

    def to_dict(self) -> dict:
        """Gives it for JSON, without what was not asked for."""
        content = dataclasses.asdict(self)
        return {name: value for name, value in content.items() if value is not None}


def describe_model(
    config: Config, num_classes: int | None = None, *, with_speed: bool = False, with_metal: bool = False
) -> ModelSummary:
    """Describes the network of a config for one image of `data.size`, and its memory for a batch.

    Args:
        config: of a training; weights are random, since nothing depends on them.
        num_classes: that the network predicts; None: those of the records.
        with_speed: whether to measure memory and speed as well, in another process.
        with_metal: whether to check what would leave Apple's GPU.

    Raises:
        ValueError: a setting is wrong.
        OSError: the records cannot be read, or the measuring process was killed.
    """
    from tfseg.device import choose_device
    from tfseg.models import complexity
    from tfseg.training import assembly

    device = choose_device(precision=config.accelerator.precision)
    count = num_classes or assembly.count_classes(config)
    learner = assembly.build_learner(config, device, steps=100, num_classes=count)
    network, encoder, size = learner.network, config.model.encoder, command.parse_size(config.data.size)
    calls = complexity.walk(network, size)
    macs = add_up(((call.path, complexity.count_macs(call)) for call in calls), encoder)
    memory = complexity.estimate_memory(learner, complexity.walk(learner.trained, size), config.train.batch_size)
    unknown = complexity.find_unknown(calls).items()
    return ModelSummary(
        encoder=encoder,
        size=list(size),
        batch_size=config.train.batch_size,
        precision=device.precision,
        parameters={**count_parameters(network, encoder), "bytes": complexity.count_bytes(network.weights)},
        gmacs={part: count / 1e9 for part, count in macs.items()},
        gflops=2 * macs["all"] / 1e9,
        not_counted={name: {"layers": layers, "weights": weights} for name, (layers, weights) in unknown},
        receptive_field=complexity.find_field(calls)._asdict(),
        estimated_bytes=memory,
        measured=measure(config) if with_speed else None,
        metal=place_on_metal(config) if with_metal else None,
    )


def count_parameters(network, encoder: str) -> dict[str, int]:
    """Counts the parameters of a network: all, by part, trainable and not."""
    parameters = add_up(((layer.name, layer.count_params()) for layer in network.layers), encoder)
    trainable = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    return {**parameters, "trainable": trainable, "not_trainable": parameters["all"] - trainable}


def add_up(counts: Iterable[tuple[str, int]], encoder: str) -> dict[str, int]:
    """Sums by part of the network, of numbers by the path of the layer."""
    sums: dict[str, int] = dict.fromkeys(("all", *PARTS), 0)
    for path, count in counts:
        part = {encoder: "encoder", "logits": "head"}.get(path.partition("/")[0], "decoder")
        sums[part] += count
        sums["all"] += count
    return sums


def measure(config: Config) -> Measurement:
    """Measures train step and inference in a process of its own, whose memory is nobody else's.

    Raises:
        ChildProcessError: the process was killed, as where memory is too small.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        try:
            return pool.submit(measure_here, config).result()
        except BrokenProcessPool:
            size, batch = config.data.size, config.train.batch_size
            raise ChildProcessError(
                f"the process that measured {batch} images of {size} was killed, as where memory is too small; "
                "give a smaller --size or --batch"
            ) from None


def measure_here(config: Config) -> Measurement:
    """Takes train steps and inferences on one batch, after two of each that are not counted."""
    import numpy as np

    from tfseg.device import choose_device
    from tfseg.diagnostics.speed import Stepper, draw_batch

    device = choose_device(precision=config.accelerator.precision)
    batch = config.train.batch_size
    before = read_peak()
    stepper = Stepper(config, device)
    step = statistics.median(stepper.time(ROUND_SECONDS) for _ in range(ROUNDS))
    peak = read_peak()
    channels = stepper.learner.network.input_shape[-1]
    pixels = draw_batch(command.parse_size(config.data.size), batch, channels=channels)["image"].astype(np.float32)

    def infer() -> float:
        start = time.perf_counter()
        stepper.learner.network.predict_on_batch(pixels)
        return time.perf_counter() - start

    _, _, *inferences = (infer() for _ in range(2 + ROUNDS))
    return Measurement(str(device), device.kind, before, peak, batch / step, batch / statistics.median(inferences))


def read_peak() -> int:
    """Reads the most bytes of memory that this process has held so far.

    Raises:
        OSError: the system does not say, as Windows does not.
    """
    from tfseg.inference.cost import peak_memory

    peak = peak_memory()
    if peak is None:
        raise OSError("this system does not say how much memory a process took at most; leave --measure out")
    return round(2**20 * peak)


def place_on_metal(config: Config) -> MetalCheck:
    """Checks what `tfseg check_metal` does."""
    report = metal.check_config(config)
    return MetalCheck(report.passes, list(metal.describe(report)))


def table(found: ModelSummary) -> Iterator[str]:
    """Yields the lines of a description: name, padded, and what was found."""
    rows = list(rows_of_network(found))
    if found.measured:
        rows += rows_of_measurement(found.measured, found.batch_size)
    if found.metal:
        rows += [("Metal" if index == 0 else "", line) for index, line in enumerate(found.metal.lines)]
    yield from (f"{name:<20} {text}".rstrip() for name, text in rows)


def rows_of_network(found: ModelSummary) -> Iterator[tuple[str, str]]:
    """Yields name and text of what is known of every network."""
    size, parameters, gmacs = "x".join(map(str, found.size)), found.parameters, found.gmacs
    yield "network", f"{found.encoder}, {size}, batch {found.batch_size}, {found.precision}"
    yield "parameters", f"{parameters['all']:,}: " + ", ".join(f"{part} {parameters[part]:,}" for part in PARTS)
    yield "", f"trainable {parameters['trainable']:,}, not trainable {parameters['not_trainable']:,}"
    yield "weights", in_mebibytes(parameters["bytes"])
    yield "GMACs per image", f"{gmacs['all']:.3f}: " + ", ".join(f"{part} {gmacs[part]:.3f}" for part in PARTS)
    yield "GFLOPs per image", f"{found.gflops:.3f}, a multiply-add counts as two"
    for name, unknown in found.not_counted.items():
        yield "not counted", f"{name}: {unknown['layers']} layers with {unknown['weights']:,} weights"
    field = found.receptive_field
    pooled = "; global pooling or attention adds the whole image" if field["pools_globally"] else ""
    yield "receptive field", f"{field['height']}x{field['width']} pixels{pooled}"
    memory = {name: in_mebibytes(size) for name, size in found.estimated_bytes.items()}
    parts = ", ".join(f"{name} {size}" for name, size in memory.items() if name != "all")
    yield "memory, estimated", f"{memory['all']} in training: {parts}"


def rows_of_measurement(measured: Measurement, batch: int) -> Iterator[tuple[str, str]]:
    """Yields name and text of what was measured."""
    peak, before = in_mebibytes(measured.peak_bytes), in_mebibytes(measured.bytes_before)
    yield "memory, measured", f"{peak} at most in training on {measured.kind}, {before} before there was a network"
    rates = {"trained": measured.trained_pictures_per_second, "inferred": measured.inferred_pictures_per_second}
    for name, rate in rates.items():
        yield f"{name}, measured", f"{rate:.2f} images/s in batches of {batch}"


def in_mebibytes(size: int) -> str:
    """Words a number of bytes."""
    return f"{size / 2**20:,.1f} MiB"
