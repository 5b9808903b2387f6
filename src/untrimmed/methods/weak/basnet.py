"""BaS-Net: Background Suppression Network (Lee, Uh and Byun, AAAI 2020). Learns from video-level labels alone.

Two branches share one classifier of steps with a class for background (Fig. 2). The base branch sees the features as
they are and is told that every video holds background; the suppression branch sees them weighed by a filter and is
told that none is left, so the filter learns to remove it::

    features --+-------------------- classifier -> CAS base         labels: y and background
               '-- x filter (0..1) - classifier -> CAS suppressed   labels: y alone
    video score of a class: mean of its highest T / 8 activations; softmax over K + 1

Detections come from the suppressed CAS: classes whose video score reaches ``class_threshold`` (else the best one), runs
of their scaled activation above many thresholds, scored by outer-inner contrast plus the class's video score. Curves
are interpolated with their negative values, which say where between two steps an action ends.

What the authors' code does where the paper does not say so, each an option; the configs with published numbers have it
- Contrast of the curve after the threshold has set what lies below to 0 (``proposals.thresholded``), not of the curve.
- A step's value stands at its left edge (``proposals.align: left``), its snippet is that at the left edge of its bin
  (``windows.pick: left``); 24 cells a step.
- NMS with a second added to lengths and intersections (``extend: 1`` of a suppression), and no limit after it.

What differs from the authors' code, and why
- A video whose only class is number 0 keeps its detections, and so does one in which no class reaches the threshold.
- The class score that is added to a segment's is the score itself, not 1 if it reaches the threshold.
- The margins of the contrast begin and end anywhere, not at whole cells.
- The score of a segment is scaled to [0, 1], which changes no order; what is worse than its surroundings has 0.
- Convolutions, poolings and losses see the steps of the mask only.

An enhancer of features (:mod:`untrimmed.methods.plugins.enhancer`) is given, as scores, the highest softmax of any
action class: of the suppressed branch (``enhance_scores: attended``), whose background is taken off, or of the base
branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.activation import scaled, top_mean
from untrimmed.layers.conv import masked
from untrimmed.layers.curve_segments import Cut, SegmentSettings, curve_segments, occurring
from untrimmed.losses import LossTerm
from untrimmed.losses.weak import sparsity_term, video_term
from untrimmed.methods.plugins.enhancer import Enhance, Identity, from_raw, in_raw
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.methods.weak.common import Host, known_labels, number_curves, ranked, refined, share_of


class Config(BaseModel):
    """Settings of BaS-Net; defaults are those of the paper and its code on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int | None = Field(None, ge=1, description="channels of the classifier; None: those of the features")
    filter_channels: int = Field(512, ge=1, description="of the hidden layer of the filter")
    dropout: float = Field(0.7, ge=0, lt=1, description="before the last layer of the classifier")
    pooling: int = Field(8, ge=1, description="r: the highest T / r activations are averaged")
    sparsity: float = Field(1e-4, ge=0, description="alpha, weight of the L1 norm of the filter's weights")
    class_threshold: float = Field(0.25, ge=0, le=1, description="video score from which on a class is detected")
    proposals: SegmentSettings = SegmentSettings()
    enhance: Mapping[str, Any] | None = Field(None, description="an enhancer of the features: {name: ..., settings}")
    enhance_scores: Literal["attended", "plain"] = Field(
        "attended", description="the branch that scores for the enhancer come from: suppressed, or base"
    )


class BaSNet(Host):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
        enhance: makes the enhancer of the features.
    """

    def __init__(self, config: Config, channels: int, classes: int, enhance: Enhance = Identity) -> None:
        super().__init__(config, channels, classes, enhance)
        channels, hidden = self.channels, self.hidden
        self.filter = nn.Sequential(
            nn.Conv1d(channels, config.filter_channels, 1), nn.LeakyReLU(), nn.Conv1d(config.filter_channels, 1, 1)
        )
        self.first = nn.Conv1d(channels, hidden, 3, padding=1)
        self.second = nn.Conv1d(hidden, hidden, 3, padding=1)
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Conv1d(hidden, classes + 1, 1, bias=False)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            ``base`` and ``suppressed`` (B, K + 1, T), activations of the classes and, last, of background;
            ``attention`` (B, T) in [0, 1], the filter's weights; and the state of the enhancer.
        """
        mask = batch.mask
        features, state = self.enhance(batch.features, mask)
        weights = self.filter(features).sigmoid()[:, 0] * mask
        return {
            "base": self._classify(features, mask),
            "suppressed": self._classify(features * weights[:, None], mask),
            "attention": weights,
            **in_raw(state),
        }

    def _classify(self, features: Tensor, mask: Tensor) -> Tensor:
        hidden = masked(F.leaky_relu(self.first(features)), mask)
        hidden = F.leaky_relu(self.second(hidden))
        return masked(self.last(self.dropout(hidden)), mask)

    def _video_logits(self, activations: Tensor, mask: Tensor) -> Tensor:
        """(B, K + 1, T) -> (B, K + 1)."""
        return top_mean(activations, mask, share_of(mask, self.config.pooling))

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Base and suppression branch, sparsity of the filter (Eqs. 5 to 7), and the enhancer's terms."""
        labels, mask = known_labels(batch, self.classes), batch.mask
        present, absent = torch.ones_like(labels[:, :1]), torch.zeros_like(labels[:, :1])
        branch = raw["suppressed" if self.config.enhance_scores == "attended" else "base"]
        scores = branch.softmax(1)[:, : self.classes].amax(1) * mask
        return {
            "base": video_term(self._video_logits(raw["base"], mask), torch.cat((labels, present), 1)),
            "suppressed": video_term(self._video_logits(raw["suppressed"], mask), torch.cat((labels, absent), 1)),
            "sparsity": sparsity_term(raw["attention"], mask, weight=self.config.sparsity),
            **self.enhance.loss(from_raw(raw), scores),
        }

    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the terms are divided by: videos, and those with a label."""
        some = known_labels(batch, self.classes).any(1).sum()
        ours = {"base": len(batch), "suppressed": some, "sparsity": len(batch)}
        return {**ours, **self.enhance.counts(batch.features, batch.mask)}

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Segments of every class that occurs, with scores of contrast and class in [0, 1]."""
        mask = batch.mask
        actions = raw["suppressed"][:, : self.classes].float()
        scores = self._video_logits(raw["suppressed"].float(), mask).softmax(1)[:, : self.classes]
        settings, rows = self.config.proposals, occurring(scores, self.config.class_threshold)
        curves, cells = refined(scaled(actions, mask, floor=0.0), mask, rows, settings)
        cuts = [Cut(curves, settings.thresholds, settings.thresholded)]
        return ranked(curve_segments(curves, cells, rows, settings, cuts), len(batch))

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The softmax of the suppressed activations, and the filter's weights as ``attention``."""
        return number_curves(raw["suppressed"].float().softmax(1)[:, : self.classes], raw["attention"], batch.mask)
