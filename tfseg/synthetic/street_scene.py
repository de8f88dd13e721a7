"""Street scenes: one seeded image and the polygons of its labels, for python -m tfseg.sample_city.

A scene is a street in metres before a pinhole camera, painted from far to near; what is painted is recorded as
polygons. Rare labels come in turn, by the image's index, so that 16 images hold every label. The things have one
look each: a score on them says that the pipeline works, no more.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from tfseg.records.labels import LABELS

LABEL_BY_NAME = {label.name: label for label in LABELS}
FRAME_LABELS = ("ego vehicle", "rectification border", "out of roi")

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


# ---- Sky and ground ----------------------------------------------------------------------------------------------


def draw_sky(scene: Scene) -> None:
    horizon = HORIZON * scene.height
    scene.add("sky", [Part(box(-1, scene.width, -1, horizon * 0.93), scene.air)])
    rows = round(horizon) + 1
    blue = np.array((92, 150, 220)) + scene.warmth * np.array((25, 0, -15))
    pixels = blue + (scene.air - blue) * np.linspace(0, 1, rows)[:, None, None] ** 0.8
    clouds = np.clip(scene.grains["cloud"][:rows, :, None] * 1.2 + scene.warmth * 0.2, 0, 0.85)
    scene.image[:rows] = np.clip(pixels + (247 - pixels) * clouds, 0, 255)
    # The hazy hills between sky and ground belong to no polygon: they stay unlabeled.
    hills = np.linspace((-2, horizon), (scene.width + 1, horizon), 24)
    hills[:, 1] -= scene.height * scene.random.uniform(0.03, 0.045, 24)
    hills = np.concatenate([hills, [(scene.width, horizon + 2), (0, horizon + 2)]])
    scene.paint(Part(hills, np.array((128, 140, 168)), amount=0.02))


def draw_ground(scene: Scene, sides: list[tuple[float, float]]) -> None:
    """Terrain, sidewalks and the road; sides are the house front and the kerb of the left and of the right."""
    scene.add("terrain", [Part(strip(scene, -900, 900), scene.pick([(118, 146, 66)]), (1.1, 0.9), 0.22, "leaf")])
    slabs, asphalt, kerbs = scene.pick([(176, 164, 158)]), scene.pick([(98, 99, 104)]), [kerb for _, kerb in sides]
    for front, kerb in sides:
        scene.add("sidewalk", [Part(strip(scene, front, kerb), slabs, (1.0, 1.05))])
        joints = [strip(scene, front, kerb, z, z + 0.07) for z in np.arange(4, 40, 1.2)]
        joints += [strip(scene, x, x + 0.05) for x in np.arange(front, kerb, np.sign(kerb - front) * 0.9)]
        scene.paint_flat(joints, 0.86 * slabs)
    scene.add("road", [Part(strip(scene, *kerbs), asphalt, (1.12, 0.95), 0.06)])
    for x in (-0.75, 0.85):  # tyres have polished the lane
        scene.paint(Part(strip(scene, x - 0.3, x + 0.3), 0.94 * asphalt, (1.15, 1.0), 0.1, "cloud"))
    middle = sum(kerbs) / 2
    marks = [strip(scene, middle - 0.07, middle + 0.07, z, z + 3) for z in np.arange(3, 90, 6.5)]
    marks += [strip(scene, x - 0.06, x + 0.06) for x in (kerbs[0] + 0.5, kerbs[1] - 0.4)]
    if (z := scene.random.uniform(0, 40)) > 25:  # a zebra crossing
        marks += [strip(scene, x, x + 0.5, z - 16, z - 13) for x in np.arange(kerbs[0] + 0.5, kerbs[1] - 0.4, 1)]
    scene.paint_flat(marks, (226, 226, 220))
    scene.paint_flat([strip(scene, x - 0.1, x + 0.1) for x in kerbs], (205, 200, 192))


def draw_patch(scene: Scene, x: float, z: float, label: str, width: float) -> None:
    """Parking, rail track, ground or grass: a piece of other ground from x on, up to z."""
    color, shade, lines = {
        "parking": ((130, 122, 128), (1.0, 1.0), [box(x, x + width, at, at + 0.12) for at in np.arange(6, z, 2.6)]),
        "rail track": ((126, 112, 104), (1.0, 1.0), [box(x + at, x + at + 0.12, 1, z) for at in (0.7, 2.2)]),
        "ground": ((106, 70, 92), (1.1, 0.9), []),
        "terrain": ((112, 144, 62), (1.1, 0.9), []),
    }[label]
    scene.add(label, [Part(strip(scene, x, x + width, 5, z), np.array(color), shade, 0.14, "leaf")])
    scene.paint_flat([on_ground(scene, line) for line in lines], (216, 216, 214))


# ---- Along the street: construction and nature -------------------------------------------------------------------

WALL_COLORS = ((196, 176, 140), (178, 112, 88), (206, 196, 176), (156, 124, 98), (188, 150, 112), (170, 158, 150))
ROOF_COLORS = ((142, 74, 58), (112, 66, 56), (92, 86, 88))
LEAF_COLORS = ((62, 104, 42), (82, 122, 48), (48, 92, 50), (104, 130, 52))
BARRIERS = {  # label: low and high edge, colour, distance of the rows and of the columns drawn on it, grain
    "wall": (0, 2.1, (150, 138, 130), 0.5, 2.0, "fine"),
    "fence": (0.05, 1.5, (140, 96, 66), 0.7, 0.4, "fine"),
    "guard rail": (0.3, 0.85, (196, 172, 150), 0.2, 2.0, "fine"),
    "vegetation": (0, 1.4, (76, 112, 48), 9, 99, "leaf"),
}


def draw_building(scene: Scene, front: float, far: float, near: float, storeys: int) -> None:
    side, height = np.sign(front), 3.1 * storeys + 1
    wall, corner = scene.pick(WALL_COLORS), np.array((front, 0, near))
    ridge = front + 6 * side
    roof = [(front, height, near), (front, height, far), (ridge, height + 3.5, far), (ridge, height + 3.5, near)]
    gable = plane(corner, (side, 0, 0), [(0, 0), (0, height), (6, height + 3.5), (12, height), (12, 0)])
    facade = plane(corner, (0, 0, 1), box(0, far - near, 0, height))
    sunny = 1.1 if scene.sun == -side else 0.84
    parts = [
        Part(scene.project(roof), scene.pick(ROOF_COLORS), amount=0.12),
        Part(scene.project(gable), wall, (0.95, 0.86)),
        Part(scene.project(facade), wall, (sunny, 0.92 * sunny)),
    ]
    scene.add("building", parts, near)
    draw_windows(scene, corner, (0, 0, 1), far - near, storeys)
    draw_windows(scene, corner, (side, 0, 0), 12, storeys)


def draw_windows(scene: Scene, corner, along, length: float, storeys: int) -> None:
    """Windows with frames, and below them shop windows and a ledge, on a wall that begins at the corner."""
    distance, columns = corner[2], np.linspace(0, length, max(2, int(length / 2.6) + 1))[:-1] + 1.3

    def rectangles(width: float, low: float, high: float, rows: range) -> list[np.ndarray]:
        corners = [box(x - width, x + width, 3.1 * row + low, 3.1 * row + high) for row in rows for x in columns]
        return list(scene.project(plane(corner, along, corners)))

    scene.paint_flat(rectangles(0.75, 0.75, 2.75, range(1, storeys)), (224, 216, 202), distance)
    panes = rectangles(0.6, 0.95, 2.6, range(1, storeys)) + rectangles(0.95, 0.3, 2.6, range(1))
    bright = scene.random.random(len(panes)) < 0.2
    for chosen, color in ((~bright, (64, 72, 88)), (bright, (150, 166, 178))):
        scene.paint_flat([panes[index] for index in np.flatnonzero(chosen)], color, distance)
    ledge = scene.project(plane(corner, along, box(0, length, 2.85, 3.3)))
    scene.paint_flat([ledge], scene.pick(ROOF_COLORS), distance)


def draw_tree(scene: Scene, x: float, z: float, size: float) -> None:
    cast_shadow(scene, x, z, 1.8 * size, 1.2 * size)
    leaf = scene.pick(LEAF_COLORS)
    trunk = facing(scene, x, z, limb(0, 0, 0, 3.4 * size, 0.34 * size))
    parts = [Part(trunk, np.array((84, 66, 50)), amount=0.15)]
    # From the dark leaves below to the light ones above, on the sun's side.
    for step in np.linspace(0, 1, 9 if z < 30 else 5):
        across = scene.random.uniform(-1.3, 1.3) * (1 - 0.5 * step) + 0.4 * step * scene.sun
        ragged = ellipse(0, 0, 1, 1, 28) * scene.random.uniform(0.72, 1.4) * scene.random.uniform(0.85, 1.15, (28, 1))
        crown = facing(scene, x, z, size * np.add(ragged, (across, 2.9 + 2.4 * step)))
        parts.append(Part(crown, leaf * (0.72 + 0.45 * step), (1.12, 0.8), 0.34, "leaf"))
    scene.add("vegetation", parts, z)


def draw_barrier(scene: Scene, x: float, far: float, near: float, label: str) -> None:
    """A wall, fence, guard rail or hedge along the street."""
    low, high, color, rows, columns, grain = BARRIERS[label]
    color, length = scene.pick([color]), far - near
    shapes = [box(at, at + 0.12, 0, high) for at in np.arange(0, length, 2)] + [box(0, length, low, high)]
    lines = [box(0, length, up, up + 0.05) for up in np.arange(low + 0.15, high, rows)]
    lines += [box(at, at + 0.07, low, high) for at in np.arange(0, length, columns)]
    shapes, lines = ([scene.project(plane((x, 0, near), (0, 0, 1), s)) for s in group] for group in (shapes, lines))
    amount = 0.3 if grain == "leaf" else 0.12
    scene.add(label, [Part(shape, color, (1.1, 0.8), amount, grain) for shape in shapes], near)
    scene.paint_flat(lines, 0.72 * color, near)


# ---- Flat things that face the camera ----------------------------------------------------------------------------

CLOTHES = ((226, 40, 70), (236, 90, 30), (150, 50, 190), (228, 60, 160), (30, 190, 190), (240, 120, 120), (60, 70, 230))
# fmt: off
PAINTS = {
    "coat": CLOTHES, "helmet": CLOTHES, "trousers": ((52, 46, 84), (96, 40, 60), (60, 60, 70), (120, 84, 140)),
    "skin": ((232, 190, 160), (206, 152, 116), (150, 100, 72), (240, 204, 180)),
    "hair": ((40, 30, 26), (96, 66, 40), (190, 160, 104)), "luggage": ((84, 48, 100),), "container": ((40, 38, 52),),
    "frame": ((180, 30, 40), (30, 60, 150), (46, 46, 52), (40, 130, 90)), "chrome": ((150, 150, 156),),
    "steel": ((188, 190, 192),), "concrete": ((168, 150, 130),), "stone": ((160, 134, 108),), "black": ((28, 28, 32),),
    "red": ((206, 24, 30),), "orange": ((228, 110, 20),), "yellow": ((246, 196, 14),), "blue": ((24, 84, 190),),
    "white": ((240, 238, 234),), "glass": ((50, 60, 74),),
    "stop": ((246, 40, 30), (70, 16, 14)), "wait": ((250, 190, 30), (74, 56, 12)), "go": ((40, 224, 110), (12, 66, 32)),
}
# fmt: on


def tyre(x: float, radius: float) -> np.ndarray:
    """An outer and an inner circle joined by a cut, so that the street shows through."""
    outer, inner = (ellipse(x, radius, share * radius, share * radius, 24) for share in (1.0, 0.76))
    return np.concatenate([outer, outer[:1], inner[:1], inner[::-1]])


# fmt: off
SPRITES = {  # from back to front: paint, brightness, and the shape in metres (right, up) of its foot
    "person": (
        ("coat", 0.75, limb(0.22, 1.42, 0.38, 0.86, 0.13)), ("trousers", 0.8, limb(-0.1, 0.92, -0.24, 0.06, 0.19)),
        ("trousers", 1, limb(0.1, 0.92, 0.22, 0.06, 0.19)), ("black", 1, box(-0.34, -0.12, 0, 0.1)),
        ("black", 1, box(0.13, 0.38, 0, 0.1)), ("coat", 1, np.array(
            ((-0.27, 1.44), (-0.12, 1.53), (0.12, 1.53), (0.27, 1.44), (0.23, 0.82), (-0.23, 0.82)))),
        ("coat", 0.88, limb(-0.22, 1.42, -0.36, 0.88, 0.13)), ("skin", 1, ellipse(-0.37, 0.84, 0.065, 0.07)),
        ("skin", 0.9, limb(0, 1.48, 0, 1.6, 0.13)), ("hair", 1, ellipse(0, 1.7, 0.14, 0.165)),
        ("skin", 1, ellipse(0.02, 1.665, 0.115, 0.13)),
    ),
    "rider": (
        ("trousers", 1, limb(-0.22, 1.0, 0.2, 0.72, 0.2)), ("trousers", 0.9, limb(0.2, 0.75, 0.02, 0.28, 0.16)),
        ("black", 1, box(-0.06, 0.2, 0.18, 0.3)), ("coat", 1, np.array(
            ((-0.4, 0.95), (-0.1, 0.92), (0.28, 1.4), (0.18, 1.54), (-0.08, 1.5)))),
        ("coat", 0.85, limb(0.16, 1.42, 0.42, 1.08, 0.13)), ("skin", 1, ellipse(0.44, 1.07, 0.07, 0.07)),
        ("skin", 1, ellipse(0.2, 1.67, 0.13, 0.15)), ("helmet", 1, ellipse(0.18, 1.75, 0.16, 0.12)),
    ),
    "bicycle": (
        ("black", 1, tyre(-0.55, 0.36)), ("black", 1, tyre(0.55, 0.36)),
        *(("frame", 1, limb(*start, *end, 0.08)) for start, end in pairwise(
            ((-0.55, 0.35), (-0.1, 0.33), (0.38, 0.85), (-0.22, 0.82), (-0.55, 0.35)))),
        ("frame", 1, limb(-0.1, 0.33, -0.25, 0.95, 0.08)), ("frame", 1, limb(0.55, 0.35, 0.36, 1.02, 0.08)),
        ("black", 1, limb(-0.4, 0.97, -0.1, 0.97, 0.09)), ("black", 1, limb(0.3, 1.02, 0.5, 1.07, 0.08)),
    ),
    "motorcycle": (
        *(("black", 1, ellipse(x, 0.34, 0.34, 0.34, 20)) for x in (-0.68, 0.68)),
        *(("chrome", 1, ellipse(x, 0.34, 0.15, 0.15)) for x in (-0.68, 0.68)),
        ("chrome", 0.5, np.array(((-0.35, 0.25), (0.3, 0.25), (0.45, 0.7), (-0.4, 0.7)))), ("frame", 1, np.array(
            ((-0.9, 0.85), (-0.3, 0.62), (0.3, 0.62), (0.5, 0.95), (0.1, 1.02), (-0.2, 0.85)))),
        ("black", 1, limb(-0.75, 0.88, -0.05, 0.88, 0.14)), ("chrome", 0.5, limb(0.68, 0.34, 0.4, 1.12, 0.11)),
        ("black", 1, limb(0.25, 1.14, 0.5, 1.08, 0.09)),
    ),
    "static": (  # a waste container
        ("container", 1, np.array(((-0.55, 0), (0.55, 0), (0.65, 1.15), (0.4, 1.35), (-0.4, 1.35), (-0.65, 1.15)))),
        ("container", 1.4, box(-0.6, 0.6, 1.0, 1.05)), ("orange", 1, box(-0.58, 0.58, 0.7, 0.86)),
    ),
    "dynamic": (  # a pushcart with luggage
        ("black", 1, ellipse(-0.4, 0.16, 0.16, 0.16)), ("black", 1, ellipse(0.4, 0.16, 0.16, 0.16)),
        ("luggage", 0.7, box(-0.6, 0.6, 0.22, 0.75)), ("luggage", 1, box(-0.45, 0.25, 0.75, 1.1)),
        ("black", 1, limb(0.55, 0.5, 0.85, 1.05, 0.08)),
    ),
    "polegroup": (
        *(("steel", 1, limb(x, 0, x, 3 + x, 0.18)) for x in (0, 0.45, 0.9)), ("steel", 0.9, box(0, 0.9, 1, 1.25)),
    ),
    "traffic light": (
        ("yellow", 0.9, box(-0.26, 0.26, -0.62, 0.62)), ("black", 1, box(-0.2, 0.2, -0.56, 0.56)),
        ("stop", 1, ellipse(0, 0.37, 0.15, 0.15)), ("wait", 1, ellipse(0, 0, 0.15, 0.15)),
        ("go", 1, ellipse(0, -0.37, 0.15, 0.15)),
    ),
    "no entry": (("red", 1, ellipse(0, 0, 0.46, 0.46, 24)), ("white", 1, box(-0.32, 0.32, -0.1, 0.1))),
    "no vehicles": (("red", 1, ellipse(0, 0, 0.46, 0.46, 24)), ("white", 1, ellipse(0, 0, 0.3, 0.3, 20))),
    "give way": (("red", 1, ellipse(0, 0, 0.55, -0.55, 3)), ("white", 1, ellipse(0, 0, 0.3, -0.3, 3))),
    "danger": (("red", 1, ellipse(0, 0, 0.56, 0.56, 3)), ("yellow", 1, ellipse(0, 0, 0.34, 0.34, 3))),
    "priority": (("white", 1, ellipse(0, 0, 0.52, 0.52, 4)), ("yellow", 1, ellipse(0, 0, 0.36, 0.36, 4))),
    "parking place": (("blue", 1, box(-0.42, 0.42, -0.42, 0.42)), ("white", 1, box(-0.2, -0.08, -0.3, 0.3)),
                      ("white", 1, ellipse(0.0, 0.12, 0.2, 0.18)), ("blue", 1, ellipse(0.0, 0.12, 0.09, 0.08))),
    "bridge": (
        ("concrete", 0.5, box(-8, 8, 4.5, 5.1)), ("concrete", 0.9, box(-5.9, -4.7, 0, 5)),
        ("concrete", 0.9, box(4.7, 5.9, 0, 5)), ("concrete", 1, box(-8, 8, 5, 6.8)),
        ("concrete", 0.6, box(-8, 8, 6.45, 6.6)),
    ),
    "tunnel": (
        ("stone", 1, box(-30, 30, 0, 9)), ("stone", 0.75, box(-30, 30, 8.2, 8.5)),
        ("stone", 1.2, np.maximum(ellipse(0, 2.6, 5.6, 4.4, 40), (-99, 0))),
        ("black", 1, np.maximum(ellipse(0, 2.6, 5.0, 3.8, 40), (-99, 0))),
    ),
    "rear": (  # of a vehicle 1 metre wide, from its lower edge
        ("black", 0.7, box(-0.48, -0.36, -0.3, 0.1)), ("black", 0.7, box(0.36, 0.48, -0.3, 0.1)),
        ("black", 1.3, box(-0.5, 0.5, 0, 0.14)), ("white", 1, box(-0.14, 0.14, 0.18, 0.31)),
        ("red", 1.1, box(-0.48, -0.32, 0.34, 0.54)), ("red", 1.1, box(0.32, 0.48, 0.34, 0.54)),
    ),
}
SPRITES["front"] = (*SPRITES["rear"][:-2], *(("white", 1.05, shape) for _, _, shape in SPRITES["rear"][-2:]))
# fmt: on
SIGNS = ("no entry", "no vehicles", "give way", "danger", "priority", "parking place")


def sprite_parts(scene: Scene, x: float, z: float, name: str, size=(1.0, 1.0), foot: float = 0.0) -> list[Part]:
    """The parts of a flat thing; `size` stretches it to the right and upwards, -1 mirrors it."""
    paints = {key: scene.pick(PAINTS[key]) for key in dict.fromkeys(key for key, _, _ in SPRITES[name])}
    return [
        Part(facing(scene, x, z, shape * size + (0, foot)), brightness * paints[key], amount=0.03)
        for key, brightness, shape in SPRITES[name]
    ]


def draw_sprite(scene: Scene, x: float, z: float, name: str, label: str = "", steps=(0.0,)) -> None:
    """A person, bicycle, container ...; several steps to the right make one group of it."""
    parts = []
    for step in steps:
        mirror, high = scene.random.choice((-1, 1)), scene.random.uniform(0.85, 1.05)
        cast_shadow(scene, x + step, z, 0.5, 0.25)
        parts += sprite_parts(scene, x + step, z, name, (mirror * scene.random.uniform(0.7, 1), high))
    scene.add(label or name, parts, z)


def draw_rider(scene: Scene, x: float, z: float, machine: str) -> None:
    size = (scene.random.choice((-1, 1)) * scene.random.uniform(0.65, 1), 1.0)
    cast_shadow(scene, x, z, 0.8, 0.25)
    scene.add(machine, sprite_parts(scene, x, z, machine, size), z)
    scene.add("rider", sprite_parts(scene, x, z, "rider", size), z)


def draw_pole(scene: Scene, x: float, z: float, height: float, arm: float = 0.0) -> None:
    width = max(0.17, 0.021 * scene.height * z / scene.focal)  # no thinner than 2 pixels of 96 rows
    shapes = [limb(0, 0, 0, height, width), limb(0, height - width / 2, arm or width, height - width / 2, width)]
    scene.add("pole", [Part(facing(scene, x, z, shape), scene.pick(PAINTS["steel"])) for shape in shapes], z)


def draw_sign(scene: Scene, x: float, z: float, label: str) -> None:
    """A traffic sign or light on its pole."""
    name = label if label in SPRITES else scene.random.choice(SIGNS)
    size = max(1.0, 0.066 * scene.height * z / scene.focal)
    high = scene.random.uniform(2.5, 2.9)
    draw_pole(scene, x, z, high + 0.3)
    scene.add(label, sprite_parts(scene, x, z, name, (size, size), high), z)


# ---- Vehicles ----------------------------------------------------------------------------------------------------


class Body(NamedTuple):
    """A side view, drawn out to a width: corners (ahead, up) in metres, clockwise from the rear's lower one."""

    profile: tuple[tuple[float, float], ...]
    width: float
    windows: tuple[tuple[float, float, float, float], ...]  # on both sides: from, to, low, high
    wheels: tuple[float, ...]
    panes: tuple[int, ...]  # edges of the profile with a window; edge 0 is the rear


