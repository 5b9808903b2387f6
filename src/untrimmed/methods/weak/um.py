"""UM: weakly supervised localization by uncertainty modelling (Lee, Wang, Lu and Byun, AAAI 2021).

ACGNet's paper calls it BaM. There is no class for background: a step is background where its features are small. ::

    features -> convolution, ReLU -> embedding -> convolution -> class activations
                                      |embedding| = magnitude: large on action, small on background
    pseudo action: the T / 9 steps of largest magnitude; pseudo background: the T / 4 of smallest
    losses: video classes (multiple instances) + magnitudes of pseudo action at least m, of pseudo background 0
            + softmax on pseudo background uniform

In training the two are picked among the steps that a dropout leaves, by the same draw.

Detections: softmax of the activations times the magnitude, scaled per class; runs above many thresholds of this and
of the magnitude alone, scored by outer-inner contrast plus the class's video score.

What the authors' code does where the paper does not say so, each an option; the configs with published numbers have it
- For the thresholds of activations, contrast of the curve after the threshold has set what lies below to 0
  (``proposals.thresholded``); for those of magnitudes, of the curve itself, as here in either case.
- A step's value stands at its left edge (``proposals.align: left``), its snippet is that at the left edge of its bin
  (``windows.pick: left``); 24 cells a step, and runs of one cell are dropped (``proposals.shortest: 0.08``).
- NMS with a second added to lengths and intersections (``extend: 1`` of a suppression), and no limit after it.

What differs from the authors' code, and why
- A video whose only class is number 0 keeps its detections.
- Scores are scaled to [0, 1], which changes no order; what is worse than its surroundings has 0.
- The margins of the contrast begin and end anywhere, not at whole cells.
- Convolutions, poolings and losses see the steps of the mask only.
- A video without any label takes no part in the first loss: no softmax can say that nothing occurs.

An enhancer of features (:mod:`untrimmed.methods.plugins.enhancer`) is given, as scores, the highest softmax of any
class, times the scaled magnitude (``enhance_scores: attended``: background has high softmaxes too) or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.activation import masked_mean, scaled, top_mean, top_steps
from untrimmed.layers.conv import masked
from untrimmed.layers.curve_segments import Cut, SegmentSettings, curve_segments, occurring
from untrimmed.losses import LossTerm
from untrimmed.losses.weak import magnitude_term, uniform_term, video_term
from untrimmed.methods.plugins.enhancer import Enhance, Identity, from_raw, in_raw
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.methods.weak.common import Host, known_labels, number_curves, ranked, refined, share_of


class Config(BaseModel):
    """Settings of UM; defaults are those of the paper and its code on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int | None = Field(None, ge=1, description="channels of the embedding; None: those of the features")
    dropout: float = Field(0.7, ge=0, lt=1, description="before the classifier, and of the steps to pick from")
    action_share: int = Field(9, ge=1, description="r_act: T / r_act steps are pseudo action")
    background_share: int = Field(4, ge=1, description="r_bkg: T / r_bkg steps are pseudo background")
    margin: float = Field(100.0, gt=0, description="m, magnitude asked for on action")
    magnitude_weight: float = Field(5e-4, ge=0, description="alpha")
    entropy_weight: float = Field(1.0, ge=0, description="beta")
    class_threshold: float = Field(0.2, ge=0, le=1, description="video score from which on a class is detected")
    proposals: SegmentSettings = SegmentSettings()
    magnitude_thresholds: tuple[float, ...] = Field(
        tuple(round(0.4 + 0.025 * index, 3) for index in range(9)), description="of the scaled magnitude"
    )
    enhance: Mapping[str, Any] | None = Field(None, description="an enhancer of the features: {name: ..., settings}")
    enhance_scores: Literal["attended", "plain"] = Field(
        "attended", description="scores for the enhancer: softmax with the magnitude, or without it"
    )


