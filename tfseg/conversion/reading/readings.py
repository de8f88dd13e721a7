"""How masks are read where they can be read in more ways than one: by their values, their colours, or one channel.

One rule goes for a whole data set. It is asked for, or chosen by a few masks before all the work; a mask that it does
not fit is refused, with the name of that by which it was chosen.

| a mask file | index | color | red, green, blue |
|---|---|---|---|
| grey | its values | its greys as colours, if that was asked for | refused |
| grey of 1, 2, 4 bits | the greys that it shows, up to 255; 0, 1, 2 ... if the label map has these alone | likewise | |
| palette | the indexes, or the greys if it has nothing but greys | the colours of the entries | refused |
| RGB, all grey | the values of the greys | the colours | the values of that channel |
| RGB | refused | the colours | the values of that channel |
"""

from dataclasses import dataclass

import numpy as np

from tfseg.conversion.reading.colors import class_ids_of_colors
from tfseg.io import masks
from tfseg.io.rasters import Raster, read_raster
from tfseg.records import labels
from tfseg.records.labels import LabelMap

MASK_VALUES = ("auto", "index", "color", "red", "green", "blue")
CHANNELS = ("red", "green", "blue")
# Kinds of masks, besides `masks.MASK_KINDS`.
WIDE, FEW_BITS, RGB_GREYS, LAYERS = "16-bit grey", "grey of few bits", "grey in three channels", "layers"
RGB_COLORS, PALETTE_COLORS, GREY_COLORS = "RGB colours", "colours of a palette", "greys as colours"
CHANNEL_KINDS = {name: f"{name} channel" for name in CHANNELS}
MOST_VALUES = 20  # unknown values that an error lists


@dataclass(frozen=True)
class Rule:
    """How the ground truth of a data set becomes raw values."""

    label_map: LabelMap
    values: str = "index"  # of MASK_VALUES but auto
    tolerance: int = 0  # see `colors.class_ids_of_colors`
    chosen_by: str = ""  # the mask by which it was chosen; empty: it was asked for, or there was no choice
    uses_labels: bool = False  # some ground truth is no mask, but has labels: polygons or layers

    @property
    def gives_class_ids(self) -> bool:
        """Whether raw values are class ids: colours and labels have no values, and those of 16 bits fit no byte."""
        return self.values == "color" or self.uses_labels or self.label_map.wide is not None

    @property
    def stored_map(self) -> LabelMap:
        """The label map of the raw values, which records keep."""
        return self.label_map.of_class_ids() if self.gives_class_ids else self.label_map.filled()


def read_values(data: bytes, rule: Rule) -> masks.Mask:
    """Reads the file of a mask as raw values, (H, W) uint8, by the rule of its data set.

    Raises:
        ValueError: it is damaged, or does not fit the rule, or has values or colours that the label map lacks where
            these cannot be raw values.
    """
    raster = read_raster(data)
    if rule.values == "color":
        return _read_colors(raster, rule)
    mask = _read_channel(raster, rule) if rule.values in CHANNELS else _read_indexes(raster, rule)
    known = rule.label_map.lookup != labels.UNKNOWN
    if rule.label_map.default is not None and rule.label_map.wide is None and not known.any():
        raise ValueError(
            f"is read by its values, of which the label map names none: all would be "
            f"{rule.label_map.classes[rule.label_map.default]}, the default; add lines of `mask value: class`"
            + ("; --mask-values color reads colours" if rule.label_map.by_color else "")
        )
    return mask


