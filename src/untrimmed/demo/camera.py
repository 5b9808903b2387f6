"""The camera and the light: how canvas pixels become picture pixels, and how bright, over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from untrimmed.demo.figure import Array
from untrimmed.demo.script import wander


def views(size: tuple[int, int], times: Array, rng: np.random.Generator, shake: float) -> Array:
    """Maps from pixels about the middle of the canvas to the picture, one a frame.

    The camera pans and zooms slowly, trembles quickly and rolls a little, each in proportion to ``shake``.

    Args:
        size: width and height of the picture in pixels.
        times: ``(F,)`` seconds.
        rng: source of chance.
        shake: 0 for a camera on a tripod.

    Returns:
        ``(F, 2, 3)`` affine maps.
    """
    width, height = size
    zoom = np.clip(np.exp(0.09 * shake * wander(times, rng, 0.02, 0.1)), 0.82, 1.3)
    roll = np.deg2rad(0.5) * shake * wander(times, rng, 0.3, 2.0)
    pan = 0.05 * height * shake * wander(times, rng, 0.03, 0.2)
    tremble = [0.006 * height * shake * wander(times, rng, 0.8, 5.0) for _ in range(2)]
    middle = np.array([width, height]) / 2
    out = np.empty((len(times), 2, 3))
    out[:, 0, 0] = out[:, 1, 1] = zoom * np.cos(roll)
    out[:, 1, 0] = zoom * np.sin(roll)
    out[:, 0, 1] = -out[:, 1, 0]
    # Zooming holds a point near the feet, so that a close view keeps the figure in the picture.
    anchor = np.array([0.0, 0.1 * height])
    out[:, :, 2] = middle + anchor - np.einsum("fij,j->fi", out[:, :, :2], anchor)
    out[:, 0, 2] += np.clip(pan, -0.18 * height, 0.18 * height) + tremble[0]
    out[:, 1, 2] += tremble[1]
    return out


def moved(maps: Array, origin: tuple[float, float]) -> Array:
    """The same maps for coordinates whose origin lies at ``origin`` (pixels from the middle of the canvas)."""
    out = maps.copy()
    out[:, :, 2] += np.einsum("fij,j->fi", maps[:, :, :2], np.asarray(origin, dtype=float))
    return out


def light(times: Array, rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Look-up tables ``(F, 1, 256, 3)`` that brighten, darken and tint the picture, one a frame."""
    gain = 1 + strength * (0.09 * wander(times, rng, 0.03, 0.3) + 0.015 * wander(times, rng, 2.0, 6.0))
    if strength and rng.random() < 0.35:
        switched = rng.uniform(0.2, 0.8) * times[-1]
        gain *= np.where(times < switched, 1.0, 1 + strength * rng.uniform(-0.28, 0.18))
    tint = 1 + strength * 0.05 * np.stack([wander(times, rng, 0.02, 0.1) for _ in range(3)], axis=1)
    slope = np.clip(gain[:, None] * tint, 0.45, 1.5)
    return np.clip(slope[:, None, None, :] * np.arange(256.0)[:, None], 0, 255).astype(np.uint8)
