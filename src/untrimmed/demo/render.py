"""Rendering: a script, figures, a place, a camera and light become the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.demo import camera, figure, props
from untrimmed.demo.actions import stroll
from untrimmed.demo.backdrop import GROUND, HORIZON, Place, paint
from untrimmed.demo.figure import Array, Body, Sketch
from untrimmed.demo.props import near, pick, vivid
from untrimmed.demo.script import Script, draw_script, track
from untrimmed.demo.settings import WorldSettings

Image = NDArray[np.uint8]
_SKINS = [(244, 208, 178), (224, 172, 134), (188, 132, 94), (132, 88, 62), (96, 64, 48)]
_HAIRS = [(44, 34, 30), (92, 62, 42), (160, 116, 68), (206, 178, 122), (120, 118, 120), (150, 70, 44)]
_TROUSERS = [(52, 60, 88), (70, 66, 62), (112, 92, 70), (60, 84, 72), (40, 42, 48), (120, 120, 128)]


@dataclass(frozen=True)
class Shot:
    """All that is needed to draw any frame of a video. ``figures`` are far to near, with their shadows."""

    size: tuple[int, int]
    place: Place
    views: Array
    movers: list[tuple[props.Colour, NDArray[np.int32]]]
    figures: list[tuple[Sketch, NDArray[np.int32]]]
    light: NDArray[np.uint8]
    grain: list[NDArray[np.int16]]


def dress(rng: np.random.Generator) -> Body:
    """The looks of a figure, by chance."""
    return Body(
        girth=rng.uniform(0.9, 1.15),
        skin=near(pick(_SKINS, rng), rng, 8),
        hair=near(pick(_HAIRS, rng), rng, 8),
        shirt=vivid(rng),
        trousers=near(pick(_TROUSERS, rng), rng),
        shoes=near((56, 50, 50), rng, 20),
        sleeves=bool(rng.random() < 0.5),
    )


def frames(script: Script, settings: WorldSettings, rng: np.random.Generator) -> Iterator[Image]:
    """Render a script: RGB ``(H, W, 3)`` uint8, ``round(duration * fps)`` of them; a frame shows the middle of the
    time it stands for."""
    shot = compose(script, settings, rng)
    for frame in range(len(shot.views)):
        yield draw(shot, frame)


def compose(script: Script, settings: WorldSettings, rng: np.random.Generator) -> Shot:
    """Choose looks, place, camera and light, and lay everything out in time."""
    count = round(script.duration * settings.fps)
    times = np.asarray((np.arange(count) + 0.5) / float(settings.fps), dtype=np.float64)
    size, hard = settings.size, settings.difficulty
    place = paint(size, times, rng, hard.clutter)
    views = camera.views(size, times, rng, hard.shake)
    crowd = [_passer(times, views, size[1], rng) for _ in range(int(rng.poisson(0.5 * hard.clutter)))]
    if rng.random() < hard.bystander:
        crowd.append(_bystander(times, views, settings, rng))
    tall = rng.uniform(0.68, 0.78) * size[1]
    crowd.append(_stand(track(script, times), views, (0.0, GROUND * size[1]), tall, dress(rng)))
    grain = [rng.normal(0, hard.noise, (size[1], size[0], 1)) for _ in range(6)]
    return Shot(
        size=size,
        place=place,
        views=views,
        movers=[polygon for mover in place.movers for polygon in mover.polygons(views, size[1])],
        figures=crowd,
        light=camera.light(times, rng, hard.light),
        grain=[np.repeat(np.round(noise), 3, axis=2).astype(np.int16) for noise in grain],
    )


def draw(shot: Shot, frame: int) -> Image:
    """One frame of a shot, RGB ``(H, W, 3)``."""
    width, height = shot.size
    high, wide = shot.place.canvas.shape[:2]
    view = camera.moved(shot.views[frame : frame + 1], (-wide / 2, -high / 2))[0]
    image: Any = cv2.warpAffine(
        shot.place.canvas, view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    props.draw_all(image, shot.movers, frame)
    for someone, shadow in shot.figures:
        _darken(image, shadow[frame])
        someone.draw(image, frame)
    image = cv2.LUT(image, shot.light[frame])
    return np.asarray(cv2.add(image, shot.grain[frame % len(shot.grain)], dtype=cv2.CV_8U), dtype=np.uint8)


def _stand(
    poses: Array, views: Array, origin: tuple[float, float], tall: float, body: Body
) -> tuple[Sketch, NDArray[np.int32]]:
    """A figure of ``tall`` pixels with its feet at ``origin``, and the ``(F, 20, 2)`` outline of its shadow."""
    here = camera.moved(views, origin)
    shadow = props.Mover(
        [((0, 0, 0), props.oval(0, 0, 0.17, 0.035))],
        np.stack([poses[:, figure.X], 0.12 * poses[:, figure.Z], 1 - poses[:, figure.Y], 0 * poses[:, 0]], axis=1),
    )
    return figure.sketch(figure.joints(poses), body, here, tall), shadow.polygons(here, tall)[0][1]


def _passer(times: Array, views: Array, height: int, rng: np.random.Generator) -> tuple[Sketch, NDArray[np.int32]]:
    """Somebody who walks through the background every now and then."""
    way, pace, round_trip = rng.choice((-1.0, 1.0)), rng.uniform(1.4, 2.4), rng.uniform(6.0, 11.0)
    poses = figure.rest(len(times)) + stroll(times, pace)
    poses[:, figure.X] = way * ((rng.uniform(0, round_trip) + 0.25 * pace * times) % round_trip - 3.0)
    poses[:, figure.YAW] = way * np.pi / 2
    origin = (0.0, (HORIZON + rng.uniform(0.1, 0.17)) * height)
    return _stand(poses, views, origin, rng.uniform(0.36, 0.46) * height, dress(rng))


def _bystander(
    times: Array, views: Array, settings: WorldSettings, rng: np.random.Generator
) -> tuple[Sketch, NDArray[np.int32]]:
    """A second figure, to one side and a little behind, who performs near misses only."""
    script = draw_script(float(times[-1]) + 1, None, rng, settings.difficulty)
    poses = track(script, times)
    width, height = settings.size
    origin = (rng.choice((-1.0, 1.0)) * rng.uniform(0.27, 0.36) * width, (GROUND - 0.07) * height)
    return _stand(poses, views, origin, rng.uniform(0.46, 0.54) * height, dress(rng))


def _darken(image: Image, outline: NDArray[np.int32]) -> None:
    """Multiply the inside of a polygon by 0.72, in place."""
    low = np.maximum((outline.min(axis=0) >> figure.FIX) - 1, 0)
    high = (outline.max(axis=0) >> figure.FIX) + 2
    region = image[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if region.size:
        mask = np.zeros(region.shape[:2], dtype=np.uint8)
        cv2.fillConvexPoly(mask, outline - (low << figure.FIX), 255, cv2.LINE_AA, figure.FIX)
        factor = 1 - 0.28 / 255 * mask[:, :, None]
        region[:] = region * factor
