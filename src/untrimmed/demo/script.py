"""What happens in a video: which movements are performed, when and how, and the tracks of the figures.

A script is drawn before anything is rendered; the truth of a video is read off it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untrimmed.demo.actions import ACTIONS, COMPOUND, HELD, OTHERS, TIMING, perform
from untrimmed.demo.figure import FEET, HANDS, LOOK, NOD, PITCH, ROLL, SIDES, TWIST, WIDTH, YAW, Array, X, Y, rest
from untrimmed.demo.manner import Manner, ease
from untrimmed.demo.settings import Difficulty

MIN_GAP = 0.5
"""Least time in seconds between two movements of a script."""
PAUSE = (0.2, 0.9)
"""Shortest and longest pause in seconds between two beats of one performance."""
LONGEST = 20.0
SHORTEST = 0.5


@dataclass(frozen=True)
class Event:
    """A movement in a script: ``kind`` from ``start`` seconds on; an instance if ``kind`` is an action."""

    kind: str
    start: float
    manner: Manner

    @property
    def end(self) -> float:
        return self.start + self.manner.duration


@dataclass(frozen=True)
class Stance:
    """From ``start`` seconds on the figure goes to ``x`` (body heights) and faces ``yaw`` within ``seconds``."""

    start: float
    seconds: float
    x: float
    yaw: float


@dataclass(frozen=True)
class Script:
    """All that one figure does in a video of ``duration`` seconds; ``sway`` seeds its small idle motions."""

    duration: float
    events: tuple[Event, ...]
    stances: tuple[Stance, ...]
    sway: int
    restlessness: float

    @property
    def instances(self) -> tuple[Event, ...]:
        """The events that are actions, in order of time."""
        return tuple(event for event in self.events if event.kind in ACTIONS)


def draw_manner(kind: str, wanted: float, rng: np.random.Generator, difficulty: Difficulty) -> Manner:
    """A way to perform ``kind`` that takes about ``wanted`` seconds (as far as whole beats allow)."""
    tempo = difficulty.tempo ** rng.uniform(-1, 1)
    size = 1 + difficulty.size * rng.uniform(-1, 0.6)
    if kind in COMPOUND:
        return _draw_compound(kind, wanted, tempo, size, rng)
    return _draw_single(kind, wanted, tempo, size, difficulty.hesitation, rng)


def _draw_single(
    kind: str, wanted: float, tempo: float, size: float, hesitation: float, rng: np.random.Generator
) -> Manner:
    timing = TIMING[kind]
    lead, beat = timing.lead / tempo, timing.beat / tempo
    count = int(np.clip(round((wanted - 2 * lead) / beat), timing.least, timing.most))
    beats, time = np.empty((count, 2)), lead
    for row in range(count):
        if row and rng.random() < hesitation:
            time += rng.uniform(*PAUSE)
        end = time + beat * rng.uniform(0.88, 1.12)
        beats[row] = time, end
        time = end
    duration = time + lead * rng.uniform(0.9, 1.3)
    fit = float(np.clip(duration, SHORTEST, LONGEST)) / duration
    side, alternate = float(rng.choice(SIDES)), bool(rng.random() < 0.7)
    return Manner(duration * fit, beats * fit, size, side, alternate)


def _draw_compound(kind: str, wanted: float, tempo: float, size: float, rng: np.random.Generator) -> Manner:
    usual = sum(_draw_single(part, 0.0, tempo, size, 0.0, rng).duration for part in COMPOUND[kind])
    parts: list[tuple[str, float, Manner]] = []
    rounds, time = [], 0.0
    for row in range(max(1, round(wanted / (usual + sum(PAUSE) / 2)))):
        # A pause parts the rounds, so that two rounds of one compound do not contain the other compound.
        time += rng.uniform(0.5, 1.0) * PAUSE[1] if row else 0.0
        begin = time
        for part in COMPOUND[kind]:
            how = _draw_single(part, 0.0, tempo, size, 0.0, rng)
            parts.append((part, time, how))
            time += how.duration
        rounds.append((begin, time))
        if time + usual + PAUSE[1] > LONGEST:
            break
    return Manner(time, np.array(rounds), size, parts=tuple(parts))


def draw_length(rng: np.random.Generator, difficulty: Difficulty) -> float:
    """Seconds an instance should take: mostly short, sometimes long."""
    if rng.random() < difficulty.long:
        return float(np.exp(rng.uniform(np.log(6.0), np.log(LONGEST))))
    return float(np.clip(np.exp(rng.normal(np.log(1.6), 0.7)), SHORTEST, 6.0))


class Deck:
    """Deals the classes in random order, each as often as any other, for all videos of a subset."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._cards: list[str] = []
        self._last = ""

    def deal(self) -> str:
        """The next class; never the one before it, so that a pause inside a performance is never the gap between two
        of the same class."""
        if not self._cards:
            self._cards = [str(name) for name in self._rng.permutation(ACTIONS)]
            if self._cards[-1] == self._last:
                self._cards.reverse()
        self._last = self._cards.pop()
        return self._last

    def put_back(self, kind: str) -> None:
        self._cards.append(kind)


