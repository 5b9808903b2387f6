"""Backgrounds: five painted places, and the things that move in them.

Coordinates are canvas pixels: the canvas is :data:`CANVAS` times as wide and high as the picture, and the camera
moves over it. Lengths below are in units of the picture's height, from the middle of the canvas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.demo import props
from untrimmed.demo.figure import FIX, Array
from untrimmed.demo.props import (
    Colour,
    Mover,
    Shapes,
    bounce,
    crossing,
    drift,
    flutter,
    near,
    oval,
    pick,
    shade,
    sway,
    vivid,
)

CANVAS = (1.8, 1.6)
GROUND = 0.43
"""Where figures stand, below the middle of the canvas."""
HORIZON = 0.12
_OVER = 2


@dataclass(frozen=True)
class Place:
    """A painted canvas, RGB ``(H, W, 3)`` uint8, and what moves in front of it, far to near."""

    canvas: NDArray[np.uint8]
    movers: tuple[Mover, ...]


class Painter:
    """Draws on a canvas in heights from its middle, twice as large as needed and then reduced."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.unit = size[1]
        self.width, self.height = (round(side * times) for side, times in zip(size, CANVAS, strict=True))
        self.image = np.zeros((self.height * _OVER, self.width * _OVER, 3), dtype=np.uint8)
        self.left, self.top = -self.width / 2 / self.unit, -self.height / 2 / self.unit
        self.right, self.bottom = -self.left, -self.top

    def polygon(self, points: Sequence[tuple[float, float]] | Array, colour: Colour) -> None:
        middle = np.array([self.width, self.height]) / 2
        spots = (np.asarray(points) * self.unit + middle) * _OVER * (1 << FIX)
        cv2.fillPoly(self.image, [np.round(spots).astype(np.int32)], colour, cv2.LINE_AA, FIX)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour, flat: float = 1.0) -> None:
        self.polygon(oval(x, y, radius, radius * flat), colour)

    def fade(self, y0: float, y1: float, upper: Colour, lower: Colour) -> None:
        """A gradient over the whole width between two heights."""
        rows = np.arange(len(self.image)) / _OVER / self.unit + self.top
        weight = np.clip((rows - y0) / (y1 - y0), 0, 1)[:, None, None]
        inside = (rows >= y0) & (rows <= y1)
        self.image[inside] = (np.array(upper) * (1 - weight) + np.array(lower) * weight)[inside]

    def floor(self, horizon: float, far: Colour, close: Colour, line: Colour, lines: int) -> None:
        """A gradient from ``horizon`` down, with lines that run towards the camera."""
        self.fade(horizon, self.bottom, far, close)
        for x in np.linspace(-2.2, 2.2, lines):
            left, right = 2.2 * x, 2.2 * x + 0.015
            self.polygon([(x, horizon), (x + 0.008, horizon), (right, self.bottom), (left, self.bottom)], line)

    def finish(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The canvas at its true size, with a faint grain, so that no surface is without texture."""
        small = cv2.resize(self.image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        coarse = rng.normal(0, 4, (self.height // 3, self.width // 3))
        grain = cv2.resize(coarse, (self.width, self.height)) + rng.normal(0, 1.5, small.shape[:2])
        return np.asarray(np.clip(small + grain[:, :, None], 0, 255), dtype=np.uint8)


class Scene:
    """A place in the making: the painter, the source of chance, and the movers so far, far to near."""

    def __init__(self, size: tuple[int, int], times: Array, rng: np.random.Generator, clutter: float) -> None:
        self.art = Painter(size)
        self.times, self.rng, self.clutter = times, rng, clutter
        self.movers: list[Mover] = []

    def add(self, usual: float, make: Callable[[], Mover]) -> None:
        """Add about ``usual`` things, in proportion to the clutter."""
        count = min(8, int(self.rng.poisson(usual * self.clutter)))
        self.movers.extend(make() for _ in range(count))

    def across(self, shapes: Shapes, low: float, high: float, slow: float, fast: float) -> Mover:
        """Something that crosses at a height between ``low`` and ``high``."""
        return crossing(shapes, self.times, self.rng, self.rng.uniform(low, high), self.rng.uniform(slow, fast))

    def rooted(self, shapes: Shapes, x: float, y: float, angle: float, scale: float = 1.0) -> Mover:
        """Something that swings about one place."""
        return Mover(shapes, sway(self.times, self.rng, x, y, scale, angle))

    def floating(self, shapes: Shapes, low: float, high: float) -> Mover:
        """Something that drifts about between two heights."""
        path = drift(self.times, self.rng, (-1.0, 1.0), (low, high), self.rng.uniform(0.1, 0.4))
        return Mover(shapes, path)


def paint(size: tuple[int, int], times: Array, rng: np.random.Generator, clutter: float) -> Place:
    """One of the places, drawn by chance.

    Args:
        size: width and height of the picture in pixels.
        times: ``(F,)`` seconds at which it will be shown.
        rng: source of chance.
        clutter: how much moves in it, 0 for nothing.
    """
    scene = Scene(size, times, rng, clutter)
    PLACES[int(rng.integers(len(PLACES)))](scene)
    return Place(scene.art.finish(rng), tuple(scene.movers))


def _park(scene: Scene) -> None:
    art, rng = scene.art, scene.rng
    art.fade(art.top, HORIZON, near((120, 175, 225), rng), near((215, 232, 240), rng))
    art.disc(rng.uniform(-0.9, 0.9), rng.uniform(-0.55, -0.35), 0.07, (255, 244, 190))
    for tone, level, high in (((128, 165, 150), -0.02, 0.10), ((98, 146, 112), 0.06, 0.07)):
        x = np.linspace(art.left, art.right, 60)
        ridge = level - high * (np.sin(3 * x + rng.uniform(0, 6)) + 0.5 * np.sin(7 * x + rng.uniform(0, 6)))
        art.polygon([*zip(x, ridge, strict=True), (art.right, art.bottom), (art.left, art.bottom)], near(tone, rng))
    art.fade(HORIZON, art.bottom, near((126, 170, 88), rng), near((84, 132, 62), rng))
    art.polygon([(-0.25, HORIZON), (-0.1, HORIZON), (0.7, art.bottom), (-1.0, art.bottom)], (206, 190, 152))
    if rng.random() < 0.6:
        for post in np.arange(art.left, art.right, 0.14):
            art.box(post, HORIZON - 0.09, post + 0.025, HORIZON + 0.03, (176, 146, 112))
        art.box(art.left, HORIZON - 0.06, art.right, HORIZON - 0.035, (188, 158, 122))
    spots = iter(rng.permutation(np.linspace(-1.1, 1.1, 8)))
    scene.add(
        5,
        lambda: scene.rooted(
            props.tree(rng), next(spots), HORIZON + rng.uniform(0, 0.07), angle=0.07, scale=rng.uniform(0.7, 1.2)
        ),
    )
    scene.add(4, lambda: scene.across(props.cloud(rng), -0.65, -0.3, 0.02, 0.08))
    scene.add(3, lambda: Mover(props.bird(rng), flutter(scene.times, rng, rng.uniform(-0.5, -0.1))))
    scene.add(1.5, lambda: Mover(props.ball(rng), bounce(scene.times, rng, GROUND - 0.08)))


def _room(scene: Scene) -> None:
    art, rng = scene.art, scene.rng
    wall = near(pick([(226, 212, 190), (196, 212, 214), (220, 202, 206), (206, 214, 190)], rng), rng)
    art.fade(art.top, HORIZON + 0.06, wall, shade(wall, 0.9))
    art.box(art.left, HORIZON + 0.04, art.right, HORIZON + 0.07, (244, 240, 232))
    floor = near(pick([(176, 132, 92), (150, 118, 92), (190, 160, 126)], rng), rng)
    art.floor(HORIZON + 0.07, shade(floor, 0.85), floor, shade(floor, 0.75), 23)
    art.disc(0.0, GROUND + 0.03, rng.uniform(0.55, 0.8), near((160, 84, 78), rng, 40), 0.25)
    window = rng.uniform(-0.95, 0.5)
    art.box(window - 0.02, -0.57, window + 0.42, -0.06, (250, 248, 242))
    art.box(window, -0.55, window + 0.4, -0.08, (172, 208, 232))
    art.box(window + 0.19, -0.55, window + 0.21, -0.08, (250, 248, 242))
    for _ in range(int(rng.integers(2, 5))):
        x, y, w, h = rng.uniform(-1.2, 1.0), rng.uniform(-0.6, -0.25), rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.25)
        art.box(x, y, x + w, y + h, (92, 70, 52))
        art.box(x + 0.015, y + 0.015, x + w - 0.015, y + h - 0.015, vivid(rng))
    _shelf(art, rng, rng.uniform(-1.2, 1.0))
    if scene.clutter:
        cloth = props.curtain(rng)
        scene.movers += [scene.rooted(cloth, window + side, -0.6, angle=0.05) for side in (0.02, 0.38)]
    for _ in range(int(rng.poisson(0.8 * scene.clutter))):
        scene.movers += props.television(scene.times, rng)
    scene.add(1.5, lambda: scene.rooted(props.plant(rng), rng.uniform(-1.0, 1.0), HORIZON + 0.16, angle=0.08))
    scene.add(0.8, lambda: scene.rooted(props.pendulum(rng), rng.uniform(-0.9, 0.9), -0.5, angle=0.35))
    scene.add(1, lambda: scene.across(props.cat(rng), HORIZON + 0.12, HORIZON + 0.16, 0.1, 0.25))


def _shelf(art: Painter, rng: np.random.Generator, left: float) -> None:
    for level in (-0.18, -0.03):
        art.box(left, level, left + 0.45, level + 0.02, (122, 88, 60))
        for book in np.arange(left + 0.02, left + 0.4, 0.036):
            art.box(book, level - rng.uniform(0.07, 0.12), book + 0.03, level, vivid(rng))


def _street(scene: Scene) -> None:
    art, rng = scene.art, scene.rng
    art.fade(art.top, HORIZON, near((168, 190, 216), rng), near((232, 226, 216), rng))
    left = art.left
    while left < art.right:
        width = rng.uniform(0.25, 0.5)
        _house(art, rng, left, left + width)
        left += width + 0.01
    art.box(art.left, HORIZON - 0.02, art.right, HORIZON + 0.16, (104, 104, 110))
    for dash in np.arange(art.left, art.right, 0.24):
        art.box(dash, HORIZON + 0.065, dash + 0.12, HORIZON + 0.08, (226, 222, 206))
    art.floor(HORIZON + 0.16, (176, 172, 164), (196, 192, 184), (156, 152, 146), 15)
    for post in rng.uniform(-1.1, 1.1, 2):
        art.box(post, -0.45, post + 0.02, HORIZON + 0.18, (70, 74, 80))
        art.disc(post + 0.01, -0.46, 0.035, (250, 240, 200))
    scene.add(4, lambda: scene.across(props.car(rng), HORIZON, HORIZON + 0.1, 0.3, 0.9))
    scene.movers.sort(key=lambda mover: float(mover.path[0, 1]))
    scene.add(2, lambda: Mover(props.bird(rng), flutter(scene.times, rng, rng.uniform(-0.55, -0.2))))
    scene.add(1.5, lambda: scene.rooted(props.flag(rng), rng.uniform(-1, 1), -0.4, angle=0.2))


def _house(art: Painter, rng: np.random.Generator, left: float, right: float) -> None:
    top = rng.uniform(-0.6, -0.15)
    front = near(pick([(190, 140, 120), (170, 160, 150), (206, 184, 150), (150, 140, 156)], rng), rng)
    art.box(left, top, right, HORIZON, front)
    for row in np.arange(top + 0.05, HORIZON - 0.08, 0.1):
        for column in np.arange(left + 0.04, right - 0.05, 0.09):
            pane = (244, 226, 160) if rng.random() < 0.2 else shade(front, 0.6)
            art.box(column, row, column + 0.045, row + 0.06, pane)


def _stage(scene: Scene) -> None:
    art, rng = scene.art, scene.rng
    cloth = near(pick([(120, 44, 52), (48, 60, 108), (58, 92, 80), (96, 58, 110)], rng), rng)
    art.fade(art.top, HORIZON + 0.12, cloth, cloth)
    for fold in np.arange(art.left, art.right, 0.09):
        art.box(fold, art.top, fold + 0.045, HORIZON + 0.12, shade(cloth, rng.uniform(0.78, 0.92)))
    art.fade(HORIZON + 0.1, art.bottom, (122, 88, 62), (178, 134, 94))
    for board in (0.24, 0.3, 0.38, 0.49, 0.64):
        art.box(art.left, board, art.right, board + 0.008, (108, 78, 56))
    art.box(art.left, -0.66, art.right, -0.55, shade(cloth, 0.5))
    for lamp in np.arange(art.left + 0.1, art.right, 0.3):
        art.disc(lamp, -0.55, 0.04, (250, 236, 170))
    scene.add(3, lambda: scene.floating([(shade(cloth, 1.4), oval(0, 0, 0.16, 0.18))], -0.3, 0.05))
    scene.add(2, lambda: scene.floating([((206, 168, 122), oval(0, 0, 0.26, 0.06))], GROUND - 0.06, GROUND + 0.1))
    scene.add(4, lambda: scene.floating(props.balloon(rng), -0.5, 0.1))


def _beach(scene: Scene) -> None:
    art, rng = scene.art, scene.rng
    art.fade(art.top, -0.12, near((110, 178, 230), rng), near((240, 226, 206), rng))
    art.fade(-0.12, HORIZON + 0.06, near((44, 128, 160), rng), near((110, 190, 196), rng))
    art.fade(HORIZON + 0.06, art.bottom, (238, 220, 176), (220, 192, 140))
    for _ in range(40):
        x, y = rng.uniform(art.left, art.right), rng.uniform(HORIZON + 0.1, art.bottom)
        art.disc(x, y, rng.uniform(0.004, 0.014), (202, 176, 130), 0.4)
    scene.add(2, lambda: scene.across(props.cloud(rng), -0.6, -0.35, 0.02, 0.06))
    scene.add(2, lambda: scene.across(props.boat(rng), -0.09, 0.0, 0.04, 0.12))
    for y in np.linspace(-0.06, HORIZON + 0.05, min(8, round(5 * scene.clutter))):
        scene.movers.append(scene.floating(props.wave(rng), y - 0.015, y + 0.015))
    scene.add(2, lambda: scene.rooted(props.umbrella(rng), rng.uniform(-1, 1), HORIZON + rng.uniform(0.1, 0.16), 0.06))
    scene.add(1.5, lambda: Mover(props.ball(rng), bounce(scene.times, rng, GROUND - 0.06)))


PLACES: tuple[Callable[[Scene], None], ...] = (_park, _room, _street, _stage, _beach)
