"""An articulated figure: pose vectors to joints in space, and joints to polygons in the picture.

Space is measured in body heights: x to the right of the picture, y up, z towards the camera. At yaw 0 the figure
faces the camera, so that its left is the right of the picture. A *track* is a pose vector a frame, ``(F, 21)``;
its columns are named here. Hands are given relative to the shoulder in the frame of the trunk, in arm lengths, and
feet relative to the ground under the pelvis; elbows and knees follow (two-bone inverse kinematics).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

X, Y, Z, YAW, PITCH, ROLL, TWIST, NOD, LOOK = range(9)
"""Columns of a track: place of the pelvis (y from standing height), then angles in radians. A positive pitch bends
forward, a positive yaw turns towards the right of the picture."""
HANDS = (slice(9, 12), slice(12, 15))
FEET = (slice(15, 18), slice(18, 21))
WIDTH = 21
SIDES = (1.0, -1.0)
"""Left and right: the sign of x in the frame of the body."""

HIP_HEIGHT, THIGH, SHIN, ANKLE = 0.50, 0.245, 0.235, 0.035
TRUNK, SHOULDERS, HIPS, ARM = 0.29, 0.095, 0.055, 0.37
HEAD_HEIGHT, HEAD = 0.125, 0.078

_JOINTS = (
    *("pelvis", "neck", "head", "hair", "eye_left", "eye_right"),
    *("shoulder_left", "elbow_left", "hand_left", "hip_left", "knee_left", "ankle_left", "toe_left"),
    *("shoulder_right", "elbow_right", "hand_right", "hip_right", "knee_right", "ankle_right", "toe_right"),
)
JOINT = {name: index for index, name in enumerate(_JOINTS)}


def rest(frames: int) -> Array:
    """A track of ``frames`` frames of standing still, arms hanging: ``(frames, 21)``."""
    track = np.zeros((frames, WIDTH))
    for side, hand, foot in zip(SIDES, HANDS, FEET, strict=True):
        track[:, hand] = (side * 0.16, -0.95, 0.08)
        track[:, foot] = (side * 0.07, 0.0, 0.0)
    return track


@dataclass(frozen=True)
class Body:
    """How a figure looks: ``girth`` scales the thickness of its limbs, colours are RGB."""

    girth: float
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    shirt: tuple[int, int, int]
    trousers: tuple[int, int, int]
    shoes: tuple[int, int, int]
    sleeves: bool


def joints(track: Array) -> Array:
    """Joints in space: ``(F, 21)`` track to ``(F, 20, 3)``, in body heights; :data:`JOINT` names the second axis."""
    out = np.empty((len(track), len(JOINT), 3))
    turned = _turn(track[:, YAW], axis=1)
    upper = turned @ _turn(track[:, PITCH], axis=0) @ _turn(track[:, ROLL], axis=2)
    chest = upper @ _turn(track[:, TWIST], axis=1)
    ground = track[:, [X, Y, Z]] * (1, 0, 1)
    pelvis = track[:, [X, Y, Z]] + np.array([0, HIP_HEIGHT, 0])
    neck = pelvis + upper[:, :, 1] * TRUNK
    out[:, JOINT["pelvis"]], out[:, JOINT["neck"]] = pelvis, neck
    _head(out, neck, chest @ _turn(track[:, LOOK], axis=1) @ _turn(track[:, NOD], axis=0))
    for name, side, hand, foot in zip(("left", "right"), SIDES, HANDS, FEET, strict=True):
        shoulder = neck + chest @ (side * SHOULDERS, -0.02, 0.0)
        aim = shoulder + np.einsum("fij,fj->fi", chest, track[:, hand] * ARM)
        elbow, palm = _two_bones(shoulder, aim, ARM * 0.5, ARM * 0.5, chest @ (side * 0.6, -0.7, -0.5))
        hip = pelvis + turned @ (side * HIPS, 0.0, 0.0)
        sole = ground + np.einsum("fij,fj->fi", turned, track[:, foot])
        knee, ankle = _two_bones(hip, sole + np.array([0, ANKLE, 0]), THIGH, SHIN, turned @ (side * 0.25, 0.0, 1.0))
        droop = np.clip(2.5 * track[:, foot][:, 1:2], 0, 0.7)
        toe = ankle + 0.075 * (turned @ (side * 0.25, -0.15, 1.0) - droop * np.array([0.0, 1.0, 0.0]))
        chain = {"shoulder": shoulder, "elbow": elbow, "hand": palm, "hip": hip, "knee": knee, "ankle": ankle}
        for joint, place in (chain | {"toe": toe}).items():
            out[:, JOINT[f"{joint}_{name}"]] = place
    return out


def _head(out: Array, neck: Array, frame: Array) -> None:
    out[:, JOINT["head"]] = neck + frame @ (0.0, HEAD_HEIGHT, 0.012)
    out[:, JOINT["hair"]] = neck + frame @ (0.0, HEAD_HEIGHT + 0.024, -0.024)
    for name, side in zip(("left", "right"), SIDES, strict=True):
        out[:, JOINT[f"eye_{name}"]] = neck + frame @ (side * 0.034, HEAD_HEIGHT + 0.004, 0.012 + HEAD * 0.92)


def _turn(angle: Array, axis: int) -> Array:
    """Rotations about one axis, ``(F,)`` to ``(F, 3, 3)``; a positive turn takes y to z, z to x or x to y."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros((len(angle), 3, 3))
    out[:, axis, axis] = 1
    out[:, first, first] = out[:, second, second] = np.cos(angle)
    out[:, second, first] = np.sin(angle)
    out[:, first, second] = -out[:, second, first]
    return out


