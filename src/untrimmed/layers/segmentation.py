"""Segmentation of a sequence in time: labels for its steps, and the hourglass network of SegTAD (section 3.2).

A step belongs to an action if its centre lies inside it; an action that holds no centre has the step of its middle. An
action may reach past the window: its steps within belong to it, and an edge that lies outside is none of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import MaskedBatchNorm, masked, pad_steps
from untrimmed.layers.graph import GraphConv, knn_graph
from untrimmed.layers.matching import Instances

Branch = Literal["atrous", "graph", "global"]


class FrameLabels(NamedTuple):
    """What the steps of a batch show.

    Attributes:
        labels: (B, T) int64: the class of the action a step belongs to, of the shortest if there are several (the
            others have more steps to be seen by; the first if equally short), -1 if to none with a label.
        inside: (B, T) bool: it belongs to an action, with a label or without.
        edges: (B, 2, T) bool: it is the first, the last step of an action that starts, that ends within the window.
    """

    labels: Tensor
    inside: Tensor
    edges: Tensor


@torch.no_grad()
def frame_labels(instances: Instances, steps: int) -> FrameLabels:
    """The labels of ``steps`` steps for the instances of a batch."""
    start, end = (each[..., None] for each in instances.segments.unbind(-1))
    index = torch.arange(steps, device=start.device)
    real = (instances.labelled | instances.unlabelled)[..., None]
    # The first and the last centre inside; where they are the wrong way round there is none, and the middle stands in.
    first, last = (start - 0.5).ceil(), (end - 0.5).ceil() - 1
    middle = ((start + end) / 2).floor()
    first, last = middle.where(last < first, first), middle.where(last < first, last)
    shown = (first <= index) & (index <= last) & real
    length = (end - start).expand(shown.shape).masked_fill(~(shown & instances.labelled[..., None]), torch.inf)
    shortest = length.min(1)
    labels = instances.labels.gather(1, shortest.indices).masked_fill(shortest.values == torch.inf, -1)
    edges = [(shown & (index == edge)).any(1) for edge in (first, last)]
    return FrameLabels(labels, shown.any(1), torch.stack(edges, 1))


def any_of(mask: Tensor, stride: int) -> Tensor:
    """(B, T) bool -> (B, T / stride): the cells of which some step is valid; T is a multiple of ``stride``."""
    return mask.view(mask.shape[0], -1, stride).any(-1)


def finer(features: Tensor, mask: Tensor, stride: int) -> Tensor:
    """Linear interpolation to ``stride`` times as many steps, from valid cells alone: (B, C, T), (B, T) -> (B, C, T
    stride). Beside an invalid cell the nearer valid one is held, as after the last.

    Cell i stands at step ``stride * i``: there a convolution of kernel 3, padding 1 and that stride looks, also one of
    several whose strides multiply to it. (Cells by halves, the middle of their steps, would be read early by half of
    ``stride - 1`` steps.)
    """
    if stride == 1:
        return features
    share = torch.arange(stride, device=features.device, dtype=features.dtype) / stride
    valid = mask[:, None].to(features.dtype)
    values, weights = (
        (each[..., None] * (1 - share) + F.pad(each[..., 1:], (0, 1))[..., None] * share).flatten(-2)
        for each in (features * valid, valid)
    )
    return values / weights.clamp(min=0.5 / stride)


class ParallelAtrousGraph(nn.Module):
    """PAG: atrous convolutions, a graph convolution and a global mean side by side, then fused (Eqs. 1 and 2).

    The branches are linear, as their equations are; ReLU follows the convolution of kernel 1 that fuses them.

    Args:
        channels: C, in, out and of every branch.
        dilations: one convolution of kernel 3 for each.
        neighbours: K of the graph.
        branches: which there are, at least one.
    """

    def __init__(self, channels: int, dilations: Sequence[int], neighbours: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        self.neighbours, self.glob = neighbours, "global" in branches
        self.graph = GraphConv(channels, channels) if "graph" in branches else None
        self.atrous = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
            for dilation in (dilations if "atrous" in branches else ())
        )
        count = len(self.atrous) + (self.graph is not None) + self.glob
        self.fuse = nn.Conv1d(count * channels, channels, 1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), zero at the steps that are not valid, and the mask (B, T) -> (B, C, T), likewise."""
        parts = [conv(features) for conv in self.atrous]
        if self.graph is not None:
            parts.insert(0, self.graph(features, *knn_graph(features, self.neighbours, mask)))
        if self.glob:
            mean = features.sum(-1) / mask.sum(-1, keepdim=True).clamp(min=1).to(features.dtype)
            parts.append(mean[..., None].expand_as(features))
        return masked(F.relu(self.fuse(torch.cat([part.to(features.dtype) for part in parts], 1))), mask)


class Hourglass(nn.Module):
    """1D-SSN without its classifiers: strided convolutions, PAG, and a decoder back to every step (section 3.2.2).

    The decoder takes the output of PAG and, over a convolution of kernel 1 with batch normalisation and ReLU, that of
    the second convolution, both interpolated to the steps of the input, and fuses them by a convolution of kernel 3
    with ReLU.

    Args:
        channels_in: of the features.
        channels: C.
        strides: of the three convolutions.
        pag: the module in the middle.
    """

    def __init__(self, channels_in: int, channels: int, strides: Sequence[int], pag: ParallelAtrousGraph) -> None:
        super().__init__()
        self.strides = tuple(strides)
        inputs = (channels_in, *[channels] * (len(self.strides) - 1))
        self.encoder = nn.ModuleList(
            nn.Conv1d(count, channels, 3, stride=stride, padding=1)
            for count, stride in zip(inputs, self.strides, strict=True)
        )
        self.pag = pag
        self.highway = nn.Conv1d(channels, channels, 1)
        self.norm = MaskedBatchNorm(channels)
        self.fuse = nn.Conv1d(2 * channels, channels, 3, padding=1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C_in, T) and the mask (B, T), bool -> (B, C, T), zero at steps that are not valid."""
        steps = features.shape[-1]
        total = 1
        for stride in self.strides:
            total *= stride
        mask = pad_steps(mask, total)
        current = masked(pad_steps(features, total), mask)
        levels, stride = [], 1
        for conv, by in zip(self.encoder, self.strides, strict=True):
            stride *= by
            current = masked(F.relu(conv(current)), any_of(mask, stride))
            levels.append((current, stride))
        second, at = levels[1]
        detail = F.relu(self.norm(self.highway(second), any_of(mask, at)))
        context = finer(self.pag(current, any_of(mask, stride)), any_of(mask, stride), stride)
        joined = torch.cat((context, finer(detail, any_of(mask, at), at).to(context.dtype)), 1)
        return masked(F.relu(self.fuse(masked(joined, mask))), mask)[..., :steps]
