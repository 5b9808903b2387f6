"""Where actions start and end: labels of curves, curves read at any position, boundaries moved by what is near them.

Positions are continuous, in steps: step i is the cell ``[i, i + 1)`` and its value stands at its centre, i + 0.5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import widened
from untrimmed.layers.matching import Instances
from untrimmed.segments import center_width, intersection_over_first


@torch.no_grad()
def boundary_labels(instances: Instances, steps: int, *, region: float = 0.1, least: float = 1.5) -> Tensor:
    """Which steps are inside an action, at a start, at an end (BSN, section 3.3 of Lin et al., ECCV 2018).

    An instance ``[s, e)`` of length d has the start region ``[s - r, s + r)`` and the end region ``[e - r, e + r)``
    with ``r = max(region * d, least)``. A step has a label if more than half of it lies in such a region of one
    instance (instances without label count too: these curves know no classes).

    Args:
        instances: of the batch, in steps.
        steps: T, the length of the curves.
        region: half width of the regions in lengths of the instance.
        least: smallest half width, in steps; below 0.5 a short instance might mark no step.

    Returns:
        (B, 3, T) bool: action, start, end.
    """
    segments = instances.segments
    start, end = segments.unbind(-1)
    reach = ((end - start) * region).clamp(min=least)
    regions = torch.stack(
        (segments, torch.stack((start - reach, start + reach), -1), torch.stack((end - reach, end + reach), -1)), 1
    )
    left = torch.arange(steps, device=segments.device, dtype=segments.dtype)
    cells = torch.stack((left, left + 1), -1)
    covered = intersection_over_first(cells[:, None], regions[:, :, None]) > 0.5
    real = (instances.labelled | instances.unlabelled)[:, None, None]
    labels: Tensor = (covered & real).any(-1)
    return labels


def _taps(positions: Tensor, stride: float, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells around each position and the share of the second. A position that is no number gives some cell
    and a share that is none, so that what is read there is none either."""
    index = (positions / stride - 0.5).clamp(0, length - 1)
    low = index.floor()
    cell = low.long().clamp(0, length - 1)
    return cell, (cell + 1).clamp(max=length - 1), index - low


def inner_centers(bounds: Tensor, stride: float) -> tuple[Tensor, Tensor]:
    """The outermost centres of cells inside pieces: who reads between them borrows nothing from outside.

    Args:
        bounds: (..., 2), pieces ``[start, end)`` in steps.
        stride: steps in a cell.

    Returns:
        (...) the first and the last centre, in steps. In a piece that holds none, both are the centre of the cell of
        its middle.
    """
    first, last = (bounds / stride - 0.5).ceil().unbind(-1)
    last = last - 1  # of the first centre at the end or after it
    middle = (bounds.mean(-1) / stride).floor()
    none = last < first
    return (middle.where(none, first) + 0.5) * stride, (middle.where(none, last) + 0.5) * stride


def read_curves(curves: Tensor, positions: Tensor, stride: float = 1.0) -> Tensor:
    """Values of curves at continuous positions, by linear interpolation between the centres of cells.

    Args:
        curves: (B, C, T).
        positions: (B, N) in steps; before the first centre and after the last the curves stay constant.
        stride: steps in a cell of the curves.

    Returns:
        (B, C, N).
    """
    low, high, share = (each[:, None] for each in _taps(positions, stride, curves.shape[-1]))
    shape = (-1, curves.shape[1], -1)
    return torch.lerp(curves.gather(2, low.expand(shape)), curves.gather(2, high.expand(shape)), share)


class BoundaryAdjust(nn.Module):
    """Moves both ends of segments by what the features near them say (M_adj of VSGN, section 3.4 and Fig. 5).

    Three features are read around the start (at -1/8, 0 and +1/8 of the length), three around the end likewise, and
    three inside (at 1/4, 1/2 and 3/4). A convolution of kernel 3 over each three gives a vector; from the three
    vectors in a row one convolution of kernel 3 predicts the offset of the start and another that of the end.

    Where the paper is silent: features are read by linear interpolation between the cells whose centres lie in the
    segment's piece; ReLU follows the first convolutions; an offset of 1 stands for 1/8 of the length, the distance of
    the features it is computed from, so that long and short segments share weights; no gradient passes through the
    positions of reading. (The released code reads the nearest cell and answers in frames.)

    As the convolutions are linear, they are applied to the whole sequence once, and what they give is read: the
    result is the same, and overlapping segments share the work.

    Args:
        channels: C of the features.
    """

    OFFSETS = ((-1 / 8, 0.0, 1 / 8), (1 / 4, 1 / 2, 3 / 4), (7 / 8, 1.0, 9 / 8))
    """Where the features are read, in lengths from the start: start, inside, end."""

    UNIT = 1 / 8

    def __init__(self, channels: int) -> None:
        super().__init__()
        regions = len(self.OFFSETS)
        self.channels = channels
        self.taps = nn.Parameter(torch.empty(regions * 3 * channels, channels))
        self.bias = nn.Parameter(torch.empty(regions * channels))
        # As torch initialises three convolutions of kernel 3.
        bound = 1 / math.sqrt(3 * channels)
        nn.init.uniform_(self.taps, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        self.offsets = nn.Linear(regions * channels, 2)

    def forward(self, features: Tensor, segments: Tensor, bounds: Tensor, stride: float) -> Tensor:
        """Adjust segments.

        Args:
            features: (B, C, T).
            segments: (B, A, 2) in steps, start not after end.
            bounds: (B, A, 2): the piece each segment lies in; nothing outside it is read.
            stride: steps in a cell of the features.

        Returns:
            (B, A, 2) in float32 at least, start not after end; not cut to the bounds.
        """
        batch, channels, length = features.shape
        # (B * T, 9, C): the part of each tap in its convolution, at every cell.
        parts = widened(F.linear(features.mT, self.taps)).view(batch * length, -1, channels)
        start, width = segments.detach()[..., 0], center_width(segments.detach())[1]
        first_row = torch.arange(batch, device=features.device)[:, None] * length
        inner = inner_centers(bounds, stride)
        vectors = []
        for region, offsets in enumerate(self.OFFSETS):
            vector = self.bias.view(-1, channels)[region]
            for tap, offset in enumerate(offsets):
                rows = parts[:, region * 3 + tap]
                position = torch.minimum(torch.maximum(start + offset * width, inner[0]), inner[1])
                low, high, share = _taps(position, stride, length)
                share = share.reshape(-1, 1).to(parts.dtype)
                vector = vector + torch.lerp(
                    rows.index_select(0, (low + first_row).flatten()),
                    rows.index_select(0, (high + first_row).flatten()),
                    share,
                )
            vectors.append(F.relu(vector))
        moves = widened(self.offsets(torch.cat(vectors, dim=-1))).view(batch, -1, 2)
        moved = segments + moves * (width * self.UNIT)[..., None]
        return torch.stack((moved.amin(-1), moved.amax(-1)), dim=-1)