# fmt: off
VEHICLES = {  # bodies from rear to front, colours
    "car": ((Body(((0, 0.3), (0, 0.88), (0.15, 1), (0.6, 1.45), (2.2, 1.48), (3.05, 0.98), (4.15, 0.82), (4.3, 0.3)),
                  1.8, ((0.6, 1.45, 0.98, 1.36), (1.55, 2.5, 0.98, 1.36)), (0.8, 3.45), (2, 4)),),
            ((26, 28, 34), (188, 192, 198), (236, 238, 240), (30, 56, 120), (150, 24, 30), (88, 94, 104))),
    "truck": ((Body(((0, 0.75), (0, 3.4), (5.6, 3.4), (5.6, 0.75)), 2.4, (), (0.9, 1.9), ()),
               Body(((5.7, 0.4), (5.7, 2.7), (6.8, 2.7), (7.3, 1.6), (7.4, 0.4)), 2.3, ((6.2, 6.9, 1.6, 2.3),), (6.5,),
                    (2,))), ((232, 232, 236), (40, 80, 160), (170, 50, 40))),
    "bus": ((Body(((0, 0.35), (0, 1.3), (0, 3), (11.2, 3), (11.3, 1.2), (11.3, 0.35)), 2.5, ((0.4, 10.6, 1.4, 2.6),),
                  (2.5, 9), (1, 3)),), ((200, 34, 40), (236, 190, 40), (40, 120, 180))),
    "train": ((Body(((0, 0.3), (0, 1.3), (0.6, 3.4), (21, 3.4), (22, 1.3), (22.2, 0.3)), 2.4, ((1, 20.5, 1.5, 2.6),),
                    (), (1, 3)),), ((190, 30, 40), (220, 220, 224))),
    "caravan": ((Body(((0, 0.4), (0, 1.2), (0.3, 2.6), (4.2, 2.6), (4.9, 1.5), (4.9, 0.4)), 2.1, ((1.2, 3.4, 1.3, 2),),
                      (2.3,), (1, 3)),), ((238, 236, 228),)),
    "trailer": ((Body(((0, 0.55), (0, 1.6), (2.6, 1.6), (2.6, 0.55)), 1.7, (), (1.3,), ()),),
                ((60, 84, 150), (130, 134, 140))),
}
# fmt: on


