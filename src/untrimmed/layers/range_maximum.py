"""The maximum of a sequence over any of its segments, by a sparse table (Bender and Farach-Colton, LATIN 2000).

A table of level j holds, for every step t, the maximum of the ``2^j`` steps from t on; each level is made of the one
below. A segment of any length is covered by two entries of one level, which may overlap, as a maximum does not mind::

    steps     s                               e
    segment   |===============================|        length 11, level 3
              |------------8----------|
                        |------------8--------|

So N segments cost ``T log T + 2 N`` maxima however long they are. The table keeps with each maximum the step where it
is attained; the result is read from the features at that step, so it is equal to the last bit to that of a loop over
the segment, and its gradient goes to that step alone. Where no gradient is asked for, steps are not kept, which is
several times as fast.
"""

from __future__ import annotations

import torch
from torch import Tensor


def range_maximum(features: Tensor, segments: Tensor) -> Tensor:
    """The maximum of every channel over every segment.

    Args:
        features: (B, C, T).
        segments: (B, N, 2) int64 ``[start, end)`` in steps, each at least one step within ``[0, T]``. (Where a segment
            between steps may hold none, the caller says which step stands for it.)

    Returns:
        (B, C, N) of the dtype of the features, differentiable in them: the gradient goes to the first step that
        attains the maximum. NaN where the segment holds one.

    Raises:
        ValueError: for shapes that do not fit, segments that are not whole numbers, that hold no step or that reach
            outside.
    """
    steps = _check(features, segments)
    if not segments.numel() or not features.shape[1]:
        return features.new_zeros(*features.shape[:2], segments.shape[1])
    rows = features.mT
    if not (features.requires_grad and torch.is_grad_enabled()):
        return torch.stack([_values(*each) for each in zip(rows, segments, strict=True)]).mT
    return rows.gather(1, _where(rows.detach(), segments, steps)).mT


def _check(features: Tensor, segments: Tensor) -> int:
    if features.ndim != 3 or segments.ndim != 3 or segments.shape[::2] != (len(features), 2):
        raise ValueError(f"{features.shape = }, {segments.shape = }: expected (B, C, T) and (B, N, 2)")
    if segments.dtype != torch.int64:
        raise ValueError(f"{segments.dtype = }, expected int64 steps")
    start, end = segments.unbind(-1)
    wrong = (start < 0) | (end > features.shape[-1]) | (start >= end)
    if wrong.any():
        window, row = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"segments[{window}, {row}] is {segments[window, row].tolist()}, expected at least one step of "
            f"[0, {features.shape[-1]}]"
        )
    return features.shape[-1]


def _values(rows: Tensor, segments: Tensor) -> Tensor:
    """(N, C), the maxima of one window, of rows (T, C) over segments (N, 2)."""
    start, end = segments.unbind(-1)
    level = _level(segments)
    table, first, length = [rows.contiguous()], [0], len(rows)
    for j in range(int(level.max())):
        below = table[-1]
        table.append(torch.maximum(below[: -(2**j)], below[2**j :]))
        first.append(length)
        length += len(table[-1])
    at = torch.tensor(first, device=rows.device)[level]
    entries = torch.cat(table)
    return torch.maximum(entries[at + start], entries[at + end - 2**level])


def _level(segments: Tensor) -> Tensor:
    """The level whose width, 2^level, is the largest that fits into each segment."""
    start, end = segments.unbind(-1)
    # frexp gives the number of binary digits exactly, where a logarithm may be off by rounding.
    return (torch.frexp((end - start).double()).exponent - 1).long()


@torch.no_grad()
def _where(rows: Tensor, segments: Tensor, steps: int) -> Tensor:
    """(B, N, C) int64, the first step of each segment (B, N, 2) at which the maximum of (B, T, C) is attained."""
    start, end = segments.unbind(-1)
    level = _level(segments)
    found = segments.new_zeros(*segments.shape[:2], rows.shape[-1])
    values = rows.contiguous()
    places = torch.arange(steps, device=rows.device)[None, :, None].expand(values.shape)
    deepest = int(level.max())
    for j in range(deepest + 1):
        width = 2**j
        window, row = (level == j).nonzero().unbind(1)
        first, last = start[window, row], end[window, row] - width
        _, found[window, row] = _later(
            values[window, first], places[window, first], values[window, last], places[window, last]
        )
        if j < deepest:
            values, places = _later(values[:, :-width], places[:, :-width], values[:, width:], places[:, width:])
    return found


def _later(values: Tensor, places: Tensor, others: Tensor, other_places: Tensor) -> tuple[Tensor, Tensor]:
    """Values and places, or, where these are higher, those of what begins later; NaN is higher than all."""
    higher = (others > values) | (others.isnan() & ~values.isnan())
    return others.where(higher, values), other_places.where(higher, places)
