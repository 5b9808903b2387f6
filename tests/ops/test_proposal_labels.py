"""What proposals are examples of, against a loop over proposals and instances; draws from pools."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from untrimmed.layers.anchors import apply_offsets
from untrimmed.layers.matching import Instances, pad_instances
from untrimmed.layers.proposal_labels import (
    ProposalLabels,
    ProposalRules,
    draw,
    label_proposals,
    offsets_onto,
    with_instances,
)
from untrimmed.segments import tiou_scalar

Rows = list[tuple[float, float, int]]
TRUTH: list[Rows] = [
    [(10.0, 30.0, 2), (25.0, 28.0, 0), (60.0, 75.0, 1), (80.0, 95.0, -1)],
    [],
    [(5.0, 45.0, -1), (50.0, 50.0, 1)],
    [(0.0, 100.0, 1), (-5.0, 20.0, 0)],
]


def truth() -> Instances:
    segments = [torch.tensor([each[:2] for each in rows]).view(-1, 2) for rows in TRUTH]
    return pad_instances(segments, [torch.tensor([each[2] for each in rows], dtype=torch.int64) for rows in TRUTH])


def proposals(count: int = 120) -> tuple[Tensor, Tensor]:
    """Drawn anywhere, and around the instances; the last ones are padding."""
    make = torch.Generator().manual_seed(0)
    drawn = (torch.rand(4, count, 2, generator=make) * 100).sort(-1).values
    for window, rows in enumerate(TRUTH):
        for number, (start, end, _) in enumerate(rows):
            noise = torch.randn(10, 2, generator=make) * (end - start) * 0.1
            drawn[window, number * 10 : number * 10 + 10] = (torch.tensor([start, end]) + noise).sort(-1).values
            drawn[window, number * 10] = torch.tensor([start, end])
    drawn[:, 60] = torch.tensor([33.0, 33.0])
    mask = torch.arange(count).expand(4, -1) < torch.tensor([[count], [count], [count - 7], [40]])
    return drawn, mask


def by_loop(start: float, end: float, rows: Rows, extent: float, rules: ProposalRules) -> tuple[str, int]:
    """The kind of a proposal, and the class of the closest instance with a label, -1 for none."""

    def share(row: tuple[float, float, int]) -> float:
        return max(0.0, min(end, row[1]) - max(start, row[0])) / (end - start) if end > start else 0.0

    named = [row for row in rows if row[2] >= 0]
    closest = max(named, key=lambda row: tiou_scalar(start, end, *row[:2]), default=None)
    best = tiou_scalar(start, end, *closest[:2]) if closest else 0.0
    best_of_all = max((tiou_scalar(start, end, *row[:2]) for row in rows), default=0.0)
    label = closest[2] if closest and best > 0 else -1
    if best > rules.foreground:
        return "foreground", label
    if closest and best_of_all < rules.incomplete and share(closest) > rules.incomplete_share:
        return "incomplete", label
    lonely = all(share(row) <= rules.incomplete_share for row in rows)
    if best_of_all < rules.background and lonely and end - start > rules.background_length * extent:
        return "background", label
    return "none", label


def kind(found: ProposalLabels, window: int, number: int) -> str:
    kinds = [name for name in ("foreground", "incomplete", "background") if getattr(found, name)[window, number]]
    assert len(kinds) < 2
    return kinds[0] if kinds else "none"


@pytest.mark.parametrize("rules", [ProposalRules(), ProposalRules(0.4, 0.5, 0.2, 0.1, 0.1)])
def test_labels_are_those_of_the_loop(rules: ProposalRules) -> None:
    segments, mask = proposals()
    extent = torch.tensor([100, 100, 100, 60])
    found = label_proposals(segments, mask, truth(), extent, rules)
    kinds = []
    for window, rows in enumerate(TRUTH):
        for number, (start, end) in enumerate(segments[window].tolist()):
            wanted = by_loop(start, end, rows, float(extent[window]), rules) if mask[window, number] else ("none", -1)
            assert (kind(found, window, number), int(found.labels[window, number])) == wanted
            kinds.append(wanted[0])
    assert {
        name: kinds.count(name) > 10 for name in ("foreground", "incomplete", "background", "none")
    } == dict.fromkeys(("foreground", "incomplete", "background", "none"), True)


def test_what_overlaps_an_action_without_a_label_is_no_example() -> None:
    rows = [(5.0, 45.0), (5.5, 44.0), (20.0, 21.0), (46.0, 48.5), (46.0, 48.0), (49.0, 60.0)]
    segments = torch.tensor([rows])
    instances = pad_instances([torch.tensor([[5.0, 45.0]])], [torch.tensor([-1])])
    found = label_proposals(segments, torch.ones(1, 6, dtype=torch.bool), instances, torch.tensor([100]))
    assert [kind(found, 0, number) for number in range(6)] == ["none"] * 3 + ["background", "none", "background"]
    assert (found.labels == -1).all()
    assert not found.offsets.any()


def test_offsets_move_a_proposal_onto_the_closest_instance() -> None:
    segments, mask = proposals()
    instances = truth()
    found = label_proposals(segments, mask, instances, torch.full((4,), 100))
    moved = apply_offsets(segments, found.offsets)
    checked = 0
    for window, rows in enumerate(TRUTH):
        for number in found.foreground[window].nonzero()[:, 0].tolist():
            label = int(found.labels[window, number])
            (goal,) = [row for row in rows if row[2] == label]
            assert moved[window, number].tolist() == pytest.approx(goal[:2], abs=1e-3)
            start, end = segments[window, number].tolist()
            shift, log = found.offsets[window, number].tolist()
            assert shift == pytest.approx((sum(goal[:2]) - start - end) / 2 / (end - start), abs=1e-5)
            assert log == pytest.approx(math.log((goal[1] - goal[0]) / (end - start)), abs=1e-5)
            checked += 1
    assert checked > 10
    assert not found.offsets[~mask].any()


def test_offsets_of_nothing_are_zero() -> None:
    rows = torch.tensor([[1.0, 1.0], [1.0, 2.0]])
    assert offsets_onto(rows, torch.tensor([[0.0, 4.0], [3.0, 3.0]])).tolist() == [[0, 0], [0, 0]]


def test_instances_with_a_label_join_the_proposals_cut_to_the_window() -> None:
    segments, mask = (each[:, :6] for each in proposals())
    joined, there = with_instances(segments, mask, truth(), torch.tensor([70, 100, 100, 90]))
    assert joined.shape == (4, 10, 2)
    assert torch.equal(joined[:, :6], segments)
    assert torch.equal(there[:, :6], mask)
    assert joined[0, 6:].tolist() == [[10, 30], [25, 28], [60, 70], [0, 0]]
    assert there[:, 6:].tolist() == [[True, True, True, False], [False] * 4, [False] * 4, [True, True, False, False]]
    assert joined[3, 6:8].tolist() == [[0, 90], [0, 20]]
    found = label_proposals(joined, there, truth(), torch.tensor([70, 100, 100, 90]))
    assert found.foreground[0, 6:].tolist() == [True, True, False, False]  # two thirds are shown of the third


def pools() -> tuple[Tensor, Tensor]:
    first, second = torch.zeros(3, 9, dtype=torch.bool), torch.zeros(3, 9, dtype=torch.bool)
    first[0, [1, 4, 7]] = True
    second[0, [0, 2, 3, 5, 6, 8]] = True
    second[1, [8]] = True
    return first, second


def test_draws_are_members_without_replacement_where_there_are_enough() -> None:
    torch.manual_seed(0)
    first, second = pools()
    seen: set[int] = set()
    for _ in range(50):
        places, there = draw((first, second), (2, 4))
        assert there.tolist() == [[True] * 6, [False, False] + [True] * 4, [False] * 6]
        assert len(set(places[0, :2].tolist())) == 2
        assert len(set(places[0, 2:].tolist())) == 4
        assert first[0, places[0, :2]].all()
        assert second[0, places[0, 2:]].all()
        assert places[1].tolist() == [0, 0, 8, 8, 8, 8]
        assert not places[2].any()
        seen |= set(places[0].tolist())
    assert seen == set(range(9))


def test_a_pool_with_fewer_is_drawn_over_and_over() -> None:
    first, second = pools()
    places, there = draw((first,), (7,))
    counts = [places[0].tolist().count(member) for member in (1, 4, 7)]
    assert sorted(counts) == [2, 2, 3]
    assert there[0].all()
    assert draw((first[:, :0], second[:, :0]), (2, 1))[1].tolist() == [[False] * 3] * 3
    assert draw((first, second), (0, 0))[0].shape == (3, 0)


def test_draws_follow_torchs_random_numbers() -> None:
    first, second = pools()
    torch.manual_seed(3)
    left = draw((first, second), (2, 4))
    torch.manual_seed(3)
    right = draw((first, second), (2, 4))
    assert all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
