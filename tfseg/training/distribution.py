"""Devices that share each batch: those of one machine, or of several whose processes train as one.

Every device, a replica in TensorFlow's words, has its own copy of the network and takes the same step on its part of
the batch; `fused` sums over all of them what the whole batch decides. Of several processes, the workers, the first is
the chief: it alone validates and writes, while the others wait for its next step.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import numpy as np


class Cluster(NamedTuple):
    """The processes that train as one."""

    addresses: list[str]  # host:port of each
    index: int  # of this one


class Distribution:
    """One device.

    Attributes:
        replicas: devices of all workers together.
        workers: processes.
        index: of this one, from 0 on.
    """

    replicas = workers = 1
    index = 0

    @property
    def chief(self) -> bool:
        """Whether this process validates and writes."""
        return self.index == 0

    @property
    def share(self) -> tuple[int, int]:
        """Which worker of how many."""
        return self.index, self.workers

    def scope(self) -> AbstractContextManager:
        """Within which a network to train is built and compiled."""
        return nullcontext()

    def spread(self, batches):
        """Gives each device its part of this worker's batches, a tf.data set, pictures in a row."""
        return batches

    def gather(self, values: Sequence[int]) -> np.ndarray:
        """Collects whole numbers from all workers, who must all call it: int64 (workers, numbers)."""
        return np.array([values], np.int64)

    def any(self, *flags: bool) -> list[bool]:
        """Whether each of some flags is set on any worker; all must call it, and those that are early wait."""
        return self.gather(flags).any(axis=0).tolist()

    def wait(self) -> None:
        """Waits until all workers are there."""
        self.gather([0])

    def told_loss(self) -> AbstractContextManager:
        """Within which a worker that is gone is told as a ConnectionError."""
        return nullcontext()

    def __str__(self) -> str:
        return ""


class Mirrored(Distribution):
    """Devices that a strategy of TensorFlow keeps alike.

    Args:
        strategy: tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy.
        cluster: of the latter.
    """

    def __init__(self, strategy, cluster: Cluster | None = None):
        self.strategy, self.cluster = strategy, cluster
        self.replicas = strategy.num_replicas_in_sync
        self.workers, self.index = (len(cluster.addresses), cluster.index) if cluster else (1, 0)
        self._sum = _compile_sum(strategy)

    def scope(self) -> AbstractContextManager:
        return self.strategy.scope()

    def spread(self, batches):
        parts = self.replicas // self.workers

        def split(batch: dict) -> dict:
            import tensorflow as tf

            return {name: tf.reshape(x, [parts, -1, *x.shape[1:]]) for name, x in batch.items()}

        return self.strategy.distribute_datasets_from_function(lambda _: batches.map(split).unbatch())

    def gather(self, values: Sequence[int]) -> np.ndarray:
        if self.workers == 1:
            return super().gather(values)
        import tensorflow as tf

        # Of a worker's devices one has its row, the others have zeros: a sum is what is compiled once, unlike
        # `Strategy.gather`.
        def row_of(context):
            rows = np.zeros((self.workers, len(values)), np.int64)
            if context.replica_id_in_sync_group % (self.replicas // self.workers) == 0:
                rows[self.index] = values
            return tf.constant(rows)

        return self._sum(self.strategy.experimental_distribute_values_from_function(row_of)).numpy()

    @contextmanager
    def told_loss(self) -> Iterator[None]:
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as error:
            lost = tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError
            if self.workers == 1 or not isinstance(error, lost):
                raise
            raise ConnectionError(
                f"worker {self.index} of {self.workers}: another one is gone or cannot be reached; "
                "look at what it said last, and start all of them again"
            ) from error

    def __str__(self) -> str:
        devices = f"{self.replicas} device{'s' if self.replicas > 1 else ''}"
        return f"worker {self.index} of {self.workers}, {devices}" if self.cluster else f"mirrored on {devices}"


def distribute(kind: str, distribution: str) -> Distribution:
    """Lets all visible devices of a kind share each batch.

    Args:
        kind: of device: cpu, or any other for GPUs.
        distribution: none, mirrored or multiworker.

    Raises:
        ValueError: as of `read_cluster`, or this process cannot listen at its address.
    """
    if distribution == "none":
        return Distribution()
    import tensorflow as tf

    if distribution == "multiworker":
        cluster = read_cluster(os.environ.get("TF_CONFIG"))
        try:
            return Mirrored(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
        except tf.errors.UnknownError as error:
            address = cluster.addresses[cluster.index]
            raise ValueError(
                f"TF_CONFIG: worker {cluster.index} cannot listen at {address}; "
                "give an address of this machine, and a port that no other process has"
            ) from error
    devices = tf.config.list_logical_devices("CPU" if kind == "cpu" else "GPU")
    return Mirrored(tf.distribute.MirroredStrategy([device.name for device in devices]))


def is_chief(distribution: str) -> bool:
    """Whether this process is the one that writes, before any has met the others; `distribute` says if it cannot be."""
    try:
        return distribution != "multiworker" or read_cluster(os.environ.get("TF_CONFIG")).index == 0
    except ValueError:
        return True


def read_cluster(text: str | None) -> Cluster:
    """Reads TF_CONFIG, the environment variable by which TensorFlow's processes know each other.

    Raises:
        ValueError: it is missing, no JSON, or does not say who the workers are, or which one this is.
    """
    wanted = (
        'expected {"cluster": {"worker": ["host0:port", "host1:port"]}, "task": {"type": "worker", "index": 0}}, '
        "the index being each worker's own"
    )
    if not text:
        raise ValueError(f"device.distribution: multiworker needs the environment variable TF_CONFIG: {wanted}")
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        if not set(jobs) <= {"chief", "worker"} or not all(isinstance(job, list) for job in jobs.values()):
            raise ValueError
        tasks = [(job, place) for job in ("chief", "worker") for place in range(len(jobs.get(job, [])))]
        return Cluster([jobs[job][place] for job, place in tasks], tasks.index((task["type"], int(task["index"]))))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"TF_CONFIG: {wanted}; got {text}") from None


def _compile_sum(strategy):
    import tensorflow as tf

    def add(x):
        return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(x))  # which has a device, x has none

    @tf.function(autograph=False)
    def run(x):
        return strategy.experimental_local_results(strategy.run(add, args=(x,)))[0]

    return run
