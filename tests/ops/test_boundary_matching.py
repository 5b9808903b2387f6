"""Boundary matching, against loops over the definition and against the dense mask it does without."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from untrimmed.layers.align import AlignPattern, sgalign
from untrimmed.layers.boundary_matching import BoundaryMatching, from_map, matching_grid, to_map
from untrimmed.layers.conv import masked
from untrimmed.layers.proposal_grid import ProposalGrid

CPU = torch.device("cpu")


def points(start: float, end: float, bins: int, context: float, samples: int) -> list[list[float]]:
    """Where each bin reads."""
    low, high = start - context * (end - start), end + context * (end - start)
    count = bins * samples
    every = [low + (high - low) * k / (count - 1) for k in range(count)]
    return [every[k * samples : (k + 1) * samples] for k in range(bins)]


def mask_column(start: float, end: float, steps: int, bins: int, context: float, samples: int) -> Tensor:
    """(T, bins): the weight of each step in each bin, as the paper writes it down."""
    column = torch.zeros(steps, bins, dtype=torch.float64)
    for k, positions in enumerate(points(start, end, bins, context, samples)):
        for position in positions:
            below = math.floor(position - 0.5)
            share = position - 0.5 - below
            for step, weight in ((below, 1 - share), (below + 1, share)):
                if 0 <= step < steps:
                    column[step, k] += weight / samples
    return column


def by_mask(features: Tensor, longest: int, layer: BoundaryMatching) -> Tensor:
    """(B, C_out, D, T) by the mask of all pairs, zero where a proposal reaches past the window."""
    batch, _, steps = features.shape
    weight, bias = layer.project.weight.double(), layer.project.bias.double()
    found = torch.zeros(batch, weight.shape[2], longest, steps, dtype=torch.float64)
    for d in range(1, longest + 1):
        for s in range(steps - d + 1):
            column = mask_column(s, s + d, steps, layer.bins, layer.context, layer.samples)
            matched = features.double() @ column  # (B, C, bins)
            found[:, :, d - 1, s] = torch.einsum("bck,kco->bo", matched, weight) + bias
    return found


def some_features(windows: int, channels: int, steps: int) -> Tensor:
    return torch.randn(windows, channels, steps, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("bins", "context", "samples"), [(4, 0.25, 1), (3, 0.5, 3), (1, 0.0, 2), (2, 1.0, 1)])
def test_the_points_of_the_pattern_are_those_of_the_loop(bins: int, context: float, samples: int) -> None:
    segments = torch.tensor([[0, 4], [2, 3], [0, 12], [2.3, 2.9], [7.25, 11.5], [11, 12.0]])
    features = some_features(1, 2, 12).double()
    pattern = AlignPattern(segments, bins, context, samples, ends=True)
    found = sgalign(features, pattern, torch.zeros(len(segments), dtype=torch.int64))
    for row, (start, end) in enumerate(segments.double().tolist()):
        expected = features[0] @ mask_column(start, end, 12, bins, context, samples)
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-9)


def test_a_table_of_known_points() -> None:
    # Steps 0 to 5 hold 1 to 6 at their centres, so position p holds p + 0.5. Of [2, 4) the region is [1.5, 4.5).
    ramp = torch.arange(1.0, 7.0)[None, None]
    for bins, samples, expected in ((4, 1, [2.0, 3.0, 4.0, 5.0]), (2, 2, [2.5, 4.5]), (2, 1, [2.0, 5.0])):
        pattern = AlignPattern(torch.tensor([[2.0, 4.0]]), bins, 0.25, samples, ends=True)
        assert sgalign(ramp, pattern, torch.tensor([0]))[0, 0].tolist() == pytest.approx(expected)


def test_one_point_cannot_stand_at_both_ends() -> None:
    with pytest.raises(ValueError, match="both ends"):
        AlignPattern(torch.tensor([[0.0, 1.0]]), 1, 0.5, 1, ends=True)


@pytest.mark.parametrize("longest", [9, 4, 1])
@pytest.mark.parametrize("rows", [1, 7, 2**18])
def test_all_proposals_equal_the_dense_mask(monkeypatch: pytest.MonkeyPatch, longest: int, rows: int) -> None:
    # Whatever number of proposals is done at a time.
    monkeypatch.setattr("untrimmed.layers.align._ROWS", rows)
    torch.manual_seed(0)
    layer, features = BoundaryMatching(3, 5, bins=4).double(), some_features(2, 3, 9).double()
    grid = matching_grid(9, longest, CPU)
    present = grid.present(torch.ones(2, 9, dtype=torch.bool))
    found = to_map(layer(features, grid, present), grid, present)
    torch.testing.assert_close(found, by_mask(features, longest, layer), rtol=1e-9, atol=1e-9)


def test_padding_and_other_windows_change_nothing() -> None:
    torch.manual_seed(0)
    layer = BoundaryMatching(3, 5, bins=4, context=0.5, samples=3)
    features = some_features(2, 3, 12)
    mask = torch.ones(2, 12, dtype=torch.bool)
    mask[1, 7:] = False
    features = masked(features, mask)
    grid = matching_grid(12, 6, CPU)
    present = grid.present(mask)
    together = layer(features, grid, present)
    short = matching_grid(7, 6, CPU)
    alone = layer(features[1:, :, :7], short, short.present(mask[1:, :7]))
    owner, number = present.nonzero().unbind(1)
    order = [
        int((torch.tensor(short.segments.tolist()) == segment).all(1).nonzero()[0, 0])
        for segment in grid.segments[number[owner == 1]]
    ]
    torch.testing.assert_close(together[owner == 1], alone[order], rtol=1e-5, atol=1e-6)
    assert int((owner == 1).sum()) == len(short)


def test_maps_and_back() -> None:
    grid = ProposalGrid(5, 1, 3)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()
    present = grid.present(mask)
    values = torch.randn(int(present.sum()), 2)
    cells = to_map(values, grid, present)
    assert cells.shape == (2, 2, 3, 5)
    assert torch.equal(from_map(cells, grid, present), values)
    filled = (cells != 0).any(1)
    for b, shown in enumerate((5, 3)):
        for d in range(1, 4):
            assert filled[b, d - 1].tolist() == [s + d <= shown for s in range(5)]


def test_gradients() -> None:
    torch.manual_seed(0)
    layer = BoundaryMatching(2, 2, bins=3).double()
    grid = matching_grid(4, None, CPU)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    present = grid.present(mask)
    features = masked(some_features(2, 2, 4).double(), mask).requires_grad_()
    names = dict(layer.named_parameters())

    def run(features: Tensor, *values: Tensor) -> Tensor:
        found = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (features, grid, present))
        return to_map(found, grid, present).square()

    assert torch.autograd.gradcheck(run, (features, *names.values()))


def test_no_window_no_proposal() -> None:
    layer, grid = BoundaryMatching(2, 3), matching_grid(4, None, CPU)
    nothing = torch.zeros(2, len(grid), dtype=torch.bool)
    assert layer(torch.randn(2, 2, 4), grid, nothing).shape == (0, 3)
    assert not to_map(torch.zeros(0, 3), grid, nothing).any()
    assert layer(torch.randn(0, 2, 4), grid, nothing[:0]).shape == (0, 3)
