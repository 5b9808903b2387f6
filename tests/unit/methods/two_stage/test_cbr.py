"""CBR against slow loops: features of units, windows that slide, looks, labels, losses, detections."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from proposal_worlds import CHANNELS, CLASSES, Rows, check_resuming, rows_of, sample
from untrimmed.data.batch import Batch, Proposals, Sample, collate
from untrimmed.errors import InputError
from untrimmed.losses import total
from untrimmed.methods.plugins.gcm import GCM
from untrimmed.methods.plugins.gcm import Config as GraphConfig
from untrimmed.methods.protocol import needs_proposals
from untrimmed.methods.two_stage.cbr import CBR, Config, Stage, sliding, unit_features
from untrimmed.segments import tiou_scalar

LENGTHS = (1, 2, 4, 8)


class Others(nn.Module):
    """A context that adds to every segment the mean of all of its window."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(
        self,
        features: Tensor,
        segments: Tensor,
        mask: Tensor | None = None,
        edges: Any = None,
        wanted: Tensor | None = None,
    ) -> Tensor:
        assert mask is not None
        kept = features * mask[..., None]
        found = (kept + kept.sum(1, keepdim=True) / mask.sum(1)[:, None, None].clamp(min=1)) * mask[..., None]
        return found if wanted is None else found.gather(1, wanted[..., None].expand(-1, -1, found.shape[-1]))

    def edges(self, features: Tensor, segments: Tensor, mask: Tensor | None = None) -> None:
        return None


def config(**changes: Any) -> Config:
    return Config.model_validate({"lengths": LENGTHS, "hidden": 8, "dropout": 0.0, **changes})


def given(one: Sample, rows: list[tuple[float, float]]) -> Sample:
    segments = torch.tensor(rows, dtype=torch.float32).view(-1, 2)
    proposals = Proposals(segments, torch.linspace(0.9, 0.1, len(rows)), torch.arange(len(rows)))
    return replace(one, proposals=proposals)


def proposed_batch() -> Batch:
    """A window with instances, one of them without label; one without proposals; and one that is padded."""
    first = sample(20, 1, [(3.0, 9.0, 0), (4.5, 7.5, 2), (13.3, 17.0, -1)])
    third = sample(20, 3, [(0.0, 6.0, 1)], shown=12)
    return collate(
        [
            given(first, [(3.2, 8.7), (0.0, 2.0), (13.0, 17.0), (4.0, 7.0), (9.5, 20.0)]),
            given(sample(15, 2, []), []),
            given(third, [(0.0, 5.0), (7.0, 12.0), (2.5, 11.0)]),
        ]
    )


def made(settings: Config, context: Any = None, seed: int = 0) -> CBR:
    torch.manual_seed(seed)
    network = CBR(settings, CHANNELS, CLASSES, context) if context else CBR(settings, CHANNELS, CLASSES)
    with torch.no_grad():
        for each in network.parameters():
            each.copy_(torch.randn_like(each) * 0.3)
    return network


def mean_of(rows: list[list[float]], start: float, end: float) -> list[float]:
    """The mean of steps (C each), each by the share of its cell; zero over nothing."""
    shares = [max(0.0, min(end, i + 1) - max(start, i)) for i in range(len(rows))]
    whole = sum(shares)
    return [
        sum(share * row[c] for share, row in zip(shares, rows, strict=True)) / whole if whole > 0 else 0.0
        for c in range(CHANNELS)
    ]


def features_of(rows: list[list[float]], start: float, end: float, reach: float) -> list[float]:
    last = len(rows)
    parts = [
        *mean_of(rows, max(0.0, start - reach), start),
        *mean_of(rows, start, end),
        *mean_of(rows, end, min(last, end + reach)),
    ]
    norm = math.sqrt(sum(value * value for value in parts))
    return [value / norm if norm > 1e-12 else 0.0 for value in parts]


@pytest.mark.parametrize("unit", [1.0, 2.0])
def test_features_are_the_means_of_the_units_before_in_and_after(unit: float) -> None:
    batch = proposed_batch()
    settings = config(proposals="given", unit=unit, surroundings=1.5)
    segments = made(settings)._begin(batch)
    found = unit_features(batch, segments, settings)
    assert batch.proposals is not None
    for window in range(3):
        shown = int(batch.mask[window].sum())
        rows = batch.features[window].T[:shown].tolist()
        for number in range(found.shape[1]):
            if not segments.mask[window, number]:
                assert not found[window, number].any()
                continue
            start, end = batch.proposals.segments[window, number].tolist()
            expected = features_of(rows, start, end, 1.5 * unit)
            assert found[window, number].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("unit", [1.0, 1.5])
def test_windows_that_slide(unit: float) -> None:
    expected = []
    for length in LENGTHS:
        start = 0.0
        while start + length * unit / 2 < 13:
            expected.append((start, start + length * unit))
            start += max(0.25 * length, 0.5) * unit
    assert sliding(13, config(unit=unit)).tolist() == [pytest.approx(each) for each in expected]
    assert sliding(0, config()).shape == (0, 2)