def body_parts(scene: Scene, x: float, z: float, body: Body, color: np.ndarray) -> list[Part]:
    """The rear or front, roof and side that the camera sees of a body along the street, far faces first."""
    glass, half = scene.pick(PAINTS["glass"]), body.width / 2
    corners = np.array([[(x + side * half, up, z + ahead) for ahead, up in body.profile] for side in (-1, 1)])
    edges = range(len(body.profile))
    following = np.roll(corners, -1, axis=1)
    shapes = []
    for edge in sorted(edges, key=lambda e: -(corners[0, e, 2] + following[0, e, 2])):
        face = np.array((*corners[:, edge], *following[::-1, edge]))
        level = np.ptp(face[:, 2]) > np.ptp(face[:, 1])
        shapes.append((face, (1.1 if level else 0.95) * color * (edge != edges[-1])))  # the last is the underside
        if edge in body.panes:
            shapes.append((face.mean(0) + 0.88 * (face - face.mean(0)), glass))
    flank = partial(plane, (x - np.sign(x) * half, 0, z), (0, 0, 1))
    shapes += [(flank(body.profile), 0.82 * color)] + [(flank(box(*window)), glass) for window in body.windows]
    for ahead in body.wheels:
        shapes += [(flank(ellipse(ahead, 0.36, r, r)), np.full(3, tone)) for r, tone in ((0.36, 22), (0.2, 145))]
    return [Part(scene.project(points), np.minimum(color, 250), amount=0.03) for points, color in shapes]


