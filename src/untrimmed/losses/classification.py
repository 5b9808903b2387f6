"""Classification losses. Shapes: B batch, K classes, T steps or anchors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.losses import LossTerm


def sigmoid_focal(logits: Tensor, targets: Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of independent classes (Lin et al., ICCV 2017, Eq. 5), element by element.

    ``-a (1 - q)^gamma log q``, where q is the probability given to what is true and a is ``alpha`` for a positive
    and ``1 - alpha`` for a negative.

    Args:
        logits: any shape.
        targets: the same shape, in [0, 1]; values between 0 and 1 mix the losses of a positive and a negative.
        alpha: weight of positives in (0, 1); None weighs both alike, by 1.
        gamma: at least 0; 0 gives weighted binary cross-entropy.

    Returns:
        Losses of the shape of ``logits``, at least 0.
    """
    # Written with log-sigmoids, so that a logit of 100 costs 0 or 100, never infinity or NaN.
    positive = -F.logsigmoid(logits) * torch.sigmoid(-logits) ** gamma
    negative = -F.logsigmoid(-logits) * torch.sigmoid(logits) ** gamma
    up, down = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    return up * targets * positive + down * (1 - targets) * negative


def focal_term(
    logits: Tensor,
    targets: Tensor,
    mask: Tensor,
    *,
    count: Tensor,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    weight: float = 1.0,
) -> LossTerm:
    """Focal loss over the classes of the positions that take part.

    Args:
        logits: (B, K, T).
        targets: (B, K, T) in [0, 1].
        mask: (B, T) bool, which positions take part.
        count: what the sum is divided by: the number of positive positions, as the focal loss is normalised.
        alpha, gamma: see :func:`sigmoid_focal`.
        weight: of the term.
    """
    losses = sigmoid_focal(logits, targets.to(logits.dtype), alpha=alpha, gamma=gamma)
    return LossTerm((losses * mask[:, None]).sum(), count, weight)


def softmax_term(logits: Tensor, labels: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Cross-entropy of exclusive classes, averaged over positions.

    Args:
        logits: (B, K, T).
        labels: (B, T) int64 in [0, K); ignored outside the mask.
        mask: (B, T) bool, which positions take part.
        weight: of the term.
    """
    losses = F.cross_entropy(logits, labels.where(mask, 0), reduction="none")
    return LossTerm((losses * mask).sum(), mask.sum(), weight)


def sigmoid_term(logits: Tensor, targets: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Binary cross-entropy, averaged over the positions that take part.

    Args:
        logits: any shape.
        targets: the same shape, in [0, 1].
        mask: the same shape or one that broadcasts to it, bool.
        weight: of the term.
    """
    losses = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none")
    mask = mask.expand_as(losses)
    return LossTerm((losses * mask).sum(), mask.sum(), weight)


def balanced_terms(logits: Tensor, labels: Tensor, mask: Tensor, *, weight: float = 1.0) -> tuple[LossTerm, LossTerm]:
    """The loss of boundary curves (BSN's TEM, section 3.3 of Lin et al., ECCV 2018; BMN, Eq. 6), as two terms.

    With r = entries / positives it is published as
    ``-mean(r / 2 * b log p + r / (r - 1) / 2 * (1 - b) log(1 - p))``. As r / entries = 1 / positives and
    r / (r - 1) / entries = 1 / negatives, this is half the mean of ``-log p`` over positives plus half the mean of
    ``-log(1 - p)`` over negatives: two sums with a count each, which may be added over batches. Without positives
    the published form divides by zero; here the first term is then 0.

    Args:
        logits: any shape.
        labels: the same shape, bool.
        mask: the same shape or one that broadcasts to it, bool: which elements take part.
        weight: of the loss; each term weighs half of it.

    Returns:
        The terms of the positives and of the negatives.
    """
    positive = labels & mask
    negative = ~labels & mask
    return (
        LossTerm((F.softplus(-logits) * positive).sum(), positive.sum(), weight / 2),
        LossTerm((F.softplus(logits) * negative).sum(), negative.sum(), weight / 2),
    )
