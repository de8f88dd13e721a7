"""What a training stream is asked for, and how much of it may wait in memory."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tfseg.pipeline.crops import RandomCrop
from tfseg.records.record_set import RecordSet

MEBIBYTE = 2**20
PREFETCHED = 8  # batches at most that wait for the device
UNCOUNTED = 3  # more of them: two are being filled, see `pipeline.BATCHED`, one is being used


@dataclass(frozen=True)
class TrainSettings:
    """How images are read for training."""

    size: tuple[int, int]
    """(height, width) of the images in a batch."""
    batch_size: int
    """Images in a batch of this reader."""
    fit: str = "resize"
    """"resize" brings the whole image to `size`, whatever its aspect; "crop" takes a random crop of that shape."""
    crop: RandomCrop = field(default_factory=RandomCrop)
    """How crops are drawn, for "crop"."""
    shuffle_buffer: int = 2000
    """Encoded records held for shuffling, fewer if `ram_budget` is too small for them."""
    ram_budget: int = 1024
    """MiB that may wait in the stream, encoded or decoded, or hold decoded pixels."""
    seed: int | None = None
    """Makes order and crops the same on every machine; None goes as fast as it can."""
    cache: str | None = None
    """"ram" or "disk" keeps decoded pixels there, see `cache.open_cache`, and shuffles over all of them; None decodes
    anew each time, but takes raw records from where they lie, see `arrays.Mapped`, shuffled likewise."""
    service: str | None = None
    """Address of a tf.data service, such as grpc://localhost:5050, whose workers do all this. Batches then come as they
    are ready; a seed fixes the crops only, and the stream cannot begin in the middle."""

    def batch_bytes(self, channels: int) -> int:
        """Bytes of a batch of images of so many channels, and their masks."""
        return self.batch_size * self.size[0] * self.size[1] * (channels + 1)


class Buffers(NamedTuple):
    """What a training stream holds."""

    records: int  # encoded, to be shuffled
    batches: int  # decoded, waiting for the device


def plan_buffers(records: RecordSet, split: str, settings: TrainSettings) -> Buffers:
    """Shares out the memory of a training stream.

    Raises:
        ValueError: the split is not in the records, or the memory is not enough for three batches and the records of
            one.
    """
    entry = records.split(split)
    record = sum(shard.bytes for shard in entry.shards) / max(entry.count, 1)
    batch, budget = settings.batch_bytes(records.manifest.channels), settings.ram_budget * MEBIBYTE
    batches = int(min(max(budget // (4 * batch), 1), PREFETCHED))
    shuffled = int((budget - (batches + UNCOUNTED) * batch) / record)
    if shuffled < settings.batch_size:
        least = int(((1 + UNCOUNTED) * batch + settings.batch_size * record) / MEBIBYTE) + 1
        raise ValueError(
            f"{records}: does not go in data.ram_budget {settings.ram_budget}; it takes {least} MiB or more"
        )
    return Buffers(min(settings.shuffle_buffer, shuffled), batches)


def count_cache_bytes(settings: TrainSettings, buffers: Buffers, channels: int) -> int:
    """Counts the bytes that are left for decoded pixels."""
    return settings.ram_budget * MEBIBYTE - (buffers.batches + UNCOUNTED) * settings.batch_bytes(channels)
