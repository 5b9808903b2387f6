"""TAG: what it learns from, its scores by loops, and what must change nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from proposal_worlds import (
    CHANNELS,
    CLASSES,
    best,
    check_odd_windows,
    check_padding_and_company,
    check_resuming,
    mixed_batch,
    rows_of,
    sample,
    sorted_rows,
    spread,
    value,
)
from untrimmed.data.batch import Sample, collate
from untrimmed.layers.watershed import watershed
from untrimmed.losses import total
from untrimmed.methods.proposals.tag import TAG, Config, standing_out
from untrimmed.methods.protocol import Method
from untrimmed.segments import tiou_scalar

SMALL = {"hidden": 8, "kernel": 3, "dropout": 0.0, "window_lengths": (2, 3, 6), "smoothing": 1.0}


def model(seed: int = 0, **changes: Any) -> TAG:
    torch.manual_seed(seed)
    network = TAG(Config(**{**SMALL, **changes}), CHANNELS, CLASSES)
    with torch.no_grad():  # so that fresh weights give a curve that goes up and down
        network.classify.weight *= 3000
    return network


def test_it_is_a_method() -> None:
    assert isinstance(model(), Method)


def test_parameters_at_the_papers_size() -> None:
    network = TAG(Config(), 1024, 20)
    assert sum(each.numel() for each in network.parameters()) == 1024 * 2 + 2
    assert network.dropout.p == 0.8


def test_defaults_are_those_of_the_paper() -> None:
    config = Config()
    assert config.levels == config.shares == tuple(round(0.05 * k, 2) for k in range(1, 20))
    assert (config.positives, config.negatives, config.snippets, config.smoothing) == (3, 9, 5, 3.0)
    assert config.window_lengths == (1, 2, 4, 8, 16, 32, 64, 128)


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_windows_to_learn_from_by_a_loop(steps: int) -> None:
    rows = [(0.0, 6.0, 1), (5.5, 30.0, 2), (40.0, 50.0, 0)]
    instances = torch.tensor([row[:2] for row in rows])
    windows, overlap = model().windows(steps, instances)
    expected = []
    for length in (2, 3, 6):
        stride = max(1, math.ceil(0.3 * length))
        expected += [(float(s), float(min(s + length, steps))) for s in range(0, steps, stride)]
    expected += [(min(s, steps), min(e, steps)) for s, e, _ in rows if s < steps]
    assert [tuple(each) for each in windows.tolist()] == [(float(s), float(e)) for s, e in expected]
    for window, found in zip(windows.tolist(), overlap.tolist(), strict=True):
        assert found == pytest.approx(best(*window, rows))
    nothing, none = model().windows(steps, instances[:0])
    assert len(nothing) == len(none)
    assert not none.any()


def test_so_many_windows_of_each_video_and_one_snippet_of_each_fifth() -> None:
    network, batch = model(snippets=3), mixed_batch()
    torch.manual_seed(1)
    drawn = network._draw(batch)
    counts = {
        (video, action): int(((drawn.video == video) & (drawn.action == action)).sum())
        for video in range(3)
        for action in (0, 1)
    }
    # The second video has no instance, so none of its windows shows one.
    assert counts == {(0, 0): 9, (0, 1): 3, (1, 0): 9, (1, 1): 0, (2, 0): 9, (2, 1): 3}
    assert drawn.steps.shape == (33, 3)
    assert (drawn.steps.diff(dim=1) >= 0).all()
    for video, action, steps in zip(drawn.video.tolist(), drawn.action.tolist(), drawn.steps.tolist(), strict=True):
        assert steps[-1] < int(batch.mask[video].sum())
        inside = [any(s <= step + 0.5 < e for s, e, _ in rows_of(batch, video)) for step in steps]
        assert all(inside) if action else not any(inside), (video, action, steps)
    again = network._draw(batch)
    assert not torch.equal(again.steps, drawn.steps)
    torch.manual_seed(1)
    assert torch.equal(network._draw(batch).steps, drawn.steps)


def test_long_windows_are_seen_in_equal_parts() -> None:
    network = model(window_lengths=(40,), window_step=1.0, snippets=4, positives=50)
    batch = collate([sample(40, 0, [(0.0, 40.0, 0)])])
    steps = network._draw(batch).steps
    assert torch.equal(steps // 10, torch.arange(4).expand(50, 4))
    assert len(steps[:, 0].unique()) > 5


def test_the_loss_is_the_cross_entropy_of_mean_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batch = model(), mixed_batch()
    drawn = network._draw(batch)
    monkeypatch.setattr(network, "_draw", lambda batch: drawn)
    raw = spread(network(batch))
    expected = 0.0
    for video, action, steps in zip(drawn.video.tolist(), drawn.action.tolist(), drawn.steps.tolist(), strict=True):
        background, positive = (
            sum(float(raw["logits"][video, row, step]) for step in steps) / len(steps) for row in (0, 1)
        )
        logit = positive - background if action else background - positive
        expected += math.log1p(math.exp(-logit))
    assert value(network.loss(raw, batch)) == pytest.approx(expected / len(drawn.action), rel=1e-5)


def slow_standing_out(curve: list[float], start: int, end: int) -> float:
    reach = math.ceil((end - start) / 4)
    inside = sum(curve[start:end]) / (end - start)
    around = [curve[i] for i in range(start - reach, end + reach) if 0 <= i < len(curve) and not start <= i < end]
    return inside * (1 - sum(around) / (2 * reach))


def slow_smooth(row: list[float], sigma: float) -> list[float]:
    reach, found = math.ceil(3 * sigma), []
    for step in range(len(row)):
        near = [i for i in range(step - reach, step + reach + 1) if 0 <= i < len(row)]
        weights = [math.exp(-(((i - step) / sigma) ** 2) / 2) for i in near]
        found.append(sum(w * row[i] for w, i in zip(weights, near, strict=True)) / sum(weights))
    return found


def test_scores_by_a_loop() -> None:
    curve = torch.rand(15, generator=torch.Generator().manual_seed(0))
    segments = torch.tensor([(s, e) for s in range(15) for e in range(s + 1, 16)])
    for (start, end), score in zip(segments.tolist(), standing_out(curve, segments).tolist(), strict=True):
        assert score == pytest.approx(slow_standing_out(curve.tolist(), start, end), rel=1e-5)


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_detections_by_a_loop(sigma: float) -> None:
    network, batch = model(smoothing=sigma).eval(), mixed_batch()
    raw = spread(network(batch))
    for window, found in enumerate(network.decode(raw, batch)):
        steps = int(batch.mask[window].sum())
        logits: Tensor = raw["logits"][window, :, :steps]
        curve = (1 / (1 + (logits[0] - logits[1]).exp())).tolist()
        curve = slow_smooth(curve, sigma) if sigma else curve
        groups = watershed(curve, network.config.levels, network.config.shares).tolist()
        rows = sorted_rows(found)
        assert [row[:2] for row in rows] == [(float(s), float(e)) for s, e in groups]
        for row, (start, end) in zip(rows, groups, strict=True):
            assert row[2] == pytest.approx(slow_standing_out(curve, start, end), abs=1e-5)
        assert (found.scores[:-1] >= found.scores[1:]).all()


def test_padding_and_company_change_nothing() -> None:
    check_padding_and_company(model())


def test_odd_windows_go_through() -> None:
    check_odd_windows(model())


def test_a_resumed_training_has_the_bits_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Dropout and drawn windows too."""
    check_resuming(tmp_path, lambda: model(dropout=0.3), (5,))


@pytest.mark.parametrize(
    "changes", [{"kernel": 2}, {"dropout": 1.0}, {"levels": []}, {"levels": [1.2]}, {"shares": [-0.1]}]
)
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(**changes)


def test_it_learns_a_window_by_heart() -> None:
    network = TAG(Config(hidden=16, kernel=1, dropout=0.0, window_lengths=(2, 4, 8), smoothing=0.5), CHANNELS, CLASSES)
    instances = [(6.0, 10.0, 0), (16.0, 24.0, 1), (30.0, 46.0, 2)]
    one = sample(48, 0, instances)
    features = 0.3 * one.features
    for start, end, label in instances:
        features[label, int(start) : int(end)] += 3.0
    batch = collate([Sample(features, one.clip, one.targets, one.map, "v")])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        total(network.loss(network(batch), batch)).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        found = network.decode(network(batch), batch)[0]
    for start, end, _ in instances:
        assert max(tiou_scalar(start, end, *each) for each in found.segments[:10].tolist()) > 0.8
