"""Where seconds, frames and snippets meet. No other module multiplies by a frame rate.

Snippet ``i`` is a run of ``window`` frames that starts every ``stride`` frames, from frame ``offset`` on. *Step*
``i`` is the cell ``[i, i + 1)`` of the model's time axis: one stride wide and centred on the centre of its
snippet, however long the snippet is::

    frames   0    4    8   12   16   20   24        stride 4, window 8, offset 0
    snippet  |-- 0 ---|
                  |-- 1 ---|
                       |-- 2 ---|
    step       [ 0  )[ 1  )[ 2  )                   step 0 is frames [2, 6)

Continuous positions on the step axis are *steps* too: ``1.5`` is the centre of step 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Integral, Rational, Real
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError

Rounding = Literal["floor", "nearest", "ceil"]

_ROUND = {"floor": math.floor, "nearest": lambda value: math.floor(value + 0.5), "ceil": math.ceil}


@dataclass(frozen=True)
class SnippetGrid:
    """A regular grid of snippets over the frames of a video.

    Args:
        fps: frames a second, above 0. A decimal number is taken as the nearest fraction with a denominator of at
            most 1001, so that 29.97 becomes 30000/1001, as broadcast rates are.
        stride: frames from one snippet to the next, at least 1.
        window: frames in a snippet, at least 1.
        offset: first frame of snippet 0; may be negative where the extractor pads.

    Raises:
        InputError: for a value outside these ranges.
    """

    fps: Fraction
    stride: int
    window: int
    offset: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", exact_fps(self.fps))
        for name, low in (("stride", 1), ("window", 1), ("offset", None)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Integral) or (low is not None and value < low):
                raise InputError(
                    f"SnippetGrid: {name} is {value!r}, expected a whole number of frames"
                    + ("" if low is None else f" >= {low}")
                )
            object.__setattr__(self, name, int(value))

    @property
    def _lead(self) -> Fraction:
        """Frames from the start of the video to the start of step 0's cell."""
        return self.offset + Fraction(self.window - self.stride, 2)

    @cached_property
    def seconds_per_step(self) -> float:
        """Width of a step in seconds."""
        return float(self.stride / self.fps)

    @cached_property
    def start_seconds(self) -> float:
        """Time of the left edge of step 0 in seconds; negative if the window is shorter than the stride."""
        return float(self._lead / self.fps)

    @overload
    def steps_to_seconds(self, steps: float) -> float: ...
    @overload
    def steps_to_seconds(self, steps: NDArray[Any]) -> NDArray[np.float64]: ...
    def steps_to_seconds(self, steps: Any) -> Any:
        """Time in seconds of continuous positions on the step axis (numbers, numpy arrays, torch tensors)."""
        return self.start_seconds + steps * self.seconds_per_step

    @overload
    def seconds_to_steps(self, seconds: float) -> float: ...
    @overload
    def seconds_to_steps(self, seconds: NDArray[Any]) -> NDArray[np.float64]: ...
    def seconds_to_steps(self, seconds: Any) -> Any:
        """Continuous positions on the step axis of times in seconds (numbers, numpy arrays, torch tensors)."""
        return (seconds - self.start_seconds) / self.seconds_per_step

    def step_at(self, seconds: float, rounding: Rounding = "floor") -> int:
        """A whole step for a time: ``floor`` is the step whose cell holds the time, ``nearest`` the nearest
        edge between cells (halves up), ``ceil`` the first edge not before the time."""
        return int(_ROUND[rounding](self._exact_step(seconds)))

    def frame_at(self, seconds: float, rounding: Rounding = "floor") -> int:
        """A whole frame for a time; ``floor`` is the frame that is on screen at that time."""
        return int(_ROUND[rounding](_fraction(seconds) * self.fps))

    def frame_to_seconds(self, frame: float) -> float:
        """Time in seconds at which a frame begins."""
        return float(_fraction(frame) / self.fps)

    def snippet_frames(self, step: int) -> tuple[int, int]:
        """Half-open range of frames ``[first, last + 1)`` that snippet ``step`` is computed from."""
        first = self.offset + step * self.stride
        return first, first + self.window

    def count(self, frames: int) -> int:
        """Number of snippets, counted from 0, that end inside a video of ``frames`` frames. With an ``offset`` of
        at least 0 they lie wholly inside it."""
        return max(0, (frames - self.window - self.offset) // self.stride + 1)

    def expected_count(self, duration: float) -> int:
        """Number of whole snippets in a video of ``duration`` seconds."""
        return self.count(self.frame_at(duration, "nearest"))

    def _exact_step(self, seconds: float) -> Fraction:
        return (_fraction(seconds) * self.fps - self._lead) / self.stride

    def to_dict(self) -> dict[str, object]:
        """Plain values; ``fps`` as the text of its fraction, so that it survives JSON and YAML exactly."""
        return {"fps": str(self.fps), "stride": self.stride, "window": self.window, "offset": self.offset}

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> SnippetGrid:
        """Inverse of :meth:`to_dict`; unknown keys are refused."""
        unknown = set(values) - {"fps", "stride", "window", "offset"}
        if unknown:
            raise InputError(f"SnippetGrid: unknown key {sorted(unknown)[0]!r}; known are fps, stride, window, offset")
        missing = {"fps", "stride", "window"} - set(values)
        if missing:
            raise InputError(f"SnippetGrid: key {sorted(missing)[0]!r} is missing")
        return cls(**values)  # type: ignore[arg-type]  # the constructor validates every value


def exact_fps(value: Any) -> Fraction:
    """A frame rate as a fraction, from a fraction, a number or a text such as ``"30000/1001"`` or ``"29.97"``.

    Fractions and whole numbers are kept exactly. A decimal number, which is usually a rounded one, becomes
    ``n * 1000/1001`` where it lies within 0.005 of it, else the nearest fraction with a denominator of at most 1001.

    Raises:
        InputError: if it is not a finite number above 0.
    """
    expected = InputError(f"frame rate is {value!r}, expected a number of frames a second above 0")
    if isinstance(value, bool):
        raise expected
    exact = isinstance(value, Rational) or (isinstance(value, str) and "/" in value)
    try:
        given = float(value) if isinstance(value, Real) and not exact else value
        # As a fraction, a text such as "1e20000000" would be a number of millions of digits.
        if isinstance(value, str) and not exact and not 0 < float(value) < 1e9:
            raise expected
        fraction = Fraction(given)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        raise expected from None
    if fraction <= 0:
        raise expected
    # Numbers of other libraries would otherwise live on inside the fraction, with their overflow.
    fraction = Fraction(int(fraction.numerator), int(fraction.denominator))
    if exact or fraction.denominator == 1:
        return fraction
    broadcast = Fraction(round(fraction) * 1000, 1001)
    if broadcast > 0 and abs(broadcast - fraction) < Fraction(1, 200):
        return broadcast
    return fraction.limit_denominator(1001) or fraction


def _fraction(value: float) -> Fraction:
    """The decimal number a float prints as, exactly: 0.1 s is a tenth, not 0.1000000000000000055 s."""
    return Fraction(repr(float(value)))
