"""What proposals are examples of: an action, a part of one, or neither; and which of them a training step looks at.

The rules are those of SSN (Zhao et al., ICCV 2017, section 4) with the thresholds of P-GCN's released code. A proposal
is, with the instance of highest tIoU as the closest one,

- *foreground* if its tIoU with the closest instance that has a label is above ``foreground``: an example of its class,
  complete, and to be moved onto it;
- *incomplete* if no tIoU reaches ``incomplete``, but more than ``incomplete_share`` of its own length lies in the
  closest instance with a label: an example of an action that it does not show enough of;
- *background* if no tIoU reaches ``background``, no instance holds more than ``incomplete_share`` of it, and it is
  longer than ``background_length`` of the window;
- else, between these, no example of anything.

An instance without a label (-1) is an action of which the class is unknown: what overlaps it is no background, and no
foreground or incomplete example of it.

How a proposal is moved is told by the shift of its centre in lengths of its own, ``(c_gt - c) / l``, and the log of the
factor of its length, ``log(l_gt / l)``: what :func:`untrimmed.layers.anchors.apply_offsets` undoes. Eq. 15 of GCM (Zeng
et al., TPAMI 2021) has the opposite sign in both places, which would move proposals away from the truth if they were
decoded as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from untrimmed.layers.anchors import clip_segments
from untrimmed.layers.matching import Instances, take_instances
from untrimmed.segments import center_width, intersection_over_first, tiou


class ProposalRules(NamedTuple):
    """Thresholds, see the module's docstring."""

    foreground: float = 0.7
    incomplete: float = 0.3
    incomplete_share: float = 0.01
    background: float = 0.01
    background_length: float = 0.02


class ProposalLabels(NamedTuple):
    """What :func:`label_proposals` finds; of a proposal that is padding all are False.

    Attributes:
        foreground, incomplete, background: (B, N) bool; at most one is True.
        labels: (B, N) int64, class of the closest instance with a label; -1 where no such instance overlaps.
        offsets: (B, N, 2) shift and log factor onto it; zero where it does not overlap or has no length.
    """

    foreground: Tensor
    incomplete: Tensor
    background: Tensor
    labels: Tensor
    offsets: Tensor


@torch.no_grad()
def label_proposals(
    segments: Tensor, mask: Tensor, instances: Instances, extent: Tensor, rules: ProposalRules = ProposalRules()
) -> ProposalLabels:
    """Label the proposals of windows.

    Args:
        segments: (B, N, 2) in steps.
        mask: (B, N) bool, which of them there are.
        instances: of the windows.
        extent: (B,) steps of each window that show something.
        rules: thresholds.
    """
    real = (instances.labelled | instances.unlabelled)[:, None]
    table = tiou(segments[:, :, None], instances.segments[:, None])
    share = intersection_over_first(segments[:, :, None], instances.segments[:, None])
    named = table.where(instances.labelled[:, None], -1).max(-1)
    any_instance = table.where(real, 0).amax(-1)
    foreground = mask & (named.values > rules.foreground)
    within = share.where(instances.labelled[:, None], 0).gather(-1, named.indices[..., None])[..., 0]
    incomplete = mask & (any_instance < rules.incomplete) & (within > rules.incomplete_share) & ~foreground
    apart = share.where(real, 0).amax(-1) <= rules.incomplete_share
    length = segments[..., 1] - segments[..., 0]
    long = length > rules.background_length * extent[:, None]
    background = mask & (any_instance < rules.background) & apart & long & ~foreground & ~incomplete
    overlaps = mask & (named.values > 0)
    labels = take_instances(instances.labels, named.indices).where(overlaps, -1)
    offsets = offsets_onto(segments, take_instances(instances.segments, named.indices))
    return ProposalLabels(foreground, incomplete, background, labels, offsets.where(overlaps[..., None], 0))


def offsets_onto(segments: Tensor, targets: Tensor) -> Tensor:
    """The offsets (..., 2) by which ``apply_offsets`` moves segments (..., 2) onto targets (..., 2); zero where one of
    the two has no length."""
    (center, width), (goal, length) = center_width(segments), center_width(targets)
    usable = (width > 0) & (length > 0)
    width, length = width.where(usable, 1), length.where(usable, 1)
    offsets = torch.stack(((goal - center) / width, (length / width).log()), -1)
    return offsets.where(usable[..., None], 0)


def with_instances(segments: Tensor, mask: Tensor, instances: Instances, extent: Tensor) -> tuple[Tensor, Tensor]:
    """Proposals and, after them, the instances that have a label, cut to what the window shows.

    Args:
        segments: (B, N, 2) in steps.
        mask: (B, N) bool, which of them there are.
        instances: of the windows, M at most.
        extent: (B,) the step where each window ends.

    Returns:
        (B, N + M, 2) and (B, N + M) likewise; segments that are not there are zero.
    """
    bounds = torch.stack((torch.zeros_like(extent), extent), -1)[:, None].to(segments.dtype)
    shown = clip_segments(instances.segments.to(segments.dtype), bounds)
    there = instances.labelled & (shown[..., 1] > shown[..., 0])
    return torch.cat((segments, shown.where(there[..., None], 0)), 1), torch.cat((mask, there), 1)


@torch.no_grad()
def draw(pools: Sequence[Tensor], counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Members of pools, drawn window by window: without replacement, and of a pool with fewer than are to be drawn over
    and over, each as often as any other or once more. An empty pool gives none.

    Args:
        pools: (B, N) bool each.
        counts: how many of each pool, at least 0.

    Returns:
        (B, M) int64 drawn places in [0, N), M the sum of the counts, pool by pool, 0 where none was drawn; (B, M) bool,
        where one was. Uses torch's random numbers.
    """
    places, there = [], []
    for pool, count in zip(pools, counts, strict=True):
        size = pool.sum(1, keepdim=True)
        # Members in a random order come first.
        order = torch.rand(pool.shape, device=pool.device).masked_fill_(~pool, 2.0).argsort(1)
        turn = torch.arange(count, device=pool.device) % size.clamp(min=1)
        found = order.gather(1, turn) if pool.shape[1] else torch.zeros_like(turn)
        there.append((size > 0).expand(-1, count))
        places.append(found.where(there[-1], 0))
    return torch.cat(places, 1), torch.cat(there, 1)
