"""The grid of proposals, its graph and its neighbourhoods, against the full matrix of similarities."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import pytest
import torch
from torch import Tensor

from untrimmed.layers.proposal_grid import LengthLinear, ProposalGrid

Similarity = Literal["tiou", "center"]


def slow_proposals(steps: int, step: int, longest: int | None) -> list[tuple[int, int]]:
    """Eq. 8 and the longest length: start and length in frames, the first below the last frame."""
    return [
        (i, j)
        for i in range(steps)
        for j in range(1, steps + 1)
        if i % step == 0 and j % step == 0 and i + j <= steps and (longest is None or j <= longest)
    ]


def slow_ranking(proposals: list[tuple[int, int]], present: list[bool], of: int, similarity: str) -> list[int]:
    """All others of whom there is an edge, most similar first, ties by number; exact fractions."""
    start, length = proposals[of]
    ranked = []
    for other, (begin, size) in enumerate(proposals):
        if other == of or not present[other]:
            continue
        shared = min(start + length, begin + size) - max(start, begin)
        if similarity == "tiou":
            if shared <= 0:
                continue
            key: tuple[Fraction, ...] = (-Fraction(shared, length + size - shared),)
        else:
            key = (abs(Fraction(2 * start + length - 2 * begin - size, 2)), Fraction(abs(length - size)))
        ranked.append((*key, other))
    return [int(each[-1]) for each in sorted(ranked)]


def neighbours_of(grid: ProposalGrid, present: Tensor, k: int, similarity: Similarity) -> list[list[int]]:
    """Of every proposal of a batch, its neighbours as numbers within its window."""
    nodes = torch.arange(present.numel())
    found, valid = grid.neighbours(nodes, present, k, similarity)
    assert found.shape == valid.shape == (len(nodes), k)
    assert (found[~valid] == nodes[:, None].expand_as(found)[~valid]).all()
    window = nodes // len(grid)
    assert (found // len(grid) == window[:, None]).all()
    return [
        [int(n) % len(grid) for n, there in zip(row, good, strict=True) if there]
        for row, good in zip(found, valid, strict=True)
    ]


@pytest.mark.parametrize(
    ("steps", "step", "longest"), [(24, 8, None), (21, 4, None), (12, 1, 5), (7, 8, None), (5, 2, 3)]
)
def test_the_grid_is_equation_8(steps: int, step: int, longest: int | None) -> None:
    grid = ProposalGrid(steps, step, longest)
    expected = slow_proposals(steps, step, longest)
    assert len(grid) == len(expected)
    assert grid.segments.tolist() == [[i, i + j] for i, j in expected]
    numbers = grid.number(grid.starts, grid.lengths)
    assert numbers.tolist() == list(range(len(expected)))


def test_the_papers_grid_has_7875_proposals() -> None:
    assert len(ProposalGrid(1000, 8)) == 7875


def test_what_is_not_on_the_grid_has_no_number() -> None:
    grid = ProposalGrid(8, 1, 3)
    starts = torch.tensor([-1, 0, 0, 6, 8, 5])
    lengths = torch.tensor([1, 0, 4, 3, 1, 3])
    assert (grid.number(starts, lengths) >= 0).tolist() == [False, False, False, False, False, True]


def test_proposals_past_the_end_or_over_a_gap_are_not_there() -> None:
    grid = ProposalGrid(8, 2)
    mask = torch.tensor([[1] * 8, [1, 1, 1, 1, 1, 0, 0, 0], [1, 1, 0, 0, 1, 1, 1, 1]], dtype=torch.bool)
    there = [
        [tuple(map(int, segment)) for segment, is_there in zip(grid.segments, row, strict=True) if is_there]
        for row in grid.present(mask)
    ]
    assert len(there[0]) == len(grid) == 10
    assert there[1] == [(0, 2), (0, 4), (2, 4)]
    assert there[2] == [(0, 2), (4, 6), (4, 8), (6, 8)]


@pytest.mark.parametrize("similarity", ["tiou", "center"])
@pytest.mark.parametrize("k", [1, 4, 21])
@pytest.mark.parametrize(("cells", "longest"), [(1, None), (2, None), (9, None), (9, 1), (10, 4), (12, 7)])
def test_neighbours_are_those_of_the_full_matrix(
    cells: int, longest: int | None, k: int, similarity: Similarity
) -> None:
    grid = ProposalGrid(cells, 1, longest)
    proposals = slow_proposals(cells, 1, longest)
    mask = torch.ones(3, cells, dtype=torch.bool)
    mask[1, cells - cells // 3 :] = False
    mask[2, cells // 2] = similarity == "center"  # a gap
    present = grid.present(mask)
    found = neighbours_of(grid, present, k, similarity)
    for b, there in enumerate(present.tolist()):
        for m in range(len(grid)):
            if there[m]:
                expected = slow_ranking(proposals, there, m, similarity)[:k]
                assert found[b * len(grid) + m] == expected, (b, proposals[m])


def test_long_proposals_of_the_papers_grid_have_the_neighbours_of_the_full_matrix() -> None:
    grid, proposals = ProposalGrid(1000, 8), slow_proposals(125, 1, None)
    present = torch.ones(1, len(grid), dtype=torch.bool)
    some = torch.arange(0, len(grid), 997)
    found, valid = grid.neighbours(some, present, 4)
    assert valid.all()
    for node, row in zip(some.tolist(), found.tolist(), strict=True):
        assert row == slow_ranking(proposals, [True] * len(grid), node, "tiou")[:4]


def test_a_node_in_the_middle_has_the_four_smallest_moves_of_one_end() -> None:
    grid = ProposalGrid(40, 1)
    node = grid.number(torch.tensor(10), torch.tensor(8))
    found, _ = grid.neighbours(node[None], torch.ones(1, len(grid), dtype=torch.bool), 4)
    # tIoU 8/9 twice, then 7/8 twice; of equal ones the lower number first.
    assert grid.segments[found[0]].tolist() == [[9, 18], [10, 19], [10, 17], [11, 18]]


def slow_neighbourhood(
    proposals: list[tuple[int, int]], present: list[bool], seed: int, k: int, similarity: str
) -> list[int | None]:
    """The seed, its top k, and for each of these its top k of what is not in the list yet."""
    near = slow_ranking(proposals, present, seed, similarity)[:k]
    listed: list[int | None] = [seed, *near, *[None] * (k - len(near))]
    for node in near:
        rest = [n for n in slow_ranking(proposals, present, node, similarity) if n not in listed][:k]
        listed += [*rest, *[None] * (k - len(rest))]
    return listed + [None] * (1 + k + k * k - len(listed))


@pytest.mark.parametrize("similarity", ["tiou", "center"])
@pytest.mark.parametrize(("cells", "longest", "k"), [(9, None, 2), (11, 4, 4), (3, None, 4), (1, None, 3)])
def test_neighbourhoods_by_a_loop(cells: int, longest: int | None, k: int, similarity: Similarity) -> None:
    grid = ProposalGrid(cells, 1, longest)
    proposals = slow_proposals(cells, 1, longest)
    mask = torch.ones(2, cells, dtype=torch.bool)
    mask[1, cells - cells // 3 :] = False
    present = grid.present(mask)
    seeds = present.flatten().nonzero()[:, 0]
    nodes, counts = grid.neighbourhoods(seeds, present, k, similarity)
    assert nodes.shape == counts.shape == (len(seeds), 1 + k + k * k)
    for seed, row, counted in zip(seeds.tolist(), nodes.tolist(), counts.tolist(), strict=True):
        b, m = divmod(seed, len(grid))
        expected = slow_neighbourhood(proposals, present[b].tolist(), m, k, similarity)
        got = [n - b * len(grid) if there else None for n, there in zip(row, counted, strict=True)]
        assert got == expected
        assert all(n == seed for n, there in zip(row, counted, strict=True) if not there)


def test_a_neighbourhood_far_from_the_ends_has_all_its_nodes() -> None:
    grid = ProposalGrid(1000, 8)
    present = torch.ones(2, len(grid), dtype=torch.bool)
    seeds = torch.tensor([int(grid.number(torch.tensor(40), torch.tensor(30))) + len(grid)])
    nodes, counts = grid.neighbourhoods(seeds, present, 4)
    assert counts.all()
    assert len(set(nodes[0].tolist())) == 21
    assert (nodes // len(grid) == 1).all()


def test_a_window_shorter_than_the_step_has_no_proposals() -> None:
    grid = ProposalGrid(5, 8)
    present = grid.present(torch.ones(2, 5, dtype=torch.bool))
    nothing = torch.empty(0, dtype=torch.int64)
    assert len(grid) == 0
    assert present.shape == (2, 0)
    assert grid.neighbours(nothing, present, 4)[0].shape == (0, 4)
    assert grid.neighbourhoods(nothing, present, 4)[0].shape == (0, 21)


def test_wrong_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="step = 0"):
        ProposalGrid(10, 0)
    with pytest.raises(ValueError, match="longest = 4"):
        ProposalGrid(10, 8, 4)


def slow_linear(layer: LengthLinear, row: Tensor, length: float) -> Tensor:
    place = min(max(math.log2(length), 0.0), 16.0)
    result = layer.common.weight @ row + layer.common.bias
    for octave in range(17):
        share = max(0.0, 1 - abs(place - octave))
        result = result + share * (layer.added[octave, :, :-1] @ row + layer.added[octave, :, -1])
    return result


def test_a_linear_layer_that_knows_lengths_by_a_loop() -> None:
    torch.manual_seed(0)
    layer = LengthLinear(3, 2).double()
    rows = torch.randn(7, 3, dtype=torch.float64)
    lengths = torch.tensor([0.5, 1.0, 2.0, 3.0, 32.0, 100.0, 2.0**20])
    torch.testing.assert_close(layer(rows, lengths), layer.common(rows))  # nothing is added at first
    with torch.no_grad():
        layer.added.normal_()
    expected = torch.stack([slow_linear(layer, row, each) for row, each in zip(rows, lengths.tolist(), strict=True)])
    torch.testing.assert_close(layer(rows, lengths), expected, rtol=1e-6, atol=1e-6)
    assert layer(rows[:0], lengths[:0]).shape == (0, 2)
    # Only the octaves around a length learn from it.
    layer(rows[3:4], lengths[3:4]).sum().backward()
    assert layer.added.grad is not None
    assert layer.added.grad.abs().sum((1, 2)).nonzero()[:, 0].tolist() == [1, 2]


def test_gradients_of_a_linear_layer_that_knows_lengths() -> None:
    layer = LengthLinear(3, 2).double()
    lengths = torch.tensor([1.0, 5.0, 300.0], dtype=torch.float64)
    rows = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    added = torch.randn(17, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, a: torch.func.functional_call(layer, {"added": a}, (x, lengths)), (rows, added)
    )