def _read_indexes(raster: Raster, rule: Rule) -> masks.Mask:
    label_map = rule.label_map
    if raster.is_colored:
        raise ValueError(_colored_fault(rule))
    if raster.palette is not None:
        mask = masks.read_palette(raster.pixels, raster.palette)
        lookup = label_map.lookup
        if mask.greys is not None and not knows(lookup, mask.values) and knows(lookup, mask.greys):
            mask = mask._replace(values=mask.greys, kind=masks.GREYS)
    elif raster.pixels.ndim == 3:
        mask = masks.Mask(np.ascontiguousarray(raster.pixels[..., 0]), RGB_GREYS, {})
    elif raster.pixels.dtype == np.uint16:
        return _read_wide(raster.pixels, rule)
    elif white := _two_whites(raster, label_map):
        raise ValueError(
            f"has 1 bit, whose white can be the mask value {white}, and the label map has both; leave out of it the "
            "one that masks of 1 bit do not mean, or save all masks as 8-bit grey PNGs"
        )
    elif (
        raster.step > 1
        and not knows(label_map.lookup, raster.pixels)
        and knows(label_map.lookup, raster.pixels // raster.step)
    ):
        mask = masks.Mask(raster.pixels // raster.step, FEW_BITS, {})
    else:
        mask = masks.Mask(raster.pixels, masks.GREY, {})
    return mask._replace(values=_as_class_ids(mask.values, rule)) if rule.gives_class_ids else mask


def _two_whites(raster: Raster, label_map: LabelMap) -> str:
    """The two readings of the white of 1 bit, where the label map gives them to different classes; else nothing."""
    classes = [int(label_map.lookup[value]) for value in (1, 255)]
    if raster.step != 255 or labels.UNKNOWN in classes or len({*classes}) == 1 or not raster.pixels.any():
        return ""
    return " or ".join(f"{value} ({label_map.classes[place]})" for value, place in zip((1, 255), classes, strict=True))


def _read_channel(raster: Raster, rule: Rule) -> masks.Mask:
    if raster.pixels.ndim != 3:
        kind = "a palette" if raster.palette is not None else "one channel"
        raise ValueError(f"has {kind}, but --mask-values {rule.values} reads a channel of RGB masks")
    values = np.ascontiguousarray(raster.pixels[..., CHANNELS.index(rule.values)])
    values = _as_class_ids(values, rule) if rule.gives_class_ids else values
    return masks.Mask(values, CHANNEL_KINDS[rule.values], {})


def _read_wide(values: np.ndarray, rule: Rule) -> masks.Mask:
    """Reads 16 bits: as class ids if the label map has entries above 255, otherwise there must be none."""
    lookup = rule.label_map.lookup
    if rule.label_map.wide is None and lookup[labels.NO_LABEL] != labels.UNKNOWN:
        values = np.where(values == 65535, labels.NO_LABEL, values)  # -1 in 16 bits
    if rule.gives_class_ids:
        return masks.Mask(_as_class_ids(values, rule), WIDE, {})
    if int(values.max(initial=0)) > 255:
        large = np.unique(values[values > 255]).tolist()
        raise ValueError(
            f"mask values {_some(large)} are not in the label map, which knows "
            f"{np.flatnonzero(lookup != labels.UNKNOWN).tolist()}; values above 255 need lines of their own, unless "
            "this is an *_instanceIds.png, which numbers objects and not classes"
        )
    return masks.Mask(values.astype(np.uint8), WIDE, {})


def _as_class_ids(values: np.ndarray, rule: Rule) -> np.ndarray:
    """Turns values of 8 or 16 bits into class ids."""
    label_map = rule.label_map.filled()
    lookup = label_map.lookup if label_map.wide is None else label_map.wide
    if int(values.max(initial=0)) >= len(lookup):
        lookup = np.concatenate([lookup, np.full(65536 - len(lookup), labels.UNKNOWN, np.uint8)])
    class_ids = lookup[values]
    if (class_ids == labels.UNKNOWN).any():
        unknown = np.unique(values[class_ids == labels.UNKNOWN]).tolist()
        known = _some(np.flatnonzero(lookup != labels.UNKNOWN).tolist())
        raise ValueError(f"mask values {_some(unknown)} are not in the label map, which knows {known}")
    return class_ids


def _some(values: list[int]) -> str:
    more = f" and {len(values) - MOST_VALUES:,} more" if len(values) > MOST_VALUES else ""
    return f"{values[:MOST_VALUES]}{more}"


def _read_colors(raster: Raster, rule: Rule) -> masks.Mask:
    if not rule.label_map.by_color:
        raise ValueError(f"is read by its colours, of which the label map names none; {_COLORS_ADVICE}")
    if raster.pixels.ndim == 3:
        return masks.Mask(class_ids_of_colors(raster.pixels, rule.label_map, rule.tolerance), RGB_COLORS, {})
    if raster.palette is not None:
        table = np.frombuffer(raster.palette[: len(raster.palette) // 3 * 3], np.uint8).reshape(-1, 3)
        last = int(raster.pixels.max(initial=0))
        if last >= len(table):
            raise ValueError(f"has pixels of entry {last} of its palette, which has {len(table)} entries; save it anew")
        return masks.Mask(class_ids_of_colors(table[raster.pixels], rule.label_map, rule.tolerance), PALETTE_COLORS, {})
    if rule.chosen_by or raster.pixels.dtype != np.uint8:
        reason = f"but {rule.chosen_by} is" if rule.chosen_by else "but masks are to be"
        raise ValueError(
            f"is grey, whose values would be read, {reason} read by its colours; save all masks in one way"
            + ("; or --mask-values color reads greys as colours too" if rule.chosen_by else "")
        )
    greys = np.repeat(raster.pixels[..., None], 3, axis=2)
    return masks.Mask(class_ids_of_colors(greys, rule.label_map, rule.tolerance), GREY_COLORS, {})


_COLORS_ADVICE = "give its classes theirs, as in `classes: {road: [128, 64, 128]}`, or add lines of '#804080': road"


def _colored_fault(rule: Rule) -> str:
    if not rule.label_map.by_color:
        return (
            "is RGB in colours, of which the label map names none; "
            f"{_COLORS_ADVICE}; or --mask-values red takes the values of one channel"
        )
    reason = f"but {rule.chosen_by} is read by its values" if rule.chosen_by else "but masks are to be read by values"
    return f"is RGB in colours, {reason}; save all masks in one way, or --mask-values color reads colours"


def knows(lookup: np.ndarray, values: np.ndarray) -> bool:
    """Whether a lookup, (256,) uint8, has a class for all values, (...) uint8."""
    return bool((lookup[np.unique(values)] != labels.UNKNOWN).all())