def turned(body: Body, length: float) -> Body:
    """The same body driving towards the camera."""
    profile = tuple((length - ahead, up) for ahead, up in body.profile)
    windows = tuple((length - start, length - end, *heights) for start, end, *heights in body.windows)
    return body._replace(profile=profile, windows=windows, wheels=tuple(length - ahead for ahead in body.wheels))


def draw_vehicle(scene: Scene, x: float, z: float, kind: str, comes: bool, label: str = "", steps=(0.0,)) -> None:
    """A vehicle that drives away or comes, its near end at z; several steps to the right make one group of it."""
    bodies, colors = VEHICLES[kind]
    length = bodies[-1].profile[-1][0]
    bodies = [turned(body, length) for body in bodies] if comes else bodies[::-1]
    parts = []
    for step in steps:
        cast_shadow(scene, x + step, z + length / 2, 1.2, 0.55 * length)
        for body in bodies:  # the far one first
            parts += body_parts(scene, x + step, z, body, scene.pick(colors))
        end = "front" if comes else "rear"
        low = min(up for _, up in bodies[-1].profile)
        parts += sprite_parts(scene, x + step, z, end, (bodies[-1].width, 1.0), low)
    scene.add(label or kind, parts, z)
    if kind == "car" and not label and z < 28:
        scene.annotate("license plate", [facing(scene, x, z, box(-0.25, 0.25, 0.48, 0.61))])


