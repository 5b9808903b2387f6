"""Where model steps and seconds meet: every window carries a :class:`TimeMap`.

A map is a list of pieces, each linear. A sliding window has one piece; a rescaled video has one piece with its
own slope; a self-stitched window (VSGN, Eq. 1) has two pieces with a gap between them, which show the same
seconds at two speeds::

    steps      0                    M      M+G                                   L
               |---- original ------|      |--------------- up-scaled -----------|
               0 s                10 s     0 s                                 10 s

So steps to seconds is a function, and seconds to steps has one answer per piece that holds the time. A detection
belongs to the piece that holds the centre of its anchor, and is clipped to that piece.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from untrimmed.errors import InputError

ORIGINAL, UPSCALED = 1, 2
"""Which clip a piece shows: at its own speed, or interpolated. ``Batch.clip`` uses the same numbers; 0 is none."""


@dataclass(frozen=True)
class Piece:
    """Steps ``[first, last)`` that run linearly through seconds ``[start, end)``.

    Args:
        first: first step, continuous, at least 0.
        last: end of the steps, above ``first``.
        start: seconds at ``first``.
        end: seconds at ``last``, above ``start``.
        clip: :data:`ORIGINAL` or :data:`UPSCALED`.
    """

    first: float
    last: float
    start: float
    end: float
    clip: int = ORIGINAL

    def __post_init__(self) -> None:
        values = (self.first, self.last, self.start, self.end)
        if not all(math.isfinite(value) for value in values):
            raise InputError(f"Piece: {values} must be finite numbers")
        if not (0 <= self.first < self.last and self.start < self.end):
            raise InputError(
                f"Piece: steps [{self.first}, {self.last}) and seconds [{self.start}, {self.end}) must have a "
                "length above 0, and steps begin at 0 or later"
            )
        if self.clip not in (ORIGINAL, UPSCALED):
            raise InputError(f"Piece: clip is {self.clip!r}, expected {ORIGINAL} (original) or {UPSCALED} (up-scaled)")

    @property
    def seconds_per_step(self) -> float:
        return (self.end - self.start) / (self.last - self.first)

    def to_seconds(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of step positions; those outside the piece get the nearer edge."""
        seconds = self.start + (steps - self.first) * self.seconds_per_step
        return np.where(steps >= self.last, self.end, np.clip(seconds, self.start, self.end))

    def to_steps(self, seconds: NDArray[np.float64], clip: bool = True) -> NDArray[np.float64]:
        """Step positions of seconds; those outside the piece get the nearer edge, or, without ``clip``, the steps they
        would have if the piece went on."""
        steps = self.first + (seconds - self.start) / self.seconds_per_step
        if not clip:
            return steps
        return np.where(seconds >= self.end, self.last, np.clip(steps, self.first, self.last))


@dataclass(frozen=True)
class TimeMap:
    """The pieces of one window, in the order of their steps, without overlap; gaps are allowed.

    Args:
        pieces: at least one :class:`Piece`.

    Raises:
        InputError: if there is none, or two overlap or are out of order.
    """

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", tuple(self.pieces))
        if not self.pieces:
            raise InputError("TimeMap: needs at least one piece")
        for left, right in zip(self.pieces, self.pieces[1:], strict=False):
            if right.first < left.last:
                raise InputError(
                    f"TimeMap: steps [{right.first}, {right.last}) begin before [{left.first}, {left.last}) end"
                )

    def piece_at(self, steps: ArrayLike) -> NDArray[np.int64]:
        """Index of the piece that holds each step position, -1 in gaps and outside. Any shape."""
        steps = np.asarray(steps, dtype=np.float64)
        found = np.full(steps.shape, -1, dtype=np.int64)
        for index, piece in enumerate(self.pieces):
            found[(steps >= piece.first) & (steps < piece.last)] = index
        return found

    def to_seconds(self, steps: ArrayLike) -> NDArray[np.float64]:
        """Seconds of each step position; NaN in gaps and outside. Any shape. The end of a piece that no other
        piece begins at counts as inside it, so that the last edge of a window has a time."""
        steps = np.asarray(steps, dtype=np.float64)
        seconds = np.full(steps.shape, np.nan)
        for piece in reversed(self.pieces):
            inside = (steps >= piece.first) & ((steps < piece.last) | ((steps == piece.last) & np.isnan(seconds)))
            seconds[inside] = piece.to_seconds(steps[inside])
        return seconds

    def to_steps(self, seconds: float) -> list[float]:
        """Step positions of a time: one per piece whose ``[start, end)`` holds it, in the order of the pieces."""
        return [float(piece.to_steps(np.array(seconds))) for piece in self.pieces if piece.start <= seconds < piece.end]

    def segments_to_steps(
        self, segments: ArrayLike, *, min_coverage: float = 0.0, clip: bool = True
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """Where segments of a video lie on the steps: once in every piece that shows them.

        Args:
            segments: ``(N, 2)`` in seconds.
            min_coverage: a piece shows a segment if it holds more than nothing of it and at least this share of
                its length, in [0, 1].
            clip: give what is shown of a segment; else all of it, which may reach past the piece.

        Returns:
            ``(M, 2)`` segments in steps, the ``(M,)`` rows of ``segments`` they come from, and the ``(M,)``
            pieces they lie in; ordered by piece, then by row.
        """
        table = _table(segments)
        found, rows, owners = [np.empty((0, 2))], [], []
        for index, piece in enumerate(self.pieces):
            clipped = np.clip(table, piece.start, piece.end)
            shown = clipped[:, 1] - clipped[:, 0]
            keep = np.flatnonzero((shown > 0) & (shown >= min_coverage * (table[:, 1] - table[:, 0])))
            found.append(piece.to_steps(table[keep], clip))
            rows.append(keep)
            owners.append(np.full(len(keep), index))
        return (
            np.concatenate(found),
            np.concatenate(rows).astype(np.int64),
            np.concatenate(owners).astype(np.int64),
        )

    def segments_to_seconds(
        self, segments: ArrayLike, centers: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Times of segments given in steps, each clipped to the one piece it belongs to.

        Args:
            segments: ``(N, 2)`` in steps.
            centers: ``(N,)`` step positions that say to which piece each belongs (the centres of the anchors the
                segments were regressed from); by default the centres of the segments themselves.

        Returns:
            ``(N, 2)`` in seconds and the ``(N,)`` piece of each. Where the centre lies in no piece the segment is
            NaN and the piece -1: such a detection belongs to nothing in the video. A segment that lies wholly
            outside its piece comes back with length 0 at the piece's edge.
        """
        table = _table(segments)
        middle = table.mean(axis=1) if centers is None else np.asarray(centers, dtype=np.float64)
        if middle.shape != (len(table),):
            raise InputError(f"TimeMap: {middle.shape = }, expected ({len(table)},), one centre per segment")
        owner = self.piece_at(middle)
        seconds = np.full(table.shape, np.nan)
        for index, piece in enumerate(self.pieces):
            mine = owner == index
            seconds[mine] = piece.to_seconds(table[mine])
        return seconds, owner

    @classmethod
    def linear(cls, steps: float, start: float, end: float, first: float = 0.0) -> TimeMap:
        """A map of one piece: ``steps`` steps from ``first`` on run through ``[start, end)`` seconds."""
        return cls((Piece(first, first + steps, start, end),))


def _table(segments: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(segments, dtype=np.float64)
    if table.size == 0:
        return table.reshape(0, 2)
    if table.ndim != 2 or table.shape[1] != 2:
        raise InputError(f"segments: {table.shape = }, expected (N, 2)")
    return table
