"""The graph of segments: each rule by a slow loop, rows asked for apart, cosines, and how neighbours are drawn."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch

from segment_worlds import cosine, slow_kinds, windows
from untrimmed.layers import segment_graph as layer
from untrimmed.layers.portable import portable_operators
from untrimmed.layers.segment_graph import (
    Edges,
    Rules,
    SegmentGraph,
    draw_neighbours,
    edge_cosines,
    lend,
    spread_seeds,
    unit_rows,
)


def by_row(edges: Edges) -> list[dict[int, int]]:
    """The neighbours of each row as numbers, and by which kinds."""
    ends = edges.offsets.tolist()
    rows = []
    for begin, end in pairwise(ends):
        names = edges.neighbours[begin:end].tolist()
        assert names == sorted(set(names))
        rows.append(dict(zip(names, edges.kinds[begin:end].tolist(), strict=True)))
    return rows


RULES: list[dict[str, Any]] = [
    {},
    {"kinds": ("contextual",), "contextual": 0.3},
    {"kinds": ("surrounding",), "surrounding": 0.8},
    {"kinds": ("surrounding",), "surrounding": 2.5},
    {"kinds": ("surrounding",), "distance": "span"},
    {"kinds": ("surrounding",), "distance": "span", "nearest": 30},
    {"kinds": ("semantic",), "semantic": 4},
    {"kinds": ("semantic",), "semantic": 17, "semantic_order": "disjoint_first"},
    {"distance": "span", "semantic": 3, "semantic_order": "disjoint_first", "contextual": 0.1},
    {"kinds": ()},
    {"semantic": 0, "distance": "span", "nearest": 0},
]


@pytest.mark.parametrize("changes", RULES, ids=str)
def test_every_rule_against_loops(changes: dict[str, Any]) -> None:
    features, segments, mask = windows()
    rules = Rules(**changes)
    graph = SegmentGraph(features, segments, mask, rules)
    edges = graph.edges()
    found = by_row(edges)
    count = mask.shape[1]
    assert len(found) == mask.numel()
    assert edges.degrees.tolist() == [len(row) for row in found]
    for window in range(len(mask)):
        there = int(mask[window].sum())
        expected = slow_kinds(features[window, :there].tolist(), segments[window, :there].tolist(), rules)
        for i, row in enumerate(expected):
            assert found[window * count + i] == {window * count + j: kinds for j, kinds in row.items()}, (window, i)
        assert not any(found[window * count + there : (window + 1) * count])
    matrix = torch.zeros(mask.numel(), mask.numel(), dtype=torch.bool)
    matrix[edges.receivers(), edges.neighbours] = True
    assert torch.equal(torch.block_diag(*graph.dense().int()).bool(), matrix)


@pytest.mark.parametrize("changes", [{}, RULES[6], RULES[7], {"distance": "span", "nearest": 3}], ids=str)
def test_by_operators_that_export_has(changes: dict[str, Any]) -> None:
    """Without equal values: torch's own topk takes any of equals, unlike that of the other runtimes."""
    features, segments, mask = windows()
    make = torch.Generator().manual_seed(1)
    features, segments = (x.nan_to_num() + torch.rand(x.shape, generator=make) for x in (features, segments))
    graph = SegmentGraph(features, segments, mask, Rules(**changes))
    with portable_operators():
        assert torch.equal(SegmentGraph(features, segments, mask, Rules(**changes)).dense(), graph.dense())


def test_the_worlds_have_edges_of_every_kind_and_of_several_at_once() -> None:
    features, segments, mask = windows()
    kinds = SegmentGraph(features, segments, mask, Rules(contextual=0.3)).edges().kinds
    assert {1, 2, 4, 6} <= set(kinds.tolist())


