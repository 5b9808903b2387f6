"""Matching against loops over segments and instances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from untrimmed.layers.matching import Instances, match, pad_instances, take_instances
from untrimmed.segments import tiou_scalar


def random_case(seed: int) -> tuple[Tensor, Instances, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def segments(count: int) -> Tensor:
        start = torch.rand(count, generator=generator) * 80
        return torch.stack((start, start + 2 + torch.rand(count, generator=generator) * 30), -1)

    counts = [5, 0, 3]
    labels = [torch.randint(-1, 3, (count,), generator=generator) for count in counts]
    instances = pad_instances([segments(count) for count in counts], labels)
    return (
        torch.stack([segments(40) for _ in counts]),
        instances,
        torch.rand(3, 40, generator=generator) < 0.8,
    )


def slow_match(
    segments: Tensor, instances: Instances, allowed: Tensor, threshold: float, keep_best: bool
) -> tuple[list[set[tuple[int, int]]], dict[tuple[int, int], int], set[tuple[int, int]]]:
    """Pairs per sample, the instance each positive is assigned to, and the ignored, from the definitions."""
    pairs: list[set[tuple[int, int]]] = []
    nearest: dict[tuple[int, int], int] = {}
    ignored: set[tuple[int, int]] = set()
    for b in range(len(segments)):
        overlap = {}
        for a in range(segments.shape[1]):
            for n in range(instances.segments.shape[1]):
                if allowed[b, a] and (instances.labelled[b, n] or instances.unlabelled[b, n]):
                    overlap[a, n] = tiou_scalar(*segments[b, a].tolist(), *instances.segments[b, n].tolist())
        labelled = {(a, n): v for (a, n), v in overlap.items() if instances.labelled[b, n]}
        best = set()
        if keep_best:
            for n in {n for _, n in labelled}:
                top = max(v for (_, m), v in labelled.items() if m == n)
                for a in {a for (a, m), v in labelled.items() if m == n and v == top and v > 0}:
                    best.add((a, max((m for c, m in labelled if c == a), key=lambda m: (labelled[a, m], -m))))
        here = {pair for pair, v in labelled.items() if v >= threshold} | best
        pairs.append(here)
        for a in {a for a, _ in here}:
            nearest[b, a] = max((n for c, n in here if c == a), key=lambda n: (labelled[a, n], -n))
        for (a, n), v in overlap.items():
            if instances.unlabelled[b, n] and v >= threshold and not any(c == a for c, _ in here):
                ignored.add((b, a))
    return pairs, nearest, ignored


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("threshold", [0.2, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_matching_by_loops(seed: int, threshold: float, keep_best: bool) -> None:
    segments, instances, allowed = random_case(seed)
    found = match(segments, instances, allowed, threshold, keep_best=keep_best)
    pairs, nearest, ignored = slow_match(segments, instances, allowed, threshold, keep_best)
    for b, expected in enumerate(pairs):
        assert {(a, n) for a, n in found.pairs[b].nonzero().tolist()} == expected
    assert {(b, a) for b, a in found.positive.nonzero().tolist()} == set(nearest)
    assert {key: int(found.nearest[key]) for key in nearest} == nearest
    assert {(b, a) for b, a in found.ignored.nonzero().tolist()} == ignored


def test_a_batch_without_any_instance_matches_nothing() -> None:
    none = pad_instances([torch.empty(0, 2)] * 2, [torch.empty(0, dtype=torch.int64)] * 2)
    found = match(torch.tensor([[[0.0, 5.0]]]), none, torch.ones(2, 1, dtype=torch.bool), 0.5, keep_best=True)
    assert not found.positive.any()
    assert not found.ignored.any()
    assert found.nearest.shape == (2, 1)


def test_the_best_segment_of_an_instance_is_a_positive_of_the_segments_own_best() -> None:
    # The second instance touches the first segment alone, which is nearer to the first instance.
    instances = pad_instances([torch.tensor([[4.0, 18.0], [-30.0, 1.0]])], [torch.tensor([0, 1])])
    segments = torch.tensor([[[0.0, 10.0], [5.0, 18.0]]])
    allowed = torch.ones(1, 2, dtype=torch.bool)
    assert match(segments, instances, allowed, 0.6).positive[0].tolist() == [False, True]
    kept = match(segments, instances, allowed, 0.6, keep_best=True)
    assert kept.positive[0].tolist() == [True, True]
    assert kept.nearest[0].tolist() == [0, 0]
    assert kept.pairs[0].tolist() == [[True, False], [True, False]]


def test_segments_that_touch_no_instance_are_no_positives_though_none_surpasses_them() -> None:
    instances = pad_instances([torch.tensor([[50.0, 60.0]])], [torch.tensor([0])])
    segments = torch.tensor([[[0.0, 10.0], [5.0, 18.0]]])
    assert not match(segments, instances, torch.ones(1, 2, dtype=torch.bool), 0.6, keep_best=True).positive.any()


def test_values_of_instances_are_taken_with_any_trailing_shape() -> None:
    nearest = torch.tensor([[2, 0], [1, 1]])
    flat = torch.arange(6).view(2, 3)
    deep = torch.arange(24).view(2, 3, 4)
    assert take_instances(flat, nearest).tolist() == [[2, 0], [4, 4]]
    assert take_instances(deep, nearest)[1, 0].tolist() == deep[1, 1].tolist()


def test_padding_tells_real_labelled_unlabelled_and_empty_apart() -> None:
    padded = pad_instances(
        [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.empty(0, 2)],
        [torch.tensor([-1, 2]), torch.empty(0, dtype=torch.int64)],
    )
    assert padded.segments.tolist() == [[[1, 2], [3, 4]], [[0, 0], [0, 0]]]
    assert padded.labelled.tolist() == [[False, True], [False, False]]
    assert padded.unlabelled.tolist() == [[True, False], [False, False]]
