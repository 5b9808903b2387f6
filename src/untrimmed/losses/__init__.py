"""Losses, each as a sum and the count it is to be divided by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from untrimmed._moved import renamed


@dataclass(frozen=True, eq=False)
class LossTerm:
    """One term of a loss, not yet divided.

    What a term is divided by (its positives, its steps) is known only once every micro-batch and every process has
    been seen. Whoever adds up terms therefore adds sums and counts apart, and divides once: one process, several
    processes and gradient accumulation then give the same gradient.

    Args:
        sum: scalar, differentiable.
        count: how many elements ``sum`` adds up, at least 0; carries no gradient.
        weight: factor of ``sum / count`` in the total loss.
    """

    sum: Tensor
    count: Tensor | float
    weight: float = 1.0


def total(terms: Mapping[str, LossTerm]) -> Tensor:
    """The loss that terms of one batch stand for: the sum of ``weight * sum / max(count, 1)``, a scalar."""
    parts = [term.weight * term.sum / torch.as_tensor(term.count).clamp(min=1) for term in terms.values()]
    return torch.stack(parts).sum()


__getattr__ = renamed(__name__, {"Term": "LossTerm"})
