"""What all workers of a training must have alike."""

import zlib

from tfseg.config.schema import Config
from tfseg.records.record_set import RecordSet
from tfseg.runs import run_dir
from tfseg.training.checkpoints import Checkpoint
from tfseg.training.distribution import Distribution


def compare_workers(
    config: Config, records: RecordSet, distribution: Distribution, checkpoint: Checkpoint | None
) -> None:
    """Raises ValueError on every worker unless all train the same, from the same checkpoint.

    Records are the same if their manifest is, wherever they lie on each machine.
    """
    settings = run_dir.list_lasting(config) | {"data.records": records.manifest_hash}
    settings = zlib.crc32(repr(settings).encode())
    found = distribution.gather([settings, checkpoint.step if checkpoint else 0])
    for worker, (other, step) in enumerate(found.tolist()):
        if other != found[0, 0]:
            raise ValueError(f"worker {worker} has other settings than worker 0; start all with the same command")
        if step != found[0, 1]:
            raise ValueError(
                f"run_dir {config.run_dir}: worker {worker} would resume after step {step}, worker 0 after step "
                f"{found[0, 1]}; give a folder on storage that all machines share"
            )


def check_shares(config: Config, workers: Distribution, shared: bool) -> None:
    """Raises ValueError unless a batch can be shared out among the devices, `shared` by a strategy of TensorFlow."""
    accumulated = config.optimizer.gradient_accumulation_steps
    if config.train.batch_size % workers.replicas:
        raise ValueError(
            f"train.batch_size: expected a multiple of {workers.replicas}, the devices that share it, "
            f"got {config.train.batch_size}"
        )
    if accumulated > 1 and (workers.replicas > 1 or shared):
        devices = f"{workers.replicas} devices" if workers.replicas > 1 else "devices that share a batch"
        raise ValueError(
            f"optimizer.gradient_accumulation_steps: expected 1 on {devices}, got {accumulated}; "
            "give each less of a batch, or take one device"
        )
    if config.data.service and workers.workers > 1:
        raise ValueError("data.service: expected null with accelerator.strategy multiworker: workers read their shares")
