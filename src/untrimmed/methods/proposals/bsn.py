"""BSN: Boundary-Sensitive Network (Lin, Zhao, Su, Wang and Yang, ECCV 2018). Proposals without class.

Three curves are learned first (TEM): is a step in an action, at a start, at an end. Starts and ends where the curves
have peaks or are high make pairs, and what the actionness curve looks like in and around each (the BSP feature) tells a
small second network (PEM) how well the pair fits an action::

    features -- TEM -- p_a, p_s, p_e at every step
                          |     |
                          |   pairs of candidates -- [s, e)
                          +--------------- BSP feature of each -- PEM -- p_conf       score = p_conf * p_s * p_e

PEM is trained after TEM, in one training: in the first ``tem_epochs`` epochs the curves learn, and in all others, while
they stand still, the confidence. The learning rate runs through its schedule once for each.

What the paper leaves open or its released implementations settle, and how it is settled here
- A step may be a boundary if it is a strict peak of its curve or above half of the curve's highest value in the window;
  the first step of a window may always be a start, the last always an end. (In the released code both may be both.)
- A boundary stands at the centre of its step. All pairs are proposals, up to ``max_proposal``; by p_s * p_e the best
  500 of a window are learned from and the best 1000 scored.
- Start and end regions are a tenth of the length to either side, but at least half a step; a step has a label if more
  than half of it lies in a region.
- The loss of the actionness curve counts twice. Curves are balanced over all steps of a training step; a batch without
  positives has a loss (in the released code it is no number).
- A BSP value is the mean of four points (the released code; the paper reads one).
- PEM learns tIoU by smooth L1 (of differences below 1: half the square), balanced over tIoU up to 0.2, up to 0.6 and
  above as 2 : 1 : 1, each band averaged (:func:`untrimmed.losses.regression.banded_terms`). The released port mistypes
  a threshold and averages before it weighs; neither is inherited.
- Logits are not scaled by a tenth, as the released code does in TEM and PEM.
- Suppression: soft-NMS whose threshold rises with the length of what is picked, see ``docs/postprocessing.md``.

Where windows slide, an action that a window cuts has to be a target of full length (``windows: {coverage: 0,
whole_targets: true}``), so that the window's edge is not taught as a boundary.
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.boundary import boundary_labels
from untrimmed.layers.boundary_pairs import best_of_each, boundary_candidates, first_and_last, pairs, sensitive_features
from untrimmed.layers.conv import masked
from untrimmed.layers.matching import pad_instances
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import balanced_terms
from untrimmed.losses.regression import banded_terms
from untrimmed.methods.proposals.overlap import best_overlap
from untrimmed.methods.protocol import Phase, Raw, StepDetections

CURVES = ("action", "start", "end")


class Config(BaseModel):
    """Settings of BSN; defaults are those of the paper on ActivityNet-v1.3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(512, ge=1, description="of the convolutions of TEM")
    tem_epochs: int = Field(20, ge=1, description="that TEM learns, before PEM does for the rest of the training")
    boundary_region: float = Field(0.1, ge=0, description="half width of start and end regions, in action lengths")
    boundary_least: float = Field(0.5, ge=0.5, description="smallest half width of these regions, in steps")
    weight_action: float = Field(2.0, ge=0, description="lambda, of the loss of the actionness curve")
    candidate_share: float = Field(
        0.5, ge=0, le=1, description="of a curve's highest value, above which any step may be a boundary"
    )
    max_proposal: int | None = Field(None, ge=1, description="longest proposal in steps; None: the window")
    most_learned: int = Field(500, ge=1, description="pairs of a window that PEM learns from")
    most_scored: int | None = Field(None, ge=1, description="pairs of a window that are scored in inference; None: all")
    feature_values: tuple[int, int, int] = Field((16, 8, 8), description="of a BSP feature: action, start, end")
    feature_samples: int = Field(4, ge=1, description="points averaged into each of them")
    hidden: int = Field(256, ge=1, description="of PEM's hidden layer")
    tiou_bands: tuple[float, float] = Field(
        (0.2, 0.6), description="upper edges of the bands that PEM is balanced over"
    )
    weight_confidence: float = Field(10.0, ge=0, description="of the loss of PEM")


