"""Polygons, rectangles, circles and lines -> pixels, by the libraries that the annotation tools draw them with."""

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from PIL import Image

from tfseg.annotations.coco_polygons import CocoPolygons
from tfseg.annotations.shapes import Size, check_reach

if TYPE_CHECKING:
    from PIL import ImageDraw

LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels, as LabelMe draws lines and points

THINNEST = 1e-6  # pixels: a radius below covers nothing, and dividing by it may overflow


class PillowShape(NamedTuple):
    """A shape that Pillow draws, as LabelMe and Cityscapes' tools do."""

    kind: str  # "polygon", "rectangle", "circle", "line" or "point", of `_PILLOW`
    points: np.ndarray  # (N, 2) float64, x and y

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the shape covers."""
        drawn = Image.fromarray(mask)
        self.draw(drawn, value)
        mask[:] = np.asarray(drawn)

    def draw(self, drawn: Image.Image, value: int) -> None:
        """Does what `paint` does to a mask that is an image of Pillow, of mode "L"."""
        from PIL import ImageDraw  # here: with its fonts it takes memory, which conversions of masks need not have

        check_reach(self.points, (drawn.height, drawn.width))
        _PILLOW[self.kind](ImageDraw.Draw(drawn), [(x, y) for x, y in self.points.tolist()], int(value))


def _draw_polygon(draw: "ImageDraw.ImageDraw", points: list[tuple[float, float]], value: int) -> None:
    draw.polygon(points, fill=value, outline=value)


def _draw_rectangle(draw: "ImageDraw.ImageDraw", points: list[tuple[float, float]], value: int) -> None:
    (x0, y0), (x1, y1) = points
    draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), fill=value, outline=value)


def _draw_circle(draw: "ImageDraw.ImageDraw", points: list[tuple[float, float]], value: int) -> None:
    (x, y), (edge_x, edge_y) = points
    radius = math.sqrt((x - edge_x) ** 2 + (y - edge_y) ** 2)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)


def _draw_point(draw: "ImageDraw.ImageDraw", points: list[tuple[float, float]], value: int) -> None:
    x, y = points[0]
    box = (x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS, y + POINT_RADIUS)
    draw.ellipse(box, fill=value, outline=value)


def _draw_line(draw: "ImageDraw.ImageDraw", points: list[tuple[float, float]], value: int) -> None:
    draw.line(points, fill=value, width=LINE_WIDTH)


_PILLOW = {
    "polygon": _draw_polygon,
    "rectangle": _draw_rectangle,
    "circle": _draw_circle,
    "line": _draw_line,
    "point": _draw_point,
}


class FilledPolygon(NamedTuple):
    """A polygon with holes that OpenCV fills, its edges included, as Supervisely does."""

    exterior: np.ndarray  # (N, 2) int32, x and y
    interiors: tuple[np.ndarray, ...] = ()

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the polygon covers."""
        for ring in (self.exterior, *self.interiors):
            check_reach(ring, mask.shape)
        drawn = np.zeros(mask.shape, np.uint8)
        cv2.fillPoly(drawn, [self.exterior], 1)
        if self.interiors:  # at once, as the tool does it: where two holes overlap there is none
            cv2.fillPoly(drawn, [*self.interiors], 0)
        part = _part_of(mask.shape, self.exterior.min(axis=0), self.exterior.max(axis=0))
        mask[part][drawn[part] > 0] = value


class NormalizedPolygon(NamedTuple):
    """A polygon in shares of the image's width and height that OpenCV fills, as YOLO's tool does."""

    points: np.ndarray  # (N, 2) float32, x and y in 0..1

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the polygon covers."""
        height, width = mask.shape
        # In float32, and cut to integers rather than rounded, as the tool does.
        scaled = self.points * np.array([width, height], np.float32)
        cv2.fillPoly(mask, [scaled.astype(np.int32)], int(value))


class PercentPolygon(NamedTuple):
    """A polygon in percent of the image's width and height, drawn as COCO's."""

    points: np.ndarray  # (N, 2) float64, x and y in 0..100

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the polygon covers."""
        height, width = mask.shape
        with np.errstate(over="ignore"):  # what becomes infinite is refused as far outside
            points = self.points / 100 * (width, height)
        CocoPolygons([points]).paint(mask, value)


class PercentRectangle(NamedTuple):
    """A rectangle in percent of the image's sides, turned about its first corner; drawn as COCO's polygons."""

    x: float  # of the corner: the upper left one, before it is turned
    y: float
    width: float
    height: float
    rotation: float  # degrees, clockwise

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the rectangle covers."""
        scale = np.array(mask.shape[::-1]) / 100
        right, down = _axes(self.rotation)
        with np.errstate(over="ignore", invalid="ignore"):  # as above
            right, down = right * self.width * scale[0], down * self.height * scale[1]
            corner = np.array([self.x, self.y]) * scale
            points = np.array([corner, corner + right, corner + right + down, corner + down])
        CocoPolygons([points]).paint(mask, value)


class PercentEllipse(NamedTuple):
    """An ellipse in percent of the image's width and height; it covers the pixels whose middle lies in it."""

    x: float  # of the middle
    y: float
    radius_x: float
    radius_y: float
    rotation: float  # degrees, clockwise, about the middle

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a value to the pixels of a mask (H, W) uint8 that the ellipse covers."""
        height, width = mask.shape
        x, y = self.x * width / 100, self.y * height / 100
        radii = abs(self.radius_x) * width / 100, abs(self.radius_y) * height / 100
        check_reach(np.array([[x - max(radii), y - max(radii)], [x + max(radii), y + max(radii)]]), mask.shape)
        if min(radii) < THINNEST:
            return
        right, down = _axes(self.rotation)
        middle = np.array([x, y])
        rows, columns = part = _part_of(mask.shape, middle - max(radii), middle + max(radii))
        offsets_x = np.arange(columns.start, columns.stop) + 0.5 - x
        offsets_y = (np.arange(rows.start, rows.stop) + 0.5 - y)[:, None]
        along = (offsets_x * right[0] + offsets_y * right[1]) / radii[0]
        across = (offsets_x * down[0] + offsets_y * down[1]) / radii[1]
        mask[part][along**2 + across**2 <= 1] = value


def _part_of(size: Size, least: np.ndarray, most: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of an image that lie within a box, by its least and its greatest (x, y), or touch it."""
    height, width = size
    left, top = np.clip(np.floor(least), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.floor(most) + 1, 0, (width, height)).astype(int).tolist()
    return slice(top, bottom), slice(left, right)


def _axes(rotation: float) -> tuple[np.ndarray, np.ndarray]:
    """The directions (2,) that right and down take by a turn of so many degrees, clockwise as y grows downwards."""
    cosine, sine = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    return np.array([cosine, sine]), np.array([-sine, cosine])