def _two_bones(root: Array, aim: Array, upper: float, lower: float, bend: Array) -> tuple[Array, Array]:
    """Middle and end of a chain of two bones that reaches from ``root`` for ``aim``, bent towards ``bend``."""
    way = aim - root
    length = np.linalg.norm(way, axis=1, keepdims=True)
    toward = way / np.maximum(length, 1e-9)
    length = np.clip(length, abs(upper - lower) + 1e-3, 0.999 * (upper + lower))
    along = (upper**2 - lower**2 + length**2) / (2 * length)
    across = bend - (bend * toward).sum(axis=1, keepdims=True) * toward
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    middle = root + along * toward + np.sqrt(np.maximum(upper**2 - along**2, 0)) * across
    return middle, root + length * toward


_LIMBS = (
    # joints at both ends, radii at both ends, colour, bias of the depth at which it is drawn
    ("neck", "head", 0.032, 0.030, "skin", -0.01),
    ("hair", "hair", HEAD * 1.02, HEAD * 1.02, "hair", 0.0),
    ("head", "head", HEAD * 0.92, HEAD * 0.92, "skin", 0.0),
    ("shoulder_left", "elbow_left", 0.040, 0.032, "shirt", 0.0),
    ("shoulder_right", "elbow_right", 0.040, 0.032, "shirt", 0.0),
    ("elbow_left", "hand_left", 0.030, 0.024, "sleeve", 0.004),
    ("elbow_right", "hand_right", 0.030, 0.024, "sleeve", 0.004),
    ("hand_left", "hand_left", 0.038, 0.038, "skin", 0.008),
    ("hand_right", "hand_right", 0.038, 0.038, "skin", 0.008),
    ("hip_left", "knee_left", 0.058, 0.043, "trousers", -0.05),
    ("hip_right", "knee_right", 0.058, 0.043, "trousers", -0.05),
    ("knee_left", "ankle_left", 0.042, 0.030, "trousers", 0.0),
    ("knee_right", "ankle_right", 0.042, 0.030, "trousers", 0.0),
    ("ankle_left", "toe_left", 0.034, 0.026, "shoes", 0.002),
    ("ankle_right", "toe_right", 0.034, 0.026, "shoes", 0.002),
)
_TRUNK = (("shoulder_left", 0.042), ("shoulder_right", 0.042), ("hip_left", 0.058), ("hip_right", 0.058))
_ARC = np.linspace(0.5 * np.pi, 1.5 * np.pi, 7)
_CIRCLE = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_EYE = 0.006 * np.array([(-1.0, -1.4), (1.0, -1.4), (1.0, 1.4), (-1.0, 1.4)])
_OUTLINE = 0.8
"""Width in pixels of the dark edge around every part."""
FIX = 4
"""Sub-pixel bits of the coordinates handed to OpenCV."""


