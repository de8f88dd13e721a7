"""COCO's polygons -> pixels, exactly those that pycocotools (`maskUtils.frPyObjects`) gives.

That tool scales a polygon by five, rounds its corners, and walks along its edges in unit steps. Wherever a step crosses
the middle of a column of pixels (between 5x + 2 and 5x + 3), the column changes between outside and inside, from the
first pixel on whose middle does not lie above the lower end of the step. Here the walk is not made: of each edge the
crossings alone are computed, in the same arithmetic, so that the cost does not grow with what lies outside the image.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfseg.annotations.shapes import Size, check_reach

SCALE = 5  # points of the walk a pixel
MOST_CROSSINGS = 500_000  # computed at once; each takes some 100 bytes


class CocoPolygons(NamedTuple):
    """The union of polygons, as of one annotation."""

    polygons: Sequence[np.ndarray]  # each (N, 2) float64, x and y in pixels

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that one of the polygons covers."""
        for polygon in self.polygons:
            left, top, inside = _fill(polygon, mask.shape)
            height, width = inside.shape
            mask[top : top + height, left : left + width][inside] = value


def draw_coco_polygons(polygons: Sequence[np.ndarray], size: Size) -> np.ndarray:
    """Draws the union of polygons as pycocotools does, pixel by pixel.

    Args:
        polygons: each (N, 2), x and y in pixels; the middle of the first pixel is (0.5, 0.5).
        size: height and width of the image.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: a point lies too far outside the image.

    Example:
        >>> draw_coco_polygons([np.array([[1.0, 0.0], [3.0, 0.0], [3.0, 2.0], [1.0, 2.0]])], (3, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    mask = np.zeros(size, np.uint8)
    CocoPolygons(polygons).paint(mask, 1)
    return mask.astype(bool)


def _fill(polygon: np.ndarray, size: Size) -> tuple[int, int, np.ndarray]:
    """The place (left, top) of the part of an image that a polygon lies in, and its pixels there, bool."""
    check_reach(polygon, size)
    height, width = size
    corners = np.trunc(SCALE * polygon + 0.5).astype(np.int64)
    left, top = np.clip(corners.min(axis=0) // SCALE - 1, 0, (width, height)).tolist()
    right, bottom = np.clip(corners.max(axis=0) // SCALE + 2, 0, (width, height)).tolist()
    if right <= left or bottom <= top:
        return 0, 0, np.zeros((0, 0), bool)
    # One more row takes the changes that lie below all pixels.
    changes = np.zeros((bottom - top + 1, right - left), np.uint8)
    for columns, rows in _crossings(corners, (left, right), height):
        places = (np.clip(rows, top, bottom) - top) * changes.shape[1] + columns - left
        places, counts = np.unique(places, return_counts=True)
        changes.ravel()[places[counts % 2 == 1]] ^= 1
    return left, top, np.bitwise_xor.accumulate(changes[:-1], axis=0).astype(bool)


def _crossings(corners: np.ndarray, span: tuple[int, int], height: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where the edges of a polygon cross the middles of columns.

    Args:
        corners: (N, 2) int64, scaled.
        span: the first column, and the one after the last.
        height: of the image.

    Yields:
        Columns (M,) int64, and rows (M,) int64 in 0..height, the first pixel below each crossing.
    """
    starts, ends = corners, np.roll(corners, -1, axis=0)
    reach = np.abs(ends - starts)
    is_flat = reach[:, 0] >= reach[:, 1]
    # Each edge is walked towards larger x if it is flat, else towards larger y.
    along = np.where(is_flat, 0, 1)
    rows = np.arange(len(corners))
    turned = starts[rows, along] > ends[rows, along]
    starts, ends = np.where(turned[:, None], ends, starts), np.where(turned[:, None], starts, ends)
    low, high = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
    first = np.maximum(-((2 - low) // SCALE), span[0])  # the least column with 5 x column + 2 >= low
    last = np.minimum((high - 3) // SCALE, span[1] - 1)
    counts = np.maximum(last - first + 1, 0)
    for part in _parts(counts):
        edges = np.repeat(rows[part], counts[part])
        if not len(edges):
            continue
        begins = np.cumsum(counts[part]) - counts[part]
        columns = np.arange(len(edges)) - np.repeat(begins - first[part], counts[part])
        flat = is_flat[edges]
        heights = np.empty(len(edges), np.int64)
        heights[flat] = _heights_of_flat(starts[edges[flat]], ends[edges[flat]], columns[flat])
        heights[~flat] = _heights_of_steep(starts[edges[~flat]], ends[edges[~flat]], columns[~flat])
        middles = np.clip((heights + 0.5) / SCALE - 0.5, 0, height)
        yield columns, np.ceil(middles).astype(np.int64)


def _parts(counts: np.ndarray) -> Iterator[slice]:
    """Parts of a list of edges, so that the crossings of each are few enough to be computed at once."""
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = total[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(total, done + MOST_CROSSINGS, side="right")))
        yield slice(start, end)
        start = end


def _heights_of_flat(starts: np.ndarray, ends: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The lower y (M,) int64 of the two steps of flat edges, (M, 2) each, between which a column is crossed."""
    run, rise = (ends - starts).T
    slope = rise / run
    step = SCALE * columns + 2 - starts[:, 0]
    before = np.trunc(starts[:, 1] + slope * step + 0.5)
    after = np.trunc(starts[:, 1] + slope * (step + 1) + 0.5)
    return np.minimum(before, after).astype(np.int64)


def _heights_of_steep(starts: np.ndarray, ends: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The lower y (M,) int64 of the two steps of steep edges, (M, 2) each, between which a column is crossed."""
    run, rise = (ends - starts).T
    slope = run / rise
    target = SCALE * columns + 3
    step = np.ceil((target - 0.5 - starts[:, 0]) / slope) - 2
    # The rounding of the tool decides which step is the first on the other side; it is one of the next.
    for _ in range(4):
        is_right = starts[:, 0] + slope * step + 0.5 >= target
        step += np.where(slope > 0, ~is_right, is_right)
    return (starts[:, 1] + step - 1).astype(np.int64)
