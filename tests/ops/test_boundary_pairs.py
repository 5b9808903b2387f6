"""Candidates, pairs and BSP features, against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from untrimmed.layers.boundary_pairs import boundary_candidates, first_and_last, pairs, sensitive_features


def slow_candidates(row: list[float], shown: list[bool], share: float) -> list[bool]:
    highest = max((value for value, there in zip(row, shown, strict=True) if there), default=0.0)
    found = []
    for i, value in enumerate(row):
        neighbours = [row[j] for j in (i - 1, i + 1) if 0 <= j < len(row) and shown[j]]
        peak = all(value > other for other in neighbours)
        found.append(shown[i] and (peak or value > share * highest))
    return found


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_candidates_by_a_loop(share: float) -> None:
    make = torch.Generator().manual_seed(0)
    curves = (torch.rand(40, 13, generator=make) * 4).round() / 4  # with plateaus and equal peaks
    mask = torch.rand(40, 13, generator=make) > 0.25
    mask[0] = False
    found = boundary_candidates(curves, mask, share)
    for row, shown, one in zip(curves.tolist(), mask.tolist(), found.tolist(), strict=True):
        assert one == slow_candidates(row, shown, share)


def test_candidates_of_a_known_curve() -> None:
    curve = torch.tensor([[0.1, 0.2, 0.1, 0.1, 0.8, 0.8, 0.5, 0.41, 0.2, 0.3]])
    everything = torch.ones_like(curve, dtype=torch.bool)
    # A peak of 0.2, a plateau of 0.8 that is no strict peak but high, 0.5 and 0.41 above half of it, the end.
    assert boundary_candidates(curve, everything)[0].nonzero()[:, 0].tolist() == [1, 4, 5, 6, 7, 9]
    assert boundary_candidates(curve, everything, 1.0)[0].nonzero()[:, 0].tolist() == [1, 9]


def test_padding_changes_no_candidate() -> None:
    curves = torch.rand(3, 9)
    mask = torch.ones(3, 9, dtype=torch.bool)
    padded = torch.nn.functional.pad(curves, (0, 4), value=0.99)
    found = boundary_candidates(padded, torch.nn.functional.pad(mask, (0, 4)))
    assert torch.equal(found[:, :9], boundary_candidates(curves, mask))
    assert not found[:, 9:].any()
    assert boundary_candidates(curves[:, :0], mask[:, :0]).shape == (3, 0)


def test_first_and_last() -> None:
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    first, last = first_and_last(mask)
    assert [each.nonzero().tolist() for each in (first, last)] == [[[0, 1], [2, 0]], [[0, 4], [2, 0]]]


@pytest.mark.parametrize("longest", [None, 3, 1])
def test_pairs_by_a_loop(longest: int | None) -> None:
    make = torch.Generator().manual_seed(1)
    starts, ends = torch.rand(2, 3, 8, generator=make) > 0.5
    expected = [
        (b, s, e)
        for b in range(3)
        for s in range(8)
        for e in range(s + 1, 8)
        if starts[b, s] and ends[b, e] and (longest is None or e - s <= longest)
    ]
    assert list(zip(*(each.tolist() for each in pairs(starts, ends, longest)), strict=True)) == expected


def slow_read(row: list[float], position: float) -> float:
    below = math.floor(position - 0.5)
    share = position - 0.5 - below
    value = 0.0
    for step, weight in ((below, 1 - share), (below + 1, share)):
        if 0 <= step < len(row):
            value += weight * row[step]
    return value


def slow_features(row: list[float], start: float, end: float, values: tuple[int, ...], samples: int) -> list[float]:
    reach = (end - start) / 5
    found = []
    for (low, high), count in zip(
        ((start, end), (start - reach, start + reach), (end - reach, end + reach)), values, strict=True
    ):
        width = (high - low) / (count - 1)
        for k in range(count):
            left = low + (k - 0.5) * width
            offsets = [0.5] if samples == 1 else [q / (samples - 1) for q in range(samples)]
            found.append(sum(slow_read(row, left + offset * width) for offset in offsets) / samples)
    return found


SEGMENTS = torch.tensor([[0.5, 9.5], [2.5, 3.5], [0.5, 1.5], [7.5, 9.5], [1.25, 6.75]])


@pytest.mark.parametrize(("values", "samples"), [((16, 8, 8), 4), ((16, 8, 8), 1), ((4, 2, 3), 2)])
def test_features_by_a_loop(values: tuple[int, int, int], samples: int) -> None:
    curves = torch.rand(2, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    owner = torch.tensor([0, 1, 1, 0, 0])
    found = sensitive_features(curves, SEGMENTS, owner, values, samples)
    for n, (start, end) in enumerate(SEGMENTS.double().tolist()):
        expected = slow_features(curves[owner[n]].tolist(), start, end, values, samples)
        assert found[n].tolist() == pytest.approx(expected, abs=1e-12)
    padded = torch.nn.functional.pad(curves, (0, 5))
    torch.testing.assert_close(sensitive_features(padded, SEGMENTS, owner, values, samples), found, rtol=0, atol=1e-12)


def test_features_of_a_known_curve() -> None:
    # Steps 0 to 9 hold their centres, so the curve at p is p: values are where they are read.
    ramp = torch.arange(0.5, 10.0)[None]
    found = sensitive_features(ramp, torch.tensor([[3.0, 6.0]]), torch.tensor([0]), (4, 3, 3), 4)[0].tolist()
    assert found == pytest.approx([3, 4, 5, 6, 2.4, 3.0, 3.6, 5.4, 6.0, 6.6], abs=1e-5)


def test_gradients_and_nothing() -> None:
    curves = torch.rand(2, 6, dtype=torch.float64, requires_grad=True)
    segments, owner = torch.tensor([[0.5, 4.5], [1.5, 5.5]]), torch.tensor([1, 0])

    def run(curves: Tensor) -> Tensor:
        return sensitive_features(curves, segments, owner, (4, 2, 2), 3)

    assert torch.autograd.gradcheck(run, (curves,))
    assert sensitive_features(curves, segments[:0], owner[:0]).shape == (0, 32)
