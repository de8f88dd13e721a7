"""Street scenes: one seeded image and the polygons of its labels, for python -m tfseg.sample_city.

A scene is a street in metres before a pinhole camera, painted from far to near; what is painted is recorded as
polygons. Rare labels come in turn, by the image's index, so that 16 images hold every label. The things have one
look each: a score on them says that the pipeline works, no more.
"""

import cv2
import numpy as np

from tfseg.synthetic.canvas import Part, Scene, box
from tfseg.synthetic.sprites import draw_pole, draw_rider, draw_sign, draw_sprite
from tfseg.synthetic.surroundings import draw_barrier, draw_building, draw_ground, draw_patch, draw_sky, draw_tree
from tfseg.synthetic.vehicles import draw_vehicle

FRAME_LABELS = ("ego vehicle", "rectification border", "out of roi")

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
    for x in np.delete(np.arange(-60.0, 60, 10), scene.random.integers(5, 7)):
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
        left, right = sorted(sides[random.integers(2)])
        scene.later(draw_sprite, random.uniform(left, right), z, "person")
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
