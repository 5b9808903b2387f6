"""ACGNet: Action Complement Graph Network (Yang, Qin and Huang, AAAI 2022), an enhancer of segment features.

Segments of one video lend each other what they see: those that resemble each other and lie apart are joined by edges,
and each receives a weighted average and a graph convolution of its neighbours' features::

    A_s(i, j) = cos(f_i, f_j)                   similarity                            Eq. 1
    A_t(i, j) = 1 - max(Z - |i - j|, 0) / Z     the farther apart, the stronger       Eq. 2
    A         = (A_s + alpha A_t) / 2                                                 Eq. 3
    A'        = A where A > lambda and among the K strongest of its row, else 0       Eq. 4
    F_avg     = Â F                             Â: rows of A' divided by their sum    Eq. 5
    F_gcn     = M times relu(Â . W)                                                   Eq. 6
    F'        = F + F_avg + F_gcn                                                     Eq. 7
    L_EPM     = sum over edges of p_j |f'_i - f_j|^2                                  Eq. 8

:class:`ACGNet` fits every host of :mod:`untrimmed.methods.plugins.enhancer`, and any other code: ``ACGNet(Config(),
2048)``. All videos of a batch are done at once; T x T matrices are the largest there are. Eq. 8 comes from its expanded
square, ``|f'_i|^2 + |f_j|^2 - 2 f'_i f_j`` of centred features, so the T x T x D tensor of differences is never built.

What the paper leaves open, and how it is settled
- A segment's rank counts all segments of its row, itself too (with its A_ii = 1/2 it never passes lambda). Among equal
  weights, which A_t alone has many of, those of lower index come first.
- The designs of Table 3: G1 is A_s, G2 is A_s - alpha A_t, and G_t alone is A_t, none divided by 2; with the paper's
  lambda that leaves G2 edges between neighbours in time, while half of it would never reach lambda.
- The dense graph: ``neighbours: null`` with ``threshold: null``.
- Â divides by the sum of absolute weights, which is the row's sum where weights are not negative, as they are above a
  threshold. A dense graph of features of either sign may have rows whose sum is 0. A row without edges stays 0.
- The graph is a constant: no gradient flows into its weights. Gradients flow through the features it averages.
- W is a matrix without bias, as the parameter counts ask for (34.6 M with two of them); it starts as Glorot's.
- Scores of Eq. 8 come from the host (its docstring says which). They are constants, unless ``score_gradient``: as the
  loss falls when the scores do, a gradient would teach the host to see no action.
- K is 50 with BaS-Net, whose T is fixed, and "T / 10 = 40" with the other two, whose videos may have fewer than 400
  steps in inference. K stays what it is set to, unless ``neighbours_of: 400`` makes it a share of the steps.
- Eq. 8 writes its norm as ``||.||2``, which is read here as the square, as is usual in a loss of distances to a
  centroid (the text calls easy segments that); ``epm_squared: false`` reads it as the norm. On close features that one
  pulls as hard as on distant ones.
- Eq. 8 adds over edges (and, squared, over channels), so its size grows with T, K and D; its weight is not in the
  paper. By default it is divided by its number of terms (``epm_mean``), so that one weight serves all sizes;
  ``epm_mean: false`` is Eq. 8.
- With concatenation each block of f'_i is compared with f_j.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import masked, widened
from untrimmed.losses import LossTerm
from untrimmed.methods.plugins.enhancer import PREFIX, State

Graph = Literal["sum", "similarity", "difference", "diffusion"]
Part = Literal["original", "average", "convolution"]


class Config(BaseModel):
    """Settings of ACGNet; defaults are those of the paper with BaS-Net on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    graph: Graph = Field("sum", description="G3, G1, G2 of Table 3, or the temporal diffusion graph alone")
    diffusion: int = Field(10, ge=1, description="Z, steps apart from which on A_t is 1")
    alpha: float = Field(1.0, ge=0, description="weight of A_t")
    threshold: float | None = Field(0.85, description="lambda: weights up to it are no edges; None: no threshold")
    neighbours: int | None = Field(50, ge=1, description="K, edges of a segment; None: no limit")
    neighbours_of: int | None = Field(
        None,
        ge=1,
        description="steps that K is for: a video of n has K n / neighbours_of edges a segment, rounded, at least 1 "
        "(the paper's K = T / 10); None: always K",
    )
    layers: int = Field(2, ge=1, description="M, graph convolutions")
    features: tuple[Part, ...] = Field(
        ("original", "average", "convolution"), description="what F' is made of (Table 4)"
    )
    fusion: Literal["sum", "concat"] = Field("sum", description="how its parts are joined (Table 4)")
    epm: bool = Field(True, description="easy-positive-mining loss, Eq. 8")
    epm_weight: float = Field(1.0, ge=0, description="of that loss")
    epm_squared: bool = Field(True, description="its norm is squared, as in a loss of distances; false: it is not")
    epm_mean: bool = Field(True, description="divide it by its number of edges and channels, not of videos")
    score_gradient: bool = Field(False, description="let that loss change the host's scores")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.neighbours_of is not None and self.neighbours is None:
            raise ValueError(f"neighbours_of is {self.neighbours_of}, but neighbours is not limited")
        return self

    @field_validator("features")
    @classmethod
    def _some(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if not parts or len(set(parts)) != len(parts):
            raise ValueError("expected at least one of original, average, convolution, none of them twice")
        return parts


@torch.no_grad()
def similarity(features: Tensor, mask: Tensor) -> Tensor:
    """Eq. 1: cosines between segments; 0 for features that are zero or masked.

    Args:
        features: (B, C, T).
        mask: (B, T) bool.

    Returns:
        (B, T, T) in [-1, 1], float32 at least.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(masked(widened(features), mask), dim=1)
        return unit.mT @ unit


def temporal_diffusion(steps: int, reach: int, device: torch.device | None = None) -> Tensor:
    """Eq. 2: (T, T) float32, from 0 on the diagonal to 1 from ``reach`` steps apart on."""
    place = torch.arange(steps, device=device)
    apart = (place[:, None] - place).abs()
    return 1 - (reach - apart).clamp(min=0) / reach


@torch.no_grad()
def complement_graph(features: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Eqs. 1 to 4: the sparse adjacency A' of each video.

    Args:
        features: (B, C, T).
        mask: (B, T) bool; segments outside it have no edges.
        config: which graph.

    Returns:
        (B, T, T) float32 at least; row i has the weights of what segment i receives.
    """
    steps = features.shape[-1]
    similar = similarity(features, mask) if config.graph != "diffusion" else None
    diffusion = temporal_diffusion(steps, config.diffusion, features.device)
    if similar is None:
        weights = diffusion.expand(len(features), -1, -1)
    elif config.graph == "similarity":
        weights = similar
    elif config.graph == "difference":
        weights = similar - config.alpha * diffusion
    else:
        weights = (similar + config.alpha * diffusion) / 2
    neighbours: int | Tensor | None = config.neighbours
    if neighbours is not None and config.neighbours_of is not None:
        neighbours = (mask.sum(1) * neighbours / config.neighbours_of).round().long().clamp(min=1)
    return sparsified(weights, mask, config.threshold, neighbours)


@torch.no_grad()
def sparsified(weights: Tensor, mask: Tensor, threshold: float | None, neighbours: int | Tensor | None) -> Tensor:
    """Eq. 4: weights above the threshold and among the strongest of their row, others 0.

    Args:
        weights: (B, T, T).
        mask: (B, T) bool.
        threshold: lambda, or None.
        neighbours: K, or (B,) int64, of each video its own, at least 1; or None. Among equal weights those of lower
            index come first.
    """
    both = mask[:, :, None] & mask[:, None]
    kept = both if threshold is None else both & (weights > threshold)
    if isinstance(neighbours, Tensor):
        neighbours = neighbours.clamp(max=weights.shape[-1])[:, None, None]
    elif neighbours is None or neighbours >= weights.shape[-1]:
        return weights * kept
    ranked = weights.masked_fill(~both, -torch.inf)
    if isinstance(neighbours, int):
        last = ranked.topk(neighbours, dim=-1).values[..., -1:]
    else:
        order = ranked.sort(dim=-1, descending=True).values
        last = order.gather(-1, (neighbours - 1).expand(-1, weights.shape[1], 1))
    above, equal = ranked > last, ranked == last
    left = neighbours - above.sum(-1, keepdim=True)
    return weights * (kept & (above | (equal & (equal.cumsum(-1) <= left))))


def row_normalised(adjacency: Tensor) -> Tensor:
    """Â: each row of (B, T, T) divided by the sum of its absolute weights; rows without edges stay 0."""
    total = adjacency.abs().sum(-1, keepdim=True)
    return adjacency / total.where(total > 0, 1)


def epm(enhanced: Tensor, original: Tensor, scores: Tensor, adjacency: Tensor, *, squared: bool = True) -> Tensor:
    """Eq. 8 for each video: the sum over edges of ``p_j |f'_i - f_j|^2``, or of ``p_j |f'_i - f_j|``.

    Args:
        enhanced: (B, C, T) f'.
        original: (B, C, T) f.
        scores: (B, T) p, at least 0.
        adjacency: (B, T, T) A'; its weights above 0 are edges.
        squared: whether the norm is.

    Returns:
        (B,), in float32 at least.
    """
    with torch.autocast(enhanced.device.type, enabled=False):
        enhanced, original, scores = widened(enhanced), widened(original), widened(scores)
        # Digits are lost where a large common part is squared; distances do not change when it is taken off.
        centre = original.detach().mean(-1, keepdim=True)
        enhanced, original = enhanced - centre, original - centre
        weights = (adjacency > 0).to(scores.dtype) * scores[:, None]
        if not squared:
            return (torch.cdist(enhanced.mT, original.mT) * weights).sum((1, 2))
        own = (enhanced.square().sum(1) * weights.sum(2)).sum(1)
        theirs = (original.square().sum(1) * weights.sum(1)).sum(1)
        crossed = (enhanced * (original @ weights.mT)).sum((1, 2))
        return own + theirs - 2 * crossed


def adjacencies(raw: dict[str, Tensor]) -> list[Tensor]:
    """A' (B, T, T) of each stream, from the raw of a host with ACGNet."""
    return [value for name, value in raw.items() if name.endswith(f"{PREFIX}adjacency")]


class ACGNet(nn.Module):
    """The enhancer.

    Args:
        config: settings.
        channels: D, of the features.

    Attributes:
        channels: of the enhanced features: D, or as many times D as there are parts to concatenate.
    """

    def __init__(self, config: Config, channels: int) -> None:
        super().__init__()
        self.config = config
        self.channels = channels * (len(config.features) if config.fusion == "concat" else 1)
        count = config.layers if "convolution" in config.features else 0
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(channels, channels)) for _ in range(count))
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Enhance the features of a batch of videos.

        Args:
            features: (B, D, T).
            mask: (B, T) bool, the segments that are there; all if None.

        Returns:
            (B, ``channels``, T) F', zero outside the mask; and the state: ``adjacency`` (B, T, T) A', and, if Eq. 8 is
            used, ``original`` F and ``enhanced`` F'.
        """
        if mask is None:
            mask = torch.ones_like(features[:, 0], dtype=torch.bool)
        adjacency = complement_graph(features, mask, self.config)
        # Columns instead of rows, for features are (D, T): F Â^T is the transpose of Â F.
        lend = row_normalised(adjacency).mT.to(features.dtype)
        parts = {"original": masked(features, mask)}
        average = parts["original"] @ lend
        parts["average"] = current = average
        for number, weight in enumerate(self.weights):
            received = average if number == 0 else current @ lend
            current = F.relu(torch.einsum("bct,cd->bdt", received, weight))
        parts["convolution"] = current
        chosen = [parts[name] for name in self.config.features]
        enhanced = torch.cat(chosen, 1) if self.config.fusion == "concat" else torch.stack(chosen).sum(0)
        state = {"adjacency": adjacency}
        if self.config.epm:
            state |= {"original": parts["original"], "enhanced": enhanced}
        return enhanced, state

    def loss(self, state: State, scores: Tensor) -> dict[str, LossTerm]:
        """Eq. 8, as the term ``epm``; nothing if it is off.

        Args:
            state: of the forward pass.
            scores: (B, T) p, the highest activation of any class.
        """
        if not self.config.epm:
            return {}
        original, enhanced, adjacency = state["original"], state["enhanced"], state["adjacency"]
        if not self.config.score_gradient:
            scores = scores.detach()
        original = original.repeat(1, enhanced.shape[1] // original.shape[1], 1)
        squared = self.config.epm_squared
        values = epm(enhanced, original, scores, adjacency, squared=squared)
        return {"epm": LossTerm(values.sum(), self._count(adjacency), self.config.epm_weight)}

    def counts(self, features: Tensor, mask: Tensor) -> dict[str, Tensor | float]:
        """What Eq. 8 is divided by, for features and mask as in :meth:`forward`."""
        if not self.config.epm:
            return {}
        return {"epm": self._count(complement_graph(features, mask, self.config))}

    def _count(self, adjacency: Tensor) -> Tensor | float:
        if not self.config.epm_mean:
            return len(adjacency)
        return (adjacency > 0).sum() * (self.channels if self.config.epm_squared else 1)