class BSN(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels; not used.
    """

    averageable = False

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        self.tem = nn.ModuleList(
            (
                nn.Conv1d(channels, width, 3, padding=1),
                nn.Conv1d(width, width, 3, padding=1),
                nn.Conv1d(width, len(CURVES), 1),
            )
        )
        self.pem = nn.Sequential(
            nn.Linear(sum(config.feature_values), config.hidden), nn.ReLU(), nn.Linear(config.hidden, 1)
        )

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length; windows that show an original clip alone (rescaled, sliding, whole).

        Returns:
            ``curves`` (B, 3, T) logits of action, start and end. Of the pairs: ``pairs`` (B, P, 2) int64, the steps of
            start and end, -1 where a window has fewer; ``confidence`` (B, P) logits, 0 there. Without the pairs as long
            as PEM stands still in training.
        """
        first, second, last = self.tem
        current = masked(F.relu(first(masked(batch.features, batch.mask))), batch.mask)
        logits = last(F.relu(second(current)))
        idle = not any(parameter.requires_grad for parameter in self.pem.parameters())
        if self.training and idle:
            return {"curves": logits}
        return {"curves": logits, **self._judged(logits.detach().float().sigmoid(), batch.mask)}

    def _judged(self, curves: Tensor, mask: Tensor) -> Raw:
        config = self.config
        first, last = first_and_last(mask)
        window, start, end = pairs(
            boundary_candidates(curves[:, 1], mask, config.candidate_share) | first,
            boundary_candidates(curves[:, 2], mask, config.candidate_share) | last,
            config.max_proposal,
        )
        likely = curves[window, 1, start] * curves[window, 2, end]
        most_kept = config.most_learned if self.training else config.most_scored
        kept = best_of_each(window, likely, most_kept or len(window))
        window, start, end = window[kept], start[kept], end[kept]
        segments = torch.stack((start, end), -1) + 0.5
        features = sensitive_features(
            curves[:, 0] * mask, segments, window, config.feature_values, config.feature_samples
        )
        logits = self.pem(features)[:, 0]
        counts = torch.bincount(window, minlength=len(mask))
        most = int(counts.max()) if len(counts) else 0
        place = window, torch.arange(len(window), device=window.device) - (counts.cumsum(0) - counts)[window]
        listed = window.new_full((len(mask), most, 2), -1).index_put(place, torch.stack((start, end), -1))
        return {"pairs": listed, "confidence": logits.new_zeros(len(mask), most).index_put(place, logits)}

    def phases(self, epoch: float) -> list[Phase]:
        """First TEM, then PEM."""
        boundary = float(self.config.tem_epochs)
        return [
            Phase(list(self.tem.parameters()), lambda term: None if _of_pem(term) else 1.0, (0.0, boundary)),
            Phase(list(self.pem.parameters()), lambda term: 1.0 if _of_pem(term) else None, (boundary, math.inf)),
        ]

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """The terms of ``action``, ``start`` and ``end``, positives and negatives apart, and, where there are pairs, of
        their ``confidence``, band by band."""
        config, mask = self.config, batch.mask
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        labels = boundary_labels(instances, mask.shape[1], region=config.boundary_region, least=config.boundary_least)
        terms: dict[str, LossTerm] = {}
        for row, name in enumerate(CURVES):
            terms[f"{name}_positive"], terms[f"{name}_negative"] = balanced_terms(
                raw["curves"][:, row], labels[:, row], mask, weight=config.weight_action if name == "action" else 1.0
            )
        if "pairs" not in raw:
            return terms
        there = raw["pairs"][..., 0] >= 0
        overlap = best_overlap(raw["pairs"] + 0.5, instances)
        errors = F.smooth_l1_loss(raw["confidence"].sigmoid(), overlap, reduction="none")
        bands = banded_terms(
            errors, overlap, there, edges=config.tiou_bands, shares=(2, 1, 1), weight=config.weight_confidence
        )
        return terms | {f"confidence_{name}": term for name, term in zip(("low", "middle", "high"), bands, strict=True)}

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """All pairs that were scored, without label."""
        curves = raw["curves"].float().sigmoid()
        found = []
        for row, every in enumerate(raw["pairs"]):
            there = every[:, 0] >= 0
            start, end = every[there].unbind(-1)
            scores = raw["confidence"][row, there].float().sigmoid() * curves[row, 1, start] * curves[row, 2, end]
            order = scores.argsort(descending=True, stable=True)
            segments = (every[there][order] + 0.5).float()
            found.append(StepDetections(segments, scores[order], torch.full_like(order, -1), segments.mean(-1)))
        return found

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The probability of an action, of a start and of an end at every step: name -> (T,) float32 in [0, 1], 0 where
        the window shows nothing."""
        curves = raw["curves"].float().sigmoid() * batch.mask[:, None]
        return [dict(zip(CURVES, rows, strict=True)) for rows in curves]


def _of_pem(term: str) -> bool:
    return term.startswith("confidence")