# ---- The plan of a scene -----------------------------------------------------------------------------------------

# What comes every eighth time, by the image's index: drawing, metres right of the left (-1) or right (1) kerb or of
# the camera (0), metres ahead, further arguments. So every label is in a data set, not by chance.
# fmt: off
FEATURES = (
    ((draw_patch, 1, 0.1, 34, "parking", 3.0), (draw_sprite, 1, -0.5, 9.5, "motorcycle"),
     (draw_vehicle, 1, 1.2, 14, "car", False, "cargroup", (3.8, 1.9, 0.0))),
    ((draw_patch, -1, 0.1, 90, "rail track", 3.0), (draw_vehicle, -1, 1.5, 20, "train", True)),
    ((draw_patch, 1, 0.1, 60, "terrain", 2.4), (draw_barrier, 1, 0.3, 22, 6.5, "guard rail"),
     (draw_vehicle, 0, 0.2, 17, "truck", False)),
    ((draw_sprite, 0, -1.8, 30, "bridge"), (draw_vehicle, -1, 2.2, 17, "bus", True)),
    ((draw_sprite, 0, -1.8, 48, "tunnel"), (draw_sprite, 1, -0.2, 11, "polegroup")),
    ((draw_patch, -1, -2.2, 60, "terrain", 1.6), (draw_vehicle, -1, 1.2, 12, "caravan", False),
     (draw_vehicle, 1, -1.0, 11, "trailer", False)),
    ((draw_patch, 1, 0.1, 24, "ground", 6.0), (draw_sprite, 1, -0.6, 9.5, "dynamic"),
     (draw_sprite, 1, 0.2, 12, "person", "persongroup", (0.0, 0.42, 0.85, 1.2))),
    ((draw_barrier, -1, -1.8, 26, 10.5, "wall"), (draw_barrier, 1, 2.4, 26, 9, "fence"),
     (draw_sprite, 1, -0.2, 10, "bicycle", "bicyclegroup", (0.0, 0.5, 1.0)), (draw_sprite, -1, 0.2, 11, "dynamic")),
)
# fmt: on


