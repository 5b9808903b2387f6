"""Labels of boundary curves, reading of curves, and boundary adjustment, against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.boundary import BoundaryAdjust, boundary_labels, inner_centers, read_curves
from untrimmed.layers.matching import pad_instances


def slow_labels(instances: list[tuple[float, float]], steps: int, region: float, least: float) -> list[list[bool]]:
    rows = []
    for name in ("action", "start", "end"):
        row = []
        for step in range(steps):
            covered = 0.0
            for start, end in instances:
                reach = max(region * (end - start), least)
                low, high = {
                    "action": (start, end),
                    "start": (start - reach, start + reach),
                    "end": (end - reach, end + reach),
                }[name]
                covered = max(covered, min(step + 1, high) - max(step, low))
            row.append(covered > 0.5)
        rows.append(row)
    return rows


def test_labels_by_a_loop() -> None:
    samples = [[(2.25, 9.0), (12.0, 40.75)], [], [(0.0, 3.5)]]
    found = boundary_labels(
        pad_instances(
            [torch.tensor(sample).view(-1, 2) for sample in samples],
            [torch.zeros(len(sample), dtype=torch.int64) for sample in samples],
        ),
        48,
        region=0.1,
        least=1.0,
    )
    assert found.shape == (3, 3, 48)
    for row, sample in zip(found.tolist(), samples, strict=True):
        assert row == slow_labels(sample, 48, 0.1, 1.0)
    assert found[0].any(-1).all()


def test_even_the_shortest_instance_has_a_start_and_an_end() -> None:
    for shift in (0.0, 0.2, 0.5, 0.8):
        instance = pad_instances([torch.tensor([[5 + shift, 5.1 + shift]])], [torch.tensor([0])])
        found = boundary_labels(instance, 12)
        assert found[0, 1].any()
        assert found[0, 2].any()


def slow_read(curve: list[float], position: float, stride: float) -> float:
    index = position / stride - 0.5
    if index <= 0:
        return curve[0]
    if index >= len(curve) - 1:
        return curve[-1]
    low = math.floor(index)
    return curve[low] + (curve[low + 1] - curve[low]) * (index - low)


@pytest.mark.parametrize(("length", "stride"), [(9, 1.0), (5, 4.0), (1, 2.0)])
def test_curves_are_read_between_centres_of_cells(length: int, stride: float) -> None:
    torch.manual_seed(0)
    curves = torch.randn(2, 3, length, dtype=torch.float64)
    positions = torch.rand(2, 20, dtype=torch.float64) * (length + 2) * stride - stride
    found = read_curves(curves, positions, stride)
    for b in range(2):
        for c in range(3):
            expected = [slow_read(curves[b, c].tolist(), p, stride) for p in positions[b].tolist()]
            assert found[b, c].tolist() == pytest.approx(expected)


def test_reading_at_the_centres_gives_the_values() -> None:
    curves = torch.tensor([[[3.0, 1.0, 4.0]]])
    assert read_curves(curves, torch.tensor([[0.5, 1.5, 2.5]])).tolist() == curves.tolist()


def test_a_position_that_is_no_number_reads_no_number() -> None:
    found = read_curves(torch.tensor([[[3.0, 1.0, 4.0]]]), torch.tensor([[math.nan, 1.5, math.inf, -math.inf]]))
    assert math.isnan(found[0, 0, 0])
    assert found[0, 0, 1:].tolist() == [1.0, 4.0, 3.0]


def test_reading_has_the_right_gradient() -> None:
    torch.manual_seed(1)
    curves = torch.randn(1, 2, 6, dtype=torch.float64, requires_grad=True)
    positions = torch.tensor([[0.9, 2.2, 5.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(read_curves, (curves, positions))


def slow_centers(start: float, end: float, stride: float) -> tuple[float, float]:
    """The first and the last of the cells' centres that lie in ``[start, end)``."""
    centers = [(cell + 0.5) * stride for cell in range(int(end / stride) + 2)]
    inside = [center for center in centers if start <= center < end]
    inside = inside or [(int((start + end) / 2 / stride) + 0.5) * stride]
    return inside[0], inside[-1]


