"""Motion features without weights: what moves where, which way, and which edges are there, on a grid per snippet.

For each frame: edge orientations (HOG); for each pair of frames: optical flow without the camera's motion, as
directions (HOF) and as motion boundaries (MBH); and mean colours. All are summed over cells of the picture, the cells
pooled on a grid over its middle, averaged over the frames of a snippet, and square-rooted after division by their sum
(Arandjelovic and Zisserman, CVPR 2012), to which a constant is added, so that a picture at rest gives small numbers
and not noise.

The grid covers the middle of the picture (``region``): there actions are filmed, and the margins show little but
background. 4 x 3 places of 33 bins and 4 mean colours make 408 features.

Sources: Dalal and Triggs, CVPR 2005 (HOG); Dalal, Triggs and Schmid, ECCV 2006 (MBH); Wang and Schmid, ICCV 2013
(improved trajectories: the same descriptors without camera motion).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from untrimmed.backbones.histograms import camera_motion, edge_histograms, flow_histograms, without_camera
from untrimmed.errors import InputError, nearest
from untrimmed.grid import SnippetGrid, exact_fps
from untrimmed.video.flow import BOUND, Estimator, make_flow

_REVISION = 1
"""Raised with every change that changes the features."""

_CELL = 8
_BINS = 8
_STILL = 0.4
_COARSE = 2
"""The flow is looked at in every second pixel: its own resolution is no higher."""

_EDGES = slice(0, _BINS)
_FLOW = slice(_BINS, 2 * _BINS + 1)
_BOUNDARIES = slice(2 * _BINS + 1, 4 * _BINS + 1)
_KINDS = ((_EDGES, 2000.0), (_FLOW, 30.0), (_BOUNDARIES, 20.0))
"""The bins of each descriptor, and the constant added to the sum they are divided by."""

_COLOURS = 2
"""Mean colours are taken on a grid of this many rows and columns over the whole picture."""

_FIT_STEP, _FIT_ROUNDS = 6, 3

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Motion:
    """The extractor.

    Args:
        fps: frames a second that are looked at, above 0.
        stride: frames from one snippet to the next.
        window: frames in a snippet.
        short_side: pixels of the shorter side of the frames, at least 32.
        rows, columns: of the grid, at least 1.
        region: ``(top, bottom, left, right)``, the part of the picture that the grid covers, in shares of it.

    Raises:
        InputError: for a value outside its range.
    """

    fps: Fraction = Fraction(15)
    stride: int = 3
    window: int = 6
    short_side: int = 120
    rows: int = 4
    columns: int = 3
    region: tuple[float, float, float, float] = (0.13, 0.97, 0.27, 0.73)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        object.__setattr__(self, "region", tuple(self.region))
        for name, low in (("short_side", 32), ("rows", 1), ("columns", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise InputError(f"backbone 'motion': {name} is {value!r}, expected a whole number of at least {low}")
        top, bottom, left, right = self.region if len(self.region) == 4 else (1.0, 0.0, 1.0, 0.0)
        if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
            raise InputError(
                f"backbone 'motion': region is {self.region}, expected top < bottom and left < right from 0 to 1"
            )
        _ = self.grid  # checks stride and window

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """From the options of a spec.

        Raises:
            InputError: for an unknown option, or as the constructor.
        """
        known = [entry.name for entry in fields(cls)]
        for name in options:
            if name not in (*known, "revision"):
                raise InputError(f"backbone 'motion': unknown option '{name}': {nearest(name, known)}")
        if options.get("revision", _REVISION) != _REVISION:
            raise InputError(
                f"backbone 'motion': these features are of revision {options['revision']}, this program computes "
                f"revision {_REVISION}; extract the videos again"
            )
        return cls(**{name: value for name, value in options.items() if name != "revision"})

    def spec(self) -> dict[str, Any]:
        """The spec that makes this backbone, every option with its value."""
        options = {**asdict(self), "fps": str(self.fps), "region": list(self.region), "revision": _REVISION}
        return {"name": "motion", "weights_sha256": None, "options": options}

    @property
    def channels(self) -> int:
        return self.rows * self.columns * (4 * _BINS + 1) + 3 * _COLOURS**2

    @property
    def grid(self) -> SnippetGrid:
        return SnippetGrid(self.fps, self.stride, self.window)

    def stream(self, frames: Iterable[tuple[float, NDArray[np.uint8]]]) -> Iterator[Array]:
        """Features as the frames come: one row ``(C,)`` for each whole snippet, in order.

        Args:
            frames: ``(seconds, rgb)`` of one video at ``fps`` and ``short_side``. A video shorter than one snippet
                is continued with its last frame to fill one; one without frames has none.
        """
        looks = _Looks(self)
        held: deque[tuple[Array, Array]] = deque(maxlen=self.window)
        count = 0
        for _, image in frames:
            held.append(looks.next(image))
            count += 1
            if count >= self.window and (count - self.window) % self.stride == 0:
                yield self._row(held)
        if 0 < count < self.window:
            while len(held) < self.window:
                held.append(looks.again())
            yield self._row(held)

    def _row(self, held: Iterable[tuple[Array, Array]]) -> Array:
        cells = np.mean([cell for cell, _ in held], axis=0, dtype=np.float32)
        colours = np.mean([colour for _, colour in held], axis=0, dtype=np.float32)
        top, bottom, left, right = self.region
        down = _shares(cells.shape[0], top, bottom, self.rows)
        across = _shares(cells.shape[1], left, right, self.columns)
        places = np.einsum("ar,rck,bc->abk", down, cells, across, optimize=True)
        parts = [_root(places[..., bins].ravel(), constant) for bins, constant in _KINDS]
        return np.concatenate([*parts, colours]).astype(np.float32)


class _Looks:
    """What is seen in each frame of one video: histograms of its cells, and its mean colours."""

    def __init__(self, backbone: Motion) -> None:
        self._estimate: Estimator = make_flow("dis-ultrafast", finest_scale=1)
        self._before: NDArray[np.uint8] | None = None
        self._colours: Array = np.empty(0, np.float32)

    def next(self, image: NDArray[np.uint8]) -> tuple[Array, Array]:
        grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        cells = self._cells(grey)
        small = cv2.resize(image, (_COLOURS, _COLOURS), interpolation=cv2.INTER_AREA)
        lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
        self._colours = (np.asarray(lab, dtype=np.float32) / np.float32(255)).ravel()
        self._before = grey
        return cells, self._colours

    def again(self) -> tuple[Array, Array]:
        """The last frame once more: nothing moves."""
        assert self._before is not None
        return self._cells(self._before), self._colours

    def _cells(self, grey: NDArray[np.uint8]) -> Array:
        height, width = grey.shape
        cells = np.zeros((-(-height // _CELL), -(-width // _CELL), 4 * _BINS + 1), np.float32)
        edge_histograms(grey, _CELL, _BINS, cells)
        if self._before is None or self._before.shape != grey.shape:
            flow = np.zeros((-(-height // _COARSE), -(-width // _COARSE), 2), np.float32)
        else:
            full = self._estimate(self._before, grey)
            flow = np.ascontiguousarray(full[::_COARSE, ::_COARSE])
            flow = without_camera(flow, camera_motion(flow, _FIT_STEP, _FIT_ROUNDS), BOUND)
        flow_histograms(flow, _CELL // _COARSE, _BINS, _STILL, cells[:, :, _BINS:])
        return cells


def _shares(cells: int, low: float, high: float, places: int) -> Array:
    """``(places, cells)`` weights by which cells are pooled: linear between the centres of neighbouring places."""
    width = (high - low) * cells / places
    centres = low * cells + (np.arange(places) + 0.5) * width
    away = np.abs(np.arange(cells) + 0.5 - centres[:, None]) / width
    return np.clip(1 - away, 0, None).astype(np.float32)


def _root(histogram: Array, constant: float) -> Array:
    rooted: Array = np.sqrt(histogram / (histogram.sum() + np.float32(constant)))
    return rooted
