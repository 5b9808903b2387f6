"""SegTAD: temporal action detection by semantic segmentation (Zhao, Ramazanova, Xu and Ghanem, 2022).

Two networks, trained together. The segmentation network (1D-SSN, section 3.2) names the class of every step and finds
starts and ends. The proposal network (PDN, section 3.3) scores segments on a regular grid from the features of the
first, by graph convolutions over proposals that overlap::

    features --- 1D-SSN --- Y (B, C, T) --+-- class of each step           Eqs. 3, 4
                                          +-- start and end of actions     Eqs. 5 to 7
                                          +-- SGAlign --- PDN --- s1, s2   Eqs. 8 to 10       score = s1 * s2

There is no released code. What the paper leaves open, and how it is settled
- W of Eq. 1 is said to be C' x C', but meets two features side by side: it is 2 C' x C'. The branches of PAG are
  linear, as Eqs. 1 and 2 are; every other convolution is followed by ReLU, as are the edge convolutions of PDN, which
  would else be one linear map.
- K of the snippet graph is 4, the K of the other graph; a step is not its own neighbour (Eq. 1 has its own term). Its
  edges have a direction: A sums over the K nearest of a step. The paper says "connected" of both; with both directions
  a step that many others resemble would sum over all of them, hundreds of times what the others sum over.
- The highway has a quarter of the steps: it is interpolated too. A cell of a strided convolution is interpolated from
  the step where that convolution looks, cell i of stride 8 from step 8 i (by halves, as is common, it would be read 3.5
  steps early); the last valid value is held at the end.
- Background is one more class, the last: without it Eq. 3 could not say that nothing happens.
- A step is inside an action if its centre is; an action between two centres has the step of its middle. A step inside
  two actions has the class of the shorter, as the longer is seen at its other steps. Start and end labels are those of
  the first and last such step. Steps of instances without label train no class, but everything else.
- Labels know all that a window shows, so an action that its edge cuts has to be a target of full length there
  (``windows: {coverage: 0, whole_targets: true}`` where they slide): the window's edge is no boundary, the steps are
  not background, and tIoU is that with the action itself.
- Eq. 5 is the sum of both lines. Its labels are not balanced, since the equation has no weights for that.
- SGAlign: G-TAD's region, half a length to either side, 32 bins, and a linear map to C' with ReLU. G-TAD aligns, beside
  the steps, the mean of the three nearest of each by features (itself one of them), in 4 more bins on ActivityNet.
  SegTAD's text says that proposals are "extracted from video features Y", and its graph of steps is one of eighths,
  behind Y: the steps alone are the default, ``semantic`` adds the mean. Four samples a bin; G-TAD's released code takes
  as many as a bin has steps, rounded up (``bin_samples: null``).
- Attention is the cosine of these features d, as the paper writes it, in all three layers.
- Neighbours of a proposal overlap it; ties of tIoU, frequent on a grid, go to the lower number (by start, then length),
  so that the graph is the same everywhere. With centre distance the nearer length comes first: many share a centre.
- Sampling: seeds are drawn without replacement; where there are fewer positives (or negatives) than half, the others
  fill up. A proposal in the neighbourhoods of two seeds is computed once and counts twice. Every sampled proposal has a
  loss. Its edges are its top K of the whole graph as far as they are sampled; the outermost lack some, so sums are
  scaled up to K edges, the size they have in inference.
- L_r is weight decay, ``train.optim.weight_decay``: a squared sum of all weights at weight 1 would swamp the rest.
- Boundaries are not refined: the paper says that PDN does, but no equation does, and no loss could teach it.
- Batch normalisation stands where the paper has it, in the highway; its statistics are those of the valid steps of a
  forward pass, so with ``train.accumulate`` they, and the gradient, are not quite those of one large batch.

Where labels come from: with ``class_agnostic`` from video-level scores by fusion, as in the paper. Else from the
segmentation: a proposal's score is ``s1 * s2`` times the mean over its steps of the probability of a class. Where the
segmentation loss is off or binary (Tables 3 and 4) the classifier of steps still learns, but on features that pass no
gradient back, so that the rows differ in what supervises the features and labels exist in all.

Departures, off by default: ``length_input``, by which the weights of Eq. 9 depend on the length
(:class:`untrimmed.layers.proposal_grid.LengthLinear`), since aligned features look the same at every scale; and
``negative_seeds: lengths``, drawn evenly from octaves of length (``between``: by its root), since of seeds drawn
evenly from proposals hardly any is short. With both the first score follows the true overlap down to the shortest
proposals; on 50Salads that helps, on SBHAR it costs mAP.

For short actions, off by default: ``strides`` (the paper's eighth of the steps is too coarse where an action has
five), ``max_proposal`` (with a fine grid the number of proposals grows as window times longest, not as its square),
``balanced`` (a long action has hundreds of positive proposals and a short one ten; drawn evenly, the short would never
be seen).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.data.batch import Batch
from untrimmed.layers.align import AlignPattern, AlignProject
from untrimmed.layers.graph import GraphConv, cosine_attention, knn_graph, neighbour_mean
from untrimmed.layers.matching import Instances, pad_instances
from untrimmed.layers.proposal_grid import LengthLinear, ProposalGrid, Similarity
from untrimmed.layers.segmentation import Branch, FrameLabels, Hourglass, ParallelAtrousGraph, frame_labels
from untrimmed.losses import LossTerm
from untrimmed.losses.classification import sigmoid_term, softmax_term
from untrimmed.losses.regression import squared_term
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.segments import tiou


class Config(BaseModel):
    """Settings of SegTAD; defaults are those of the paper on ActivityNet-v1.3, but for labels and the length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: int = Field(256, ge=1, description="C', of the segmentation network")
    strides: tuple[Literal[1, 2], Literal[1, 2], Literal[1, 2]] = Field(
        (2, 2, 2), description="of the three convolutions of the encoder"
    )
    branches: tuple[Branch, ...] = Field(
        ("atrous", "graph", "global"), min_length=1, description="of PAG (Table 5): atrous, graph, global"
    )
    dilations: tuple[int, ...] = Field(
        (1, 10, 20, 30), min_length=1, description="of the atrous convolutions, in steps of the encoder (Table 6)"
    )
    neighbours: int = Field(4, ge=1, description="K of the graph over steps")
    segmentation: Literal["classes", "binary", "none"] = Field(
        "classes", description="what the segmentation loss tells apart (Tables 3 and 4)"
    )
    grid_step: int = Field(8, ge=1, description="eta of Eq. 8: starts and lengths of proposals are multiples, in steps")
    max_proposal: float | None = Field(None, gt=0, description="longest proposal in steps; None: as long as the window")
    proposal_channels: int = Field(256, ge=1, description="of the proposal network")
    bins: int = Field(32, ge=1, description="of SGAlign")
    bin_samples: int | None = Field(4, ge=1, description="positions read in each bin; None: one a step, rounded up")
    semantic: bool = Field(False, description="SGAlign also of the mean of the steps most similar to each step")
    semantic_neighbours: int = Field(3, ge=2, description="steps in that mean, the step itself among them")
    semantic_bins: int = Field(4, ge=1, description="of its alignment")
    context: float = Field(0.5, ge=0, description="what SGAlign sees to either side, in lengths of the proposal")
    pdn: Literal["graph", "conv"] = Field("graph", description="layers of the proposal network (Table 7)")
    pdn_layers: int = Field(3, ge=1)
    proposal_neighbours: int = Field(4, ge=1, description="K of the graph over proposals")
    similarity: Similarity = Field("tiou", description="of proposals: tiou or center (Table 8)")
    length_input: bool = Field(False, description="departure: the weights of Eq. 9 depend on a proposal's length")
    negative_seeds: Literal["lengths", "between", "proposals"] = Field(
        "proposals", description="drawn evenly from proposals; departures: from octaves of length, or between"
    )
    seeds: int = Field(50, ge=2, description="M0, seeds of the sampled neighbourhoods of a window")
    balanced: bool = Field(False, description="departure: positive seeds are drawn evenly from instances")
    tiou_positive: float = Field(0.5, gt=0, lt=1, description="tau, above which a proposal is a positive")
    weight_det: float = Field(1.0, ge=0, description="lambda 1 of Eq. 11")
    weight_aux: float = Field(1.0, ge=0, description="lambda 2 of Eq. 11")
    class_agnostic: bool = Field(False, description="detections have no label; labels come by fusion")
    labels_per_proposal: int = Field(2, ge=1, description="most classes a proposal is given")
    score_threshold: float = Field(1e-4, ge=0, lt=1, description="detections with a lower score are dropped; 0: none")

    @model_validator(mode="after")
    def _check(self) -> Config:
        if len(set(self.branches)) < len(self.branches):
            raise ValueError(f"branches are {self.branches}, expected each at most once")
        if min(self.dilations) < 1:
            raise ValueError(f"dilations are {self.dilations}, expected numbers of at least 1")
        if self.max_proposal is not None and self.max_proposal < self.grid_step:
            raise ValueError(f"max_proposal is {self.max_proposal}, expected at least grid_step = {self.grid_step}")
        return self