@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_rows_asked_for_are_those_of_all(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    features, segments, mask = windows()
    expected = by_row(SegmentGraph(features, segments, mask).edges())
    monkeypatch.setattr(layer, "_CPU_BLOCK", block)
    for nodes in ([2, 5, 16, 17, 24], [34], [33, 40, 52], [], list(range(mask.numel()))):
        graph = SegmentGraph(features, segments, mask)
        for _ in range(2):  # found for these nodes, then taken from all
            assert by_row(graph.edges(torch.tensor(nodes, dtype=torch.int64))) == [expected[i] for i in nodes]
            graph.edges()


def test_a_window_alone_and_holes_in_the_mask() -> None:
    features, segments, mask = windows()
    together = by_row(SegmentGraph(features, segments, mask).edges())
    alone = by_row(SegmentGraph(features[1:2, :9], segments[1:2, :9]).edges())
    assert [{j - 17: kinds for j, kinds in row.items()} for row in together[17:26]] == alone
    mask[0, [2, 7, 8]] = False
    there = mask[0].nonzero()[:, 0]
    holes = by_row(SegmentGraph(features[:1], segments[:1], mask[:1]).edges())
    kept = by_row(SegmentGraph(features[:1, there], segments[:1, there]).edges())
    assert [holes[i] for i in there.tolist()] == [{int(there[j]): kinds for j, kinds in row.items()} for row in kept]


def test_what_touches_is_disjoint_and_the_cells_of_a_map_know_those_beside_them() -> None:
    start = torch.arange(6.0)
    cells = torch.stack((start, start + 1), -1)[None]
    edges = SegmentGraph(torch.zeros(1, 6, 2), cells, rules=Rules(("surrounding",))).edges()
    assert [list(row) for row in by_row(edges)] == [[1], [0, 2], [1, 3], [2, 4], [3, 5], [4]]


def test_one_segment_none_and_none_of_several() -> None:
    for count in (0, 1):
        edges = SegmentGraph(torch.randn(2, count, 3), torch.rand(2, count, 2).sort(-1).values).edges()
        assert (len(edges.neighbours), edges.offsets.tolist()) == (0, [0] * (2 * count + 1))
    nobody = torch.zeros(2, 3, dtype=torch.bool)
    edges = SegmentGraph(torch.randn(2, 3, 3), torch.rand(2, 3, 2).sort(-1).values, nobody).edges()
    assert len(edges.neighbours) == 0
    assert edge_cosines(torch.zeros(2, 3, 3), edges).shape == (0,)
    assert not lend(torch.randn(6, 4), edges, torch.zeros(0)).any()


def test_shapes_that_do_not_fit_are_refused() -> None:
    features, segments = torch.randn(2, 5, 3), torch.rand(2, 5, 2)
    with pytest.raises(ValueError, match="expected \\(B, N, C\\)"):
        SegmentGraph(features, segments[:, :4])
    with pytest.raises(ValueError, match="of bool"):
        SegmentGraph(features, segments, torch.ones(2, 5))


@pytest.mark.parametrize("dense", [0, 10**9])
@pytest.mark.parametrize("block", [5, 10**6])
def test_cosines_of_edges_both_ways(monkeypatch: pytest.MonkeyPatch, dense: int, block: int) -> None:
    monkeypatch.setattr(layer, "_DENSE", dense)
    features, segments, mask = windows()
    edges = SegmentGraph(features, segments, mask, Rules(semantic=17, semantic_order="disjoint_first")).edges()
    monkeypatch.setattr(layer, "_CPU_BLOCK", block)
    known = features.nan_to_num().double().requires_grad_()
    found = edge_cosines(unit_rows(known), edges)
    rows = known.detach().flatten(0, 1).tolist()
    pairs = zip(edges.receivers().tolist(), edges.neighbours.tolist(), strict=True)
    expected = [cosine(rows[i], rows[j]) for i, j in pairs]
    assert len(expected) > 100
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    (gradient,) = torch.autograd.grad(found.square().sum(), known)
    assert gradient.isfinite().all()
    small = SegmentGraph(features[:, :9], segments[:, :9], mask[:, :9]).edges()
    moved = (known.detach()[:, :9] + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: edge_cosines(unit_rows(x), small), (moved,))


def test_lending_against_loops_with_gradient() -> None:
    features, segments, mask = windows()
    edges = SegmentGraph(features, segments, mask).edges()
    make = torch.Generator().manual_seed(1)
    values = torch.randn(mask.numel(), 3, generator=make, dtype=torch.float64, requires_grad=True)
    shares = torch.randn(len(edges.neighbours), generator=make, dtype=torch.float64, requires_grad=True)
    expected = torch.zeros(mask.numel(), 3, dtype=torch.float64)
    for edge, (row, other) in enumerate(zip(edges.receivers().tolist(), edges.neighbours.tolist(), strict=True)):
        expected[row] += shares[edge].detach() * values[other].detach()
    torch.testing.assert_close(lend(values, edges, shares).detach(), expected)
    assert torch.autograd.gradcheck(lambda v, s: lend(v, edges, s), (values, shares))


# --- drawing -----------------------------------------------------------------------------------------------------


def ragged(degrees: list[int]) -> Edges:
    """Row r has the neighbours 100 r, 100 r + 1, ..."""
    names = [100 * row + i for row, degree in enumerate(degrees) for i in range(degree)]
    offsets = torch.tensor([0, *degrees]).cumsum(0)
    return Edges(torch.tensor(names, dtype=torch.int64), offsets, torch.ones(len(names), dtype=torch.uint8))


def test_neighbours_only_and_without_replacement_where_there_are_enough() -> None:
    degrees = [0, 1, 3, 4, 5, 90]
    edges = ragged(degrees)
    make = torch.Generator().manual_seed(0)
    for _ in range(200):
        drawn, any_there = draw_neighbours(edges, torch.rand(6, 4, generator=make, dtype=torch.float64))
        assert any_there.tolist() == [False, *[True] * 5]
        for row, degree in enumerate(degrees):
            if degree:
                names = drawn[row].tolist()
                assert all(100 * row <= name < 100 * row + degree for name in names)
                if degree >= 4:
                    assert len(set(names)) == 4
    last = torch.full((6, 4), 1 - 2.0**-53, dtype=torch.float64)
    drawn, _ = draw_neighbours(edges, last)
    assert len(set(drawn[5].tolist())) == 4
    assert draw_neighbours(ragged([0, 0]), torch.rand(2, 3))[1].tolist() == [False, False]


def test_every_set_of_neighbours_is_as_likely_as_the_next() -> None:
    rounds = 20_000
    drawn, _ = draw_neighbours(
        ragged([5]).take(torch.zeros(rounds).long()),
        spread_seeds(torch.tensor([7]), 0, torch.arange(rounds), rounds, 3),
    )
    sets = [tuple(sorted(row)) for row in drawn.tolist()]
    share = {each: sets.count(each) / rounds for each in combinations(range(5), 3)}
    assert sum(share.values()) == pytest.approx(1)
    assert all(abs(each - 0.1) < 4.5 * math.sqrt(0.1 * 0.9 / rounds) for each in share.values())
    few, _ = draw_neighbours(
        ragged([2]).take(torch.zeros(rounds).long()),
        spread_seeds(torch.tensor([8]), 1, torch.arange(rounds), rounds, 3),
    )
    # With replacement: each of three draws is one or the other, on its own.
    ones = few.double()
    assert abs(float(ones.mean()) - 0.5) < 4.5 * math.sqrt(0.25 / (3 * rounds))
    assert abs(float((ones.sum(1) == 3).double().mean()) - 1 / 8) < 4.5 * math.sqrt(7 / 64 / rounds)


def slow_stirred(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
    return state ^ (state >> 31)


def test_numbers_spread_from_seeds() -> None:
    seeds, golden, per_window = [3, 2**62 + 12345, 0], 0x9E3779B97F4A7C15, 7
    nodes = torch.tensor([0, 6, 7, 8, 20])
    for number in (0, 3):
        found = spread_seeds(torch.tensor(seeds), number, nodes, per_window, 5)
        for row, node in zip(found.tolist(), nodes.tolist(), strict=True):
            first = slow_stirred((seeds[node // per_window] + number) % 2**64)
            second = slow_stirred((first + golden * (node % per_window + 1)) % 2**64)
            for slot, value in enumerate(row):
                assert value == (slow_stirred((second + golden * (slot + 1)) % 2**64) >> 11) / 2**53
    # Padding and company change nothing.
    wide = spread_seeds(torch.tensor([9, *seeds]), 0, torch.tensor([50, 56]), 50, 5)
    assert torch.equal(wide, spread_seeds(torch.tensor(seeds), 0, torch.tensor([0, 6]), per_window, 5))
    flat = spread_seeds(torch.tensor([5]), 2, torch.arange(4000), 4000, 4).flatten()
    assert abs(float(flat.mean()) - 0.5) < 4.5 / math.sqrt(12 * 16_000)
    assert torch.corrcoef(flat.view(-1, 4).T).fill_diagonal_(0).abs().max() < 4.5 / math.sqrt(4000)
