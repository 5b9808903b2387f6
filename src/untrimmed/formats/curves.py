"""Curves over time, such as the probability of a start, in a file beside the results they explain.

::

    {"version": 1,
     "videos": {"v_abc": {"start": 0.0, "step": 0.2, "curves": {"start": [0.01, ...], "jump": [0.9, ...]}}}}

Value i is that of the time ``start + (i + 0.5) * step`` seconds; all curves of a video are as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats.io import read_json, write_json

_VERSION = 1
_DIGITS = 3


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of one video.

    Args:
        start: seconds at which the first step begins.
        step: seconds a step lasts, above 0.
        values: by name, (T,) float32 in [0, 1].
    """

    start: float
    step: float
    values: Mapping[str, NDArray[np.float32]]


def write_curves(curves: Mapping[str, Curves], path: Path) -> None:
    """Write the curves of some videos, by way of a temporary name; values are rounded to three digits."""
    videos = {
        video_id: {
            "start": round(each.start, 6),
            "step": round(each.step, 6),
            "curves": {name: [round(float(v), _DIGITS) for v in values] for name, values in each.values.items()},
        }
        for video_id, each in curves.items()
    }
    write_json(path, {"version": _VERSION, "videos": videos})


def read_curves(path: Path) -> dict[str, Curves]:
    """The curves of a file, by video.

    Raises:
        InputError: if the file cannot be read, or is no such file; the message names the video and the curve.
    """
    content = read_json(path)
    if (
        not isinstance(content, dict)
        or content.get("version") != _VERSION
        or not isinstance(content.get("videos"), dict)
    ):
        raise InputError(f"{path}: expected curves, {{'version': {_VERSION}, 'videos': {{...}}}}")
    return {video_id: _curves(path, video_id, entry) for video_id, entry in content["videos"].items()}


def _curves(path: Path, video_id: str, entry: Any) -> Curves:
    try:
        start, step = float(entry["start"]), float(entry["step"])
        values = {str(name): np.asarray(row, dtype=np.float32) for name, row in entry["curves"].items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: video {video_id}: expected start, step and curves, lists of numbers ({error})"
        ) from None
    for name, row in values.items():
        if row.ndim != 1 or not ((row >= 0) & (row <= 1)).all():
            raise InputError(f"{path}: video {video_id}: curve '{name}' must be a list of numbers from 0 to 1")
    if not step > 0 or len({len(row) for row in values.values()}) > 1:
        raise InputError(f"{path}: video {video_id}: step must be above 0, and all curves as long")
    return Curves(start, step, values)
