"""What a street scene happens in: sky, ground and road, buildings and nature along the street."""

import numpy as np

from tfseg.synthetic.canvas import (
    HORIZON,
    Part,
    Scene,
    box,
    cast_shadow,
    ellipse,
    facing,
    limb,
    on_ground,
    plane,
    strip,
)

WALL_COLORS = ((196, 176, 140), (178, 112, 88), (206, 196, 176), (156, 124, 98), (188, 150, 112), (170, 158, 150))
ROOF_COLORS = ((142, 74, 58), (112, 66, 56), (92, 86, 88))
LEAF_COLORS = ((62, 104, 42), (82, 122, 48), (48, 92, 50), (104, 130, 52))
BARRIERS = {  # label: low and high edge, colour, distance of the rows and of the columns drawn on it, grain
    "wall": (0, 2.1, (150, 138, 130), 0.5, 2.0, "fine"),
    "fence": (0.05, 1.5, (140, 96, 66), 0.7, 0.4, "fine"),
    "guard rail": (0.3, 0.85, (196, 172, 150), 0.2, 2.0, "fine"),
    "vegetation": (0, 1.4, (76, 112, 48), 9, 99, "leaf"),
}


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
