"""Devices that share each batch: those of one machine, or of several whose processes train as one.

Every device, a replica in TensorFlow's words, has its own copy of the network and takes the same step on its part of
the batch; `backend` sums over all of them what the whole batch decides. Of several processes, the workers, the first is
the chief: it alone validates and writes, while the others wait for its next step.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np

from tfseg.device import Choice, Cluster, read_cluster


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

    def spread(self, batches):
        """Gives each device its part of this worker's batches, a tf.data set, images in a row."""
        return batches

    def gather(self, values: Sequence[int]) -> np.ndarray:
        """Collects whole numbers from all workers, who must all call it: int64 (workers, numbers)."""
        return np.array([values], np.int64)

    def any(self, *flags: bool) -> list[bool]:
        """Whether each of some flags is set on any worker; all must call it, and those that are early wait."""
        return [bool(flag) for flag in self.gather(flags).max(axis=0)]

    def wait(self) -> None:
        """Waits until all workers are there."""
        self.gather([0])

    def explain_lost_worker(self) -> AbstractContextManager:
        """Within which the loss of a worker is reported as a ConnectionError."""
        return nullcontext()


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
    def explain_lost_worker(self) -> Iterator[None]:
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


def distribute(choice: Choice) -> Distribution:
    """Makes what trains on the devices of a choice."""
    return Mirrored(choice.strategy, choice.cluster) if choice.strategy is not None else Distribution()


def is_chief(strategy: str) -> bool:
    """Whether this process is the one that writes, before any has met the others; `device` says if it cannot be."""
    try:
        return strategy != "multiworker" or read_cluster(os.environ.get("TF_CONFIG")).index == 0
    except ValueError:
        return True


def _compile_sum(strategy):
    import tensorflow as tf

    def add(x):
        return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(x))  # which has a device, x has none

    @tf.function(autograph=False)
    def run(x):
        return strategy.experimental_local_results(strategy.run(add, args=(x,)))[0]

    return run
