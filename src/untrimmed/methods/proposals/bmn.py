"""BMN: Boundary-Matching Network (Lin, Liu, Li, Ding and Wen, ICCV 2019). Proposals without class.

One network says of every step whether an action starts or ends there (TEM), and of every pair of steps how well the
segment between them fits an action (PEM)::

    features -- base -- X (B, C, T) --+-- TEM ------------------------------ p_s, p_e at every step
                                      +-- boundary matching -- PEM --------- p_cc, p_cr of every proposal

    score of [s, e) = p_s * p_e * p_cc * p_cr, for starts and ends where the curves have peaks or are high

The boundary-matching features are never made: see :mod:`untrimmed.layers.boundary_matching`.

What the paper leaves open or its released implementations settle, and how it is settled here
- A proposal is a run of whole steps ``[s, e)``, of 1 to D. The start curve at step i speaks of an action whose first
  step is i, the end curve of one whose last step is i: they are labelled around the left and the right edge of the
  step. So proposals may reach from the first edge of a window to its last one; the released code reads the end one
  step later, where a window's last proposals have none.
- Start and end regions are a tenth of the length to either side, but at least 1.5 steps (the released code: always
  1.5). A step has the label if more than half of it lies in such a region.
- p_cc learns whether tIoU exceeds 0.9, by the balanced loss of the curves; p_cr learns tIoU itself, by half the squared
  error, balanced over tIoU up to 0.3, up to 0.7 and above. Proposals that overlap no action take no part in the second.
  The released code draws from the three bands and, where it should draw all of one, takes every cell of the map by
  mistake; here each band is averaged (:func:`untrimmed.losses.regression.banded_terms`).
- The released score is the product of all four probabilities (``score: product``); ``root`` takes the square root of
  p_cc * p_cr. The first step of a window may always be a start, the last always an end.
- The convolution of kernel 1 after the one over bins, and the last one, are computed for proposals within the video
  alone; to the convolutions of kernel 3 all others are zero. In the released code cells that hold no proposal have the
  value of the biases. So how far a window is padded changes nothing.
- Base and TEM have one convolution less than the released code, and no groups, as in the paper's Table 1.
- The norm of the weights is weight decay, ``train.optim.weight_decay``.

Where windows slide, an action that a window cuts has to be a target of full length (``windows: {coverage: 0,
whole_targets: true}``), so that the window's edge is not taught as a boundary.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.boundary import boundary_labels
from untrimmed.layers.boundary_matching import BoundaryMatching, from_map, matching_grid, to_map
from untrimmed.layers.boundary_pairs import boundary_candidates, first_and_last
from untrimmed.layers.conv import masked
from untrimmed.layers.matching import Instances, pad_instances
from untrimmed.layers.proposal_grid import ProposalGrid
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import balanced_terms
from untrimmed.losses.regression import banded_terms
from untrimmed.methods.proposals.overlap import best_overlap
from untrimmed.methods.protocol import Raw, StepDetections


class Config(BaseModel):
    """Settings of BMN; defaults are those of the paper on ActivityNet-v1.3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(256, ge=1, description="of the first convolution and of TEM")
    base_channels: int = Field(128, ge=1, description="C, of the features that both modules see")
    matching_channels: int = Field(512, ge=1, description="of the convolution over bins")
    map_channels: int = Field(128, ge=1, description="of the convolutions on the map")
    bins: int = Field(32, ge=2, description="N, in which a proposal and its surroundings are read")
    bin_samples: int = Field(1, ge=1, description="points averaged into a bin (the released code: 3)")
    context: float = Field(
        0.25, ge=0, description="what is read to either side, in lengths of the proposal (the released code: 0.5)"
    )
    max_proposal: int | None = Field(None, ge=1, description="D, longest proposal in steps; None: the window")
    boundary_region: float = Field(0.1, ge=0, description="half width of start and end regions, in action lengths")
    boundary_least: float = Field(1.5, ge=0.5, description="smallest half width of these regions, in steps")
    tiou_positive: float = Field(0.9, gt=0, lt=1, description="above which a proposal is a positive of p_cc")
    tiou_bands: tuple[float, float] = Field(
        (0.3, 0.7), description="upper edges of the bands that p_cr is balanced over"
    )
    weight_classification: float = Field(1.0, ge=0, description="of the loss of p_cc")
    weight_regression: float = Field(10.0, ge=0, description="lambda, of the loss of p_cr")
    candidates: Literal["peaks", "all"] = Field("peaks", description="which steps may be a start or an end")
    candidate_share: float = Field(0.5, ge=0, le=1, description="of a curve's highest value, above which any step may")
    score: Literal["product", "root"] = Field("product", description="how p_cc and p_cr count")


