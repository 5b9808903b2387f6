"""Graph convolution and its attention against loops over Eq. 1 of SegTAD."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from untrimmed.layers.graph import GraphConv, cosine_attention, graph_conv, neighbour_mean
from untrimmed.layers.portable import portable_operators


def slow_conv(
    features: Tensor, indices: Tensor, valid: Tensor, weight: Tensor, bias: Tensor | None, attention: Tensor | None
) -> Tensor:
    """``[x_i , (A x)_i - x_i] W + b`` with A as a full matrix; rows with fewer than K edges scaled up to K."""
    batch, _, steps = features.shape
    k = indices.shape[2]
    result = torch.zeros(batch, weight.shape[0], steps, dtype=features.dtype)
    for b in range(batch):
        matrix = torch.zeros(steps, steps, dtype=features.dtype)
        for i in range(steps):
            count = int(valid[b, i].sum())
            for slot in range(k):
                if valid[b, i, slot]:
                    entry = 1.0 if attention is None else float(attention[b, i, slot])
                    matrix[i, indices[b, i, slot]] += entry * k / count
        rows = features[b].T
        joined = torch.cat((rows, matrix @ rows - rows), 1)
        result[b] = (joined @ weight.T + (0 if bias is None else bias)).T
    return result


def some_graph(steps: int = 7, k: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    make = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, steps, generator=make, dtype=torch.float64)
    indices = torch.stack([torch.randperm(steps, generator=make)[:k] for _ in range(2 * steps)]).view(2, steps, k)
    valid = torch.rand(2, steps, k, generator=make) < 0.7
    valid[0, 0] = False
    valid[1, 1] = True
    return features, indices, valid


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("attended", [True, False])
def test_equation_1_by_a_loop(with_bias: bool, attended: bool) -> None:
    features, indices, valid = some_graph()
    weight = torch.randn(5, 8, dtype=torch.float64)
    bias = torch.randn(5, dtype=torch.float64) if with_bias else None
    attention = torch.rand(valid.shape, dtype=torch.float64) if attended else None
    found = graph_conv(features, indices, valid, weight, bias, attention)
    torch.testing.assert_close(found, slow_conv(features, indices, valid, weight, bias, attention))


def test_the_share_of_missing_neighbours_keeps_double_precision() -> None:
    # Three of four neighbours of value 1: 4/3 of their sum, 3, and the step itself is 0.
    features = torch.ones(1, 1, 5, dtype=torch.float64)
    features[0, 0, 4] = 0
    indices = torch.tensor([0, 1, 2, 3]).expand(1, 5, 4)
    valid = torch.tensor([True, True, True, False]).expand(1, 5, 4)
    attention = torch.full(valid.shape, 0.1, dtype=torch.float64)
    found = graph_conv(features, indices, valid, torch.tensor([[0.0, 1.0]], dtype=torch.float64), None, attention)
    assert float(found[0, 0, 4]) == pytest.approx(0.4, rel=1e-15)


def test_a_table_of_known_values() -> None:
    # Three steps of one channel, 1, 10 and 100; W gives the step plus twice the difference.
    features = torch.tensor([[[1.0, 10.0, 100.0]]])
    indices = torch.tensor([[[1, 2], [0, 2], [1, 1]]])
    valid = torch.tensor([[[True, True], [True, False], [False, False]]])
    found = graph_conv(features, indices, valid, torch.tensor([[1.0, 2.0]]))
    # 1 + 2 (110 - 1); 10 + 2 (2 * 1 - 10), as the one edge stands for two; 100 + 2 (0 - 100).
    assert found[0, 0].tolist() == [219.0, -6.0, -100.0]


@pytest.mark.parametrize("dense", [0, 64])
@pytest.mark.parametrize("block", [1, 20, 2**19])
def test_attention_by_a_loop(monkeypatch: pytest.MonkeyPatch, dense: int, block: int) -> None:
    # By edges, or by all products in blocks of rows.
    monkeypatch.setattr("untrimmed.layers.graph._DENSE", dense)
    monkeypatch.setattr("untrimmed.layers.graph._CPU_BLOCK", block)
    features, indices, valid = some_graph()
    features[1, :, 3] = 0
    found = cosine_attention(features, indices, valid)
    for b in range(2):
        for i in range(features.shape[2]):
            for slot in range(indices.shape[2]):
                own, other = features[b, :, i].tolist(), features[b, :, indices[b, i, slot]].tolist()
                norms = math.hypot(*own) * math.hypot(*other)
                expected = sum(x * y for x, y in zip(own, other, strict=True)) / norms if norms else 0.0
                assert float(found[b, i, slot]) == pytest.approx(expected if valid[b, i, slot] else 0.0, abs=1e-12)


def test_the_mean_of_neighbours_by_a_loop() -> None:
    features, indices, valid = some_graph()
    found = neighbour_mean(features, indices, valid)
    for b in range(2):
        for i in range(features.shape[2]):
            counted = [i, *(int(indices[b, i, slot]) for slot in range(3) if valid[b, i, slot])]
            expected = sum(features[b, :, j] for j in counted) / len(counted)
            torch.testing.assert_close(found[b, :, i], expected)
    with portable_operators():
        torch.testing.assert_close(neighbour_mean(features, indices, valid), found)
    assert torch.autograd.gradcheck(lambda x: neighbour_mean(x, indices, valid), (features.requires_grad_(),))
    none = torch.zeros(1, 1, 2, dtype=torch.int64)
    assert neighbour_mean(torch.tensor([[[3.0]]]), none, none.bool()).tolist() == [[[3.0]]]


@pytest.mark.parametrize("dense", [0, 64])
def test_gradients(monkeypatch: pytest.MonkeyPatch, dense: int) -> None:
    monkeypatch.setattr("untrimmed.layers.graph._DENSE", dense)
    features, indices, valid = some_graph(5, 2)
    weight = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def both(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return graph_conv(x, indices, valid, w, b, cosine_attention(x, indices, valid))

    assert torch.autograd.gradcheck(both, (features.requires_grad_(), weight, bias))


def test_half_precision_is_widened() -> None:
    features, indices, valid = some_graph()
    layer = GraphConv(4, 6)
    with torch.autocast("cpu", torch.bfloat16):
        rough = layer(features.bfloat16(), indices, valid)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, layer(features.float(), indices, valid), rtol=0.05, atol=0.1)


def test_what_does_not_fit_is_refused() -> None:
    features, indices, valid = some_graph()
    with pytest.raises(ValueError, match=r"expected \(B, N, K\)"):
        graph_conv(features, indices, valid[..., :2], torch.zeros(5, 8))
    with pytest.raises(ValueError, match=r"expected \(C_out, 8\)"):
        graph_conv(features, indices, valid, torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"expected \(B, N, K\)"):
        cosine_attention(features, indices[:, :4], valid)
