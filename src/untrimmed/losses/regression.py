"""Losses of predicted segments and of scores that are to equal a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.losses import LossTerm
from untrimmed.segments import giou


def giou_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """``1 - GIoU`` (Rezatofighi et al., CVPR 2019, in one dimension), averaged over the segments that take part.

    Args:
        predicted: (..., 2), start not after end.
        target: (..., 2), likewise, in the same unit.
        mask: (...) bool, which segments take part.
        weight: of the term.
    """
    losses = 1 - giou(predicted, target)
    return LossTerm((losses * mask).sum(), mask.sum(), weight)


def squared_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Squared error, averaged over the elements that take part.

    Args:
        predicted, target: of one shape.
        mask: the same shape, bool.
        weight: of the term.
    """
    losses = (predicted - target.to(predicted.dtype)).square()
    return LossTerm((losses * mask).sum(), mask.sum(), weight)


def smooth_l1_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Smooth L1 (Girshick, ICCV 2015, Eq. 3), averaged over the elements that take part: half the square of errors
    below 1, ``|error| - 1/2`` of others.

    Args:
        predicted, target: of one shape.
        mask: the same shape, bool, or without the last axis, over which losses are then summed.
        weight: of the term.
    """
    losses = F.smooth_l1_loss(predicted, target.to(predicted.dtype), reduction="none")
    if losses.ndim > mask.ndim:
        losses = losses.sum(-1)
    return LossTerm((losses * mask).sum(), mask.sum(), weight)


def banded_terms(
    losses: Tensor,
    targets: Tensor,
    mask: Tensor,
    *,
    edges: Sequence[float],
    shares: Sequence[float],
    weight: float = 1.0,
) -> tuple[LossTerm, ...]:
    """Losses balanced over bands of the target, as BSN and BMN balance proposals by their overlap with the truth.

    Both draw as many elements from each band (or twice as many from one), and average over those drawn. What that is
    on average is the weighted mean of the means of the bands; here it is computed as such, one term for each band. So
    nothing is drawn, bands may be added over batches, and an empty band costs nothing. (Drawn, a band with fewer
    elements than it is to give counts less; and without any in the highest band nothing would be learned at all.)

    Args:
        losses: any shape.
        targets: the same shape.
        mask: the same shape, bool: which elements take part.
        edges: rising, b - 1 of them: a band holds what lies above one edge and up to the next, that one included.
        shares: b, at least 0, of the bands from the lowest to the highest; they are divided by their sum.
        weight: of all terms together.
    """
    band = torch.bucketize(targets, torch.tensor(tuple(edges), dtype=targets.dtype, device=targets.device))
    terms = []
    for number, share in enumerate(shares):
        inside = mask & (band == number)
        terms.append(LossTerm((losses * inside).sum(), inside.sum(), weight * share / sum(shares)))
    return tuple(terms)
