"""Proposals from boundary curves, and what an actionness curve says about each (BSN, Lin et al., ECCV 2018, 3.3).

A step may be a boundary if its curve has a peak there or is high there. Every possible start goes with every possible
end after it. The Boundary-Sensitive Proposal feature of a pair is its actionness, read inside and around both ends::

    start region             [s - d/5, s + d/5]                                8 values
    action region                     [s, e]                                  16 values
    end region                               [e - d/5, e + d/5]                8 values

Curves are values of steps, which stand at their centres.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.conv import widened

REGION = 1 / 5
"""Half the width of the start and end regions, in lengths of the proposal."""


def boundary_candidates(curves: Tensor, mask: Tensor, share: float = 0.5) -> Tensor:
    """The steps that may be a boundary: strict peaks of the curve, and those above a share of its highest value.

    Args:
        curves: (B, T), at least 0.
        mask: (B, T) bool, the steps that there are. A step beside one that is not there, or at an end of the window, is
            a peak if it is higher than its one neighbour.
        share: of the highest value of the window, in [0, 1].

    Returns:
        (B, T) bool.
    """
    if not curves.shape[1]:
        return mask.clone()
    shown = curves.masked_fill(~mask, -torch.inf)
    beyond = shown.new_full((len(shown), 1), -torch.inf)
    before, after = torch.cat((beyond, shown[:, :-1]), 1), torch.cat((shown[:, 1:], beyond), 1)
    peak = (shown > before) & (shown > after)
    return mask & (peak | (shown > share * shown.amax(1, keepdim=True)))


def first_and_last(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) bool twice: the first step that there is of each window, and the last."""
    seen = mask.cumsum(1)
    return mask & (seen == 1), mask & (seen == seen[:, -1:])


def pairs(starts: Tensor, ends: Tensor, longest: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of a start and a later end, at most ``longest`` steps apart.

    Args:
        starts, ends: (B, T) bool.
        longest: None: as far as the window reaches.

    Returns:
        (P,) int64 each: the window, the step of the start and that of the end; by window, start, end.
    """
    far = starts.shape[1] if longest is None else longest
    found = []
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        first, last = torch.meshgrid(start.nonzero()[:, 0], end.nonzero()[:, 0], indexing="ij")
        apart = last - first
        kept = (apart > 0) & (apart <= far)
        found.append((torch.full_like(first[kept], row), first[kept], last[kept]))
    if not found:
        nothing = torch.zeros(0, dtype=torch.int64, device=starts.device)
        return nothing, nothing, nothing
    window, first, last = (torch.cat(each) for each in zip(*found, strict=True))
    return window, first, last


def best_of_each(window: Tensor, scores: Tensor, most: int) -> Tensor:
    """Which rows are among the ``most`` with the highest scores of their window.

    Args:
        window: (P,) int64, the window of each, rising.
        scores: (P,) float; ties go to the first.
        most: at least 1.

    Returns:
        (R,) int64 rows, by window, then falling score.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[window[order].argsort(stable=True)]
    counts = torch.bincount(window)
    rank = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[window[order]]
    return order[rank < most]


def sensitive_features(
    actionness: Tensor, segments: Tensor, owner: Tensor, values: Sequence[int] = (16, 8, 8), samples: int = 4
) -> Tensor:
    """Boundary-Sensitive Proposal features.

    A region ``[a, b]`` of n values is read in n bins of width ``h = (b - a) / (n - 1)``, of which the first is centred
    on a and the last on b; a value is the mean of the curve at points evenly spread over its bin, both ends included
    (the released code; the paper reads one point).

    Args:
        actionness: (B, T), 0 where there is no video; outside the window it is 0 too.
        segments: (P, 2) in steps, start before end.
        owner: (P,) int64 in [0, B), the window of each.
        values: of the action, the start and the end region, at least 2 each.
        samples: points in a bin; 1: its centre.

    Returns:
        (P, sum of ``values``), float32 at least: action, start, end; differentiable in the curve.
    """
    segments = segments.double()
    start, end = segments.unbind(-1)
    reach = (end - start) * REGION
    regions = (segments, torch.stack((start - reach, start + reach), -1), torch.stack((end - reach, end + reach), -1))
    read = [_read_region(actionness, each, owner, count, samples) for each, count in zip(regions, values, strict=True)]
    return torch.cat(read, -1)


def _read_region(curve: Tensor, regions: Tensor, owner: Tensor, count: int, samples: int) -> Tensor:
    low, high = regions.unbind(-1)
    width = (high - low) / (count - 1)
    side = 0.5 if samples > 1 else 0.0
    within = torch.linspace(-side, side, samples, dtype=torch.float64, device=curve.device)
    bins = torch.arange(count, dtype=torch.float64, device=curve.device)[:, None]
    position = low[:, None, None] + (bins + within) * width[:, None, None]
    return _read(widened(curve), position, owner).mean(-1)


def _read(curve: Tensor, position: Tensor, owner: Tensor) -> Tensor:
    """The values of curves (B, T) at positions (P, n, q), linear between the centres of steps, 0 outside."""
    index = position - 0.5
    low = index.floor()
    share = (index - low).to(curve.dtype)
    padded = F.pad(curve, (1, 1))
    last = padded.shape[1] - 1
    base = (owner * padded.shape[1])[:, None, None]
    left, right = (padded.flatten()[base + (step.long() + 1).clamp(0, last)] for step in (low, low + 1))
    return torch.lerp(left, right, share)