class BMN(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels; not used.
    """

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        width, base, cells = config.channels, config.base_channels, config.map_channels
        self.base = nn.ModuleList(
            nn.Conv1d(before, after, 3, padding=1) for before, after in ((channels, width), (width, base))
        )
        self.tem = nn.Conv1d(base, width, 3, padding=1)
        self.edges = nn.Conv1d(width, 2, 1)
        self.matching = BoundaryMatching(
            base, config.matching_channels, config.bins, config.context, config.bin_samples
        )
        self.reduce = nn.Linear(config.matching_channels, cells)
        self.map = nn.ModuleList(nn.Conv2d(cells, cells, 3, padding=1) for _ in range(2))
        self.confidence = nn.Linear(cells, 2)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length; windows that show an original clip alone (rescaled, sliding, whole).

        Returns:
            ``edges`` (B, 2, T) logits of start and end; ``confidence`` (B, 2, M) logits of p_cc and p_cr of all
            proposals, 0 for those that reach past the video.
        """
        mask = batch.mask
        features = masked(batch.features, mask)
        for conv in self.base:
            features = masked(F.relu(conv(features)), mask)
        edges = self.edges(F.relu(self.tem(features)))
        grid = self._grid(mask)
        present = grid.present(mask)
        there = to_map(torch.ones(int(present.sum()), 1, device=mask.device), grid, present)
        cells = to_map(F.relu(self.reduce(F.relu(self.matching(features, grid, present)))), grid, present)
        for conv in self.map:
            cells = F.relu(conv(cells)) * there.to(cells.dtype)
        logits = self.confidence(from_map(cells, grid, present))
        confidence = logits.new_zeros(*present.shape, 2).index_put((present,), logits)
        return {"edges": edges, "confidence": confidence.mT}

    def _grid(self, mask: Tensor) -> ProposalGrid:
        return matching_grid(mask.shape[1], self.config.max_proposal, mask.device)

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """The terms of ``start`` and ``end``, positives and negatives apart; of p_cc, ``classification``, likewise; of
        p_cr, ``regression``, band by band."""
        config, mask = self.config, batch.mask
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        labels = edge_labels(instances, mask.shape[1], config.boundary_region, config.boundary_least)
        terms: dict[str, LossTerm] = {}
        for row, name in enumerate(("start", "end")):
            terms |= _halves(name, balanced_terms(raw["edges"][:, row], labels[:, row], mask))
        grid = self._grid(mask)
        present, overlap = grid.present(mask), best_overlap(grid.segments[None], instances)
        first, second = raw["confidence"].unbind(1)
        positive = overlap > config.tiou_positive
        terms |= _halves(
            "classification", balanced_terms(first, positive, present, weight=config.weight_classification)
        )
        errors = (second.sigmoid() - overlap).square() / 2
        bands = banded_terms(
            errors,
            overlap,
            present & (overlap > 0),
            edges=config.tiou_bands,
            shares=(1, 1, 1),
            weight=config.weight_regression,
        )
        return terms | {f"regression_{name}": term for name, term in zip(("low", "middle", "high"), bands, strict=True)}

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """All proposals between candidates of starts and ends; without label."""
        config, mask = self.config, batch.mask
        grid = self._grid(mask)
        curves = raw["edges"].float().sigmoid()
        may_start, may_end = mask, mask
        if config.candidates == "peaks":
            first, last = first_and_last(mask)
            may_start = boundary_candidates(curves[:, 0], mask, config.candidate_share) | first
            may_end = boundary_candidates(curves[:, 1], mask, config.candidate_share) | last
        starts, ends = grid.starts, grid.starts + grid.lengths - 1
        confidence = raw["confidence"].float().sigmoid().prod(1)
        if config.score == "root":
            confidence = confidence.sqrt()
        scores = curves[:, 0, starts] * curves[:, 1, ends] * confidence
        allowed = grid.present(mask) & may_start[:, starts] & may_end[:, ends]
        best, number = scores.masked_fill(~allowed, -1).sort(descending=True, stable=True)
        found = []
        for kept, score, index in zip(best >= 0, best, number, strict=True):
            segments = grid.segments[index[kept]]
            labels = torch.full_like(index[kept], -1)
            found.append(StepDetections(segments, score[kept], labels, segments.mean(-1)))
        return found

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The probability of a start and of an end at every step: name -> (T,) float32 in [0, 1], 0 where the window
        shows nothing."""
        edges = raw["edges"].float().sigmoid() * batch.mask[:, None]
        return [dict(zip(("start", "end"), rows, strict=True)) for rows in edges]


@torch.no_grad()
def edge_labels(instances: Instances, steps: int, region: float, least: float) -> Tensor:
    """(B, 2, T) bool: the steps that may be an action's first, its last (see the module's docstring)."""
    moved = [instances._replace(segments=instances.segments + shift) for shift in (0.5, -0.5)]
    # Around the left (right) edge of steps is around the centres of steps, half a step later (earlier).
    rows = [boundary_labels(each, steps, region=region, least=least)[:, row] for row, each in enumerate(moved, 1)]
    return torch.stack(rows, 1)


def _halves(name: str, terms: tuple[LossTerm, LossTerm]) -> dict[str, LossTerm]:
    return {f"{name}_positive": terms[0], f"{name}_negative": terms[1]}
