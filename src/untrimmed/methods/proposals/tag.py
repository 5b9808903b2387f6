"""TAG: temporal actionness grouping (Zhao, Xiong, Wang, Wu, Tang and Lin, ICCV 2017, section 4.1). Proposals without
class.

A classifier says of every step how likely it shows an action, whichever; runs of likely steps are grouped into
proposals by the watershed, at every of many levels and shares (:mod:`untrimmed.layers.watershed`)::

    features -- classifier -- actionness of every step -- smoothed -- watershed -- proposals

What the paper leaves open or its released code settles, and how it is settled here
- The classifier learns from sliding windows of many lengths: 3 that overlap an instance by more than 0.7, or are one,
  and 9 that overlap none, drawn anew from each video at every step; of each window five snippets, one at random of each
  of five equal parts, whose logits are averaged. Where a video has too few, they are drawn repeatedly; where it has
  none, none are drawn (the released code draws them from other videos).
- In the paper the classifier is the last layer of a network that learns with it, behind a dropout of 0.8. On features
  that are given it may have a hidden layer of its own: ``hidden`` and ``kernel``, a departure, off by default.
- The curve is smoothed by a Gaussian of 3 steps before it is flooded.
- Groups end with their last step; the released code adds one.
- Neither paper nor released code mean a group's score to be used (the code sums its logits, which prefers the longest).
  Here it is how far the group stands out: the mean actionness inside, times one minus the mean in a quarter of its
  length to either side.

The video is seen in one window (``windows: {kind: whole}``): groups do not end where a window does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.activation import smoothed
from untrimmed.layers.conv import StepEncoder, masked
from untrimmed.layers.watershed import watershed
from untrimmed.losses import LossTerm
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.segments import tiou

_GRID = tuple(round(0.05 * index, 2) for index in range(1, 20))


class Config(BaseModel):
    """Settings of TAG; defaults are those of the paper, lengths of windows for a step of a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int | None = Field(None, ge=1, description="departure: channels of a hidden layer; None: there is none")
    kernel: int = Field(1, ge=1, description="odd, of the hidden layer's convolution")
    dropout: float = Field(0.8, ge=0, lt=1, description="of what the last layer sees")
    window_lengths: tuple[int, ...] = Field(
        (1, 2, 4, 8, 16, 32, 64, 128), min_length=1, description="of the windows that are learned from, in steps"
    )
    window_step: float = Field(0.3, gt=0, le=1, description="from one to the next, in lengths, rounded up")
    tiou_positive: float = Field(0.7, gt=0, lt=1, description="above which a window shows an action")
    tiou_negative: float = Field(0.01, gt=0, lt=1, description="below which it shows none")
    positives: int = Field(3, ge=1, description="windows drawn from a video")
    negatives: int = Field(9, ge=1)
    snippets: int = Field(5, ge=1, description="steps seen of a window")
    smoothing: float = Field(3.0, ge=0, description="sigma of the Gaussian over the curve, in steps; 0: none")
    levels: tuple[float, ...] = Field(_GRID, min_length=1, description="gamma, that the curve is cut at")
    shares: tuple[float, ...] = Field(_GRID, min_length=1, description="tau, of a group that is above the level")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number")
        if min(self.window_lengths) < 1:
            raise ValueError(f"window_lengths are {self.window_lengths}, expected lengths of at least 1")
        for name in ("levels", "shares"):
            if not all(0 <= value <= 1 for value in getattr(self, name)):
                raise ValueError(f"{name} are {getattr(self, name)}, expected numbers in [0, 1]")
        return self


class Drawn(NamedTuple):
    """Windows to learn from: (S,) int64 each, the video of the batch, 1 for an action, and (S, snippets) steps."""

    video: Tensor
    action: Tensor
    steps: Tensor