def plan_feature(scene: Scene, feature: tuple, kerbs: tuple[float, float], behind: bool) -> None:
    """Plans the rare things: those on the ground or at the end of the street, or else those that stand on it."""
    for draw, side, x, z, *arguments in feature:
        if behind == (z > 45 or draw is draw_patch):
            scene.later(draw, x + (0, *kerbs[::-1])[side], z, *arguments)


def plan_far_end(scene: Scene) -> None:
    """Closes the street with houses and trees, but for a gap."""
    for x in np.delete(np.arange(-60, 60, 10), scene.random.integers(5, 7)):
        if scene.random.random() < 0.5:
            scene.later(draw_tree, x + 5, 150, scene.random.uniform(1.4, 2.4))
        else:
            scene.later(draw_building, x, 150, 149, scene.random.integers(2, 5))


def plan_side(scene: Scene, front: float, end: float) -> None:
    """Lines one side of the street with houses, parks and yards."""
    side, near = np.sign(front), scene.random.uniform(2, 6)
    while near < end:
        far = near + scene.random.uniform(9, 20)
        kind = scene.random.choice(("houses", "lawn", "vegetation", "wall", "fence"), p=(0.68, 0.12, 0.08, 0.06, 0.06))
        if kind == "houses":
            scene.later(draw_building, front, far, near, scene.random.integers(2, 5))
        else:
            for x in front + side * scene.random.uniform(1.5, 6, 4):  # at the back, so before the fence is drawn
                scene.later(draw_tree, x, far, scene.random.uniform(0.9, 1.4))
            if kind != "lawn":
                scene.later(draw_barrier, front, far, near, kind)
        near = far


