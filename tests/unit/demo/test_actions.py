from __future__ import annotations

import numpy as np
import pytest

from untrimmed.demo import figure
from untrimmed.demo.actions import ACTIONS, NEAR_MISSES, TIMING, Manner, perform
from untrimmed.demo.figure import Array
from untrimmed.demo.script import draw_manner
from untrimmed.demo.settings import Difficulty

KINDS = ACTIONS + NEAR_MISSES


def whole(kind: str, seed: int = 0, step: float = 0.01, **difficulty: float) -> tuple[Array, Array, Manner]:
    manner = draw_manner(kind, 2.0, np.random.default_rng(seed), Difficulty(**difficulty))
    time = np.arange(-0.5, manner.duration + 0.5, step)
    return time, perform(kind, time, manner), manner


def without_full_turns(change: Array) -> Array:
    out = change.copy()
    out[:, figure.YAW] = (out[:, figure.YAW] + np.pi) % (2 * np.pi) - np.pi
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_movement_leaves_rest_at_its_start_and_is_back_at_its_end(kind: str) -> None:
    for seed in range(5):
        time, change, manner = whole(kind, seed)
        outside = (time <= 0) | (time >= manner.duration)
        assert (change[outside] == 0).all()
        assert np.abs(change[~outside]).max() > 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_movement_is_without_jumps(kind: str) -> None:
    for seed in range(5):
        _, change, _ = whole(kind, seed, step=0.002)
        steps = np.diff(without_full_turns(change), axis=0)
        steps[:, figure.YAW] = (steps[:, figure.YAW] + np.pi) % (2 * np.pi) - np.pi
        assert np.abs(steps).max() < 0.12


def test_only_a_jump_leaves_the_ground() -> None:
    for kind in KINDS:
        _, change, _ = whole(kind, size=0)
        lowest = np.minimum(*(change[:, foot.start + 1] for foot in figure.FEET))
        assert (lowest.max() > 0.06) == (kind == "jump"), kind


def test_near_misses_stay_short_of_the_actions_they_resemble() -> None:
    def most(kind: str, column: int) -> float:
        return float(np.abs(whole(kind, size=0)[1][:, column]).max())

    assert most("dip", figure.Y) < 0.5 * most("squat", figure.Y)
    assert most("nod", figure.PITCH) < 0.5 * most("bow", figure.PITCH)
    assert most("turn", figure.YAW) < 0.5 * most("spin", figure.YAW)
    for which in (0, 1):
        foot = figure.FEET[which].start + 1
        assert most("lift_knee", foot) <= max(0.2, 0.5 * most("kick", foot))


def test_raised_arm_is_still_where_a_wave_goes_to_and_fro() -> None:
    def turns(kind: str) -> int:
        _, change, manner = whole(kind)
        hand = change[:, figure.HANDS[0 if manner.side > 0 else 1].start]
        speed = np.diff(hand)[np.abs(np.diff(hand)) > 1e-4]
        return int((np.diff(np.sign(speed)) != 0).sum())

    assert turns("raise_arm") <= 1
    assert turns("wave") >= 4


def test_spin_turns_once_a_beat() -> None:
    time, change, manner = whole("spin", size=0)
    last = change[np.flatnonzero(time < manner.duration)[-1], figure.YAW]
    assert last == pytest.approx(manner.side * 2 * np.pi * len(manner.beats), abs=0.1)


def test_beats_lie_in_order_inside_the_performance() -> None:
    rng = np.random.default_rng(3)
    for kind in KINDS:
        for wanted in (0.5, 3.0, 15.0):
            manner = draw_manner(kind, wanted, rng, Difficulty())
            times = manner.beats.reshape(-1)
            assert (np.diff(times) >= 0).all()
            assert times[0] >= 0
            assert times[-1] <= manner.duration + 1e-9
            assert 0.5 <= manner.duration <= 20.0
            assert TIMING[kind].least <= len(manner.beats) <= TIMING[kind].most
