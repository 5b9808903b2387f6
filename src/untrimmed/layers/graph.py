"""Graphs over time steps: nearest neighbours in feature space, and edge convolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.timemap import UPSCALED

Edges = Literal["free", "cross", "half"]


@torch.no_grad()
def knn_graph(
    features: Tensor, k: int, mask: Tensor, clip: Tensor | None = None, kind: Edges = "free"
) -> tuple[Tensor, Tensor]:
    """The k nearest steps of every step, by squared distance of their features (VSGN, section 3.3).

    Args:
        features: (B, C, N).
        k: K, edges into a step.
        mask: (B, N) bool: steps that take part. The others neither lend nor borrow.
        clip: (B, N) uint8, the clip of each step; needed for cross-scale edges.
        kind: ``free``: of any clip; ``cross``: of the other clip only; ``half``: K/2 free ones, and from those of
            the other clip that are left K - K/2 more. A sample without steps of an up-scaled clip has free ones only.

    Returns:
        (B, N, K) int64 indices and (B, N, K) bool, which of them are edges. A step is never its own neighbour.
    """
    steps = features.shape[2]
    width = min(k, steps)
    centred = features.float() - features.float().mean(-1, keepdim=True)
    product = centred.mT @ centred
    norms = product.diagonal(dim1=1, dim2=2)
    distance = norms[:, :, None] + norms[:, None] - 2 * product
    usable = mask[:, :, None] & mask[:, None] & ~torch.eye(steps, dtype=torch.bool, device=mask.device)
    distance = distance.masked_fill(~usable, torch.inf)
    nearest, indices = distance.topk(width, largest=False)
    if kind != "free" and clip is not None:
        free = width // 2 if kind == "half" else 0
        across = distance.scatter(2, indices[..., :free], torch.inf)
        across = across.masked_fill(clip[:, :, None] == clip[:, None], torch.inf)
        crossing, others = across.topk(width - free, largest=False)
        stitched = (clip == UPSCALED).any(1)[:, None, None]
        nearest = torch.where(stitched, torch.cat((nearest[..., :free], crossing), -1), nearest)
        indices = torch.where(stitched, torch.cat((indices[..., :free], others), -1), indices)
    missing = (0, k - width)
    return F.pad(indices, missing), F.pad(torch.isfinite(nearest), missing)


class EdgeConv(nn.Module):
    """Edge convolution (Wang et al., TOG 2019; Eq. 2 of VSGN): ``max_j [x_j ; x_i] W + b``, zero without neighbours.

    Args:
        channels_in: C.
        channels_out: of the result.
        bias: whether b is there.
    """

    def __init__(self, channels_in: int, channels_out: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels_in, channels_out, bias=bias)

    def forward(self, features: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
        """Features (B, C, N), neighbours (B, N, K) int64 and which are real (B, N, K) bool -> (B, C_out, N)."""
        rows = features.mT
        neighbour, own = self.linear.weight.chunk(2, dim=1)
        # W splits into the neighbour's half and the step's own, so each step is projected once.
        projected = F.linear(rows, neighbour)
        batch, steps, count = indices.shape
        gathered = projected.gather(1, indices.view(batch, -1, 1).expand(-1, -1, projected.shape[-1]))
        best = gathered.view(batch, steps, count, -1).masked_fill(~valid[..., None], -torch.inf).amax(2)
        mixed = best + F.linear(rows, own, self.linear.bias)
        return torch.where(valid.any(-1, keepdim=True), mixed, torch.zeros_like(mixed)).mT
