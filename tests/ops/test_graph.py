"""Neighbours and edge convolution against loops over the formulas, and against torch-geometric."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from untrimmed.layers import graph
from untrimmed.layers.graph import EdgeConv, edge_conv, knn_graph

KINDS: list[Any] = ["free", "cross", "half"]


def slow_knn(features: Tensor, k: int, mask: Tensor, clip: Tensor | None, kind: str) -> list[list[list[int]]]:
    """The edges into every step, nearest first, ties by index: float64 differences, step by step."""
    result = []
    for b, sample in enumerate(features.double()):
        between = (sample[:, :, None] - sample[:, None]).square().sum(0).tolist()
        stitched = clip is not None and bool((clip[b] == 2).any())
        takes_part = [bool(mask[b, i]) and (clip is None or int(clip[b, i]) > 0) for i in range(sample.shape[1])]
        edges: list[list[int]] = []
        for i in range(sample.shape[1]):
            others = [j for j in range(sample.shape[1]) if j != i and takes_part[i] and takes_part[j]]
            others.sort(key=lambda j, row=between[i]: (row[j], j))
            count = k if kind == "free" or not stitched else (k // 2 if kind == "half" else 0)
            chosen = others[:count]
            if clip is not None and count < k:
                chosen += [j for j in others if j not in chosen and clip[b, j] != clip[b, i]][: k - count]
            edges.append(chosen)
        result.append(edges)
    return result


def edges_of(indices: Tensor, valid: Tensor) -> list[list[list[int]]]:
    return [
        [[int(j) for j, ok in zip(row, good, strict=True) if ok] for row, good in zip(sample, fine, strict=True)]
        for sample, fine in zip(indices, valid, strict=True)
    ]


def whole_numbers(channels: int, takes_part: Tensor, seed: int = 0) -> Tensor:
    """Small whole numbers, of mean 0 over the steps that take part: float32 makes exact distances, with many ties."""
    batch, steps = takes_part.shape
    make = torch.Generator().manual_seed(seed)
    features = torch.randint(-3, 4, (batch, channels, steps), generator=make) * takes_part[:, None]
    for sample, used in zip(features, takes_part, strict=True):
        if used.any():
            sample[:, int(used.nonzero()[-1])] -= sample.sum(1)
    return features.float()


def clips(*runs: tuple[int, int]) -> Tensor:
    return torch.cat([torch.full((count,), clip) for clip, count in runs]).to(torch.uint8)


STITCHED = clips((1, 6), (0, 2), (2, 9), (0, 3))
LONG = clips((1, 17), (0, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 5, 10, 30])
@pytest.mark.parametrize("block", [2**19, 7, 100])
def test_neighbours_are_those_of_the_loop(kind: Any, k: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_CPU_BLOCK", block)
    clip = torch.stack((STITCHED, LONG, clips((1, 20)), clips((2, 15), (1, 5)), clips((0, 20))))
    features, mask = whole_numbers(3, clip > 0), torch.ones(5, 20, dtype=torch.bool)
    indices, valid = knn_graph(features, k, mask, clip, kind)
    assert (indices.shape, indices.dtype) == ((5, 20, k), torch.int64)
    assert (valid.shape, valid.dtype) == ((5, 20, k), torch.bool)
    assert edges_of(indices, valid) == slow_knn(features, k, mask, clip, kind)


def distances(features: Tensor, b: int, i: int, neighbours: list[int]) -> list[float]:
    return [float((features[b, :, i] - features[b, :, j]).double().square().sum()) for j in neighbours]


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_of_real_numbers_are_as_near_as_those_of_the_loop(kind: Any) -> None:
    make = torch.Generator().manual_seed(3)
    # A large common part, as features after a ReLU have: squares of it would swallow the differences.
    features = torch.randn(2, 256, 160, generator=make) + 20 * torch.randn(1, 256, 1, generator=make)
    clip = torch.stack((clips((1, 50), (0, 4), (2, 106)), clips((1, 120), (0, 40))))
    found = edges_of(*knn_graph(features, 10, None, clip, kind))
    for b, sample in enumerate(slow_knn(features, 10, torch.ones(2, 160), clip, kind)):
        for i, near in enumerate(sample):
            torch.testing.assert_close(
                torch.tensor(distances(features, b, i, found[b][i])),
                torch.tensor(distances(features, b, i, near)),
                rtol=1e-5,
                atol=0,
            )


def test_ties_go_to_the_lowest_index() -> None:
    indices, valid = knn_graph(torch.zeros(1, 4, 6), 3)
    assert valid.all()
    assert indices[0].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    everything = torch.ones(1, 40, dtype=torch.bool)
    features = whole_numbers(2, everything)
    assert edges_of(*knn_graph(features, 6)) == slow_knn(features, 6, everything, None, "free")


def test_half_of_the_edges_cross_in_both_directions() -> None:
    # Original steps 0..3 and their up-scaled copies, far apart, so that free edges stay within the clip.
    features = torch.tensor([[0.0, 1, 2, 3, 100, 100.5, 101, 101.5, 102, 102.5]])[None]
    clip = clips((1, 4), (2, 6))[None]
    indices, valid = knn_graph(features, 4, None, clip, "half")
    assert valid.all()
    assert indices[0, 0].tolist() == [1, 2, 4, 5]
    assert indices[0, 9].tolist() == [8, 7, 3, 2]
    cross, _ = knn_graph(features, 4, None, clip, "cross")
    assert cross[0, 0].tolist() == [4, 5, 6, 7]
    assert cross[0, 9].tolist() == [3, 2, 1, 0]
    free, _ = knn_graph(features, 4, None, clip, "free")
    assert free[0, 0].tolist() == [1, 2, 3, 4]


def test_free_edges_that_cross_are_not_counted_twice() -> None:
    features = torch.tensor([[0.0, 50, 0.1, 0.2, 60, 70]])[None]
    indices, valid = knn_graph(features, 4, None, clips((1, 2), (2, 4))[None], "half")
    assert edges_of(indices, valid)[0][0] == [2, 3, 4, 5]


def test_a_window_without_up_scaled_clip_has_k_free_edges() -> None:
    features = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(0))
    clip = torch.stack((STITCHED, LONG))
    for kind in KINDS[1:]:
        mixed, _ = knn_graph(features, 6, None, clip, kind)
        free, _ = knn_graph(features, 6, None, clip, "free")
        assert torch.equal(mixed[1], free[1])
        assert not torch.equal(mixed[0], free[0])


def test_padding_and_gap_neither_lend_nor_borrow() -> None:
    features = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(20)[None] < torch.tensor([[18], [5]])
    clip = torch.stack((STITCHED, STITCHED))
    takes_part = mask & (clip > 0)
    for kind in KINDS:
        indices, valid = knn_graph(features, 6, mask, clip, kind)
        assert not valid[~takes_part].any()
        assert (indices[~takes_part] == torch.arange(20).expand(2, 20)[~takes_part][:, None]).all()
        for b in range(2):
            assert takes_part[b][indices[b][valid[b]]].all()
        spoiled = torch.where(takes_part[:, None], features, torch.nan)
        again = knn_graph(spoiled, 6, mask, clip, kind)
        assert torch.equal(again[0], indices)
        assert torch.equal(again[1], valid)


def test_fewer_candidates_than_k() -> None:
    indices, valid = knn_graph(torch.tensor([[[0.0, 1.0, 5.0]]]), 5)
    assert valid.sum(-1).tolist() == [[2, 2, 2]]
    assert indices[0].tolist() == [[1, 2, 0, 0, 0], [0, 2, 1, 1, 1], [1, 0, 2, 2, 2]]
    alone_indices, alone = knn_graph(torch.ones(2, 3, 1), 2)
    assert not alone.any()
    assert alone_indices.tolist() == [[[0, 0]], [[0, 0]]]
    one_other, some = knn_graph(torch.randn(1, 3, 4), 4, None, clips((1, 1), (0, 2), (2, 1))[None], "half")
    assert some.sum(-1).tolist() == [[1, 0, 0, 1]]  # the free edge is the only other step: none is left to cross to
    assert one_other[0, 0, 0] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_samples(kind: Any) -> None:
    clip = torch.stack((STITCHED, LONG, clips((1, 20))))
    features = whole_numbers(4, clip > 0)
    together = knn_graph(features, 6, None, clip, kind)
    for b in range(3):
        alone = knn_graph(features[b : b + 1], 6, None, clip[b : b + 1], kind)
        assert torch.equal(together[1][b], alone[1][0])
        assert edges_of(*alone)[0] == edges_of(together[0][b : b + 1], together[1][b : b + 1])[0]


def test_distances_are_float32_under_autocast_and_for_other_types() -> None:
    features = whole_numbers(16, torch.ones(2, 32, dtype=torch.bool))
    expected, _ = knn_graph(features, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(knn_graph(features, 5)[0], expected)
    assert torch.equal(knn_graph(features.double(), 5)[0], expected)
    assert torch.equal(knn_graph(features.bfloat16(), 5)[0], expected)
    far = features.double() + 1e9  # lost in float32, kept where the mean is taken in float64
    assert torch.equal(knn_graph(far, 5)[0], expected)


def test_no_gradient_is_followed_through_the_choice() -> None:
    features = torch.randn(1, 4, 9, requires_grad=True)
    indices, valid = knn_graph(features, 3)
    assert not indices.requires_grad
    assert not valid.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "both"}, "'both', expected 'free', 'cross' or 'half'"),
        ({"kind": "half"}, "'half' edges need the clip"),
        ({"k": 0}, "k is 0"),
        ({"features": torch.zeros(4, 5)}, "expected \\(B, C, N\\)"),
        ({"mask": torch.ones(2, 4, dtype=torch.bool)}, "mask has shape \\(2, 4\\), expected \\(2, 5\\)"),
        ({"clip": torch.ones(5, dtype=torch.uint8)}, "clip has shape \\(5,\\)"),
    ],
)
def test_wrong_arguments_of_the_graph(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        knn_graph(**{"features": torch.zeros(2, 3, 5), "k": 2, **change})


def slow_conv(features: Tensor, indices: Tensor, valid: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """max_j W [x_j ; x_i] + b, edge by edge."""
    batch, _, steps = features.shape
    out = features.new_zeros(batch, weight.shape[0], steps)
    for b in range(batch):
        for i in range(steps):
            edges = [
                weight @ torch.cat((features[b, :, int(j)], features[b, :, i])) + (0 if bias is None else bias)
                for j, ok in zip(indices[b, i], valid[b, i], strict=True)
                if ok
            ]
            if edges:
                out[b, :, i] = torch.stack(edges).amax(0)
    return out


def world(dtype: torch.dtype = torch.float64, k: int = 4, seed: int = 0) -> tuple[Tensor, ...]:
    make = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, 7, generator=make, dtype=dtype)
    indices = torch.randint(0, 7, (2, 7, k), generator=make)
    valid = torch.rand(2, 7, k, generator=make) < 0.6
    valid[0, 2] = False
    valid[1, 4] = True
    return features, indices, valid, torch.randn(5, 6, generator=make, dtype=dtype), torch.randn(5, dtype=dtype)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("k", [1, 4, 300])
def test_convolution_is_the_loop(with_bias: bool, k: int) -> None:
    features, indices, valid, weight, bias = world(k=k)
    inputs = [tensor.requires_grad_() for tensor in (features, weight, bias)]
    shift = bias if with_bias else None
    fast = edge_conv(features, indices, valid, weight, shift)
    slow = slow_conv(features, indices, valid, weight, shift)
    torch.testing.assert_close(fast, slow)
    assert (fast[0, :, 2] == 0).all()
    cotangent = torch.randn_like(slow)
    used = inputs if with_bias else inputs[:2]
    for got, expected in zip(
        torch.autograd.grad(fast, used, cotangent), torch.autograd.grad(slow, used, cotangent), strict=True
    ):
        torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(edge_conv(features, indices, valid, weight, shift), slow)


def test_gradcheck() -> None:
    features, indices, valid, weight, bias = world()
    tensors = [tensor.requires_grad_() for tensor in (features, weight, bias)]
    assert torch.autograd.gradcheck(lambda x, w, b: edge_conv(x, indices, valid, w, b), tensors)


def test_gradient_goes_to_the_first_of_equal_neighbours() -> None:
    features = torch.tensor([[[1.0, 5.0, 5.0]]], requires_grad=True)
    indices = torch.tensor([[[2, 1], [0, 0], [0, 0]]])
    valid = torch.tensor([[[True, True], [False, False], [False, False]]])
    edge_conv(features, indices, valid, torch.tensor([[1.0, 0.0]])).sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[[0, 0, 1]]]


def test_equals_torch_geometric() -> None:
    geometric = pytest.importorskip("torch_geometric.nn")
    features, indices, valid, weight, bias = world(k=5, seed=3)
    channels = features.shape[1]
    inner = torch.nn.Linear(2 * channels, 5).double()
    # Theirs maps [x_i ; x_j - x_i]: the same map in other coordinates.
    neighbour, own = weight[:, :channels], weight[:, channels:]
    layer = geometric.EdgeConv(inner, aggr="max")
    with torch.no_grad():
        inner.weight.copy_(torch.cat((neighbour + own, neighbour), dim=1))
        inner.bias.copy_(bias)
    b, i, slot = valid.nonzero(as_tuple=True)
    edges = torch.stack((indices[b, i, slot] + 7 * b, i + 7 * b))
    nodes = features.mT.reshape(-1, channels)
    expected = layer(nodes, edges).view(2, 7, 5).mT
    torch.testing.assert_close(edge_conv(features, indices, valid, weight, bias), expected)


def test_module_holds_the_weights_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer = EdgeConv(3, 5)
    assert {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()} == {
        "linear.weight": (5, 6),
        "linear.bias": (5,),
    }
    features, indices, valid, _, _ = world(torch.float32)
    expected = slow_conv(features, indices, valid, layer.linear.weight, layer.linear.bias)
    torch.testing.assert_close(layer(features, indices, valid), expected)
    assert EdgeConv(3, 5, bias=False).linear.bias is None


def test_graph_and_convolution_of_a_batch_are_those_of_its_samples() -> None:
    torch.manual_seed(1)
    layer = EdgeConv(8, 6)
    features, clip = torch.randn(3, 8, 20), torch.stack((STITCHED, LONG, clips((0, 20))))
    indices, valid = knn_graph(features, 4, None, clip, "half")
    together = layer(features, indices, valid)
    assert (together[2] == 0).all()
    assert (together.mT[clip == 0] == 0).all()
    for b in range(3):
        sample = slice(b, b + 1)
        alone = layer(features[sample], *knn_graph(features[sample], 4, None, clip[sample], "half"))
        torch.testing.assert_close(alone[0], together[b])


def test_bf16_autocast_sums_gradients_in_float32() -> None:
    torch.manual_seed(2)
    layer, features = EdgeConv(8, 6), torch.randn(1, 8, 600, requires_grad=True)
    indices = torch.zeros(1, 600, 1, dtype=torch.int64)  # one step is everybody's neighbour
    valid = torch.ones_like(indices, dtype=torch.bool)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(features, indices, valid)
    assert half.dtype == torch.bfloat16
    (got,) = torch.autograd.grad(half.float().sum(), features)
    (expected,) = torch.autograd.grad(layer(features, indices, valid).sum(), features)
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": torch.zeros(2, 6, 4, dtype=torch.int64)}, "expected \\(B, N, K\\)"),
        ({"indices": torch.zeros(2, 7, 3, dtype=torch.int64)}, "expected \\(B, N, K\\)"),
        ({"indices": torch.zeros(2, 7, 0, dtype=torch.int64)}, "expected \\(B, N, K\\)"),
        ({"weight": torch.zeros(5, 3)}, "expected \\(C_out, 6\\)"),
    ],
)
def test_wrong_arguments_of_the_convolution(change: dict[str, Any], message: str) -> None:
    features, indices, valid, weight, _ = world(torch.float32)
    with pytest.raises(ValueError, match=message):
        edge_conv(**{"features": features, "indices": indices, "valid": valid, "weight": weight, **change})
