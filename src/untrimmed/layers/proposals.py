"""Segments from the activation curves of a window: the last step of every weakly supervised method.

Of the classes that a video is said to hold, every run of steps above each of several thresholds is a segment. Its
score is the outer-inner contrast of its class's curve plus the video's score of the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from untrimmed.layers.activation import contrast, finer, runs_above


class Scoring(BaseModel):
    """How runs of steps are found and scored; defaults are those of BaS-Net's authors, but for ``finer`` (24)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finer: int = Field(8, ge=1, description="cells a step is divided into before runs are looked for")
    shortest: float = Field(0.0, ge=0, description="runs of fewer steps are dropped")
    outer: float = Field(0.25, gt=0, description="width of what lies around a segment, in its lengths, to either side")
    outer_weight: float = Field(1.0, ge=0, description="of the mean around it")
    class_weight: float = Field(0.2, ge=0, description="gamma, of the video's score of the class")
    keep: int = Field(1000, ge=1, description="most segments of a window, before suppression")


class Proposals(Scoring):
    """Likewise, with the thresholds of the curves."""

    thresholds: tuple[float, ...] = Field(
        tuple(round(0.025 * index, 3) for index in range(10)), min_length=1, description="of the scaled curves"
    )


class Found(NamedTuple):
    """Segments of a batch of windows.

    Attributes:
        windows: (N,) int64, the window of each.
        labels: (N,) int64.
        segments: (N, 2) float32, steps.
        scores: (N,) float32 in [0, 1].
    """

    windows: Tensor
    labels: Tensor
    segments: Tensor
    scores: Tensor


def occurring(scores: Tensor, threshold: float) -> Tensor:
    """Which classes a video holds: those whose score reaches the threshold, and the best one in any case.

    ``scores`` (B, K) -> (B, K) bool.
    """
    best = torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argmax(1, keepdim=True), True)
    return best | (scores >= threshold)


def proposals(
    curves: Tensor,
    mask: Tensor,
    class_scores: Tensor,
    class_threshold: float,
    settings: Scoring,
    cuts: Sequence[tuple[Tensor, Sequence[float]]],
) -> Found:
    """The segments of every class that occurs.

    Args:
        curves: (B, K, T) in [0, 1], that segments are scored by.
        mask: (B, T) bool.
        class_scores: (B, K) in [0, 1], of the videos.
        class_threshold: from which on a class occurs; the best one of a video always does.
        settings: of scores.
        cuts: curves (B, K, T) that segments are cut from, each with its thresholds.

    Returns:
        Segments, each as often as thresholds cut it. Scores are ``(contrast + gamma * class score) / (1 + gamma)``,
        at least 0.
    """
    window, label = occurring(class_scores, class_threshold).nonzero().unbind(1)
    wide_mask = mask[window]
    scored, cells = finer(curves[window, label], wide_mask, settings.finer)
    parts = []
    for curve, thresholds in cuts:
        levels = torch.tensor(tuple(thresholds), dtype=scored.dtype, device=scored.device)
        fine, _ = finer(curve[window, label].to(scored.dtype), wide_mask, settings.finer)
        parts.append(runs_above(fine, cells, levels))
    rows, runs = (torch.cat(values) for values in zip(*parts, strict=True))
    long = runs[:, 1] - runs[:, 0] >= settings.shortest * settings.finer
    rows, runs = rows[long], runs[long]
    standing_out = contrast(scored, cells, rows, runs, outer=settings.outer, weight=settings.outer_weight)
    of_class = class_scores[window[rows], label[rows]]
    scores = (standing_out + settings.class_weight * of_class) / (1 + settings.class_weight)
    return Found(window[rows], label[rows], runs / settings.finer, scores.clamp(0, 1).float())