def stage_by_hand(stage: Stage, features: list[list[float]], mix: bool) -> list[tuple[list[float], list[list[float]]]]:
    """Logits and offsets of the segments of a window, from their features."""

    def linear(layer: nn.Linear, values: list[float]) -> list[float]:
        return [
            sum(w * v for w, v in zip(row, values, strict=True)) + bias
            for row, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]

    hidden = [[max(0.0, value) for value in linear(stage.hidden, each)] for each in features]
    if mix:
        mean = [sum(column) / len(hidden) for column in zip(*hidden, strict=True)]
        hidden = [[value + more for value, more in zip(each, mean, strict=True)] for each in hidden]
    found = []
    for each in hidden:
        offsets = linear(stage.offsets, each)
        found.append((linear(stage.actions, each), [offsets[2 * k : 2 * k + 2] for k in range(stage.classes)]))
    return found


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize(
    "changes",
    [{}, {"scores": "last", "softmax": "actions"}, {"every_class": True, "rounded": False, "proposal_score": True}],
)
def test_looks_and_detections_by_a_loop(changes: dict[str, Any], mix: bool) -> None:
    settings = config(proposals="given", looks=3, surroundings=2.0, **changes)
    network = made(settings, Others if mix else None).eval()
    batch = proposed_batch()
    with torch.no_grad():
        found = network.decode(network(batch), batch)
    assert batch.proposals is not None
    for window in range(3):
        shown = int(batch.mask[window].sum())
        rows = batch.features[window].T[:shown].tolist()
        kept = batch.proposals.mask[window]
        spans = batch.proposals.segments[window][kept].tolist()
        scores = [[1.0] * CLASSES for _ in spans]
        said: list[Any] = []
        for look in range(3):
            said = stage_by_hand(network.detecting, [features_of(rows, *span, 2.0) for span in spans], mix)
            for number, (logits, offsets) in enumerate(said):
                likely = softmax(logits[:-1] if settings.softmax == "actions" else logits)[:CLASSES]
                before = scores[number] if settings.scores == "product" else [1.0] * CLASSES
                scores[number] = [a * b for a, b in zip(before, likely, strict=True)]
                if look < 2:
                    best = max(range(CLASSES), key=lambda k: logits[k])
                    goal = [span + move for span, move in zip(spans[number], offsets[best], strict=True)]
                    goal = [float(round(each)) for each in goal] if settings.rounded else goal
                    goal = [min(max(each, 0.0), float(shown)) for each in goal]
                    spans[number] = goal if goal[1] - goal[0] >= 1 else spans[number]
        expected = []
        for number, (_, offsets) in enumerate(said):
            own = scores[number]
            if settings.proposal_score:
                own = [each * float(batch.proposals.scores[window, number]) for each in own]
            for k in range(CLASSES) if settings.every_class else [own.index(max(own))]:
                ends = sorted(span + move for span, move in zip(spans[number], offsets[k], strict=True))
                ends = [min(max(each, 0.0), float(shown)) for each in ends]
                if ends[1] > ends[0]:
                    expected.append((*ends, own[k], k))
        got = zip(
            found[window].segments.tolist(), found[window].scores.tolist(), found[window].labels.tolist(), strict=True
        )
        for one, other in zip(
            sorted((*ends, score, label) for ends, score, label in got), sorted(expected), strict=True
        ):
            assert one == pytest.approx(other, abs=1e-4)
        assert found[window].scores.tolist() == sorted(found[window].scores.tolist(), reverse=True)


def label_of(start: float, end: float, instances: Rows, settings: Config) -> tuple[int, tuple[float, float] | None]:
    named = [each for each in instances if each[2] >= 0]
    overlaps = [tiou_scalar(start, end, *each[:2]) for each in named]
    if overlaps and max(overlaps) >= settings.positive:
        best = named[overlaps.index(max(overlaps))]
        return best[2], (round(best[0]) - start, round(best[1]) - end)
    if all(tiou_scalar(start, end, *each[:2]) < settings.background for each in instances):
        return CLASSES, None
    return -1, None


def test_labels_and_offsets_by_a_loop() -> None:
    settings = config(proposals="given")
    network, batch = made(settings), proposed_batch()
    segments = network._begin(batch)
    labels, goals = network._labels(segments, batch, CLASSES)
    kinds = set()
    for window in range(3):
        for number in range(segments.mask.shape[1]):
            if not segments.mask[window, number]:
                assert labels[window, number] == -1
                continue
            span = segments.spans[window, number].tolist()
            label, goal = label_of(*span, rows_of(batch, window), settings)
            kinds.add(label)
            assert labels[window, number] == label
            if goal is not None:
                assert goals[window, number].tolist() == pytest.approx(goal, abs=1e-5)
    assert {-1, CLASSES} < kinds


