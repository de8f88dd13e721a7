"""A folder of records, opened once: what a command passes on instead of an address."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.io.paths import is_local, open_path
from tfseg.records.manifest import Manifest, Split, read_manifest


@dataclass(frozen=True)
class RecordSet:
    """Shards and their manifest; its text is the folder, as it was given, for messages.

    Attributes:
        folder: as it was given, a path or an address such as gs://bucket/records.
        manifest: what manifest.json says.
    """

    folder: str | Path
    manifest: Manifest

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def classes(self) -> list[str]:
        """Names in the order of the class ids, void first."""
        return self.manifest.classes

    @property
    def palette(self) -> np.ndarray:
        """(C, 3) uint8 RGB, the colours of the classes."""
        return self.manifest.palette

    @property
    def splits(self) -> dict[str, Split]:
        """By name."""
        return self.manifest.splits

    def split(self, name: str) -> Split:
        """Looks a split up.

        Raises:
            ValueError: there is no such split; the message names those that there are.
        """
        if name not in self.splits:
            raise ValueError(f"{self}: has no split {name!r}, it has {', '.join(self.splits)}; see data.*_split")
        return self.splits[name]

    def shard_paths(self, name: str) -> list[str]:
        """Addresses of a split's shards; on this machine from the root on, for readers that were started elsewhere."""
        folder = open_path(self.folder)
        folder = folder.absolute() if is_local(folder) else folder
        return [str(folder / shard.name) for shard in self.split(name).shards]


def open_records(folder: "str | Path | RecordSet") -> RecordSet:
    """Opens a folder of records: reads its manifest and checks that its shards are there.

    Raises:
        ValueError: the manifest is damaged, or of a version that this code does not know.
        OSError: the folder, its manifest or a shard is missing or cannot be read.
    """
    if isinstance(folder, RecordSet):
        return folder
    return RecordSet(folder, read_manifest(folder))