def plan_kerb(scene: Scene, kerb: float) -> None:
    """Lamps, trees, signs, containers and parked cars on one side of the street."""
    side, random = np.sign(kerb), scene.random
    x = kerb + 0.5 * side
    for z in np.arange(random.uniform(9, 17), 60, 20):
        scene.later(draw_pole, x, z, 7.0, -1.4 * side)
    for z in np.arange(random.uniform(13, 24), 70, 12):
        if random.random() < 0.8:
            scene.later(draw_tree, x + 0.7 * side, z, random.uniform(0.7, 1.05))
    for label, near, far in (("traffic sign", 9, 24), ("traffic light", 12, 26)):
        scene.later(draw_sign, x, random.uniform(near, far), label)
    scene.later(draw_sprite, x + 0.8 * side, random.uniform(11, 24), "static")
    for z in np.arange(random.uniform(16, 22), 60, 6.2):
        if random.random() < 0.4:
            scene.later(draw_vehicle, kerb - 0.9 * side, z, "car", side < 0)


def plan_road(scene: Scene, sides: list[tuple[float, float]]) -> None:
    """Driving cars, people on foot, riders."""
    random = scene.random
    scene.later(draw_vehicle, random.uniform(-0.3, 0.3), random.uniform(13, 32), "car", False)
    for z in np.cumsum(random.uniform(12, 26, 3)):
        kind = random.choice(("car", "truck", "bus"), p=(0.7, 0.15, 0.15))
        scene.later(draw_vehicle, 0.45 * sides[0][1] - 0.6, z + 4, kind, True)
    for z in random.uniform(8.5, 13, 2):
        scene.later(draw_sprite, random.uniform(-0.38, 0.38) * z, z, "person")
    for z in random.uniform(13, 45, 6):
        scene.later(draw_sprite, random.uniform(*sorted(sides[random.integers(2)])), z, "person")
    machines = ("bicycle", "motorcycle")[: 1 + (random.random() < 0.4)]
    for machine in machines:
        scene.later(draw_rider, random.uniform(-4, 2.2), random.uniform(10, 20), machine)


