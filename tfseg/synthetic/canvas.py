"""What a street scene is painted on: a pinhole camera, its image, and the polygons of what is painted."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from tfseg.records.labels import LABELS

LABEL_BY_NAME = {label.name: label for label in LABELS}

CAMERA_HEIGHT = 1.4  # metres above the road, as behind a windscreen
HORIZON = 0.42  # of the image's height, from above
NEAREST = 1.5  # metres; nothing is projected from closer
SUBPIXEL_BITS = 4  # OpenCV places corners at 1/16 pixel
UP = np.array((0, 1, 0))


class Part(NamedTuple):
    """A polygon to paint: (n, 2) pixels, its colour, its light from top to bottom, and how much of which grain."""

    polygon: np.ndarray
    color: np.ndarray
    shade: tuple[float, float] = (1.04, 0.94)
    amount: float = 0.05
    grain: str = "fine"
    opacity: float = 1.0


class Scene:
    """One image in the making: its pixels, the polygons of its labels, and what still waits to be drawn."""

    def __init__(self, size: tuple[int, int], seed: list[int]):
        self.height, self.width = size
        self.random = np.random.default_rng(seed)
        # The view is 49 degrees wide at 1:2, as that of Cityscapes; other shapes see a little more on the long side.
        self.focal = 2.2 * self.height * np.sqrt(self.width / self.height / 2)
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        self.objects: list[dict] = []
        self.waiting: list[tuple[float, Callable[[], None]]] = []
        self.grains = {
            "fine": self._grain((0.002, 0.002), (0.02, 0.03)),
            "leaf": self._grain((0.008, 0.009), (0.03, 0.03)),
            "cloud": self._grain((0.03, 0.12), (0.1, 0.4)),
        }
        self.warmth = self.random.uniform(-1, 1)  # -1: a cool, grey day; 1: a low, warm sun
        self.sun = self.random.choice((-1, 1))  # on the left or on the right
        self.air = np.array((214, 222, 230)) + self.warmth * np.array((18, 2, -18))

    def _grain(self, *bumps: tuple[float, float]) -> np.ndarray:
        """Smooth noise around 0: (height, width); a bump is as high and wide as given, in image heights."""
        noise = np.zeros((self.height, self.width), np.float32)
        for bump in bumps:
            rows, columns = (round(1 / min(1.0, max(share, 1 / self.height))) + 1 for share in bump)
            heights = self.random.standard_normal((rows, columns * self.width // self.height), np.float32)
            noise += cv2.resize(heights, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return noise * 0.42

    def project(self, points) -> np.ndarray:
        """(..., 3) metres (right, up, ahead) from the camera's foot -> (..., 2) pixels."""
        points = np.asarray(points, float)
        scale = self.focal / np.maximum(points[..., 2:], NEAREST)
        return (points[..., :2] - (0, CAMERA_HEIGHT)) * (1, -1) * scale + (self.width / 2, self.height * HORIZON)

    def in_air(self, color, distance: float) -> np.ndarray:
        """The colour as seen from afar: the air between mixes into it."""
        return (self.air + (np.asarray(color, float) - self.air) * np.exp(-distance / 140)).clip(0, 255)

    def paint(self, part: Part, distance: float = 0.0) -> None:
        """Paints one polygon into the image, with light and grain."""
        area, corner = self._area(part.polygon)
        mask = np.zeros(self.image[area].shape[:2], np.uint8)
        if mask.size == 0:
            return
        cv2.fillPoly(mask, [_fixed_point(part.polygon - corner)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        above, below = part.shade
        light = np.arange(len(mask), dtype=np.float32)[:, None] * ((below - above) / len(mask)) + above
        light = light * (1 + part.amount * self.grains[part.grain][area])
        pixels = self.image[area].astype(np.float32)
        color = light[..., None] * self.in_air(part.color, distance).astype(np.float32)
        pixels += (color - pixels) * (mask[..., None] * np.float32(part.opacity / 255))
        self.image[area] = pixels.clip(0, 255)

    def paint_flat(self, polygons, color, distance: float = 0.0) -> None:
        """Paints many small polygons in one plain colour."""
        polygons = [_fixed_point(polygon) for polygon in polygons]
        cv2.fillPoly(self.image, polygons, self.in_air(color, distance).tolist(), cv2.LINE_AA, SUBPIXEL_BITS)

    def add(self, label: str, parts: list[Part], distance: float = 0.0) -> None:
        """Paints the parts of an object and records their common outline under its label."""
        for part in parts:
            self.paint(part, distance)
        self.annotate(label, [part.polygon for part in parts])

    def annotate(self, label: str, polygons: list[np.ndarray]) -> None:
        """Records the outline of what can be seen of a union of polygons, in whole pixels."""
        area, corner = self._area(np.concatenate(polygons))
        mask = np.zeros(self.image[area].shape[:2], np.uint8)
        if mask.size == 0:
            return
        for polygon in polygons:
            cv2.fillPoly(mask, [_fixed_point(polygon - corner)], 1, cv2.LINE_8, SUBPIXEL_BITS)
        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        if label in LABEL_BY_NAME and LABEL_BY_NAME[label].has_instances:
            contours = sorted(contours, key=cv2.contourArea)[-1:]  # a second polygon would be a second instance
        for contour in contours:
            outline = cv2.approxPolyDP(contour, max(0.4, self.height / 1024), True)[:, 0]
            if len(outline) == 2:
                outline = outline[[0, 1, 0]]  # a line one pixel wide: there and back
            if len(outline) >= 3:
                self.objects.append({"label": label, "polygon": np.add(outline, corner).tolist()})

    def _area(self, polygon: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
        """The rows and columns of the image that a polygon touches, and their upper left corner (x, y)."""
        ends = [np.floor(polygon.min(0)) - 1, np.ceil(polygon.max(0)) + 2]
        (left, top), (right, bottom) = np.clip(ends, 0, (self.width, self.height)).astype(int).tolist()
        return np.s_[top:bottom, left:right], np.array((left, top))

    def later(self, draw: Callable[..., None], x: float, z: float, *arguments) -> None:
        """Keeps draw(scene, x, z, ...) until everything farther than z has been drawn."""
        self.waiting.append((z, partial(draw, self, x, z, *arguments)))

    def draw_waiting(self, end: float) -> None:
        """Draws what waits, from far to near; what is farther than `end` is hidden."""
        for z, draw in sorted(self.waiting, key=lambda entry: -entry[0]):
            if z <= end:
                draw()
        self.waiting.clear()

    def pick(self, colors) -> np.ndarray:
        """One of the colours, a little brighter or darker and of a slightly other hue."""
        color = np.array(colors[self.random.integers(len(colors))])
        return (color + self.random.normal(0, 12) + self.random.normal(0, 3, 3)).clip(8, 250)


def _fixed_point(polygon: np.ndarray) -> np.ndarray:
    return (polygon * 2**SUBPIXEL_BITS).round().astype(np.int32)


def ellipse(x: float, y: float, across: float, up: float, corners: int = 16) -> np.ndarray:
    angle = np.arange(corners) * (2 * np.pi / corners) + np.pi / 2
    return np.stack([x + across * np.cos(angle), y + up * np.sin(angle)], axis=-1)


def limb(x: float, y: float, to_x: float, to_y: float, width: float) -> np.ndarray:
    """A straight limb, bar or pole between two points."""
    start, end = np.array((x, y), float), np.array((to_x, to_y), float)
    side = (end - start)[::-1] * (-1, 1) * width / 2 / np.linalg.norm(end - start)
    return np.array((start + side, end + side, end - side, start - side))


def box(left: float, right: float, low: float, high: float) -> np.ndarray:
    return np.array(((left, low), (right, low), (right, high), (left, high)), float)


def plane(corner, along, points) -> np.ndarray:
    """Points (..., 2) on an upright plane, as (metres along it, metres up) -> (..., 3) metres."""
    points = np.asarray(points, float)
    return np.asarray(corner) + points[..., :1] * np.asarray(along) + points[..., 1:] * UP


def facing(scene: Scene, x: float, z: float, points) -> np.ndarray:
    """Points (..., 2) in metres on a plane that faces the camera and stands at (x, z) -> pixels."""
    return scene.project(plane((x, 0, z), (1, 0, 0), points))


def on_ground(scene: Scene, points) -> np.ndarray:
    """Points (..., 2) on the ground, as metres (right, ahead) -> pixels."""
    return scene.project(np.insert(np.asarray(points, float), 1, 0, axis=-1))


def strip(scene: Scene, left: float, right: float, start: float = NEAREST, end: float = 400.0) -> np.ndarray:
    return on_ground(scene, box(left, right, start, end))


def cast_shadow(scene: Scene, x: float, z: float, across: float, ahead: float) -> None:
    shadow = ellipse(x - 0.25 * scene.sun * across, z, across, ahead, 20)
    scene.paint(Part(on_ground(scene, shadow), np.zeros(3), opacity=0.4))
