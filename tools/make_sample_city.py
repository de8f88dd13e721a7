"""Draws street scenes of invented cities, in the exact files and folders of Cityscapes.

    python tools/make_sample_city.py --out data/sample_city --size 256x512 --train 240 --val 40

Cityscapes may not be passed on, so a first try of the pipeline needs something in its place. A scene is a street in
metres before a pinhole camera, painted from far to near. What is painted is recorded as polygons, and the labels are
drawn from those polygons as cityscapesscripts draws them. Rare labels come in turn, by the picture's index, so that 16
pictures hold every label. The things have one look each: a score on them says that the pipeline works, no more.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from tfseg import cli
from tfseg.labels import LABELS

CITIES = {
    "train": ("aldermoor", "duskwater", "ferncastle", "greyhaven", "larkstead"),
    "val": ("mossbridge", "northmere", "oakhollow"),
    "test": ("pinewick", "quarryton"),
}
SMALLEST_SIZE = (64, 128)
PARAMETERS = "sample_city.json"  # lies in a finished folder and says what it was made with
LABEL_BY_NAME = {label.name: label for label in LABELS}
FRAME_LABELS = ("ego vehicle", "rectification border", "out of roi")

CAMERA_HEIGHT = 1.4  # metres above the road, as behind a windscreen
HORIZON = 0.42  # of the picture's height, from above
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
    """One picture in the making: its pixels, the polygons of its labels, and what still waits to be drawn."""

    def __init__(self, size: tuple[int, int], seed: list[int]):
        self.height, self.width = size
        self.random = np.random.default_rng(seed)
        # The view is 49 degrees wide at 1:2, as that of Cityscapes; other shapes see a little more on the long side.
        self.focal = 2.2 * self.height * np.sqrt(self.width / self.height / 2)
        self.picture = np.zeros((self.height, self.width, 3), np.uint8)
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
        """Smooth noise around 0: (height, width); a bump is as high and wide as given, in picture heights."""
        noise = np.zeros((self.height, self.width), np.float32)
        for bump in bumps:
            rows, columns = (max(2, round(length / max(1, share * self.height)))
                             for length, share in zip((self.height, self.width), bump, strict=True))  # fmt: skip
            heights = self.random.standard_normal((rows, columns), np.float32)
            noise += cv2.resize(heights, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return noise * 0.42

    def project(self, points) -> np.ndarray:
        """(..., 3) metres (right, up, ahead) from the camera's foot -> (..., 2) pixels."""
        right, up, ahead = np.moveaxis(np.asarray(points, float), -1, 0)
        scale = self.focal / np.maximum(ahead, NEAREST)
        return np.stack([self.width / 2 + right * scale, self.height * HORIZON + (CAMERA_HEIGHT - up) * scale], axis=-1)

    def in_air(self, color, distance: float) -> np.ndarray:
        """The colour as seen from afar: the air between mixes into it."""
        return np.clip(self.air + (np.asarray(color, float) - self.air) * np.exp(-distance / 140), 0, 255)

    def paint(self, part: Part, distance: float = 0.0) -> None:
        """Paints one polygon into the picture, with light and grain."""
        area, corner = self._area(part.polygon)
        mask = np.zeros(self.picture[area].shape[:2], np.uint8)
        if mask.size == 0:
            return
        cv2.fillPoly(mask, [_fixed_point(part.polygon - corner)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
        light = np.linspace(*part.shade, len(mask), dtype=np.float32)[:, None]
        light = light * (1 + part.amount * self.grains[part.grain][area])
        pixels = self.picture[area].astype(np.float32)
        color = light[..., None] * self.in_air(part.color, distance).astype(np.float32)
        pixels += (color - pixels) * (mask[..., None] * np.float32(part.opacity / 255))
        self.picture[area] = np.clip(pixels, 0, 255)

    def paint_flat(self, polygons, color, distance: float = 0.0) -> None:
        """Paints many small polygons in one plain colour."""
        polygons = [_fixed_point(polygon) for polygon in polygons]
        cv2.fillPoly(self.picture, polygons, self.in_air(color, distance).tolist(), cv2.LINE_AA, SUBPIXEL_BITS)

    def add(self, label: str, parts: list[Part], distance: float = 0.0) -> None:
        """Paints the parts of an object and records their common outline under its label."""
        for part in parts:
            self.paint(part, distance)
        self.annotate(label, [part.polygon for part in parts])

    def annotate(self, label: str, polygons: list[np.ndarray]) -> None:
        """Records the outline of what can be seen of a union of polygons, in whole pixels."""
        area, corner = self._area(np.concatenate(polygons))
        mask = np.zeros(self.picture[area].shape[:2], np.uint8)
        if mask.size == 0:
            return
        for polygon in polygons:
            cv2.fillPoly(mask, [_fixed_point(polygon - corner)], 1, cv2.LINE_8, SUBPIXEL_BITS)
        contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
        if label in LABEL_BY_NAME and LABEL_BY_NAME[label].has_instances:
            contours = sorted(contours, key=cv2.contourArea)[-1:]  # a second polygon would be a second instance
        for contour in contours:
            outline = cv2.approxPolyDP(contour, max(0.4, self.height / 1024), True)[:, 0]
            if len(outline) >= 3:
                self.objects.append({"label": label, "polygon": np.add(outline, corner).tolist()})

    def _area(self, polygon: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
        """The rows and columns of the picture that a polygon touches, and their upper left corner (x, y)."""
        ends = [np.floor(polygon.min(0)) - 1, np.ceil(polygon.max(0)) + 2]
        (left, top), (right, bottom) = np.clip(ends, 0, (self.width, self.height)).astype(int).tolist()
        return np.s_[top:bottom, left:right], np.array((left, top))

    def later(self, draw: Callable[..., None], x: float, z: float, *arguments) -> None:
        """Keeps draw(scene, x, z, ...) until everything farther than z has been drawn."""
        self.waiting.append((z, partial(draw, self, x, z, *arguments)))

    def pick(self, colors) -> np.ndarray:
        """One of the colours, a little brighter or darker and of a slightly other hue."""
        color = np.array(colors[self.random.integers(len(colors))])
        return np.clip(color + self.random.normal(0, 12) + self.random.normal(0, 5, 3), 8, 250)


def _fixed_point(polygon: np.ndarray) -> np.ndarray:
    return np.round(polygon * 2**SUBPIXEL_BITS).astype(np.int32)


def ellipse(x: float, y: float, across: float, up: float, corners: int = 16) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + np.pi / 2
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


class Street(NamedTuple):
    """Metres right of the camera: house fronts and kerbs; `end` is how far the street can be seen."""

    left_front: float
    left_kerb: float
    right_kerb: float
    right_front: float
    end: float


def draw_sky(scene: Scene) -> None:
    horizon = HORIZON * scene.height
    scene.add("sky", [Part(box(-1, scene.width, -1, horizon * 0.93), scene.air)])
    rows = round(horizon) + 1
    blue = np.array((92, 150, 220)) + scene.warmth * np.array((25, 0, -15))
    pixels = blue + (scene.air - blue) * np.linspace(0, 1, rows)[:, None, None] ** 0.8
    clouds = np.clip(scene.grains["cloud"][:rows, :, None] * 1.2 + scene.warmth * 0.2, 0, 0.85)
    scene.picture[:rows] = np.clip(pixels + (247 - pixels) * clouds, 0, 255)
    # The hazy hills between sky and ground belong to no polygon: they stay unlabeled.
    hills = np.linspace((-2, horizon), (scene.width + 1, horizon), 24)
    hills[:, 1] -= scene.height * scene.random.uniform(0.03, 0.045, 24)
    hills = np.concatenate([hills, [(scene.width, horizon + 2), (0, horizon + 2)]])
    scene.paint(Part(hills, np.array((128, 140, 168)), amount=0.02))


def draw_ground(scene: Scene, street: Street) -> None:
    scene.add("terrain", [Part(strip(scene, -900, 900), scene.pick([(118, 146, 66)]), (1.1, 0.9), 0.22, "leaf")])
    slabs = scene.pick([(176, 164, 158)])
    for front, kerb in ((street.left_front, street.left_kerb), (street.right_front, street.right_kerb)):
        scene.add("sidewalk", [Part(strip(scene, front, kerb), slabs, (1.0, 1.05))])
        joints = [strip(scene, front, kerb, z, z + 0.07) for z in np.arange(4, 40, 1.2)]
        joints += [strip(scene, x, x + 0.05) for x in np.arange(front, kerb, np.sign(kerb - front) * 0.9)]
        scene.paint_flat(joints, 0.86 * slabs)
    asphalt = scene.pick([(98, 99, 104)])
    scene.add("road", [Part(strip(scene, street.left_kerb, street.right_kerb), asphalt, (1.12, 0.95), 0.06)])
    scene.paint_flat([strip(scene, x - 0.1, x + 0.1) for x in (street.left_kerb, street.right_kerb)], (205, 200, 192))
    for x in (-0.75, 0.85):  # tyres have polished the lane
        scene.paint(Part(strip(scene, x - 0.3, x + 0.3), 0.94 * asphalt, (1.15, 1.0), 0.1, "cloud"))
    draw_lane_markings(scene, street)


def draw_lane_markings(scene: Scene, street: Street) -> None:
    left, right = street.left_kerb + 0.5, street.right_kerb - 0.4
    middle = (left + right) / 2
    marks = [strip(scene, middle - 0.07, middle + 0.07, z, z + 3) for z in np.arange(3, 90, 6.5)]
    marks += [strip(scene, x - 0.06, x + 0.06) for x in (left, right)]
    if scene.random.random() < 0.35:
        z = scene.random.uniform(8, 18)
        marks += [strip(scene, x, x + 0.5, z, z + 3.2) for x in np.arange(left, right, 1)]
    scene.paint_flat(marks, (226, 226, 220))


def draw_patch(scene: Scene, x: float, z: float, label: str, width: float) -> None:
    """Parking, rail track or ground: a piece of other ground from x on, up to z."""
    color, shade, lines = {
        "parking": ((130, 122, 128), (1.0, 1.0), [box(x, x + width, at, at + 0.12) for at in np.arange(6, z, 2.6)]),
        "rail track": ((126, 112, 104), (1.0, 1.0), [box(x + at, x + at + 0.12, 1, z) for at in (0.7, 2.2)]),
        "ground": ((106, 70, 92), (1.1, 0.9), []),
    }[label]
    scene.add(label, [Part(strip(scene, x, x + width, 5, z), np.array(color), shade, 0.14, "leaf")])
    scene.paint_flat([on_ground(scene, line) for line in lines], (216, 216, 214))


# ---- Along the street: construction and nature -------------------------------------------------------------------

WALL_COLORS = ((196, 176, 140), (178, 112, 88), (206, 196, 176), (156, 124, 98), (188, 150, 112), (170, 158, 150))
ROOF_COLORS = ((142, 74, 58), (112, 66, 56), (92, 86, 88))
LEAF_COLORS = ((62, 104, 42), (82, 122, 48), (48, 92, 50), (104, 130, 52))
BARRIERS = {  # label: low and high edge, colour, distance of the rows and of the columns drawn on it
    "wall": (0, 2.1, (150, 138, 130), 0.5, 2.0),
    "fence": (0.05, 1.5, (140, 96, 66), 0.7, 0.4),
    "guard rail": (0.3, 0.85, (168, 150, 140), 0.2, 2.0),
}


def draw_building(scene: Scene, front: float, far: float, near: float, storeys: int) -> None:
    side, height = np.sign(front), 3.1 * storeys + 1
    wall, corner = scene.pick(WALL_COLORS), np.array((front, 0, near))
    roof = box(near, far, 0, 0)
    roof = [(front + 6 * side * high, height + 3.5 * high, z) for z, high in zip(roof[:, 0], (0, 0, 1, 1), strict=True)]
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

    def rectangles(width: float, low: float, high: float, rows) -> list[np.ndarray]:
        corners = [box(x - width, x + width, 3.1 * row + low, 3.1 * row + high) for row in rows for x in columns]
        return [scene.project(plane(corner, along, rectangle)) for rectangle in corners]

    scene.paint_flat(rectangles(0.75, 0.75, 2.75, range(1, storeys)), (224, 216, 202), distance)
    panes = rectangles(0.6, 0.95, 2.6, range(1, storeys)) + rectangles(0.95, 0.3, 2.6, range(1))
    bright = scene.random.random(len(panes)) < 0.2
    for chosen, color in ((~bright, (64, 72, 88)), (bright, (150, 166, 178))):
        scene.paint_flat([panes[index] for index in np.flatnonzero(chosen)], color, distance)
    ledge = scene.project(plane(corner, along, box(0, length, 2.85, 3.3)))
    scene.paint_flat([ledge], scene.pick(ROOF_COLORS), distance)


def draw_tree(scene: Scene, x: float, z: float, size: float = 1.0, foot: float = 0.0) -> None:
    cast_shadow(scene, x, z, 1.8 * size, 1.2 * size)
    leaf = scene.pick(LEAF_COLORS)
    trunk = facing(scene, x, z, limb(0, foot, 0, foot + 3.4 * size, 0.34 * size))
    parts = [Part(trunk, np.array((84, 66, 50)), amount=0.15)]
    for step in np.linspace(0, 1, 9):  # from the dark leaves below to the light ones above, on the sun's side
        across = scene.random.uniform(-1.3, 1.3) * (1 - 0.5 * step) + 0.4 * step * scene.sun
        ragged = ellipse(0, 0, 1, 1, 28) * scene.random.uniform(0.72, 1.4) * scene.random.uniform(0.85, 1.15, (28, 1))
        crown = facing(scene, x, z, (across, 2.9 + 2.4 * step) * np.array(size) + (0, foot) + ragged * size)
        parts.append(Part(crown, leaf * (0.72 + 0.45 * step), (1.12, 0.8), 0.34, "leaf"))
    scene.add("vegetation", parts, z)


def draw_hedge(scene: Scene, x: float, far: float, near: float) -> None:
    along = np.linspace(0, far - near, 16)
    top = np.stack([along, 1.3 * scene.random.uniform(0.85, 1.1, 16)], axis=-1)
    outline = plane((x, 0, near), (0, 0, 1), [*top, (far - near, 0), (0, 0)])
    scene.add("vegetation", [Part(scene.project(outline), scene.pick(LEAF_COLORS), (1.15, 0.75), 0.3, "leaf")], near)


def draw_barrier(scene: Scene, x: float, far: float, near: float, label: str) -> None:
    """A wall, fence or guard rail along the street."""
    low, high, color, rows, columns = BARRIERS[label]
    color, length = scene.pick([color]), far - near
    shapes = [box(at, at + 0.12, 0, high) for at in np.arange(0, length, 2)] + [box(0, length, low, high)]
    lines = [box(0, length, up, up + 0.05) for up in np.arange(low + 0.15, high, rows)]
    lines += [box(at, at + 0.07, low, high) for at in np.arange(0, length, columns)]
    shapes, lines = ([scene.project(plane((x, 0, near), (0, 0, 1), s)) for s in group] for group in (shapes, lines))
    scene.add(label, [Part(shape, color, amount=0.12) for shape in shapes], near)
    scene.paint_flat(lines, 0.72 * color, near)


def draw_bridge(scene: Scene, x: float, z: float, half: float) -> None:
    below = box(x - 3 * half, x + 3 * half, z, z + 7)
    piers = [facing(scene, x + side * (half + 0.8), z, box(-0.6, 0.6, 0, 5)) for side in (-1, 1)]
    parts = [Part(scene.project(np.insert(below, 1, 5.0, axis=1)), np.array((84, 76, 70)))]
    parts += [Part(pier, np.array((150, 136, 122)), amount=0.1) for pier in piers]
    deck = facing(scene, x, z, box(-3 * half, 3 * half, 5, 6.8))
    scene.add("bridge", [*parts, Part(deck, scene.pick([(168, 150, 130)]), (1.1, 0.9), 0.1)], z)
    scene.paint_flat([facing(scene, x, z, box(-3 * half, 3 * half, 6.5, 6.62))], (100, 90, 80), z)


def draw_tunnel(scene: Scene, x: float, z: float, half: float) -> None:
    portal = facing(scene, x, z, box(-30, 30, 0, 8.5))
    scene.add("tunnel", [Part(portal, scene.pick([(160, 134, 108)]), (1.1, 0.85), 0.14)], z)
    arch = np.maximum(ellipse(0, 2.6, half + 0.5, 3.8, 40), (-99, 0))
    scene.paint(Part(facing(scene, x, z, arch), np.array((38, 34, 34)), (0.7, 1.5)), 0.6 * z)
    for step in np.arange(-28, 28, 5):
        draw_tree(scene, x + step, z, 0.9, 6.5)


def draw_far_end(scene: Scene, x: float, z: float) -> None:
    """Closes the street in the distance, with a gap through which the hills can be seen."""
    for step in np.delete(np.arange(-72, 72, 9.0), scene.random.integers(7, 9)):
        if scene.random.random() < 0.5:
            storeys = scene.random.integers(2, 5)
            wall = facing(scene, x + step, z, box(0, 9, 0, 3.1 * storeys + 1))
            scene.add("building", [Part(wall, scene.pick(WALL_COLORS))], z)
            draw_windows(scene, (x + step, 0, z), (1, 0, 0), 9, storeys)
        else:
            draw_tree(scene, x + step + 4, z, scene.random.uniform(1.2, 2.4))


# ---- Flat things that face the camera ----------------------------------------------------------------------------

CLOTHES = ((226, 40, 70), (236, 90, 30), (150, 50, 190), (228, 60, 160), (30, 190, 190), (240, 120, 120), (60, 70, 230))
PAINTS = {
    "coat": CLOTHES,
    "helmet": CLOTHES,
    "trousers": ((52, 46, 84), (96, 40, 60), (60, 60, 70), (120, 84, 140)),
    "skin": ((232, 190, 160), (206, 152, 116), (150, 100, 72), (240, 204, 180)),
    "hair": ((40, 30, 26), (96, 66, 40), (190, 160, 104)),
    "frame": ((180, 30, 40), (30, 60, 150), (46, 46, 52), (40, 130, 90)),
    "black": ((28, 28, 32),),
    "chrome": ((150, 150, 156),),
    "steel": ((188, 190, 192),),
    "container": ((40, 38, 52),),
    "luggage": ((84, 48, 100),),
    "orange": ((228, 110, 20),),
    "red": ((206, 24, 30),),
    "blue": ((24, 84, 190),),
    "yellow": ((246, 196, 14),),
    "white": ((240, 238, 234),),
    "stop": ((246, 40, 30), (70, 16, 14)),
    "wait": ((250, 190, 30), (74, 56, 12)),
    "go": ((40, 224, 110), (12, 66, 32)),
}


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
    "place name": (("black", 1, box(-0.7, 0.7, -0.3, 0.3)), ("yellow", 1, box(-0.66, 0.66, -0.26, 0.26)),
                   ("black", 1, box(-0.45, 0.45, -0.06, 0.08))),
}
# fmt: on
SIGNS = ("no entry", "no vehicles", "give way", "danger", "priority", "parking place", "place name")


def sprite_parts(scene: Scene, x: float, z: float, name: str, size=(1.0, 1.0), foot: float = 0.0) -> list[Part]:
    """The parts of a flat thing; `size` stretches it to the right and upwards, -1 mirrors it."""
    paints = {key: scene.pick(colors) for key, colors in PAINTS.items()}
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
    windows: tuple[tuple[float, float, float, float], ...] = ()  # on both sides: from, to, low, high
    wheels: tuple[float, ...] = ()
    panes: tuple[int, ...] = ()  # edges of the profile with a window; edge 0 is the rear


# fmt: off
BODIES = {
    "car": (Body(((0, 0.3), (0, 0.88), (0.15, 1), (0.6, 1.45), (2.2, 1.48), (3.05, 0.98), (4.15, 0.82), (4.3, 0.3)),
                 1.8, ((0.6, 1.45, 0.98, 1.36), (1.55, 2.5, 0.98, 1.36)), (0.8, 3.45), (2, 4)),),
    "truck": (Body(((0, 0.75), (0, 3.4), (5.6, 3.4), (5.6, 0.75)), 2.4, (), (0.9, 1.9)),
              Body(((5.7, 0.4), (5.7, 2.7), (6.8, 2.7), (7.3, 1.6), (7.4, 0.4)), 2.3, ((6.2, 6.9, 1.6, 2.3),), (6.5,),
                   (2,))),
    "bus": (Body(((0, 0.35), (0, 1.3), (0, 3), (11.2, 3), (11.3, 1.2), (11.3, 0.35)), 2.5, ((0.4, 10.6, 1.4, 2.6),),
                 (2.5, 9), (1, 3)),),
    "train": (Body(((0, 0.35), (0, 1.3), (0.6, 3.4), (21, 3.4), (22, 1.3), (22.2, 0.35)), 2.4, ((1, 20.5, 1.5, 2.6),),
                   (), (1, 3)),),
    "caravan": (Body(((0, 0.45), (0, 1.2), (0.3, 2.6), (4.2, 2.6), (4.9, 1.5), (4.9, 0.45)), 2.1,
                     ((1.2, 3.4, 1.3, 2),), (2.3,), (1, 3)),),
    "trailer": (Body(((0, 0.55), (0, 1.6), (2.6, 1.6), (2.6, 0.55)), 1.7, (), (1.3,)),),
}
VEHICLE_COLORS = {
    "car": ((26, 28, 34), (188, 192, 198), (236, 238, 240), (30, 56, 120), (150, 24, 30), (88, 94, 104), (44, 84, 84)),
    "truck": ((232, 232, 236), (40, 80, 160), (170, 50, 40)),
    "bus": ((200, 34, 40), (236, 190, 40), (40, 120, 180)),
    "train": ((190, 30, 40), (220, 220, 224)),
    "caravan": ((238, 236, 228),),
    "trailer": ((60, 84, 150), (130, 134, 140)),
}
# fmt: on
GLASS, RUBBER, REAR_LAMP, FRONT_LAMP = (np.array(c) for c in ((50, 60, 74), (22, 22, 24), (214, 26, 30), (250, 246, 220)))


def side_faces(body: Body, color: np.ndarray) -> Iterator[list]:
    """Both sides: the outline, counterclockwise as seen from outside, then windows and wheels."""
    for side in (-1, 1):
        shapes = [(body.profile[::side], 0.82 * color)]
        shapes += [(box(*window), GLASS) for window in body.windows]
        for ahead in body.wheels:
            shapes += [(ellipse(ahead, 0.36, 0.36, 0.36, 18), RUBBER), (ellipse(ahead, 0.36, 0.2, 0.2), 6 * RUBBER)]
        yield [(plane((side * body.width / 2, 0, 0), (0, 0, 1), shape), paint) for shape, paint in shapes]


def cross_faces(body: Body, color: np.ndarray) -> Iterator[list]:
    """Rear, roof, windscreen and so on, with panes, lamps, bumper and tyres."""
    half, count = body.width / 2, len(body.profile)
    for edge, ((start, low), (end, high)) in enumerate(pairwise((*body.profile, body.profile[0]))):
        corner, slope = np.array((-half, low, start)), np.array((0, high - low, end - start))

        def rectangle(left, right, bottom, top, corner=corner, slope=slope, half=half) -> np.ndarray:
            """Places a part of the face, given as shares of its width and height."""
            across, along = np.moveaxis(box(left, right, bottom, top), -1, 0)[..., None]
            return corner + across * np.array((2 * half, 0, 0)) + along * slope

        light = 0.2 if edge == count - 1 else 1.1 if abs(end - start) > abs(high - low) else 0.96
        face = [(rectangle(0, 1, 0, 1)[::-1], np.minimum(250, light * color))]
        if edge in body.panes:
            face.append((rectangle(0.07, 0.93, 0.06, 0.94), GLASS))
        if edge in (0, count - 2):
            height = abs(high - low)
            bumper, lamp, plate = (np.array(up) / height for up in ((0, 0.14), (0.34, 0.54), (0.18, 0.32)))
            if edge:  # the front's edge runs downwards
                bumper, lamp, plate = 1 - bumper, 1 - lamp, 1 - plate
            face += [(rectangle(x, x + 0.16, *lamp), FRONT_LAMP if edge else REAR_LAMP) for x in (0.02, 0.82)]
            face += [(rectangle(0, 1, *bumper), 1.5 * RUBBER), (rectangle(0.36, 0.64, *plate), np.full(3, 236))]
        yield face


def vehicle_parts(scene: Scene, x: float, z: float, kind: str, turn: float) -> list[Part]:
    """The faces that the camera sees, far ones first. `turn` is the heading: 0 degrees drives away, 180 comes."""
    cosine, sine = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    length = max(ahead for body in BODIES[kind] for ahead, _ in body.profile)

    def place(points: np.ndarray) -> np.ndarray:
        across, up, ahead = np.moveaxis(points - (0, 0, length / 2), -1, 0)
        return np.stack([x + across * cosine + ahead * sine, up, z + length / 2 - across * sine + ahead * cosine], -1)

    faces = []
    for body in BODIES[kind]:
        color = scene.pick(VEHICLE_COLORS[kind])
        faces += [*side_faces(body, color), *cross_faces(body, color)]
        for ahead in body.wheels:  # between body and road, as seen from behind
            for left in (-0.97, 0.67):
                tread = [(at, up, ahead) for at, up in box(left, left + 0.3, 0, 0.7) * (body.width / 2, 1)]
                faces.append([(np.array(tread)[::-1], RUBBER)])
    faces.sort(key=lambda face: -np.linalg.norm(place(face[0][0]).mean(0)))
    parts = []
    for face in faces:
        outline = place(face[0][0])
        normal = np.cross(outline[1] - outline[0], outline[2] - outline[1])
        if normal @ (outline[0] - (0, CAMERA_HEIGHT, 0)) < 0:
            parts += [Part(scene.project(place(points)), color, amount=0.03) for points, color in face]
    return parts


def draw_vehicle(scene: Scene, x: float, z: float, kind: str, turn: float = 0.0, label: str = "", steps=(0.0,)) -> None:
    """A vehicle whose near end is at z; several steps to the right make one group of it."""
    parts = []
    for step in steps:
        cast_shadow(scene, x + step, z + 2.1, 1.2, 2.4)
        parts += vehicle_parts(scene, x + step, z, kind, turn)
    scene.add(label or kind, parts, z)
    if kind == "car" and not label and z < 28:
        scene.annotate("license plate", [facing(scene, x, z, box(-0.25, 0.25, 0.48, 0.62))])


# ---- The plan of a scene -----------------------------------------------------------------------------------------

# What comes every eighth time, by the picture's index: drawing, metres right of the left (-1) or right (1) kerb or of
# the camera (0), metres ahead, further arguments. So every label is in a data set, not by chance.
FEATURES = (
    (
        (draw_patch, 1, 0.1, 34, "parking", 3.0),
        (draw_vehicle, 1, 1.3, 14, "car", 20, "cargroup", (3.8, 1.9, 0.0)),
        (draw_sprite, 1, -0.5, 9.5, "motorcycle"),
    ),
    ((draw_patch, -1, 0.1, 90, "rail track", 3.0), (draw_vehicle, -1, 1.5, 20, "train", 180)),
    ((draw_barrier, 1, 0.3, 40, 6.5, "guard rail"), (draw_vehicle, 0, 0.2, 17, "truck")),
    ((draw_bridge, 0, -1.8, 30, 4.5), (draw_vehicle, -1, 2.2, 17, "bus", 180)),
    ((draw_tunnel, 0, -1.8, 48, 4.5), (draw_sprite, 1, -0.2, 11, "polegroup")),
    ((draw_vehicle, -1, 1.2, 12, "caravan"), (draw_vehicle, 1, -1.0, 11, "trailer")),
    (
        (draw_patch, 1, 0.1, 24, "ground", 6.0),
        (draw_sprite, 1, 0.2, 12, "person", "persongroup", (0.0, 0.42, 0.85, 1.2)),
        (draw_sprite, 1, -0.6, 9.5, "dynamic"),
    ),
    (
        (draw_barrier, -1, -1.8, 26, 10.5, "wall"),
        (draw_barrier, 1, 2.4, 26, 9, "fence"),
        (draw_sprite, 1, -0.2, 10, "bicycle", "bicyclegroup", (0.0, 0.5, 1.0)),
        (draw_sprite, -1, 0.2, 11, "dynamic"),
    ),
)


def plan_side(scene: Scene, front: float, end: float) -> None:
    """Lines one side of the street with houses, parks and yards."""
    side, near = np.sign(front), scene.random.uniform(2, 6)
    while near < end:
        far = near + scene.random.uniform(9, 20)
        kind = scene.random.choice(("houses", "park", "wall", "fence"), p=(0.68, 0.14, 0.09, 0.09))
        if kind == "houses":
            scene.later(draw_building, front, far, near, scene.random.integers(2, 5))
        else:
            for z in np.arange(near + 2, far, 4):
                x = front + side * scene.random.uniform(1.5, 6)
                scene.later(draw_tree, x, far + z / 1000, scene.random.uniform(0.9, 1.4))
            barrier = (draw_hedge, front, far, near) if kind == "park" else (draw_barrier, front, far, near, kind)
            scene.later(*barrier)
        near = far


def plan_kerb(scene: Scene, kerb: float) -> None:
    """Lamps, trees, signs, containers and parked cars on one side of the street."""
    side, random = np.sign(kerb), scene.random
    x = kerb + 0.5 * side
    for z in np.arange(random.uniform(9, 15), 70, 14):
        scene.later(draw_pole, x, z, 7.0, -1.4 * side)
    for z in np.arange(random.uniform(13, 24), 70, 12):
        if random.random() < 0.7:
            scene.later(draw_tree, x + 0.7 * side, z, random.uniform(0.7, 1.05))
    for label, near, far in (("traffic sign", 9, 18), ("traffic sign", 16, 30), ("traffic light", 12, 26)):
        scene.later(draw_sign, x, random.uniform(near, far), label)
    scene.later(draw_sprite, x + 0.8 * side, random.uniform(11, 24), "static")
    for z in np.arange(random.uniform(10, 18), 60, 6.2):
        if random.random() < 0.4:
            scene.later(draw_vehicle, kerb - 0.9 * side, z, "car", 180 * (side < 0))


def plan_road(scene: Scene, street: Street) -> None:
    """Driving cars, people on foot, riders."""
    random = scene.random
    scene.later(draw_vehicle, random.uniform(-0.3, 0.3), random.uniform(13, 32), "car")
    for z in np.cumsum(random.uniform(12, 26, 3)):
        kind = random.choice(("car", "truck", "bus"), p=(0.7, 0.15, 0.15))
        scene.later(draw_vehicle, 0.45 * street.left_kerb - 0.6, z + 4, kind, 180)
    for z in random.uniform(8.5, 13, 2):
        scene.later(draw_sprite, random.uniform(-0.38, 0.38) * z, z, "person")
    for z in random.uniform(13, 45, 8):
        left = (street.left_front, street.left_kerb)
        ends = left if random.random() < 0.5 else (street.right_kerb, street.right_front)
        scene.later(draw_sprite, random.uniform(*ends), z, "person")
    machines = ("bicycle", "motorcycle")[: 1 + (random.random() < 0.4)]
    for machine in machines:
        scene.later(draw_rider, random.uniform(-4, 2.2), random.uniform(10, 20), machine)


def draw_scene(size: tuple[int, int], seed: list[int], index: int) -> Scene:
    """Paints one street, everything in it, and the camera's own frame around it."""
    scene = Scene(size, seed)
    feature = FEATURES[index % len(FEATURES)]
    left, right = scene.random.uniform(-6.6, -5.4), scene.random.uniform(2.3, 3.1)
    tunnel = any(draw is draw_tunnel for draw, *_ in feature)
    street = Street(left - scene.random.uniform(2.4, 4), left, right, right + scene.random.uniform(2.8, 4), 110)
    draw_sky(scene)
    draw_ground(scene, street)
    draw_far_end(scene, -4, 122)
    for front, kerb in ((street.left_front, left), (street.right_front, right)):
        plan_side(scene, front, 46 if tunnel else street.end)
        plan_kerb(scene, kerb)
    plan_road(scene, street)
    for draw, side, x, z, *arguments in feature:
        scene.later(draw, x + {-1: left, 0: 0, 1: right}[side], z, *arguments)
    patches = [draw for _, draw in scene.waiting if draw.func is draw_patch]
    for draw in patches + [draw for _, draw in sorted(scene.waiting, key=lambda entry: -entry[0])]:
        draw()
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
    shine = np.concatenate([edge + (0, 0.008), edge[::-1] + (0, 0.02)])
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
    tint = scene.random.uniform(0.8, 1.1) * (1 + scene.warmth * np.array((0.07, 0.0, -0.07)))
    pixels = cv2.GaussianBlur(scene.picture, (0, 0), 0.35 + 0.0005 * scene.height) * tint.astype(np.float32)
    pixels += 3 * scene.random.standard_normal(pixels.shape, np.float32)
    scene.picture = np.clip(pixels, 0, 255).astype(np.uint8)


# ---- Files -------------------------------------------------------------------------------------------------------


def draw_labels(size: tuple[int, int], objects: list[dict]) -> dict[str, Image.Image]:
    """Draws the three label pictures as cityscapesscripts does in json2labelImg and json2instanceImg."""
    height, width = size
    pictures = {
        "labelIds": Image.new("L", (width, height), 0),
        "instanceIds": Image.new("I", (width, height), 0),
        "color": Image.new("RGBA", (width, height), (0, 0, 0)),
    }
    drawers = {name: ImageDraw.Draw(picture) for name, picture in pictures.items()}
    seen: dict[str, int] = {}
    for entry in objects:
        name = entry["label"]
        label = LABEL_BY_NAME[name if name in LABEL_BY_NAME else name.removesuffix("group")]
        if label.id < 0:
            continue  # license plates are annotated, not drawn
        instance = label.id
        if label.has_instances and name == label.name:
            instance = label.id * 1000 + seen.get(name, 0)
            seen[name] = seen.get(name, 0) + 1
        polygon = [tuple(point) for point in entry["polygon"]]
        for kind, value in (("labelIds", label.id), ("instanceIds", instance), ("color", label.color)):
            drawers[kind].polygon(polygon, fill=value)
    return pictures


def write_picture(out: Path, size: tuple[int, int], seed: int, split: str, index: int) -> None:
    """Draws picture `index` of a split and writes its five files."""
    scene = draw_scene(size, [seed, list(CITIES).index(split), index], index)
    cities = CITIES[split]
    city = cities[index % len(cities)]
    name = f"{city}_{index // len(cities):06d}_000019"
    # As in Cityscapes, the labels of the test split are secret: only the camera's own frame is given.
    objects = [entry for entry in scene.objects if split != "test" or entry["label"] in FRAME_LABELS]
    pictures, labels = out / "leftImg8bit" / split / city, out / "gtFine" / split / city
    pictures.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.picture).save(pictures / f"{name}_leftImg8bit.png", compress_level=1)  # noise hardly packs
    for kind, picture in draw_labels(size, objects).items():
        picture.save(labels / f"{name}_gtFine_{kind}.png")
    annotation = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
    (labels / f"{name}_gtFine_polygons.json").write_text(json.dumps(annotation), encoding="utf-8")


def make_sample_city(
    out: str | Path, size: tuple[int, int], counts: dict[str, int], seed: int = 0, workers: int | None = None
) -> bool:
    """Writes a data set of invented street scenes in the layout of Cityscapes, whole or not at all.

    Args:
        out: folder to make.
        size: (height, width) of a picture in pixels, at least 64x128.
        counts: pictures a split, for each of train, val and test.
        seed: the same seed, size and counts give the same bytes, whatever `workers` is.
        workers: processes; None is one a core.

    Returns:
        True if it was written, False if `out` already holds exactly this data set.

    Raises:
        ValueError: a parameter is out of range, or `out` holds something else.
    """
    out = Path(out)
    check_parameters(size, counts, seed, workers)
    parameters = {"size": list(size), "counts": {split: counts[split] for split in CITIES}, "seed": seed}
    if is_finished(out, parameters):
        return False
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.parent))
    try:
        unfinished.chmod(0o755)  # mkdtemp lets nobody else in
        write_pictures(unfinished, size, counts, seed, workers or os.cpu_count() or 1)
        (unfinished / PARAMETERS).write_text(json.dumps(parameters) + "\n", encoding="utf-8")
        if out.exists():
            out.rmdir()  # empty, or is_finished would have refused it
        unfinished.rename(out)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return True