def draw_scene(size: tuple[int, int], seed: list[int], index: int) -> Scene:
    """Paints one street, everything in it, and the camera's own frame around it."""
    scene = Scene(size, seed)
    feature = FEATURES[index % len(FEATURES)]
    kerbs = scene.random.uniform(-6.6, -5.4), scene.random.uniform(2.3, 3.1)
    sides = [(kerb + np.sign(kerb) * scene.random.uniform(2.8, 5), kerb) for kerb in kerbs]
    end = 48 if any("tunnel" in step for step in feature) else 150
    draw_sky(scene)
    draw_ground(scene, sides)
    plan_feature(scene, feature, kerbs, behind=True)
    for front, _ in sides:
        plan_side(scene, front, min(end, 110))
    plan_far_end(scene)
    scene.draw_waiting(150)
    plan_feature(scene, feature, kerbs, behind=False)
    plan_road(scene, sides)
    for kerb in kerbs:
        plan_kerb(scene, kerb)
    scene.draw_waiting(end)
    draw_frame(scene)
    develop(scene)
    return scene


def draw_frame(scene: Scene) -> None:
    """The own bonnet, and the black edges that undistorting the lens leaves."""
    size, border = np.array((scene.width, scene.height)), max(1.0, 0.008 * scene.height)
    x = np.linspace(0.06, 0.94, 30)
    edge = np.stack([x, 0.905 + 0.1 * np.abs(2 * x - 1) ** 3], axis=-1)
    bonnet = np.concatenate([edge, [(0.97, 1.01), (0.03, 1.01)]])
    scene.add("ego vehicle", [Part(bonnet * size, np.array((46, 52, 66)), (1.5, 0.6), 0.03)])
    shine = np.concatenate([np.add(edge, (0, 0.008)), np.add(edge, (0, 0.02))[::-1]])
    scene.paint(Part(shine * size, np.array((120, 132, 150))))
    right, low = size - 1
    for label, shapes in (
        ("rectification border", (box(0, border - 1, 0, low), box(right - border + 1, right, 0, low))),
        ("out of roi", (box(0, right, 0, border - 1), box(0, right, low - border + 1, low))),
    ):
        for shape in shapes:
            scene.add(label, [Part(shape, np.full(3, 6.0))])


def develop(scene: Scene) -> None:
    """The camera's share: exposure, the light's colour, a soft lens, and the sensor's noise."""
    tint = scene.random.uniform(0.85, 1.12) * (1 + scene.warmth * np.array((0.07, 0.0, -0.07)))
    pixels = cv2.GaussianBlur(scene.image, (0, 0), 0.35 + 0.0005 * scene.height) * tint.astype(np.float32)
    pixels += 3 * scene.random.standard_normal(pixels.shape, np.float32)
    scene.image = np.clip(pixels, 0, 255).astype(np.uint8)
