from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from untrimmed.demo import figure
from untrimmed.demo.actions import ACTIONS, COMPOUND, HELD, NEAR_MISSES, SINGLE, TIMING, perform
from untrimmed.demo.figure import Array
from untrimmed.demo.manner import Manner
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
        assert (lowest.max() > 0.06) == (kind in ("jump", "burpee", "drop")), kind


def test_near_misses_stay_short_of_the_actions_they_resemble() -> None:
    def most(kind: str, column: int) -> float:
        return float(np.abs(whole(kind, size=0)[1][:, column]).max())

    assert most("dip", figure.Y) < 0.5 * most("squat", figure.Y)
    assert most("nod", figure.PITCH) < 0.5 * most("bow", figure.PITCH)
    assert most("turn_away", figure.YAW) < 0.6 * most("spin", figure.YAW)


@pytest.mark.parametrize("action", ["bow", "punch", "squat"])
def test_held_movement_goes_to_the_posture_of_its_action_and_stays(action: str) -> None:
    held = HELD[action]
    time = np.arange(0, 8, 0.01)

    def performed(kind: str) -> Array:
        manner = draw_manner(kind, 3.0, np.random.default_rng(1), Difficulty(size=0, hesitation=0, tempo=1))
        change = perform(kind, time, replace(manner, side=1.0, alternate=False))
        return change[time < manner.duration]

    acted, stayed = performed(action), performed(held)
    posture = stayed[len(stayed) // 2]
    there = np.abs(acted - posture).max(axis=1) < 0.05
    longest = max(len(run) for run in "".join("x" if now else " " for now in there).split())
    assert 0 < longest < 60
    assert (np.abs(stayed - posture).max(axis=1) < 0.05).sum() > max(80, 2 * longest)


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


@pytest.mark.parametrize("kind", COMPOUND)
def test_compound_is_its_movements_in_order_without_rest_between_them(kind: str) -> None:
    for wanted in (0.5, 12.0):
        manner = draw_manner(kind, wanted, np.random.default_rng(2), Difficulty())
        assert tuple(part for part, _, _ in manner.parts) == COMPOUND[kind] * len(manner.beats)
        starts = np.array([start for _, start, _ in manner.parts])
        ends = starts + [how.duration for _, _, how in manner.parts]
        gaps = starts[1:] - ends[:-1]
        assert np.allclose(gaps[::2], 0)
        assert (gaps[1::2] > 0.4).all()
        assert ends[-1] == pytest.approx(manner.duration)
    assert len(manner.beats) > 1


def test_pairs_of_compounds_show_the_same_movements_in_the_opposite_order() -> None:
    assert COMPOUND["burpee"] == COMPOUND["drop"][::-1]
    assert COMPOUND["greet"] == COMPOUND["farewell"][::-1]
    assert {part for parts in COMPOUND.values() for part in parts} <= set(SINGLE)


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
            if kind in TIMING:
                assert TIMING[kind].least <= len(manner.beats) <= TIMING[kind].most
