"""Things that move in the background: flat shapes made of polygons, and the paths they take.

Lengths are in heights of the picture, from the middle of the canvas, y down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.demo.figure import FIX, Array, fixed

Colour = tuple[int, int, int]
Shapes = list[tuple[Colour, Array]]


@dataclass(frozen=True)
class Mover:
    """A thing on a path: polygons ``(colour, (n, 2) points)`` and ``(F, 4)`` x, y, scale and angle in radians."""

    shapes: Shapes
    path: Array

    def polygons(self, views: Array, unit: float) -> list[tuple[Colour, NDArray[np.int32]]]:
        """Its polygons in the picture, ``(F, n, 2)`` fixed point each; ``views`` ``(F, 2, 3)`` map pixels from the
        middle of the canvas to the picture, ``unit`` is the number of them in a height."""
        x, y, scale, angle = self.path.T
        turn = np.empty((len(x), 2, 2))
        turn[:, 0, 0] = turn[:, 1, 1] = scale * np.cos(angle)
        turn[:, 1, 0] = scale * np.sin(angle)
        turn[:, 0, 1] = -turn[:, 1, 0]
        linear = views[:, :, :2] @ turn * unit
        shift = np.einsum("fij,fj->fi", views[:, :, :2], np.stack([x, y], axis=1) * unit) + views[:, :, 2]
        return [(colour, fixed(points @ linear.transpose(0, 2, 1) + shift[:, None])) for colour, points in self.shapes]


def draw_all(image: NDArray[np.uint8], polygons: list[tuple[Colour, NDArray[np.int32]]], frame: int) -> None:
    """Paint the polygons of movers as they are in ``frame`` over an RGB image, in place."""
    for colour, points in polygons:
        cv2.fillPoly(image, [points[frame]], colour, cv2.LINE_AA, FIX)


def sway(times: Array, rng: np.random.Generator, x: float, y: float, scale: float, angle: float = 0.07) -> Array:
    """Rooted at one place, swinging about it by up to ``angle``."""
    rate, phase = rng.uniform(0.25, 0.8), rng.uniform(0, 2 * np.pi)
    swing = angle * np.sin(2 * np.pi * rate * times + phase)
    return _path(times, x, y, scale, swing)


def crossing(shapes: Shapes, times: Array, rng: np.random.Generator, y: float, speed: float) -> Mover:
    """Something that faces right, sent from side to side, again and again, at ``speed`` heights a second; half of
    the time mirrored and leftward."""
    way = float(rng.choice((-1.0, 1.0)))
    turned: Shapes = [(colour, points * (way, 1.0)) for colour, points in shapes]
    return Mover(turned, _path(times, _around(times, rng, way * speed), y, 1.0, 0.0))


def _around(times: Array, rng: np.random.Generator, speed: float) -> Array:
    return np.asarray((rng.uniform(0, 4.2) + speed * times) % 4.2 - 2.1)


def drift(
    times: Array, rng: np.random.Generator, across: tuple[float, float], down: tuple[float, float], speed: float
) -> Array:
    """Floating about inside a rectangle; ``speed`` is about the number of there-and-backs a second."""
    rates, phases = speed * rng.uniform(0.6, 1.4, 2), rng.uniform(0, 2 * np.pi, 2)
    spot = np.sin(2 * np.pi * rates * times[:, None] + phases) / 2 + 0.5
    return _path(
        times, across[0] + spot[:, 0] * (across[1] - across[0]), down[0] + spot[:, 1] * (down[1] - down[0]), 1.0, 0.0
    )


def bounce(times: Array, rng: np.random.Generator, floor: float) -> Array:
    """Hopping along on ``floor``, turning."""
    rate, phase = rng.uniform(0.5, 1.2), rng.uniform(0, 1)
    hop = 0.22 * np.abs(np.sin(np.pi * (rate * times + phase)))
    x = _around(times, rng, rng.uniform(-0.3, 0.3))
    return _path(times, x, floor - hop, 1.0, 4 * x)


def flutter(times: Array, rng: np.random.Generator, y: float) -> Array:
    """Flying across, up and down and rolling with the wings."""
    speed = rng.uniform(0.15, 0.5)
    height = y + 0.05 * np.sin(2 * np.pi * 0.4 * times + rng.uniform(0, 6))
    roll = 0.3 * np.sin(2 * np.pi * 1.7 * times + rng.uniform(0, 6))
    return _path(times, _around(times, rng, speed * float(rng.choice((-1.0, 1.0)))), height, 1.0, roll)


def _path(times: Array, *columns: Array | float) -> Array:
    return np.stack([np.broadcast_to(np.asarray(column, dtype=float), times.shape) for column in columns], axis=1)


def oval(x: float, y: float, wide: float, high: float) -> Array:
    """A closed curve of 20 points."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + wide * np.cos(angle), y + high * np.sin(angle)], axis=1)


