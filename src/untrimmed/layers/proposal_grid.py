"""Proposals on a regular grid, their graph, neighbourhoods sampled from it (SegTAD, section 3.3), and a linear layer
that knows their length.

Every proposal ``[s, e)`` whose ends are multiples of a step eta is one; M grows with the square of the video's length,
so the graph is never an M x M matrix. It need not be: how much two proposals overlap depends on the length of the
first and on how far both ends of the second lie from those of the first, not on where they lie. So for each length
all moves of the two ends are ranked once, and the neighbours of a proposal are the first K moves that lead to another
proposal.

Only moves near to none can be among the first K. Where two proposals overlap, moving an end of the second back towards
the first one's makes them overlap more, so each move has better ones between itself and no move at all, and few moves
have fewer than K such; :func:`_moves` enumerates those, and a test holds the result to the full matrix.

Proposals are numbered by start, then by length; ties of similarity are broken by that number. In a batch of windows,
proposal m of window b is node ``b * M + m``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.segments import tiou

Similarity = Literal["tiou", "center"]

_BLOCK = 2**21
"""Candidate edges looked at in one go: bounds the memory."""

_SHORT = 4
"""Moves that are tried first, for each that is wanted: enough for all but those near the ends of the video."""


class ProposalGrid:
    """All ``[i * step, (i + j) * step)`` within a window, ``i >= 0``, ``j >= 1`` (SegTAD, Eq. 8).

    Args:
        steps: T, of the window.
        step: eta, at least 1.
        longest: greatest length of a proposal in steps, at least ``step``; None: the window.
        device: of the tensors.

    Attributes:
        starts: (M,) int64, i.
        lengths: (M,) int64, j.
        segments: (M, 2) float32, in steps of the window.
        longest: greatest j.

    Raises:
        ValueError: for a value outside its range.
    """

    def __init__(
        self, steps: int, step: int = 8, longest: float | None = None, device: torch.device | None = None
    ) -> None:
        if step < 1 or (longest is not None and longest < step):
            raise ValueError(f"{step = }, {longest = }: expected a step of at least 1, and none longer than the rest")
        self.cells, self.step = steps // step, step
        self.longest = self.cells if longest is None else min(self.cells, int(longest // step))
        index = torch.arange(self.cells, device=device)
        counts = (self.cells - index).clamp(max=self.longest)
        self._base = counts.cumsum(0) - counts
        self.starts = index.repeat_interleave(counts)
        self.lengths = torch.arange(len(self.starts), device=device) - self._base[self.starts] + 1
        ends = self.starts + self.lengths
        self.segments = torch.stack((self.starts, ends), -1).float() * step

    def __len__(self) -> int:
        return len(self.starts)

    def number(self, starts: Tensor, lengths: Tensor) -> Tensor:
        """The number m of the proposal with that start i and length j, -1 where there is none; any shape, int64."""
        exists = (starts >= 0) & (lengths >= 1) & (lengths <= self.longest) & (starts + lengths <= self.cells)
        return torch.where(exists, self._base[starts.clamp(0, max(0, self.cells - 1))] + lengths - 1, -1)

    def present(self, mask: Tensor) -> Tensor:
        """(B, M) bool: the proposals that lie in steps that show something, of a mask (B, T) bool."""
        shown = F.pad(mask.long().cumsum(1), (1, 0))
        start, end = (self.segments.long()).unbind(-1)
        return shown[:, end] - shown[:, start] == end - start

    @torch.no_grad()
    def neighbours(
        self,
        nodes: Tensor,
        present: Tensor,
        k: int,
        similarity: Similarity = "tiou",
        *,
        taken: Tensor | None = None,
        among: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The k proposals most similar to each node, of the same window, the most similar first.

        Args:
            nodes: (Q,) int64 nodes of a batch.
            present: (B, M) bool, which proposals there are; those of a window lie in runs of shown steps, as
                :meth:`present` gives them. With ``"center"`` a window should have one run: no edge is promised to
                lead from one to another.
            k: K, at least 1.
            similarity: ``"tiou"``, of those that overlap; or ``"center"``: the distance of centres, then the
                difference of lengths.
            taken: (Q, M) bool, for each node the proposals that may not be its neighbours; None for none.
            among: the greatest number of proposals taken from any node, plus k; needed with ``taken``.

        Returns:
            (Q, K) int64 nodes and (Q, K) bool, which of them are neighbours: where there are fewer than K, the others
            hold the node itself. A node is never its own neighbour.
        """
        moves = _moves(self.longest, among or k, similarity).to(nodes.device)
        block = max(1, _BLOCK // max(1, moves.shape[1]))
        if len(nodes) > block:
            parts = [slice(first, first + block) for first in range(0, len(nodes), block)]
            found = [
                self.neighbours(
                    nodes[p], present, k, similarity, taken=None if taken is None else taken[p], among=among
                )
                for p in parts
            ]
            return torch.cat([nodes for nodes, _ in found]), torch.cat([valid for _, valid in found])
        # Moves come best first, so whoever finds K among the first ones needs to look no further.
        indices, valid = self._first(nodes, present, k, moves[:, : _SHORT * (among or k)], taken)
        lacking = (~valid.all(1)).nonzero()[:, 0]
        if len(lacking):
            rest = None if taken is None else taken[lacking]
            indices[lacking], valid[lacking] = self._first(nodes[lacking], present, k, moves, rest)
        return indices, valid

    def _first(
        self, nodes: Tensor, present: Tensor, k: int, moves: Tensor, taken: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The first k of the moves (J, P, 2) that lead each node to a proposal it may have."""
        window, number = nodes // max(1, len(self)), nodes % max(1, len(self))
        moved = moves[self.lengths[number] - 1]
        candidates = self.number(self.starts[number, None] + moved[..., 0], self.lengths[number, None] + moved[..., 1])
        allowed = candidates >= 0
        candidates = candidates.clamp(min=0)
        allowed &= present[window[:, None], candidates]
        if taken is not None:
            allowed &= ~taken.gather(1, candidates)
        count = moves.shape[1]
        place = torch.where(allowed, torch.arange(count, device=nodes.device), count)
        best = F.pad(place.topk(min(k, count), dim=1, largest=False).values, (0, max(0, k - count)), value=count)
        there = best < count
        chosen = candidates.gather(1, best.clamp(max=count - 1))
        return torch.where(there, chosen, number[:, None]) + window[:, None] * len(self), there

    @torch.no_grad()
    def neighbourhoods(
        self, seeds: Tensor, present: Tensor, k: int, similarity: Similarity = "tiou"
    ) -> tuple[Tensor, Tensor]:
        """Two hops around seed proposals (SegTAD, section 3.3, after SAGE: Hamilton et al., NeurIPS 2017).

        Each seed with its top k neighbours, and for each of those, one after the other, its top k among the proposals
        not yet in that seed's list.

        Args:
            seeds: (S,) int64 nodes of a batch.
            present, k, similarity: as of :meth:`neighbours`.

        Returns:
            (S, 1 + K + K K) int64 nodes and bool, which of them count: the seed, its neighbours, then theirs. Within a
            seed's list no node that counts occurs twice; what does not count holds the seed.
        """
        rows = torch.arange(len(seeds), device=seeds.device)[:, None]
        taken = torch.zeros(len(seeds), len(self), dtype=torch.bool, device=seeds.device)
        most = 1 + k + k * k
        near, valid = self.neighbours(seeds, present, k, similarity)
        nodes, counts = [seeds[:, None], near], [torch.ones_like(seeds, dtype=torch.bool)[:, None], valid]
        taken[rows, seeds[:, None] % max(1, len(self))] = True
        taken[rows, near % max(1, len(self))] = True
        for slot in range(k):
            far, valid = self.neighbours(near[:, slot], present, k, similarity, taken=taken, among=most)
            # A slot without neighbour holds the seed, which has had its turn.
            valid = valid & counts[1][:, slot, None]
            far = torch.where(valid, far, seeds[:, None])
            taken[rows, far % max(1, len(self))] = True
            nodes.append(far)
            counts.append(valid)
        return torch.cat(nodes, 1), torch.cat(counts, 1)


@lru_cache(maxsize=16)
def _moves(longest: int, k: int, similarity: Similarity) -> Tensor:
    """(J, P, 2) int64: for each length, from 1, the moves that may be among the first k, the best first: by how much
    the start moves and by how much the length changes.

    With x and y the moves of start and end, tIoU: at least ``|x| + |y| - 1`` moves are better, for ends may be moved
    back one by one; and, of the moves between it and none, all, or at least half where a greatest length forbids some:
    ``(|x| + 1) (|y| + 1) / 2 - 2``. Distance of centres: moving back both ends by one, or one of them, is better, so at
    least ``max(|x|, |y|) - 1`` moves are.
    """
    reach = torch.arange(-k, k + 1)
    start, end = (each.flatten() for each in torch.meshgrid(reach, reach, indexing="ij"))
    possible = (start != 0) | (end != 0)
    if similarity == "tiou":
        possible &= (start.abs() + end.abs() <= k) & ((start.abs() + 1) * (end.abs() + 1) < 2 * (k + 2))
    start, end = start[possible], end[possible]
    length = torch.arange(1, longest + 1)[:, None]
    if similarity == "tiou":
        own = torch.stack((torch.zeros_like(length), length), -1).double()
        moved = torch.stack((start.expand(longest, -1), length + end), -1).double()
        # Quotients of small whole numbers: equal overlaps are equal to the last bit, and others differ.
        overlap = tiou(own, moved)
        cost, possible = -overlap, overlap > 0
    else:
        cost = (start + end).abs() * (4.0 * k + 1) + (end - start).abs().expand(len(length), -1)
        possible = (length + end - start) > 0
    order = cost.where(possible, torch.inf).argsort(dim=1, stable=True)
    change = torch.stack((start, end - start), -1)[order]
    # What is impossible is moved off every grid.
    return torch.where(possible.gather(1, order)[..., None], change, torch.tensor([0, -longest - 1]))


class LengthLinear(nn.Module):
    """A linear layer whose weights and bias depend on the length of the proposal.

    To common weights are added those of a power of two, or, between two powers, of both, linear in the logarithm of the
    length. The additions are zero at first.

    Args:
        channels: C.
        outputs: of the result.
    """

    OCTAVES = 16

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.common = nn.Linear(channels, outputs)
        self.added = nn.Parameter(torch.zeros(self.OCTAVES + 1, outputs, channels + 1))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Features (N, C) and lengths (N,) -> (N, outputs); below 1 and above the last power the additions are held."""
        place = length.log2().clamp(0, self.OCTAVES)
        knots = torch.arange(self.OCTAVES + 1, device=length.device, dtype=length.dtype)
        shares = (1 - (place[:, None] - knots).abs()).clamp(min=0)
        every = F.linear(F.pad(features, (0, 1), value=1.0), self.added.flatten(0, 1))
        every = every.view(every.shape[0], *self.added.shape[:2])
        common: Tensor = self.common(features)
        return common + (every * shares[..., None].to(every.dtype)).sum(1)
