"""Losses of predicted segments and of scores that are to equal a number."""

from __future__ import annotations

from torch import Tensor

from untrimmed.losses import Term
from untrimmed.segments import giou


def giou_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> Term:
    """``1 - GIoU`` (Rezatofighi et al., CVPR 2019, in one dimension), averaged over the segments that take part.

    Args:
        predicted: (..., 2), start not after end.
        target: (..., 2), likewise, in the same unit.
        mask: (...) bool, which segments take part.
        weight: of the term.
    """
    losses = 1 - giou(predicted, target)
    return Term((losses * mask).sum(), mask.sum(), weight)


def squared_term(predicted: Tensor, target: Tensor, mask: Tensor, *, weight: float = 1.0) -> Term:
    """Squared error, averaged over the elements that take part.

    Args:
        predicted, target: of one shape.
        mask: the same shape, bool.
        weight: of the term.
    """
    losses = (predicted - target.to(predicted.dtype)).square()
    return Term((losses * mask).sum(), mask.sum(), weight)
