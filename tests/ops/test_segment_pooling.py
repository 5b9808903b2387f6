"""Pooling of segments against loops over steps, with padding, gaps and segments that reach outside."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from untrimmed.layers.anchors import pieces
from untrimmed.layers.segment_pooling import (
    SLACK,
    bounds_of,
    covered_steps,
    enlarged,
    pooled_maximum,
    pooled_mean,
    structured_pyramid,
)

ODD = [
    (-3.0, -1.0),
    (-2.0, 0.7),
    (0.0, 0.0),
    (2.5, 2.5),
    (3.0, 3.2),
    (0.0, 12.0),
    (4.0, 30.0),
    (12.0, 12.0),
    (13.5, 15.0),
]
"""Outside, over an edge, without length, within a cell, everything."""


def some(steps: int, count: int, seed: int) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    drawn = (torch.rand(count, 2, generator=make) * (steps + 4) - 2).sort(-1).values
    return torch.cat((drawn, torch.tensor(ODD), drawn.round()))


def world(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features that are not zero outside the mask, segments, and masks: everything, padded, with a gap, nothing."""
    features = torch.randn(4, 3, 12, generator=torch.Generator().manual_seed(seed)) - 1
    mask = torch.ones(4, 12, dtype=torch.bool)
    mask[1, 8:] = False
    mask[2, 3:6] = False
    mask[3] = False
    return features, torch.stack([some(12, 20, seed + each) for each in range(4)]), mask


def steps_by_loop(start: float, end: float, steps: int) -> list[int]:
    """Every step whose cell holds more than a little of the segment; of one without length the step of its start."""
    first = math.floor(start + SLACK)
    shared = [i for i in range(steps) if min(end - SLACK, i + 1) > max(start + SLACK, i)]
    if end - SLACK <= first + 1 and 0 <= first < steps:
        return [first]
    return shared


def maximum_by_loop(features: Tensor, segment: Tensor, mask: Tensor) -> Tensor:
    steps = [i for i in steps_by_loop(*segment.double().tolist(), len(mask)) if mask[i]]
    return features[:, steps].amax(-1) if steps else torch.zeros(len(features))


def mean_by_loop(features: Tensor, segment: Tensor, mask: Tensor) -> Tensor:
    start, end = segment.double().tolist()
    total, length = torch.zeros(len(features), dtype=torch.float64), 0.0
    for i in range(len(mask)):
        share = min(end, i + 1) - max(start, i)
        if share > 0 and mask[i]:
            total, length = total + share * features[:, i].double(), length + share
    return (total / length if length else total).to(features.dtype)


def pyramid_by_loop(features: Tensor, segment: Tensor, bounds: Tensor, mask: Tensor, levels: Any, x: float) -> Tensor:
    (start, end), (low, high) = segment.tolist(), bounds.tolist()
    length, rows = end - start, []
    stages = [(start - x * length, start), (start, end), (end, end + x * length)]
    for number, ((first, last), cuts) in enumerate(zip(stages, levels, strict=True)):
        first, last = min(max(first, low), high), min(max(last, low), high)
        scale = 1.0 if number == 1 or x * length == 0 else (last - first) / (x * length)
        for count in cuts:
            for part in range(count):
                edges = [first + (last - first) * each / count for each in (part, part + 1)]
                rows.append(mean_by_loop(features, torch.tensor(edges), mask) * scale / sum(cuts))
    return torch.stack(rows)


def by_windows(pool: Any, features: Tensor, segments: Tensor, mask: Tensor) -> Tensor:
    windows = zip(features, segments, mask, strict=True)
    return torch.stack([torch.stack([pool(rows, each, valid) for each in own]) for rows, own, valid in windows])


def test_the_steps_that_are_covered() -> None:
    rows = [*ODD, (2.0, 5.0), (1.9, 5.1), (1.9999, 5.0001), (2.0001, 4.9999), (2.9, 3.1)]
    found = covered_steps(torch.tensor(rows), 12).tolist()
    assert found[-5:] == [[2, 5], [1, 6], [2, 5], [2, 5], [2, 4]]
    for (start, end), (first, last) in zip(rows, found, strict=True):
        assert list(range(first, last)) == steps_by_loop(start, end, 12)


@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_is_that_of_the_loop_to_the_last_bit(seed: int) -> None:
    features, segments, mask = world(seed)
    wanted = by_windows(maximum_by_loop, features, segments, mask)
    assert torch.equal(pooled_maximum(features, segments, mask), wanted)
    found = pooled_maximum(features.clone().requires_grad_(), segments, mask)
    assert torch.equal(found.detach(), wanted)
    assert not found[3].any()


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_is_that_of_the_loop(seed: int) -> None:
    features, segments, mask = world(seed)
    wanted = by_windows(mean_by_loop, features, segments, mask)
    torch.testing.assert_close(pooled_mean(features, segments, mask), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [((1,), (1,), (1,)), ((1,), (1, 2), (1,)), ((2, 3), (4,), ()), ((), (1,), ())])
