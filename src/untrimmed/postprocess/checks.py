"""What the options of post-processing may be."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest

Method = Literal["hard", "linear", "gaussian"]


def check_method(method: str, threshold: object, sigma: object) -> float:
    """The option a method needs; InputError unless the method exists, it is given, and nothing else but, with
    ``gaussian``, a threshold; all in range."""
    if method not in get_args(Method):
        raise InputError(f"NMS method is {method!r}: {nearest(str(method), get_args(Method))}")
    gaussian = method == "gaussian"
    if not gaussian and sigma is not None:
        raise InputError(f"{method} NMS has no sigma (it is {sigma!r}); its option is threshold")
    name, option = ("sigma", sigma) if gaussian else ("threshold", threshold)
    if option is None:
        raise InputError(f"{method} NMS needs a {name}")
    if threshold is not None:
        check_tiou("threshold", threshold)
    if gaussian and not (is_number(sigma) and sigma > 0):  # type: ignore[operator]
        raise InputError(f"sigma is {sigma!r}, expected a number above 0")
    return float(option)  # type: ignore[arg-type]


def check_cuts(thresholds: object, count: int) -> NDArray[np.float64]:
    """Thresholds of ``count`` candidates, (count,) float64; InputError unless there is a tIoU for each."""
    cuts = np.ascontiguousarray(thresholds, dtype=np.float64)
    if cuts.shape != (count,):
        raise InputError(f"thresholds {cuts.shape}: expected one, or one for each of the {count} candidates")
    if not ((cuts >= 0) & (cuts <= 1)).all():
        row = int(np.flatnonzero(~((cuts >= 0) & (cuts <= 1)))[0])
        raise InputError(f"threshold of row {row} is {cuts[row]}, expected a tIoU in [0, 1]")
    return cuts


def check_tiou(name: str, value: object, above_zero: bool = False) -> None:
    """Raise InputError unless ``value`` is a number in [0, 1], or in (0, 1]."""
    if not (is_number(value) and 0 <= value <= 1) or (above_zero and value == 0):  # type: ignore[operator]
        raise InputError(f"{name} is {value!r}, expected a tIoU in {'(' if above_zero else '['}0, 1]")


def check_count(name: str, value: object) -> None:
    """Raise InputError unless ``value`` is None or a whole number of at least 1."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1):
        raise InputError(f"{name} is {value!r}, expected a whole number of at least 1, or none for all")


def check_floor(value: object) -> None:
    """Raise InputError unless ``value`` is None or a finite number."""
    if value is not None and not is_number(value):
        raise InputError(f"floor is {value!r}, expected a number, the lowest score that is kept, or none")


def check_extend(value: object) -> None:
    """Raise InputError unless ``value`` is None or a finite number of at least 0."""
    if value is not None and not (is_number(value) and value >= 0):  # type: ignore[operator]
        raise InputError(f"extend is {value!r}, expected a number of at least 0, in the unit of the segments, or none")


def is_number(value: object) -> bool:
    """Whether it is a finite number (True and False are none)."""
    numeric = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return numeric and math.isfinite(value)  # type: ignore[arg-type]
