"""D-SSAD: Decoupled Single Shot temporal Action Detection (Huang, Dai and Lu, ICME 2019).

A single shot detector (SSAD, Lin, Zhao and Shou, ACM MM 2017): anchors stand on three feature maps, each of which says
what an anchor shows, how the anchor is to be moved, and how well it will then fit. D-SSAD adds two branches to this
main stream, as where an action is and what it is ask for different features; each goes down the maps by itself::

    features (B, C, T)
      base             twice: convolution of kernel 9, ReLU, max pooling over 4 steps of stride 2         T / 4
      anchor layers    three convolutions of stride 2, ReLU                             T / 8, T / 16, T / 32
      (context)        the cells of each map know each other, see below
        main stream    a convolution on each map -> K + 1 classes, 2 offsets
        proposal       in, (2 lateral + up) / 3, out on each map -> 2 offsets, confidence
        classification likewise, with weights of its own -> K + 1 classes

What is said of an anchor: class logits are the mean of classification branch and main stream, offsets the mean of
proposal branch and main stream, taken before they are decoded (:func:`untrimmed.layers.anchors.apply_offsets`, of
offsets times 0.1); the confidence, meant to be the tIoU, is the proposal branch's. With ``branches: false`` the main
stream is all there is, with a confidence of its own: SSAD, the baseline.

Loss, of what is said together (weight 2/3) and of the main stream alone (1/3): the classes, by cross-entropy over
positives and negatives, and 10 times the ends, by smooth L1 over positives; and 10 times the confidence, once. Each has
positives of its own, as the *moved* anchors are matched. Negatives are those that the network is sure of (confidence
above 0.5), all of them, and others drawn at random until there are as many negatives as positives.

Plug-in of a context (GCM, Zeng et al., TPAMI 2021, section 3.5): the units of the graph are the cells of one map, so
each of the maps of ``context_levels`` gets one. All maps are made first: an enhanced map is read by the heads and the
branches, not by the next anchor layer ("between Step 2 and Step 3"). Table 11 has one, two and three GCMs and does not
say on which maps: the finest come first here, as they have the most cells. Cells of a map have one length and lie side
by side, so they never overlap and there are no contextual edges. With Eq. 5's union the distance of cells i and j is
``|i - j| / 2``: ``theta_sur = 1`` links each cell to the two beside it and to no other.

What is not said, and how it is settled; and where this differs from the released code
- Widths of anchors are lengths in steps, not shares of the window, so that they stay what they are however far a window
  is padded. The released scales, 1/16, 1/8 and 1/4 of 128 steps, are the cells of the three maps.
- A step or cell that shows nothing (padding, a gap) is zero after every layer and has no anchors; a cell shows
  something if its centre does. Moved anchors are cut to the piece of the window they stand in before they are matched
  and when detections are made; the loss of their ends sees them uncut.
- The released code makes the branches' positives by the proposal branch and takes their labels from a matching of the
  classification branch's own, untrained, ends: a positive may be labelled background. Here there is one matching, of
  the ends that are answered. So the classification branch has no ends and no confidence, and the proposal branch no
  class: the released ones are used for nothing else. Nor has the main stream beside branches a confidence, which no
  loss trains there: the proposal branch's says which of its negatives are hard.
- Matches and the tIoU that the confidence learns are numbers: no gradient flows through them into the ends.
- Without positives there are still negatives, at least one a window, and nothing is divided by zero.
- Instances without label make no positives, anchors on them are no negatives; they count as something that fits for the
  confidence.
- Strided convolutions look one cell back and one ahead; all weights are drawn apart, after Glorot, biases are 0.
- The score of a class is its probability times the confidence, cut to [0, 1]. The released code multiplies by the
  sigmoid of the confidence (``confidence: sigmoid``), though it is a tIoU already: 0 to 1 becomes 0.5 to 0.73, and how
  well a segment fits hardly counts. Its limits by value, ``background_below: 0.98`` and ``confidence_above: 0.1``, and
  three classes an anchor (``labels_per_anchor: 3``) are off by default: what scores low, suppression handles.
- Every CliffDiving also as Diving, on THUMOS14: not done.

Since positives depend on what the network says, counts are not known ahead; negatives are drawn for each forward pass,
in proportion to the positives of that pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.anchors import apply_offsets, clip_segments, pieces, pyramid_anchors
from untrimmed.layers.conv import masked, pad_steps
from untrimmed.layers.matching import Instances, match, pad_instances, take_instances
from untrimmed.layers.pyramid import clip_at
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import softmax_term
from untrimmed.losses.regression import smooth_l1_term
from untrimmed.methods.plugins.context import Apart, MakeContext
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.segments import tiou

OFFSET_SCALE = 0.1
"""Of the offsets before they are decoded, as in SSAD."""


class Config(BaseModel):
    """Settings of D-SSAD; defaults are those of the released code on THUMOS14, but for what is dropped by score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_channels: int = Field(512, ge=1, description="of the base")
    base_layers: int = Field(2, ge=1, description="convolutions of the base; each halves the steps")
    base_kernel: Literal[3, 5, 7, 9] = Field(9, description="steps that each of them looks at")
    channels: int = Field(1024, ge=1, description="of the anchor layers and branches")
    levels: int = Field(3, ge=1, description="anchor layers; each halves the steps")
    anchor_ratios: tuple[float, ...] = Field(
        (0.5, 0.75, 1.0, 1.5, 2.0), min_length=1, description="lengths of the anchors of a cell, in scales of its level"
    )
    anchor_scales: tuple[float, ...] | None = Field(
        None, description="of the levels, finest first, in steps; None: the length of a cell, 8, 16 and 32 steps"
    )
    branches: bool = Field(True, description="D-SSAD; false: the main stream alone, SSAD")
    context: Mapping[str, Any] | None = Field(None, description="a context of the cells: {name: ..., settings}")
    context_levels: int | None = Field(
        None, ge=1, description="maps that get one, the finest first (GCM, Table 11); None: all"
    )
    tiou_positive: float = Field(0.5, gt=0, le=1, description="from which on a moved anchor is a positive")
    hard_confidence: float = Field(0.5, description="above which every negative is learned from")
    negative_ratio: float = Field(1.0, ge=0, description="negatives for each positive, the hard ones among them")
    weight_loc: float = Field(10.0, ge=0, description="of the ends of segments")
    weight_conf: float = Field(10.0, ge=0, description="of the confidence")
    loss_unit: float = Field(128.0, gt=0, description="steps that ends are measured in for their loss: the window")
    confidence: Literal["plain", "sigmoid"] = Field(
        "plain", description="what a class probability is multiplied by; sigmoid: the released code"
    )
    labels_per_anchor: int | None = Field(None, ge=1, description="likeliest classes of each anchor; None: all")
    background_below: float | None = Field(
        None, gt=0, le=1, description="anchors with a likelier background are dropped; None: none"
    )
    confidence_above: float | None = Field(None, description="anchors with a lower confidence are dropped; None: none")
    score_threshold: float = Field(1e-4, ge=0, lt=1, description="detections with a lower score are dropped; 0: none")

    @model_validator(mode="after")
    def _check(self) -> Config:
        scales = self.anchor_scales
        if scales is not None and len(scales) != self.levels:
            raise ValueError(f"anchor_scales are {scales}, expected one for each of {self.levels} levels")
        if min(self.anchor_ratios + (scales or ())) <= 0:
            raise ValueError("anchor_ratios and anchor_scales are lengths, expected numbers above 0")
        if self.context_levels is not None and self.context_levels > self.levels:
            raise ValueError(f"context_levels is {self.context_levels}, but there are {self.levels} levels")
        return self