@dataclass(frozen=True)
class Sketch:
    """A figure ready to be drawn, frame by frame.

    ``limbs`` are fixed-point polygons, ``(F, P, 2, 14, 2)``: of P limbs, first the outline, then what it encloses.
    ``trunk`` is ``(F, 2, 32, 2)``, points whose hull is taken when it is drawn. ``order`` is ``(F, P + 1)``, far to
    near, the last part being the trunk; ``colours`` has one RGB a part. ``eyes`` is ``(F, 2, 4, 2)``, and ``seen``,
    ``(F, 2)``, says which of them are turned to the camera.
    """

    limbs: NDArray[np.int32]
    trunk: NDArray[np.int32]
    order: NDArray[np.int64]
    colours: tuple[tuple[int, int, int], ...]
    eyes: NDArray[np.int32]
    seen: NDArray[np.bool_]

    def draw(self, image: NDArray[np.uint8], frame: int) -> None:
        """Paint the figure as it is in ``frame`` over an RGB image, in place."""
        limbs = self.limbs[frame]
        for part in self.order[frame]:
            if part < len(limbs):
                edge, inside = limbs[part]
            else:
                edge, inside = (cv2.convexHull(points) for points in self.trunk[frame])
            colour = self.colours[part]
            dark = (colour[0] * 2 // 5, colour[1] * 2 // 5, colour[2] * 2 // 5)
            cv2.fillConvexPoly(image, edge, dark, cv2.LINE_AA, FIX)
            cv2.fillConvexPoly(image, inside, colour, cv2.LINE_AA, FIX)
        for eye in np.flatnonzero(self.seen[frame]):
            cv2.fillConvexPoly(image, self.eyes[frame, eye], (30, 26, 30), cv2.LINE_AA, FIX)


def sketch(places: Array, body: Body, views: Array, size: float, elevation: float = 0.12) -> Sketch:
    """Project a figure and lay out its polygons.

    Args:
        places: ``(F, 20, 3)`` joints in body heights, as from :func:`joints`.
        body: its looks.
        views: ``(F, 2, 3)`` maps from stage pixels (origin where the figure stands, y down) to the picture.
        size: height of the figure in stage pixels.
        elevation: angle in radians from which the camera looks down.
    """
    flat = np.stack([places[..., 0], -places[..., 1] * np.cos(elevation) + places[..., 2] * np.sin(elevation)], axis=-1)
    spot = np.einsum("fij,fkj->fki", views[:, :, :2], flat * size) + views[:, None, :, 2]
    depth = places[..., 2] * np.cos(elevation) + places[..., 1] * np.sin(elevation)
    zoom = np.sqrt(np.abs(np.linalg.det(views[:, :, :2])))[:, None] * size * body.girth

    first = np.array([JOINT[limb[0]] for limb in _LIMBS])
    second = np.array([JOINT[limb[1]] for limb in _LIMBS])
    radii = np.array([limb[2:4] for limb in _LIMBS])
    bias = np.array([limb[5] for limb in _LIMBS])
    trunk = np.array([JOINT[name] for name, _ in _TRUNK])
    near = np.concatenate(
        [(depth[:, first] + depth[:, second]) / 2 + bias, depth[:, trunk].mean(axis=1, keepdims=True)], axis=1
    )
    limbs, hulls = [], []
    for extra in (_OUTLINE, 0.0):
        ends = (zoom[:, :, None] * radii + extra)[..., None]
        limbs.append(_capsules(spot[:, first], spot[:, second], ends[:, :, 0], ends[:, :, 1]))
        corners = zoom * np.array([radius for _, radius in _TRUNK]) + extra
        hulls.append((spot[:, trunk, None] + corners[:, :, None, None] * _CIRCLE).reshape(len(places), -1, 2))
    head, eyes = JOINT["head"], [JOINT["eye_left"], JOINT["eye_right"]]
    sleeve = body.shirt if body.sleeves else body.skin
    names = [limb[4] for limb in _LIMBS] + ["shirt"]
    return Sketch(
        limbs=fixed(np.stack(limbs, axis=2)),
        trunk=fixed(np.stack(hulls, axis=1)),
        order=np.argsort(near, axis=1, kind="stable"),
        colours=tuple(sleeve if name == "sleeve" else getattr(body, name) for name in names),
        eyes=fixed(spot[:, eyes, None] + zoom[:, :, None, None] * _EYE),
        seen=depth[:, eyes] - depth[:, [head]] > 0.25 * HEAD,
    )


def _capsules(start: Array, end: Array, wide: Array, narrow: Array) -> Array:
    """Outlines of round-ended limbs: ``(F, P, 2)`` ends and ``(F, P, 1)`` radii to ``(F, P, 14, 2)`` points."""
    way = end - start
    angle = np.arctan2(way[..., 1], way[..., 0])[..., None]
    back = np.stack([np.cos(angle + _ARC), np.sin(angle + _ARC)], axis=-1)
    return np.concatenate(
        [start[:, :, None] + wide[..., None] * back, end[:, :, None] - narrow[..., None] * back], axis=2
    )


def fixed(points: Array) -> NDArray[np.int32]:
    """Pixels as the fixed-point numbers that OpenCV draws with: :data:`FIX` bits below the point."""
    return np.round(points * (1 << FIX)).astype(np.int32)
