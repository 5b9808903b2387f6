"""The graph of the segments of a window (GCM, section 3.3): who overlaps, who is near, who looks alike.

Three kinds of edges lead from a segment i to those that lend to it::

    contextual    tIoU(i, j) > theta_ctx                                      Eq. 4
    surrounding   tIoU(i, j) = 0 and |c_i - c_j| / U(i, j) < theta_sur        Eq. 5    U: union
    semantic      j among the l nearest of i by cosine, and tIoU(i, j) = 0    Eq. 6

An edge that several kinds choose is one edge (Eq. 7). Edges are kept as lists of neighbours without padding, for at
2,000 proposals one may have 350 and the next none; rows are made in blocks, so that memory grows with N and the edges
and not with the square of N, and only those rows that are asked for (:meth:`SegmentGraph.edges`): a training step that
looks at a few segments needs a few rows.

Segments are half-open: those that touch are disjoint. One without length overlaps nothing. Features decide who is alike
but get no gradient here, as it is a choice.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.conv import widened
from untrimmed.layers.portable import nearest_steps, portable
from untrimmed.segments import center_width, tiou

Kind = Literal["contextual", "surrounding", "semantic"]

KINDS: dict[Kind, int] = {"contextual": 1, "surrounding": 2, "semantic": 4}
"""The bit of each kind in :attr:`Edges.kinds`."""

_CPU_BLOCK = 2**19
"""Pairs looked at at once on a CPU: few enough that they stay in its cache."""
_BLOCK = 2**24
"""Pairs looked at at once elsewhere: enough to occupy a GPU."""

_DENSE = 64
"""Pairs for each edge up to which all products of :func:`edge_cosines` cost less than those of the edges."""

_FEW = 16
"""Of each row, up to how many of the highest are found one after the other, and not by sorting."""

_GOLDEN, _MIX, _STIR = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""The constants of SplitMix64 as signed numbers."""


class Rules(NamedTuple):
    """Which edges there are.

    Attributes:
        kinds: of edges.
        contextual: theta_ctx, tIoU above which segments are joined.
        surrounding: theta_sur, distance below which disjoint segments are joined.
        distance: what divides the distance of centres: ``"union"``, the sum of both lengths, or ``"span"``, from the
            first start to the last end; with that all distances are below 1, and the ``nearest`` are joined instead of
            those below a threshold.
        nearest: how many, with ``"span"``; ties by index.
        semantic: l, at least 0; ties by index.
        semantic_order: ``"nearest_first"``: of the l most alike the disjoint ones; ``"disjoint_first"``: of the
            disjoint ones the l most alike.
    """

    kinds: tuple[Kind, ...] = ("contextual", "surrounding", "semantic")
    contextual: float = 0.7
    surrounding: float = 1.0
    distance: Literal["union", "span"] = "union"
    nearest: int = 2
    semantic: int = 2
    semantic_order: Literal["nearest_first", "disjoint_first"] = "nearest_first"


class Edges(NamedTuple):
    """Lists of neighbours, one after the other. Segment i of window b has the number ``b N + i``.

    Attributes:
        neighbours: (E,) int64, the numbers of those who lend.
        offsets: (R + 1,) int64; row r has the neighbours ``offsets[r]`` to ``offsets[r + 1]``, in rising order.
        kinds: (E,) uint8, by which kinds each was chosen: a sum of :data:`KINDS`.
    """

    neighbours: Tensor
    offsets: Tensor
    kinds: Tensor

    @property
    def degrees(self) -> Tensor:
        """(R,) int64, neighbours of each row."""
        return self.offsets.diff()

    def receivers(self) -> Tensor:
        """(E,) int64, the row of each edge."""
        rows = torch.arange(len(self.offsets) - 1, device=self.offsets.device)
        return rows.repeat_interleave(self.degrees, output_size=len(self.neighbours))

    def take(self, rows: Tensor) -> Edges:
        """Those of some rows (R',) int64, in their order."""
        degrees = self.degrees[rows]
        offsets = F.pad(degrees.cumsum(0), (1, 0))
        shift = (self.offsets[:-1][rows] - offsets[:-1]).repeat_interleave(degrees)
        at = torch.arange(len(shift), device=shift.device) + shift
        return Edges(self.neighbours[at], offsets, self.kinds[at])