class EdgeHead(nn.Module):
    """Start or end curve (Eqs. 6 and 7): convolution of kernel 3, ReLU, linear; logits."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)
        self.out = nn.Conv1d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, T) -> (B, 1, T)."""
        logits: Tensor = self.out(F.relu(self.conv(features)))
        return logits


class Wires(NamedTuple):
    """N proposals of a batch as the network takes them.

    Attributes:
        pattern: what each reads of the features.
        mean_pattern: what it reads of the mean of similar steps; another number of bins.
        length: (N,) float32, in steps.
        owner: (N,) int64, the window of each.
        indices, valid: (N, K), which of them are neighbours, and which of these count.
    """

    pattern: AlignPattern
    mean_pattern: AlignPattern
    length: Tensor
    owner: Tensor
    indices: Tensor
    valid: Tensor


class ProposalNetwork(nn.Module):
    """PDN (section 3.3): aligned features, layers of edge convolutions, two logits per proposal (Eq. 9)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        channels = config.proposal_channels
        self.align = AlignProject(config.channels, channels, config.bins)
        graph = config.pdn == "graph"
        self.align_mean = AlignProject(config.channels, channels, config.semantic_bins) if config.semantic else None
        self.neighbours = config.semantic_neighbours - 1
        self.layers = nn.ModuleList(
            GraphConv(channels, channels) if graph else nn.Linear(channels, channels) for _ in range(config.pdn_layers)
        )
        self.graph = graph
        self.out = LengthLinear(channels, 2) if config.length_input else nn.Linear(channels, 2)

    def forward(self, features: Tensor, mask: Tensor, wires: Wires) -> Tensor:
        """Score N proposals of a batch.

        Args:
            features: (B, C, T).
            mask: (B, T) bool.
            wires: of the proposals.

        Returns:
            (N, 2) logits of s1 and s2.
        """
        nodes = self.align(features, wires.pattern, wires.owner)
        if self.align_mean is not None:
            similar = neighbour_mean(features, *knn_graph(features, self.neighbours, mask))
            nodes = nodes + self.align_mean(similar, wires.mean_pattern, wires.owner)
        nodes = F.relu(nodes)
        if not self.graph:
            for layer in self.layers:
                nodes = F.relu(layer(nodes))
        elif nodes.shape[0]:
            current, edges = nodes.mT[None], (wires.indices[None], wires.valid[None])
            attention = cosine_attention(current, *edges)
            for layer in self.layers:
                current = F.relu(layer(current, *edges, attention))
            nodes = current[0].mT
        told = (wires.length,) if isinstance(self.out, LengthLinear) else ()
        logits: Tensor = self.out(nodes, *told)
        return logits


@lru_cache(maxsize=8)
def _proposals(steps: int, config: Config, device: torch.device) -> tuple[ProposalGrid, AlignPattern, AlignPattern]:
    grid = ProposalGrid(steps, config.grid_step, config.max_proposal, device)
    both = (config.bins, config.semantic_bins)
    steps_of, means_of = (AlignPattern(grid.segments, bins, config.context, config.bin_samples) for bins in both)
    return grid, steps_of, means_of


class SegTAD(nn.Module):
    """The network.

    Args:
        config: settings.
        channels: of the features.
        classes: number of labels.
    """

    def __init__(self, config: Config, channels: int, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        width = config.channels
        pag = ParallelAtrousGraph(width, config.dilations, config.neighbours, config.branches)
        self.ssn = Hourglass(channels, width, config.strides, pag)
        named = config.segmentation == "classes" or not config.class_agnostic
        self.frames = nn.Conv1d(width, classes + 1, 1) if named else None
        self.inside = nn.Conv1d(width, 2, 1) if config.segmentation == "binary" else None
        self.start, self.end = EdgeHead(width), EdgeHead(width)
        self.pdn = ProposalNetwork(config)
        self.multiple = math.prod(config.strides)

    def forward(self, batch: Batch) -> Raw:
        """The network on windows of any length; windows that show an original clip alone (rescaled, sliding, whole).

        Returns:
            ``edges`` (B, 2, T) logits of start and end; ``frames`` (B, K + 1, T) logits of classes, background last,
            unless they are not needed; ``inside`` (B, 2, T) logits of action and background, if the segmentation is
            binary. In training ``features`` (B, C, T), as the proposals are sampled by the targets, in :meth:`loss`.
            Else ``scores`` (B, 2, M), logits of s1 and s2 of all proposals, 0 for those that reach past the video.
        """
        if not self.training:
            return self.wired(batch, self.wiring(batch.mask))
        features, raw = self._look(batch)
        return {**raw, "features": features}

    def wired(self, batch: Batch, wiring: Mapping[str, Tensor]) -> Raw:
        """What :meth:`forward` gives in evaluation, with what depends on the mask alone computed before. All shapes
        follow from those of the arguments, so the network can be recorded."""
        features, raw = self._look(batch)
        steps_of, means_of = (
            AlignPattern.of(*(wiring[name] for name in ("first", "shape_of", offsets, weights)))
            for offsets, weights in (("offsets", "weights"), ("mean_offsets", "mean_weights"))
        )
        rest = (wiring[name] for name in ("length", "owner", "indices", "valid"))
        logits = self.pdn(features, batch.mask, Wires(steps_of, means_of, *rest))
        scores = torch.cat((logits, logits.new_zeros(1, 2)))[wiring["place"]]
        return {**raw, "scores": scores.movedim(-1, 1)}

    @torch.no_grad()
    def wiring(self, mask: Tensor) -> dict[str, Tensor]:
        """The proposals of a batch, what they read and their graph, from the mask (B, T) bool.

        Returns:
            Of the N proposals within the video: ``length`` (N,) in steps; ``owner`` (N,), the window of each; ``first``
            (N,) and ``shape_of`` (N,), the step where it starts and its row in ``offsets`` and ``weights`` (S, bins,
            R), and ``mean_offsets`` and ``mean_weights`` likewise, see :class:`untrimmed.layers.align.AlignPattern`;
            ``indices`` and ``valid`` (N, K), its neighbours among the N, and which of them count. Of all M of a window:
            ``place`` (B, M), which of the N each is, N for none.
        """
        present = self._proposals(mask)[0].present(mask)
        nodes = present.flatten().nonzero()[:, 0]
        wires = self._wire(nodes, present, mask)
        place = nodes.new_full((present.numel(),), len(nodes))
        place[nodes] = torch.arange(len(nodes), device=nodes.device)
        return {
            "length": wires.length,
            "owner": wires.owner,
            "first": wires.pattern.first,
            "shape_of": wires.pattern.shape_of,
            "offsets": wires.pattern.offsets,
            "weights": wires.pattern.weights,
            "mean_offsets": wires.mean_pattern.offsets,
            "mean_weights": wires.mean_pattern.weights,
            "indices": wires.indices,
            "valid": wires.valid,
            "place": place.view(present.shape),
        }

    def _look(self, batch: Batch) -> tuple[Tensor, Raw]:
        """The features of steps, and what is said of them."""
        features = self.ssn(batch.features, batch.mask)
        raw = {"edges": torch.cat((self.start(features), self.end(features)), 1)}
        if self.frames is not None:
            taught = features if self.config.segmentation == "classes" else features.detach()
            raw["frames"] = self.frames(taught)
        if self.inside is not None:
            raw["inside"] = self.inside(features)
        return features, raw

    def _proposals(self, mask: Tensor) -> tuple[ProposalGrid, AlignPattern, AlignPattern]:
        return _proposals(mask.shape[1], self.config, mask.device)

    def _wire(self, nodes: Tensor, present: Tensor, mask: Tensor) -> Wires:
        """N nodes ``b M + m``, each given once; edges are those among them."""
        grid, pattern, mean_pattern = self._proposals(mask)
        count = max(1, len(grid))
        k = self.config.proposal_neighbours
        indices = nodes.new_zeros(len(nodes), k)
        valid = torch.zeros_like(indices, dtype=torch.bool)
        if self.config.pdn == "graph" and len(nodes):
            near, valid = grid.neighbours(nodes, present, k, self.config.similarity)
            place = nodes.new_full((present.numel(),), -1)
            place[nodes] = torch.arange(len(nodes), device=nodes.device)
            indices = place[near]
            valid = valid & (indices >= 0)
            indices = indices.clamp(min=0)
        rows = nodes % count
        length = (grid.lengths[rows] * grid.step).float()
        return Wires(pattern.select(rows), mean_pattern.select(rows), length, nodes // count, indices, valid)

    def loss(self, raw: Raw, batch: Batch) -> dict[str, LossTerm]:
        """Eq. 11, but for L_r: segmentation (Eq. 4), start and end (Eq. 5), tIoU and positive or not (Eq. 10).

        In training the last two are over sampled neighbourhoods, by torch's random numbers; of a raw made in
        evaluation they are over all proposals.
        """
        config, mask = self.config, batch.mask
        instances, truth = self._truth(batch)
        terms = self._segmentation(raw, truth, mask)
        for row, name in enumerate(("start", "end")):
            terms[name] = sigmoid_term(raw["edges"][:, row], truth.edges[:, row], mask, weight=config.weight_aux)
        grid = self._proposals(mask)[0]
        present = grid.present(mask)
        overlap, nearest = self._overlaps(grid, instances)
        if "scores" in raw:
            nodes = present.flatten().nonzero()[:, 0]
            logits = raw["scores"].movedim(1, -1).reshape(-1, 2)[nodes]
        else:
            nodes = self._sample(grid, present, overlap, nearest)
            once, place = torch.unique(nodes, return_inverse=True)
            logits = self.pdn(raw["features"], mask, self._wire(once, present, mask))[place]
        found = overlap.flatten()[nodes]
        everyone = torch.ones_like(found, dtype=torch.bool)
        positive = found > config.tiou_positive
        terms["overlap"] = squared_term(logits[:, 0].sigmoid(), found, everyone, weight=config.weight_det)
        terms["action"] = sigmoid_term(logits[:, 1], positive, everyone, weight=config.weight_det)
        return terms

    @torch.no_grad()
    def counts(self, batch: Batch) -> dict[str, Tensor | float]:
        """What the terms are divided by in training: steps, those whose class is known, and the proposals that are
        sampled, by the random numbers that :meth:`loss` draws for the batch."""
        mask, (instances, truth) = batch.mask, self._truth(batch)
        grid = self._proposals(mask)[0]
        sampled = len(self._sample(grid, grid.present(mask), *self._overlaps(grid, instances)))
        counts: dict[str, Tensor | float] = dict.fromkeys(("start", "end"), mask.sum())
        counts |= {"overlap": sampled, "action": sampled}
        if self.frames is not None:
            counts[self._frames_term] = _known(truth, mask).sum()
        if self.inside is not None:
            counts["segmentation"] = mask.sum()
        return counts

    @property
    def _frames_term(self) -> str:
        return "segmentation" if self.config.segmentation == "classes" else "labels"

    @staticmethod
    def _truth(batch: Batch) -> tuple[Instances, FrameLabels]:
        instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
        return instances, frame_labels(instances, batch.mask.shape[1])

    def _segmentation(self, raw: Raw, truth: FrameLabels, mask: Tensor) -> dict[str, LossTerm]:
        terms = {}
        if "frames" in raw:
            labels = truth.labels.where(truth.labels >= 0, self.classes)
            terms[self._frames_term] = softmax_term(raw["frames"], labels, _known(truth, mask))
        if "inside" in raw:
            terms["segmentation"] = softmax_term(raw["inside"], (~truth.inside).long(), mask)
        return terms

    @torch.no_grad()
    def _overlaps(self, grid: ProposalGrid, instances: Instances) -> tuple[Tensor, Tensor]:
        """(B, M) tIoU of each proposal with the instance it overlaps most, and (B, M) which that is."""
        real = (instances.labelled | instances.unlabelled)[:, None]
        table = tiou(grid.segments[None, :, None], instances.segments[:, None]) * real
        best = table.max(-1)
        return best.values, best.indices

    @torch.no_grad()
    def _sample(self, grid: ProposalGrid, present: Tensor, overlap: Tensor, nearest: Tensor) -> Tensor:
        """(S,) int64 nodes, those of several neighbourhoods several times."""
        config = self.config
        positive = present & (overlap > config.tiou_positive)
        negative = present & ~positive
        weight = torch.ones_like(overlap)
        if config.balanced:
            of_instance = overlap.new_zeros(len(overlap), int(nearest.max()) + 1 if nearest.numel() else 1)
            of_instance.scatter_add_(1, nearest, positive.to(overlap.dtype))
            weight = 1 / of_instance.clamp(min=1).gather(1, nearest)
        counts = positive.sum(1), negative.sum(1)
        half = config.seeds // 2
        take = torch.minimum(counts[0], (config.seeds - counts[1]).clamp(min=half))
        power = {"proposals": 0.0, "between": 0.5, "lengths": 1.0}[config.negative_seeds]
        even = torch.ones_like(weight) / grid.lengths**power
        seeds = torch.cat((_draw(weight, positive, take), _draw(even, negative, config.seeds - take)))
        nodes, counted = grid.neighbourhoods(seeds, present, config.proposal_neighbours, config.similarity)
        return nodes[counted]

    @torch.no_grad()
    def decode(self, raw: Raw, batch: Batch) -> list[StepDetections]:
        """All proposals within the video with the score ``s1 * s2``, or that times the mean probability of a class
        for the likeliest ``labels_per_proposal``; all that reach ``score_threshold``."""
        config, mask = self.config, batch.mask
        grid = self._proposals(mask)[0]
        scores = raw["scores"].float().sigmoid().prod(1)[:, None]
        labels = torch.full_like(scores, -1, dtype=torch.int64)
        if not config.class_agnostic:
            likely, labels = self._labels(raw["frames"].float(), grid)
            scores = scores * likely
        scores = scores.where(grid.present(mask)[:, None] & (scores >= config.score_threshold), 0)
        found = []
        for row, names in zip(scores, labels, strict=True):
            rank, number = (row > 0).nonzero().unbind(1)
            score, label = row[rank, number], names[rank, number]
            order = score.argsort(descending=True, stable=True)
            segments = grid.segments[number[order]]
            found.append(StepDetections(segments, score[order], label[order], segments.mean(-1)))
        return found

    def _labels(self, frames: Tensor, grid: ProposalGrid) -> tuple[Tensor, Tensor]:
        """(B, L, M) mean probabilities of the likeliest classes of each proposal, and the classes."""
        sums = F.pad(frames.softmax(1)[:, :-1].cumsum(-1), (1, 0))
        start, end = grid.segments.long().unbind(-1)
        mean = (sums[..., end] - sums[..., start]) / (end - start)
        likely = mean.topk(min(self.config.labels_per_proposal, self.classes), dim=1)
        return likely.values.clamp(0, 1), likely.indices

    @torch.no_grad()
    def curves(self, raw: Raw, batch: Batch) -> list[dict[str, Tensor]]:
        """The probability of every class, of an action, of a start and of an end at every step, window by window:
        name -> (T,) float32 in [0, 1], 0 where the window shows nothing."""
        mask = batch.mask.float()[:, None]
        steps = mask.shape[-1]
        curves: dict[str, Tensor] = {}
        if "frames" in raw:
            each = raw["frames"][..., :steps].float().softmax(1) * mask
            curves = {f"class {number}": each[:, number] for number in range(self.classes)}
            curves["action"] = each[:, :-1].sum(1).clamp(max=1)
        if "inside" in raw:
            curves["action"] = (raw["inside"][..., :steps].float().softmax(1) * mask)[:, 0]
        edges = raw["edges"][..., :steps].float().sigmoid() * mask
        curves |= {"start": edges[:, 0], "end": edges[:, 1]}
        return [{name: values[row] for name, values in curves.items()} for row in range(len(batch))]


def _known(truth: FrameLabels, mask: Tensor) -> Tensor:
    """(B, T) bool: the steps whose class is known."""
    return mask & ((truth.labels >= 0) | ~truth.inside)


def _draw(weight: Tensor, allowed: Tensor, count: Tensor) -> Tensor:
    """Nodes drawn without replacement in proportion to their weight (Efraimidis and Spirakis, 2006).

    Args:
        weight: (B, M), above 0.
        allowed: (B, M) bool.
        count: (B,) how many of each row, or all that are allowed if they are fewer.

    Returns:
        (S,) int64 nodes ``b M + m``, row by row.
    """
    # The largest of -E / weight, E exponential, are such a draw.
    keys = torch.empty_like(weight).exponential_().div_(-weight).masked_fill_(~allowed, -torch.inf)
    most = int(torch.minimum(count, allowed.sum(1)).max()) if len(count) else 0
    best = keys.topk(most, dim=1)
    kept = (torch.arange(most, device=keys.device) < count[:, None]) & torch.isfinite(best.values)
    rows = torch.arange(len(weight), device=keys.device)[:, None] * weight.shape[1]
    return (best.indices + rows)[kept]
