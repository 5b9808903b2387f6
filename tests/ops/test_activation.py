"""Activation curves to segments: loops straight from the definitions, and windows that must not see each other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from untrimmed.layers.activation import Align, contrast, finer, masked_mean, runs_above, scaled, top_mean, top_steps
from untrimmed.layers.curve_segments import CurveSegments, Cut, Scoring, SegmentSettings, curve_segments, occurring


def curves(rows: int, steps: int, seed: int) -> Tensor:
    return torch.rand(rows, steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def prefix_mask(lengths: list[int], steps: int) -> Tensor:
    return torch.arange(steps) < torch.tensor(lengths)[:, None]


# --- pooling -----------------------------------------------------------------------------------------------------


def test_top_mean_by_loops() -> None:
    values, mask = torch.randn(3, 4, 9, dtype=torch.float64), prefix_mask([9, 5, 2], 9)
    found = top_mean(values, mask, torch.tensor([3, 2, 4]))
    for row, (length, count) in enumerate(((9, 3), (5, 2), (2, 4))):
        for number in range(4):
            best = sorted(values[row, number, :length].tolist(), reverse=True)[:count]
            assert float(found[row, number]) == pytest.approx(sum(best) / len(best))


def test_top_mean_of_nothing_is_zero_and_has_a_gradient() -> None:
    values = torch.randn(2, 3, 4, requires_grad=True)
    found = top_mean(values, prefix_mask([0, 2], 4), torch.tensor([1, 1]))
    assert found[0].eq(0).all()
    found.sum().backward()
    assert values.grad is not None
    assert torch.isfinite(values.grad).all()
    assert values.grad[:, :, 2:].eq(0).all()
    assert (
        top_mean(torch.zeros(2, 3, 0), torch.zeros(2, 0, dtype=torch.bool), torch.tensor([1, 1])).tolist()
        == [[0, 0, 0]] * 2
    )


def test_top_mean_gradient() -> None:
    values = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: top_mean(v, prefix_mask([6, 4], 6), torch.tensor([2, 3])), (values,))


def test_top_steps_are_as_many_as_asked_for_ties_by_index() -> None:
    values = torch.tensor([[1.0, 3.0, 3.0, 2.0, 9.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    found = top_steps(values, prefix_mask([4, 5], 5), torch.tensor([2, 3]))
    assert found.tolist() == [[False, True, True, False, False], [True, True, True, False, False]]
    assert top_steps(values, prefix_mask([1, 0], 5), torch.tensor([3, 3])).sum(1).tolist() == [1, 0]


def test_masked_mean() -> None:
    values, mask = torch.randn(2, 3, 5), prefix_mask([3, 0], 5)
    found = masked_mean(values, mask)
    assert torch.allclose(found[0], values[0, :, :3].mean(1))
    assert found[1].eq(0).all()


# --- curves ------------------------------------------------------------------------------------------------------


def test_scaled_runs_from_0_to_1_within_the_mask() -> None:
    values = torch.tensor([[[1.0, 3.0, 2.0, 99.0], [-4.0, -2.0, 2.0, -99.0], [5.0, 5.0, 5.0, 7.0]]])
    mask = prefix_mask([3], 4)
    assert torch.allclose(
        scaled(values, mask), torch.tensor([[[0.0, 1.0, 0.5, 0.0], [0.0, 1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    )


def test_a_floor_of_scaled_is_where_0_lies_and_cuts_nothing_off() -> None:
    values = torch.tensor(
        [[[-4.0, -2.0, 2.0, -99.0], [1.0, 3.0, 2.0, 99.0], [-3.0, -1.0, -2.0, 9.0], [-2.0, 0.0, 0, 0]]]
    )
    found = scaled(values, prefix_mask([3], 4), floor=0.0)
    assert found.tolist() == [[[-2.0, -1.0, 1.0, 0.0], [0.0, 1.0, 0.5, 0.0], [0.0] * 4, [0.0] * 4]]


@pytest.mark.parametrize("align", ["center", "left"])
@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_finer_is_interpolation_that_sees_the_mask_only(factor: int, align: Align) -> None:
    values, mask = curves(3, 7, 0) - 0.5, prefix_mask([7, 4, 1], 7)
    found, wide = finer(values, mask, factor, align)
    for row, length in enumerate((7, 4, 1)):
        curve = values[row, :length].tolist()
        for cell in range(7 * factor):
            inside = cell < length * factor
            assert bool(wide[row, cell]) == inside
            # Left: beyond the last step, on the line through the last two.
            middle = min(max((cell + 0.5) / factor - 0.5, 0), length - 1)
            place = middle if align == "center" else cell / factor
            low = min(math.floor(place), max(length - 2, 0)) if inside else 0
            slope = curve[low + 1] - curve[low] if length > 1 else 0.0
            expected = curve[low] + (place - low) * slope
            assert float(found[row, cell]) == pytest.approx(expected if inside else 0.0)


@pytest.mark.parametrize("align", ["center", "left"])
def test_finer_of_a_mask_with_gaps_reads_nothing_across_them(align: Align) -> None:
    values = torch.tensor([[1.0, 2.0, 99.0, 5.0, 3.0, 99.0]])
    mask = torch.tensor([[True, True, False, True, True, False]])
    found, wide = finer(values, mask, 2, align)
    by_hand = {
        "center": [1, 1.25, 1.75, 2, 0, 0, 5, 4.5, 3.5, 3, 0, 0],
        "left": [1, 1.5, 2, 2.5, 0, 0, 5, 4, 3, 2, 0, 0],
    }
    assert found[0].tolist() == by_hand[align]
    assert wide[0].tolist() == [True] * 4 + [False] * 2 + [True] * 4 + [False] * 2
    for shape in ((0, 5), (2, 0)):
        assert finer(torch.zeros(shape), torch.ones(shape, dtype=torch.bool), 3, align)[0].shape == (
            shape[0],
            3 * shape[1],
        )


def slow_runs(values: Tensor, mask: Tensor, thresholds: list[float]) -> list[tuple[int, int, int]]:
    found = []
    for row in range(len(values)):
        for threshold in thresholds:
            start = None
            for cell in range(values.shape[1] + 1):
                above = cell < values.shape[1] and bool(mask[row, cell]) and float(values[row, cell]) > threshold
                if above and start is None:
                    start = cell
                if not above and start is not None:
                    found.append((row, start, cell))
                    start = None
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 4), st.integers(0, 12), st.integers(0, 1000))
def test_runs_by_loops(rows: int, cells: int, seed: int) -> None:
    values = curves(rows, cells, seed)
    mask = curves(rows, cells, seed + 1) > 0.2
    thresholds = [0.0, 0.3, 0.6, 2.0]
    found, segments = runs_above(values, mask, torch.tensor(thresholds, dtype=torch.float64))
    ours = [(row, *segment) for row, segment in zip(found.tolist(), segments.tolist(), strict=True)]
    assert ours == slow_runs(values, mask, thresholds)


def test_each_curve_may_have_thresholds_of_its_own() -> None:
    values = torch.tensor([[0.2, 0.8, 0.2], [0.2, 0.8, 0.2]])
    rows, segments = runs_above(values, torch.ones(2, 3, dtype=torch.bool), torch.tensor([[0.5], [0.1]]))
    assert rows.tolist() == [0, 1]
    assert segments.tolist() == [[1, 2], [0, 3]]


def slow_contrast(curve: list[float], mask: list[bool], start: float, end: float, outer: float, weight: float) -> float:
    """By overlap of every cell with the three intervals."""

    def mean(*parts: tuple[float, float]) -> float:
        area = length = 0.0
        for cell, (value, valid) in enumerate(zip(curve, mask, strict=True)):
            for low, high in parts:
                shared = max(0.0, min(high, cell + 1) - max(low, cell)) * valid
                area, length = area + shared * value, length + shared
        return area / length if length > 1e-9 else 0.0

    width = outer * (end - start)
    return mean((start, end)) - weight * mean((start - width, start), (end, end + width))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 1000), st.sampled_from([0.1, 0.25, 1.0]), st.sampled_from([0.6, 1.0]))
def test_contrast_by_loops(cells: int, seed: int, outer: float, weight: float) -> None:
    values, mask = curves(2, cells, seed), curves(2, cells, seed + 1) > 0.2
    ends = (curves(6, 2, seed + 2) * cells).sort(1).values
    ends[:, 1] += 0.05
    ends = torch.cat((ends, torch.tensor([[0.0, cells]], dtype=torch.float64))).clamp(max=cells)
    ends = ends[ends[:, 1] > ends[:, 0]]
    rows = torch.arange(len(ends)) % 2
    found = contrast(values, mask, rows, ends, outer=outer, weight=weight)
    for number, (row, (start, end)) in enumerate(zip(rows.tolist(), ends.tolist(), strict=True)):
        expected = slow_contrast(values[row].tolist(), mask[row].tolist(), start, end, outer, weight)
        assert float(found[number]) == pytest.approx(expected, abs=1e-6)


def test_a_peak_stands_out_and_a_plain_does_not() -> None:
    values = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.5] * 8])
    mask = torch.ones(2, 8, dtype=torch.bool)
    found = contrast(values, mask, torch.tensor([0, 1, 1]), torch.tensor([[2, 6], [2, 6], [0, 8]]))
    assert found.tolist() == [1.0, 0.0, 0.5]


# --- proposals ---------------------------------------------------------------------------------------------------


def test_the_best_class_always_occurs_also_the_first_one() -> None:
    rows = occurring(torch.tensor([[0.05, 0.01, 0.02], [0.5, 0.6, 0.1], [0.0, 0.0, 0.0]]), 0.4)
    assert list(zip(rows.windows.tolist(), rows.labels.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert rows.scores.tolist() == pytest.approx([0.05, 0.5, 0.6, 0.0])


Case = tuple[Tensor, Tensor, Tensor]


def some(seed: int = 0) -> Case:
    values = torch.rand(3, 4, 20, generator=torch.Generator().manual_seed(seed)) * 1.5 - 0.5
    return values, prefix_mask([20, 13, 6], 20), torch.tensor([[0.6, 0.1, 0.3, 0.0], [0.0, 0.9, 0.0, 0.1], [0.1] * 4])


def cut_up(case: Case, plan: SegmentSettings, other: Tensor | None = None, zeroed: bool = False) -> CurveSegments:
    """Segments cut from the curves that score them, and at 0.5 from others."""
    values, mask, scores = case
    rows = occurring(scores, 0.25)
    fine, cells = finer(values[rows.windows, rows.labels], mask[rows.windows], plan.finer)
    cuts = [Cut(fine, plan.thresholds, zeroed)]
    if other is not None:
        cuts.append(Cut(finer(other[rows.windows, rows.labels], mask[rows.windows], plan.finer)[0], (0.5,)))
    return curve_segments(fine, cells, rows, plan, cuts)


@pytest.mark.parametrize("zeroed", [False, True])
def test_proposals_by_loops(zeroed: bool) -> None:
    case = values, mask, scores = some()
    plan = SegmentSettings(thresholds=(0.3, 0.7), finer=2, shortest=1.0, outer=0.5, outer_weight=0.8, class_weight=0.4)
    other = values.flip(1)
    found = cut_up(case, plan, other, zeroed)
    expected = []
    for window in range(3):
        for label in range(4):
            if float(scores[window, label]) < 0.25 and label != int(scores[window].argmax()):
                continue
            scored, cells = finer(values[window, label][None], mask[window][None], 2)
            cut, _ = finer(other[window, label][None], mask[window][None], 2)
            runs = [(level, *run[1:]) for level in (0.3, 0.7) for run in slow_runs(scored, cells, [level])]
            runs += [(None, *run[1:]) for run in slow_runs(cut, cells, [0.5])]
            for level, start, end in runs:
                if end - start < 2:
                    continue
                lowest = level if zeroed and level is not None else 0.0
                curve = [value if value > lowest else 0.0 for value in scored[0].tolist()]
                value = slow_contrast(curve, cells[0].tolist(), start, end, 0.5, 0.8)
                score = (value + 0.4 * float(scores[window, label])) / 1.4
                expected.append((window, label, start / 2, end / 2, round(min(max(score, 0.0), 1.0), 5)))
    ours = [
        (window, label, *segment, round(score, 5))
        for window, label, segment, score in zip(*(column.tolist() for column in found), strict=True)
    ]
    assert torch.allclose(torch.tensor(sorted(ours)), torch.tensor(sorted(expected)), rtol=0, atol=2e-5)
    assert len(ours) == len(expected) > 20


def test_around_a_thresholded_curve_only_other_runs_count() -> None:
    curve = torch.tensor([[0.1, 0.1, 0.9, 0.9, 0.1, 0.6, 0.1, 0.1]])
    rows, plan = occurring(torch.tensor([[0.0]]), 0.5), Scoring(class_weight=0, outer=1.0)
    cells = torch.ones(1, 8, dtype=torch.bool)
    for zeroed, outside in ((False, 0.9 / 4), (True, 0.6 / 4)):
        found = curve_segments(curve, cells, rows, plan, [Cut(curve, (0.2,), zeroed)])
        assert found.segments.tolist() == [[2 / 8, 4 / 8], [5 / 8, 6 / 8]]
        assert float(found.scores[0]) == pytest.approx(0.9 - outside)


@pytest.mark.parametrize("threshold", [0.0, 0.025, 0.1, 0.2, 0.225])
@pytest.mark.parametrize("align", ["center", "left"])
def test_a_step_of_1_among_steps_of_minus_1_is_as_wide_as_the_line_between_them_says(
    threshold: float, align: Align
) -> None:
    """The curve is above the threshold for 1 - threshold of a step, not for the 2 - 2 threshold of a curve that was
    clamped at 0 before."""
    values = -torch.ones(1, 1, 9)
    values[..., 4] = 1
    mask, rows, plan = prefix_mask([9], 9), occurring(torch.tensor([[1.0]]), 0.5), Scoring(finer=24, align=align)
    fine, cells = finer(scaled(values, mask, floor=0.0)[0], mask, plan.finer, plan.align)
    found = curve_segments(fine, cells, rows, plan, [Cut(fine, (threshold,))])
    ((start, end),) = found.segments.tolist()
    expected = sum(1 - 2 * abs(k + (0.5 if align == "center" else 0.0)) / 24 > threshold + 1e-6 for k in range(-24, 24))
    assert end - start == pytest.approx(expected / 24)
    assert abs(end - start - (1 - threshold)) < 1.01 / 24
    assert (start + end) / 2 == pytest.approx(4.5 if align == "center" else 4 + 0.5 / 24)


def test_the_width_that_the_released_code_gives_that_step() -> None:
    values = -torch.ones(1, 9)
    values[:, 4] = 1
    fine, cells = finer(values, prefix_mask([9], 9), 24, "left")
    widths = [runs_above(fine, cells, torch.tensor([level]))[1].diff()[0, 0] / 24 for level in (0.0, 0.2)]
    assert [round(float(width), 2) for width in widths] == [0.96, 0.79]


def test_windows_of_a_batch_do_not_see_each_other() -> None:
    values, mask, scores = some(1)
    plan = SegmentSettings()
    together = cut_up((values, mask, scores), plan, zeroed=True)
    for window, length in enumerate((20, 13, 6)):
        part = slice(window, window + 1)
        alone = cut_up((values[part, :, :length], mask[part, :length], scores[part]), plan, zeroed=True)
        mine = together.windows == window
        assert torch.equal(alone.labels, together.labels[mine])
        assert torch.equal(alone.segments, together.segments[mine])
        assert torch.allclose(alone.scores, together.scores[mine], atol=1e-6)


def test_nothing_above_any_threshold_gives_nothing() -> None:
    zeros = torch.zeros(2, 3, 5)
    found = cut_up((zeros, prefix_mask([5, 0], 5), torch.rand(2, 3)), SegmentSettings(thresholds=(0.0, 0.5)))
    assert [len(column) for column in found] == [0, 0, 0, 0]
    assert found.segments.shape == (0, 2)
