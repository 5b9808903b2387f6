"""How movements are performed in time: the beats of a performance, and the curves that movements are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from untrimmed.demo.figure import Array


@dataclass(frozen=True)
class Manner:
    """How one movement is performed.

    Args:
        duration: seconds from leaving rest to being back, above 0.
        beats: ``(B, 2)`` begin and end of each beat in seconds, in order, inside the duration; of a compound, of each
            round.
        size: how far the movement goes, about 0.75 to 1.2.
        side: 1 or -1: the arm, leg or direction it starts with.
        alternate: whether the side changes with every beat.
        parts: of a compound, the movements it is made of, in order, each with the second at which it begins.
    """

    duration: float
    beats: Array
    size: float = 1.0
    side: float = 1.0
    alternate: bool = False
    parts: tuple[tuple[str, float, Manner], ...] = ()


def ease(u: Array) -> Array:
    """0 below 0, 1 above 1, smooth in between."""
    u = np.clip(u, 0, 1)
    return u * u * (3 - 2 * u)


def hold(u: Array, rise: float, fall: float) -> Array:
    """From 0 at u = 0 to 1 at ``rise``, back to 0 between ``1 - fall`` and u = 1."""
    return ease(u / rise) * ease((1 - u) / fall)


def bump(u: Array, first: float, last: float) -> Array:
    """One smooth swell between ``first`` and ``last``, 0 elsewhere, 1 in the middle."""
    return np.sin(np.pi * np.clip((u - first) / (last - first), 0, 1)) ** 2


def beat_at(time: Array, manner: Manner) -> tuple[Array, Array]:
    """Number of the beat and place in it, 0 to 1; between beats the place is 0."""
    number = np.clip(np.searchsorted(manner.beats[:, 0], time, side="right") - 1, 0, None)
    start, end = manner.beats[number].T
    place = (time - start) / (end - start)
    return number.astype(float), np.where((place > 0) & (place < 1), place, 0.0)


def sides_of(number: Array, manner: Manner) -> Array:
    """1 or -1: the side on which each beat, by its number, is performed."""
    return manner.side * np.where(manner.alternate & (number % 2 == 1), -1.0, 1.0)


def envelope(time: Array, manner: Manner) -> Array:
    """0 at the ends, 1 over all beats: how far the limbs are in the posture the beats start from."""
    lead, tail = manner.beats[0, 0], manner.duration - manner.beats[-1, 1]
    return ease(time / max(lead, 1e-6)) * ease((manner.duration - time) / max(tail, 1e-6))
