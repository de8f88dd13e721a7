"""Flat things of a street scene, which face the camera: people, two-wheelers, signs, poles, bridges."""

from itertools import pairwise

import numpy as np

from tfseg.synthetic.canvas import Part, Scene, box, cast_shadow, ellipse, facing, limb

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
