"""SSN: structured segment networks (Zhao, Xiong, Wang, Wu, Tang and Lin, ICCV 2017), as the host of GCM has them (Zeng,
Huang, Tan, Rong, Zhao, Huang and Gan: Graph Convolutional Module for Temporal Action Localization in Videos, 2021,
sections 3.4 and 3.6). Judges proposals, each by features of its own and of its surroundings::

    proposals --+-- x: features of the proposal ------- context 1 -- action, K + 1                        Eq. 9
                |                                           | edges
                +-- x': features of it and around it -- context 2 --+-- start and end, 2 K                Eq. 10
                                                                    +-- completeness, K                   Eq. 11

A context (:mod:`untrimmed.methods.plugins.context`) lets proposals know each other; without one each is judged alone.
What proposals are examples of is in :mod:`untrimmed.layers.proposal_labels`, pooling in
:mod:`untrimmed.layers.segment_pooling`. Losses are Eqs. 13 to 17: cross-entropy over foreground and background, a hinge
of completeness over foreground and incomplete proposals, smooth L1 of the offsets of foreground.

What the paper leaves open or its released code settles, and how it is settled
- x' is the maximum over the proposal and half its length to either side (``extended: range``); the released code joins
  those of the start, the course and the end, three times as many channels (``concat``). SSN's own pyramid of means is
  ``pooling: stpp``: x is the mean of the course, x' the pyramid. A surrounding ends where the video does; maxima of
  nothing are zero.
- Background is the last class, not the first.
- Drawn for the loss, in each window: 1 foreground, 1 background and 6 incomplete proposals, as P-GCN has them
  (``drawn_foreground`` and so on). A window that has none of a kind teaches nothing of it: SSN fills up from other
  videos, P-GCN takes foreground instead, GCM's code draws from the whole batch and fails without. All proposals of a
  window are in its context, in training as in detection, and in training its instances too (``with_instances``); in
  GCM's code those that are no example of anything are left out in training.
- The hardest of the incomplete proposals of a window count, a ``hard_share`` of those drawn, rounded down, but at least
  one (SSN: 0.17 of 6 is 1).
- The term of offsets adds shift and log factor, as Eq. 16 does over a vector. They are learnt in standard deviations.
  The released code takes mean and deviation over the training proposals; here they are settings (``offset_mean``,
  ``offset_std``), as in Faster R-CNN: foreground overlaps its instance by more than 0.7 tIoU, so a shift lies within
  0.18 and a log factor within 0.36, and the defaults are the deviations over that region. Nothing depends on the order
  of batches or on the number of processes then. The signs of Eq. 15 are turned round, so that offsets decode.
- Dropout stands before the classifier of actions alone, as in P-GCN's and GCM's code.
- A score is class probability times ``exp(completeness)``, as released (the paper: "multiply"), which may be above 1.
  It is divided by ``exp(completeness_ceiling)`` and completeness cut off there. So no order changes, also not of
  products with other scores or under soft suppression (a squashing such as s / (1 + s) keeps the order of the scores
  themselves, but not of such products). Only completeness above the ceiling counts as equal; the hinge asks for 1.
- The probability is a softmax with background, which is then left out (P-GCN, GCM); ``softmax: actions`` leaves it out
  before (SSN on THUMOS14).
- Proposals are moved first, each by the offsets of each class, and then suppressed; the released code suppresses first.
  Every proposal gives one detection of each class that reaches ``score_threshold``: it keeps the best 2000 of a video.
- ``labels: external`` (section 4.3): detections have no class, and classes come by fusion with video-level scores. The
  score is that of the likeliest class, s_gcm, times the proposal's own, s_bsn, and the offsets are that class's. The
  paper does not say what s_gcm is of a classifier whose classes are replaced.
- P-GCN (Zeng et al., ICCV 2019) has the raw features beside those of the context, not added to them: ``beside``. As the
  heads are linear, what is added inside the context takes nothing away from that.

Departure, off by default: ``hidden``, a convolution before pooling, for features in which a linear classifier does not
find actions, such as raw signals. Features of I3D have learnt that before.

Fusing the streams of RGB and flow is left to the raw that :class:`untrimmed.methods.protocol.Raw` speaks of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from untrimmed.data.batch import Batch, PaddedProposals
from untrimmed.errors import InputError
from untrimmed.layers.anchors import apply_offsets, clip_segments
from untrimmed.layers.conv import StepEncoder
from untrimmed.layers.matching import Instances, pad_instances
from untrimmed.layers.proposal_labels import ProposalLabels, ProposalRules, draw, label_proposals, with_instances
from untrimmed.layers.segment_pooling import bounds_of, enlarged, pooled_maximum, pooled_mean, structured_pyramid
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import softmax_term
from untrimmed.losses.two_stage import completeness_count, completeness_term, offsets_term
from untrimmed.methods.plugins.context import Apart, Known, MakeContext
from untrimmed.methods.protocol import Raw, StepDetections


class Config(BaseModel):
    """Settings of SSN; defaults are those of GCM's paper on THUMOS14, without GCM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden: int | None = Field(
        None, ge=1, description="departure: channels of a convolution before pooling; None: there is none"
    )
    kernel: int = Field(1, ge=1, description="odd, of that convolution")
    pooling: Literal["max", "stpp"] = Field("max", description="max, or SSN's structured pyramid of means")
    extended: Literal["range", "concat"] = Field(
        "range", description="of max: over the proposal and its surroundings, or of start, course and end, joined"
    )
    stpp: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = Field(
        ((1,), (1,), (1,)), description="levels of start, course and end, each a number of parts"
    )
    surroundings: float = Field(0.5, ge=0, description="to either side, in lengths of the proposal")
    context: Mapping[str, Any] | None = Field(
        None, description="lets proposals know each other, such as {name: gcm}; null: each for itself"
    )
    context_extended: Mapping[str, Any] | None = Field(
        None, description="likewise of x', the proposal with its surroundings; null: as context"
    )
    beside: bool = Field(False, description="raw features beside those of the context (P-GCN)")
    dropout: float = Field(0.8, ge=0, lt=1, description="before the classifier of actions")
    foreground: float = Field(0.7, gt=0, lt=1, description="tIoU above which a proposal is foreground")
    incomplete: float = Field(0.3, gt=0, le=1, description="tIoU below which it may be incomplete")
    incomplete_share: float = Field(0.01, ge=0, lt=1, description="of its length in an action, above which it is")
    background: float = Field(0.01, gt=0, le=1, description="tIoU below which it may be background")
    background_length: float = Field(0.02, ge=0, lt=1, description="of the window, above which it is")
    with_instances: bool = Field(True, description="instances are training proposals too")
    drawn_foreground: int = Field(1, ge=1, description="foreground proposals of a window in a step of training")
    drawn_background: int = Field(1, ge=0, description="background likewise")
    drawn_incomplete: int = Field(6, ge=0, description="incomplete likewise")
    hard_share: float = Field(0.17, gt=0, le=1, description="of the incomplete ones drawn, the hardest, that count")
    weight_completeness: float = Field(0.5, ge=0, description="lambda 1 of Eq. 17")
    weight_offsets: float = Field(0.5, ge=0, description="lambda 2 of Eq. 17")
    offset_mean: tuple[float, float] = Field((0.0, 0.0), description="of the shifts and log factors of foreground")
    offset_std: tuple[float, float] = Field((0.07, 0.15), description="their standard deviations, above 0")
    softmax: Literal["all", "actions"] = Field("all", description="with background, or over actions alone")
    completeness_ceiling: float = Field(3.0, description="completeness above it counts as equal to it")
    labels: Literal["own", "external"] = Field("own", description="external: no class, labels come by fusion")
    proposal_score: bool = Field(False, description="departure: the proposal's own score counts with own labels too")
    score_threshold: float = Field(0.0, ge=0, lt=1, description="detections with a lower score are dropped; 0: none")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number")
        if min(self.offset_std) <= 0:
            raise ValueError(f"offset_std is {self.offset_std}, expected numbers above 0")
        if any(count < 1 for cuts in self.stpp for count in cuts) or not self.stpp[1]:
            raise ValueError(f"stpp is {self.stpp}, expected numbers of at least 1, and some of the course")
        return self

    @property
    def rules(self) -> ProposalRules:
        return ProposalRules(**{name: getattr(self, name) for name in ProposalRules._fields})


