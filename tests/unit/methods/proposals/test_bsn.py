"""BSN: its network, pairs, labels, loss and scores by loops, its two phases, and what must change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from proposal_worlds import (
    CHANNELS,
    CLASSES,
    Feed,
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
from untrimmed.data.batch import Sample, collate
from untrimmed.layers.boundary_pairs import sensitive_features
from untrimmed.losses import total
from untrimmed.methods.proposals.bsn import BSN, Config
from untrimmed.methods.protocol import Method
from untrimmed.segments import tiou_scalar
from untrimmed.training.optim import AlternatingStep, make_step
from untrimmed.training.settings import OptimSettings, TrainSettings

SMALL = {"channels": 8, "hidden": 6, "tem_epochs": 2}


def model(seed: int = 0, **changes: Any) -> BSN:
    torch.manual_seed(seed)
    network = BSN(Config(**{**SMALL, **changes}), CHANNELS, CLASSES)
    # Curves of fresh weights are flat; spread out they have candidates and others.
    with torch.no_grad():
        network.tem[2].weight *= 60
    return network


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


def test_parameters_at_the_papers_size() -> None:
    network = BSN(Config(), 400, 200)
    tem = 400 * 512 * 3 + 512 + 512 * 512 * 3 + 512 + 512 * 3 + 3
    pem = 32 * 256 + 256 + 256 + 1
    assert sum(each.numel() for each in network.tem.parameters()) == tem == 1_403_395
    assert sum(each.numel() for each in network.pem.parameters()) == pem == 8_705


@pytest.mark.parametrize("changes", [{}, {"max_proposal": 5}, {"most_scored": 7, "most_learned": 3}])
@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_curves_and_pairs_by_a_loop(changes: dict[str, Any], training: bool) -> None:
    network, batch = model(**changes).train(training), mixed_batch()
    config, raw = network.config, network(batch)
    first, second, last = network.tem
    expected = last(F.relu(second(F.relu(first(batch.features)) * batch.mask[:, None])))
    torch.testing.assert_close(raw["curves"], expected)
    most = config.most_learned if training else config.most_scored or 10_000
    for window, mask in enumerate(batch.mask):
        steps = int(mask.sum())
        action, start_curve, end_curve = raw["curves"][window, :, :steps].sigmoid().tolist()

        def candidates(row: list[float], always: int, steps: int = steps) -> list[int]:
            found = []
            for step in range(steps):
                around = [row[i] for i in (step - 1, step + 1) if 0 <= i < steps]
                if step == always or row[step] > 0.5 * max(row) or all(row[step] > each for each in around):
                    found.append(step)
            return found

        starts, ends = candidates(start_curve, 0), candidates(end_curve, steps - 1)
        assert 1 < len(starts) < steps or steps < 12
        longest = config.max_proposal or steps
        pairs = [(s, e) for s in starts for e in ends if 0 < e - s <= longest]
        pairs = sorted(pairs, key=lambda pair: -start_curve[pair[0]] * end_curve[pair[1]])[:most]
        listed = [(s, e) for s, e in raw["pairs"][window].tolist() if s >= 0]
        assert listed == pairs
        assert (raw["pairs"][window, len(pairs) :] == -1).all()
        segments = torch.tensor(pairs) + 0.5
        features = sensitive_features(torch.tensor([action]), segments, torch.zeros(len(pairs), dtype=torch.int64))
        torch.testing.assert_close(raw["confidence"][window, : len(pairs)], network.pem(features)[:, 0])
        assert not raw["confidence"][window, len(pairs) :].any()


@pytest.mark.parametrize("least", [0.5, 1.5])
def test_the_loss_by_loops(least: float) -> None:
    network, batch = model(boundary_least=least), mixed_batch()
    raw = spread(network(batch))
    terms = network.loss(raw, batch)
    for row, (name, edge) in enumerate((("action", None), ("start", 0), ("end", 1))):
        logits, labels = [], []
        for window, mask in enumerate(batch.mask):
            for step in range(int(mask.sum())):
                logits.append(float(raw["curves"][window, row, step]))
                labels.append(region_label((step, step + 1), rows_of(batch, window), edge, 0.1, least))
        weight = 2 if name == "action" else 1
        assert value(terms, name) == pytest.approx(weight * balanced(logits, labels), rel=1e-5)
    errors, overlaps = [], []
    for window in range(len(batch)):
        for (start, end), logit in zip(raw["pairs"][window].tolist(), raw["confidence"][window].tolist(), strict=True):
            if start >= 0:
                overlap = best(start + 0.5, end + 0.5, rows_of(batch, window))
                errors.append((1 / (1 + math.exp(-logit)) - overlap) ** 2 / 2)
                overlaps.append(overlap)
    assert value(terms, "confidence") == pytest.approx(10 * banded(errors, overlaps, (0.2, 0.6), (2, 1, 1)), rel=1e-5)
    assert value(terms) == pytest.approx(sum(value(terms, name) for name in ("action", "start", "end", "conf")))


def test_a_table_of_known_labels() -> None:
    batch = collate([sample(30, 0, [(4.25, 24.25, 0)])])
    network = model()
    raw = {"curves": torch.zeros(1, 3, 30)}
    terms = network.loss(raw, batch)
    # A tenth of 20 steps to either side: [2.25, 6.25) and [22.25, 26.25).
    assert [int(terms[f"{name}_positive"].count) for name in ("action", "start", "end")] == [20, 4, 4]
    shifted = collate([sample(30, 0, [(4.4, 6.4, 0)])])
    # At least half a step: [3.9, 4.9) covers step 4 by 0.9.
    assert int(network.loss(raw, shifted)["start_positive"].count) == 1


def test_detections_by_a_loop() -> None:
    network, batch = model().eval(), mixed_batch()
    with torch.no_grad():
        raw = {**network(batch), "confidence": spread(network(batch))["confidence"]}
    for window, found in enumerate(network.decode(raw, batch)):
        curves = raw["curves"][window].sigmoid().tolist()
        expected = [
            (s + 0.5, e + 0.5, curves[1][s] * curves[2][e] / (1 + math.exp(-logit)))
            for (s, e), logit in zip(raw["pairs"][window].tolist(), raw["confidence"][window].tolist(), strict=True)
            if s >= 0
        ]
        rows = sorted_rows(found)
        assert len(rows) == len(expected) > 0
        for got, wanted in zip(rows, sorted(expected), strict=True):
            assert got == pytest.approx(wanted, rel=1e-5)
        assert (found.scores[:-1] >= found.scores[1:]).all()


def test_curves_are_probabilities_within_the_video() -> None:
    network, batch = model().eval(), mixed_batch()
    raw = spread(network(batch))
    for row, curves in enumerate(network.curves(raw, batch)):
        assert list(curves) == ["action", "start", "end"]
        torch.testing.assert_close(torch.stack([*curves.values()]), raw["curves"][row].sigmoid() * batch.mask[row])


def test_the_confidence_learns_when_the_curves_have_and_nothing_of_it_reaches_them() -> None:
    network = model()
    settings = TrainSettings(epochs=4, optim=OptimSettings(lr=0.01))
    step = make_step(network, settings)
    assert isinstance(step, AlternatingStep)
    (batches,) = [*Feed().batches(0, 2)]

    def moved(epoch: float) -> tuple[bool, bool, set[str]]:
        before = {name: each.clone() for name, each in network.state_dict().items()}
        names = step(batches, epoch).keys()
        changed = {name[:3] for name, each in network.state_dict().items() if not torch.equal(each, before[name])}
        return "tem" in changed, "pem" in changed, {name.split("_")[0] for name in names}

    assert moved(0.0) == (True, False, {"action", "start", "end", "loss", "gradient"})
    assert moved(1.9) == (True, False, {"action", "start", "end", "loss", "gradient"})
    assert moved(2.0) == (False, True, {"confidence", "loss", "gradient"})
    assert moved(3.9) == (False, True, {"confidence", "loss", "gradient"})
    network.zero_grad()
    total({k: v for k, v in network.loss(network(batches[0]), batches[0]).items() if "conf" in k}).backward()
    assert all(each.grad is None or not each.grad.any() for each in network.tem.parameters())


@pytest.mark.parametrize("changes", [{}, {"max_proposal": 6}])
def test_padding_and_company_change_nothing(changes: dict[str, Any]) -> None:
    check_padding_and_company(model(**changes))


def test_odd_windows_go_through() -> None:
    check_odd_windows(model())


def test_a_step_of_the_confidence_without_any_pair_changes_nothing() -> None:
    network = model()
    step = make_step(network, TrainSettings(epochs=4, optim=OptimSettings(lr=0.01, weight_decay=0.0)))
    before = {name: each.clone() for name, each in network.state_dict().items()}
    assert step([collate([sample(1, 0, []), sample(1, 1, [])])], 3.0)["loss"] == 0
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Cut in the first phase, at the change, and in the second."""
    check_resuming(tmp_path, model, (2, 6, 8))


