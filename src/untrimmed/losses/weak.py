"""Losses of methods that learn from video-level labels alone. Shapes: B videos, K classes, T steps."""

from __future__ import annotations

import torch
from torch import Tensor

from untrimmed.losses import LossTerm


def video_term(logits: Tensor, labels: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Multiple-instance loss of video-level class scores (BaS-Net, Eq. 5; UM, Eq. 10).

    Binary cross-entropy between the softmax of the scores and the labels divided by their number, averaged over
    classes and videos, as in the authors' code. A video without any label says nothing about a softmax, and is left
    out.

    Args:
        logits: (B, K) class scores of whole videos.
        labels: (B, K) float, 1 for the classes that occur, 0 for the others.
        weight: of the term.
    """
    amount = labels.sum(1, keepdim=True)
    entropies = _entropies(logits, labels / amount.clamp(min=1)).mean(1)
    known = amount[:, 0] > 0
    return LossTerm((entropies * known).sum(), known.sum(), weight)


def uniform_term(logits: Tensor, *, weight: float = 1.0) -> LossTerm:
    """The softmax of scores is to be uniform (background entropy, UM, Eq. 12): binary cross-entropy with 1 / K,
    averaged over classes and videos. ``logits``: (B, K)."""
    target = torch.full_like(logits, 1 / logits.shape[1])
    return LossTerm(_entropies(logits, target).mean(1).sum(), len(logits), weight)


def _entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each probability of a softmax, (B, K)."""
    log_p = logits.log_softmax(1)
    # log(1 - p) by way of the other classes' share loses nothing where p is almost 1, and has a lowest value, as
    # torch's own binary cross-entropy has.
    log_rest = torch.log1p(-log_p.exp().clamp(max=1 - torch.finfo(logits.dtype).eps))
    return -(targets * log_p.clamp(min=-100) + (1 - targets) * log_rest)


def sparsity_term(weights: Tensor, mask: Tensor, *, weight: float = 1.0) -> LossTerm:
    """L1 norm of attention weights over the time of a video, averaged over videos (BaS-Net, Eq. 6).

    Args:
        weights: (B, T), at least 0.
        mask: (B, T) bool.
        weight: of the term.
    """
    return LossTerm((weights.abs() * mask).sum(), len(weights), weight)


def magnitude_term(actions: Tensor, background: Tensor, margin: float, *, weight: float = 1.0) -> LossTerm:
    """Feature magnitudes of action are to be large, of background small (uncertainty modelling, UM, Eq. 11).

    ``(max(0, m - |f_action|) + |f_background|)^2``, averaged over videos, for the mean features of each.

    Args:
        actions: (B, C) mean feature of the pseudo action steps of each video.
        background: (B, C) likewise of the pseudo background steps.
        margin: m, largest magnitude asked for.
        weight: of the term.
    """
    lacking = (margin - _magnitude(actions)).clamp(min=0)
    return LossTerm((lacking + _magnitude(background)).square().sum(), len(actions), weight)


def _magnitude(features: Tensor) -> Tensor:
    """(B, C) -> (B,), with a finite gradient at zero."""
    return features.square().sum(1).add(torch.finfo(features.dtype).tiny).sqrt()


def cross_entropy_term(logits: Tensor, targets: Tensor, *, weight: float = 1.0) -> LossTerm:
    """Softmax cross-entropy with target distributions, averaged over videos.

    Args:
        logits: (B, K).
        targets: (B, K), at least 0; rows are divided by their sum. A row without any is left out.
        weight: of the term.
    """
    amount = targets.sum(1, keepdim=True)
    losses = -(targets / amount.clamp(min=1e-9) * logits.log_softmax(1)).sum(1)
    known = amount[:, 0] > 0
    return LossTerm((losses * known).sum(), known.sum(), weight)
