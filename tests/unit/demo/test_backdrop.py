from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from untrimmed.demo import backdrop
from untrimmed.demo.backdrop import CANVAS, PLACES, paint
from untrimmed.demo.camera import views

TIMES = np.arange(0, 20, 0.2)
SIZE = (160, 144)


class Loaded:
    """A source of chance whose first choice is given."""

    def __init__(self, first: int) -> None:
        self._rng = np.random.default_rng(4)
        self._first: int | None = first

    def __getattr__(self, name: str) -> object:
        return getattr(self._rng, name)

    def integers(self, *args: int) -> int:
        first, self._first = self._first, None
        return int(self._rng.integers(*args)) if first is None else first


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_every_place_is_painted_all_over_and_things_move_in_it(number: int) -> None:
    place = paint(SIZE, TIMES, cast(np.random.Generator, Loaded(number)), 1.5)
    assert place.canvas.shape == (round(144 * CANVAS[1]), round(160 * CANVAS[0]), 3)
    assert place.canvas.dtype == np.uint8
    assert place.canvas.std() > 15
    maps = views(SIZE, TIMES, np.random.default_rng(0), 0.0)
    polygons = [points for mover in place.movers for _, points in mover.polygons(maps, SIZE[1])]
    assert polygons
    assert any(np.ptp(points, axis=0).max() > 16 for points in polygons)


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_nothing_moves_without_clutter(number: int) -> None:
    assert not paint(SIZE, TIMES, cast(np.random.Generator, Loaded(number)), 0.0).movers


def test_places_are_chosen_by_chance() -> None:
    chosen = {paint(SIZE, TIMES[:2], np.random.default_rng(seed), 0.0).canvas.tobytes() for seed in range(6)}
    assert len(chosen) == 6
    assert len(backdrop.PLACES) == 5