class Nodes(NamedTuple):
    """N segments of each window, which know each other.

    Attributes:
        segments: (B, N, 2) in steps.
        mask: (B, N) bool, which of them there are.
        bounds: (B, N, 2) of the piece of the window that shows each.
    """

    segments: Tensor
    mask: Tensor
    bounds: Tensor


class SSN(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
        context: makes what lets proposals know each other.
        context_extended: likewise for x'; None: ``context``.
    """

    needs_proposals = True

    def __init__(
        self,
        config: Config,
        channels: int,
        classes: int,
        context: MakeContext = Apart,
        context_extended: MakeContext | None = None,
    ) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        parts = sum(map(sum, config.stpp)) if config.pooling == "stpp" else 3 if config.extended == "concat" else 1
        self.hidden = None
        if config.hidden is not None:
            self.hidden = StepEncoder(channels, config.hidden, config.kernel)
            channels = config.hidden
        first, second = context(channels), (context_extended or context)(parts * channels)
        assert isinstance(first, nn.Module)
        assert isinstance(second, nn.Module)
        self.context: nn.Module = first
        self.context_extended: nn.Module = second
        twice = 2 if config.beside else 1
        self.dropout = nn.Dropout(config.dropout)
        self.activity = nn.Linear(twice * channels, classes + 1)
        self.completeness = nn.Linear(twice * parts * channels, classes)
        self.offsets = nn.Linear(twice * parts * channels, 2 * classes)
        for head in (self.activity, self.completeness, self.offsets):
            nn.init.normal_(head.weight, std=0.001)
            nn.init.zeros_(head.bias)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length, and their proposals.

        Returns:
            With N the proposals of a window: ``activity`` (B, N, K + 1) logits, background last; ``completeness``
            (B, N, K); ``offsets`` (B, N, K, 2) shifts and log factors, standardised; zero where there is no proposal.
            In training only those of the M segments that are drawn for the loss, by the targets: ``drawn`` (B, M)
            int64, their places among the proposals and, after them, the instances; ``there`` (B, M) bool, where one was
            drawn.

        Raises:
            InputError: if the batch has no proposals.
        """
        proposals = _proposals_of(batch)
        if not self.training:
            nodes = self._nodes(proposals.segments, proposals.mask, batch)
            return self._judged(batch, nodes, None, proposals.mask)
        nodes, labels = self._learnt(batch)
        config = self.config
        drawn, there = draw(
            (labels.foreground, labels.background, labels.incomplete),
            (config.drawn_foreground, config.drawn_background, config.drawn_incomplete),
        )
        return {**self._judged(batch, nodes, drawn, there), "drawn": drawn, "there": there}

    def _judged(self, batch: Batch, nodes: Nodes, wanted: Tensor | None, there: Tensor) -> Raw:
        """What is said of all nodes, or of the wanted ones (B, M); ``there`` says where there is one."""
        if isinstance(self.context, Apart) and isinstance(self.context_extended, Apart) and wanted is not None:
            # Where nodes do not know each other, only the wanted ones are pooled.
            pick = wanted[..., None].expand(-1, -1, 2)
            nodes = Nodes(nodes.segments.gather(1, pick), there, nodes.bounds.gather(1, pick))
            wanted = None
        own, extended = self._pooled(self._encoded(batch), batch.mask, nodes)
        # Both see one graph, that of x; a second context with settings of its own makes its own, of x too.
        edges = self.context.edges(own, nodes.segments, nodes.mask)  # type: ignore[operator]
        second = edges
        if self.config.context_extended is not None:
            second = self.context_extended.edges(own, nodes.segments, nodes.mask)  # type: ignore[operator]
        own = self._known(self.context, own, nodes, edges, wanted)
        extended = self._known(self.context_extended, extended, nodes, second, wanted)
        kept = there[..., None].to(own.dtype)
        return {
            "activity": self.activity(self.dropout(own)) * kept,
            "completeness": self.completeness(extended) * kept,
            "offsets": (self.offsets(extended) * kept).unflatten(-1, (self.classes, 2)),
        }

    def _known(self, context: nn.Module, features: Tensor, nodes: Nodes, edges: Any, wanted: Tensor | None) -> Tensor:
        found: Tensor = context(features, nodes.segments, nodes.mask, edges, wanted)
        if not self.config.beside:
            return found
        own = features if wanted is None else features.gather(1, wanted[..., None].expand(-1, -1, features.shape[-1]))
        return torch.cat((found, own.to(found.dtype)), -1)

    @torch.no_grad()
    def known(self, batch: Batch) -> Known:
        """What the first context is given of the proposals, in evaluation."""
        proposals = _proposals_of(batch)
        nodes = self._nodes(proposals.segments, proposals.mask, batch)
        own, _ = self._pooled(self._encoded(batch), batch.mask, nodes)
        scores = proposals.scores if proposals.mask.shape[1] else torch.zeros_like(own[..., 0])
        return Known(self.context, own, nodes.segments, nodes.mask, scores)  # type: ignore[arg-type]

    def _encoded(self, batch: Batch) -> Tensor:
        """The features that are pooled."""
        return batch.features if self.hidden is None else self.hidden(batch.features, batch.mask)

    def _pooled(self, features: Tensor, mask: Tensor, nodes: Nodes) -> tuple[Tensor, Tensor]:
        """x and x' of nodes: (B, N, C) and (B, N, parts * C); of no meaning where there is none."""
        config = self.config
        if config.pooling == "stpp":
            pyramid = structured_pyramid(features, nodes.segments, nodes.bounds, mask, config.stpp, config.surroundings)
            return pooled_mean(features, nodes.segments, mask), pyramid.flatten(2)
        around = clip_segments(enlarged(nodes.segments, config.surroundings), nodes.bounds)
        asked = [nodes.segments, around]
        if config.extended == "concat":
            before = torch.stack((around[..., 0], nodes.segments[..., 0]), -1)
            asked = [nodes.segments, before, torch.stack((nodes.segments[..., 1], around[..., 1]), -1)]
        own, *rest = pooled_maximum(features, torch.cat(asked, 1), mask).chunk(len(asked), 1)
        if config.extended == "range":
            return own, rest[0]
        # A surrounding that the video cuts off to nothing has no step, also not that of its start.
        real = [(each[..., 1] > each[..., 0])[..., None].to(own.dtype) for each in asked[1:]]
        return own, torch.cat((rest[0] * real[0], own, rest[1] * real[1]), -1)

    @staticmethod
    def _nodes(segments: Tensor, mask: Tensor, batch: Batch) -> Nodes:
        if not mask.shape[1]:  # one that is not there, so that nothing is empty below
            segments, mask = segments.new_zeros(len(batch), 1, 2), mask.new_zeros(len(batch), 1)
        return Nodes(segments, mask, bounds_of(segments, batch.clip))

    @torch.no_grad()
    def _learnt(self, batch: Batch) -> tuple[Nodes, ProposalLabels]:
        """The segments that may be drawn in training, and what they are examples of."""
        proposals = _proposals_of(batch)
        segments, mask = proposals.segments, proposals.mask
        instances, extent = _instances(batch), _extent(batch)
        if self.config.with_instances:
            segments, mask = with_instances(segments, mask, instances, extent)
        nodes = self._nodes(segments, mask, batch)
        return nodes, label_proposals(nodes.segments, nodes.mask, instances, batch.mask.sum(1), self.config.rules)

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Eq. 17: ``activity`` (Eq. 13), ``completeness`` (Eq. 14) and ``offsets`` (Eq. 16).

        Of the segments drawn in training; of a raw made in evaluation, of all proposals.
        """
        config = self.config
        foreground, incomplete, background, label, goal = self._drawn(raw, batch)
        wanted = label.where(foreground, self.classes)
        actual = label.clamp(min=0)[..., None]
        complete = raw["completeness"].gather(-1, actual)[..., 0]
        offsets = raw["offsets"].gather(2, actual[..., None].expand(-1, -1, -1, 2))[:, :, 0]
        mean, std = goal.new_tensor(config.offset_mean), goal.new_tensor(config.offset_std)
        return {
            "activity": softmax_term(raw["activity"].mT, wanted, foreground | background),
            "completeness": completeness_term(
                complete, foreground, incomplete, config.hard_share, weight=config.weight_completeness
            ),
            "offsets": offsets_term(offsets, (goal - mean) / std, foreground, weight=config.weight_offsets),
        }

    @torch.no_grad()
    def _drawn(self, raw: Raw, batch: Batch) -> ProposalLabels:
        """What the segments in a raw are examples of. A segment that is drawn is drawn for one reason, as it is an
        example of one thing."""
        if "drawn" not in raw:
            proposals = _proposals_of(batch)
            extent = batch.mask.sum(1)
            return label_proposals(proposals.segments, proposals.mask, _instances(batch), extent, self.config.rules)
        _, labels = self._learnt(batch)
        drawn, there = raw["drawn"], raw["there"]
        foreground, incomplete, background = (each.gather(1, drawn) & there for each in labels[:3])
        offsets = labels.offsets.gather(1, drawn[..., None].expand(-1, -1, 2))
        return ProposalLabels(foreground, incomplete, background, labels.labels.gather(1, drawn), offsets)

    @torch.no_grad()
    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the terms are divided by in training: as many are drawn of each kind as the settings say, or none."""
        config = self.config
        labels = self._learnt(batch)[1]
        foreground, background, incomplete = (
            each.any(1).long() * count
            for each, count in (
                (labels.foreground, config.drawn_foreground),
                (labels.background, config.drawn_background),
                (labels.incomplete, config.drawn_incomplete),
            )
        )
        return {
            "activity": (foreground + background).sum(),
            "completeness": completeness_count(foreground, incomplete, config.hard_share),
            "offsets": foreground.sum(),
        }

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Every proposal as a detection of every class, or of none with ``labels: external``: moved by the offsets of
        the class, cut to the piece of the window that shows it; all that reach ``score_threshold``.

        Raises:
            InputError: if a proposal's own score counts and is not in [0, 1].
        """
        config, proposals = self.config, _proposals_of(batch)
        scores = self._scores(raw, proposals)
        std, mean = (scores.new_tensor(each) for each in (config.offset_std, config.offset_mean))
        offsets = raw["offsets"].float() * std + mean
        moved = apply_offsets(proposals.segments[:, :, None], offsets)
        moved = clip_segments(moved, bounds_of(proposals.segments, batch.clip)[:, :, None])
        labels = torch.arange(self.classes, device=scores.device).expand_as(scores)
        if config.labels == "external":
            best = scores.argmax(-1, keepdim=True)
            scores = scores.gather(-1, best)
            moved = moved.gather(2, best[..., None].expand(-1, -1, -1, 2))
            labels = torch.full_like(best, -1)
        usable = proposals.mask[..., None] & (moved[..., 1] > moved[..., 0]) & (scores >= config.score_threshold)
        found = []
        for window, kept in enumerate(usable):
            number, column = kept.nonzero().unbind(1)
            order = scores[window, number, column].argsort(descending=True, stable=True)
            number, column = number[order], column[order]
            centers = proposals.segments[window, number].mean(-1)
            segments, score, label = (each[window, number, column] for each in (moved, scores, labels))
            found.append(StepDetections(segments, score, label, centers))
        return found

    def _scores(self, raw: Raw, proposals: PaddedProposals) -> Tensor:
        """(B, N, K) float32 in [0, 1]."""
        config, logits = self.config, raw["activity"].float()
        likely = logits.softmax(-1)[..., :-1] if config.softmax == "all" else logits[..., :-1].softmax(-1)
        ceiling = config.completeness_ceiling
        scores = likely.clamp(max=1) * (raw["completeness"].float().clamp(max=ceiling) - ceiling).exp()
        if not (config.proposal_score or config.labels == "external"):
            return scores
        wrong = (proposals.scores < 0) | (proposals.scores > 1)
        if wrong.any():
            raise InputError(
                f"method ssn: a proposal has the score {float(proposals.scores[wrong][0]):g}, but proposal_score and "
                "labels: external multiply by it; expected proposals with scores in [0, 1]"
            )
        return scores * proposals.scores[..., None]


def _proposals_of(batch: Batch) -> PaddedProposals:
    if batch.proposals is None:
        raise InputError("method ssn judges proposals, and this batch has none; see untrimmed.data.proposals")
    return batch.proposals


def _instances(batch: Batch) -> Instances:
    return pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])


def _extent(batch: Batch) -> Tensor:
    """(B,) the edge after the last step that shows something."""
    edges = torch.arange(1, batch.clip.shape[1] + 1, device=batch.clip.device)
    return (edges * batch.mask).amax(1) if len(edges) else batch.clip.new_zeros(len(batch), dtype=torch.int64)
