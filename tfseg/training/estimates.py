"""What a training will take, as far as the network's graph says."""

from tfseg.config.schema import Config
from tfseg.device import Choice
from tfseg.io.command import parse_size
from tfseg.io.cores import count_cores
from tfseg.training.console import Screen

# Kinds of devices that share the memory of the machine: CPUs and Apple's GPUs, which MLX calls gpu.
OF_THE_MACHINE = ("cpu", "metal", "mps", "gpu")


def report_estimates(config: Config, learner, steps: int, device: Choice, screen: Screen) -> None:
    """Reports what a batch and an epoch will take, as far as the network's graph says; warns if memory is too small."""
    from tfseg.device import read_memory
    from tfseg.models import complexity

    mebibyte, gibibyte = 2**20, 2**30
    batch = config.train.batch_size // device.replicas
    size = parse_size(config.data.size)
    trained = complexity.walk(learner.trained, size)
    memory = complexity.estimate_memory(learner, trained, batch)
    macs = sum(map(complexity.count_macs, complexity.walk(learner.network, size)))
    waiting = config.data.ram_budget * mebibyte
    on_cpu = device.kind == "cpu"
    # On a GPU of its own memory, what waits for it lies elsewhere; Apple's is that of the machine.
    least = complexity.estimate_peak(memory) if on_cpu else memory["all"]
    needed = least + (waiting if device.kind in OF_THE_MACHINE else 0)
    text = f"estimated from the network's graph: {needed / gibibyte:.1f} GiB of memory{'' if on_cpu else ' at least'}"
    text += f" in batches of {batch}, {macs / 1e9:.1f} billion multiply-adds per image"
    if on_cpu:
        cores, images = count_cores(), steps * config.train.batch_size
        seconds = complexity.estimate_seconds(images * sum(map(complexity.count_macs, trained)), cores)
        text += f", {format_duration(seconds)} per epoch if {cores} cores are as fast as those with AVX-512 of "
        text += f"docs/results/step, {format_duration(seconds * config.train.epochs)} in all; validation comes on top"
    screen.report(text)
    there = read_memory() if device.kind in OF_THE_MACHINE else None
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
    count = max(round(seconds), 1)
    return f"{count} second{'s' if count > 1 else ''}"
