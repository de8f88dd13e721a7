"""Vehicles of a street scene, drawn from their side views."""

from functools import partial
from typing import NamedTuple

import numpy as np

from tfseg.synthetic.canvas import Part, Scene, box, cast_shadow, ellipse, facing, plane
from tfseg.synthetic.sprites import PAINTS, sprite_parts


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
