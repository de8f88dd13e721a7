"""Masks in colours -> class ids, by the colours of a label map: exactly, or the nearest within a tolerance."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np

from tfseg.records.labels import UNKNOWN, Color, LabelMap

MOST_SHOWN = 20  # unknown colours that an error lists
MOST_HINTED = 4096  # unknown colours up to which an error says how near the known ones are
_NEAR = 40  # the largest difference of a channel that an error advises to tolerate
_BATCH = 4096  # colours that are compared at once
_FAR = 256  # further than any colour is


def class_ids_of_colors(pixels: np.ndarray, label_map: LabelMap, tolerance: int = 0) -> np.ndarray:
    """Turns colours into class ids.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        label_map: whose `by_color` is taken, and its default for what is not in it.
        tolerance: the largest difference of a channel at which a colour is still taken for the nearest of the label
            map, 0..255. Of two that are as near, it is the one that is nearer over all channels, then the earlier.

    Returns:
        (H, W) uint8 class ids.

    Raises:
        ValueError: colours are not in the label map, which has no default, or are those of two classes; the message
            lists them.

    Example:
        class_ids_of_colors(np.array([[[128, 64, 128]]], np.uint8), CITYSCAPES["categories"])  # [[1]], flat
    """
    codes = pixels[..., 0].astype(np.uint32) << 16 | pixels[..., 1].astype(np.uint32) << 8 | pixels[..., 2]
    class_ids = _make_table(tuple(label_map.by_color.items()))[codes]
    is_unknown = class_ids == UNKNOWN
    if not is_unknown.any():
        return class_ids
    unknown, places, counts = np.unique(codes[is_unknown], return_inverse=True, return_counts=True)
    colors = np.stack([unknown >> 16, unknown >> 8 & 255, unknown & 255], axis=1).astype(np.int32)
    found = np.full(len(colors), UNKNOWN, np.uint8)
    if tolerance:
        nearest, distances = find_nearest(colors, label_map.by_color)
        found[distances <= tolerance] = nearest[distances <= tolerance]
    left = found == UNKNOWN
    if label_map.default is not None and not _shared_note(colors[left], label_map):
        found[left] = label_map.default
    elif left.any():
        raise ValueError(_unknown_fault(colors[left], counts[left], label_map))
    class_ids[is_unknown] = found[places.ravel()]
    return class_ids


def find_nearest(colors: np.ndarray, by_color: Mapping[Color, int]) -> tuple[np.ndarray, np.ndarray]:
    """Finds the nearest colours of a label map.

    Args:
        colors: (N, 3) int32 RGB.
        by_color: RGB -> class id.

    Returns:
        (N,) uint8, the class id of the nearest, and (N,) int32, the largest difference of a channel from it.
    """
    if not by_color:
        return np.full(len(colors), UNKNOWN, np.uint8), np.full(len(colors), _FAR, np.int32)
    known = np.array([*by_color], np.int32)  # (K, 3)
    class_ids = np.array([*by_color.values()], np.uint8)
    nearest, distances = np.empty(len(colors), np.uint8), np.empty(len(colors), np.int32)
    for start in range(0, len(colors), _BATCH):
        batch = slice(start, start + _BATCH)
        differences = np.abs(colors[batch, None] - known)  # (B, K, 3)
        largest = differences.max(axis=2)
        # The squares of three channels sum up to less than 2**18.
        places = ((largest << 18) + (differences**2).sum(axis=2)).argmin(axis=1)
        nearest[batch], distances[batch] = class_ids[places], largest[np.arange(len(places)), places]
    return nearest, distances


@functools.lru_cache(maxsize=1)
def _make_table(colors: tuple[tuple[Color, int], ...]) -> np.ndarray:
    """Makes the class id of each of all colours, (2**24,) uint8: to look it up is faster than to compare."""
    table = np.full(2**24, UNKNOWN, np.uint8)
    for (red, green, blue), class_id in colors:
        table[red << 16 | green << 8 | blue] = class_id
    return table


def _unknown_fault(colors: np.ndarray, counts: np.ndarray, label_map: LabelMap) -> str:
    """Lists unknown colours, the commonest first."""
    order = np.lexsort((*colors.T[::-1], -counts))
    shown = [f"{write_color(colors[place].tolist())} in {counts[place]:,} pixels" for place in order[:MOST_SHOWN]]
    more = f" and {len(order) - MOST_SHOWN:,} colours more" if len(order) > MOST_SHOWN else ""
    red, green, blue = colors[order[0]].tolist()
    advice = f"add them to it, such as '#{red:02x}{green:02x}{blue:02x}': CLASS, or to its entry `ignore`"
    if len(colors) <= MOST_HINTED and (distance := int(find_nearest(colors, label_map.by_color)[1].max())) <= _NEAR:
        advice = f"--color-tolerance {distance} takes them for the nearest of its colours; or {advice}"
    return f"has colours that the label map lacks: {', '.join(shown)}{more}{_shared_note(colors, label_map)}; {advice}"


def _shared_note(colors: np.ndarray, label_map: LabelMap) -> str:
    """Says that an unknown colour is that of two classes, which is why it is unknown."""
    names: dict[Color, list[str]] = {}
    for name, (red, green, blue) in zip(label_map.classes, label_map.colors.tolist(), strict=True):
        names.setdefault((red, green, blue), []).append(name)
    for color, of_color in names.items():
        if len(of_color) > 1 and (colors == color).all(axis=1).any():
            return f"; {write_color(color)} is the colour of both {of_color[0]} and {of_color[1]}"
    return ""


def write_color(color: Iterable[int]) -> str:
    """Writes (128, 64, 128)."""
    return f"({', '.join(map(str, color))})"