def test_the_loss_by_a_loop() -> None:
    settings = config(proposals="given", drawn_positive=4, drawn_background=3, weight_offsets=0.7)
    network, batch = made(settings, Others).train(), proposed_batch()
    raw = network(batch)
    drawn = [
        (
            raw["logits"][b, m].tolist(),
            raw["offsets"][b, m].tolist(),
            int(raw["labels"][b, m]),
            raw["goals"][b, m].tolist(),
        )
        for b in range(3)
        for m in range(7)
    ]
    there = [each for each in drawn if each[2] >= 0]
    positive = [each for each in there if each[2] < CLASSES]
    assert len(there) > len(positive) > 0
    actions = sum(-math.log(softmax(logits)[label]) for logits, _, label, _ in there) / len(there)
    errors = sum(
        abs(offsets[label][0] - goal[0]) + abs(offsets[label][1] - goal[1]) for _, offsets, label, goal in positive
    )
    terms = network.loss(raw, batch)
    assert set(terms) == {"actions", "offsets"}
    assert float(total(terms).detach()) == pytest.approx(actions + 0.7 * errors / len(positive), rel=1e-5)


def test_drawn_segments_are_said_what_all_are_said() -> None:
    """With a context, each drawn one still knows all of its window."""
    network, batch = made(config(proposals="given"), Others), proposed_batch()
    segments = network._begin(batch)
    whole = network.detecting(batch, segments)
    wanted = torch.tensor([[4, 0], [0, 0], [2, 1]])
    some = network.detecting(batch, segments, wanted)
    for window in (0, 2):
        for one, other in zip(whole, some, strict=True):
            torch.testing.assert_close(one[window, wanted[window]], other[window])


@pytest.mark.parametrize("proposals", ["own", "given"])
def test_padding_and_company_change_nothing(proposals: str) -> None:
    network = made(config(proposals=proposals), Others).eval()
    one = given(sample(13, 2, [(3.0, 9.0, 0)]), [(2.0, 8.0), (0.0, 13.0), (9.5, 11.0)])
    others = [given(sample(20, 1, []), [(1.0, 5.0)]), one, given(sample(9, 3, []), [])]
    alone, batch = collate([one]), collate(others)
    with torch.no_grad():
        left, right = network.decode(network(alone), alone)[0], network.decode(network(batch), batch)[1]
    assert len(left.scores) == len(right.scores) > 0
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-6)


def test_proposals_are_windows_moved_by_the_stage_before() -> None:
    network = made(config(looks=2)).eval()
    batch = collate([sample(12, 5, [])])
    with torch.no_grad():
        begun = network._begin(batch)
        assert network.proposing is not None
        looked = network.proposing.looks(batch, begun)
        moved = network._proposed(batch, begun)
    ends = looked.spans + looked.offsets[:, :, 0]
    ends = torch.stack((ends.amin(-1), ends.amax(-1)), -1).clamp(0, 12)
    usable = (ends[..., 1] > ends[..., 0])[..., None]
    torch.testing.assert_close(moved.spans, ends.where(usable, looked.spans))
    torch.testing.assert_close(moved.scores, looked.logits.softmax(-1)[..., 0].prod(1))
    assert (moved.spans[..., 1] > moved.spans[..., 0])[begun.mask].all()


def test_it_learns_a_window_by_heart() -> None:
    torch.manual_seed(0)
    network = CBR(config(hidden=32, looks=2), CHANNELS, CLASSES)
    batch = collate([sample(24, 1, [(3.0, 9.0, 0), (14.0, 18.0, 2)])])
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        total(network.train().loss(network(batch), batch)).backward()
        optimizer.step()
    with torch.no_grad():
        [found] = network.eval().decode(network(batch), batch)
    for start, end, label in rows_of(batch, 0):
        rows = found.labels == label
        best = int(found.scores[rows].argmax())
        assert tiou_scalar(start, end, *found.segments[rows][best].tolist()) > 0.7


def test_no_proposals_and_mistakes() -> None:
    network = made(config(proposals="given"))
    with pytest.raises(InputError, match="method cbr judges proposals, and this batch has none"):
        network(collate([sample(8, 1, [])]))
    bare = collate([given(sample(8, 1, [(1.0, 3.0, 0)]), [])])
    terms = network.train().loss(network(bare), bare)
    assert float(total(terms).detach()) == 0
    with torch.no_grad():
        raw = network.eval()(bare)
    assert len(network.decode(raw, bare)[0].scores) == 0
    with pytest.raises(InputError, match="the loss is of what a network in training says"):
        network.loss(raw, bare)
    assert needs_proposals(CBR, {"proposals": "given"})
    assert not needs_proposals(CBR, {})
    assert needs_proposals(network)
    assert not needs_proposals(made(config()))


def test_parameters_at_the_sizes_of_the_paper() -> None:
    network = CBR(Config(proposals="given"), 4096, 20)
    assert sum(each.numel() for each in network.parameters()) == (12288 + 1) * 1000 + 1001 * (21 + 2 * 20)


def test_resumed_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    """What is drawn for the loss and by GCM too."""

    def make() -> CBR:
        return made(config(dropout=0.3, looks=2), partial(GCM, GraphConfig(hidden=4)))

    check_resuming(tmp_path, make, (2, 7))
