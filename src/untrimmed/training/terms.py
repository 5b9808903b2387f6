"""The terms of a method's loss on one batch, and how several processes come to share their gradients.

:class:`LossTerms` is the one module that a training step calls, so it is what torch's
``DistributedDataParallel`` wraps: whatever part of the method has a say in the loss, in its ``forward`` or in its
``loss``, is used inside that call. The method itself is never wrapped, and the names of its weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.losses import LossTerm
from untrimmed.training.processes import Processes

Factor = Callable[[str], float | None]
"""A factor of the weight of each term, by its name; None leaves the term out."""


class Terms(NamedTuple):
    """N terms of a loss (:class:`untrimmed.losses.LossTerm`), side by side.

    Attributes:
        names: of the terms.
        sums: (N,), differentiable.
        counts: (N,) float32, without gradient.
        weights: (N,) float32, without gradient.
    """

    names: tuple[str, ...]
    sums: Tensor
    counts: Tensor
    weights: Tensor


class LossTerms(nn.Module):
    """A method and its loss.

    Args:
        model: a method; ``model(batch)`` gives raw, ``model.loss(raw, batch)`` the terms.
        precision: of the network, ``float32`` or ``bf16``; losses are computed in float32 either way.
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, batch: Batch, factor: Factor) -> Terms:
        """The terms of a batch that ``factor`` does not leave out, their weights times it."""
        with autocast(batch.features.device, self.precision):
            raw = self.model(batch)
        raw = {name: value.float() if value.is_floating_point() else value for name, value in raw.items()}
        loss: Callable[..., dict[str, LossTerm]] = self.model.loss  # type: ignore[assignment]
        found = {name: (term, factor(name)) for name, term in loss(raw, batch).items()}
        kept = {name: (term, by) for name, (term, by) in found.items() if by is not None}
        sums = torch.stack([term.sum for term, _ in kept.values()])
        weights = torch.tensor([term.weight * by for term, by in kept.values()], device=sums.device)
        return Terms(tuple(kept), sums, stacked([term.count for term, _ in kept.values()], sums.device), weights)

    def counts(self, batch: Batch, factor: Factor) -> dict[str, Tensor]:
        """The counts alone: as the method says them ahead, or else by a forward pass."""
        ahead: Callable[[Batch], Mapping[str, Tensor | float]] | None = getattr(self.model, "counts", None)
        if ahead is None:
            terms = self(batch, factor)
            return dict(zip(terms.names, terms.counts.unbind(), strict=True))
        said = {name: count for name, count in ahead(batch).items() if factor(name) is not None}
        return dict(zip(said, stacked(list(said.values()), batch.features.device).unbind(), strict=True))


class _WithSpare(nn.Module):
    """What ``DistributedDataParallel`` wraps: the terms, and a parameter that takes part in none of them, for its
    search for unused parameters warns in every process if it finds none."""

    def __init__(self, terms: LossTerms, device: torch.device) -> None:
        super().__init__()
        self.terms = terms
        self.spare = nn.Parameter(torch.zeros((), device=device))

    def forward(self, batch: Batch, factor: Factor) -> Terms:
        terms: Terms = self.terms(batch, factor)
        return terms


def shared(terms: LossTerms, processes: Processes) -> DistributedDataParallel | None:
    """The terms, so wrapped that their gradients become the mean over the processes during the backward pass; None
    where there is only one process. Parameters that require no gradient now are never looked at; buffers, such as
    running statistics, are those of the first process.

    torch searches the graph for unused parameters, which costs a traversal in each step. It makes a parameter that
    takes part in one process only (proposals are found in one batch and not in the other) count as 0 in the others,
    and leaves one that takes part nowhere without gradient, as one process would. And as buckets then keep their first
    layout, sums are added in the same order before and after a resumption: three processes or more go on to the same
    bits, which they do not if torch orders the buckets anew after a first step.

    The gradients have a process group of their own: the sums that layers take over processes in the backward pass
    (:class:`untrimmed.layers.conv.MaskedBatchNorm`) cannot get between them, in whatever order the two are ready.
    """
    if processes.world == 1:
        return None
    device = next(terms.parameters()).device
    return DistributedDataParallel(
        _WithSpare(terms, device),
        process_group=processes.gradients,
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
    )


def stacked(counts: list[Tensor | float], device: torch.device) -> Tensor:
    """(N,) float32 of N counts."""
    each = [torch.as_tensor(count, dtype=torch.float32, device=device) for count in counts]
    return torch.stack(each).detach()


def aligned(counts: Mapping[str, Tensor], terms: Terms, model: nn.Module) -> Tensor:
    """(N,): the counts of the terms, by their names.

    Raises:
        InputError: if they are of other terms.
    """
    if counts.keys() != set(terms.names):
        raise InputError(
            f"{type(model).__name__}.counts names {', '.join(counts)}, but its loss has {', '.join(terms.names)}; "
            "expected the same terms"
        )
    return torch.stack([counts[name] for name in terms.names])


def autocast(device: torch.device, precision: str) -> Any:
    """Autocast to bfloat16 if the precision says so, else nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
