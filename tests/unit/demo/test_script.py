from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from untrimmed.demo import figure
from untrimmed.demo.actions import ACTIONS, NEAR_MISSES
from untrimmed.demo.script import MIN_GAP, Deck, Script, draw_length, draw_script, track, wander
from untrimmed.demo.settings import Difficulty


def scripts(count: int, difficulty: Difficulty | None = None, actions: bool = True) -> list[Script]:
    rng = np.random.default_rng(5)
    deck = Deck(np.random.default_rng(6)) if actions else None
    return [draw_script(40.0, deck, rng, difficulty or Difficulty()) for _ in range(count)]


def test_movements_lie_inside_the_video_in_order_and_apart() -> None:
    for script in scripts(30):
        times = [time for event in script.events for time in (event.start, event.end)]
        assert times[0] > 0
        assert times[-1] < script.duration
        gaps = np.diff(times)[1::2]
        assert (gaps >= MIN_GAP - 1e-9).all()


def test_lengths_reach_from_half_a_second_to_twenty_and_are_mostly_short() -> None:
    lengths = np.array([event.manner.duration for script in scripts(150) for event in script.instances])
    assert lengths.min() >= 0.5
    assert lengths.min() < 0.75
    assert 10 < lengths.max() <= 20
    assert 1.0 < np.median(lengths) < 3.0


def test_every_class_is_dealt_as_often_as_any_other() -> None:
    counts = Counter(event.kind for script in scripts(60) for event in script.instances)
    assert set(counts) == set(ACTIONS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_no_class_follows_itself() -> None:
    deck = Deck(np.random.default_rng(0))
    dealt = [deck.deal() for _ in range(2000)]
    assert all(one != other for one, other in pairwise(dealt))


def test_bystander_performs_near_misses_only() -> None:
    kinds = {event.kind for script in scripts(20, actions=False) for event in script.events}
    assert kinds
    assert kinds <= set(NEAR_MISSES)
    assert not any(script.instances for script in scripts(5, actions=False))


def test_more_near_misses_are_asked_for_and_come() -> None:
    def share(near_misses: float) -> float:
        events = [event for script in scripts(20, Difficulty(near_misses=near_misses)) for event in script.events]
        return sum(event.kind in NEAR_MISSES for event in events) / len(events)

    assert share(0) == 0
    assert share(0.5) < share(2.0)


def test_long_instances_come_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    assert max(draw_length(rng, Difficulty(long=0)) for _ in range(200)) <= 6.0
    assert min(draw_length(rng, Difficulty(long=1)) for _ in range(200)) >= 6.0


def test_still_figure_moves_only_while_something_happens() -> None:
    for script in scripts(3, Difficulty(restlessness=0)):
        times = np.arange(0, script.duration, 0.05)
        poses = track(script, times)
        busy = np.zeros(len(times), dtype=bool)
        for event in script.events:
            busy |= (times > event.start) & (times < event.end)
        for stance in script.stances[1:]:
            busy |= (times >= stance.start) & (times <= stance.start + stance.seconds)
        poses[:, figure.YAW] %= 2 * np.pi
        quiet = ~busy[:-1] & ~busy[1:]
        assert np.abs(np.diff(poses, axis=0)[quiet]).max() < 1e-6
        assert busy.any()


def test_wandering_is_smooth_and_of_unit_size() -> None:
    times = np.arange(0, 400, 0.05)
    values = np.stack([wander(times, np.random.default_rng(seed)) for seed in range(20)])
    assert values.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.diff(values)).max() < 0.35