class Heads(nn.Module):
    """What is said of the anchors of every map: a convolution of kernel 3 on each.

    Args:
        channels: of the maps.
        sizes: anchors of a cell.
        outputs: numbers for each anchor.
        levels: how many maps.
    """

    def __init__(self, channels: int, sizes: int, outputs: int, levels: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.convs = nn.ModuleList(nn.Conv1d(channels, sizes * outputs, 3, padding=1) for _ in range(levels))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps (B, C, T_l), finest first -> (B, outputs, A), in the order of the anchors."""
        said = []
        for conv, each in zip(self.convs, maps, strict=True):
            values = conv(each)
            said.append(values.unflatten(1, (-1, self.outputs)).transpose(1, 2).flatten(2))
        return torch.cat(said, dim=-1)


class Branch(nn.Module):
    """A branch down the maps: ``in`` of a map, joined with the coarser level's output, then ``out``.

    ``in`` is convolution, ReLU, convolution; ``out`` is ReLU, convolution, ReLU; the coarser output is doubled by a
    deconvolution and counts a third, ``(2 in + deconvolution) / 3``.

    Args:
        channels: of the maps and of the branch.
        levels: how many maps.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()

        def convs() -> nn.ModuleList:
            return nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(levels))

        self.first, self.second, self.out = convs(), convs(), convs()
        self.up = nn.ModuleList(nn.ConvTranspose1d(channels, channels, 4, 2, padding=1) for _ in range(levels - 1))

    def forward(self, maps: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Maps (B, C, T_l), finest first, each twice as long as the next, and their masks (B, T_l) -> likewise."""
        outputs: list[Tensor] = []
        for level in reversed(range(len(maps))):
            mask = masks[level]
            joined = self.second[level](masked(F.relu(self.first[level](maps[level])), mask))
            if outputs:
                joined = (2 * joined + self.up[level](outputs[-1])) / 3
            outputs.append(masked(F.relu(self.out[level](masked(F.relu(joined), mask))), mask))
        return outputs[::-1]


class Anchors(NamedTuple):
    """The anchors of a batch.

    Attributes:
        segments: (1, A, 2), the same in all windows, in steps: level by level, the finest first, within a level size by
            size, within a size by time.
        centers: (A,), the centres of their cells, whole numbers of steps.
        bounds: (B, A, 2), the piece of the window that holds the centre of each.
        there: (B, A) bool, whose centre shows something.
    """

    segments: Tensor
    centers: Tensor
    bounds: Tensor
    there: Tensor


class DSSAD(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
        context: makes what lets the cells of a map know each other.
    """

    def __init__(self, config: Config, channels: int, classes: int, context: MakeContext = Apart) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        sizes, levels, width = len(config.anchor_ratios), config.levels, config.channels
        self.strides = [2 ** (config.base_layers + level + 1) for level in range(levels)]
        self.multiple = self.strides[-1]
        inputs, kernel = [channels] + [config.base_channels] * config.base_layers, config.base_kernel
        self.base = nn.ModuleList(
            nn.Conv1d(before, config.base_channels, kernel, padding=kernel // 2) for before in inputs[:-1]
        )
        inputs = [inputs[-1]] + [width] * levels
        self.anchor_layers = nn.ModuleList(
            nn.Conv1d(before, width, 3, stride=2, padding=1) for before in inputs[:levels]
        )
        self.main = Heads(width, sizes, classes + 1 + 2 + (not config.branches), levels)
        if config.branches:
            self.proposal, self.classification = Branch(width, levels), Branch(width, levels)
            self.proposal_heads = Heads(width, sizes, 3, levels)
            self.classification_heads = Heads(width, sizes, classes + 1, levels)
        for part in self.modules():
            if isinstance(part, nn.Conv1d | nn.ConvTranspose1d):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        enhanced = levels if config.context_levels is None else config.context_levels
        self.contexts: Any = nn.ModuleList(context(width) for _ in range(enhanced))  # type: ignore[misc]

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            With A the number of anchors of the steps padded to a multiple of the coarsest stride: ``classes``
            (B, K + 1, A) logits, background last; ``offsets`` (B, 2, A), 10 times those of
            :func:`untrimmed.layers.anchors.apply_offsets`; ``confidence`` (B, A), not cut to [0, 1]. With branches also
            ``main_classes`` and ``main_offsets``, what the main stream alone says.
        """
        clip = pad_steps(batch.clip, self.multiple)
        maps, masks = self._maps(pad_steps(batch.features, self.multiple), clip)
        main = self.main(maps)
        classes, offsets = main[:, : self.classes + 1], main[:, self.classes + 1 : self.classes + 3]
        if not self.config.branches:
            return {"classes": classes, "offsets": offsets, "confidence": main[:, -1]}
        proposal = self.proposal_heads(self.proposal(maps, masks))
        named = self.classification_heads(self.classification(maps, masks))
        return {
            "classes": (named + classes) / 2,
            "offsets": (proposal[:, :2] + offsets) / 2,
            "confidence": proposal[:, 2],
            "main_classes": classes,
            "main_offsets": offsets,
        }

    def _maps(self, features: Tensor, clip: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features and clips of P steps -> the maps that anchors stand on and their masks, finest first."""
        mask, stride = clip > 0, 1
        current = features
        for conv in self.base:
            current = masked(F.relu(conv(current)), mask)
            stride *= 2
            mask = clip_at(clip, stride) > 0
            current = masked(F.max_pool1d(current, 4, 2, padding=1), mask)
        maps, masks = [], []
        for conv, stride in zip(self.anchor_layers, self.strides, strict=True):
            masks.append(clip_at(clip, stride) > 0)
            current = masked(F.relu(conv(current)), masks[-1])
            maps.append(current)
        for level, context in enumerate(self.contexts):
            cells = _cells(masks[level], self.strides[level])
            enhanced = context(maps[level].mT, cells, masks[level]).mT
            maps[level] = masked(enhanced, masks[level])
        return maps, masks

    def _anchors(self, clip: Tensor) -> Anchors:
        """The anchors for clips (B, P), P a multiple of the coarsest stride."""
        config, device = self.config, clip.device
        segments, centers = [], []
        for stride, scale in zip(self.strides, config.anchor_scales or self.strides, strict=True):
            sizes = [scale * ratio for ratio in config.anchor_ratios]
            segments.append(pyramid_anchors(clip.shape[1], [stride], sizes, device))
            centers.append(torch.arange(stride // 2, clip.shape[1], stride, device=device).repeat(len(sizes)))
        at = torch.cat(centers)
        return Anchors(torch.cat(segments)[None], at.float(), pieces(clip)[:, at], clip[:, at] > 0)

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Classes, ends and confidence of what is said together; with branches also classes and ends of the main
        stream, 1 to 2. Easy negatives are drawn from torch's random numbers."""
        anchors = self._anchors(pad_steps(batch.clip, self.multiple))
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        if not self.config.branches:
            return self._terms(raw, "", anchors, instances, 1.0)
        together = self._terms(raw, "", anchors, instances, 2 / 3)
        return together | self._terms(raw, "main_", anchors, instances, 1 / 3)

    def _terms(
        self, raw: Raw, stream: str, anchors: Anchors, instances: Instances, weight: float
    ) -> dict[str, LossTerm]:
        """Of one stream, by the prefix of its names in the raw; the confidence is learned by the first, "", alone."""
        config = self.config
        moved = apply_offsets(anchors.segments, OFFSET_SCALE * raw[f"{stream}offsets"].mT)
        cut = clip_segments(moved.detach(), anchors.bounds)
        found = match(cut, instances, anchors.there, config.tiou_positive)
        sure = raw["confidence"].detach() > config.hard_confidence
        negative = self._negatives(anchors.there & ~found.positive & ~found.ignored, sure, int(found.positive.sum()))
        kept = found.positive | negative
        own = take_instances(instances.labels, found.nearest).where(found.positive, self.classes)
        ends = take_instances(instances.segments, found.nearest)
        terms = {
            f"{stream}classes": softmax_term(raw[f"{stream}classes"], own, kept, weight=weight),
            f"{stream}ends": smooth_l1_term(
                moved / config.loss_unit, ends / config.loss_unit, found.positive, weight=weight * config.weight_loc
            ),
        }
        if not stream:
            real = (instances.labelled | instances.unlabelled)[:, None]
            overlap = (tiou(cut[:, :, None], instances.segments[:, None]) * real).amax(-1)
            terms["confidence"] = smooth_l1_term(raw["confidence"], overlap, kept, weight=config.weight_conf)
        return terms

    @torch.no_grad()
    def _negatives(self, allowed: Tensor, sure: Tensor, positives: int) -> Tensor:
        """Which of the allowed anchors (B, A) are learned from as negatives: all that the network is ``sure`` of, and
        of the others as many, drawn over the batch, as are missing."""
        hard = allowed & sure
        easy = (allowed & ~sure).flatten()
        wanted = max(round(self.config.negative_ratio * positives), len(allowed)) - int(hard.sum())
        chance = torch.rand(easy.shape, device=easy.device).masked_fill(~easy, -1)
        drawn = torch.zeros_like(easy)
        drawn[chance.topk(min(max(wanted, 0), int(easy.sum()))).indices] = True
        return hard | drawn.view_as(hard)

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Every moved anchor as every class, with the score ``probability * confidence``, cut to the piece of the
        window it stands in; all that reach ``score_threshold``, but for what the other limits drop."""
        config = self.config
        anchors = self._anchors(pad_steps(batch.clip, self.multiple))
        moved = apply_offsets(anchors.segments, OFFSET_SCALE * raw["offsets"].float().mT)
        segments = clip_segments(moved, anchors.bounds)
        confidence = raw["confidence"].float()
        classes = raw["classes"].float().softmax(1)
        usable = anchors.there & (segments[..., 1] > segments[..., 0])
        if config.background_below is not None:
            usable &= classes[:, -1] < config.background_below
        if config.confidence_above is not None:
            usable &= confidence > config.confidence_above
        fit = confidence.clamp(0, 1) if config.confidence == "plain" else confidence.sigmoid()
        classes, labels = classes[:, :-1].topk(min(config.labels_per_anchor or self.classes, self.classes), dim=1)
        scores = (classes * fit[:, None]).masked_fill(~usable[:, None], -1)
        found = []
        for row, names, own in zip(scores, labels, segments, strict=True):
            rank, anchor = (row >= config.score_threshold).nonzero().unbind(1)
            score = row[rank, anchor]
            order = score.argsort(descending=True, stable=True)
            rank, anchor = rank[order], anchor[order]
            found.append(StepDetections(own[anchor], score[order], names[rank, anchor], anchors.centers[anchor]))
        return found


def _cells(mask: Tensor, stride: int) -> Tensor:
    """(B, T_l, 2) the cells of a map with the mask (B, T_l), in steps."""
    start = torch.arange(mask.shape[1], dtype=torch.float32, device=mask.device) * stride
    return torch.stack((start, start + stride), dim=-1).expand(len(mask), -1, -1)
