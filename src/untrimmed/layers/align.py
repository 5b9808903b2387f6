"""SGAlign: features of segments of any length, as a fixed number of bins (G-TAD, Xu et al., CVPR 2020, section 3.3).

A segment ``[s, e)`` of length d is looked at together with its surroundings, ``[s - x d, e + x d)``. That region is cut
into equal bins; in each bin the features are read at evenly spread positions, a fixed number or one a step, and
averaged::

    region      s - x d        s                            e        e + x d
                |--------------|============================|--------------|
    bins        |  0  |  1  |  2  |  3  |  4  |  5  |  6  |  7  |  8  |  9  |
    samples      . . . . . . . . . . . . . . . . . . . . . . . . . . . . . .

Step i is the cell ``[i, i + 1)`` and its value stands at its centre. Between centres values are interpolated linearly;
the steps outside the video are zero, so features fade from half a step inside its ends to half a step outside, and how
far a window is padded with zeros changes nothing.

The reading is linear in the features, two steps a sample, and which steps with which weight depends on the length and
on the part of the start after the decimal point alone: :class:`AlignPattern` keeps one row per such pair. A 1x1
convolution that follows is linear too, so it may come first: :func:`align_project` projects every step once for each
bin, then adds up the few projected steps each segment reads, some bins at a time. The aligned features, (N, C, bins),
never exist. (Where bins read many steps and nothing is learned, some segments at a time are aligned and then projected:
what they read is read once, not once for each group of bins.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import widened
from untrimmed.layers.portable import portable

_TABLE = 2**20
"""Projected values that are held at once: few enough that they stay in a processor's cache."""

_MANY = 16
"""Reads of a bin above which those of weight 0 are left out: tables are as wide as the longest segment needs."""

_ROWS = 2**18
"""Values of the result that are added to at once: bounds the memory beside the result."""


