"""Features of segments of any length: their maximum, their mean, and the pyramid of SSN.

Segments are continuous, ``[start, end)`` in steps; step i is the cell ``[i, i + 1)``, whose feature holds throughout::

    steps     |  0  |  1  |  2  |  3  |  4  |  5  |
    segment         .  |=============|                    2.5 to 4.8 of the steps' axis ...
    maximum   over     |  2  |  3  |  4  |                every step whose cell it shares
    mean      of       | .5  |  1  | .8  |                each by the share of its cell

Only valid steps count: those of padding and gaps never, however high or low their features are. What covers no valid
step is zero.

The maximum is over the steps ``floor(start)`` to ``ceil(end) - 1``; the step of its start stands for a segment of no
length. (P-GCN's released code ends at ``ceil((end - 64) / 8)``, as its snippets are 64 frames long and start every 8;
here a step is the time between one snippet and the next, see :class:`untrimmed.grid.SnippetGrid`.) A segment whose end
lies less than :data:`SLACK` beyond the edge of a cell does not share it: seconds that become steps are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from untrimmed.layers.anchors import clip_segments, pieces
from untrimmed.layers.range_maximum import range_maximum
from untrimmed.segments import center_width, from_center_width

SLACK = 1e-3
"""Of a step, see above."""

Levels = Sequence[Sequence[int]]
"""Of the start, the course and the end of a segment: into how many equal parts each level of its pyramid cuts it."""


def covered_steps(segments: Tensor, steps: int) -> Tensor:
    """The steps whose cells segments share.

    Args:
        segments: (..., 2) in steps, start not after end.
        steps: T.

    Returns:
        (..., 2) int64 ``[first, last + 1)`` within [0, T]; both the same for a segment that lies outside.
    """
    start, end = segments.double().unbind(-1)
    first = (start + SLACK).floor()
    last = torch.maximum((end - SLACK).ceil(), first + 1)
    return torch.stack((first, last), -1).clamp(0, steps).long()


def pooled_maximum(features: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
    """The maximum of every channel over the valid steps that each segment covers.

    Args:
        features: (B, C, T).
        segments: (B, N, 2) in steps, start not after end; they may reach outside.
        mask: (B, T) bool, which steps are valid.

    Returns:
        (B, N, C) of the dtype of the features; zero for a segment without a valid step.
    """
    first, last = covered_steps(segments, mask.shape[1]).unbind(-1)
    before = _before(mask)
    there = before.gather(1, last) > before.gather(1, first)
    if not mask.shape[1]:
        return features.new_zeros(*segments.shape[:2], features.shape[1])
    # A segment without any step reads one that is dropped below.
    steps = torch.stack((first.where(there, 0), last.where(there, 1)), -1)
    whole = bool(mask.all())
    found = range_maximum(features if whole else features.masked_fill(~mask[:, None], -torch.inf), steps).mT
    return found if there.all() else found.where(there[..., None], 0)


def pooled_mean(features: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
    """The mean of every channel over the valid part of each segment, a step weighed by the share of its cell.

    Args:
        features: (B, C, T).
        segments: (B, N, 2) in steps, start not after end; they may reach outside.
        mask: (B, T) bool, which steps are valid.

    Returns:
        (B, N, C) of the dtype of the features; zero for a segment without a valid part. Sums are of double precision,
        so that a short segment late in a long window is as exact as one at its start.
    """
    means = []
    for rows, ends, valid in zip(features.mT, segments.double(), mask.double(), strict=True):
        # (T, C + 1): the last channel counts.
        counted = torch.cat((rows.double() * valid[:, None], valid[:, None]), 1)
        nothing = counted.new_zeros(1, counted.shape[1])
        sums, counted = torch.cat((nothing, counted.cumsum(0))), torch.cat((counted, nothing))
        until = []
        for end in ends.clamp(0, len(rows)).unbind(-1):
            step = end.floor().long()
            until.append(sums[step] + counted[step] * (end - step)[:, None])
        total = until[1] - until[0]
        length = total[:, -1:].detach()
        usable = length > SLACK * SLACK
        means.append((total[:, :-1] / length.where(usable, 1)).where(usable, 0))
    return torch.stack(means).to(features.dtype)


def enlarged(segments: Tensor, share: float) -> Tensor:
    """Segments (..., 2) with a share of their length added to either side."""
    center, width = center_width(segments)
    return torch.stack(from_center_width(center, width * (1 + 2 * share)), -1)


def bounds_of(segments: Tensor, clip: Tensor) -> Tensor:
    """The ends of the piece of the window that shows the centre of each segment: its surroundings end there.

    Args:
        segments: (B, N, 2) in steps.
        clip: (B, T), see :func:`untrimmed.layers.anchors.pieces`.

    Returns:
        (B, N, 2) float32 ``[start, end)``; [0, 0) where the centre shows nothing.
    """
    if not clip.shape[1]:
        return torch.zeros_like(segments)
    at = segments.mean(-1).floor().long().clamp(0, clip.shape[1] - 1)
    return pieces(clip).gather(1, at[..., None].expand(-1, -1, 2))


def structured_pyramid(
    features: Tensor, segments: Tensor, bounds: Tensor, mask: Tensor, levels: Levels, context: float = 0.5
) -> Tensor:
    """Structured temporal pyramid pooling (SSN, Zhao et al., ICCV 2017, section 3.2; as released).

    The start of a segment is the stretch of ``context`` lengths before it, the end that after it, and both are cut off
    at the bounds; the course is the segment itself. Each level of a stage cuts what is left of the stage into equal
    parts and takes the mean of each, divided by the number of parts of all levels of the stage. Those of start and end
    are then scaled by the share of the stage that is left.

    Args:
        features: (B, C, T).
        segments: (B, N, 2) in steps, start not after end, within the bounds.
        bounds: (B, N, 2) within which there is something to see, in steps.
        mask: (B, T) bool, which steps are valid.
        levels: of start, course and end, as ``((1,), (1, 2), (1,))``; ``()`` leaves a stage out.
        context: length of start and end, in lengths of the segment, at least 0.

    Returns:
        (B, N, P, C), the P parts in the order of time: start, course, end, in each stage level by level.
    """
    start, end = segments.unbind(-1)
    reach = context * (end - start)
    stages = (torch.stack((start - reach, start), -1), segments, torch.stack((end, end + reach), -1))
    parts, factors = [], []
    for number, (stage, cuts) in enumerate(zip(stages, levels, strict=True)):
        left = clip_segments(stage, bounds)
        factor = torch.ones_like(reach)
        if number != 1:
            factor = ((left[..., 1] - left[..., 0]) / reach.where(reach > 0, 1)).clamp(max=1)
        for count in cuts:
            edges = (
                left[..., :1] + (left[..., 1:] - left[..., :1]) * torch.arange(count + 1, device=left.device) / count
            )
            parts += list(torch.stack((edges[..., :-1], edges[..., 1:]), -1).unbind(-2))
            factors += [factor / sum(cuts)] * count
    if not parts:
        return features.new_zeros(*segments.shape[:2], 0, features.shape[1])
    wanted = torch.stack(parts, 2)
    means = pooled_mean(features, wanted.flatten(1, 2), mask).view(*wanted.shape[:3], features.shape[1])
    return means * torch.stack(factors, 2)[..., None].to(means.dtype)


def _before(mask: Tensor) -> Tensor:
    """(B, T + 1) int64, how many valid steps there are before each edge."""
    return torch.nn.functional.pad(mask.long().cumsum(1), (1, 0))
