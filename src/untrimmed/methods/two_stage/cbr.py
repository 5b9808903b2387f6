"""CBR: cascaded boundary regression (Gao, Yang and Nevatia, BMVC 2017), as the host of GCM has it (Zeng et al., 2021,
section 5.1 and Eq. 12)::

    windows that slide -> proposal stage, r times -> proposals -> detection stage, r times -> detections
                          actionness, 2 offsets                   hidden - context - actions, K + 1
                                                                                   - 2 offsets of each

A stage sees of a segment the mean of its units, and the means of the units before and after it. It says what the
segment shows and by how many units its start and its end are to be moved; features are then pooled again where it was
moved to, and the same stage looks once more. Losses are cross-entropy and L1 of the offsets of what shows an action.

With ``proposals: given`` the detection stage alone judges proposals from elsewhere (``data.proposals``). The context
(:mod:`untrimmed.methods.plugins.context`) stands behind the hidden layer of the detection stage, and both its heads
take what it gives.

What the papers leave open or released code settles (that of the detection stage and of TURN, the nearest to a
proposal stage), and how it is settled
- A unit is ``unit`` steps. Between two looks segments are rounded to units, as in the released code, and the target
  of an offset is the distance to the instance's end, rounded likewise (``rounded``); what the last look says is not
  rounded. A segment that would become shorter than a unit stays as it was: there the released code divides by zero.
- Each look moves a segment by the offsets of its likeliest action; the last one gives offsets of every class.
  ``every_class`` makes a detection of each class; as released a segment has one, of the likeliest.
- The score is the product over the looks of the probabilities of the class (``scores: product``: the paper's, as a
  comment of the released code has it); what that code saves is the last one (``last``). The probability is a softmax
  with background, which is then left out; ``softmax: actions`` is the released way, in which nothing is background.
  What the proposal stage thinks, or another source, counts if ``proposal_score`` is set.
- Positives overlap an instance by 0.5 tIoU or more (released: by more). What stays below ``background`` of all is
  background, which the released code lists in a file; between them lies nothing to learn from. Of both kinds some are
  drawn in every window (``drawn_positive``, ``drawn_background``): the released code draws them from all videos at
  once, where segments would not know each other.
- Only the first look is learnt from, as released. In one run: the detection stage learns from what the proposal stage
  hands it, which learns from windows that slide; no gradient goes from one to the other.
- All windows that slide become proposals: nothing is suppressed between the stages.
- ``encoded`` is a departure, off by default: a convolution before pooling, for raw signals, whose means say little.
- Features of a segment are divided by their L2 norm; where there are no units, they are zero.
- Left out: the prior of a class given the length of the sliding window, by which the scripts for THUMOS14 multiply
  scores, and a suppression threshold that depends on the tIoU of the evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.layers.anchors import clip_segments
from untrimmed.layers.conv import StepEncoder
from untrimmed.layers.matching import match, pad_instances, take_instances
from untrimmed.layers.proposal_labels import draw
from untrimmed.layers.segment_pooling import bounds_of, pooled_mean
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import softmax_term
from untrimmed.methods.plugins.context import Apart, Known, MakeContext
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.segments import tiou


class Config(BaseModel):
    """Settings of CBR; defaults are those of the paper on THUMOS14, without GCM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposals: Literal["own", "given"] = Field("own", description="of its proposal stage, or those of data.proposals")
    context: Mapping[str, Any] | None = Field(
        None, description="lets proposals know each other, such as {name: gcm}; null: each for itself"
    )
    lengths: tuple[float, ...] = Field((1, 2, 4, 8, 16, 32), description="of windows that slide, in units")
    stride: float = Field(0.25, gt=0, description="from one to the next, in lengths; at least half a unit")
    unit: float = Field(1.0, gt=0, description="steps in a unit")
    rounded: bool = Field(True, description="segments between two looks, and targets, are rounded to units")
    surroundings: float = Field(2.0, gt=0, description="seen to either side of a segment, in units")
    encoded: int | None = Field(None, ge=1, description="departure: channels of a convolution first; null: none")
    kernel: int = Field(1, ge=1, description="odd, of that convolution")
    hidden: int = Field(1000, ge=1, description="width of a stage")
    dropout: float = Field(0.5, ge=0, lt=1, description="behind the hidden layer")
    looks: int = Field(3, ge=1, description="of a stage at a segment, each at where the one before moved it to")
    positive: float = Field(0.5, gt=0, lt=1, description="tIoU from which on a segment shows an instance")
    background: float = Field(0.3, gt=0, lt=1, description="tIoU below which it is background")
    drawn_positive: int = Field(32, ge=1, description="positives of a window in a step of training")
    drawn_background: int = Field(16, ge=1, description="background likewise")
    weight_offsets: float = Field(1.0, ge=0, description="lambda")
    scores: Literal["product", "last"] = Field("product", description="of the looks, or the last one's alone")
    softmax: Literal["all", "actions"] = Field("all", description="with background, or over actions alone")
    proposal_score: bool = Field(False, description="multiply by what the proposal stage thinks, or another source")
    every_class: bool = Field(False, description="a detection of each class; else of the likeliest")
    score_threshold: float = Field(0.0, ge=0, lt=1, description="detections with a lower score are dropped; 0: none")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number")
        return self


