"""TV-L1 optical flow: total variation of the flow plus absolute difference of the frames, by duality.

Zach, Pock and Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007, with the choices and
constants of Sanchez Perez, Meinhardt-Llopis and Facciolo, IPOL 3 (2013): five levels that halve, five warps a level,
lambda 0.15, theta 0.3, tau 0.25, until the flow changes by less than 0.01 pixels in the mean.

With ``rho(u) = I1(x + u0) + <grad I1(x + u0), u - u0> - I0(x)`` each round does, at every pixel::

    v = u + step(rho(u))                   the difference of the frames, by thresholding
    u = v + theta * div p                  the smoothness, by its dual p
    p = (p + tau / theta * grad u) / (1 + tau / theta * |grad u|)
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

Field = NDArray[np.float32]

_LEVELS, _WARPS, _ROUNDS = 5, 5, 300
_LAMBDA, _THETA, _TAU, _TOLERANCE = 0.15, 0.3, 0.25, 0.01
_SMALLEST = 16
"""Pixels of the shorter side below which no further level is made."""


def tvl1(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Field:
    """TV-L1 flow from the first frame to the second, about a second for 340 x 256 pixels.

    Args:
        first: (H, W) uint8, grey.
        second: likewise.

    Returns:
        (H, W, 2) float32, pixels; x to the right, y down.
    """
    pyramid = [_prepared(first, second)]
    while len(pyramid) < _LEVELS and min(pyramid[-1][0].shape) >= 2 * _SMALLEST:
        before, after = pyramid[-1]
        pyramid.append((_halved(before), _halved(after)))
    height, width = pyramid[-1][0].shape
    flow = np.zeros((height, width, 2), np.float32)
    for before, after in reversed(pyramid):
        height, width = before.shape
        if flow.shape[:2] != before.shape:
            scale = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
            flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) * scale)
        flow = _level(before, after, flow)
    return flow


def _prepared(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Field, Field]:
    """Both frames over one range of 0 to 255, so that the constants mean the same in a dark scene, a little
    smoothed."""
    low = float(min(first.min(), second.min()))
    span = float(max(first.max(), second.max())) - low
    scale = 255.0 / span if span > 0 else 0.0
    one, two = (cv2.GaussianBlur((image.astype(np.float32) - low) * scale, (0, 0), 0.8) for image in (first, second))
    return np.asarray(one, np.float32), np.asarray(two, np.float32)


def _halved(image: Field) -> Field:
    height, width = image.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    smooth = cv2.GaussianBlur(image, (0, 0), 0.6 * math.sqrt(3))
    return np.asarray(cv2.resize(smooth, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _level(before: Field, after: Field, flow: Field) -> Field:
    """The flow of one level of the pyramid, from a start."""
    height, width = before.shape
    across, down = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    wide = np.pad(after, 1, mode="edge")
    slope_x, slope_y = (wide[1:-1, 2:] - wide[1:-1, :-2]) / 2, (wide[2:, 1:-1] - wide[:-2, 1:-1]) / 2
    flow = np.ascontiguousarray(flow)
    dual = np.zeros((height, width, 2, 2), np.float32)
    for _ in range(_WARPS):
        to_x, to_y = across + flow[..., 0], down + flow[..., 1]
        warped, warped_x, warped_y = (
            np.asarray(cv2.remap(image, to_x, to_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.float32)
            for image in (after, slope_x, slope_y)
        )
        constant = warped - warped_x * flow[..., 0] - warped_y * flow[..., 1] - before
        # What leaves the picture has no difference to make small: smoothness alone decides there.
        outside = (to_x < 0) | (to_x > width - 1) | (to_y < 0) | (to_y > height - 1)
        constant[outside] = warped_x[outside] = warped_y[outside] = 0
        for _ in range(_ROUNDS):
            if _round(flow, dual, constant, warped_x, warped_y) < _TOLERANCE**2:
                break
    return flow


@njit(cache=True)
def _round(flow: Field, dual: NDArray[np.float32], constant: Field, slope_x: Field, slope_y: Field) -> float:
    """One round over all pixels, in place; the mean squared change of the flow."""
    height, width = constant.shape
    reach = np.float32(_LAMBDA * _THETA)
    theta, step = np.float32(_THETA), np.float32(_TAU / _THETA)
    changed = 0.0
    for y in range(height):
        for x in range(width):
            gx, gy = slope_x[y, x], slope_y[y, x]
            u, v = flow[y, x, 0], flow[y, x, 1]
            steep = gx * gx + gy * gy
            rho = constant[y, x] + gx * u + gy * v
            move = np.float32(0)
            if rho < -reach * steep:
                move = reach
            elif rho > reach * steep:
                move = -reach
            elif steep > 1e-9:
                move = -rho / steep
            for part in range(2):
                curl = dual[y, x, part, 0] + dual[y, x, part, 1]
                if x > 0:
                    curl -= dual[y, x - 1, part, 0]
                if y > 0:
                    curl -= dual[y - 1, x, part, 1]
                new = (u if part == 0 else v) + move * (gx if part == 0 else gy) + theta * curl
                change = new - flow[y, x, part]
                changed += change * change
                flow[y, x, part] = new
    for y in range(height):
        for x in range(width):
            for part in range(2):
                dx = flow[y, x + 1, part] - flow[y, x, part] if x < width - 1 else np.float32(0)
                dy = flow[y + 1, x, part] - flow[y, x, part] if y < height - 1 else np.float32(0)
                shrink = np.float32(1) + step * np.float32(math.sqrt(dx * dx + dy * dy))
                dual[y, x, part, 0] = (dual[y, x, part, 0] + step * dx) / shrink
                dual[y, x, part, 1] = (dual[y, x, part, 1] + step * dy) / shrink
    mean: float = changed / (height * width)
    return mean
