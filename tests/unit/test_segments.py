"""Overlap: exact fractions as the oracle, and the same bits from scalars, numpy and torch."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.segments import (
    center_width,
    from_center_width,
    giou,
    intersection,
    intersection_over_first,
    tiou,
    tiou_scalar,
)

TIMES = st.floats(-1e6, 1e6, allow_nan=False) | st.integers(-20, 20).map(float)
PAIRS = st.tuples(TIMES, TIMES)
ORDERED = PAIRS.map(lambda pair: (min(pair), max(pair)))
ULPS = 8 * 2.0**-53

Pair = tuple[float, float]


def exact(first: Pair, second: Pair) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Intersection, union, hull and length of the first, straight from the definition, without rounding."""
    a, b, c, d = (Fraction(value) for value in (*first, *second))
    shared = max(Fraction(0), min(b, d) - max(a, c))
    return shared, (b - a) + (d - c) - shared, max(b, d) - min(a, c), b - a


def array(*pairs: Pair) -> np.ndarray:
    return np.array(pairs, dtype=np.float64)


@given(PAIRS, PAIRS)
def test_tiou_is_the_exact_quotient_to_a_few_ulps(first: Pair, second: Pair) -> None:
    shared, union, _, _ = exact(first, second)
    expected = shared / union if shared > 0 else Fraction(0)
    assert abs(Fraction(tiou_scalar(*first, *second)) - expected) <= ULPS
    assert float(intersection(array(first), array(second))[0]) == pytest.approx(float(shared), rel=ULPS, abs=0)


@given(ORDERED, ORDERED)
def test_giou_is_the_exact_quotient_to_a_few_ulps(first: Pair, second: Pair) -> None:
    shared, union, hull, _ = exact(first, second)
    expected = (shared / union if shared > 0 else 0) - ((hull - union) / hull if hull > 0 else 0)
    assert abs(Fraction(float(giou(array(first), array(second))[0])) - expected) <= 2 * ULPS


@given(ORDERED, ORDERED)
def test_intersection_over_first_is_the_exact_quotient(first: Pair, second: Pair) -> None:
    shared, _, _, length = exact(first, second)
    expected = shared / length if length > 0 else Fraction(0)
    assert abs(Fraction(float(intersection_over_first(array(first), array(second))[0])) - expected) <= ULPS


@given(st.lists(PAIRS, min_size=1, max_size=5), st.lists(PAIRS, min_size=1, max_size=5))
def test_scalar_numpy_and_torch_agree_to_the_last_bit(rows: list[Pair], columns: list[Pair]) -> None:
    a, b = array(*rows), array(*columns)
    by_numpy = tiou(a[:, None], b[None])
    by_torch = tiou(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]).numpy()
    by_scalar = np.array([[tiou_scalar(*one, *two) for two in columns] for one in rows])
    np.testing.assert_array_equal(by_numpy, by_torch)
    np.testing.assert_array_equal(by_numpy, by_scalar)
    for function in (intersection, giou, intersection_over_first):
        from_torch = function(torch.from_numpy(a)[:, None], torch.from_numpy(b)[None]).numpy()
        np.testing.assert_array_equal(function(a[:, None], b[None]), from_torch)


def test_the_compiled_kernel_has_the_bits_of_the_plain_one() -> None:
    compiled = numba.njit(tiou_scalar)
    table = np.random.default_rng(0).normal(size=(2000, 4))
    assert [compiled(*row) for row in table] == [tiou_scalar(*row) for row in table.tolist()]


@given(PAIRS, PAIRS)
def test_tiou_lies_in_0_1_and_is_symmetric(first: Pair, second: Pair) -> None:
    value = tiou_scalar(*first, *second)
    assert 0.0 <= value <= 1.0
    assert value == tiou_scalar(*second, *first)


@given(ORDERED)
def test_a_segment_overlaps_itself_wholly_unless_it_is_empty(segment: Pair) -> None:
    expected = 1.0 if segment[1] > segment[0] else 0.0
    one = array(segment)
    assert tiou_scalar(*segment, *segment) == expected
    assert tiou(one, one).tolist() == intersection_over_first(one, one).tolist() == [expected]


@given(PAIRS, ORDERED)
def test_reversed_and_empty_segments_overlap_nothing(segment: Pair, other: Pair) -> None:
    reversed_segment = (max(segment), min(segment))
    assert tiou_scalar(*reversed_segment, *other) == 0.0
    assert tiou(array(reversed_segment), array(other)).tolist() == [0.0]


