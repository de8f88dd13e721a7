"""All ground truth of a data set, counted: which values, colours and labels it has, before anything says what they are.

Worker processes read the masks; nothing is drawn of polygons. What can be no mask of classes, such as a photo or a
numbering of objects, is refused with what it seems to be.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfseg.annotations.drawing import list_labels
from tfseg.conversion.reading import evidence, readings
from tfseg.conversion.reading.evidence import Evidence, Palettes
from tfseg.conversion.reading.faults import BadFilesError, Fault
from tfseg.conversion.reading.layers import read_layer
from tfseg.conversion.reading.samples import NO_LABEL_MAP, Sample, Traits, named
from tfseg.io import masks
from tfseg.io.names import check_text
from tfseg.io.progress import track
from tfseg.io.rasters import Raster, read_raster
from tfseg.io.regular_files import read_file
from tfseg.io.workers import open_pool
from tfseg.records.labels import Color

MOST_CLASSES = 254  # of a label map, without void
MOST_IN_MASK = 255  # values or colours: more than a label map can name
FEW = 64  # values or colours that even a photo would have to exceed
NOISY = 0.25  # share of the pixels that differ from the one before: photos have 0.5 and more, masks 0.02
BULK = 0.9  # share of the pixels that the commonest few have where only edges were smoothed


class Look(NamedTuple):
    """What the ground truth of one image holds."""

    path: Path
    kind: str  # of a mask, as of `readings`; "layers", or the form of annotations
    values: dict[int, int] = {}  # noqa: RUF012  mask value -> pixels; nobody changes it
    colors: dict[Color, int] = {}  # noqa: RUF012  RGB -> pixels
    labels: dict[str, int] = {}  # noqa: RUF012  label -> shapes, of layers pixels
    pixels: int = 0
    uncovered: int = 0  # pixels of no layer
    step: int = 1  # between two greys of a file of few bits, see `rasters.Raster`
    seen: Evidence | None = None  # of a palette


@dataclass
class Counts:
    """How often something is there: pixels or shapes in all, and images with it."""

    total: Counter = field(default_factory=Counter)
    images: Counter = field(default_factory=Counter)

    def add(self, own: dict) -> None:
        """Counts one image."""
        self.total.update(own)
        self.images.update(own.keys())


@dataclass
class Census:
    """What the ground truth of a data set holds."""

    values: Counts = field(default_factory=Counts)  # by mask value
    few_bits: dict[int, Counts] = field(default_factory=dict)  # by step of the greys: of files of few bits, by grey
    colors: Counts = field(default_factory=Counts)  # by RGB
    labels: Counts = field(default_factory=Counts)  # by label
    first: dict[str, Path] = field(default_factory=dict)  # kind -> the first file of it
    of_entries: dict[int, Color] = field(default_factory=dict)  # mask value -> colour that a palette gives to it
    palette_fault: str = ""  # how palettes contradict each other, if they do ...
    odd_palette: Path | None = None  # ... and the first mask whose palette does
    images: int = 0
    pixels: int = 0
    uncovered: int = 0  # pixels of no layer
    bad: int = 0  # masks that were passed over

    def add(self, look: Look, palettes: Palettes) -> None:
        """Counts one image."""
        self.images += 1
        self.pixels += look.pixels
        self.uncovered += look.uncovered
        self.first.setdefault(look.kind, look.path)
        (self.few_bits.setdefault(look.step, Counts()) if look.step > 1 else self.values).add(look.values)
        self.colors.add(look.colors)
        self.labels.add(look.labels)
        if look.seen is not None:
            if not self.palette_fault and (fault := palettes.add(look.seen)):
                self.palette_fault, self.odd_palette = fault, look.path
            for palette, entries in look.seen.palettes.items():
                for entry in map(int, entries):
                    red, green, blue = bytes.fromhex(palette)[3 * entry : 3 * entry + 3]
                    self.of_entries[entry] = red, green, blue


def take_census(
    samples: Sequence[Sample], workers: int = 1, mask_values: str = "auto", skip_bad: bool = False
) -> Census:
    """Counts what the ground truth of all samples holds.

    Args:
        samples: of a data set.
        workers: processes that read.
        mask_values: as of `converter.convert`; a channel is read by its name.
        skip_bad: whether to pass over what is bad, unless all is.

    Raises:
        BadFilesError: files are damaged, or hold no classes.
        OSError: something else than a file of a sample cannot be read.

    Example:
        take_census([Sample("0001", Path("0001.jpg"), Path("0001.png"))]).values.total  # Counter({0: 1800, 255: 200})
    """
    census, palettes = Census(), Palettes(NO_LABEL_MAP)
    faults: list[Fault] = []
    with open_pool(workers) as mapper:
        looks = mapper(functools.partial(try_to_look, mask_values=mask_values), samples)
        for look in track(looks, total=len(samples), desc="looking at masks", unit="mask"):
            if isinstance(look, Fault):
                faults.append(look)
            else:
                census.add(look, palettes)
    if faults and not (skip_bad and census.images):
        raise BadFilesError(faults)
    census.bad = len(faults)
    return census


# ---- in the worker processes


def try_to_look(sample: Sample, mask_values: str = "auto") -> Look | Fault:
    """Does what `look_at` does, or says why that cannot be.

    Raises:
        OSError: something else than a file of the sample cannot be read.
    """
    try:
        return look_at(sample, mask_values)
    except ValueError as error:
        return Fault(str(error), id=sample.id)
    except MemoryError as error:
        return Fault(f"{sample.mask}: cannot be read: {error or 'there is not enough memory for it'}", id=sample.id)
    except OSError as error:
        if error.filename is None or str(error.filename) not in map(str, sample.files):
            raise
        return Fault(f"{error.filename}: cannot be read: {error.strerror}", id=sample.id)


def look_at(sample: Sample, mask_values: str = "auto") -> Look:
    """Reads the ground truth of one image and counts what it holds.

    Raises:
        ValueError: a file is damaged, or of a kind that is not understood, or holds no classes; with its path.
        OSError: it cannot be read.
    """
    if sample.form == "layers":
        return _look_at_layers(sample)
    data = sample.data or read_file(sample.mask)
    with named(sample.mask):
        if sample.form != "mask":
            try:
                return Look(sample.mask, sample.form, labels=dict(list_labels(sample.form, data)))
            except ValueError as error:
                raise ValueError(f"{sample.image.name}: {error}" if sample.data else str(error)) from None
        return _look_at_mask(sample.mask, read_raster(data), mask_values)


def _look_at_layers(sample: Sample) -> Look:
    covered: np.ndarray | None = None
    counts: Counter[str] = Counter()
    for label, path in sample.layers:
        with named(path):
            check_text(label, "label")
        layer = read_layer(path, upright=True)
        if covered is not None and covered.shape != layer.shape:
            sizes = ["x".join(map(str, shape)) for shape in (layer.shape, covered.shape)]
            raise ValueError(
                f"{path}: is {sizes[0]}, but the layer {sample.layers[0][1]} is {sizes[1]}; make them agree"
            )
        covered = layer if covered is None else covered | layer
        counts[label] += int(np.count_nonzero(layer))
    if covered is None:
        return Look(sample.mask, "layers")
    uncovered = covered.size - int(np.count_nonzero(covered))
    return Look(sample.mask, "layers", labels=dict(counts), pixels=covered.size, uncovered=uncovered)


def _look_at_mask(path: Path, raster: Raster, mask_values: str) -> Look:
    pixels, size = raster.pixels, raster.pixels.shape[0] * raster.pixels.shape[1]
    if pixels.ndim == 3:
        if mask_values in readings.CHANNELS:
            values = _count(np.ascontiguousarray(pixels[..., readings.CHANNELS.index(mask_values)]), "values")
            return Look(path, readings.CHANNEL_KINDS[mask_values], values, pixels=size)
        codes = pixels[..., 0].astype(np.uint32) << 16 | pixels[..., 1].astype(np.uint32) << 8 | pixels[..., 2]
        by_code = _count(codes, "colours")
        colors = {(code >> 16, code >> 8 & 255, code & 255): count for code, count in by_code.items()}
        if raster.is_colored:
            return Look(path, readings.RGB_COLORS, colors=colors, pixels=size)
        return Look(path, readings.RGB_GREYS, {color[0]: n for color, n in colors.items()}, colors, pixels=size)
    if mask_values in readings.CHANNELS:
        what = "one channel" if raster.palette is None else "a palette"
        raise ValueError(f"has {what}, but --mask-values {mask_values} reads a channel of RGB masks")
    if raster.palette is not None:
        mask = masks.read_palette(pixels, raster.palette)
        table = np.frombuffer(raster.palette[: len(raster.palette) // 3 * 3], np.uint8).reshape(-1, 3)
        by_entry = {entry: n for entry, n in _count(pixels, "values").items() if entry < len(table)}
        of_table: Counter[Color] = Counter()
        for entry, count in by_entry.items():
            red, green, blue = table[entry].tolist()
            of_table[red, green, blue] += count
        seen = evidence.of_sample(path, Traits((pixels.shape[0], pixels.shape[1]), 1, mask), ())
        return Look(path, mask.kind, _count(mask.values, "values"), dict(of_table), pixels=size, seen=seen)
    kind = readings.WIDE if pixels.dtype == np.uint16 else readings.FEW_BITS if raster.step > 1 else masks.GREY
    values = _count(pixels, "values")
    if mask_values == "color":
        return Look(
            path, readings.GREY_COLORS, colors={(grey, grey, grey): n for grey, n in values.items()}, pixels=size
        )
    return Look(path, kind, values, pixels=size, step=raster.step)


def _count(values: np.ndarray, what: str) -> dict[int, int]:
    """Counts the values of a mask (H, W), run by run: they are long in masks.

    Raises:
        ValueError: they are too many for a mask of classes.
    """
    flat = values.ravel()
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, flat.size), bool), flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    distinct, places = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(places.ravel(), weights=lengths, minlength=len(distinct)).astype(np.int64)
    is_noisy = len(distinct) > FEW and len(starts) > NOISY * flat.size
    if len(distinct) > MOST_IN_MASK or is_noisy:
        raise ValueError(_unlikely_fault(np.sort(counts)[::-1], what, is_noisy))
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def _unlikely_fault(counts: np.ndarray, what: str, is_noisy: bool) -> str:
    """Says what a mask seems to be that has too many values.

    Args:
        counts: (N,) pixels of each value, the commonest first.
        what: "values" or "colours".
        is_noisy: whether many pixels differ from those beside them.
    """
    if is_noisy:
        return (
            f"has {len(counts):,} {what}, which change from pixel to pixel; it seems to be a photo or another image, "
            "no mask; give the folder of the masks, by --masks"
        )
    seems = "an instance map, which numbers objects and not classes; give masks of classes"
    if what == "colours" and counts[:FEW].sum() > BULK * counts.sum():
        seems = "a mask whose edges were smoothed, or an instance map; save it without smoothing"
    return f"has {len(counts):,} {what}, at most {MOST_IN_MASK} can be of classes; it seems to be {seems}"
