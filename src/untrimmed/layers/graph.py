"""Graphs over time steps or proposals: nearest neighbours in feature space, convolutions over edges, any K.

They do the usual thing in another order. Squared distances come from norms and one matrix product,
``|x_i - x_j|^2 = |x_i|^2 + |x_j|^2 - 2 x_i x_j``, of centred features, because digits are lost where a large common
part is squared; no tensor of differences (B, C, N, N) is built, and rows are done in blocks, so that memory grows
with N and not with its square. The edge convolution ``max_j [x_j ; x_i] W`` splits W into the half that meets the
neighbour and the half that meets the step itself; the latter is the same for all neighbours, so it equals
``x_i W_own + max_j (x_j W_neighbour)``: every step is projected once, not once an edge.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from untrimmed.layers.conv import widened
from untrimmed.layers.portable import nearest_steps, portable
from untrimmed.timemap import UPSCALED

Edges = Literal["free", "cross", "half"]

_CPU_BLOCK = 2**19
"""Distances computed at once on a CPU: few enough that they stay in its cache."""
_BLOCK = 2**24
"""Distances computed at once elsewhere: enough to occupy a GPU, in 0.5 GB."""

_DENSE = 64
"""Steps for each neighbour up to which all products of :func:`cosine_attention` cost less than those of the edges."""

_INFINITE = 0x7F800000
"""The bits of the float32 infinity; those of a finite number that is not negative are lower, and in its order."""
_INDEX = 0xFFFFFFFF
_NO_EDGE = _INFINITE << 32


@torch.no_grad()
def knn_graph(
    features: Tensor,
    k: int,
    mask: Tensor | None = None,
    clip: Tensor | None = None,
    kind: Edges = "free",
) -> tuple[Tensor, Tensor]:
    """The k nearest other steps of every step, by squared distance of their features (VSGN, section 3.3).

    Nearest first, ties by index. Distances are float32 whatever the features are, also under autocast, so steps whose
    distances differ by less than its rounding may change places.

    Args:
        features: (B, C, N).
        k: K, edges into a step, at least 1.
        mask: (B, N) bool, the steps that take part; all if None. The others neither lend nor borrow.
        clip: (B, N) whole numbers, the clip of each step: 1 original, 2 up-scaled, 0 none (such steps take no part).
            Needed for cross-scale edges.
        kind: ``"free"``: neighbours of any clip. ``"cross"``: of the other clip only. ``"half"``: K // 2 free ones,
            then, of those of the other clip that are left, K - K // 2 more. A sample without up-scaled clip has free
            ones whatever the kind.

    Returns:
        (B, N, K) int64 indices and (B, N, K) bool, which of them are edges: where there are fewer than K candidates,
        the others are not, and hold the index of the step itself. A step is never its own neighbour.

    Raises:
        ValueError: for another kind, a k below 1, cross-scale edges without ``clip``, or shapes that do not fit.
    """
    _check(features, k, mask, clip, kind)
    batch, _, steps = features.shape
    device = features.device
    takes_part = torch.ones(batch, steps, dtype=torch.bool, device=device) if mask is None else mask
    if clip is not None:
        takes_part = takes_part & (clip != 0)
    stitched = None if clip is None or kind == "free" else (clip == UPSCALED).any(1)
    if stitched is not None and not portable() and not stitched.any():
        stitched = None
    rows = _centred(features, takes_part)
    # An infinite norm puts a step infinitely far from all others, as a lender and as a borrower.
    norms = rows.square().sum(-1).masked_fill(~takes_part, torch.inf)
    if portable():
        return _plain_knn(rows, norms, k, None if stitched is None else clip, stitched, k // 2 if kind == "half" else 0)

    block = max(1, (_CPU_BLOCK if device.type == "cpu" else _BLOCK) // max(1, batch * steps))
    edges = torch.empty(batch, steps, k, dtype=torch.int64, device=device)
    for first in range(0, steps, block):
        part = slice(first, min(first + block, steps))
        keys = _keys(rows, norms, part)
        found = _lowest(keys, k)
        if stitched is not None:
            assert clip is not None
            free = k // 2 if kind == "half" else 0
            if free:
                keys.scatter_(2, found[..., :free] & _INDEX, _NO_EDGE)
            keys.masked_fill_(clip[:, part, None] == clip[:, None], _NO_EDGE)
            crossing = torch.cat((found[..., :free], _lowest(keys, k - free)), dim=-1)
            found = torch.where(stitched[:, None, None], crossing, found)
        edges[:, part] = found
    valid = (edges >> 32) < _INFINITE
    own = torch.arange(steps, device=device)[:, None]
    return torch.where(valid, edges & _INDEX, own), valid


def _plain_knn(
    rows: Tensor, norms: Tensor, k: int, clip: Tensor | None, stitched: Tensor | None, free: int
) -> tuple[Tensor, Tensor]:
    """What :func:`knn_graph` gives, from all distances at once and by operators that other runtimes have."""
    own = torch.arange(rows.shape[1], device=rows.device)[:, None]
    distances = norms[:, None] - 2 * (rows @ rows.mT) + norms[:, :, None]
    distances = distances.clamp(min=0).masked_fill(own == own.T, torch.inf)
    values, indices = nearest_steps(distances, k)
    if clip is not None and stitched is not None:
        taken = (indices[:, :, None, :free] == own[:, 0, None]).any(-1)
        elsewhere = distances.masked_fill(taken | (clip[:, :, None] == clip[:, None]), torch.inf)
        crossing = nearest_steps(elsewhere, k - free)
        here = stitched[:, None, None]
        values = torch.where(here, torch.cat((values[..., :free], crossing[0]), -1), values)
        indices = torch.where(here, torch.cat((indices[..., :free], crossing[1]), -1), indices)
    valid = values < torch.inf
    return torch.where(valid, indices, own), valid


def _check(features: Tensor, k: int, mask: Tensor | None, clip: Tensor | None, kind: str) -> None:
    if kind not in ("free", "cross", "half"):
        raise ValueError(f"kind of edges is {kind!r}, expected 'free', 'cross' or 'half'")
    if features.ndim != 3:
        raise ValueError(f"{features.shape = }, expected (B, C, N)")
    if k < 1:
        raise ValueError(f"k is {k}, expected at least 1")
    if clip is None and kind != "free":
        raise ValueError(f"{kind!r} edges need the clip of each step")
    expected = (features.shape[0], features.shape[2])
    for name, given in (("mask", mask), ("clip", clip)):
        if given is not None and given.shape != expected:
            raise ValueError(f"{name} has shape {tuple(given.shape)}, expected {expected} for {features.shape = }")


def _centred(features: Tensor, takes_part: Tensor) -> Tensor:
    """(B, N, C) float32: features minus their mean over the steps that take part, 0 for the others."""
    exact = features if features.dtype == torch.float64 else features.float()
    outside = ~takes_part[:, None]
    kept = exact.masked_fill(outside, 0)
    mean = kept.sum(-1, keepdim=True) / takes_part.sum(-1).clamp(min=1)[:, None, None]
    return (kept - mean).masked_fill_(outside, 0).float().mT.contiguous()


def _keys(rows: Tensor, norms: Tensor, part: slice) -> Tensor:
    """(B, R, N) int64, the distance of a part of the steps to all: bits of the float32 distance above, index below.

    So their order is that of the distance, and among equal distances that of the index.
    """
    with torch.autocast(rows.device.type, enabled=False):
        distance = torch.baddbmm(norms[:, None], rows[:, part], rows.mT, alpha=-2)
    distance += norms[:, part, None]
    distance.clamp_(min=0)
    distance.diagonal(part.start, dim1=1, dim2=2).fill_(torch.inf)
    keys = distance.view(torch.int32).to(torch.int64)
    return keys.bitwise_left_shift_(32).bitwise_or_(torch.arange(rows.shape[1], device=rows.device))


def _lowest(keys: Tensor, count: int) -> Tensor:
    """The ``count`` lowest of each row in order, filled up with :data:`_NO_EDGE` where there are fewer."""
    there = min(count, keys.shape[-1])
    return F.pad(keys.topk(there, largest=False).values, (0, count - there), value=_NO_EDGE)


def edge_conv(features: Tensor, indices: Tensor, valid: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Edge convolution: ``max_j W [x_j ; x_i] + b`` over the neighbours j of each step i, channel by channel.

    VSGN, Eq. 2, after Wang et al. (Dynamic Graph CNN, TOG 2019), whose edges carry ``x_j - x_i`` instead of ``x_j``.

    Args:
        features: (B, C, N).
        indices: (B, N, K) int64, in [0, N), the neighbours of each step.
        valid: (B, N, K) bool, which of them count.
        weight: (C_out, 2 C), the first C columns for the neighbour, the others for the step itself.
        bias: (C_out,) or None.

    Returns:
        (B, C_out, N); zero at steps without neighbour. The gradient goes to the first of the neighbours that attain
        the maximum.

    Raises:
        ValueError: for shapes that do not fit.
    """
    channels = features.shape[1]
    _check_edges(features, indices, valid)
    _check_weight(features, weight)
    rows = features.mT.contiguous()
    best = _neighbour_max(F.linear(rows, weight[:, :channels]), indices, valid)
    mixed = best + F.linear(rows, weight[:, channels:], bias)
    return mixed.masked_fill(~valid.any(-1, keepdim=True), 0).mT


