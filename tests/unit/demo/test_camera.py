from __future__ import annotations

import numpy as np
import pytest

from untrimmed.demo.camera import light, moved, views

TIMES = np.arange(0, 60, 1 / 15)
SIZE = (160, 144)


def test_tripod_shows_the_middle_of_the_canvas_at_its_own_size() -> None:
    maps = views(SIZE, TIMES, np.random.default_rng(0), 0.0)
    assert np.allclose(maps, [[1, 0, 80], [0, 1, 72]])


@pytest.mark.parametrize("seed", range(5))
def test_shaken_camera_moves_but_keeps_the_figure_in_the_picture(seed: int) -> None:
    maps = views(SIZE, TIMES, np.random.default_rng(seed), 1.0)
    feet = maps @ np.array([0, 0.41 * SIZE[1], 1])
    head = maps @ np.array([0, -0.33 * SIZE[1], 1])
    assert np.ptp(feet[:, 0]) > 8
    for point in (feet, head):
        assert ((point > -6) & (point < np.array(SIZE) + 6)).all()
    assert np.abs(np.diff(maps[:, :, 2], axis=0)).max() < 0.04 * SIZE[1]


def test_moved_origin_is_mapped_to_where_the_point_was() -> None:
    maps = views(SIZE, TIMES[:10], np.random.default_rng(1), 1.0)
    there = moved(maps, (12.0, -7.0))
    assert np.allclose(there[:, :, 2], maps @ np.array([12.0, -7.0, 1.0]))
    assert np.array_equal(there[:, :, :2], maps[:, :, :2])


def test_light_is_a_rising_table_a_frame_and_constant_where_none_is_asked_for() -> None:
    tables = light(TIMES, np.random.default_rng(2), 1.0)
    assert tables.shape == (len(TIMES), 1, 256, 3)
    assert (np.diff(tables.astype(int), axis=2) >= 0).all()
    assert np.ptp(tables[:, 0, 128].astype(int), axis=0).min() > 15
    assert np.array_equal(light(TIMES, np.random.default_rng(2), 0.0)[7, 0, :, 1], np.arange(256))
