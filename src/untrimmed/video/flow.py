"""Optical flow between two frames, and the forms in which networks take it.

Flow is ``(H, W, 2)`` float32, in pixels: where each pixel of the first frame has gone in the second, x to the right
and y down. Two-stream networks (Simonyan and Zisserman, 2014; TSN; I3D) are trained on flow that is clipped to
:data:`BOUND` = 20 pixels; kept as images it is an 8-bit level, given to I3D a number in [-1, 1]::

    pixels     -20 or less      0        20 or more
    level           0          128          255           to_levels
    unit           -1           0             1           to_unit

Level 128 stands for the half-way 127.5, so that a flow of 0 that went through levels comes back as +1/255: networks
that were trained on flow images have seen that offset.

Two estimators: DIS (Kroeger et al., ECCV 2016) of OpenCV, fast enough for video; and TV-L1 (Zach et al., 2007), in
which most published flow features were computed, some twenty times slower and the more exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest

BOUND = 20.0
"""Pixels to which two-stream networks clip the flow."""

METHODS = ("dis-ultrafast", "dis-fast", "dis-medium", "tvl1")

Flow = NDArray[np.float32]
Estimator = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Flow]


def make_flow(method: str = "dis-fast", *, finest_scale: int | None = None) -> Estimator:
    """An estimator of optical flow: a function of two grey frames, ``(H, W)`` uint8 each, to ``(H, W, 2)`` float32.

    The result depends on the two frames alone, not on the number of threads OpenCV uses.

    Args:
        method: one of :data:`METHODS`; the three of DIS are OpenCV's presets.
        finest_scale: of DIS: 0 computes flow at full resolution, 1 at half, 2 at a quarter (that of the fast
            presets). Finer scales see thinner limbs and take longer.

    Raises:
        InputError: for an unknown method, or a finest scale where there is none.
    """
    if method not in METHODS:
        raise InputError(f"flow method '{method}' is not known: {nearest(method, METHODS)}")
    if method == "tvl1":
        if finest_scale is not None:
            raise InputError("flow method 'tvl1' has no finest scale; leave it out")
        from untrimmed.video.tvl1 import tvl1

        return tvl1
    preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{method.removeprefix('dis-').upper()}")
    # The bindings have it; OpenCV's type stubs of some versions have forgotten it.
    create: Any = cv2.DISOpticalFlow.create
    return _Dis(create(preset), finest_scale)


class _Dis:
    """OpenCV's DIS in one thread: with several, its result depends on how many there are."""

    def __init__(self, engine: Any, finest_scale: int | None) -> None:
        self._engine = engine
        if finest_scale is not None:
            engine.setFinestScale(finest_scale)

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
        threads = cv2.getNumThreads()
        if threads == 1:
            return self._estimate(first, second)
        cv2.setNumThreads(1)
        try:
            return self._estimate(first, second)
        finally:
            cv2.setNumThreads(threads)

    def _estimate(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
        flow: Flow = self._engine.calc(first, second, None)
        return flow


def to_unit(flow: Flow, bound: float = BOUND) -> NDArray[np.float32]:
    """Flow in pixels as float32 in [-1, 1], clipped at ``bound``: what I3D takes."""
    unit: NDArray[np.float32] = np.clip(flow / np.float32(bound), -1, 1).astype(np.float32)
    return unit


def to_levels(flow: Flow, bound: float = BOUND) -> NDArray[np.uint8]:
    """Flow in pixels as uint8, clipped at ``bound``: the flow images that TSN and others are trained on."""
    unit = np.clip(flow / np.float32(bound), -1, 1)
    levels: NDArray[np.uint8] = np.rint((unit + 1) * np.float32(127.5)).astype(np.uint8)
    return levels