def box(x0: float, y0: float, x1: float, y1: float) -> Array:
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def near(colour: Colour, rng: np.random.Generator, spread: float = 14) -> Colour:
    """A colour like the given one."""
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, spread / 2, 3) + rng.normal(0, spread / 2), 0, 255)
    return int(red), int(green), int(blue)


def shade(colour: Colour, factor: float) -> Colour:
    """The same colour lit differently."""
    return tuple(min(255, int(level * factor)) for level in colour)  # type: ignore[return-value]  # three levels


def pick(options: Sequence[Colour], rng: np.random.Generator) -> Colour:
    return options[int(rng.integers(len(options)))]


_GAY = [(206, 78, 66), (228, 160, 62), (76, 138, 176), (110, 158, 92), (150, 96, 160), (236, 206, 110), (222, 222, 214)]


def vivid(rng: np.random.Generator) -> Colour:
    """A colour for something that is meant to be seen."""
    return near(pick(_GAY, rng), rng)


def tree(rng: np.random.Generator) -> Shapes:
    leaf = near((70, 128, 66), rng, 24)
    shapes: Shapes = [((104, 78, 56), np.array([(-0.02, 0), (0.02, 0), (0.012, -0.26), (-0.012, -0.26)]))]
    for x, y, radius in ((-0.07, -0.27, 0.09), (0.07, -0.28, 0.09), (0.0, -0.37, 0.11)):
        shapes.append((shade(leaf, 0.88), oval(x, y, radius * 1.08, radius * 1.08)))
    shapes += [(leaf, oval(x, y, 0.08, 0.07)) for x, y in ((-0.05, -0.31), (0.05, -0.33), (0.0, -0.4))]
    return shapes


def cloud(rng: np.random.Generator) -> Shapes:
    return [
        ((246, 248, 250), oval(x, rng.uniform(-0.01, 0.01), rng.uniform(0.06, 0.11), rng.uniform(0.03, 0.05)))
        for x in (-0.1, 0.0, 0.1)
    ]


def bird(rng: np.random.Generator) -> Shapes:
    ink = near((60, 62, 74), rng)
    wings = [(-0.06, -0.03), (-0.02, -0.01), (0, 0.008), (0.02, -0.01), (0.06, -0.03), (0.02, 0.006), (0, 0.02)]
    return [(ink, np.array([*wings, (-0.02, 0.006)]))]


def ball(rng: np.random.Generator) -> Shapes:
    colour = vivid(rng)
    return [(shade(colour, 0.6), oval(0, 0, 0.045, 0.045)), (colour, oval(0, 0, 0.038, 0.038)),
            ((246, 246, 240), box(-0.036, -0.008, 0.036, 0.008))]  # fmt: skip


def car(rng: np.random.Generator) -> Shapes:
    colour = vivid(rng)
    roof = np.array([(-0.13, -0.08), (-0.09, -0.15), (0.06, -0.15), (0.12, -0.08)])
    glass = np.array([(-0.105, -0.085), (-0.08, -0.138), (0.05, -0.138), (0.095, -0.085)])
    body = np.array([(-0.2, -0.02), (-0.2, -0.07), (-0.13, -0.09), (0.12, -0.09), (0.2, -0.065), (0.21, -0.02)])
    shapes: Shapes = [(shade(colour, 0.8), roof), ((186, 212, 226), glass), (colour, body)]
    for x in (-0.12, 0.12):
        shapes += [((40, 40, 44), oval(x, -0.015, 0.04, 0.04)), ((170, 170, 172), oval(x, -0.015, 0.018, 0.018))]
    return shapes


def curtain(rng: np.random.Generator) -> Shapes:
    colour = vivid(rng)
    folds = [(-0.08, 0), (0.08, 0), (0.09, 0.58), (0.04, 0.6), (0.0, 0.58), (-0.04, 0.6), (-0.09, 0.58)]
    shapes: Shapes = [(colour, np.array(folds))]
    return shapes + [(shade(colour, 0.85), box(x, 0.01, x + 0.025, 0.57)) for x in (-0.06, -0.01, 0.04)]