class AlignPattern:
    """Which steps the bins of segments read, and with which weight.

    Args:
        segments: (N, 2) in steps, start not after end.
        bins: number of bins, at least 1.
        extension: x, by how many lengths the region is longer than the segment at either side, at least 0.
        samples: positions read in each bin, at least 1; None: of each segment as many as a bin has steps, rounded up,
            so that no step within the region is missed.
        ends: the positions reach from one end of the region to the other, both included (BMN); else each stands in the
            middle of its share of the region, so that none lies at an end. Not with ``samples=None``.

    Attributes:
        first: (N,) int64, the step in which each segment starts.
        shape_of: (N,) int64, its row in the two tables.
        offsets: (S, bins, R) int64, which steps are read, counted from ``first``; R is 2 samples. Where None, R is two
            more than the most samples of any segment, as neighbouring samples share steps.
        weights: (S, bins, R) float64, their weights.

    Raises:
        ValueError: for a value outside its range, or another shape.
    """

    def __init__(
        self, segments: Tensor, bins: int, extension: float = 0.5, samples: int | None = 4, *, ends: bool = False
    ) -> None:
        if segments.ndim != 2 or segments.shape[1] != 2:
            raise ValueError(f"{segments.shape = }, expected (N, 2)")
        if bins < 1 or (samples is not None and samples < 1) or extension < 0:
            raise ValueError(f"{bins = }, {samples = }, {extension = }: expected at least 1, 1 and 0")
        if ends and (samples is None or bins * samples == 1):
            raise ValueError(
                f"{bins = }, {samples = }: expected two positions or more, to stand at both ends of a region"
            )
        start, end = segments.double().unbind(-1)
        wrong = ~(segments.isfinite().all(-1) & (start <= end))
        if wrong.any():
            row = int(wrong.nonzero()[0, 0])
            raise ValueError(
                f"segments[{row}] is {segments[row].tolist()}, expected finite numbers, start not after end"
            )
        self.bins = bins
        first = start.floor()
        shapes, self.shape_of = torch.unique(torch.stack((start - first, end - start), -1), dim=0, return_inverse=True)
        self.first = first.long()
        offset, region = shapes[:, 0] - extension * shapes[:, 1], (1 + 2 * extension) * shapes[:, 1]
        if samples is not None:
            low, upper = _samples(offset, region, bins, samples, ends)
            form = (len(shapes), bins, 2 * samples)
            self.offsets = torch.stack((low, low + 1), -1).view(form)
            self.weights = (torch.stack((1 - upper, upper), -1) / samples).view(form)
            return
        counts = (region / bins).ceil().clamp(min=1).long()
        most = int(counts.max()) + 2 if len(counts) else 2
        self.offsets = torch.zeros(len(shapes), bins, most, dtype=torch.int64, device=segments.device)
        self.weights = self.offsets.double()
        for count in counts.unique().tolist():
            rows = (counts == count).nonzero()[:, 0]
            low, upper = _samples(offset[rows], region[rows], bins, count)
            # Samples are a step apart at most, so those of a bin read one step after the other.
            own = low[..., :1]
            weights = torch.zeros(len(rows), bins, most, dtype=torch.float64, device=segments.device)
            weights.scatter_add_(2, low - own, 1 - upper).scatter_add_(2, low - own + 1, upper)
            self.offsets[rows] = own + torch.arange(most, device=segments.device)
            self.weights[rows] = weights / count

    def __len__(self) -> int:
        return len(self.shape_of)

    def select(self, rows: Tensor) -> AlignPattern:
        """The pattern of some of the segments, (R,) int64."""
        return AlignPattern.of(self.first[rows], self.shape_of[rows], self.offsets, self.weights)

    @classmethod
    def of(cls, first: Tensor, shape_of: Tensor, offsets: Tensor, weights: Tensor) -> AlignPattern:
        """A pattern from its attributes."""
        made = cls.__new__(cls)
        made.first, made.shape_of, made.offsets, made.weights = first, shape_of, offsets, weights
        made.bins = offsets.shape[1]
        return made

    def taps(self, bins: slice, steps: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What some of the bins read of a video of so many steps.

        Returns:
            (N, b, R) int64 steps, within the video, and their weights, 0 for those that lay outside.
        """
        read = self.first[:, None, None] + self.offsets[:, bins][self.shape_of]
        inside = (read >= 0) & (read < steps)
        weights = self.weights[:, bins].to(dtype)[self.shape_of] * inside
        return read.clamp_(0, steps - 1), weights


def _samples(offset: Tensor, region: Tensor, bins: int, count: int, ends: bool = False) -> tuple[Tensor, Tensor]:
    """(S, bins, count) the steps below the positions read in regions (S,), and the share of the step after each."""
    index = torch.arange(bins * count, device=offset.device, dtype=torch.float64)
    share = index / (bins * count - 1) if ends else (index + 0.5) / (bins * count)
    position = (offset[:, None] + share * region[:, None] - 0.5).view(-1, bins, count)
    low = position.floor()
    return low.long(), position - low


def _gathered(values: Tensor, read: Tensor, weights: Tensor, ragged: bool) -> Tensor:
    """(N, C): of values (M, C), those of some rows (N, R), times their weights (N, R); ``ragged`` leaves out those of
    weight 0."""
    if not ragged:
        return F.embedding_bag(read, values, per_sample_weights=weights, mode="sum")
    kept = weights != 0
    counts = kept.sum(1)
    first = counts.cumsum(0) - counts
    return F.embedding_bag(read[kept], values, first, per_sample_weights=weights[kept], mode="sum")


def _check_owner(features: Tensor, pattern: AlignPattern, owner: Tensor) -> None:
    if features.ndim != 3:
        raise ValueError(f"{features.shape = }, expected (B, C, T)")
    if owner.shape != pattern.shape_of.shape:
        raise ValueError(f"{owner.shape = }, expected ({len(pattern)},), the window of each segment")


def sgalign(features: Tensor, pattern: AlignPattern, owner: Tensor) -> Tensor:
    """The features of segments in bins.

    Args:
        features: (B, C, T), zero where there is no video.
        pattern: of N segments.
        owner: (N,) int64 in [0, B), the window each segment lies in.

    Returns:
        (N, C, bins), float32 at least; differentiable in the features.

    Raises:
        ValueError: for shapes that do not fit.
    """
    _check_owner(features, pattern, owner)
    batch, channels, steps = features.shape
    if not len(pattern) or not steps:
        return widened(features).new_zeros(len(pattern), channels, pattern.bins)
    with torch.autocast(features.device.type, enabled=False):
        rows = widened(features).mT.reshape(batch * steps, channels)
        read, weights = pattern.taps(slice(None), steps, rows.dtype)
        read += owner[:, None, None] * steps
        aligned = _gathered(rows, read.flatten(0, 1), weights.flatten(0, 1), read.shape[-1] > _MANY)
    return aligned.view(len(pattern), pattern.bins, channels).mT


def align_project(
    features: Tensor, pattern: AlignPattern, owner: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """A 1x1 convolution of aligned features, ``sum over bins and channels of W * sgalign``, without aligning first.

    Args:
        features: (B, C, T), zero where there is no video.
        pattern: of N segments.
        owner: (N,) int64 in [0, B), the window each segment lies in.
        weight: (bins, C, C_out).
        bias: (C_out,) or None.

    Returns:
        (N, C_out), float32 at least; differentiable in features, weight and bias.

    Raises:
        ValueError: for shapes that do not fit.
    """
    _check_owner(features, pattern, owner)
    batch, channels, steps = features.shape
    if weight.shape[:2] != (pattern.bins, channels):
        raise ValueError(f"{weight.shape = }, expected ({pattern.bins}, {channels}, C_out)")
    outputs = weight.shape[2]
    with torch.autocast(features.device.type, enabled=False):
        rows = widened(features).mT.reshape(batch * steps, channels)
        weight = weight.to(rows.dtype)
        if portable():
            return _bin_by_bin(rows, pattern, owner, weight, steps) + (0 if bias is None else bias.to(rows.dtype))
        total = rows.new_zeros(len(pattern), outputs)
        if pattern.offsets.shape[-1] > _MANY and steps and not (rows.requires_grad or weight.requires_grad):
            _align_some(total, rows, pattern, owner, weight, steps)
            return total if bias is None else total.add_(bias.to(rows.dtype))
        group = max(1, _TABLE // max(1, batch * steps * outputs))
        for first in range(0, pattern.bins if len(pattern) and steps else 0, group):
            part = slice(first, min(first + group, pattern.bins))
            total = _add_bins(total, rows, pattern, owner, weight[part], part, steps)
        return total if bias is None else total.add_(bias.to(rows.dtype))


def _align_some(total: Tensor, rows: Tensor, pattern: AlignPattern, owner: Tensor, weight: Tensor, steps: int) -> None:
    """Fill (N, C_out) block after block of segments, aligned and then projected; of features (B T, C)."""
    count, channels, outputs = weight.shape
    matrix = weight.reshape(count * channels, outputs)
    block = max(1, _TABLE // (count * channels))
    for first in range(0, len(pattern), block):
        some = slice(first, first + block)
        part = AlignPattern.of(pattern.first[some], pattern.shape_of[some], pattern.offsets, pattern.weights)
        read, weights = part.taps(slice(None), steps, rows.dtype)
        read += owner[some, None, None] * steps
        aligned = _gathered(rows, read.flatten(0, 1), weights.flatten(0, 1), ragged=True)
        torch.mm(aligned.view(-1, count * channels), matrix, out=total[some])


def _add_bins(
    total: Tensor, rows: Tensor, pattern: AlignPattern, owner: Tensor, weight: Tensor, bins: slice, steps: int
) -> Tensor:
    """(N, C_out) and the part of some bins (b of them), of features (B T, C) and weights (b, C, C_out)."""
    count, channels, outputs = weight.shape
    projected = (rows @ weight.transpose(0, 1).reshape(channels, -1)).view(-1, outputs)
    bin_of, ragged = torch.arange(count, device=rows.device)[:, None], pattern.offsets.shape[-1] > _MANY

    def read(some: slice) -> Tensor:
        part = AlignPattern.of(pattern.first[some], pattern.shape_of[some], pattern.offsets, pattern.weights)
        places, weights = part.taps(bins, steps, rows.dtype)
        places += owner[some, None, None] * steps
        places = places.mul_(count).add_(bin_of).flatten(1)
        return _gathered(projected, places, weights.flatten(1), ragged)

    if projected.requires_grad:
        return total + read(slice(None))
    block = max(1, _ROWS // outputs)
    for first in range(0, len(pattern), block):
        total[first : first + block] += read(slice(first, first + block))
    return total


def _bin_by_bin(rows: Tensor, pattern: AlignPattern, owner: Tensor, weight: Tensor, steps: int) -> Tensor:
    """(N, C_out), the sum of all bins by operators that other runtimes have; of features (B T, C)."""
    read, weights = pattern.taps(slice(None), steps, rows.dtype)
    read = read + owner[:, None, None] * steps
    places, shares = read.unbind(1), weights[:, :, None].unbind(1)
    total = rows.new_zeros(1)
    for place, share, matrix in zip(places, shares, weight, strict=True):
        total = total + torch.bmm(share, F.embedding(place, rows @ matrix))
    return total[:, 0]


class AlignProject(nn.Module):
    """:func:`align_project` with its weights, initialised as those of a convolution over ``bins * channels``.

    Args:
        channels_in: C.
        channels_out: of the result.
        bins: of the alignment.
    """

    def __init__(self, channels_in: int, channels_out: int, bins: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(bins, channels_in, channels_out))
        self.bias = nn.Parameter(torch.empty(channels_out))
        bound = 1 / math.sqrt(bins * channels_in)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Tensor, pattern: AlignPattern, owner: Tensor) -> Tensor:
        """Features (B, C, T), the pattern of N segments and the window (N,) of each -> (N, C_out)."""
        return align_project(features, pattern, owner, self.weight, self.bias)
