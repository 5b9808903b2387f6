"""Losses of methods that judge proposals. Shapes: B windows, M proposals of each."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.losses import LossTerm


def completeness_term(
    values: Tensor, complete: Tensor, incomplete: Tensor, share: float, *, weight: float = 1.0
) -> LossTerm:
    """Hinge loss of completeness (SSN, Zhao et al., ICCV 2017, section 3.3; Eq. 14 of GCM): that of complete proposals
    is to be above 1, of incomplete ones below -1. Of the incomplete ones of a window only the hardest count.

    Args:
        values: (B, M) completeness of the class that each proposal is an example of.
        complete, incomplete: (B, M) bool; never both.
        share: of the incomplete ones of a window that count, in (0, 1], rounded down, but at least one.
        weight: of the term.
    """
    losses = (F.relu(1 - values) * complete).sum()
    errors = F.relu(1 + values).masked_fill(~incomplete, -1)
    hardest = errors.sort(dim=1, descending=True, stable=True).values
    kept = torch.arange(values.shape[1], device=values.device) < _kept(incomplete.sum(1), share)[:, None]
    count = completeness_count(complete.sum(1), incomplete.sum(1), share)
    return LossTerm(losses + (hardest * kept).sum(), count, weight)


def completeness_count(complete: Tensor, incomplete: Tensor, share: float) -> Tensor:
    """What :func:`completeness_term` is divided by, from how many of both kinds (B,) each window has."""
    return complete.sum() + _kept(incomplete, share).sum()


def _kept(incomplete: Tensor, share: float) -> Tensor:
    # Rounded down as numbers are in Python: 0.07 times 100 is 7.
    hard = (incomplete.double() * share + 1e-9).floor().long().clamp(min=1)
    return torch.minimum(hard, incomplete)


def offsets_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Smooth L1 loss of offsets, summed over shift and log factor, averaged over proposals (Eq. 16 of GCM).

    Args:
        predicted, target: (B, M, 2).
        mask: (B, M) bool, which proposals take part.
        weight: of the term.
    """
    losses = F.smooth_l1_loss(predicted, target.to(predicted.dtype), reduction="none").sum(-1)
    return LossTerm((losses * mask).sum(), mask.sum(), weight)
