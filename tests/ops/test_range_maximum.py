"""The maximum over segments, against a loop: values to the last bit, and where the gradient goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from untrimmed.layers.range_maximum import range_maximum


def by_loop(features: Tensor, segments: Tensor) -> Tensor:
    rows = [
        torch.stack([features[b, :, start:end].max(-1).values for start, end in of_window.tolist()], -1)
        for b, of_window in enumerate(segments)
    ]
    return torch.stack(rows)


def some_segments(windows: int, count: int, steps: int, seed: int = 0) -> Tensor:
    make = torch.Generator().manual_seed(seed)
    ends = torch.rand(windows, count, steps + 1, generator=make).argsort(-1)[..., :2]
    return ends.sort(-1).values


def every_segment(steps: int) -> Tensor:
    return torch.tensor([[s, e] for s in range(steps) for e in range(s + 1, steps + 1)])[None]


@pytest.mark.parametrize("steps", [1, 2, 3, 8, 9, 33])
def test_every_segment_equals_the_loop_to_the_last_bit(steps: int) -> None:
    features = torch.randn(1, 3, steps, generator=torch.Generator().manual_seed(steps))
    segments = every_segment(steps)
    assert torch.equal(range_maximum(features, segments), by_loop(features, segments))
    with_gradient = range_maximum(features.clone().requires_grad_(), segments)
    assert torch.equal(with_gradient.detach(), by_loop(features, segments))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_windows_keep_apart_and_dtypes_are_kept(dtype: torch.dtype) -> None:
    features = torch.randn(3, 4, 40, generator=torch.Generator().manual_seed(1)).to(dtype)
    segments = some_segments(3, 25, 40)
    found = range_maximum(features, segments)
    assert found.dtype == dtype
    assert torch.equal(found, by_loop(features, segments))


def test_gradients_are_those_of_the_loop() -> None:
    features = torch.randn(2, 3, 17, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    segments = some_segments(2, 30, 17)
    weights = torch.randn(2, 3, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = []
    for pool in (range_maximum, by_loop):
        leaf = features.clone().requires_grad_()
        (pool(leaf, segments) * weights).sum().backward()
        found.append(leaf.grad)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: range_maximum(x, segments), features.requires_grad_())


def test_of_equal_steps_the_first_gets_the_gradient() -> None:
    features = torch.tensor([[[0.0, 2, 1, 2, 2, 0, 2]]], requires_grad=True)
    range_maximum(features, torch.tensor([[[0, 7], [2, 7], [4, 6], [2, 3]]])).sum().backward()
    assert features.grad is not None
    assert features.grad[0, 0].tolist() == [0, 1, 1, 1, 1, 0, 0]


def test_padding_changes_nothing() -> None:
    features, segments = torch.randn(2, 3, 11), some_segments(2, 9, 11)
    padded = torch.nn.functional.pad(features, (0, 6), value=99.0)
    assert torch.equal(range_maximum(padded, segments), range_maximum(features, segments))


def test_nan_is_not_hidden_and_stays_where_it_is() -> None:
    features = torch.arange(8.0)[None, None].clone()
    features[0, 0, 3] = torch.nan
    for given in (features, features.clone().requires_grad_()):
        found = range_maximum(given, torch.tensor([[[0, 8], [3, 4], [2, 5], [0, 3], [4, 8]]]))[0, 0]
        assert found[:3].isnan().all()
        assert found[3:].tolist() == [2, 7]


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 0, 5), (0, 3, 5)])
def test_no_segments_no_channels_no_windows(shape: tuple[int, int, int]) -> None:
    count = 0 if shape == (2, 3, 5) else 4
    segments = torch.tensor([0, 5]).expand(shape[0], count, 2)
    assert range_maximum(torch.randn(shape), segments).shape == (shape[0], shape[1], count)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([[[0, 2], [2, 2]]], r"segments\[0, 1\] is \[2, 2\], expected at least one step of \[0, 5\]"),
        ([[[3, 1]]], r"is \[3, 1\]"),
        ([[[-1, 2]]], r"is \[-1, 2\]"),
        ([[[0, 6]]], r"is \[0, 6\]"),
        ([[0, 1]], r"expected \(B, C, T\) and \(B, N, 2\)"),
        ([[[0.0, 1.0]]], "expected int64 steps"),
    ],
)
def test_what_cannot_be_is_refused(segments: list[object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        range_maximum(torch.randn(1, 2, 5), torch.tensor(segments))