def television(times: Array, rng: np.random.Generator) -> list[Mover]:
    """A set that stands still, and stripes that move on its screen."""
    x, y = rng.uniform(-1.0, 0.6), rng.uniform(-0.28, -0.12)
    case: Shapes = [((36, 36, 42), box(-0.2, -0.13, 0.2, 0.13)), ((70, 104, 130), box(-0.18, -0.11, 0.18, 0.11))]
    movers = [Mover(case, _path(times, x, y, 1.0, 0.0))]
    for width in (0.09, 0.06, 0.04):
        stripe = drift(times, rng, (x - 0.17 + width, x + 0.17 - width), (y - 0.01, y + 0.01), rng.uniform(0.3, 0.9))
        movers.append(Mover([(vivid(rng), box(-width, -0.09, width, 0.09))], stripe))
    return movers


def plant(rng: np.random.Generator) -> Shapes:
    leaf, pot = near((84, 142, 84), rng), near((176, 104, 76), rng)
    shapes: Shapes = []
    for lean in np.linspace(-1.0, 1.0, 7):
        tip = (0.24 * np.sin(lean), -0.08 - 0.26 * np.cos(lean))
        blade = [(-0.015, -0.08), (tip[0] * 0.6 - 0.03, tip[1] * 0.7), tip, (tip[0] * 0.6 + 0.03, tip[1] * 0.7 + 0.02)]
        shapes.append((shade(leaf, 0.85 + 0.25 * rng.random()), np.array([*blade, (0.015, -0.08)])))
    return [*shapes, (pot, np.array([(-0.06, -0.09), (0.06, -0.09), (0.045, 0.02), (-0.045, 0.02)]))]


def pendulum(rng: np.random.Generator) -> Shapes:
    brass = near((206, 170, 90), rng)
    return [((90, 70, 50), box(-0.008, 0, 0.008, 0.22)), (brass, oval(0, 0.24, 0.045, 0.045))]


def cat(rng: np.random.Generator) -> Shapes:
    fur = near(pick([(90, 84, 84), (190, 130, 80), (230, 224, 214)], rng), rng)
    shapes: Shapes = [(shade(fur, 0.8), box(x, -0.05, x + 0.015, 0)) for x in (-0.06, -0.04, 0.03, 0.05)]
    shapes.append((shade(fur, 0.9), np.array([(-0.07, -0.07), (-0.13, -0.16), (-0.115, -0.165), (-0.05, -0.09)])))
    ears = np.array([(0.05, -0.12), (0.055, -0.17), (0.08, -0.145), (0.105, -0.17), (0.11, -0.12)])
    return [*shapes, (fur, oval(0, -0.07, 0.08, 0.035)), (fur, oval(0.08, -0.11, 0.038, 0.034)), (fur, ears)]


def flag(rng: np.random.Generator) -> Shapes:
    first, second = vivid(rng), vivid(rng)
    return [(first, box(-0.06, 0, 0.06, 0.14)), (second, box(-0.06, 0.14, 0.06, 0.28))]


def balloon(rng: np.random.Generator) -> Shapes:
    colour = vivid(rng)
    string = np.array([(-0.003, 0.07), (0.003, 0.07), (0.012, 0.2), (0.006, 0.2)])
    return [((220, 220, 220), string), (colour, oval(0, 0, 0.055, 0.07)),
            (tuple(min(255, level + 40) for level in colour), oval(-0.018, -0.025, 0.014, 0.02))]  # type: ignore[list-item]  # fmt: skip


def boat(rng: np.random.Generator) -> Shapes:
    sail, hull = vivid(rng), np.array([(-0.1, -0.03), (0.11, -0.03), (0.07, 0.02), (-0.07, 0.02)])
    return [
        ((246, 246, 242), np.array([(0.0, -0.24), (0.0, -0.045), (0.1, -0.045)])),
        (sail, np.array([(-0.012, -0.2), (-0.012, -0.045), (-0.08, -0.045)])),
        ((112, 76, 56), hull),
    ]


def umbrella(rng: np.random.Generator) -> Shapes:
    first = vivid(rng)
    pole: Shapes = [((150, 120, 90), box(-0.006, -0.36, 0.006, 0))]
    edge = np.linspace(-1, 1, 7)
    for index in range(6):
        left, right = edge[index], edge[index + 1]
        panel = [(0.0, -0.42), (0.17 * left, -0.33 + 0.03 * left**2), (0.17 * right, -0.33 + 0.03 * right**2)]
        pole.append((first if index % 2 else (244, 240, 232), np.array(panel)))
    return pole


def wave(rng: np.random.Generator) -> Shapes:
    x = np.linspace(-2.2, 2.2, 81)
    crest = 0.012 * np.sin(22 * x + rng.uniform(0, 6))
    upper, lower = np.stack([x, crest], axis=1), np.stack([x, crest + 0.018], axis=1)
    return [((214, 238, 236), np.concatenate([upper, lower[::-1]]))]