def _check_edges(features: Tensor, indices: Tensor, valid: Tensor) -> None:
    if (
        indices.ndim != 3
        or indices.shape[:2] != features.mT.shape[:2]
        or indices.shape[2] == 0
        or valid.shape != indices.shape
    ):
        raise ValueError(f"{indices.shape = } and {valid.shape = }, expected (B, N, K) for {features.shape = }")


def _check_weight(features: Tensor, weight: Tensor) -> None:
    channels = features.shape[1]
    if weight.shape[1] != 2 * channels:
        raise ValueError(f"{weight.shape = }, expected (C_out, {2 * channels}) for {features.shape = }")


def _neighbour_max(values: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    """(B, N, C), the maximum over the valid neighbours of each step; where there is none, some value of the sample."""
    batch, steps, channels = values.shape
    # A neighbour that does not count is replaced by one that does: the maximum stays, and nothing needs masking.
    first = indices.gather(2, valid.to(torch.uint8).argmax(2, keepdim=True))
    rows = _rows_of(torch.where(valid, indices, first))
    if portable():
        flat = values.reshape(-1, channels)
        lent = [flat.index_select(0, column) for column in rows.flatten(0, 1).unbind(1)]
        return reduce(torch.maximum, lent).view(batch, steps, channels)
    best: Tensor = _RowMax.apply(values.reshape(-1, channels), rows.flatten(0, 1).T.contiguous())  # type: ignore[no-untyped-call]
    return best.view(batch, steps, channels)


class _RowMax(torch.autograd.Function):
    """Maximum of K rows of a matrix, for many sets of rows: (N, C) and (K, M) -> (M, C).

    One row of each set after the other, so the (M, K, C) rows never stand side by side; what is kept for the gradient
    is which row gave the maximum, a byte each.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor) -> Tensor:
        best = values.index_select(0, rows[0])
        if not ctx.needs_input_grad[0]:
            for row in rows[1:]:
                torch.maximum(best, values.index_select(0, row), out=best)
            return best
        slots = torch.zeros(best.shape, dtype=torch.uint8 if len(rows) < 256 else torch.int32, device=best.device)
        for slot in range(1, len(rows)):
            other = values.index_select(0, rows[slot])
            # Slots rise, so the highest one at which the maximum rose is the one that gave it.
            torch.maximum(slots, (other > best).to(slots.dtype) * slot, out=slots)
            torch.maximum(best, other, out=best)
        ctx.save_for_backward(rows, slots)
        ctx.count = len(values)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        rows, slots = ctx.saved_tensors
        channels = grad.shape[1]
        # Many steps may share a neighbour: half precision would lose their sum.
        total = torch.zeros(
            ctx.count * channels,
            dtype=torch.promote_types(grad.dtype, torch.float32),
            device=grad.device,
        )
        sources = rows.T.gather(1, slots.long()) * channels + torch.arange(channels, device=grad.device)
        # Flat: the form of the sum that is deterministic on a GPU too, if deterministic algorithms are asked for.
        total.index_add_(0, sources.flatten(), grad.to(total.dtype).flatten())
        return total.view(ctx.count, channels).to(grad.dtype), None


class EdgeConv(nn.Module):
    """:func:`edge_conv` with its weights, initialised as those of a linear layer.

    Args:
        channels_in: C.
        channels_out: of the result.
        bias: whether there is one.
    """

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels_in, channels_out, bias=bias)

    def forward(self, features: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
        """Features (B, C, N), neighbours (B, N, K) int64 and which of them count (B, N, K) bool -> (B, C_out, N)."""
        return edge_conv(features, indices, valid, self.linear.weight, self.linear.bias)


def graph_conv(
    features: Tensor,
    indices: Tensor,
    valid: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    attention: Tensor | None = None,
) -> Tensor:
    """Graph convolution that tells a step from what surrounds it: ``[x_i , (A x)_i - x_i] W + b`` (SegTAD, Eq. 1).

    ``(A x)_i`` is the sum of the neighbours of i, each times its attention. A step that has only some of its K
    neighbours stands for one that has all: their sum is scaled up to K. (As the product is linear, every step is
    projected first and the projections of neighbours are added up.)

    Args:
        features: (B, C, N).
        indices: (B, N, K) int64, in [0, N), the neighbours of each step.
        valid: (B, N, K) bool, which of them count.
        weight: (C_out, 2 C), the first C columns for the step itself, the others for the difference.
        bias: (C_out,) or None.
        attention: (B, N, K), the entries of A; all 1 if None.

    Returns:
        (B, C_out, N), float32 at least.

    Raises:
        ValueError: for shapes that do not fit.
    """
    batch, channels, steps = features.shape
    _check_edges(features, indices, valid)
    _check_weight(features, weight)
    with torch.autocast(features.device.type, enabled=False):
        rows = widened(features).mT
        weight = weight.to(rows.dtype)
        own, difference = weight[:, :channels], weight[:, channels:]
        shares = valid.to(rows.dtype) if attention is None else attention.to(rows.dtype) * valid
        shares = shares * (indices.shape[2] / valid.sum(-1, keepdim=True).clamp(min=1).to(rows.dtype))
        lenders = _rows_of(indices).flatten(0, 1)
        lent = F.linear(rows, difference).reshape(batch * steps, -1)
        surrounding = _weighted_sum(lent, lenders, shares.flatten(0, 1)).view(batch, steps, -1)
        itself = F.linear(rows, own - difference, None if bias is None else bias.to(rows.dtype))
    return (surrounding + itself).mT


def _weighted_sum(values: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """(N, C): of values (M, C), those of some rows (N, K), times their weights (N, K)."""
    if portable():
        return torch.bmm(weights[:, None], F.embedding(rows, values))[:, 0]
    total: Tensor = F.embedding_bag(rows, values, per_sample_weights=weights, mode="sum")
    return total


def neighbour_mean(features: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    """The mean of each step and its neighbours: (B, C, N), (B, N, K) and which of them count -> (B, C, N), float32 at
    least."""
    _check_edges(features, indices, valid)
    batch, channels, steps = features.shape
    with torch.autocast(features.device.type, enabled=False):
        rows = widened(features).mT
        shares = valid.to(rows.dtype) / (1 + valid.sum(-1, keepdim=True)).to(rows.dtype)
        lenders = _rows_of(indices).flatten(0, 1)
        lent = _weighted_sum(rows.reshape(batch * steps, channels), lenders, shares.flatten(0, 1))
        return (lent.view(rows.shape) + rows * (1 - shares.sum(-1, keepdim=True))).mT


def cosine_attention(features: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    """``x_i x_j / (|x_i| |x_j|)`` for every edge (SegTAD, section 3.3): (B, C, N), (B, N, K) -> (B, N, K).

    0 where a feature is 0 and where an edge does not count. Where each step has many of the others for neighbours, all
    products are computed, some rows at a time, and those of edges kept.
    """
    _check_edges(features, indices, valid)
    steps, k = indices.shape[1:]
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.mT, dim=-1)
        if steps <= _DENSE * k and not portable():
            size = max(1, (_CPU_BLOCK if unit.device.type == "cpu" else _BLOCK) // max(1, len(unit) * steps))
            parts = [slice(first, first + size) for first in range(0, steps, size)]
            products = [(unit[:, part] @ unit.mT).gather(2, indices[:, part]) for part in parts]
            return torch.cat(products, 1) * valid
        rows, neighbours = unit.flatten(0, 1), _rows_of(indices).flatten(0, 1)
        # One neighbour of every step after the other: the (N, K, C) rows never stand side by side.
        columns = [(rows * rows.index_select(0, column)).sum(-1) for column in neighbours.unbind(1)]
        return torch.stack(columns, -1).view(indices.shape) * valid


def _rows_of(indices: Tensor) -> Tensor:
    """Neighbours (B, N, K) within each sample as rows of the (B N) steps of all."""
    return indices + indices.shape[1] * torch.arange(indices.shape[0], device=indices.device)[:, None, None]


class GraphConv(nn.Module):
    """:func:`graph_conv` with its weights, initialised as those of a linear layer.

    Args:
        channels_in: C.
        channels_out: of the result.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels_in, channels_out)

    def forward(self, features: Tensor, indices: Tensor, valid: Tensor, attention: Tensor | None = None) -> Tensor:
        """Features (B, C, N), neighbours, which of them count and their attention (B, N, K) -> (B, C_out, N)."""
        return graph_conv(features, indices, valid, self.linear.weight, self.linear.bias, attention)
