"""Characteristics of instances, and the buckets DETAD sorts them into.

Source: Alwassel, Caba Heilbron, Escorcia, Ghanem: Diagnosing Error in Temporal Action Detectors, ECCV 2018,
section 3; edges as in the authors' released tool.

| characteristic | value of an instance | from |
|---|---|---|
| coverage | its length over the duration of its video | truth; key of the annotation if the duration is not known |
| length | end - start, seconds | truth |
| num-instances | how many instances, of any class, its video has | truth |
| context-size | number of glimpses around it that tell people the action, 0 to 6 | key of the annotation |
| context-distance | where those glimpses are: 0 nowhere, 1 near, 2 at medium distance, 3 far | key of the annotation |
| agreement | how well several annotators agree on its borders, 0 to 1 | key of the annotation |

Buckets are open to the left and closed to the right, ``(low, high]``; the first also holds what lies below it, the
last what lies above, so that no instance is lost. Where the data set's buckets would hold nearly all instances in one,
the edges come from the data (:func:`divided_by_the_data`), unless they were given.

Departures from the released tool:

1. An instance longer than its video (coverage above 1), or without length, is not dropped from the truth but goes
   to the outermost bucket: the diagnosis speaks of the same instances as the mAP.
2. An instance whose value is not known (no duration, key absent or null) is left out of this one characteristic and
   counted, where the tool stops with an error.
3. Lengths lose the noise of the subtraction, below a tenth of a nanosecond: 32.2 - 14.2 is 18 s, on the edge and so in
   the lower bucket, where the tool takes what the subtraction gives, 18.000000000000004. 18 s + 1e-9 s lies above the
   edge in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from untrimmed.errors import InputError, nearest
from untrimmed.evaluation.overlap import lengths_of
from untrimmed.evaluation.protocols import Protocol
from untrimmed.types import Video

ANNOTATED = ("context-size", "context-distance", "agreement")
"""Characteristics that are no function of the times: only keys of the annotations can say them."""

_SIZES = {
    1: ("all",),
    2: ("S", "L"),
    3: ("S", "M", "L"),
    4: ("XS", "S", "M", "L"),
    5: ("XS", "S", "M", "L", "XL"),
}
_COVERAGE = {"activitynet": (0.2, 0.4, 0.6, 0.8), "thumos14": (0.02, 0.04, 0.06, 0.08)}
_COUNT = {"activitynet": (1.0, 4.0, 8.0), "thumos14": (1.0, 40.0, 80.0)}
_CONTEXT = {
    "context-size": (0.0, 1.0, 2.0, 3.0, 4.0, 5.0),
    "context-distance": (0.0, 1.0, 2.0),
    "agreement": (0.2, 0.4, 0.6, 0.8),
}
_NAMES = {
    "context-size": ("0", "1", "2", "3", "4", "5", "6"),
    "context-distance": ("Inf", "N", "M", "F"),
    "agreement": ("XW", "W", "M", "H", "XH"),
}
_WHOLE = ("num-instances", "context-size", "context-distance")
_UNITS = {
    "coverage": "share of the video",
    "length": "s",
    "num-instances": "in the video",
    "context-size": "glimpses",
    "context-distance": "",
    "agreement": "tIoU of annotators",
}


CROWDED = 0.9
"""Share of the instances from which one bucket holds nearly all of them."""

ENOUGH = 50
"""Fewer instances are not divided by their own values."""


@dataclass(frozen=True)
class Scale:
    """How one characteristic is divided into buckets.

    Args:
        key: name of the characteristic, one of those in the module's table.
        edges: inner edges, rising, in the unit of the characteristic; one fewer than there are buckets.
        names: short name of each bucket.
        unit: of the values; may be empty.
    """

    key: str
    edges: tuple[float, ...]
    names: tuple[str, ...]
    unit: str

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bucket holds, e.g. ``("≤ 30", "30-60", "> 60")``; empty texts where the name says it."""
        if not self.edges or (self.key in _WHOLE and self.names == _NAMES.get(self.key)):
            return ("",) * len(self.names)
        # Whole numbers above 1 and up to 4 are 2 to 4.
        step = 1 if self.key in _WHOLE and all(edge == int(edge) for edge in self.edges) else 0
        inner = [
            f"{high:g}" if low + step == high else f"{low + step:g}\N{EN DASH}{high:g}"
            for low, high in pairwise(self.edges)
        ]
        return (f"\N{LESS-THAN OR EQUAL TO} {self.edges[0]:g}", *inner, f"> {self.edges[-1]:g}")

    def bucket(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """``(N,)`` values -> ``(N,)`` index of the bucket, -1 where the value is NaN."""
        index = np.searchsorted(np.asarray(self.edges), values, side="left")
        return np.where(np.isnan(values), -1, index).astype(np.int64)


def scales(protocol: Protocol, edges: Mapping[str, Sequence[float]] | None = None) -> tuple[Scale, ...]:
    """The six characteristics, with DETAD's buckets for the data set that the protocol's rule belongs to.

    Args:
        protocol: gives the edges of the lengths, and by ``buckets`` or its rule all others.
        edges: inner edges that replace those of the named characteristics.

    Raises:
        InputError: for an unknown characteristic, or edges that do not rise or lie below every value.
    """
    chosen: dict[str, tuple[float, ...]] = {
        "coverage": _COVERAGE[protocol.buckets or protocol.rule],
        "length": protocol.lengths,
        "num-instances": _COUNT[protocol.buckets or protocol.rule],
        **_CONTEXT,
    }
    for key, given in (edges or {}).items():
        if key not in chosen:
            raise InputError(f"no characteristic is called '{key}': {nearest(key, chosen)}")
        inner = tuple(float(edge) for edge in given)
        rising = all(np.isfinite(inner)) and all(low < high for low, high in pairwise(inner))
        # 0 is a value of what annotators count; lengths, shares and numbers of instances lie above it.
        if not rising or any(edge < 0 or (edge == 0 and key not in _CONTEXT) for edge in inner):
            raise InputError(f"edges of {key} are {list(given)}, expected finite numbers above 0 that rise")
        chosen[key] = inner
    return tuple(_scale(key, inner) for key, inner in chosen.items())


def divided_by_the_data(axis: Scale, values: NDArray[np.float64]) -> Scale:
    """Buckets that tell instances apart: the given ones, or, if they hold nearly all of them in one, five of about a
    fifth each, with edges of two digits.

    Args:
        axis: the buckets of the protocol.
        values: of the instances, NaN where not known.

    Returns:
        ``axis`` itself if less than :data:`CROWDED` of the known values lie in one bucket, if there are fewer than
        :data:`ENOUGH`, or if they are all about the same; fewer buckets where many values are equal.
    """
    known = values[~np.isnan(values)]
    if axis.key in _CONTEXT or len(known) < ENOUGH or _largest(axis, known) < CROWDED:
        return axis
    rough = (float(f"{edge:.2g}") for edge in np.quantile(known, (0.2, 0.4, 0.6, 0.8), method="inverted_cdf"))
    edges = tuple(sorted({edge for edge in rough if edge > 0 and known.min() <= edge < known.max()}))
    other = _scale(axis.key, edges)
    return other if edges and _largest(other, known) < CROWDED else axis


def said_of(axis: Scale, protocol: Protocol) -> str:
    """What a reader must know of buckets that come from the data."""
    return (
        f"{axis.key}: {100 * CROWDED:g} % or more of the instances would be in one bucket of protocol {protocol.name}; "
        f"the edges come from the data instead: {', '.join(f'{edge:g}' for edge in axis.edges)}"
    )


def _largest(axis: Scale, known: NDArray[np.float64]) -> float:
    """The share of the fullest bucket."""
    return float(np.bincount(axis.bucket(known)).max() / len(known))


def _scale(key: str, edges: tuple[float, ...]) -> Scale:
    count = len(edges) + 1
    names = _NAMES.get(key, ())
    if len(names) != count:
        names = _SIZES.get(count, tuple(str(number + 1) for number in range(count)))
    return Scale(key, edges, names, _UNITS[key])


def measure(key: str, video: Video, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """A characteristic of some instances of a video.

    Args:
        key: name of the characteristic.
        video: the video.
        rows: ``(N,)`` indices into its instances: those that count as truth.

    Returns:
        ``(N,)`` values in the unit of the characteristic, NaN where the value is not known.

    Raises:
        InputError: if the annotation has the key with a value that is no finite number.
    """
    return _MEASURES[key](video, rows)


def _length(video: Video, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return lengths_of(video.instances.segments[rows])


def _coverage(video: Video, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    if not video.duration:
        return _annotated("coverage")(video, rows)
    return np.round(_length(video, rows) / video.duration, 10)


def _count(video: Video, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.full(len(rows), float(len(rows)))


def _annotated(key: str) -> Callable[[Video, NDArray[np.int64]], NDArray[np.float64]]:
    def read(video: Video, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        extra = video.instances.extra
        values = np.full(len(rows), np.nan)
        for place, row in enumerate(rows if extra else ()):
            value = extra[row].get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
                raise InputError(
                    f"video {video.id}: instance {row} has {key} {value!r}, expected a finite number or null"
                )
            values[place] = value
        return values

    return read


_MEASURES: Mapping[str, Callable[[Video, NDArray[np.int64]], NDArray[np.float64]]] = {
    "coverage": _coverage,
    "length": _length,
    "num-instances": _count,
    **{key: _annotated(key) for key in ANNOTATED},
}