class TAG(nn.Module):
    """The classifier.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels; not used.
    """

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.hidden = None
        if config.hidden is not None:
            self.hidden = StepEncoder(channels, config.hidden, config.kernel)
            channels = config.hidden
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Conv1d(channels, 2, 1)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length: ``logits`` (B, 2, T) of background and action."""
        features = masked(batch.features, batch.mask)
        if self.hidden is not None:
            features = self.hidden(features, batch.mask)
        return {"logits": self.classify(self.dropout(features))}

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Cross-entropy of the windows drawn, by torch's random numbers: ``actionness``."""
        drawn = self._draw(batch)
        logits = raw["logits"][drawn.video[:, None], :, drawn.steps].mean(1)
        losses = F.cross_entropy(logits, drawn.action, reduction="sum")
        return {"actionness": LossTerm(losses, len(drawn.action))}

    @torch.no_grad()
    def _draw(self, batch: Batch) -> Drawn:
        config, device = self.config, batch.features.device
        parts = []
        for video, (mask, targets) in enumerate(zip(batch.mask, batch.targets, strict=True)):
            windows, overlap = self.windows(int(mask.sum()), targets.segments)
            pools = (
                (overlap < config.tiou_negative, config.negatives),
                (overlap > config.tiou_positive, config.positives),
            )
            for action, (pool, count) in enumerate(pools):
                candidates = pool.nonzero()[:, 0]
                if not len(candidates):
                    continue
                order = torch.rand(len(candidates), device=device).argsort()
                chosen = windows[candidates[order[torch.arange(count, device=device) % len(order)]]]
                # One step of each of equal parts; a window shorter than that shows some of them twice.
                place = torch.arange(config.snippets, device=device) + torch.rand(count, config.snippets, device=device)
                place = chosen[:, :1] + place / config.snippets * (chosen[:, 1:] - chosen[:, :1])
                steps = place.long().clamp(0, int(mask.sum()) - 1)
                parts.append((torch.full_like(steps[:, 0], video), torch.full_like(steps[:, 0], action), steps))
        if not parts:
            none = torch.zeros(0, dtype=torch.int64, device=device)
            return Drawn(none, none, none.new_zeros(0, config.snippets))
        return Drawn(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def windows(self, steps: int, instances: Tensor) -> tuple[Tensor, Tensor]:
        """What may be learned from in a video.

        Args:
            steps: that it has.
            instances: (N, 2).

        Returns:
            (W, 2) sliding windows and then the instances, cut to the video, and (W,) the highest tIoU of each with an
            instance.
        """
        sliding = []
        for length in self.config.window_lengths:
            stride = math.ceil(length * self.config.window_step)
            start = torch.arange(0, steps, stride, device=instances.device)
            sliding.append(torch.stack((start, (start + length).clamp(max=steps)), -1))
        windows = torch.cat((*sliding, instances.clamp(0, steps)), 0).to(instances.dtype)
        windows = windows[windows[:, 1] > windows[:, 0]]
        if not len(instances):
            return windows, windows.new_zeros(len(windows))
        return windows, tiou(windows[:, None], instances[None]).amax(1)

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """All groups of each window; without label."""
        found = []
        for curve, mask in zip(self._curve(raw, batch), batch.mask, strict=True):
            groups = watershed(curve.double().cpu().numpy(), self.config.levels, self.config.shares)
            segments = torch.from_numpy(groups).to(curve.device)
            scores = standing_out(curve.where(mask, 0), segments)
            best = scores.sort(descending=True, stable=True)
            segments = segments[best.indices].float()
            labels = torch.full_like(best.indices, -1)
            found.append(StepDetections(segments, best.values, labels, segments.mean(-1)))
        return found

    def _curve(self, raw: Raw, batch: Batch) -> Tensor:
        """(B, T) actionness, smoothed, 0 where there is no video."""
        curve = raw["logits"].float().softmax(1)[:, 1:] * batch.mask[:, None]
        if self.config.smoothing:
            curve = smoothed(curve, batch.mask, self.config.smoothing)
        return curve[:, 0].clamp(0, 1)

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The smoothed probability of an action at every step, (T,) float32 in [0, 1], 0 where the window shows
        nothing."""
        return [{"action": curve} for curve in self._curve(raw, batch)]


def standing_out(curve: Tensor, segments: Tensor, around: float = 0.25) -> Tensor:
    """How far segments stand out in a curve: the mean inside times one minus the mean around.

    Args:
        curve: (T,) in [0, 1].
        segments: (N, 2) int64 ``[start, end)``, each of a step at least.
        around: how far is looked to either side, in lengths, rounded up to steps; beyond the curve it is 0.

    Returns:
        (N,) float32 in [0, 1].
    """
    sums = F.pad(curve.double().cumsum(0), (1, 0))
    start, end = segments.unbind(-1)
    reach = ((end - start) * around).ceil().long()
    low, high = (start - reach).clamp(min=0), (end + reach).clamp(max=len(curve))
    inside = sums[end] - sums[start]
    outside = sums[high] - sums[low] - inside
    score = inside / (end - start) * (1 - outside / (2 * reach))
    return score.clamp(0, 1).float()
