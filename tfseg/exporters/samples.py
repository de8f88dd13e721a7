"""Images of records that an export looks at: to scale int8 by, and to compare the formats by."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfseg.config.schema import Config
from tfseg.records.record_set import RecordSet

IN_INT8 = frozenset({"litert", "edgetpu", "mixed"})  # formats that are scaled by images
OF_FIXED_SIZE = IN_INT8 | {"weight_only", "coreml"}  # formats that take images of one size alone


@dataclass(frozen=True)
class Samples:
    """Images of records."""

    size: tuple[int, int] | None = None
    """(height, width) of what formats of a fixed size take; None where nothing asks for it."""
    calibration: list[np.ndarray] = field(default_factory=list)
    """Of the training split, uint8 (height, width, channels)."""
    examples: list[dict] = field(default_factory=list)
    """Of the validation split, see `parity.compare`."""

    @property
    def fixed_size(self) -> tuple[int, int]:
        """The size, of which `read_samples` made sure for formats that need it."""
        assert self.size is not None
        return self.size


def read_samples(
    config: Config,
    classes: Sequence[str],
    formats: Collection[str],
    records: RecordSet,
    *,
    size: tuple[int, int] | None,
    images: int,
    calibration: int,
) -> Samples:
    """Reads the images that an export asks for.

    Args:
        config: of the run.
        classes: that it learned.
        formats: to be made.
        records: where the images lie.
        size, images, calibration: as of `exporter.export_run`.

    Raises:
        ValueError: the records have other classes than the run, or no size is known where a format needs one.
        OSError: they cannot be read.
    """
    from tfseg.pipeline.damage import explain_read_errors
    from tfseg.pipeline.examples import read_examples

    data, manifest = config.data, records.manifest
    if manifest.classes != [*classes]:
        raise ValueError(
            f"{records}: has the classes {', '.join(manifest.classes)}, and the run {', '.join(classes)}; "
            "give --records of the run's own classes"
        )
    stored = (manifest.size[0], manifest.size[1]) if manifest.size else None
    size = size or data.eval_size or stored
    if size is None and OF_FIXED_SIZE & {*formats}:
        raise ValueError(f"{records}: holds images of their own sizes; give --size HEIGHTxWIDTH of one for all")
    if images:
        records.check_truth(data.val_split)
    with explain_read_errors(records):
        shown, examples = [], []
        if IN_INT8 & {*formats}:
            shown = [*read_examples(records, data.train_split, count=calibration, size=size)]
        if images:
            examples = [*read_examples(records, data.val_split, count=images, size=None)]
    return Samples(size, [example["image"] for example in shown], examples)


def spread(images: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """So many of the images at even distances, the first and the last among them, or all where there are no more."""
    places = np.linspace(0, len(images) - 1, min(count, len(images)))
    return [images[round(place)] for place in places]
