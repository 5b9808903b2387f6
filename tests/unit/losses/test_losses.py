"""Losses: values against their formulas, and sums and counts that may be added up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from untrimmed.losses import LossTerm, total
from untrimmed.losses.classification import (
    balanced_terms,
    focal_term,
    sigmoid_focal,
    sigmoid_term,
    softmax_term,
)
from untrimmed.losses.regression import banded_terms, giou_term, smooth_l1_term


def value(*terms: LossTerm) -> float:
    return float(total({str(index): term for index, term in enumerate(terms)}).detach())


def bmn_formula(p: Tensor, labels: Tensor) -> float:
    """The weighted loss of BMN as its paper prints it (Eq. 6), element by element."""
    entries, positives = labels.numel(), int(labels.sum())
    ratio = entries / positives
    up, down = 0.5 * ratio, 0.5 * ratio / (ratio - 1)
    loss = 0.0
    for probability, label in zip(p.flatten().tolist(), labels.flatten().tolist(), strict=True):
        loss += up * label * math.log(probability) + down * (1 - label) * math.log(1 - probability)
    return -loss / entries


def test_balanced_terms_are_the_loss_of_bmn() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 40, dtype=torch.float64)
    labels = torch.rand(3, 40) < 0.2
    terms = balanced_terms(logits, labels, torch.ones_like(labels))
    assert value(*terms) == pytest.approx(bmn_formula(logits.sigmoid(), labels), abs=1e-12)


def test_balanced_terms_over_micro_batches_add_up_to_the_loss_of_bmn() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, 30, dtype=torch.float64)
    labels = torch.rand(4, 30) < torch.tensor([[0.05], [0.5], [0.1], [0.0]])
    parts = [balanced_terms(logits[i : i + 1], labels[i : i + 1], torch.ones(1, 30).bool()) for i in range(4)]
    merged = [
        LossTerm(sum(part[k].sum for part in parts), sum(part[k].count for part in parts), 0.5)  # type: ignore[arg-type]
        for k in range(2)
    ]
    assert value(*merged) == pytest.approx(bmn_formula(logits.sigmoid(), labels), abs=1e-12)


def test_balanced_terms_leave_out_what_is_masked_and_stand_no_positives() -> None:
    logits = torch.tensor([[2.0, -1.0, 50.0]])
    labels = torch.tensor([[False, False, True]])
    positive, negative = balanced_terms(logits, labels, torch.tensor([[True, True, False]]), weight=3.0)
    assert (float(positive.sum), float(positive.count)) == (0, 0)
    assert float(negative.sum) == pytest.approx(math.log1p(math.exp(2)) + math.log1p(math.exp(-1)), rel=1e-6)
    assert positive.weight == negative.weight == 1.5


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.35, 1.5), (None, 2.0), (None, 0.0)])
def test_focal_loss_is_its_formula(alpha: float | None, gamma: float) -> None:
    for logit in (-3.0, -0.2, 0.0, 1.7):
        for target in (0.0, 1.0):
            p = 1 / (1 + math.exp(-logit))
            q = p if target else 1 - p
            a = 1.0 if alpha is None else (alpha if target else 1 - alpha)
            expected = -a * (1 - q) ** gamma * math.log(q)
            found = sigmoid_focal(
                torch.tensor(logit, dtype=torch.float64), torch.tensor(target), alpha=alpha, gamma=gamma
            )
            assert float(found) == pytest.approx(expected, rel=1e-6)


def test_focal_loss_has_finite_gradients_at_extreme_logits() -> None:
    logits = torch.tensor([-200.0, -200.0, 200.0, 200.0], requires_grad=True)
    loss = sigmoid_focal(logits, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    loss.sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()
    assert loss.tolist() == pytest.approx([0, 50, 150, 0])


def test_focal_term_counts_what_it_is_told_and_sums_over_the_mask() -> None:
    logits = torch.zeros(1, 2, 3)
    targets = torch.zeros(1, 2, 3)
    term = focal_term(logits, targets, torch.tensor([[True, False, True]]), count=torch.tensor(5), weight=2.0)
    assert float(term.sum) == pytest.approx(4 * 0.75 * 0.25 * math.log(2))
    assert (float(term.count), term.weight) == (5, 2.0)


def test_softmax_term_is_the_mean_over_the_mask() -> None:
    torch.manual_seed(2)
    logits = torch.randn(2, 4, 5)
    labels = torch.randint(4, (2, 5))
    mask = torch.tensor([[True, True, False, False, True], [False, True, True, True, True]])
    labels[~mask] = -7
    expected = [-float(logits[b].log_softmax(0)[labels[b, t], t]) for b, t in mask.nonzero().tolist()]
    assert value(softmax_term(logits, labels, mask)) == pytest.approx(sum(expected) / len(expected))


def test_sigmoid_term_is_the_mean_over_the_mask() -> None:
    torch.manual_seed(3)
    logits, targets = torch.randn(2, 6), torch.rand(2, 6)
    mask = torch.rand(2, 6) < 0.5
    expected = F.binary_cross_entropy(logits.sigmoid(), targets, reduction="none")[mask].mean()
    assert value(sigmoid_term(logits, targets, mask)) == pytest.approx(float(expected), rel=1e-5)


def test_giou_term_by_hand() -> None:
    predicted = torch.tensor([[[0.0, 4.0], [0.0, 2.0], [5.0, 5.0]]])
    target = torch.tensor([[[2.0, 6.0], [3.0, 5.0], [0.0, 0.0]]])
    term = giou_term(predicted, target, torch.tensor([[True, True, False]]))
    # First: intersection 2, union 6, hull 6. Second: intersection 0, union 4, hull 5.
    assert float(term.sum) == pytest.approx((1 - 2 / 6) + (1 + 1 / 5))
    assert float(term.count) == 2


def test_giou_term_has_no_gradient_outside_the_mask_and_none_that_is_not_finite() -> None:
    predicted = torch.tensor([[1.0, 1.0], [0.0, 3.0]], requires_grad=True)
    term = giou_term(predicted, torch.tensor([[0.0, 0.0], [4.0, 6.0]]), torch.tensor([False, True]))
    term.sum.backward()
    assert predicted.grad is not None
    assert predicted.grad[0].tolist() == [0, 0]
    assert torch.isfinite(predicted.grad).all()
    assert predicted.grad[1, 1] < 0  # apart: the loss falls as the end moves towards the target


def test_smooth_l1_is_half_the_square_near_zero_and_linear_beyond() -> None:
    predicted = torch.tensor([[0.0, 1.0], [2.5, -3.0], [7.0, 7.0]])
    target = torch.tensor([[0.5, 1.0], [0.5, -2.0], [0.0, 0.0]])
    term = smooth_l1_term(predicted, target, torch.tensor([True, True, False]), weight=3.0)
    assert float(term.sum) == pytest.approx(0.125 + 1.5 + 0.5)
    assert (float(term.count), term.weight) == (2, 3.0)
    every = smooth_l1_term(predicted, target, torch.ones(3, 2, dtype=torch.bool))
    assert (float(every.sum), float(every.count)) == (pytest.approx(2.125 + 13), 6)


def test_total_divides_by_one_at_least() -> None:
    terms = {"a": LossTerm(torch.tensor(6.0), 3, 0.5), "b": LossTerm(torch.tensor(0.0), torch.tensor(0))}
    assert float(total(terms)) == 1.0


def drawn_on_average(
    losses: Tensor, targets: Tensor, mask: Tensor, edges: tuple[float, float], shares: list[int]
) -> float:
    """The mean loss of so many draws from each band that chance no longer matters: each element of a band counts its
    share over the size of the band."""
    low, high = edges
    bands: list[list[float]] = [[], [], []]
    for loss, target, there in zip(losses.tolist(), targets.tolist(), mask.tolist(), strict=True):
        if there:
            bands[0 if target <= low else 1 if target <= high else 2].append(loss)
    means = [sum(band) / len(band) if band else 0.0 for band in bands]
    return sum(share * mean for share, mean in zip(shares, means, strict=True)) / sum(shares)


@pytest.mark.parametrize("shares", [[1, 1, 1], [2, 1, 1]])
def test_bands_count_alike_however_many_they_hold(shares: list[int]) -> None:
    make = torch.Generator().manual_seed(3)
    targets = (torch.rand(200, generator=make, dtype=torch.float64) ** 3 * 10).round() / 10  # many on the edges
    losses = torch.rand(200, generator=make, dtype=torch.float64)
    mask = torch.rand(200, generator=make) > 0.2
    terms = banded_terms(losses, targets, mask, edges=(0.3, 0.7), shares=shares, weight=5.0)
    assert sum(int(term.count) for term in terms) == int(mask.sum())
    assert value(*terms) == pytest.approx(5 * drawn_on_average(losses, targets, mask, (0.3, 0.7), shares))


def test_bands_may_be_added_over_batches_and_be_empty() -> None:
    targets, losses = torch.tensor([0.0, 0.1, 0.5, 0.2]), torch.tensor([1.0, 3.0, 5.0, 2.0], requires_grad=True)
    mask = torch.tensor([True, True, True, False])
    whole = banded_terms(losses, targets, mask, edges=(0.3, 0.7), shares=(1, 1, 2))
    assert [float(term.sum.detach()) for term in whole] == [4.0, 5.0, 0.0]
    assert [int(term.count) for term in whole] == [2, 1, 0]
    halves = [
        banded_terms(losses[part], targets[part], mask[part], edges=(0.3, 0.7), shares=(1, 1, 2))
        for part in (slice(0, 1), slice(1, 4))
    ]
    added = [
        LossTerm(one.sum + other.sum, one.count + other.count, one.weight) for one, other in zip(*halves, strict=True)
    ]
    assert value(*added) == pytest.approx(value(*whole))
    total({str(i): term for i, term in enumerate(whole)}).backward()
    assert losses.grad is not None
    assert losses.grad.tolist() == pytest.approx([0.125, 0.125, 0.25, 0.0])
