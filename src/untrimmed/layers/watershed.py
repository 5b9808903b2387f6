"""Temporal actionness grouping: segments from a curve by the watershed (TAG; Zhao et al., ICCV 2017, section 4.1).

Turned upside down, a curve of actionness is a landscape; flooded to a level, the runs of steps that are more likely an
action than that are its basins. Neighbouring basins are grouped as long as enough of the group is basin::

    curve       .--.   .-.          .---.
    level    --/----\\-/---\\--------/-----\\---
    basins     [====] [===]        [=====]
    group      [==========)                     of the first: 9 of 10 steps are basin, with the third 15 of 24

For every level and every share each basin is a seed: it takes in those that follow until, from its start to the end of
the one to be taken, less than the share is basin. So it goes towards the start too (as the released code does), so that
a video played backwards has the same proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

_compiled = njit(cache=True, nogil=True)


def watershed(curve: ArrayLike, levels: Sequence[float], shares: Sequence[float]) -> NDArray[np.int64]:
    """The groups of basins of a curve.

    Args:
        curve: (T,), finite.
        levels: a basin is a run of steps above one.
        shares: of a group that must be basin, in [0, 1].

    Returns:
        (N, 2) ``[start, end)`` in steps, each group once, by start, then end.
    """
    values = np.ascontiguousarray(curve, dtype=np.float64)
    found = [_groups(*_basins(values > level), np.asarray(shares, dtype=np.float64)) for level in levels]
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    every = np.concatenate(found)
    # One number for each pair sorts and compares faster than rows.
    keys = np.unique(every[:, 0] * (len(values) + 1) + every[:, 1])
    return np.stack((keys // (len(values) + 1), keys % (len(values) + 1)), -1)


def _basins(high: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and ends of the runs of True."""
    edges = np.diff(np.concatenate(([False], high, [False])).astype(np.int8))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


@_compiled
def _groups(starts: Any, ends: Any, shares: Any) -> Any:
    """(2 H R, 2), the groups that each of R basins is the seed of, forwards and backwards, for H shares."""
    count = len(starts)
    groups = np.empty((2 * len(shares) * count, 2), dtype=np.int64)
    filled = np.zeros(count + 1, dtype=np.int64)
    for i in range(count):
        filled[i + 1] = filled[i] + ends[i] - starts[i]
    row = 0
    for share in shares:
        for seed in range(count):
            last = seed
            while last + 1 < count:
                if filled[last + 2] - filled[seed] < share * (ends[last + 1] - starts[seed]):
                    break
                last += 1
            first = seed
            while first > 0:
                if filled[seed + 1] - filled[first - 1] < share * (ends[seed] - starts[first - 1]):
                    break
                first -= 1
            groups[row, 0], groups[row, 1] = starts[seed], ends[last]
            groups[row + 1, 0], groups[row + 1, 1] = starts[first], ends[seed]
            row += 2
    return groups