@torch.no_grad()
def test_bf16_autocast_stays_near_float32() -> None:
    network, batch = model().eval(), mixed_batch()
    exact = network(batch)["curves"].sigmoid()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(batch)
    torch.testing.assert_close(rough["curves"].float().sigmoid(), exact, rtol=0.05, atol=0.05)
    assert rough["pairs"].dtype == torch.int64


@pytest.mark.parametrize("changes", [{"tem_epochs": 0}, {"boundary_least": 0.4}, {"feature_values": [16, 8]}])
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**changes)


def test_it_learns_a_window_by_heart() -> None:
    torch.manual_seed(0)
    network = BSN(Config(channels=32, hidden=32, tem_epochs=60, boundary_least=1.0), CHANNELS, CLASSES)
    instances = [(6.5, 10.5, 0), (16.5, 24.5, 1), (30.5, 46.5, 2)]
    one = sample(48, 0, instances)
    features = 0.3 * one.features
    for start, end, label in instances:
        features[label, int(start) : int(end)] += 3.0
    batch = collate([Sample(features, one.clip, one.targets, one.map, "v")])
    step = make_step(network, TrainSettings(epochs=120, optim=OptimSettings(name="adam", lr=1e-2)))
    for epoch in range(120):
        step([batch], float(epoch))
    network.eval()
    with torch.no_grad():
        found = network.decode(network(batch), batch)[0]
    for start, end, _ in instances:
        assert max(tiou_scalar(start, end, *each) for each in found.segments[:12].tolist()) > 0.8
