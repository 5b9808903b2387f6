"""Boundary matching: features of every proposal of a window (BMN, Lin et al., ICCV 2019, sections 3 and 4.2).

Proposals are all pairs of a start and an end on whole steps, at most D steps apart; put by length and start, they are
a map. Each is looked at with its surroundings, ``[s - x d, e + x d)`` for length d; the features are read at points
evenly spread over that region, both its ends among them, and consecutive points are averaged into bins::

    region      s - x d        s                            e        e + x d
                |--------------|============================|--------------|
    points      .    .    .    .    .    .    .    .    .    .    .    .    .

The paper multiplies the features with a mask of ``bins x T x D x T`` numbers and then convolves over the bins. The
mask is almost all zeros, and the convolution is linear: here each step is projected once for each bin, and a proposal
adds up the projections that it reads (:func:`untrimmed.layers.align.align_project`, as SGAlign does). Neither the mask
nor the features in bins are ever made, and only proposals that lie within the video are computed.

Steps are cells, whose value stands at their centre; outside the video features are zero. (The released code reads a
step at its left edge, half a step off.)
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from untrimmed.layers.align import AlignPattern, AlignProject
from untrimmed.layers.proposal_grid import ProposalGrid


class BoundaryMatching(nn.Module):
    """Boundary matching and the convolution over its bins (kernel ``bins x 1 x 1``), in one.

    Args:
        channels_in: C.
        channels_out: of the convolution.
        bins: N of the paper.
        context: x, how far the region reaches to either side, in lengths of the proposal.
        samples: points averaged into a bin.
    """

    def __init__(
        self, channels_in: int, channels_out: int, bins: int = 32, context: float = 0.25, samples: int = 1
    ) -> None:
        super().__init__()
        self.context, self.samples, self.bins = context, samples, bins
        self.project = AlignProject(channels_in, channels_out, bins)

    def forward(self, features: Tensor, grid: ProposalGrid, present: Tensor) -> Tensor:
        """The convolved features of the proposals that there are.

        Args:
            features: (B, C, T), zero where there is no video.
            grid: the proposals of a window of T steps, of step 1.
            present: (B, M) bool, which of them are asked for, see :meth:`ProposalGrid.present`.

        Returns:
            (P, C_out), one row for each that is present, window by window.
        """
        owner, number = present.nonzero().unbind(1)
        pattern = _pattern(grid.cells, grid.longest, self.bins, self.context, self.samples, features.device)
        projected: Tensor = self.project(features, pattern.select(number), owner)
        return projected


@lru_cache(maxsize=8)
def matching_grid(steps: int, longest: int | None, device: torch.device) -> ProposalGrid:
    """All proposals on whole steps of a window, at most ``longest`` steps long."""
    return ProposalGrid(steps, 1, longest, device)


@lru_cache(maxsize=8)
def _pattern(steps: int, longest: int, bins: int, context: float, samples: int, device: torch.device) -> AlignPattern:
    return AlignPattern(matching_grid(steps, longest, device).segments, bins, context, samples, ends=True)


def to_map(values: Tensor, grid: ProposalGrid, present: Tensor) -> Tensor:
    """Values of proposals as a map by length and start.

    Args:
        values: (P, C), of the proposals that are present, window by window.
        grid: of M proposals.
        present: (B, M) bool.

    Returns:
        (B, C, D, T): the proposal of d steps from step s on is at ``[d - 1, s]``; zero where there is none.
    """
    owner, number = present.nonzero().unbind(1)
    cells = values.new_zeros(len(present), grid.longest, grid.cells, values.shape[1])
    place = (owner, grid.lengths[number] - 1, grid.starts[number])
    return cells.index_put(place, values).movedim(-1, 1)


def from_map(cells: Tensor, grid: ProposalGrid, present: Tensor) -> Tensor:
    """Inverse of :func:`to_map`: (B, C, D, T) -> (P, C)."""
    owner, number = present.nonzero().unbind(1)
    return cells.movedim(1, -1)[owner, grid.lengths[number] - 1, grid.starts[number]]
