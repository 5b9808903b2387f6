"""Class activation sequences: pooling over time, and the way from curves to segments that weak methods share.

A curve says of every step how much a class is seen there. Its segments are the runs of steps above each of several
thresholds, and a run is the better the more its inside stands out against what lies around it (outer-inner contrast,
AutoLoc, Shou et al., ECCV 2018)::

                       .--inner mean--.
    curve      __  .--'                '--.      ____
                 \\'                        '----'          score = inner mean - weight * outer mean
    run            [s----------------e)
    outside    [s-w--s)            [e---e+w)                w = outer * (e - s)

All of it is in steps, for any number of curves and thresholds at once. Axis letters: B batch, K classes, T steps, R
curves, H thresholds, N segments.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Align = Literal["center", "left"]
"""Where in a step its value stands, see :func:`finer`."""


def top_mean(values: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """Mean of the highest values over time.

    Args:
        values: (B, K, T).
        mask: (B, T) bool, the steps that count; at least one a row, else the mean is 0.
        counts: (B,) int64, how many of the highest are averaged, at least 1; no more than there are are taken.

    Returns:
        (B, K).
    """
    if not values.shape[-1]:
        return values.sum(-1)
    taken = torch.minimum(counts, mask.sum(1))
    best = values.masked_fill(~mask[:, None], -torch.inf).topk(int(taken.max().clamp(min=1)), dim=-1).values
    inside = torch.arange(best.shape[-1], device=values.device) < taken[:, None]
    return best.masked_fill(~inside[:, None], 0).sum(-1) / taken.clamp(min=1)[:, None]


def top_steps(values: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """The steps of the highest values.

    Args:
        values: (B, T).
        mask: (B, T) bool, the steps to choose from.
        counts: (B,) int64, how many; ties by index.

    Returns:
        (B, T) bool.
    """
    order = values.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(mask.shape[1], device=mask.device).expand_as(order))
    return (rank < counts[:, None]) & mask


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the steps of a mask: (B, K, T) and (B, T), bool or weights -> (B, K); 0 for an empty mask."""
    weights = mask.to(values.dtype)
    return (values * weights[:, None]).sum(-1) / weights.sum(-1).clamp(min=torch.finfo(values.dtype).eps)[:, None]


def scaled(curves: Tensor, mask: Tensor, floor: float | None = None) -> Tensor:
    """Each curve moved and stretched so that it runs from 0 to 1 (min-max over the steps of its window).

    Args:
        curves: (B, K, T).
        mask: (B, T) bool; outside it the result is 0.
        floor: 0 of the result is never less than this: what lies below becomes negative. None: 0 is the lowest value.

    Returns:
        (B, K, T); a curve that does not vary, or nowhere exceeds ``floor``, becomes 0.
    """
    outside = ~mask[:, None]
    low = curves.masked_fill(outside, torch.inf).amin(-1, keepdim=True)
    low = low if floor is None else low.clamp(min=floor)
    high = curves.masked_fill(outside, -torch.inf).amax(-1, keepdim=True)
    varies = high > low
    span = (high - low).where(varies, torch.ones_like(high))
    return ((curves - low) / span).masked_fill(outside | ~varies, 0)