class Segments(NamedTuple):
    """N segments of each window.

    Attributes:
        spans: (B, N, 2) in steps.
        mask: (B, N) bool, which of them there are.
        bounds: (B, N, 2) of the piece of the window that shows each.
        scores: (B, N) what their source thinks of them.
    """

    spans: Tensor
    mask: Tensor
    bounds: Tensor
    scores: Tensor


class Looked(NamedTuple):
    """What a stage says of segments, look by look.

    Attributes:
        logits: (B, R, N, K + 1), background last.
        spans: (B, N, 2) where the last look saw them, in steps.
        offsets: (B, N, K, 2) that it says of start and end, in units.
    """

    logits: Tensor
    spans: Tensor
    offsets: Tensor


class Stage(nn.Module):
    """What segments show and how they are to be moved.

    Args:
        config: settings.
        channels: of the features.
        classes: number of actions to tell apart.
        context: makes what lets segments know each other.
    """

    def __init__(self, config: Config, channels: int, classes: int, context: MakeContext = Apart) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.hidden = nn.Linear(3 * channels, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.context: Any = context(config.hidden)
        self.actions = nn.Linear(config.hidden, classes + 1)
        self.offsets = nn.Linear(config.hidden, 2 * classes)
        for layer in (self.hidden, self.actions, self.offsets):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, batch: Batch, segments: Segments, wanted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One look at all segments, or at the wanted ones (B, M): logits (B, M, K + 1) and offsets (B, M, K, 2)."""
        if isinstance(self.context, Apart) and wanted is not None:
            pick = wanted[..., None].expand(-1, -1, 2)
            segments = segments._replace(
                spans=segments.spans.gather(1, pick),
                bounds=segments.bounds.gather(1, pick),
                mask=segments.mask.gather(1, wanted),
            )
            wanted = None
        known = self.context(self.features(batch, segments), segments.spans, segments.mask, None, wanted)
        return self.actions(known), self.offsets(known).unflatten(-1, (self.classes, 2))

    def features(self, batch: Batch, segments: Segments) -> Tensor:
        """What the context is given of segments: (B, N, ``hidden``)."""
        hidden: Tensor = self.dropout(F.relu(self.hidden(unit_features(batch, segments, self.config))))
        return hidden

    def looks(self, batch: Batch, segments: Segments) -> Looked:
        """As many looks as the settings say, each at where the one before moved the segments to."""
        spans, logits = segments.spans, []
        for look in range(self.config.looks):
            at = segments._replace(spans=spans)
            said, offsets = self(batch, at)
            logits.append(said)
            if look + 1 < self.config.looks:
                likeliest = said[..., :-1].argmax(-1)[..., None, None].expand(-1, -1, 1, 2)
                spans = self._moved(spans, offsets.detach().gather(2, likeliest)[:, :, 0], segments.bounds)
        return Looked(torch.stack(logits, 1), spans, offsets)

    def _moved(self, spans: Tensor, offsets: Tensor, bounds: Tensor) -> Tensor:
        unit = self.config.unit
        goal = spans + offsets.to(spans.dtype) * unit
        if self.config.rounded:
            goal = (goal / unit).round() * unit
        goal = clip_segments(goal, bounds)
        long = goal[..., 1] - goal[..., 0] >= unit
        return goal.where(long[..., None], spans)


class CBR(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
        context: makes what lets proposals know each other.
    """

    @staticmethod
    def needs_proposals(settings: Mapping[str, Any]) -> bool:
        """Whether it judges proposals from elsewhere."""
        return bool(settings.get("proposals") == "given")

    def __init__(self, config: Config, channels: int, classes: int, context: MakeContext = Apart) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.needs_proposals = config.proposals == "given"  # type: ignore[method-assign, assignment]
        self.encoder = None
        if config.encoded is not None:
            self.encoder = StepEncoder(channels, config.encoded, config.kernel)
            channels = config.encoded
        self.averageable = config.proposals == "given"  # else each has proposals of its own
        self.proposing = None if config.proposals == "given" else Stage(config, channels, 1)
        self.detecting = Stage(config, channels, classes, context)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            With N the proposals of a window: ``logits`` (B, R, N, K + 1) of each look, background last; ``spans``
            (B, N, 2) where the last one saw them, in steps; ``offsets`` (B, N, K, 2) that it says, in units;
            ``proposal_scores`` (B, N); ``centers`` (B, N) of the proposals; ``there`` (B, N) bool.
            In training, of the M that are drawn by the targets: ``logits`` (B, M, K + 1), ``offsets`` (B, M, K, 2),
            ``labels`` (B, M) int64, K for background and -1 where none was drawn, ``goals`` (B, M, 2) offsets onto the
            instance; and likewise of the proposal stage, their names beginning with ``proposing.``.

        Raises:
            InputError: if proposals are to be given and the batch has none.
        """
        raw: Raw = {}
        batch = self._encoded(batch)
        segments = self._begin(batch)
        if self.proposing is not None:
            if self.training:
                learnt = self._learnt(self.proposing, batch, segments, "proposing.")
                raw |= {f"proposing.{name}": value for name, value in learnt.items()}
            segments = self._proposed(batch, segments)
        if self.training:
            return raw | self._learnt(self.detecting, batch, segments)
        found = self.detecting.looks(batch, segments)
        raw |= {"logits": found.logits, "spans": found.spans, "offsets": found.offsets}
        return raw | {"proposal_scores": segments.scores, "centers": segments.spans.mean(-1), "there": segments.mask}

    @torch.no_grad()
    def known(self, batch: Batch) -> Known:
        """What the context is given of the proposals at the first look, in evaluation."""
        batch = self._encoded(batch)
        segments = self._begin(batch)
        segments = segments if self.proposing is None else self._proposed(batch, segments)
        features = self.detecting.features(batch, segments)
        return Known(self.detecting.context, features, segments.spans, segments.mask, segments.scores)

    def _encoded(self, batch: Batch) -> Batch:
        if self.encoder is None:
            return batch
        return replace(batch, features=self.encoder(batch.features, batch.mask))

    def _begin(self, batch: Batch) -> Segments:
        """The proposals given, or windows that slide."""
        if self.proposing is not None:
            spans = sliding(batch.mask.shape[1], self.config).to(batch.features.device).expand(len(batch), -1, -1)
            bounds = bounds_of(spans, batch.clip)
            spans = clip_segments(spans, bounds)
            mask, scores = spans[..., 1] > spans[..., 0], spans.new_ones(spans.shape[:2])
        else:
            if batch.proposals is None:
                raise InputError("method cbr judges proposals, and this batch has none; see untrimmed.data.proposals")
            spans, scores, _, mask = (getattr(batch.proposals, name) for name in ("segments", "scores", "rows", "mask"))
            bounds = bounds_of(spans, batch.clip)
        if not mask.shape[1]:  # one that is not there, so that nothing is empty below
            empty = spans.new_zeros(len(batch), 1, 2)
            return Segments(empty, mask.new_zeros(len(batch), 1), empty, empty[..., 0])
        return Segments(spans, mask, bounds, scores)

    @torch.no_grad()
    def _proposed(self, batch: Batch, segments: Segments) -> Segments:
        """What the proposal stage makes of windows that slide; without the dropout of training."""
        assert self.proposing is not None
        training = self.proposing.training
        self.proposing.eval()
        found = self.proposing.looks(batch, segments)
        self.proposing.train(training)
        moved = found.spans + found.offsets[:, :, 0].float() * self.config.unit
        moved = clip_segments(torch.stack((moved.amin(-1), moved.amax(-1)), -1), segments.bounds)
        kept = (moved[..., 1] - moved[..., 0]) > 0
        return segments._replace(
            spans=moved.where(kept[..., None], found.spans), scores=self._likely(found.logits)[..., 0]
        )

    @torch.no_grad()
    def _labels(self, segments: Segments, batch: Batch, classes: int) -> tuple[Tensor, Tensor]:
        """(B, N) int64 the class of each segment, ``classes`` for background, -1 for neither; (B, N, 2) offsets onto
        the closest instance, in units."""
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        matches = match(segments.spans, instances, segments.mask, self.config.positive)
        named = take_instances(instances.labels, matches.nearest).clamp(max=classes - 1)
        real = (instances.labelled | instances.unlabelled)[:, None]
        best = tiou(segments.spans[:, :, None], instances.segments[:, None]).where(real, 0).amax(-1)
        background = segments.mask & (best < self.config.background)
        labels = torch.full_like(named, -1).where(~background, classes).where(~matches.positive, named)
        unit, ends = self.config.unit, take_instances(instances.segments, matches.nearest)
        goals = (ends / unit).round() * unit if self.config.rounded else ends
        return labels, (goals - segments.spans) / unit

    def _learnt(self, stage: Stage, batch: Batch, segments: Segments, prefix: str = "") -> Raw:
        """What a stage says at the first look of the segments that are drawn, and what it should have said."""
        labels, goals = self._labels(segments, batch, stage.classes)
        pools = ((labels >= 0) & (labels < stage.classes), labels == stage.classes)
        drawn, there = draw(pools, (self.config.drawn_positive, self.config.drawn_background))
        logits, offsets = stage(batch, segments, drawn)
        return {
            "logits": logits,
            "offsets": offsets,
            "labels": labels.gather(1, drawn).where(there, -1),
            "goals": goals.gather(1, drawn[..., None].expand(-1, -1, 2)),
        }

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """``actions`` and ``offsets`` of the detection stage, ``actionness`` and ``proposal_offsets`` of the proposal
        stage, if it has one; of a raw made in training."""
        if "labels" not in raw:
            raise InputError("method cbr: the loss is of what a network in training says of drawn segments")
        terms = self._terms(raw, "", ("actions", "offsets"))
        if "proposing.labels" in raw:
            terms |= self._terms(raw, "proposing.", ("actionness", "proposal_offsets"))
        return terms

    def _terms(self, raw: Raw, prefix: str, names: tuple[str, str]) -> dict[str, LossTerm]:
        logits, offsets, labels, goals = (raw[prefix + name] for name in ("logits", "offsets", "labels", "goals"))
        classes = offsets.shape[2]
        positive = (labels >= 0) & (labels < classes)
        column = labels.clamp(0, classes - 1)[..., None, None].expand(-1, -1, 1, 2)
        errors = (offsets.gather(2, column)[:, :, 0] - goals.to(offsets.dtype)).abs().sum(-1)
        return {
            names[0]: softmax_term(logits.mT, labels.clamp(min=0), labels >= 0),
            names[1]: LossTerm((errors * positive).sum(), positive.sum(), self.config.weight_offsets),
        }

    def _likely(self, logits: Tensor) -> Tensor:
        """(B, R, N, K + 1) -> (B, N, K) probabilities over the looks."""
        kept = logits.float() if self.config.softmax == "all" or logits.shape[-1] == 2 else logits[..., :-1].float()
        likely = kept.softmax(-1)[..., : logits.shape[-1] - 1]
        return likely.prod(1) if self.config.scores == "product" else likely[:, -1]

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Every proposal as a detection of its likeliest class, or of every one; all that reach ``score_threshold``."""
        config = self.config
        scores = self._likely(raw["logits"])
        if config.proposal_score:
            if (wrong := (raw["proposal_scores"] < 0) | (raw["proposal_scores"] > 1)).any():
                raise InputError(
                    f"method cbr: a proposal has the score {float(raw['proposal_scores'][wrong][0]):g}, but "
                    "proposal_score multiplies by it; expected proposals with scores in [0, 1]"
                )
            scores = scores * raw["proposal_scores"][..., None]
        moved = raw["spans"][:, :, None] + raw["offsets"].float() * config.unit
        moved = torch.stack((moved.amin(-1), moved.amax(-1)), -1)
        own = torch.stack((raw["centers"], raw["centers"]), -1)
        moved = clip_segments(moved, bounds_of(own, batch.clip)[:, :, None])
        usable = raw["there"][..., None] & (moved[..., 1] > moved[..., 0]) & (scores >= config.score_threshold)
        if not config.every_class:
            usable = usable & (scores == scores.amax(-1, keepdim=True))
        found = []
        for window, kept in enumerate(usable):
            number, column = kept.nonzero().unbind(1)
            order = scores[window, number, column].argsort(descending=True, stable=True)
            number, column = number[order], column[order]
            segments, score = moved[window, number, column], scores[window, number, column]
            found.append(StepDetections(segments, score, column, raw["centers"][window, number]))
        return found


def sliding(steps: int, config: Config) -> Tensor:
    """Windows that slide over T steps: of each length one every share of its length, from the first step, as long as
    its centre lies within T. How far T is padded changes nothing for those whose centres something is shown at.

    Returns:
        (N, 2) float32 in steps; the last ones reach beyond T.
    """
    found = []
    for length in config.lengths:
        stride = max(length * config.stride, 0.5) * config.unit
        size = length * config.unit
        count = max(0, math.ceil((steps - size / 2) / stride))
        start = torch.arange(count, dtype=torch.float32) * stride
        found.append(torch.stack((start, start + size), -1))
    return torch.cat(found)


def unit_features(batch: Batch, segments: Segments, config: Config) -> Tensor:
    """(B, N, 3 C): the means before, in and after each segment, divided by their norm; zero where there is none."""
    start, end = segments.spans.unbind(-1)
    reach = config.surroundings * config.unit
    stretches = [torch.stack(each, -1) for each in ((start - reach, start), (start, end), (end, end + reach))]
    seen = clip_segments(torch.cat(stretches, 1), segments.bounds.repeat(1, 3, 1))
    means = pooled_mean(batch.features, seen, batch.mask)
    found = F.normalize(torch.cat(means.chunk(3, 1), -1), dim=-1)
    return found * segments.mask[..., None].to(found.dtype)
