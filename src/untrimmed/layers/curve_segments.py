"""Segments from the activation curves of a window: the last step of every weakly supervised method.

Of the classes that a video is said to hold, every run of cells above each of several thresholds is a segment. Its
score is the outer-inner contrast of its class's curve plus the video's score of the class. Nothing is dropped here for
being one of many: a dense video has thousands of candidates, and suppression is what thins them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from untrimmed.layers.activation import Align, contrast, runs_above


class Scoring(BaseModel):
    """How runs of steps are found and scored; defaults are those of BaS-Net's authors, but for ``finer`` (24) and
    ``align`` (left)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    finer: int = Field(8, ge=1, description="cells a step is divided into before runs are looked for")
    align: Align = Field(
        "center", description="where in a step its value stands: in the middle, or at its left edge (released code)"
    )
    shortest: float = Field(0.0, ge=0, description="runs of fewer steps are dropped")
    outer: float = Field(0.25, gt=0, description="width of what lies around a segment, in its lengths, to either side")
    outer_weight: float = Field(1.0, ge=0, description="of the mean around it")
    class_weight: float = Field(0.2, ge=0, description="gamma, of the video's score of the class")


class SegmentSettings(Scoring):
    """Likewise, with the thresholds of the curves."""

    thresholds: tuple[float, ...] = Field(
        tuple(round(0.025 * index, 3) for index in range(10)), min_length=1, description="of the scaled curves"
    )
    thresholded: bool = Field(
        False,
        description="take the contrast of the curve after the threshold has set what lies below to 0 (released code): "
        "around a segment is then nothing but other segments; false: of the curve itself, as AutoLoc defines it",
    )


class Rows(NamedTuple):
    """The classes of a batch of windows that are looked for, a row each.

    Attributes:
        windows: (R,) int64.
        labels: (R,) int64.
        scores: (R,) in [0, 1], of the class in the video.
    """

    windows: Tensor
    labels: Tensor
    scores: Tensor


class Cut(NamedTuple):
    """Curves that segments are cut from.

    Attributes:
        curves: (R, L).
        thresholds: of each of them; at least 0.
        zeroed: the curves that segments are scored by count as 0 where these are not above the threshold.
    """

    curves: Tensor
    thresholds: Sequence[float]
    zeroed: bool = False


class CurveSegments(NamedTuple):
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


def occurring(scores: Tensor, threshold: float) -> Rows:
    """The classes each video holds: those whose score reaches the threshold, and the best one in any case.

    ``scores``: (B, K).
    """
    best = torch.zeros_like(scores, dtype=torch.bool).scatter(1, scores.argmax(1, keepdim=True), True)
    windows, labels = (best | (scores >= threshold)).nonzero().unbind(1)
    return Rows(windows, labels, scores[windows, labels])


def curve_segments(curves: Tensor, cells: Tensor, rows: Rows, settings: Scoring, cuts: Sequence[Cut]) -> CurveSegments:
    """The segments of every class that occurs.

    Args:
        curves: (R, L) that segments are scored by, ``settings.finer`` cells a step, at most 1; what is negative counts
            as 0.
        cells: (R, L) bool, the cells that are there.
        rows: what the curves are of.
        settings: of scores.
        cuts: what segments are cut from.

    Returns:
        Segments, each as often as thresholds cut it, by cut, threshold and row. Scores are
        ``(contrast + gamma * class score) / (1 + gamma)``, at least 0.
    """
    scored = curves.clamp(min=0)
    parts = []
    for cut in cuts:
        # What is scored depends on the threshold only where it is zeroed; else one pass serves them all.
        for levels in ([level] for level in cut.thresholds) if cut.zeroed else [list(cut.thresholds)]:
            of, runs = runs_above(cut.curves, cells, torch.tensor(levels, dtype=curves.dtype, device=curves.device))
            long = runs[:, 1] - runs[:, 0] >= settings.shortest * settings.finer
            of, runs = of[long], runs[long]
            seen = scored.masked_fill(cut.curves <= levels[0], 0) if cut.zeroed else scored
            value = contrast(seen, cells, of, runs, outer=settings.outer, weight=settings.outer_weight)
            parts.append((of, runs, value))
    of, runs, standing_out = (torch.cat(values) for values in zip(*parts, strict=True))
    scores = (standing_out + settings.class_weight * rows.scores[of]) / (1 + settings.class_weight)
    return CurveSegments(rows.windows[of], rows.labels[of], runs / settings.finer, scores.clamp(0, 1).float())
