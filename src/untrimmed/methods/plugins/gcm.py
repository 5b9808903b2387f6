"""GCM: Graph Convolutional Module (Zeng et al., TPAMI 2021), which lets the segments of a window know each other.

Segments are the nodes of a graph (:mod:`untrimmed.layers.segment_graph`, Eqs. 4 to 7). In each layer a segment takes
the mean of what its neighbours say, weighted by how alike they are, adds itself, and goes through one matrix::

    A_ij = cos(x_i, x_j)  where there is an edge                                        Eq. 8
    x_i  = relu( (1 / n sum_j A_ij x_j + x_i) W )   twice, C -> hidden -> C             Eqs. 1 and 18
    Y    = X + x                                                                        Eq. 2

:class:`GCM` fits every host that takes a :mod:`untrimmed.methods.plugins.context`, and any other code:
``GCM(channels=1024)(features, segments)``. All windows of a batch are done at once; in evaluation nothing as large as
edges times channels is built, and matrices are applied where there are fewer channels, as products may change places.

In training a segment hears ``sampled`` neighbours drawn anew in each layer (Eq. 18). They are drawn from the top: those
of the segments that are ``wanted``, then those of these, so that only what the wanted need is computed, edges included.
Draws come from torch's global random numbers of the CPU, one number for each window of the batch; all else follows from
that number, the layer and the segment's place in its window (:func:`untrimmed.layers.segment_graph.spread_seeds`), so
that what a segment hears depends neither on padding nor on who else is asked for, nor on windows that come later in the
batch. (Dropout is torch's own, and does.) In evaluation all neighbours are heard, and nothing is drawn.

What the paper leaves open, how it is settled, and departures
- Normalisation. Eq. 1 sums over neighbours, Eq. 18, for training, takes the mean of those drawn and adds the segment
  itself. Here testing takes the mean over all neighbours and adds the segment itself, so that both have one scale; the
  released code has that in training and testing alike. With fewer than ``sampled`` neighbours draws are with
  replacement, with enough without. A segment without neighbours hears itself only.
- l of Eq. 6 is not given: 2, as released. N_l(i) does not hold i. The released code takes the l most alike among the
  disjoint ones and, if fewer than l of these have a positive cosine, fewer: ``semantic_order: disjoint_first`` takes l
  whatever their sign.
- Eq. 5 divides by U, the union, with a threshold of 1: centres nearer than the sum of both lengths. The released code
  divides by the enclosing span, which makes all distances smaller than 1, and takes the 2 nearest (``distance: span``).
- Segments that touch are disjoint here; released frames, counted with both ends, overlap.
- Weights come from the input features in all layers, as Eq. 8 has no index of a layer. A zero feature has cosine 0.
  Negative weights are kept, as Eq. 8 says nothing else; released: cut (``negative: cut``). Gradients flow through the
  weights into features that have them.
- ReLU follows each layer, as in section 3.2; released: not the last (``last_relu: false``). Equation 1 has no bias;
  released: there is one (``bias: true``). Weights begin uniform within 1 / sqrt(outputs), as released.
- Dropout. "The dropout ratio is 0.8" (section 4.2) does not say where. In the authors' code of both papers dropout
  before the classifier is apart from that between layers, and the one published with 0.8 before the classifier has 0.7
  between layers; so 0.8 is read as the host's. Between layers here: 0.5, as released for GCM.
- ``weights: embedded`` is one linear map without bias for both sides, to ``embedding`` channels (C if null). ``weights:
  learned`` is the softmax of Table 8 over all segments of the window, the segment itself too; it needs no graph and is
  not sampled. The text calls it scaled dot-product attention, its formula has no scale: it is divided by the root of
  the channels, unless ``scaled: false``.
- ``aggregate: mean`` (Table 6) is the mean over the segment and its neighbours of the MLP's output, residual included;
  without ``self_add`` over its neighbours, if there are any. Of sampled neighbours the mean stands for all.
- With hosts whose segments are cells of one map, which are disjoint: ``edges: [surrounding, semantic]``. By the union a
  cell's neighbours in time are the two beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import widened
from untrimmed.layers.portable import portable
from untrimmed.layers.segment_graph import (
    Edges,
    Kind,
    Rules,
    SegmentGraph,
    check_segments,
    draw_neighbours,
    edge_cosines,
    lend,
    spread_seeds,
    unit_rows,
)


class Config(BaseModel):
    """Settings of GCM; defaults are those of the paper with SSN on THUMOS14."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    edges: tuple[Kind, ...] = Field(("contextual", "surrounding", "semantic"), description="kinds of edges (Table 9)")
    contextual: float = Field(0.7, ge=0, le=1, description="theta_ctx: tIoU above which segments are joined")
    surrounding: float = Field(1.0, ge=0, description="theta_sur: distance below which disjoint segments are joined")
    distance: Literal["union", "span"] = Field(
        "union", description="what divides that distance; span, as released: the `nearest` instead of a threshold"
    )
    nearest: int = Field(2, ge=0, description="surrounding edges of a segment, with `distance: span`")
    semantic: int = Field(2, ge=0, description="l, the most alike by cosine")
    semantic_order: Literal["nearest_first", "disjoint_first"] = Field(
        "nearest_first", description="of the l nearest the disjoint ones; or l of the disjoint ones, as released"
    )
    weights: Literal["cosine", "embedded", "learned"] = Field(
        "cosine", description="of edges: cosine; of a linear map (Table 7); or attention over all segments (Table 8)"
    )
    embedding: int | None = Field(None, ge=1, description="channels of that map or attention; None: as features have")
    scaled: bool = Field(True, description="divide that attention by the root of its channels")
    negative: Literal["keep", "cut"] = Field("keep", description="negative cosines; cut, as released: they become 0")
    self_add: bool = Field(True, description="a segment hears itself too (Table 7)")
    aggregate: Literal["graph", "none", "mean"] = Field(
        "graph",
        description="graph convolution; none: an MLP (Table 4); mean: its output pooled over neighbours (Table 6)",
    )
    depth: int = Field(2, ge=1, description="K, layers")
    hidden: int = Field(512, ge=1, description="channels between layers")
    bias: bool = Field(False, description="of layers; as released: true")
    last_relu: bool = Field(True, description="ReLU after the last layer too; as released: false")
    dropout: float = Field(0.5, ge=0, lt=1, description="between layers")
    residual: bool = Field(True, description="add the input (Eq. 2)")
    sampled: int | None = Field(4, ge=1, description="N_s, neighbours heard in training; None: all")

    @field_validator("edges")
    @classmethod
    def _once(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        if len(set(kinds)) != len(kinds):
            raise ValueError("expected none of contextual, surrounding, semantic twice")
        return kinds

    @model_validator(mode="after")
    def _check(self) -> Config:
        if self.weights == "learned" and self.aggregate == "mean":
            raise ValueError("weights is 'learned', which knows no neighbours, but aggregate is 'mean' over neighbours")
        return self

    @property
    def rules(self) -> Rules:
        """Those of the graph."""
        return Rules(
            self.edges,
            self.contextual,
            self.surrounding,
            self.distance,
            self.nearest,
            self.semantic,
            self.semantic_order,
        )


class _Hearing(NamedTuple):
    """What the receivers of one layer hear.

    Attributes:
        neighbours: values of lenders (M, C) -> (R, C), the weighted mean over the neighbours of each receiver.
        degrees: (R,) neighbours of each receiver.
        own: (R,) int64, the receivers among the lenders; None if they are the same.
    """

    neighbours: Callable[[Tensor], Tensor]
    degrees: Tensor
    own: Tensor | None = None


class GCM(nn.Module):
    """The module, a :class:`untrimmed.methods.plugins.context.Context`.

    Args:
        config: settings; those of the paper if None.
        channels: C, of the features.

    Attributes:
        channels: C; features keep their number of channels.
    """

    def __init__(self, config: Config | None = None, channels: int = 1024) -> None:
        super().__init__()
        self.config = Config() if config is None else config
        self.channels = channels
        widths = [channels, *[self.config.hidden] * (self.config.depth - 1), channels]
        self.layers = nn.ModuleList(
            nn.Linear(width, following, bias=self.config.bias) for width, following in pairwise(widths)
        )
        for parameter in self.layers.parameters():
            nn.init.uniform_(parameter, -(len(parameter) ** -0.5), len(parameter) ** -0.5)
        # Means have no weights, and an MLP no neighbours.
        weights = self.config.weights if self.config.aggregate == "graph" else "cosine"
        self.attentive = weights == "learned"
        self.needs_graph = not self.attentive and self.config.aggregate != "none"
        maps = {"cosine": 0, "embedded": 1, "learned": 2}[weights]
        size = self.config.embedding or channels
        self.maps = nn.ParameterList(nn.Linear(channels, size, bias=False).weight for _ in range(maps))

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> SegmentGraph | None:
        """The graph of each window, to be handed to several modules with the same kinds of edges.

        Args:
            features: (B, N, C), by which segments are alike.
            segments: (B, N, 2), in steps or seconds.
            mask: (B, N) bool, which of them there are; all if None.

        Returns:
            The graph, whose edges are found when they are needed; None if this module needs none.

        Raises:
            ValueError: for shapes that do not fit.
        """
        return SegmentGraph(features, segments, mask, self.config.rules) if self.needs_graph else None

    @torch.no_grad()
    def weights(self, features: Tensor, edges: Edges) -> Tensor:
        """A of Eq. 8: how much each edge counts, before the mean over neighbours.

        Args:
            features: (B, N, C).
            edges: a row for each of the B N segments.

        Returns:
            (E,) in [-1, 1] to rounding; 1 where the module takes plain means.
        """
        if self.config.aggregate != "graph":
            return torch.ones_like(edges.neighbours, dtype=torch.float32)
        return self._signed(edge_cosines(self._unit(widened(features)), edges))

    def forward(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: SegmentGraph | Edges | None = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        """Features of segments that know each other.

        Args:
            features: (B, N, C).
            segments: (B, N, 2), in steps or seconds.
            mask: (B, N) bool, which of them there are; all if None. The others lend nothing, and get zeros.
            edges: what :meth:`edges` gave for these segments, or edges of one's own, a row for each of the B N
                segments and none to one that is not there; made of these features if None.
            wanted: (B, M) int64, the segments whose features are asked for, in [0, N); all if None. In training what
                they do not need is not computed.

        Returns:
            (B, M, C), or (B, N, C) if ``wanted`` is None; float32 at least.

        Raises:
            ValueError: for shapes that do not fit.
        """
        mask = self._checked(features, segments, mask, edges)
        if not self.needs_graph:
            edges = None
        elif edges is None:
            edges = self.edges(features, segments, mask)
        with torch.autocast(features.device.type, enabled=False):
            if self.training and self.config.sampled is not None and edges is not None:
                return self._sampled(features, mask, edges, wanted, self.config.sampled)
            kept = widened(features.masked_fill(~mask[..., None], 0))
            if edges is None and not self.attentive:
                mixed = self._layers(_taken(kept, wanted), [None] * self.config.depth)
            else:
                hearing = self._hearing(features, kept, mask, edges)
                mixed = self._layers(kept.flatten(0, 1), [hearing] * self.config.depth).view(kept.shape)
                mixed = _taken(mixed, wanted)
            return mixed.masked_fill(~_taken(mask[..., None], wanted), 0)

    def _checked(
        self, features: Tensor, segments: Tensor, mask: Tensor | None, edges: SegmentGraph | Edges | None
    ) -> Tensor:
        check_segments(features, segments, mask)
        if features.shape[2] != self.channels:
            raise ValueError(f"{features.shape = }, expected (B, N, {self.channels})")
        rows = features.shape[0] * features.shape[1]
        given = edges.mask.numel() if isinstance(edges, SegmentGraph) else rows if edges is None else len(edges.degrees)
        if given != rows:
            raise ValueError(f"edges are those of {given} segments, features those of {rows}")
        return torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask

    def _layers(self, rows: Tensor, hearing: Sequence[_Hearing | None]) -> Tensor:
        """The K layers, residual and pooling: (M, C) -> (R, C), those who receive in the last."""
        first, config = rows, self.config
        for number, (layer, heard) in enumerate(zip(self.layers, hearing, strict=True)):
            assert isinstance(layer, nn.Linear)
            weight = layer.weight.to(rows.dtype)
            bias = layer.bias.to(rows.dtype) if config.bias else None
            if heard is None or config.aggregate != "graph":
                rows = F.linear(rows, weight, bias)
            elif heard.own is None and len(weight) < rows.shape[1]:
                rows = self._heard(F.linear(rows, weight), heard)
                rows = rows if bias is None else rows + bias
            else:
                rows = F.linear(self._heard(rows, heard), weight, bias)
                if heard.own is not None:
                    first = first[heard.own]
            last = number == config.depth - 1
            if not last or config.last_relu:
                rows = F.relu(rows)
            if not last:
                rows = F.dropout(rows, config.dropout, self.training)
        rows = rows + first if config.residual else rows
        heard = hearing[-1]
        return self._pooled(rows, heard) if config.aggregate == "mean" and heard is not None else rows

    def _heard(self, rows: Tensor, heard: _Hearing) -> Tensor:
        """Eq. 18 without W."""
        lent = heard.neighbours(rows)
        if not self.config.self_add:
            return lent
        return lent + (rows if heard.own is None else rows[heard.own])

    def _pooled(self, rows: Tensor, heard: _Hearing) -> Tensor:
        """The mean over a segment and its neighbours, or over these alone."""
        degrees = heard.degrees[:, None].to(rows.dtype)
        own = torch.ones_like(degrees) if self.config.self_add else (degrees == 0).to(rows.dtype)
        itself = rows if heard.own is None else rows[heard.own]
        return (degrees * heard.neighbours(rows) + own * itself) / (degrees + own)

    def _hearing(self, features: Tensor, kept: Tensor, mask: Tensor, edges: SegmentGraph | Edges | None) -> _Hearing:
        """What every segment hears of all its neighbours; features as they were given, and as they are kept."""
        if edges is None:
            return self._by_matrix(self._attention(kept, mask), mask.sum(1, keepdim=True).expand(mask.shape))
        if isinstance(edges, SegmentGraph) and portable():
            joined = edges.dense()
            return self._by_matrix(self._matrix(kept, joined), joined.sum(-1))
        all_edges = edges.edges() if isinstance(edges, SegmentGraph) else edges
        degrees = all_edges.degrees
        shares = (1 / degrees.clamp(min=1).to(kept.dtype))[all_edges.receivers()]
        if self.config.aggregate == "graph":
            same = isinstance(edges, SegmentGraph) and edges.features is features and not self.maps
            known = all_edges.cosines if same and not (torch.is_grad_enabled() and features.requires_grad) else None
            cosines = edge_cosines(self._unit(kept), all_edges) if known is None else known
            shares = shares * self._signed(cosines)
        return _Hearing(lambda rows: lend(rows, all_edges, shares), degrees)

    def _by_matrix(self, adjacency: Tensor, degrees: Tensor) -> _Hearing:
        """From A (B, N, N)."""

        def mixed(rows: Tensor) -> Tensor:
            return (adjacency @ rows.view(*adjacency.shape[:2], rows.shape[-1])).flatten(0, 1)

        return _Hearing(mixed, degrees.flatten())

    def _unit(self, rows: Tensor) -> Tensor:
        """Features (..., C) in the space of the cosine, of norm 1 or 0."""
        for weight in self.maps:
            rows = F.linear(rows, weight.to(rows.dtype))
        return unit_rows(rows)

    def _signed(self, cosines: Tensor) -> Tensor:
        return F.relu(cosines) if self.config.negative == "cut" else cosines

    def _matrix(self, kept: Tensor, joined: Tensor) -> Tensor:
        """The mean over neighbours as a matrix (B, N, N), for export."""
        shares = joined.to(kept.dtype) / joined.sum(-1, keepdim=True).clamp(min=1).to(kept.dtype)
        if self.config.aggregate == "mean":
            return shares
        unit = self._unit(kept)
        return shares * self._signed(unit @ unit.mT)

    def _attention(self, kept: Tensor, mask: Tensor) -> Tensor:
        """A of Table 8, (B, N, N): each row is a softmax over the segments that are there."""
        asking, asked = (F.linear(kept, weight.to(kept.dtype)) for weight in self.maps)
        scale = asking.shape[-1] ** -0.5 if self.config.scaled else 1.0
        scores = (asking @ asked.mT * scale).masked_fill(~mask[:, None], torch.finfo(kept.dtype).min)
        return scores.softmax(-1)

    def _sampled(
        self, features: Tensor, mask: Tensor, edges: SegmentGraph | Edges, wanted: Tensor | None, size: int
    ) -> Tensor:
        """:meth:`forward` with some neighbours, computed for those who are needed."""
        batch, count, channels = features.shape
        seeds = torch.randint(2**63 - 1, (batch,)).to(features.device)
        flat, there = features.flatten(0, 1), mask.flatten()
        starts = count * torch.arange(batch, device=features.device)[:, None]
        asked = starts + (torch.arange(count, device=features.device) if wanted is None else wanted)
        # From the top: the nodes of a layer, and, of each, who lends to it.
        nodes = [torch.unique(asked[there[asked]])]
        drawn: list[tuple[Tensor, Tensor]] = []
        for layer in range(self.config.depth if self.config.aggregate == "graph" else 1):
            receivers = nodes[-1]
            rows = edges.edges(receivers) if isinstance(edges, SegmentGraph) else edges.take(receivers)
            lenders, any_there = draw_neighbours(rows, spread_seeds(seeds, layer, receivers, count, size))
            lenders = lenders.where(any_there[:, None], receivers[:, None])
            drawn.append((lenders, rows.degrees))
            nodes.append(torch.unique(torch.cat((receivers, lenders.flatten()))))
        # From the bottom: features of all who are needed at all, and everybody's place among them.
        values = widened(flat[nodes[-1]])
        unit = self._unit(values) if self.config.aggregate == "graph" else values
        steps: list[_Hearing | None] = [
            self._drawn(unit, nodes[-1], below, receivers, *draw)
            for below, receivers, draw in zip(nodes[:0:-1], nodes[-2::-1], drawn[::-1], strict=True)
        ]
        plain = 0 if self.config.aggregate == "graph" else self.config.depth - 1
        mixed = self._layers(values, [*[None] * plain, *steps])
        result = mixed.new_zeros(*asked.shape, channels)
        return result.masked_scatter(there[asked][..., None], mixed[torch.searchsorted(nodes[0], asked[there[asked]])])

    def _drawn(
        self, unit: Tensor, everybody: Tensor, below: Tensor, receivers: Tensor, lenders: Tensor, degrees: Tensor
    ) -> _Hearing:
        """What some receivers hear of those that were drawn for them.

        Args:
            unit: of everybody who is needed at all.
            everybody, below, receivers: their numbers, rising; those who lend and those who receive in this layer.
            lenders: (R, S) numbers.
            degrees: (R,) of receivers; without neighbours they are their own lenders, with no share.
        """
        shares = (degrees > 0).to(unit.dtype)[:, None].expand(lenders.shape) / lenders.shape[1]
        if self.config.aggregate == "graph":
            theirs = torch.searchsorted(everybody, lenders)
            mine = unit[torch.searchsorted(everybody, receivers)]
            columns = [(mine * unit[column]).sum(-1) for column in theirs.unbind(1)]
            shares = shares * self._signed(torch.stack(columns, 1))
        places = torch.searchsorted(below, lenders)

        def by_draws(rows: Tensor) -> Tensor:
            if not len(places):
                return rows[:0]
            total: Tensor = F.embedding_bag(places, rows, mode="sum", per_sample_weights=shares.contiguous())
            return total

        return _Hearing(by_draws, degrees, torch.searchsorted(below, receivers))


def _taken(values: Tensor, wanted: Tensor | None) -> Tensor:
    """Of values (B, N, C) those wanted, (B, M)."""
    return values if wanted is None else values.gather(1, wanted[..., None].expand(-1, -1, values.shape[-1]))