def unit_rows(features: Tensor) -> Tensor:
    """Features (..., C) divided by their norm, in float32 at least. Zero stays zero, and its gradient finite."""
    with torch.autocast(features.device.type, enabled=False):
        wide = widened(features)
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        unit: Tensor = wide / norm.where(norm > 0, 1)
        return unit


class _Window(NamedTuple):
    """Of one window the segments that are there (n,), their features of norm 1 (n, C) and themselves (n, 2)."""

    there: Tensor
    unit: Tensor
    segments: Tensor


class SegmentGraph:
    """The graph of each window of a batch, whose edges are found when they are asked for.

    Args:
        features: (B, N, C), by which segments are alike.
        segments: (B, N, 2), in any one unit.
        mask: (B, N) bool, which of them there are; all if None. The others have no edges.
        rules: which edges there are.

    Raises:
        ValueError: for shapes that do not fit.
    """

    def __init__(
        self, features: Tensor, segments: Tensor, mask: Tensor | None = None, rules: Rules | None = None
    ) -> None:
        check_segments(features, segments, mask)
        self.rules = Rules() if rules is None else rules
        self.mask = torch.ones_like(features[..., 0], dtype=torch.bool) if mask is None else mask
        self.segments = widened(segments.detach())
        self.features = features.detach()
        self._windows: dict[int, _Window] = {}
        self._all: Edges | None = None

    @torch.no_grad()
    def edges(self, nodes: Tensor | None = None) -> Edges:
        """Those into some segments, or into all.

        Args:
            nodes: (R,) int64 numbers ``b N + i`` in rising order; all B N if None. Where many are asked
                for, all are found and kept.

        Returns:
            One row for each of the nodes.
        """
        if self._all is None:
            if nodes is not None and 2 * len(nodes) < int(self.mask.sum()):
                return self._rows(nodes)
            self._all = self._rows(torch.arange(self.mask.numel(), device=self.mask.device))
            self._windows.clear()
        return self._all if nodes is None else self._all.take(nodes)

    def _rows(self, nodes: Tensor) -> Edges:
        device, count = nodes.device, self.mask.shape[1]
        most = _CPU_BLOCK if device.type == "cpu" else _BLOCK
        degrees = torch.zeros(len(nodes), dtype=torch.int64, device=device)
        neighbours, kinds = [nodes[:0]], [nodes[:0].to(torch.uint8)]
        real = self.mask.flatten()[nodes].nonzero()[:, 0]
        window_of = nodes[real].div(max(1, count), rounding_mode="floor")
        windows, sizes = torch.unique_consecutive(window_of, return_counts=True)
        for window, mine in zip(windows.tolist(), torch.split(real, sizes.tolist()), strict=True):
            there, unit, segments = self._window(window)
            place = torch.searchsorted(there, nodes[mine] - window * count)
            size = max(1, most // len(there))
            for rows, receivers in zip(torch.split(place, size), torch.split(mine, size), strict=True):
                other = rows[:, None] != torch.arange(len(there), device=device)
                found = torch.zeros(other.shape, dtype=torch.uint8, device=device)
                for kind, chosen in _chosen(self.rules, unit[rows], segments[rows], unit, segments, other).items():
                    found += chosen.to(torch.uint8) * KINDS[kind]
                row, column = found.nonzero(as_tuple=True)
                degrees[receivers] = (found > 0).sum(1)
                neighbours.append(there[column] + window * count)
                kinds.append(found[row, column])
        return Edges(torch.cat(neighbours), F.pad(degrees.cumsum(0), (1, 0)), torch.cat(kinds))

    def _window(self, window: int) -> _Window:
        """Who is there in a window, their features of norm 1 and their segments; kept until all edges are known."""
        if window not in self._windows:
            there = self.mask[window].nonzero()[:, 0]
            seen = self.features[window] if "semantic" in self.rules.kinds else self.features[window, :, :0]
            self._windows[window] = _Window(there, unit_rows(seen[there]), self.segments[window][there])
        return self._windows[window]

    @torch.no_grad()
    def dense(self) -> Tensor:
        """(B, N, N) bool, the same edges as a matrix, whose row is who receives; by operators that export has."""
        own = torch.eye(self.mask.shape[1], dtype=torch.bool, device=self.mask.device)
        other = self.mask[:, :, None] & self.mask[:, None] & ~own
        unit = unit_rows(self.features.masked_fill(~self.mask[..., None], 0))
        chosen = _chosen(self.rules, unit, self.segments, unit, self.segments, other)
        found = torch.zeros_like(other)
        for each in chosen.values():
            found = found | each
        return found


def check_segments(features: Tensor, segments: Tensor, mask: Tensor | None) -> None:
    """Refuse shapes other than (B, N, C), (B, N, 2) and (B, N) with a ValueError."""
    if features.ndim != 3 or segments.shape != (*features.shape[:2], 2):
        raise ValueError(f"{features.shape = }, {segments.shape = }: expected (B, N, C) and (B, N, 2)")
    if mask is not None and (mask.shape != features.shape[:2] or mask.dtype != torch.bool):
        raise ValueError(f"{mask.shape = } of {mask.dtype}, expected {tuple(features.shape[:2])} of bool")


def _chosen(
    rules: Rules, unit_rows: Tensor, rows: Tensor, unit: Tensor, segments: Tensor, other: Tensor
) -> dict[Kind, Tensor]:
    """Who lends to whom, by kind: (..., R, n) bool.

    Args:
        rules: of the graph.
        unit_rows, rows: (..., R, C) and (..., R, 2), of those who receive.
        unit, segments: (..., n, C) and (..., n, 2), of those who may lend.
        other: (..., R, n) bool: both are there and not the same.
    """
    overlap = tiou(rows[..., :, None, :], segments[..., None, :, :])
    apart = other & (overlap == 0)
    found: dict[Kind, Tensor] = {}
    if "contextual" in rules.kinds:
        found["contextual"] = other & (overlap > rules.contextual)
    if "surrounding" in rules.kinds:
        centers, widths = center_width(segments)
        own_centers, own_widths = center_width(rows)
        gap = (own_centers[..., :, None] - centers[..., None, :]).abs()
        if rules.distance == "union":
            # As the segments are disjoint; not divided, so that two without length need no case of their own.
            found["surrounding"] = apart & (gap < rules.surrounding * (own_widths[..., :, None] + widths[..., None, :]))
        else:
            last = torch.maximum(rows[..., :, None, 1], segments[..., None, :, 1])
            span = last - torch.minimum(rows[..., :, None, 0], segments[..., None, :, 0])
            found["surrounding"] = _highest(-gap / span.where(span > 0, 1), apart, rules.nearest)
    if "semantic" in rules.kinds:
        with torch.autocast(unit.device.type, enabled=False):
            alike = unit_rows @ unit.mT
        if rules.semantic_order == "nearest_first":
            found["semantic"] = _highest(alike, other, rules.semantic) & apart
        else:
            found["semantic"] = _highest(alike, apart, rules.semantic)
    return found


def _highest(values: Tensor, allowed: Tensor, count: int) -> Tensor:
    """(..., R, n) bool: of each row the ``count`` highest of those allowed, ties by index."""
    ranked = values.masked_fill(~allowed, -torch.inf)
    chosen = torch.zeros_like(allowed)
    if portable():
        wide = F.pad(chosen.to(torch.int64), (0, count)).scatter(-1, nearest_steps(-ranked, count)[1], 1)
        return (wide[..., : values.shape[-1]] > 0) & allowed
    count = min(count, values.shape[-1])
    if count > _FEW:
        chosen.scatter_(-1, ranked.sort(dim=-1, descending=True, stable=True)[1][..., :count], value=True)
    else:
        for _ in range(count):
            best = ranked.argmax(-1, keepdim=True)
            chosen.scatter_(-1, best, value=True)
            ranked.scatter_(-1, best, -torch.inf)
    return chosen & allowed


def edge_cosines(unit: Tensor, edges: Edges) -> Tensor:
    """Eq. 8: the cosine of every edge, with gradient.

    Where there are many edges all products are computed, some rows at a time, and those of edges kept.

    Args:
        unit: (B, N, C) features of norm 1 or 0 (:func:`unit_rows`).
        edges: one row for each of the B N segments.

    Returns:
        (E,), in [-1, 1] to rounding.
    """
    batch, count, channels = unit.shape
    receivers, neighbours, found = edges.receivers(), edges.neighbours, [unit.new_zeros(0)]
    most = _CPU_BLOCK if unit.device.type == "cpu" else _BLOCK
    with torch.autocast(unit.device.type, enabled=False):
        if batch * count * count > _DENSE * len(neighbours):
            flat, part = unit.flatten(0, 1), max(1, most // max(1, channels))
            pairs = zip(torch.split(receivers, part), torch.split(neighbours, part), strict=True)
            return torch.cat([*found, *((flat[ours] * flat[theirs]).sum(-1) for ours, theirs in pairs)])
        size = max(1, most // max(1, count))
        starts = [(window, first) for window in range(batch) for first in range(0, count, size)]
        begin = 0
        for window, first in starts:
            last, zero = min(first + size, count), window * count
            end = int(edges.offsets[zero + last])
            products = unit[window, first:last] @ unit[window].mT
            found.append(products[receivers[begin:end] - (zero + first), neighbours[begin:end] - zero])
            begin = end
    return torch.cat(found)


def lend(values: Tensor, edges: Edges, shares: Tensor) -> Tensor:
    """What each row is lent: of values (M, C) the sum of its neighbours', times the shares (E,) -> (R, C).

    Zero where there is no neighbour. With gradient in values and shares; nothing of size (E, C) is built.
    """
    if not len(edges.neighbours):
        return values.new_zeros(len(edges.offsets) - 1, values.shape[1])
    total: Tensor = F.embedding_bag(
        edges.neighbours, values, edges.offsets, mode="sum", per_sample_weights=shares, include_last_offset=True
    )
    return total


def draw_neighbours(edges: Edges, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Some neighbours of each row, every one as likely as the next (Floyd's way, without a list of candidates).

    Args:
        edges: R rows.
        uniform: (R, S) numbers in [0, 1), at random.

    Returns:
        (R, S) int64 numbers: S different neighbours where there are as many, and S draws with replacement where there
        are fewer; and (R,) bool, whether there are any (what a row without neighbours holds means nothing).
    """
    size, degrees = uniform.shape[1], edges.degrees
    enough = degrees >= size
    picks: list[Tensor] = []
    for number in range(size):
        room = degrees.where(~enough, degrees - size + number + 1).clamp(min=1)
        pick = torch.minimum((uniform[:, number] * room).long(), room - 1)
        taken = torch.zeros_like(enough)
        for before in picks:
            taken = taken | (pick == before)
        # One that is taken gives way to the last of the room, which those before could not draw.
        picks.append(pick.where(~(taken & enough), room - 1))
    if not len(edges.neighbours):
        return degrees[:, None].expand(-1, size), degrees > 0
    at = edges.offsets[:-1, None] + torch.stack(picks, 1)
    return edges.neighbours[at.clamp(max=len(edges.neighbours) - 1)], degrees > 0


def spread_seeds(seeds: Tensor, layer: int, nodes: Tensor, per_window: int, size: int) -> Tensor:
    """Numbers that look drawn at random, made from one seed a window, so that those of a segment depend on the seed of
    its window, its place there and the layer, and on nothing else: not on padding, company or who else is asked for.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), stirred once for each of layer, place and number.

    Args:
        seeds: (B,) int64, any.
        layer: from 0.
        nodes: (R,) int64 numbers ``b N + i``.
        per_window: N.
        size: S, numbers for each.

    Returns:
        (R, S) float64 in [0, 1).
    """
    window, place = nodes.div(max(1, per_window), rounding_mode="floor"), nodes % max(1, per_window)
    state = _stirred(seeds[window] + layer)
    state = _stirred(state + (place + 1) * _GOLDEN)[:, None]
    state = _stirred(state + torch.arange(1, size + 1, device=nodes.device) * _GOLDEN)
    return ((state >> 11) & (2**53 - 1)).double() * 2.0**-53


def _stirred(state: Tensor) -> Tensor:
    # Shifts of signed numbers repeat the sign, so what comes from the left is cut off.
    state = (state ^ ((state >> 30) & (2**34 - 1))) * _MIX
    state = (state ^ ((state >> 27) & (2**37 - 1))) * _STIR
    return state ^ ((state >> 31) & (2**33 - 1))