def smoothed(curves: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """Curves (B, K, T) smoothed by a Gaussian of ``sigma`` steps, over the steps of the mask (B, T) only."""
    reach = math.ceil(3 * sigma)
    place = torch.arange(-reach, reach + 1, device=curves.device, dtype=curves.dtype)
    kernel = (-(place / sigma).square() / 2).exp()[None, None]
    weights = mask.to(curves.dtype)[:, None]
    batch, classes, steps = curves.shape
    summed = F.conv1d((curves * weights).reshape(batch * classes, 1, steps), kernel, padding=reach)
    share = F.conv1d(weights, kernel, padding=reach).clamp(min=torch.finfo(curves.dtype).eps)
    return summed.view(batch, classes, steps) / share * weights


def finer(curves: Tensor, mask: Tensor, factor: int, align: Align = "center") -> tuple[Tensor, Tensor]:
    """Curves and mask at ``factor`` times as many cells, interpolated linearly.

    Steps outside the mask lend nothing. What is to be cut off, clamped or squared comes after: a step of -1 beside one
    of 1 says that the curve crosses 0 half-way, one of 0 that it does so a step away.

    Args:
        curves: (R, T).
        mask: (R, T) bool.
        factor: at least 1.
        align: where in a step its value stands. ``"center"``: in the middle, and of a cell's in the middle of the
            cell (half-pixel centres); at the ends a curve is held. ``"left"``: at the left edge of step and cell, as
            in the released code of the weakly supervised hosts; the last step goes on with the slope before it.

    Returns:
        (R, T * factor) curves, 0 outside the mask, and their mask.
    """
    inside = curves.masked_fill(~mask, 0)
    if factor == 1 or not curves.numel():
        return inside.repeat_interleave(factor, 1), mask.repeat_interleave(factor, 1)
    wide = mask.repeat_interleave(factor, 1)
    if align == "left":
        known_before, known_after = F.pad(mask[:, :-1], (1, 0)), F.pad(mask[:, 1:], (0, 1))
        before = F.pad(inside[:, :-1], (1, 0)).where(known_before, inside)
        after = F.pad(inside[:, 1:], (0, 1)).where(known_after, 2 * inside - before)
        share = torch.arange(factor, device=curves.device, dtype=curves.dtype) / factor
        fine = (inside[..., None] + (after - inside)[..., None] * share).flatten(1)
        return fine.masked_fill(~wide, 0), wide
    weights = mask.to(curves.dtype)
    both = torch.stack((inside, weights), 1)
    values, share = F.interpolate(both, scale_factor=factor, mode="linear", align_corners=False).unbind(1)
    return (values / share.clamp(min=torch.finfo(curves.dtype).eps)).masked_fill(~wide, 0), wide


def runs_above(curves: Tensor, mask: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Runs of cells above each threshold.

    Args:
        curves: (R, L).
        mask: (R, L) bool; a run ends where it ends.
        thresholds: (H,), or (R, H) of each curve its own.

    Returns:
        (N,) int64, the curve of each run, and (N, 2) int64, its cells ``[start, end)``; by curve, then threshold,
        then start. Runs that two thresholds have in common come twice.
    """
    rows = len(curves)
    above = (curves[:, None] > thresholds.expand(rows, -1)[..., None]) & mask[:, None]
    edges = F.pad(above.to(torch.int8), (1, 1)).diff(dim=-1)
    # Starts and ends come in the same order, so the k-th start belongs to the k-th end.
    starts, ends = (edges == 1).nonzero(), (edges == -1).nonzero()
    return starts[:, 0], torch.stack((starts[:, 2], ends[:, 2]), 1)


def contrast(
    curves: Tensor, mask: Tensor, rows: Tensor, segments: Tensor, *, outer: float = 0.25, weight: float = 1.0
) -> Tensor:
    """Outer-inner contrast: the mean of a curve inside a segment less ``weight`` times its mean around it.

    The curve is constant in each cell and segments may begin and end anywhere; cells outside the mask count neither
    inside nor around. Where nothing lies around a segment, the mean there is 0.

    Args:
        curves: (R, L).
        mask: (R, L) bool.
        rows: (N,) int64, the curve of each segment.
        segments: (N, 2) in cells, starts below ends.
        outer: width of what lies around to either side, in lengths of the segment.
        weight: of the mean around.

    Returns:
        (N,), in the dtype of ``curves``.
    """
    # In double precision: differences of sums over a whole video lose digits.
    inside = mask.to(torch.float64)
    areas = torch.stack((curves.double() * inside, inside), 1)
    sums = F.pad(areas.cumsum(-1), (1, 0))
    start, end = segments.double().unbind(-1)
    margin = outer * (end - start)
    marks = torch.stack((start - margin, start, end, end + margin), -1).clamp(0, curves.shape[1])
    at = _read(sums, rows, marks)
    inner, around = at[..., 2] - at[..., 1], at[..., 1] - at[..., 0] + at[..., 3] - at[..., 2]
    means = [part[:, 0] / part[:, 1].clamp(min=1e-9) for part in (inner, around)]
    return (means[0] - weight * means[1]).to(curves.dtype)


def _read(sums: Tensor, rows: Tensor, marks: Tensor) -> Tensor:
    """Running sums (R, 2, L + 1) at positions (N, M), linear between cells -> (N, 2, M)."""
    below = marks.floor().clamp(max=sums.shape[-1] - 2).long()
    lower = sums[rows[:, None], :, below]
    upper = sums[rows[:, None], :, below + 1]
    return (lower + (upper - lower) * (marks - below)[..., None]).mT
