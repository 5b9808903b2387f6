"""VSGN: Video Self-Stitching Graph Network (Zhao, Thabet and Ghanem, ICCV 2021).

A short clip is put before the network twice in one window: as it is (clip O), then a gap of zeros, then stretched to
fill the rest (clip U)::

    steps   0              M     M+G                                      L
            |--- clip O ---| gap |----------------- clip U ---------------|

The windowing (:mod:`untrimmed.data.windows`) does that; here is the network: a pyramid of cross-scale graph networks
(section 3.3) and four heads (section 3.4). Steps of neither clip (gap, padding) are zero after every layer, neither
lend nor borrow features, and carry no anchors. A window without clip U is an ordinary window.

What the paper leaves open, and how it is settled
- Stem: one convolution of kernel 3 and stride 2 with ReLU, which the level lengths L / 2^(l+1) ask for.
- The level without xGN of Tables 2 and 4, "a Conv1d layer instead": a convolution of stride 2 with ReLU.
- Skip connection: convolution and ReLU on the encoder's level, added to the deconvolved coarser level, smoothed; the
  smoothed level is what goes on (:class:`untrimmed.layers.pyramid.TopDown`).
- Whose features M_adj and M_scr read: the finest level of the decoder. How M_adj reads them and in which unit it
  answers: see :class:`untrimmed.layers.boundary.BoundaryAdjust`. Curves are interpolated to the steps of the window,
  between the cells of the same piece: they borrow nothing from the gap, the padding or the other clip.
- L_scr: "computed the same way as the TEM losses" of BSN, so action counts twice (lambda = 2 there); the released code
  weighs the three curves alike, which is ``weight_action: 1``. Each curve's loss is that of
  :func:`untrimmed.losses.classification.balanced_terms`, with positives and negatives counted over the global batch.
- Start and end regions: a tenth of the length to either side, as BSN's paper says, but at least 1.5 steps.
- Anchors and what becomes of them are cut to the piece that holds the anchor's centre before they are matched, and
  when detections are made. The loss of M_loc sees them uncut, since a cut end has no gradient to bring it back.
- An anchor that matches instances of several classes is a positive of each. Instances without label make no
  positives and no negatives.
- Group normalisation looks at valid steps alone: how far a window is padded changes nothing.
- The bias of M_cls starts at a prior of 0.01, as the focal loss asks for.

Departures, off by default, both after the released code. ``keep_best``: an anchor that is the best of some instance is
a positive of the instance that is *its* best, without which many an instance has no positive anchor where anchors are
not much longer than the distance between them. ``class_loss: softmax``: cross-entropy over the classes and the
background, averaged over positives and over negatives apart; focal loss gives little weight to telling classes apart
once an anchor is known to be some action, which takes long to learn from few videos.

Where this differs from the released code though the paper is silent (docs/vsgn.md has all differences)
- M_scr has one tower for its three curves, not three; its logits are interpolated, not its probabilities; values stand
  at the centres of cells and steps (half-pixel), for curves and for clip U, where the released code aligns corners.
- M_adj reads by linear interpolation, not the nearest cell, and answers in eighths of the length, not in frames.
- Gap and padding are zero throughout and take no part, and detections are cut to pieces. With a gap of 0 too, so that
  rows c and g of Table 2 cannot show the predictions across both clips that the paper's gap removes.
- Segments are half-open intervals of real numbers, without "+1"; an anchor may be a positive of several instances.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.anchors import apply_offsets, clip_segments, pieces, pyramid_anchors
from untrimmed.layers.boundary import BoundaryAdjust, boundary_labels, inner_centers, read_curves
from untrimmed.layers.conv import Tower, masked, pad_steps
from untrimmed.layers.graph import EdgeConv, knn_graph
from untrimmed.layers.matching import Instances, Matches, match, pad_instances, take_instances
from untrimmed.layers.pyramid import PackedLevels, TopDown, clip_at
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import balanced_terms, focal_term, softmax_term
from untrimmed.losses.regression import giou_term
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.timemap import ORIGINAL, UPSCALED

STEM_STRIDE = 2


class Config(BaseModel):
    """Settings of VSGN; defaults are those of the paper on ActivityNet-v1.3 (section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(256, ge=1, description="C, throughout the network")
    levels: int = Field(5, ge=1, description="of the pyramid")
    neighbours: int = Field(10, ge=1, description="K, edges into a node of the graph")
    edges: Literal["half", "free", "cross"] = Field(
        "half", description="K/2 free and K/2 cross-scale edges, K free or K cross-scale ones (Table 5)"
    )
    graph_levels: tuple[int, ...] | None = Field(
        None, description="levels, from 1, that are xGNs; the others are a strided convolution (Table 4); None: all"
    )
    anchor_sizes: tuple[float, ...] = Field(
        (32.0, 48.0), min_length=1, description="lengths at the first level in steps; doubled from level to level"
    )
    class_agnostic: bool = Field(False, description="one score for any action; labels come by fusion")
    predictions: Literal["both", "original", "upscaled"] = Field(
        "both", description="the clip of a stitched window that detections are taken from (Table 3)"
    )
    head_blocks: int = Field(4, ge=1, description="blocks in M_loc and in M_cls")
    norm_groups: int = Field(32, ge=1, description="of the group normalisation; divides channels")
    tiou_loc: float = Field(0.6, gt=0, le=1, description="from which on an anchor is a positive of M_loc")
    tiou_cls: float = Field(0.6, gt=0, le=1, description="from which on a segment of M_loc is one of M_cls")
    tiou_adj: float = Field(0.7, gt=0, le=1, description="from which on a segment of M_loc is one of M_adj")
    weight_cls: float = Field(1.0, ge=0, description="lambda of Eq. 4")
    weight_adj: float = Field(1.0, ge=0, description="lambda of Eq. 4")
    weight_scr: float = Field(1.0, ge=0, description="lambda of Eq. 4")
    weight_action: float = Field(
        2.0,
        ge=0,
        description="of the action curve within L_scr, as in BSN's TEM; 1: all three alike (the released code)",
    )
    class_loss: Literal["focal", "softmax"] = Field(
        "focal", description="of M_cls; softmax is a departure: exclusive classes and background (the released code)"
    )
    focal_alpha: float = Field(0.25, gt=0, lt=1)
    focal_gamma: float = Field(2.0, ge=0)
    boundary_region: float = Field(0.1, gt=0, description="half width of start and end regions, in action lengths")
    boundary_least: float = Field(1.5, ge=0.5, description="smallest half width of these regions, in steps")
    score_threshold: float = Field(1e-4, ge=0, lt=1, description="detections with a lower score are dropped; 0: none")

    keep_best: bool = Field(
        False,
        description="departure: an anchor that is the best of some instance is a positive of its own best one, however "
        "low its tIoU (the released code)",
    )

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.channels % self.norm_groups:
            raise ValueError(f"norm_groups is {self.norm_groups}, expected a divisor of channels = {self.channels}")
        wrong = [level for level in self.graph_levels or () if not 1 <= level <= self.levels]
        if wrong:
            raise ValueError(f"graph_levels holds {wrong[0]}, expected levels from 1 to {self.levels}")
        if min(self.anchor_sizes) <= 0:
            raise ValueError(f"anchor_sizes are {self.anchor_sizes}, expected lengths above 0")
        return self


class CrossScaleGraph(nn.Module):
    """One level of the encoder, xGN (Fig. 4, Eqs. 2 and 3): ``pool(relu(graph branch + temporal branch))``."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        channels = config.channels
        self.neighbours, self.edges = config.neighbours, config.edges
        self.temporal = nn.Conv1d(channels, channels, 3, padding=1)
        self.graph = EdgeConv(channels, channels)

    def forward(self, features: Tensor, clip: Tensor) -> Tensor:
        """(B, C, T) of clips (B, T) -> (B, C, T / 2), of which the steps whose centres lie in no clip are not yet
        zero."""
        mask = clip > 0
        indices, valid = knn_graph(features, self.neighbours, mask, clip, kind=self.edges)
        mixed = self.temporal(features) + self.graph(features, indices, valid)
        return F.max_pool1d(masked(F.relu(mixed), mask), 2)


class PlainLevel(nn.Module):
    """A level of the encoder without xGN: "a Conv1d layer instead" (Tables 2 and 4), of stride 2, with ReLU."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.conv = nn.Conv1d(config.channels, config.channels, 3, stride=2, padding=1)

    def forward(self, features: Tensor, clip: Tensor) -> Tensor:
        """As :class:`CrossScaleGraph`."""
        return F.relu(self.conv(features))


class Head(nn.Module):
    """M_loc and M_cls: a tower, then a convolution of kernel 1; shared by all levels."""

    def __init__(self, config: Config, outputs: int) -> None:
        super().__init__()
        self.tower = Tower(config.channels, config.head_blocks, config.norm_groups)
        self.out = nn.Conv1d(config.channels, outputs * len(config.anchor_sizes), 1)
        self.outputs = outputs

    def forward(self, levels: Tensor, layout: PackedLevels) -> Tensor:
        """(B, C, P) side by side -> (B, outputs, A), in the order of the anchors."""
        values = layout.values(self.out(self.tower(levels, layout.sets)))
        by_size = values.view(values.shape[0], -1, self.outputs, values.shape[-1])
        return by_size.transpose(1, 2).flatten(2)


class Anchors(NamedTuple):
    """The anchors of a batch.

    Attributes:
        segments: (1, A, 2), the same in all windows, in steps.
        centers: (A,) their centres.
        bounds: (B, A, 2), the piece that holds the centre of each.
        clip: (B, A), which clip that is; 0 for anchors that take no part.
    """

    segments: Tensor
    centers: Tensor
    bounds: Tensor
    clip: Tensor


def _at_steps(curves: Tensor, clip: Tensor, stride: int) -> Tensor:
    """Curves (B, C, T / stride) at the steps of clips (B, T), each read between the centres of its piece's cells; steps
    of clip 0 get a value without meaning."""
    first, last = inner_centers(pieces(clip), stride)
    centers = torch.arange(clip.shape[1], dtype=torch.float32, device=clip.device) + 0.5
    return read_curves(curves, torch.minimum(torch.maximum(centers, first), last), stride)


class VSGN(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels; not used if class-agnostic.
    """

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.config = config
        self.classes = 1 if config.class_agnostic else classes
        self.strides = [STEM_STRIDE * 2 ** (level + 1) for level in range(config.levels)]
        self.multiple = self.strides[-1]
        graphs = range(1, config.levels + 1) if config.graph_levels is None else config.graph_levels
        self.stem = nn.Conv1d(channels, config.channels, 3, stride=STEM_STRIDE, padding=1)
        self.encoder = nn.ModuleList(
            CrossScaleGraph(config) if level + 1 in graphs else PlainLevel(config) for level in range(config.levels)
        )
        self.decoder = TopDown(config.channels, config.levels)
        self.loc = Head(config, 2)
        self.cls = Head(config, self.classes + (config.class_loss == "softmax"))
        self.adj = BoundaryAdjust(config.channels)
        self.scr = nn.Sequential(
            nn.Conv1d(config.channels, config.channels, 3, padding=1), nn.ReLU(), nn.Conv1d(config.channels, 3, 1)
        )
        prior = 0.01
        if config.class_loss == "focal":
            nn.init.constant_(self.cls.out.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length.

        Returns:
            With P the number of steps, padded to a multiple of the coarsest stride, and A the number of anchors:
            ``classes`` (B, K, A) logits, (B, K + 1, A) with the background last if the loss is softmax;
            ``located`` (B, A, 2) segments of M_loc, not cut to their pieces; ``adjusted`` (B, A, 2) those of M_adj;
            ``curves`` (B, 3, P) logits of action, start and end.
        """
        clip = pad_steps(batch.clip, self.strides[-1])
        anchors = self._anchors(clip)
        masks = [clip_at(clip, stride) > 0 for stride in self.strides]
        levels = self.decoder(self._encode(pad_steps(batch.features, self.strides[-1]), clip, masks), masks)
        layout = PackedLevels(masks)
        joined = layout.join(levels)
        located = apply_offsets(anchors.segments, self.loc(joined, layout).mT)
        finest, stride = levels[0], self.strides[0]
        return {
            "classes": self.cls(joined, layout),
            "located": located,
            "adjusted": self.adj(finest, clip_segments(located, anchors.bounds), anchors.bounds, stride),
            "curves": _at_steps(self.scr(finest).float(), clip, stride),
        }

    def _encode(self, features: Tensor, clip: Tensor, masks: list[Tensor]) -> list[Tensor]:
        nodes = clip_at(clip, STEM_STRIDE)
        current = masked(F.relu(self.stem(features)), nodes > 0)
        levels = []
        for level, mask, stride in zip(self.encoder, masks, self.strides, strict=True):
            current = masked(level(current, nodes), mask)
            nodes = clip_at(clip, stride)
            levels.append(current)
        return levels

    def _anchors(self, clip: Tensor) -> Anchors:
        """The anchors for clips (B, P), P a multiple of the coarsest stride."""
        segments = pyramid_anchors(clip.shape[1], self.strides, self.config.anchor_sizes, clip.device)
        # Strides are even, so centres are whole numbers but for rounding: each begins the second half of its cell.
        centers = segments.mean(-1).round()
        at = centers.long()
        return Anchors(segments[None], centers, pieces(clip)[:, at], clip[:, at])

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Eq. 4: M_loc (GIoU), M_cls (focal), M_adj (GIoU) and M_scr (the curves of action, start and end)."""
        config = self.config
        clip = pad_steps(batch.clip, self.strides[-1])
        anchors = self._anchors(clip)
        allowed = anchors.clip > 0
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        located = clip_segments(raw["located"], anchors.bounds)
        start = clip_segments(anchors.segments, anchors.bounds)
        loc = match(start, instances, allowed, config.tiou_loc, keep_best=config.keep_best)
        cls = match(located, instances, allowed, config.tiou_cls, keep_best=config.keep_best)
        adj = match(located, instances, allowed, config.tiou_adj, keep_best=config.keep_best)
        terms = {
            "loc": giou_term(raw["located"], take_instances(instances.segments, loc.nearest), loc.positive),
            **self._class_terms(raw["classes"], cls, instances, allowed),
            "adj": giou_term(
                raw["adjusted"],
                take_instances(instances.segments, adj.nearest),
                adj.positive,
                weight=config.weight_adj,
            ),
        }
        curves = boundary_labels(instances, clip.shape[1], region=config.boundary_region, least=config.boundary_least)
        for row, name in enumerate(("action", "start", "end")):
            weight = config.weight_scr * (config.weight_action if name == "action" else 1)
            terms[f"{name}_positive"], terms[f"{name}_negative"] = balanced_terms(
                raw["curves"][:, row], curves[:, row], clip > 0, weight=weight
            )
        return terms

    def _class_terms(self, logits: Tensor, cls: Matches, instances: Instances, allowed: Tensor) -> dict[str, LossTerm]:
        config = self.config
        labels = instances.labels.clamp(0, 0 if config.class_agnostic else None)
        if config.class_loss == "softmax":
            background = torch.full_like(cls.nearest, self.classes)
            negative = allowed & ~cls.ignored & ~cls.positive
            own = take_instances(labels, cls.nearest)
            return {
                "cls_positive": softmax_term(logits, own, cls.positive, weight=config.weight_cls),
                "cls_negative": softmax_term(logits, background, negative, weight=config.weight_cls),
            }
        of_class = F.one_hot(labels, self.classes).to(logits.dtype)
        wanted = (cls.pairs.to(of_class.dtype) @ of_class).clamp(max=1).mT
        focal = focal_term(
            logits,
            wanted,
            allowed & ~cls.ignored,
            count=cls.positive.sum(),
            alpha=config.focal_alpha,
            gamma=config.focal_gamma,
            weight=config.weight_cls,
        )
        return {"cls": focal}

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """Segments with the score ``c * p_start(start) * p_end(end)``, one per anchor and class.

        They are cut to the piece of their anchor. In stitched windows only those of the clips that ``predictions``
        names are given; windows without clip U give all. All that reach ``score_threshold`` are given.
        """
        clip = pad_steps(batch.clip, self.strides[-1])
        anchors = self._anchors(clip)
        segments = clip_segments(raw["adjusted"].float(), anchors.bounds)
        # Read between the centres of the piece's outermost steps: what lies beyond belongs to the gap.
        inner = segments.clamp(min=anchors.bounds[..., :1] + 0.5, max=anchors.bounds[..., 1:] - 0.5)
        curves = raw["curves"].float().sigmoid()
        edge = read_curves(curves[:, 1:2], inner[..., 0]) * read_curves(curves[:, 2:3], inner[..., 1])
        usable = (anchors.clip > 0) & (segments[..., 1] > segments[..., 0])
        if self.config.predictions != "both":
            wanted = ORIGINAL if self.config.predictions == "original" else UPSCALED
            stitched = (clip == UPSCALED).any(1, keepdim=True)
            usable &= (anchors.clip == wanted) | ~stitched
        logits = raw["classes"].float()
        softmax = self.config.class_loss == "softmax"
        classes = logits.softmax(1)[:, : self.classes] if softmax else logits.sigmoid()
        scores = (classes * edge).masked_fill(~usable[:, None], -1).flatten(1)
        best, index = scores.sort(descending=True, stable=True)
        count = anchors.clip.shape[1]
        found = []
        for row in range(len(batch)):
            kept = index[row, best[row] >= self.config.score_threshold]
            labels = torch.full_like(kept, -1) if self.config.class_agnostic else kept // count
            anchor = kept % count
            found.append(StepDetections(segments[row, anchor], best[row, : len(kept)], labels, anchors.centers[anchor]))
        return found

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The curves of M_scr, one entry per window: (T,) probabilities of action, start and end."""
        steps = batch.features.shape[-1]
        values = raw["curves"].float().sigmoid()[..., :steps]
        return [dict(zip(("action", "start", "end"), rows, strict=True)) for rows in values]