@pytest.mark.parametrize("context", [0.5, 0.0, 1.3])
def test_the_pyramid_is_that_of_the_loop(levels: Any, context: float) -> None:
    features, _, mask = world()
    mask[2:] = True
    mask[2, 5:7] = False
    clip = mask.to(torch.uint8)
    rows = torch.tensor([(0.0, 2.0), (1.5, 4.25), (0.2, 0.4), (2.0, 5.0), (0.0, 5.0), (3.5, 4.9)])
    segments = rows.expand(4, -1, -1).clone()
    segments[2, 3:] += 7 - segments[2, 3:, :1].clamp(max=7)  # behind the gap
    bounds = bounds_of(segments, clip)
    segments = segments.clamp(bounds[..., :1], bounds[..., 1:])
    found = structured_pyramid(features, segments, bounds, mask, levels, context)
    for window in range(4):
        for number in range(len(rows)):
            wanted = pyramid_by_loop(
                features[window], segments[window, number], bounds[window, number], mask[window], levels, context
            )
            torch.testing.assert_close(found[window, number], wanted, rtol=1e-4, atol=1e-5)


def test_a_surrounding_that_is_cut_off_is_scaled_and_one_that_is_not_there_is_zero() -> None:
    features, mask = torch.ones(1, 2, 10), torch.ones(1, 10, dtype=torch.bool)
    segments = torch.tensor([[[0.0, 4.0], [1.0, 5.0], [4.0, 6.0], [2.0, 10.0]]])
    bounds = bounds_of(segments, mask.to(torch.uint8))
    found = structured_pyramid(features, segments, bounds, mask, ((1,), (1, 2), (2,)))[0, :, :, 0]
    third, half = 1 / 3, 0.5
    expected = [
        [0.0, third, third, third, half, half],
        [0.5, third, third, third, half, half],
        [1.0, third, third, third, half, half],
        [0.5, third, third, third, 0.0, 0.0],
    ]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_surroundings_end_where_the_piece_does() -> None:
    clip = torch.tensor([[1, 1, 1, 0, 2, 2, 2, 2, 0, 0]])
    segments = torch.tensor([[[0.0, 2.0], [5.0, 6.0], [0.0, 0.0], [2.9, 3.5]]])
    assert bounds_of(segments, clip).tolist() == [[[0, 3], [4, 8], [0, 3], [0, 0]]]
    assert torch.equal(bounds_of(segments, clip)[0, :2], pieces(clip)[0, [1, 5]])
    assert bounds_of(segments, clip[:, :0]).tolist() == [[[0, 0]] * 4]
    assert enlarged(torch.tensor([2.0, 6.0]), 0.5).tolist() == [0, 8]


def test_padding_and_company_change_nothing() -> None:
    features, segments, mask = world()
    wide = torch.nn.functional.pad(features, (0, 5), value=99.0)
    valid = torch.nn.functional.pad(mask, (0, 5))
    for pool in (pooled_maximum, pooled_mean):
        together = pool(features, segments, mask)
        assert torch.equal(pool(wide, segments, valid)[1:3], together[1:3])
        alone = [pool(features[i : i + 1], segments[i : i + 1], mask[i : i + 1]) for i in range(4)]
        assert torch.equal(torch.cat(alone), together)


def test_a_short_segment_late_in_a_long_window_is_exact() -> None:
    features = torch.full((1, 1, 20000), 1e4)
    features[0, 0, -3:] = torch.tensor([1.0, 2.0, 3.0])
    mask = torch.ones(1, 20000, dtype=torch.bool)
    found = pooled_mean(features, torch.tensor([[[19997.0, 20000.0], [19998.5, 19999.5]]]), mask)
    torch.testing.assert_close(found[0, :, 0], torch.tensor([2.0, 2.5]))


def test_gradients() -> None:
    features, segments, mask = world()
    leaf = features.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pooled_maximum(x, segments, mask), leaf)
    assert torch.autograd.gradcheck(lambda x: pooled_mean(x, segments, mask), leaf)
    inside = segments.clamp(0, 8)
    bounds = bounds_of(inside, torch.ones_like(mask))
    assert torch.autograd.gradcheck(lambda x: structured_pyramid(x, inside, bounds, mask, ((2,), (1, 2), (1,))), leaf)
    pooled_mean(leaf, segments, mask).sum().backward()
    assert leaf.grad is not None
    assert not leaf.grad.mT[~mask].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_dtypes_are_kept_and_nothing_is_empty(dtype: torch.dtype) -> None:
    features, segments, mask = world()
    for pool in (pooled_maximum, pooled_mean):
        assert pool(features.to(dtype), segments, mask).dtype == dtype
        assert pool(features, segments[:, :0], mask).shape == (4, 0, 3)
        nothing = pool(features[..., :0], segments, mask[:, :0])
        assert nothing.shape == (4, segments.shape[1], 3)
        assert not nothing.any()
    empty = structured_pyramid(features, segments[:, :0], segments[:, :0], mask, ((1,), (1, 2), (1,)))
    assert empty.shape == (4, 0, 5, 3)
