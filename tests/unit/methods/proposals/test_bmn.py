"""BMN: its network, labels, loss and scores by loops, and what must change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from proposal_worlds import (
    CHANNELS,
    CLASSES,
    balanced,
    banded,
    best,
    check_odd_windows,
    check_padding_and_company,
    check_resuming,
    mixed_batch,
    region_label,
    rows_of,
    sample,
    sorted_rows,
    spread,
    value,
)
from untrimmed.data.batch import Batch, Sample, collate
from untrimmed.layers.boundary_matching import matching_grid
from untrimmed.layers.matching import pad_instances
from untrimmed.losses import total
from untrimmed.methods.proposals.bmn import BMN, Config, edge_labels
from untrimmed.methods.protocol import Method
from untrimmed.segments import tiou_scalar

SMALL = {"channels": 8, "base_channels": 6, "matching_channels": 10, "map_channels": 7, "bins": 4}


def model(seed: int = 0, **changes: Any) -> BMN:
    torch.manual_seed(seed)
    return BMN(Config(**{**SMALL, **changes}), CHANNELS, CLASSES)


def proposals(batch: Batch, longest: int | None = None) -> list[tuple[int, int, int]]:
    """Window, start and end of every proposal within the video, in the order of the grid."""
    found = []
    for window, mask in enumerate(batch.mask):
        steps = int(mask.sum())
        for start in range(batch.mask.shape[1]):
            furthest = steps if longest is None else min(steps, start + longest)
            found += [(window, start, end) for end in range(start + 1, furthest + 1)]
    return found


def number(start: int, end: int, steps: int, longest: int | None) -> int:
    grid = matching_grid(steps, longest, torch.device("cpu"))
    return int(grid.number(torch.tensor(start), torch.tensor(end - start)))


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


def test_parameters_at_the_papers_size() -> None:
    network = BMN(Config(), 400, 200)
    by_hand = {
        "base": 400 * 256 * 3 + 256 + 256 * 128 * 3 + 128,
        "tem": 128 * 256 * 3 + 256,
        "edges": 256 * 2 + 2,
        "matching": 32 * 128 * 512 + 512,
        "reduce": 512 * 128 + 128,
        "map": 2 * (128 * 128 * 9 + 128),
        "confidence": 128 * 2 + 2,
    }
    for name, count in by_hand.items():
        assert sum(each.numel() for each in getattr(network, name).parameters()) == count, name
    assert sum(each.numel() for each in network.parameters()) == sum(by_hand.values()) == 2_963_716


@pytest.mark.parametrize("changes", [{}, {"max_proposal": 5}, {"bin_samples": 3, "context": 0.5}])
@torch.no_grad()
def test_the_network_by_the_dense_form(changes: dict[str, Any]) -> None:
    """All features in bins, the convolution over the bins in three dimensions, those of the map in two."""
    network, batch = model(**changes).double(), mixed_batch()
    batch = Batch(batch.features.double(), batch.clip, batch.targets, batch.maps, batch.video_ids)
    raw = network(batch)
    longest = network.config.max_proposal
    steps, mask = batch.mask.shape[1], batch.mask[:, None].double()
    x = batch.features
    for conv in network.base:
        x = F.relu(conv(x)) * mask
    edges = network.edges(F.relu(network.tem(x)))
    torch.testing.assert_close(raw["edges"], edges)
    most = longest or steps
    aligned = torch.zeros(len(batch), x.shape[1], network.config.bins, most, steps, dtype=torch.float64)
    there = torch.zeros(len(batch), 1, most, steps, dtype=torch.float64)
    for window, start, end in proposals(batch, longest):
        low = start - network.config.context * (end - start)
        width = (end - start) * (1 + 2 * network.config.context)
        count = network.config.bins * network.config.bin_samples
        for k in range(count):
            position = low + width * k / (count - 1) - 0.5
            below = math.floor(position)
            for step, weight in ((below, 1 - (position - below)), (below + 1, position - below)):
                if 0 <= step < steps:
                    part = weight * x[window, :, step] / network.config.bin_samples
                    aligned[window, :, k // network.config.bin_samples, end - start - 1, start] += part
        there[window, 0, end - start - 1, start] = 1
    weight = network.matching.project.weight.movedim(2, 0).movedim(2, 1)[..., None, None]
    current = F.relu(F.conv3d(aligned, weight, network.matching.project.bias)[:, :, 0])
    current = F.relu(F.conv2d(current, network.reduce.weight[..., None, None], network.reduce.bias)) * there
    for conv in network.map:
        current = F.relu(conv(current)) * there
    logits = F.conv2d(current, network.confidence.weight[..., None, None], network.confidence.bias)
    seen = torch.zeros_like(raw["confidence"])
    for window, start, end in proposals(batch, longest):
        seen[window, :, number(start, end, steps, longest)] = logits[window, :, end - start - 1, start]
    torch.testing.assert_close(raw["confidence"], seen)


def test_labels_of_edges_by_a_loop() -> None:
    batch = mixed_batch()
    instances = pad_instances([each.segments for each in batch.targets], [each.labels for each in batch.targets])
    for region, least in ((0.1, 1.5), (0.3, 0.6)):
        labels = edge_labels(instances, 20, region, least)
        for window in range(3):
            for step in range(20):
                for edge in (0, 1):
                    around = (step + edge - 0.5, step + edge + 0.5)
                    wanted = region_label(around, rows_of(batch, window), edge, region, least)
                    assert bool(labels[window, edge, step]) == wanted, (window, step, edge)


def test_a_table_of_known_labels() -> None:
    batch = collate([sample(12, 0, [(2.0, 8.0, 0)])])
    instances = pad_instances([batch.targets[0].segments], [batch.targets[0].labels])
    labels = edge_labels(instances, 12, 0.1, 1.5)[0]
    # The action's first step is 2, its last one 7; one step to either side is near enough.
    assert labels[0].nonzero()[:, 0].tolist() == [1, 2, 3]
    assert labels[1].nonzero()[:, 0].tolist() == [6, 7, 8]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("longest", [None, 6])
def test_the_loss_by_loops(longest: int | None) -> None:
    network, batch = model(max_proposal=longest, tiou_positive=0.6), mixed_batch()
    raw = spread(network(batch))
    terms = network.loss(raw, batch)
    for row, name in enumerate(("start", "end")):
        logits, labels = [], []
        for window, mask in enumerate(batch.mask):
            for step in range(int(mask.sum())):
                logits.append(float(raw["edges"][window, row, step]))
                around = (step + row - 0.5, step + row + 0.5)
                labels.append(region_label(around, rows_of(batch, window), row, 0.1, 1.5))
        assert value(terms, name) == pytest.approx(balanced(logits, labels), rel=1e-5)
    every = proposals(batch, longest)
    numbers = [number(start, end, 20, longest) for _, start, end in every]
    overlaps = [best(start, end, rows_of(batch, window)) for window, start, end in every]
    first = [float(raw["confidence"][each[0], 0, n]) for each, n in zip(every, numbers, strict=True)]
    assert value(terms, "classification") == pytest.approx(balanced(first, [o > 0.6 for o in overlaps]), rel=1e-5)
    errors, kept = [], []
    for (window, _, _), n, overlap in zip(every, numbers, overlaps, strict=True):
        if overlap > 0:
            errors.append((sigmoid(float(raw["confidence"][window, 1, n])) - overlap) ** 2 / 2)
            kept.append(overlap)
    assert value(terms, "regression") == pytest.approx(10 * banded(errors, kept, (0.3, 0.7), (1, 1, 1)), rel=1e-5)
    assert value(terms) == pytest.approx(sum(value(terms, name) for name in ("start", "end", "class", "regr")))


@pytest.mark.parametrize("changes", [{}, {"score": "root"}, {"candidates": "all"}, {"max_proposal": 6}])
def test_detections_by_a_loop(changes: dict[str, Any]) -> None:
    network, batch = model(**changes).eval(), mixed_batch()
    raw = spread(network(batch))
    found = network.decode(raw, batch)
    longest = network.config.max_proposal
    for window, mask in enumerate(batch.mask):
        steps = int(mask.sum())
        curves = raw["edges"][window, :, :steps].sigmoid().tolist()

        def may(edge: int, step: int, curves: list[list[float]] = curves, steps: int = steps) -> bool:
            row = curves[edge]
            if network.config.candidates == "all" or step == (0, steps - 1)[edge]:
                return True
            around = [row[i] for i in (step - 1, step + 1) if 0 <= i < steps]
            return row[step] > 0.5 * max(row) or all(row[step] > each for each in around)

        expected = []
        for at, start, end in proposals(batch, longest):
            if at == window and may(0, start) and may(1, end - 1):
                cls, reg = raw["confidence"][window, :, number(start, end, 20, longest)].sigmoid().tolist()
                both = math.sqrt(cls * reg) if network.config.score == "root" else cls * reg
                expected.append((start, end, curves[0][start] * curves[1][end - 1] * both))
        rows = sorted_rows(found[window])
        assert len(rows) == len(expected) > 0
        for got, wanted in zip(rows, sorted(expected), strict=True):
            assert got == pytest.approx(wanted, rel=1e-5)
        scores = found[window].scores
        assert (scores[:-1] >= scores[1:]).all()
        assert torch.equal(found[window].centers, found[window].segments.mean(-1))


def test_curves_are_probabilities_within_the_video() -> None:
    network, batch = model().eval(), mixed_batch()
    raw = spread(network(batch))
    for row, curves in enumerate(network.curves(raw, batch)):
        assert curves.keys() == {"start", "end"}
        expected = raw["edges"][row].sigmoid() * batch.mask[row]
        torch.testing.assert_close(torch.stack([*curves.values()]), expected)


@pytest.mark.parametrize("changes", [{}, {"max_proposal": 6, "candidates": "all"}])
def test_padding_and_company_change_nothing(changes: dict[str, Any]) -> None:
    check_padding_and_company(model(**changes))


def test_odd_windows_go_through() -> None:
    check_odd_windows(model())


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    check_resuming(tmp_path, model, (5,))


@torch.no_grad()
def test_bf16_autocast_stays_near_float32() -> None:
    network, batch = model().eval(), mixed_batch()
    exact = value(network.loss(network(batch), batch))
    with torch.autocast("cpu", torch.bfloat16):
        raw = network(batch)
    assert value(network.loss({name: each.float() for name, each in raw.items()}, batch)) == pytest.approx(
        exact, rel=0.1
    )


@pytest.mark.parametrize(
    "changes",
    [{"bins": 1}, {"max_proposal": 0}, {"candidates": "some"}, {"tiou_positive": 1.0}, {"boundary_least": 0.1}],
)
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**changes)


def test_it_learns_a_window_by_heart() -> None:
    network = model(channels=24, base_channels=16, matching_channels=24, map_channels=12, bins=8, max_proposal=20)
    instances = [(6.0, 10.0, 0), (16.0, 24.0, 1), (30.0, 46.0, 2)]
    one = sample(48, 0, instances)
    features = 0.3 * one.features
    for start, end, label in instances:
        features[label, int(start) : int(end)] += 3.0
    batch = collate([Sample(features, one.clip, one.targets, one.map, "v")])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        total(network.loss(network(batch), batch)).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        found = network.decode(network(batch), batch)[0]
    for start, end, _ in instances:
        near: Tensor = torch.tensor([tiou_scalar(start, end, *each) for each in found.segments[:12].tolist()])
        assert near.max() > 0.8, (start, end, found.segments[:12])