@given(ORDERED, ORDERED)
def test_giou_lies_between_minus_1_and_tiou(first: Pair, second: Pair) -> None:
    a, b = array(first), array(second)
    assert -1.0 - ULPS <= float(giou(a, b)[0]) <= float(tiou(a, b)[0]) + ULPS


def test_values_one_can_check_by_hand() -> None:
    assert tiou_scalar(0, 2, 1, 3) == pytest.approx(1 / 3)
    assert tiou_scalar(0, 1, 1, 2) == 0.0  # half-open: they touch and share nothing
    assert intersection(array((0, 4)), array((1, 3))).tolist() == [2.0]
    assert intersection_over_first(array((0, 4)), array((1, 3))).tolist() == [0.5]
    assert giou(array((0, 1)), array((2, 3))).tolist() == [pytest.approx(-1 / 3)]
    assert giou(array((0, 1)), array((9, 10))).tolist() == [pytest.approx(-0.8)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_empty_segments_give_0_and_no_warning_in_every_number_type(dtype: type) -> None:
    table = np.array([[0, 0], [1, 3], [3, 1]], dtype=dtype)
    expected = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert tiou(table[:, None], table[None]).tolist() == expected
    tensor = torch.from_numpy(table)
    assert tiou(tensor[:, None], tensor[None]).tolist() == expected
    assert intersection_over_first(tensor, tensor).tolist() == [0, 1, 0]
    assert giou(tensor[:2], tensor[:2]).tolist() == [0, 1]


def test_lengths_far_below_one_keep_their_overlap() -> None:
    tiny = array((0.0, 2.0**-900))
    half = array((0.0, 2.0**-901))
    assert tiou(tiny, half).tolist() == [0.5] == [tiou_scalar(0.0, 2.0**-900, 0.0, 2.0**-901)]
    assert giou(tiny, half).tolist() == [0.5]


def test_leading_axes_broadcast() -> None:
    a, b = np.random.default_rng(1).normal(size=(3, 1, 2)), np.random.default_rng(2).normal(size=(5, 2))
    for function in (intersection, tiou, giou, intersection_over_first):
        table = function(a, b)
        assert table.shape == (3, 5)
        assert function(torch.from_numpy(a), torch.from_numpy(b)).shape == (3, 5)
        np.testing.assert_array_equal(table[1, 2], function(a[1, 0], b[2]))
    assert tiou(np.empty((0, 1, 2)), b).shape == (0, 5)
    assert tiou(torch.empty(0, 1, 2), torch.empty(4, 2)).shape == (0, 4)


def test_torch_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(2, 40, 2, 2, generator=generator, dtype=torch.float64).cumsum(-1)
    a, b = (points[index, :, 0].clone().requires_grad_() for index in (0, 1))
    for function in (intersection, tiou, giou, intersection_over_first):
        assert torch.autograd.gradcheck(function, (a, b))


def test_giou_pulls_segments_together_that_share_nothing() -> None:
    apart = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    giou(apart, torch.tensor([[5.0, 6.0]], dtype=torch.float64)).sum().backward()
    assert apart.grad is not None
    assert apart.grad[0, 1] > 0
    tiou_apart = torch.tensor([[0.0, 1.0]], requires_grad=True)
    tiou(tiou_apart, torch.tensor([[5.0, 6.0]])).sum().backward()
    assert tiou_apart.grad is not None
    assert tiou_apart.grad.abs().sum() == 0


def test_gradients_at_empty_segments_are_finite() -> None:
    empty = torch.zeros(1, 2, requires_grad=True)
    (giou(empty, torch.zeros(1, 2)) + tiou(empty, torch.zeros(1, 2))).sum().backward()
    assert empty.grad is not None
    assert torch.isfinite(empty.grad).all()


@given(ORDERED)
def test_center_and_width_lead_back(segment: Pair) -> None:
    center, width = center_width(array(segment))
    start, end = from_center_width(center, width)
    assert start[0] == pytest.approx(segment[0], abs=1e-9)
    assert end[0] == pytest.approx(segment[1], abs=1e-9)


def test_center_and_width_work_on_tensors() -> None:
    center, width = center_width(torch.tensor([[1.0, 4.0], [2.0, 2.0]]))
    assert center.tolist() == [2.5, 2.0]
    assert width.tolist() == [3.0, 0.0]
    start, end = from_center_width(center, width)
    assert torch.stack([start, end], -1).tolist() == [[1.0, 4.0], [2.0, 2.0]]
