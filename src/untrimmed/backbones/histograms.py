"""Compiled kernels of the motion features: camera motion, and histograms of directions on a grid of cells."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]

_MEASURE = 0.05
"""Differences of flow below this (pixels a pixel) are noise of the estimate."""


@njit(cache=True)
def camera_motion(flow: Array, step: int, rounds: int) -> NDArray[np.float64]:
    """The affine motion that most of the picture follows, as a robust fit to the flow.

    Iteratively re-weighted least squares with Tukey's weights, from the median flow on: what moves on its own is an
    outlier as long as it covers less than half of the picture.

    Args:
        flow: (H, W, 2) float32.
        step: every how many pixels the flow is sampled.
        rounds: of re-weighting.

    Returns:
        (3, 2) float64: flow at a pixel is ``[1, (x - W / 2) / H, (y - H / 2) / H] @ result``.
    """
    height, width = flow.shape[0], flow.shape[1]
    count = ((height + step - 1) // step) * ((width + step - 1) // step)
    place = np.ones((count, 3))
    moved = np.empty((count, 2))
    row = 0
    for y in range(0, height, step):
        for x in range(0, width, step):
            place[row, 1] = (x - width / 2) / height
            place[row, 2] = (y - height / 2) / height
            moved[row, 0], moved[row, 1] = flow[y, x, 0], flow[y, x, 1]
            row += 1
    motion = np.zeros((3, 2))
    motion[0, 0], motion[0, 1] = np.median(moved[:, 0]), np.median(moved[:, 1])
    far = np.empty(count)
    for _ in range(rounds):
        for i in range(count):
            dx = moved[i, 0] - motion[0, 0] - place[i, 1] * motion[1, 0] - place[i, 2] * motion[2, 0]
            dy = moved[i, 1] - motion[0, 1] - place[i, 1] * motion[1, 1] - place[i, 2] * motion[2, 1]
            far[i] = math.sqrt(dx * dx + dy * dy)
        scale = 2.0 * np.median(far) + 0.1
        # A trace of ridge keeps a picture of a few pixels solvable.
        normal = np.eye(3) * 1e-3
        target = np.zeros((3, 2))
        for i in range(count):
            share = far[i] / scale
            if share < 1:
                weight = (1 - share * share) ** 2
                for a in range(3):
                    for b in range(3):
                        normal[a, b] += weight * place[i, a] * place[i, b]
                    target[a, 0] += weight * place[i, a] * moved[i, 0]
                    target[a, 1] += weight * place[i, a] * moved[i, 1]
        motion = _solve(normal, target)
    return motion


@njit(cache=True)
def _solve(normal: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """``normal^-1 target`` for a symmetric positive definite ``normal``; both are used up.

    By elimination, which needs no pivots there. numba's ``np.linalg`` would need SciPy, which is not required.
    """
    size = len(normal)
    for done in range(size):
        for row in range(done + 1, size):
            factor = normal[row, done] / normal[done, done]
            normal[row] -= factor * normal[done]
            target[row] -= factor * target[done]
    for row in range(size - 1, -1, -1):
        for known in range(row + 1, size):
            target[row] -= normal[row, known] * target[known]
        target[row] /= normal[row, row]
    return target


@njit(cache=True)
def without_camera(flow: Array, motion: NDArray[np.float64], most: float) -> Array:
    """The flow that is left when the camera's is taken off, (H, W, 2); its length is cut to ``most``."""
    height, width = flow.shape[0], flow.shape[1]
    left = np.empty((height, width, 2), np.float32)
    for y in range(height):
        for x in range(width):
            u, v = (x - width / 2) / height, (y - height / 2) / height
            dx = flow[y, x, 0] - (motion[0, 0] + u * motion[1, 0] + v * motion[2, 0])
            dy = flow[y, x, 1] - (motion[0, 1] + u * motion[1, 1] + v * motion[2, 1])
            length = math.sqrt(dx * dx + dy * dy)
            cut = most / length if length > most else 1.0
            left[y, x, 0], left[y, x, 1] = dx * cut, dy * cut
    return left


@njit(cache=True)
def _turn(x: float, y: float) -> float:
    """Direction of a vector as a share of a full turn, [0, 1], exact to 0.001; 0 for no length."""
    ax, ay = abs(x), abs(y)
    most = max(ax, ay)
    if most == 0:
        return 0.0
    slope = min(ax, ay) / most
    angle = slope * (0.125 + 0.273 / (2 * math.pi) * (1 - slope))
    if ay > ax:
        angle = 0.25 - angle
    if x < 0:
        angle = 0.5 - angle
    return 1 - angle if y < 0 else angle


@njit(cache=True)
def _vote(bins: Array, turn: float, weight: float) -> None:
    """Give a weight to the two bins nearest a direction, each by its nearness."""
    count = len(bins)
    place = turn * count
    low = int(place)
    share = place - low
    low %= count
    bins[low] += weight * (1 - share)
    bins[(low + 1) % count] += weight * share


@njit(cache=True)
def edge_histograms(grey: NDArray[np.uint8], cell: int, bins: int, out: Array) -> None:
    """Histograms of oriented gradients without sign (Dalal and Triggs, CVPR 2005), added to ``out``.

    Args:
        grey: (H, W) uint8.
        cell: side of a square cell in pixels.
        bins: orientations over half a turn.
        out: (rows, columns, >= bins) float32, with ``rows = ceil(H / cell)``; grey levels, summed.
    """
    height, width = grey.shape
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            dx = float(grey[y, x + 1]) - float(grey[y, x - 1])
            dy = float(grey[y + 1, x]) - float(grey[y - 1, x])
            length = math.sqrt(dx * dx + dy * dy)
            if length > 0:
                _vote(out[y // cell, x // cell, :bins], 2 * _turn(dx, dy), length)


@njit(cache=True)
def flow_histograms(flow: Array, cell: int, bins: int, still: float, out: Array) -> None:
    """Histograms of flow (with a bin for pixels at rest) and of motion boundaries, added to ``out``.

    HOF and MBH of Dalal, Triggs and Schmid (ECCV 2006) as in dense trajectories (Wang et al., IJCV 2013).

    Args:
        flow: (H, W, 2) float32, pixels, without the camera's.
        cell: side of a square cell in pixels of ``flow``.
        bins: directions over a full turn.
        still: pixels of motion below which a pixel counts as at rest.
        out: (rows, columns, 3 * bins + 1) float32: HOF with length as weight, then the number of pixels at rest,
            then MBH of the x and of the y component.
    """
    height, width = flow.shape[0], flow.shape[1]
    for y in range(height):
        for x in range(width):
            cell_bins = out[y // cell, x // cell]
            dx, dy = flow[y, x, 0], flow[y, x, 1]
            length = math.sqrt(dx * dx + dy * dy)
            if length < still:
                cell_bins[bins] += 1
            else:
                _vote(cell_bins[:bins], _turn(dx, dy), length)
            if 0 < y < height - 1 and 0 < x < width - 1:
                for part in range(2):
                    dx = flow[y, x + 1, part] - flow[y, x - 1, part]
                    dy = flow[y + 1, x, part] - flow[y - 1, x, part]
                    length = math.sqrt(dx * dx + dy * dy)
                    if length > _MEASURE:
                        first = bins + 1 + part * bins
                        _vote(cell_bins[first : first + bins], _turn(dx, dy), length)