def draw_script(duration: float, deck: Deck | None, rng: np.random.Generator, difficulty: Difficulty) -> Script:
    """Fill a video with movements: actions from the deck with near misses between them; without a deck, near misses
    only, as of a bystander."""
    events: list[Event] = []
    stances = [Stance(0.0, 0.0, rng.uniform(-0.15, 0.15), _facing(rng, difficulty))]
    time = rng.uniform(0.5, 1.5)
    while True:
        for _ in range(rng.poisson(difficulty.near_misses)):
            kind = str(rng.choice(tuple(HELD.values()) if rng.random() < 0.6 else OTHERS))
            event = Event(kind, time, draw_manner(kind, rng.uniform(0.6, 2.5), rng, difficulty))
            if event.end + MIN_GAP < duration:
                events.append(event)
                time = event.end + MIN_GAP + rng.exponential(0.2)
        if rng.random() < 0.3:
            seconds = rng.uniform(0.5, 1.2)
            stances.append(Stance(time - 0.3, seconds, rng.uniform(-0.25, 0.25), _facing(rng, difficulty)))
            time += seconds
        if deck is None:
            time += rng.uniform(0.5, 4.0)
        else:
            kind = deck.deal()
            event = Event(kind, time, draw_manner(kind, draw_length(rng, difficulty), rng, difficulty))
            if event.end + 0.4 > duration:
                deck.put_back(kind)
                break
            events.append(event)
            time = event.end + MIN_GAP + rng.exponential(0.4)
        if time + MIN_GAP > duration:
            break
    sway = int(rng.integers(2**31))
    return Script(duration, tuple(events), tuple(stances), sway, difficulty.restlessness)


def _facing(rng: np.random.Generator, difficulty: Difficulty) -> float:
    """A view from half the largest angle on: straight from the front, depth cannot be seen."""
    return float(np.deg2rad(difficulty.view) * rng.uniform(0.5, 1.0) * rng.choice(SIDES))


def track(script: Script, times: Array) -> Array:
    """Pose of a figure at the given ``(F,)`` times in seconds: ``(F, 21)``."""
    out = rest(len(times)) + _stand(script, times)
    for event in script.events:
        rows = slice(*np.searchsorted(times, (event.start, event.end)))
        out[rows] += perform(event.kind, times[rows] - event.start, event.manner)
    return out


def _stand(script: Script, times: Array) -> Array:
    """Going from stance to stance, and the small motions of somebody who stands."""
    change = np.zeros((len(times), WIDTH))
    change[:, X], change[:, YAW] = script.stances[0].x, script.stances[0].yaw
    for before, after in zip(script.stances[:-1], script.stances[1:], strict=True):
        going = ease((times - after.start) / after.seconds)
        change[:, X] += (after.x - before.x) * going
        change[:, YAW] += (after.yaw - before.yaw) * going
        stepping = 4 * going * (1 - going)
        for foot, shift in zip(FEET, (0.0, np.pi), strict=True):
            lift = np.maximum(np.sin(2 * np.pi * 1.6 * (times - after.start) + shift), 0)
            change[:, foot.start + 1] += 0.06 * stepping * lift
    rng = np.random.default_rng(script.sway)
    sizes = {X: 0.012, ROLL: 0.025, TWIST: 0.07, PITCH: 0.025, LOOK: 0.35, NOD: 0.08, Y: 0.004}
    for hand in HANDS:
        sizes |= {hand.start: 0.05, hand.start + 1: 0.03, hand.start + 2: 0.07}
    for column, size in sizes.items():
        change[:, column] += script.restlessness * size * wander(times, rng)
    change[:, Y] -= script.restlessness * 0.006
    return change


def wander(times: Array, rng: np.random.Generator, slowest: float = 0.06, fastest: float = 0.6) -> Array:
    """A smooth random function of time, ``(F,)``, of standard deviation about 1, between two frequencies in Hz."""
    rates = np.exp(rng.uniform(np.log(slowest), np.log(fastest), 5))
    waves = np.sin(2 * np.pi * np.outer(times, rates) + rng.uniform(0, 2 * np.pi, 5))
    return np.asarray(waves.sum(axis=1) * np.sqrt(2 / 5))
