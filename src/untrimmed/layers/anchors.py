"""Anchor segments on a pyramid, the offsets that move them, and the pieces of a window they lie in. All in steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from untrimmed.layers.portable import portable, running_max
from untrimmed.segments import center_width, from_center_width

MAX_LOG_SCALE = math.log(1000 / 16)
"""Largest log of the factor by which offsets widen an anchor: beyond it the exponential could overflow."""


def pyramid_anchors(
    steps: int, strides: Sequence[int], sizes: Sequence[float], device: torch.device | None = None
) -> Tensor:
    """Anchors centred on the cells of every level of a pyramid.

    Level l has cells of ``strides[l]`` steps, and around the centre of each one anchor per size, as long as the size
    times ``strides[l] / strides[0]``.

    Args:
        steps: length of the finest time axis, a multiple of all strides.
        strides: steps in a cell of each level, finest first.
        sizes: lengths of the anchors of the first level, in steps.
        device: where to put them.

    Returns:
        (A, 2) float32 with A = len(sizes) * sum(steps / strides): size by size, within a size level by level, within
        a level by time.
    """
    centers, scales = [], []
    for stride in strides:
        cells = steps // stride
        centers.append((torch.arange(cells, dtype=torch.float32, device=device) + 0.5) * stride)
        scales.append(torch.full((cells,), stride / strides[0], device=device))
    center, scale = torch.cat(centers), torch.cat(scales)
    half = torch.tensor(sizes, device=device)[:, None] * scale / 2
    return torch.stack((center - half, center + half), dim=-1).view(-1, 2)


def apply_offsets(anchors: Tensor, offsets: Tensor) -> Tensor:
    """Move and scale anchors as R-C3D does (Xu et al., ICCV 2017, Eq. 2).

    Args:
        anchors: (..., 2) ``[start, end)``.
        offsets: (..., 2): the shift of the centre in widths of the anchor, and the log of the factor of its width.

    Returns:
        (..., 2) segments, float32 at least, start never after end.
    """
    center, width = center_width(anchors)
    shift, log_scale = offsets.to(anchors.dtype).unbind(-1)
    center = center + shift * width
    return torch.stack(from_center_width(center, width * log_scale.clamp(max=MAX_LOG_SCALE).exp()), dim=-1)


def pieces(clip: Tensor) -> Tensor:
    """The piece of the window that each step lies in: the run of steps of the same clip around it.

    ::

        clip    1 1 1 0 0 2 2 2 2 0
        piece   0 0 0 - - 5 5 5 5 -     start
                3 3 3 - - 9 9 9 9 -     end

    Args:
        clip: (B, T) integer, 0 for steps that show nothing.

    Returns:
        (B, T, 2) float32 ``[start, end)``; [0, 0) for steps of clip 0.
    """
    steps = clip.shape[1]
    index = torch.arange(steps, device=clip.device).expand(clip.shape)
    change = torch.ones_like(clip, dtype=torch.bool)
    change[:, 1:] = clip[:, 1:] != clip[:, :-1]
    start = _running_max(torch.where(change, index, 0))
    last = torch.ones_like(change)
    last[:, :-1] = change[:, 1:]
    # The end is the nearest last step at or after each one: a running maximum from behind, of distances to the end.
    end = steps - _running_max(torch.where(last, steps - 1 - index, 0).flip(1)).flip(1)
    bounds = torch.stack((start, end), dim=-1)
    return torch.where(clip[..., None] > 0, bounds, 0).float()


def _running_max(values: Tensor) -> Tensor:
    return running_max(values, 0) if portable() else values.cummax(1).values


def clip_segments(segments: Tensor, bounds: Tensor) -> Tensor:
    """Segments (..., 2) cut to their bounds (..., 2); one that lies wholly outside gets length 0 at the edge."""
    return segments.clamp(min=bounds[..., :1], max=bounds[..., 1:])