def check_parameters(size: tuple[int, int], counts: dict[str, int], seed: int, workers: int | None) -> None:
    if size[0] < SMALLEST_SIZE[0] or size[1] < SMALLEST_SIZE[1]:
        raise ValueError(f"expected a size of at least {SMALLEST_SIZE[0]}x{SMALLEST_SIZE[1]}, got {size[0]}x{size[1]}")
    if sorted(counts) != sorted(CITIES):
        raise ValueError(f"expected counts for {', '.join(CITIES)}, got {', '.join(counts) or 'none'}")
    for split, count in counts.items():
        if count < 1:
            raise ValueError(f"expected at least 1 picture for {split}, got {count}")
    if seed < 0:
        raise ValueError(f"expected a seed of 0 or more, got {seed}")
    if workers is not None and workers < 1:
        raise ValueError(f"expected at least 1 worker, got {workers}")


def is_finished(out: Path, parameters: dict) -> bool:
    """True if the folder holds this very data set, False if it is empty or missing; anything else is refused."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / PARAMETERS).is_file():
        raise ValueError(f"{out} exists and is no sample city; name another folder, or remove this one first")
    found = json.loads((out / PARAMETERS).read_text(encoding="utf-8"))
    if found != parameters:
        raise ValueError(f"{out} was made with {found}, not {parameters}; name another folder, or remove this one first")
    return True


def write_pictures(out: Path, size: tuple[int, int], counts: dict[str, int], seed: int, workers: int) -> None:
    jobs = [(split, index) for split in CITIES for index in range(counts[split])]
    write = partial(write_picture, out, size, seed)
    with tqdm(total=len(jobs), unit="picture") as progress:
        if workers == 1:
            for job in jobs:
                write(*job)
                progress.update()
            return
        # Spawned, not forked: the same on every system, and safe next to threads of the caller.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=start_worker) as executor:
            try:
                for _ in executor.map(write, *zip(*jobs, strict=True), chunksize=4):
                    progress.update()
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise


def start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which then ends its workers in order
    cv2.setNumThreads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws a small data set in the layout of Cityscapes.")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make; it must not hold anything else yet")
    parser.add_argument("--size", default="1024x2048", help="HEIGHTxWIDTH of a picture in pixels (default: %(default)s)")
    for split, count in (("train", 60), ("val", 20), ("test", 10)):
        parser.add_argument(
            f"--{split}", type=int, default=count, metavar="N", help=f"{split} pictures (default: %(default)s)"
        )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    options = parser.parse_args()
    counts = {"train": options.train, "val": options.val, "test": options.test}
    made = make_sample_city(options.out, cli.parse_size(options.size), counts, options.seed, options.workers)
    print(f"{sum(counts.values())} pictures and their labels {'lie' if made else 'already lie'} in {options.out}")


if __name__ == "__main__":
    cli.run(main)
