"""What figures do: each action as a movement away from rest and back, as a function of the time since it began.

A movement is a change that is added to the track of a figure standing still (see :mod:`untrimmed.demo.figure`). It
is zero before it begins and after it has ended; these two instants are the truth of an instance, by definition. A
repetitive movement is made of *beats* (one wave to and fro, one jump, one turn), between a lead-in and a
lead-out where it has such (a wave begins when the arm begins to rise).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from untrimmed.demo.figure import (
    FEET,
    HANDS,
    LOOK,
    NOD,
    PITCH,
    ROLL,
    SIDES,
    TWIST,
    WIDTH,
    YAW,
    Array,
    X,
    Y,
    Z,
    rest,
)
from untrimmed.demo.manner import Manner, beat_at, bump, ease, envelope, hold, sides_of

SINGLE = ("bow", "jump", "punch", "spin", "squat", "wave")
"""Classes that are one movement, done once or again and again."""

COMPOUND = {
    "burpee": ("squat", "jump"),
    "drop": ("jump", "squat"),
    "farewell": ("wave", "bow"),
    "greet": ("bow", "wave"),
}
"""Classes that are two movements in a row. What any one moment shows is the same in both orders, and in the single
movement; only what comes before and after tells them apart."""

ACTIONS = tuple(sorted((*SINGLE, *COMPOUND)))
"""The classes of the small world."""

HELD = {
    "bow": "bend_over",
    "jump": "aborted_jump",
    "punch": "point",
    "spin": "turn_away",
    "squat": "crouch",
    "wave": "raise_arm",
}
"""What figures also do, without a label: it begins as the action does, and then stays as it is, or goes back the way
it came."""

OTHERS = ("dip", "fold_hands", "lift_knee", "nod", "pick_up", "scratch_head", "shrug", "stretch")
"""Further movements without a label, which resemble actions from afar."""

NEAR_MISSES = (*HELD.values(), *OTHERS)


@dataclass(frozen=True)
class Timing:
    """Seconds that the parts of a movement take at tempo 1: a beat, and what leads in and out of the beats; and how
    many beats it has, at least and at most."""

    beat: float
    lead: float = 0.0
    least: int = 1
    most: int = 100


TIMING = {
    "bow": Timing(1.5),
    "jump": Timing(0.95),
    "punch": Timing(0.5, 0.18),
    "spin": Timing(1.15),
    "squat": Timing(1.3),
    "wave": Timing(0.55, 0.35, least=2),
    "bend_over": Timing(1.6, 0.55, most=1),
    "fold_hands": Timing(1.2, 0.35, most=1),
    "aborted_jump": Timing(0.9, most=1),
    "point": Timing(1.2, 0.3, most=1),
    "turn_away": Timing(0.8, 0.55, most=1),
    "crouch": Timing(1.6, 0.5, most=1),
    "raise_arm": Timing(1.2, 0.4, most=1),
    "dip": Timing(1.2),
    "lift_knee": Timing(0.9),
    "nod": Timing(1.4),
    "pick_up": Timing(1.9, most=1),
    "scratch_head": Timing(0.3, 0.4, least=2),
    "shrug": Timing(0.8, most=1),
    "stretch": Timing(1.4, 0.5, most=1),
}
"""How fast each movement usually is."""


def perform(kind: str, time: Array, manner: Manner) -> Array:
    """The change that a movement makes to a track.

    Args:
        kind: one of :data:`ACTIONS` or :data:`NEAR_MISSES`.
        time: ``(F,)`` seconds since the movement began; may lie outside of it.
        manner: how it is performed.

    Returns:
        ``(F, 21)``, zero where ``time`` is outside ``[0, manner.duration]``; a full turn of the yaw counts as zero.
    """
    if manner.parts:
        together = [perform(part, time - start, how) for part, start, how in manner.parts]
        return np.asarray(np.sum(together, axis=0), dtype=np.float64)
    change = np.zeros((len(time), WIDTH))
    inside = (time > 0) & (time < manner.duration)
    if inside.any():
        change[inside] = _MOVES[kind](time[inside], manner)
    return change


def _reach(change: Array, which: int, target: tuple[Array | float, ...], weight: Array) -> None:
    """Bring a hand (0 left, 1 right) from rest towards a target ``(x outwards, y, z)`` by a weight of 0 to 1."""
    hand = HANDS[which]
    base = rest(1)[0, hand]
    aim = np.stack([SIDES[which] * target[0] + 0 * weight, target[1] + 0 * weight, target[2] + 0 * weight], axis=1)
    change[:, hand] += weight[:, None] * (aim - base)


def _bow(time: Array, manner: Manner) -> Array:
    return _bent(hold(beat_at(time, manner)[1], 0.4, 0.4), manner)


def _bend_over(time: Array, manner: Manner) -> Array:
    return _bent(envelope(time, manner), manner)


def _bent(down: Array, manner: Manner) -> Array:
    change = np.zeros((len(down), WIDTH))
    change[:, PITCH] = 1.15 * manner.size * down
    change[:, NOD] = 0.3 * down
    change[:, Z] = -0.06 * down
    return change


def _squat(time: Array, manner: Manner) -> Array:
    return _low(hold(beat_at(time, manner)[1], 0.42, 0.42), manner)


def _crouch(time: Array, manner: Manner) -> Array:
    return _low(envelope(time, manner), manner)


def _low(down: Array, manner: Manner) -> Array:
    change = np.zeros((len(down), WIDTH))
    change[:, Y] = -0.25 * manner.size * down
    change[:, Z] = -0.05 * down
    change[:, PITCH] = 0.5 * down
    for which, sign in enumerate(SIDES):
        change[:, FEET[which].start] = sign * 0.03 * down
        _reach(change, which, (0.05, 0.1, 0.9), down)
    return change


def _fold_hands(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    up = envelope(time, manner)
    apart = 0.75 * manner.size * ease((1 - up) / 0.6)
    for which in (0, 1):
        _reach(change, which, (-0.26 + apart, 0.0, 0.7 - 0.3 * apart), ease(up / 0.6))
    return change


def _jump(time: Array, manner: Manner) -> Array:
    number, u = beat_at(time, manner)
    span = (manner.beats[:, 1] - manner.beats[:, 0])[number.astype(int)]
    height = np.clip(0.17 * span**2, 0.08, 0.20) * manner.size
    flight = np.clip((u - 0.36) / 0.36, 0, 1)
    hop = height * 4 * flight * (1 - flight)
    change = _coiled(bump(u, 0, 0.44), bump(u, 0, 0.44) + 0.75 * bump(u, 0.68, 1), manner)
    change[:, Y] += hop
    for foot in FEET:
        change[:, foot.start + 1] = hop
    for which in (0, 1):
        _reach(change, which, (0.45, 0.75, 0.3), bump(u, 0.26, 0.86))
    return change


def _aborted_jump(time: Array, manner: Manner) -> Array:
    _, u = beat_at(time, manner)
    change = _coiled(bump(u, 0, 0.5), bump(u, 0, 0.5), manner)
    for which in (0, 1):
        _reach(change, which, (0.4, 0.3, 0.6), 0.8 * bump(u, 0.3, 0.9))
    return change


def _coiled(back: Array, crouch: Array, manner: Manner) -> Array:
    """Ready to leap: knees bent, arms swung back."""
    change = np.zeros((len(back), WIDTH))
    change[:, Y] = -0.13 * manner.size * crouch
    change[:, PITCH] = 0.45 * crouch
    for which in (0, 1):
        _reach(change, which, (0.25, -0.8, -0.5), 0.9 * back)
    return change


def _punch(time: Array, manner: Manner) -> Array:
    number, u = beat_at(time, manner)
    thrust = ease(u / 0.4) * ease((1 - u) / 0.5) * manner.size
    return _fists(sides_of(number, manner), envelope(time, manner), thrust)


def _point(time: Array, manner: Manner) -> Array:
    guard = envelope(time, manner)
    return _fists(np.full(len(time), manner.side), guard, manner.size * ease((guard - 0.4) / 0.6))


def _fists(side: Array, guard: Array, thrust: Array) -> Array:
    change = np.zeros((len(side), WIDTH))
    for which, sign in enumerate(SIDES):
        out = np.where(side == sign, thrust, 0.0)
        # The shoulders turn into the punch; the fist goes where the hips face all the same.
        _reach(change, which, (-0.05 + 0.42 * out, -0.12 + 0.12 * out, 0.4 + 0.52 * out), guard)
    change[:, TWIST] = -0.45 * side * thrust * guard
    change[:, PITCH] = 0.14 * thrust
    return change


def _spin(time: Array, manner: Manner) -> Array:
    ends, starts = manner.beats[:, 1], manner.beats[:, 0]
    u = np.clip((time[:, None] - starts) / (ends - starts), 0, 1)
    # The first turn starts and the last one ends at rest; in between the figure keeps turning.
    turned = manner.side * 2 * np.pi * (u - 0.11 * np.sin(2 * np.pi * u)).sum(axis=1)
    return _turning(turned, ease(time / 0.25) * ease((manner.duration - time) / 0.25), manner)


def _turn_away(time: Array, manner: Manner) -> Array:
    away = envelope(time, manner)
    return _turning(manner.side * 3.0 * manner.size * away, np.sqrt(4 * away * (1 - away)), manner)


def _turning(angle: Array, moving: Array, manner: Manner) -> Array:
    change = np.zeros((len(angle), WIDTH))
    change[:, YAW] = angle
    for which, shift in ((0, 0.0), (1, np.pi / 2)):
        change[:, FEET[which].start + 1] = 0.05 * moving * np.sin(angle + shift) ** 2
        _reach(change, which, (0.5, -0.68, 0.12), 0.9 * manner.size * moving)
    return change


def _wave(time: Array, manner: Manner) -> Array:
    _, u = beat_at(time, manner)
    return _arm_up(0.3 + 0.65 * manner.size * np.sin(2 * np.pi * u), envelope(time, manner), manner)


def _raise_arm(time: Array, manner: Manner) -> Array:
    return _arm_up(np.full(len(time), 0.3), envelope(time, manner), manner)


def _arm_up(lean: Array, up: Array, manner: Manner) -> Array:
    change = np.zeros((len(up), WIDTH))
    _reach(change, _arm(manner), (0.95 * np.sin(lean), 0.95 * np.cos(lean), 0.15), up)
    return change


def _dip(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    _, u = beat_at(time, manner)
    down = hold(u, 0.42, 0.42)
    change[:, Y] = -0.09 * manner.size * down
    change[:, PITCH] = 0.2 * down
    for which in (0, 1):
        _reach(change, which, (0.1, -0.4, 0.6), 0.5 * down)
    return change


def _nod(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    _, u = beat_at(time, manner)
    down = hold(u, 0.4, 0.4)
    change[:, PITCH] = 0.38 * manner.size * down
    change[:, NOD] = 0.45 * down
    return change


def _lift_knee(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    number, u = beat_at(time, manner)
    side = sides_of(number, manner)
    up = hold(u, 0.4, 0.4)
    for which, sign in enumerate(SIDES):
        active = (side == sign).astype(float)
        change[:, FEET[which].start + 1] = active * 0.17 * manner.size * up
        change[:, FEET[which].start + 2] = active * 0.07 * manner.size * up
        _reach(change, which, (0.3, -0.5, 0.4), 0.6 * up)
    change[:, X] = -0.03 * side * up
    return change


def _pick_up(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    _, u = beat_at(time, manner)
    down = hold(u, 0.42, 0.42)
    change[:, PITCH] = 1.0 * manner.size * down
    change[:, Y] = -0.13 * manner.size * down
    change[:, Z] = -0.05 * down
    _reach(change, _arm(manner), (0.0, -0.8, 0.55), down)
    return change


def _scratch_head(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    _, u = beat_at(time, manner)
    rub = 0.08 * np.sin(2 * np.pi * u)
    _reach(change, _arm(manner), (-0.02 + rub, 0.42 + 0.5 * rub, 0.1), envelope(time, manner))
    change[:, ROLL] = 0.06 * manner.side * envelope(time, manner)
    return change


def _stretch(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    for which in (0, 1):
        _reach(change, which, (0.35, 0.85 * manner.size, 0.05), envelope(time, manner))
    change[:, PITCH] = -0.12 * envelope(time, manner)
    return change


def _shrug(time: Array, manner: Manner) -> Array:
    change = np.zeros((len(time), WIDTH))
    _, u = beat_at(time, manner)
    for which in (0, 1):
        _reach(change, which, (0.55, -0.45, 0.45), manner.size * hold(u, 0.3, 0.4))
    change[:, LOOK] = 0.3 * manner.side * hold(u, 0.3, 0.4)
    return change


def _arm(manner: Manner) -> int:
    return 0 if manner.side > 0 else 1


_MOVES: dict[str, Callable[[Array, Manner], Array]] = {
    "bow": _bow,
    "jump": _jump,
    "punch": _punch,
    "spin": _spin,
    "squat": _squat,
    "wave": _wave,
    "bend_over": _bend_over,
    "fold_hands": _fold_hands,
    "aborted_jump": _aborted_jump,
    "point": _point,
    "turn_away": _turn_away,
    "crouch": _crouch,
    "raise_arm": _raise_arm,
    "dip": _dip,
    "lift_knee": _lift_knee,
    "nod": _nod,
    "pick_up": _pick_up,
    "scratch_head": _scratch_head,
    "shrug": _shrug,
    "stretch": _stretch,
}


def stroll(time: Array, pace: float) -> Array:
    """Walking on the spot, facing forward: what feet, arms and hips add to standing. ``pace`` is steps a second."""
    change = np.zeros((len(time), WIDTH))
    phase = np.pi * pace * time
    for which, sign in enumerate(SIDES):
        swing = np.sin(phase + (0 if sign > 0 else np.pi))
        change[:, FEET[which].start + 1] = 0.06 * np.maximum(np.cos(phase + (0 if sign > 0 else np.pi)), 0)
        change[:, FEET[which].start + 2] = 0.14 * swing
        change[:, HANDS[which].start + 2] = -0.35 * swing
        change[:, HANDS[which].start + 1] = 0.06 * swing**2
    change[:, Y] = 0.012 * np.cos(2 * phase) - 0.012
    return change