@pytest.mark.parametrize("stride", [1.0, 2.0, 4.0, 6.0])
def test_the_outermost_centres_of_a_piece_by_a_loop(stride: float) -> None:
    pieces = [(start, end) for start in range(14) for end in range(start + 1, 30)]
    first, last = inner_centers(torch.tensor(pieces, dtype=torch.float32), stride)
    expected = [slow_centers(start, end, stride) for start, end in pieces]
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == expected


def slow_adjust(layer: BoundaryAdjust, features: Tensor, segments: Tensor, bounds: Tensor, stride: float) -> Tensor:
    """Sample, convolve the three samples, lay the three vectors in a row, convolve those: Fig. 5, one by one."""
    channels = layer.channels
    kernels = layer.taps.view(3, 3, channels, channels)  # region, tap, out, in
    moved = torch.zeros_like(segments)
    for b in range(len(segments)):
        for a in range(segments.shape[1]):
            start, end = segments[b, a].tolist()
            low, high = slow_centers(*bounds[b, a].tolist(), stride)
            row = []
            for region, offsets in enumerate(layer.OFFSETS):
                sampled = []
                for offset in offsets:
                    position = min(max(start + offset * (end - start), low), high)
                    sampled.append([slow_read(channel, position, stride) for channel in features[b].tolist()])
                samples = torch.tensor(sampled, dtype=features.dtype).T[None]
                kernel = kernels[region].permute(1, 2, 0)
                row.append(F.relu(F.conv1d(samples, kernel, layer.bias.view(3, channels)[region])))
            composite = torch.cat(row, -1)
            kernel = layer.offsets.weight.view(2, 3, channels).permute(0, 2, 1)
            move = F.conv1d(composite, kernel, layer.offsets.bias)[0, :, 0] * (end - start) / 8
            moved[b, a] = (segments[b, a] + move).sort().values
    return moved


def adjust_case() -> tuple[BoundaryAdjust, Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    layer = BoundaryAdjust(4).double()
    features = torch.randn(2, 4, 10, dtype=torch.float64)
    segments = torch.tensor([[[2.0, 9.0], [0.0, 40.0], [30.0, 37.5]], [[4.0, 4.5], [11.0, 39.0], [20.0, 20.0]]])
    bounds = torch.tensor([[[0.0, 15.0], [0.0, 40.0], [25.0, 40.0]], [[1.0, 14.0], [3.0, 39.0], [18.0, 22.0]]])
    return layer, features, segments.double(), bounds.double()


def test_adjustment_by_a_loop() -> None:
    layer, features, segments, bounds = adjust_case()
    found = layer(features, segments, bounds, 4.0)
    torch.testing.assert_close(found, slow_adjust(layer, features, segments, bounds, 4.0))
    assert (found[..., 0] <= found[..., 1]).all()


def test_adjustment_reads_nothing_outside_the_piece() -> None:
    layer, features, segments, bounds = adjust_case()
    changed = features.clone()
    changed[:, :, :6] = 100.0  # steps 0 to 24
    before, after = (layer(each, segments, bounds, 4.0)[0, 2] for each in (features, changed))
    assert before.tolist() == after.tolist()


@pytest.mark.parametrize("end", [41.0, 42.0, 43.0, 44.0])
def test_adjustment_reads_no_cell_whose_centre_lies_outside(end: float) -> None:
    torch.manual_seed(0)
    layer = BoundaryAdjust(8)
    features = torch.randn(1, 8, 20)
    segment, piece = torch.tensor([[[22.0, end]]]), torch.tensor([[[0.0, end]]])
    outside = 10 if end <= 42 else 11  # cell 10 is centred on 42
    changed = features.clone()
    changed[:, :, outside:] += 9
    before, after = (layer(each, segment, piece, 4.0) for each in (features, changed))
    assert before.tolist() == after.tolist()
    changed[:, :, outside - 1] += 9
    assert layer(changed, segment, piece, 4.0).tolist() != before.tolist()


def test_adjustment_has_the_right_gradient_for_features() -> None:
    layer, features, segments, bounds = adjust_case()
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda each: layer(each, segments, bounds, 4.0), features)


def test_adjustment_has_gradients_for_weights_and_segments() -> None:
    layer, features, segments, bounds = adjust_case()
    segments.requires_grad_()
    layer(features, segments, bounds, 4.0).sum().backward()
    for tensor in (segments, *layer.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0