class UM(Host):
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
        self.embed = nn.Conv1d(channels, hidden, 3, padding=1)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Conv1d(hidden, classes, 1, bias=False)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            ``activations`` (B, K, T); ``magnitude`` (B, T), at least 0; ``action`` and ``background`` (B, C), the mean
            embedding of pseudo action and background; ``background_classes`` (B, K), the mean activations of the
            latter; ``high`` and ``low`` (B,), the mean magnitudes of both; and the state of the enhancer.
        """
        mask = batch.mask
        features, state = self.enhance(batch.features, mask)
        embedded = masked(F.relu(self.embed(features)), mask)
        activations = masked(self.classify(self.dropout(embedded)), mask)
        magnitude = embedded.float().square().sum(1).add(torch.finfo(torch.float32).tiny).sqrt() * mask
        action, background = self._pick(magnitude.detach(), mask)
        return {
            "activations": activations,
            "magnitude": magnitude,
            "action": masked_mean(embedded, action),
            "background": masked_mean(embedded, background),
            "background_classes": masked_mean(activations, background),
            "high": masked_mean(magnitude[:, None], action)[:, 0],
            "low": masked_mean(magnitude[:, None], background)[:, 0],
            **in_raw(state),
        }

    def _pick(self, magnitude: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The steps of pseudo action and pseudo background, (B, T) bool each."""
        left = self.dropout(torch.ones_like(magnitude))
        lacking = magnitude.amax(1, keepdim=True) - magnitude
        return (
            top_steps(magnitude * left, mask, share_of(mask, self.config.action_share)),
            top_steps(lacking * left, mask, share_of(mask, self.config.background_share)),
        )

    def _video_logits(self, raw: Raw, mask: Tensor) -> Tensor:
        """(B, K)."""
        return top_mean(raw["activations"], mask, share_of(mask, self.config.action_share))

    @staticmethod
    def _actionness(raw: Raw) -> Tensor:
        """(B, T) in [0, 1]: the magnitude between those of pseudo background and pseudo action."""
        low, high = raw["low"][:, None], raw["high"][:, None]
        span = (high - low).clamp(min=torch.finfo(high.dtype).eps)
        return ((raw["magnitude"] - low) / span).clamp(0, 1)

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Classes, magnitudes and background entropy (Eqs. 10 to 12), and the enhancer's terms."""
        config, mask = self.config, batch.mask
        scores = raw["activations"].softmax(1).amax(1) * mask
        if config.enhance_scores == "attended":
            scores = scores * self._actionness(raw)
        return {
            "classes": video_term(self._video_logits(raw, mask), known_labels(batch, self.classes)),
            "magnitude": magnitude_term(
                raw["action"], raw["background"], config.margin, weight=config.magnitude_weight
            ),
            "entropy": uniform_term(raw["background_classes"], weight=config.entropy_weight),
            **self.enhance.loss(from_raw(raw), scores),
        }

    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the terms are divided by: videos, and those with a label."""
        some = known_labels(batch, self.classes).any(1).sum()
        ours = {"classes": some, "magnitude": len(batch), "entropy": len(batch)}
        return {**ours, **self.enhance.counts(batch.features, batch.mask)}

    def _seen(self, raw: Raw) -> tuple[Tensor, Tensor]:
        """Softmax times actionness, (B, K, T), and actionness, (B, T)."""
        actionness = self._actionness(raw).float()
        return raw["activations"].float().softmax(1) * actionness[:, None], actionness

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Segments of every class that occurs, with scores of contrast and class in [0, 1]."""
        config, mask, settings = self.config, batch.mask, self.config.proposals
        seen, actionness = self._seen(raw)
        rows = occurring(self._video_logits(raw, mask).float().softmax(1), config.class_threshold)
        curves, cells = refined(scaled(seen, mask, floor=0.0), mask, rows, settings)
        magnitude, _ = refined(actionness[:, None].expand_as(seen), mask, rows, settings)
        cuts = [Cut(curves, settings.thresholds, settings.thresholded), Cut(magnitude, config.magnitude_thresholds)]
        return ranked(curve_segments(curves, cells, rows, settings, cuts), len(batch))

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """Softmax times scaled magnitude, and the latter as ``attention``."""
        return number_curves(*self._seen(raw), batch.mask)
