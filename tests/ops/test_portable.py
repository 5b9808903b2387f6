"""Plain operators for export give what the fast ones give."""

from __future__ import annotations

import pytest
import torch

from untrimmed.layers.anchors import pieces
from untrimmed.layers.graph import Edges, edge_conv, knn_graph
from untrimmed.layers.portable import nearest_steps, portable, portable_operators, running_max


@pytest.mark.parametrize("steps", [1, 2, 7, 64, 100])
def test_running_max(steps: int) -> None:
    values = torch.randint(0, 50, (3, steps), generator=torch.Generator().manual_seed(steps))
    assert torch.equal(running_max(values, 0), values.cummax(1).values)


def test_nearest_steps_with_fewer_than_k_and_ties() -> None:
    values, indices = nearest_steps(torch.tensor([[[2.0, 1.0, torch.inf]]]), 4)
    assert values.tolist() == [[[1.0, 2.0, torch.inf, torch.inf]]]
    assert indices[0, 0, :2].tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["free", "cross", "half"])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_graph_and_convolution(kind: Edges, k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    features = torch.randn(3, 5, 24, generator=generator)
    clip = torch.ones(3, 24, dtype=torch.int64)
    clip[0, 8:10], clip[0, 10:] = 0, 2
    clip[1, 20:] = 0
    clip[2, 1:] = 0
    expected = knn_graph(features, k, clip > 0, clip, kind=kind)
    weight = torch.randn(7, 10, generator=generator)
    with portable_operators():
        assert portable()
        found = knn_graph(features, k, clip > 0, clip, kind=kind)
        convolved = edge_conv(features, *found, weight)
    assert not portable()
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(convolved, edge_conv(features, *expected, weight))


def test_pieces() -> None:
    clip = torch.tensor([[1, 1, 0, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
    with portable_operators():
        found = pieces(clip)
    assert torch.equal(found, pieces(clip))
