"""Labels of steps, batch normalisation with a mask, and the hourglass network, against loops and a table."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed.layers.conv import MaskedBatchNorm
from untrimmed.layers.graph import knn_graph
from untrimmed.layers.matching import pad_instances
from untrimmed.layers.segmentation import Hourglass, ParallelAtrousGraph, any_of, finer, frame_labels

Rows = list[tuple[float, float, int]]


def labels_of(*samples: Rows, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    return frame_labels(
        pad_instances(
            [torch.tensor([row[:2] for row in rows]).view(-1, 2) for rows in samples],
            [torch.tensor([row[2] for row in rows], dtype=torch.int64) for rows in samples],
        ),
        steps,
    )


def test_a_table_of_frame_labels() -> None:
    rows = [(1.0, 4.0, 0), (2.5, 3.5, 2), (5.6, 5.9, 1), (7.4, 9.6, -1), (8.0, 9.0, 1)]
    labels, inside, edges = labels_of(rows, [], steps=10)
    #   step                  0  1  2  3  4  5  6   7  8   9
    assert labels.tolist() == [[-1, 0, 2, 0, -1, 1, -1, -1, 1, -1], [-1] * 10]
    assert inside[0].int().tolist() == [0, 1, 1, 1, 0, 1, 0, 1, 1, 1]
    # Step 2 starts and ends the second action, step 5 the third, which has no centre inside.
    assert edges[0, 0].nonzero()[:, 0].tolist() == [1, 2, 5, 7, 8]
    assert edges[0, 1].nonzero()[:, 0].tolist() == [2, 3, 5, 8, 9]
    assert not inside[1].any()
    assert not edges[1].any()


def test_an_action_that_reaches_past_the_window() -> None:
    rows = [(-3.0, 2.0, 0), (4.2, 4.9, 1), (6.0, 30.0, 2), (-9.0, 0.3, 1)]
    labels, inside, edges = labels_of(rows, steps=8)
    assert labels.tolist() == [[0, 0, -1, -1, 1, -1, 2, 2]]
    assert inside[0].int().tolist() == [1, 1, 0, 0, 1, 0, 1, 1]
    assert edges[0, 0].nonzero()[:, 0].tolist() == [4, 6]
    assert edges[0, 1].nonzero()[:, 0].tolist() == [1, 4]


def test_frame_labels_by_a_loop() -> None:
    make = torch.Generator().manual_seed(3)
    samples: list[Rows] = []
    for count in (0, 1, 6, 9):
        start = torch.rand(count, generator=make) * 24 - 4
        end = start + 0.1 + torch.rand(count, generator=make) ** 2 * 10
        label = torch.randint(-1, 4, (count,), generator=make)
        samples.append([(float(s), float(e), int(k)) for s, e, k in zip(start, end, label, strict=True)])
    labels, inside, edges = labels_of(*samples, steps=20)
    for b, rows in enumerate(samples):
        steps_of = []
        for start, end, _ in rows:
            steps = [t for t in range(-10, 40) if start <= t + 0.5 < end]
            steps_of.append(steps or [math.floor((start + end) / 2)])
        for t in range(20):
            here = [n for n, steps in enumerate(steps_of) if t in steps]
            named = sorted((rows[n][1] - rows[n][0], n) for n in here if rows[n][2] >= 0)
            assert int(labels[b, t]) == (rows[named[0][1]][2] if named else -1)
            assert bool(inside[b, t]) == bool(here)
            assert bool(edges[b, 0, t]) == any(steps_of[n][0] == t for n in here)
            assert bool(edges[b, 1, t]) == any(steps_of[n][-1] == t for n in here)


def test_masked_batch_norm_is_batch_norm_of_the_valid_steps() -> None:
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm(5), nn.BatchNorm1d(5)
    for layer in (ours, theirs):
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(0.5, 2, 5))
            layer.bias.copy_(torch.linspace(-1, 1, 5))
    mask = torch.rand(3, 9) < 0.6
    for _ in range(3):
        features = torch.randn(3, 5, 9) * 3 + 2
        flat = features.mT[mask]
        found = ours(features, mask)
        torch.testing.assert_close(found.mT[mask], theirs(flat), rtol=1e-4, atol=1e-5)
        assert not found.mT[~mask].any()
    assert theirs.running_mean is not None
    assert theirs.running_var is not None
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(features, mask).mT[mask], theirs(flat), rtol=1e-4, atol=1e-5)


def test_masked_batch_norm_without_enough_steps_uses_the_averages() -> None:
    layer = MaskedBatchNorm(2)
    features = torch.randn(1, 2, 4)
    for count in (0, 1):
        mask = torch.arange(4)[None] < count
        torch.testing.assert_close(layer(features, mask), features * mask / math.sqrt(1 + 1e-5))
    assert not layer.mean.any()


def test_masked_batch_norm_has_gradients() -> None:
    layer = MaskedBatchNorm(2).double()
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    features = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, mask), (features,))


def test_interpolation_holds_the_last_valid_value() -> None:
    features = torch.tensor([[[2.0, 4.0, 6.0, 99.0]]])
    mask = torch.tensor([[True, True, True, False]])
    found = finer(features, mask, 4)
    assert found[0, 0].tolist() == pytest.approx([2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6, 6, 6, 0, 0, 0, 0])
    assert torch.equal(finer(features, mask, 1), features)


@torch.no_grad()
@pytest.mark.parametrize("strides", [(2,), (2, 2), (2, 2, 2), (1, 2, 1)])
def test_strided_convolutions_and_interpolation_move_nothing(strides: tuple[int, ...]) -> None:
    """Symmetric kernels on a ramp, down and up again: a step keeps its value, where none was made up at the ends."""
    steps, stride = 64, math.prod(strides)
    current = torch.arange(float(steps))[None, None]
    for each in strides:
        current = F.conv1d(current, torch.tensor([[[0.25, 0.5, 0.25]]]), stride=each, padding=1)
    found = finer(current, torch.ones(1, steps // stride, dtype=torch.bool), stride)[0, 0]
    inside = slice(3 * stride, steps - 3 * stride)
    torch.testing.assert_close(found[inside], torch.arange(float(steps))[inside])


def test_interpolation_has_gradients() -> None:
    features = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert torch.autograd.gradcheck(lambda x: finer(x, mask, 4), (features,))


def test_a_cell_is_valid_if_any_of_its_steps_is() -> None:
    assert any_of(torch.tensor([[True, True, True, False, False, False]]), 2).tolist() == [[True, True, False]]


def test_pag_is_equation_2() -> None:
    torch.manual_seed(0)
    pag = ParallelAtrousGraph(3, (1, 3), 2, ("atrous", "graph", "global")).double()
    features = torch.randn(1, 3, 8, dtype=torch.float64)
    features[..., 7:] = 0
    mask = torch.arange(8)[None] < 7
    assert pag.graph is not None
    indices, valid = knn_graph(features, 2, mask)
    parts = torch.zeros(4 * 3, 8, dtype=torch.float64)
    weight, bias = pag.graph.linear.weight, pag.graph.linear.bias
    for t in range(7):
        own = features[0, :, t]
        around = sum(features[0, :, int(indices[0, t, slot])] for slot in range(2))
        parts[:3, t] = weight @ torch.cat((own, around - own)) + bias
        for branch, (conv, dilation) in enumerate(zip(pag.atrous, (1, 3), strict=True)):
            value = conv.bias.clone()
            for tap, place in enumerate((t - dilation, t, t + dilation)):
                if 0 <= place < 8:
                    value = value + conv.weight[:, :, tap] @ features[0, :, place]
            parts[3 + 3 * branch : 6 + 3 * branch, t] = value
        parts[9:, t] = features[0, :, :7].mean(-1)
    assert valid[:, :7].all()
    expected = (pag.fuse.weight[..., 0] @ parts + pag.fuse.bias[:, None]).relu()
    expected[:, 7] = 0
    torch.testing.assert_close(pag(features, mask)[0], expected)


def slow_conv(rows: Tensor, conv: nn.Conv1d, stride: int) -> Tensor:
    """Convolution of kernel 3 with ReLU, value by value: (C, T) -> (C', T / stride)."""
    steps, bias = rows.shape[1], conv.bias
    assert bias is not None
    columns = []
    for t in range(0, steps, stride):
        value = bias.clone()
        for tap in range(3):
            if 0 <= t + tap - 1 < steps:
                value = value + conv.weight[:, :, tap] @ rows[:, t + tap - 1]
        columns.append(value.relu())
    return torch.stack(columns, 1)


def slow_finer(rows: Tensor, cells: int, steps: int) -> Tensor:
    """The first ``cells`` columns at ``steps`` steps, linearly, column i at step ``stride * i``; the last is held."""
    stride = -(-steps // rows.shape[1])
    columns = []
    for t in range(steps):
        place = min(t / stride, cells - 1.0)
        low = math.floor(place)
        high = min(low + 1, cells - 1)
        columns.append(rows[:, low] * (1 - place + low) + rows[:, high] * (place - low))
    return torch.stack(columns, 1)


@torch.no_grad()
@pytest.mark.parametrize("strides", [(2, 2, 2), (1, 2, 1)])
def test_the_hourglass_by_a_loop(strides: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = Hourglass(4, 6, strides, ParallelAtrousGraph(6, (1, 2), 2, ("atrous", "graph", "global"))).double().eval()
    network.norm.mean.copy_(torch.randn(6))
    network.norm.variance.copy_(torch.rand(6) + 0.5)
    steps, shown = 24, 19
    features = torch.randn(1, 4, steps, dtype=torch.float64)
    mask = torch.arange(steps)[None] < shown
    rows, cells, levels = features[0] * mask, shown, []
    for conv, stride in zip(network.encoder, strides, strict=True):
        assert isinstance(conv, nn.Conv1d)
        rows, cells = slow_conv(rows, conv, stride), -(-cells // stride)
        rows[:, cells:] = 0
        levels.append((rows, cells))
    middle = network.pag(rows[None], torch.arange(rows.shape[1])[None] < cells)[0]
    context = slow_finer(middle, cells, steps)
    second, its_cells = levels[1]
    bias = network.highway.bias
    assert bias is not None
    detail = network.highway.weight[:, :, 0] @ second + bias[:, None]
    deviation = (network.norm.variance + 1e-5).sqrt()[:, None]
    detail = (detail - network.norm.mean[:, None]) / deviation * network.norm.weight[:, None]
    detail = (detail + network.norm.bias[:, None]).relu()
    joined = torch.cat((context, slow_finer(detail, its_cells, steps))) * mask
    expected = slow_conv(joined, network.fuse, 1) * mask
    torch.testing.assert_close(network(features, mask)[0], expected)


@pytest.mark.parametrize("strides", [(2, 2, 2), (1, 2, 1), (1, 1, 1)])
def test_padding_and_company_change_nothing_even_in_training(strides: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = Hourglass(4, 8, strides, ParallelAtrousGraph(8, (1, 2), 3, ("atrous", "graph", "global")))
    for steps in (1, 13, 16):
        features = torch.randn(2, 4, steps)
        alone = network(features, torch.ones(2, steps, dtype=torch.bool))
        padded = F.pad(features, (0, 11))
        mask = (torch.arange(steps + 11) < steps).expand(2, -1)
        found = network(padded, mask)
        assert found.shape == (2, 8, steps + 11)
        torch.testing.assert_close(found[..., :steps], alone, rtol=1e-4, atol=1e-5)
        assert not found[..., steps:].any()


@pytest.mark.parametrize("branches", [("atrous",), ("graph",), ("global",), ("atrous", "global"), ("graph", "global")])
def test_branches_can_be_left_out(branches: tuple[str, ...]) -> None:
    pag = ParallelAtrousGraph(4, (1, 2), 2, branches)  # type: ignore[arg-type]
    names = {name.split(".")[0] for name, _ in pag.named_parameters()}
    assert names == {name for name in branches if name != "global"} | {"fuse"}
    assert pag(torch.randn(2, 4, 6), torch.ones(2, 6, dtype=torch.bool)).shape == (2, 4, 6)
