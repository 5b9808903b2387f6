"""Losses from video labels: by loops, at extremes, and with gradients."""

from __future__ import annotations

import math

import pytest
import torch

from untrimmed.losses import LossTerm, total
from untrimmed.losses.weak import cross_entropy_term, magnitude_term, sparsity_term, uniform_term, video_term

LOGITS = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 0.2, -0.3, 1.0], [4.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
LABELS = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=torch.float64)


def value(term: LossTerm) -> float:
    return float(total({"term": term}))


def probabilities(row: list[float]) -> list[float]:
    weights = [math.exp(each) for each in row]
    return [each / sum(weights) for each in weights]


def test_video_term_by_loops_leaves_out_a_video_without_label() -> None:
    losses = []
    for row, labels in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        if not sum(labels):
            continue
        pairs = zip(probabilities(row), labels, strict=True)
        parts = [-(y / sum(labels) * math.log(p) + (1 - y / sum(labels)) * math.log(1 - p)) for p, y in pairs]
        losses.append(sum(parts) / 4)
    assert value(video_term(LOGITS, LABELS, weight=2.0)) == pytest.approx(2 * sum(losses) / 2)
    assert value(video_term(LOGITS[1:2], LABELS[1:2])) == 0


def test_uniform_term_is_least_where_all_are_alike() -> None:
    flat, peaked = torch.zeros(2, 5), torch.tensor([[5.0, 0, 0, 0, 0]] * 2)
    assert value(uniform_term(flat)) == pytest.approx(-(0.2 * math.log(0.2) + 0.8 * math.log(0.8)), rel=1e-5)
    assert value(uniform_term(peaked)) > value(uniform_term(flat))


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_extreme_logits_give_finite_losses_and_gradients(scale: float) -> None:
    logits = (LOGITS.float() * scale).requires_grad_()
    total({"a": video_term(logits, LABELS.float()), "b": uniform_term(logits)}).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_sparsity_adds_over_time_and_averages_over_videos() -> None:
    weights, mask = torch.tensor([[0.5, 1.0, 0.25], [1.0, 1.0, 1.0]]), torch.tensor([[1, 1, 1], [1, 0, 0]]).bool()
    assert value(sparsity_term(weights, mask, weight=0.1)) == pytest.approx(0.1 * (1.75 + 1.0) / 2)


def test_magnitude_term_by_hand() -> None:
    actions, background = torch.tensor([[3.0, 4.0], [30.0, 40.0]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    assert value(magnitude_term(actions, background, 10.0)) == pytest.approx(((5 + 2) ** 2 + 0) / 2, rel=1e-4)
    zeros = torch.zeros(1, 2, requires_grad=True)
    total({"m": magnitude_term(zeros, zeros, 1.0)}).backward()
    assert zeros.grad is not None
    assert torch.isfinite(zeros.grad).all()


def test_cross_entropy_by_hand() -> None:
    first, last = probabilities(LOGITS[0].tolist()), probabilities(LOGITS[2].tolist())
    expected = (-(math.log(first[0]) + math.log(first[3])) / 2 - math.log(last[0])) / 2
    assert value(cross_entropy_term(LOGITS, LABELS)) == pytest.approx(expected)


def test_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: video_term(x, LABELS).sum, (logits,))
    assert torch.autograd.gradcheck(lambda x: uniform_term(x).sum, (logits,))
    assert torch.autograd.gradcheck(lambda x: cross_entropy_term(x, LABELS).sum, (logits,))
    pair = [torch.rand(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda a, b: magnitude_term(a, b, 5.0).sum, pair)
