"""SGAlign and the projection before it, against loops over the definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from untrimmed.layers.align import AlignPattern, AlignProject, align_project, sgalign


def slow_read(row: list[float], position: float) -> float:
    """The value at a position: linear between centres of steps, zero outside the video."""
    low = math.floor(position - 0.5)
    share = position - 0.5 - low
    total = 0.0
    for index, weight in ((low, 1 - share), (low + 1, share)):
        if 0 <= index < len(row):
            total += weight * row[index]
    return total


def slow_align(
    features: Tensor, segments: Tensor, owner: Tensor, bins: int, extension: float, samples: int | None
) -> Tensor:
    """The definition; where ``samples`` is None, as many as a bin has steps, rounded up, and one at least."""
    result = torch.zeros(len(segments), features.shape[1], bins, dtype=torch.float64)
    for n, (start, end) in enumerate(segments.double().tolist()):
        length = end - start
        low, width = start - extension * length, (1 + 2 * extension) * length / bins
        count = samples or max(1, math.ceil(width))
        for c in range(features.shape[1]):
            row = features[int(owner[n]), c].double().tolist()
            for k in range(bins):
                positions = [low + (k + (q + 0.5) / count) * width for q in range(count)]
                result[n, c, k] = sum(slow_read(row, each) for each in positions) / count
    return result


SEGMENTS = torch.tensor([[0, 4], [2, 3], [0, 12], [5, 12], [2.3, 2.9], [7.25, 11.5], [3, 3], [11, 12.0]])
OWNER = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])


def some_features(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("many", [16, 1])
@pytest.mark.parametrize(
    ("bins", "extension", "samples"),
    [(4, 0.5, 1), (5, 0.5, 3), (1, 0.0, 4), (3, 1.25, 2), (4, 0.5, None), (1, 0.5, None), (3, 0.0, None)],
)
def test_alignment_by_a_loop(
    monkeypatch: pytest.MonkeyPatch, bins: int, extension: float, samples: int | None, many: int
) -> None:
    # Whether reads of weight 0 are left out or not.
    monkeypatch.setattr("untrimmed.layers.align._MANY", many)
    features = some_features()
    aligned = sgalign(features, AlignPattern(SEGMENTS, bins, extension, samples), OWNER)
    expected = slow_align(features, SEGMENTS, OWNER, bins, extension, samples)
    torch.testing.assert_close(aligned, expected, rtol=1e-10, atol=1e-10)


def test_a_table_of_known_values() -> None:
    # Steps 0 to 5 hold 1 to 6 at their centres; segment [2, 4), half a length to either side: [1, 5).
    ramp = torch.arange(1.0, 7.0)[None, None]
    table = [
        ((2.0, 4.0), 1, [2.0, 3.0, 4.0, 5.0]),  # each bin is one step, read at its centre
        ((1.5, 3.5), 1, [1.5, 2.5, 3.5, 4.5]),  # half a step further left every reading is half a step lower
        ((2.0, 4.0), 2, [2.0, 3.0, 4.0, 5.0]),  # two readings, a quarter to either side of the centre
        ((0.0, 2.0), 1, [0.0, 1.0, 2.0, 3.0]),  # the first bin lies before the video
        ((4.0, 6.0), 1, [4.0, 5.0, 6.0, 0.0]),  # the last one after it
    ]
    for segment, samples, expected in table:
        pattern = AlignPattern(torch.tensor([segment]), 4, 0.5, samples)
        assert sgalign(ramp, pattern, torch.tensor([0]))[0, 0].tolist() == pytest.approx(expected), segment


def test_adaptive_sampling_misses_no_step() -> None:
    # One step of 100 in each place of a segment of 40 steps, in two bins of 40 steps with its surroundings.
    segments, owner = torch.tensor([[20.0, 60.0]]), torch.tensor([0])
    spikes = torch.eye(80)[None]
    fixed = sgalign(spikes, AlignPattern(segments, 2, 0.5, 4), owner)[0]
    adaptive = sgalign(spikes, AlignPattern(segments, 2, 0.5, None), owner)[0]
    assert int((fixed.sum(1) == 0).sum()) == 64
    torch.testing.assert_close(adaptive.sum(1), torch.full((80,), 1 / 40))


def test_outside_the_video_is_zero_and_padding_changes_nothing() -> None:
    features = some_features()
    pattern = AlignPattern(torch.tensor([[0.0, 12.0], [8.0, 12.0], [-9.0, -5.0], [20.0, 24.0]]), 8)
    owner = torch.tensor([0, 1, 0, 1])
    aligned = sgalign(features, pattern, owner)
    assert not aligned[2:].any()
    assert not aligned[0][:, [0, 7]].any()
    assert aligned[0][:, 1:7].all()
    padded = torch.nn.functional.pad(features, (0, 9))
    torch.testing.assert_close(sgalign(padded, pattern, owner), aligned, rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [3, None])
@pytest.mark.parametrize(("table", "many"), [(1, 16), (60, 2), (2**20, 16), (2**20, 2)])
def test_projecting_first_gives_the_convolution_of_the_aligned(
    monkeypatch: pytest.MonkeyPatch, table: int, many: int, samples: int | None
) -> None:
    # Whatever number of bins is done at a time.
    monkeypatch.setattr("untrimmed.layers.align._TABLE", table)
    monkeypatch.setattr("untrimmed.layers.align._MANY", many)
    features, pattern = some_features(), AlignPattern(SEGMENTS, 5, 0.5, samples)
    make = torch.Generator().manual_seed(1)
    weight = torch.randn(5, 3, 2, generator=make, dtype=torch.float64)
    bias = torch.randn(2, generator=make, dtype=torch.float64)
    aligned = slow_align(features, SEGMENTS, OWNER, 5, 0.5, samples)
    expected = torch.einsum("nck,kco->no", aligned, weight) + bias
    torch.testing.assert_close(align_project(features, pattern, OWNER, weight, bias), expected, rtol=1e-10, atol=1e-10)
    without = align_project(features, pattern, OWNER, weight)
    torch.testing.assert_close(without, expected - bias, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("samples", [2, None])
def test_gradients(monkeypatch: pytest.MonkeyPatch, samples: int | None) -> None:
    monkeypatch.setattr("untrimmed.layers.align._MANY", 16 if samples else 1)
    features = some_features()[:, :2, :7].clone().requires_grad_()
    pattern = AlignPattern(torch.tensor([[0, 3], [1.5, 6], [4, 7.0]]), 3, 0.5, samples)
    owner = torch.tensor([1, 0, 1])
    weight = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: sgalign(x, pattern, owner), (features,))
    assert torch.autograd.gradcheck(lambda x, w, b: align_project(x, pattern, owner, w, b), (features, weight, bias))


def test_segments_of_one_length_share_a_row_of_the_pattern() -> None:
    segments = torch.tensor([[i, i + j] for j in (2, 5) for i in range(6)], dtype=torch.float32)
    pattern = AlignPattern(segments, 4)
    assert len(pattern.offsets) == 2
    assert len(pattern) == 12


def test_selected_segments_give_their_rows() -> None:
    features, rows = some_features(), torch.tensor([5, 0, 0, 7])
    pattern = AlignPattern(SEGMENTS, 4)
    whole = sgalign(features, pattern, OWNER)
    torch.testing.assert_close(sgalign(features, pattern.select(rows), OWNER[rows]), whole[rows], rtol=0, atol=0)


@pytest.mark.parametrize("samples", [4, None])
def test_no_segment_and_one_step(samples: int | None) -> None:
    layer = AlignProject(3, 4, 2)
    none = AlignPattern(torch.empty(0, 2), 2, 0.5, samples)
    owner = torch.empty(0, dtype=torch.int64)
    assert layer(torch.randn(2, 3, 5), none, owner).shape == (0, 4)
    assert sgalign(torch.randn(2, 3, 5), none, owner).shape == (0, 3, 2)
    one = AlignPattern(torch.tensor([[0.0, 1.0]]), 2, 0.5, samples)
    features = torch.randn(1, 3, 1)
    assert layer(features, one, torch.tensor([0])).shape == (1, 4)
    assert torch.isfinite(sgalign(features, one, torch.tensor([0]))).all()


def test_half_precision_is_widened() -> None:
    features = some_features(torch.float32)
    pattern, layer = AlignPattern(SEGMENTS, 4), AlignProject(3, 2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(features.bfloat16(), pattern, OWNER)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, layer(features, pattern, OWNER), rtol=0.05, atol=0.05)


def test_what_does_not_fit_is_refused() -> None:
    features, pattern = some_features(), AlignPattern(SEGMENTS, 4)
    with pytest.raises(ValueError, match=r"expected \(N, 2\)"):
        AlignPattern(torch.zeros(3), 4)
    for row in ([5.0, 2.0], [0.0, math.nan], [-math.inf, 3.0]):
        with pytest.raises(ValueError, match=r"segments\[1\] is .*expected finite numbers, start not after end"):
            AlignPattern(torch.tensor([[0.0, 2.0], row]), 4)
    with pytest.raises(ValueError, match="bins = 0"):
        AlignPattern(SEGMENTS, 0)
    with pytest.raises(ValueError, match="the window of each segment"):
        sgalign(features, pattern, OWNER[:3])
    with pytest.raises(ValueError, match=r"expected \(B, C, T\)"):
        sgalign(features[0], pattern, OWNER)
    with pytest.raises(ValueError, match=r"expected \(4, 3, C_out\)"):
        align_project(features, pattern, OWNER, torch.zeros(4, 2, 5))
