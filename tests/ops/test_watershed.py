"""Actionness grouping against a loop over its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrimmed.layers.watershed import watershed


def slow(curve: list[float], levels: list[float], shares: list[float]) -> set[tuple[int, int]]:
    found = set()
    for level in levels:
        high = [value > level for value in curve]
        basins = [
            (s, next(e for e in range(s, len(high) + 1) if e == len(high) or not high[e]))
            for s in range(len(high))
            if high[s] and (s == 0 or not high[s - 1])
        ]
        for share in shares:
            for seed in range(len(basins)):
                for ahead in (1, -1):
                    start, end = basins[seed]
                    at = seed + ahead
                    while 0 <= at < len(basins):
                        low, top = min(start, basins[at][0]), max(end, basins[at][1])
                        if sum(high[low:top]) < share * (top - low):
                            break
                        start, end, at = low, top, at + ahead
                    found.add((start, end))
    return found


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 8), max_size=30),
    st.lists(st.sampled_from([0.0, 0.25, 0.3, 0.5, 0.9]), max_size=3, unique=True),
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.75, 1.0]), max_size=3, unique=True),
)
def test_groups_equal_the_definition(heights: list[int], levels: list[float], shares: list[float]) -> None:
    curve = [height / 8 for height in heights]
    groups = watershed(curve, levels, shares)
    assert groups.dtype == np.int64
    assert groups.tolist() == sorted(map(list, slow(curve, levels, shares)))


def test_by_hand() -> None:
    # Basins above 0.5: [1, 3), [4, 6), [9, 10).
    curve = [0, 0.9, 0.8, 0.1, 0.7, 0.9, 0.2, 0.1, 0, 0.6, 0]
    # The first two: 4 of 5 steps. All three: 5 of 9. The last two: 3 of 6.
    assert watershed(curve, [0.5], [0.9]).tolist() == [[1, 3], [4, 6], [9, 10]]
    assert watershed(curve, [0.5], [0.8]).tolist() == [[1, 3], [1, 6], [4, 6], [9, 10]]
    assert watershed(curve, [0.5], [0.55]).tolist() == [[1, 3], [1, 6], [1, 10], [4, 6], [9, 10]]
    assert watershed(curve, [0.5], [0.0]).tolist() == [[1, 3], [1, 6], [1, 10], [4, 10], [9, 10]]


@pytest.mark.parametrize("curve", [[], [0.0], [0.4, 0.5, 0.5]])
def test_no_basin_no_group(curve: list[float]) -> None:
    assert watershed(curve, [0.5], [0.5]).shape == (0, 2)
    assert watershed(curve, [], [0.5]).shape == (0, 2)


def test_played_backwards_it_finds_the_same() -> None:
    curve = np.random.default_rng(0).random(200)
    levels, shares = (0.2, 0.5, 0.8), (0.3, 0.6)
    mirrored = 200 - watershed(curve[::-1], levels, shares)[:, ::-1]
    assert sorted(mirrored.tolist()) == watershed(curve, levels, shares).tolist()


def test_padding_changes_nothing() -> None:
    curve = np.random.default_rng(1).random(60)
    alone = watershed(curve, (0.3, 0.6), (0.5,))
    assert watershed(np.concatenate((curve, np.zeros(9))), (0.3, 0.6), (0.5,)).tolist() == alone.tolist()
