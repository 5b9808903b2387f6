"""Windows for the tests of the generators of proposals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch, Sample, Targets, collate
from untrimmed.losses import LossTerm, total
from untrimmed.methods.protocol import StepDetections
from untrimmed.segments import tiou_scalar
from untrimmed.timemap import TimeMap
from untrimmed.training.loop import Training
from untrimmed.training.optim import make_step
from untrimmed.training.settings import OptimSettings, TrainSettings

CHANNELS, CLASSES = 5, 3
Rows = list[tuple[float, float, int]]


def sample(steps: int, seed: int, instances: Rows, shown: int | None = None) -> Sample:
    """A window, of whose steps the first ``shown`` show something."""
    shown = shown or steps
    features = torch.randn(CHANNELS, steps, generator=torch.Generator().manual_seed(seed))
    clip = torch.zeros(steps, dtype=torch.uint8)
    clip[:shown] = 1
    targets = Targets(
        torch.tensor([each[:2] for each in instances], dtype=torch.float32).view(-1, 2),
        torch.tensor([each[2] for each in instances], dtype=torch.int64),
    )
    return Sample(features * clip, clip, targets, TimeMap.linear(shown, 0.0, shown / 2), f"v{seed}")


def mixed_batch() -> Batch:
    """Three windows: with instances one in another, one that reaches past the window and one without label; without
    any; and padded."""
    return collate(
        [
            sample(20, 1, [(3.0, 9.0, 0), (4.5, 7.5, 2), (13.3, 17.0, -1), (18.0, 26.0, 1)]),
            sample(15, 2, []),
            sample(20, 3, [(0.0, 6.0, 1), (9.0, 11.0, 2)], shown=12),
        ]
    )


def best(start: float, end: float, instances: Rows) -> float:
    return max((tiou_scalar(start, end, *each[:2]) for each in instances), default=0.0)


def rows_of(batch: Batch, window: int) -> Rows:
    targets = batch.targets[window]
    return [
        (*segment, label) for segment, label in zip(targets.segments.tolist(), targets.labels.tolist(), strict=True)
    ]


def region_label(cell: tuple[float, float], instances: Rows, edge: int | None, region: float, least: float) -> bool:
    """Whether more than half of a cell lies in the start (0) or end (1) region of an instance, or in one (None)."""
    for start, end, _ in instances:
        reach = max((end - start) * region, least)
        low, high = (start, end) if edge is None else ((start, end)[edge] - reach, (start, end)[edge] + reach)
        if min(high, cell[1]) - max(low, cell[0]) > 0.5 * (cell[1] - cell[0]):
            return True
    return False


def balanced(logits: list[float], labels: list[bool]) -> float:
    """The balanced loss: half the mean of each side."""
    sides: list[list[float]] = [[], []]
    for logit, label in zip(logits, labels, strict=True):
        p = 1 / (1 + math.exp(-logit))
        sides[label].append(-math.log(p if label else 1 - p))
    return sum(sum(side) / len(side) / 2 for side in sides if side)


def banded(losses: list[float], targets: list[float], edges: tuple[float, float], shares: tuple[int, ...]) -> float:
    """The mean of each band, by shares."""
    bands: list[list[float]] = [[], [], []]
    for loss, target in zip(losses, targets, strict=True):
        bands[sum(target > edge for edge in edges)].append(loss)
    means = [sum(band) / len(band) if band else 0.0 for band in bands]
    return sum(share * mean for share, mean in zip(shares, means, strict=True)) / sum(shares)


def value(terms: dict[str, LossTerm], prefix: str = "") -> float:
    return float(total({name: term for name, term in terms.items() if name.startswith(prefix)}).detach())


def spread(raw: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Raw with logits spread out, as they are in a trained network."""
    make = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(each.shape, generator=make) * 2 if each.is_floating_point() else each
        for name, each in raw.items()
    }


def sorted_rows(found: StepDetections) -> list[tuple[float, ...]]:
    assert (found.labels == -1).all()
    return sorted(
        (*segment, score) for segment, score in zip(found.segments.tolist(), found.scores.tolist(), strict=True)
    )


def check_padding_and_company(network: Any) -> None:
    """A window alone says what it says between others, padded."""
    network.eval()
    one = sample(13, 2, [(3.0, 9.0, 0)])
    alone, batch = collate([one]), collate([sample(20, 1, []), one, sample(9, 3, [])])
    with torch.no_grad():
        left = network.decode(network(alone), alone)[0]
        right = network.decode(network(batch), batch)[1]
        curves = network.curves(network(alone), alone)[0], network.curves(network(batch), batch)[1]
    assert len(left.scores) > 3
    assert left.segments.amax() <= 13
    assert len(left.scores) == len(right.scores)
    for a, b in zip(sorted_rows(left), sorted_rows(right), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-6)
    for name, curve in curves[0].items():
        torch.testing.assert_close(curves[1][name][:13], curve, rtol=1e-4, atol=1e-5)
        assert not curves[1][name][13:].any()


def check_odd_windows(network: Any) -> None:
    """Windows of one step, without instances, without anything to draw."""
    for batch in (collate([sample(1, 0, [(0.0, 1.0, 0)])]), collate([sample(2, 0, [])]), collate([sample(9, 0, [])])):
        network.train()
        loss = total(network.loss(network(batch), batch))
        loss.backward()
        assert torch.isfinite(loss)
        network.eval()
        with torch.no_grad():
            raw = network(batch)
            assert torch.isfinite(total(network.loss(raw, batch)))
            network.decode(raw, batch)


class Feed:
    def steps(self, epoch: int) -> int:
        return 3

    def batches(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        for step in range(first_step, 3):
            yield [collate([sample(16, 10 * epoch + step, [(2.0, 7.0, 1)]), sample(9, 99 - step, [])])]


def stop_after(count: int) -> SimpleNamespace:
    """Callbacks that end the training in its ``count``-th step, as a kill would."""
    left = iter(range(count - 1))

    def step(*_: object) -> None:
        if next(left, None) is None:
            raise KeyError("killed")

    return SimpleNamespace(step=step, epoch=lambda *_: None)


def check_resuming(
    tmp_path: Path, make: Callable[[], nn.Module], stops: Sequence[int], feed: Callable[[], Any] = Feed
) -> None:
    """Wherever a training is stopped, resumed it ends with the same bits."""
    settings = TrainSettings(epochs=4, checkpoint_minutes=0.0, optim=OptimSettings(lr=0.01, schedule="cosine"))

    def train(out: Path, *, resume: bool = False, **options: Any) -> nn.Module:
        network, device = make(), torch.device("cpu")
        step = make_step(network, settings)
        Training(network, step, feed(), settings, out, device=device, **options).fit(resume=resume)
        return network

    whole, fresh = train(tmp_path / "whole"), make()
    for stop in stops:
        with pytest.raises(KeyError):
            train(tmp_path / f"cut{stop}", callbacks=stop_after(stop))
        resumed = train(tmp_path / f"cut{stop}", resume=True)
        for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
            assert torch.equal(left, right)
    moved = [not torch.equal(*pair) for pair in zip(whole.parameters(), fresh.parameters(), strict=True)]
    assert all(moved)
