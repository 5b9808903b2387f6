"""Two-stage methods: a training step of SSN, alone and with GCM, at the paper's size; float32.

Run as ``python -m benchmarks.two_stage``.

32 videos of 256 steps, C = 1024, with 200, 600 and 1,000 proposals each, of which 8 are drawn for the loss: labels,
pooling, graph, heads, losses, gradient and update. The other form is the same network that judges all proposals in
every step and takes the loss of what the drawn ones say. The maximum over 1,000 segments of each video without gradient
is compared with the form that keeps the step of each maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.common import best_time, report
from torch import Tensor

from untrimmed.data.batch import Batch, PaddedProposals, Targets
from untrimmed.layers.range_maximum import range_maximum
from untrimmed.losses import total
from untrimmed.methods.catalog import make_method
from untrimmed.timemap import TimeMap

VIDEOS, STEPS, CHANNELS, CLASSES, INSTANCES = 32, 256, 1024, 20, 15


def batch_of(count: int) -> Batch:
    """Videos with instances, and proposals of which a third lie around them."""
    torch.manual_seed(0)
    start = torch.rand(VIDEOS, INSTANCES, 1) * (STEPS - 20)
    truth = torch.cat((start, start + 4 + torch.rand(VIDEOS, INSTANCES, 1) * 16), -1)
    near = truth.repeat(1, count // (3 * INSTANCES) + 1, 1)[:, : count // 3]
    near = near + torch.randn_like(near)
    first = torch.rand(VIDEOS, count - near.shape[1], 1) * (STEPS - 2)
    anywhere = torch.cat((first, first + 1 + torch.rand_like(first) * 30), -1)
    segments = torch.cat((near, anywhere), 1).clamp(0, STEPS).sort(-1).values
    proposals = PaddedProposals(
        segments,
        torch.rand(VIDEOS, count),
        torch.arange(count).repeat(VIDEOS, 1),
        torch.ones(VIDEOS, count, dtype=torch.bool),
    )
    labels = torch.randint(0, CLASSES, (VIDEOS, INSTANCES))
    return Batch(
        torch.randn(VIDEOS, CHANNELS, STEPS),
        torch.ones(VIDEOS, STEPS, dtype=torch.uint8),
        tuple(Targets(*each) for each in zip(truth, labels, strict=True)),
        (TimeMap.linear(STEPS, 0.0, 128.0),) * VIDEOS,
        tuple(f"v{number}" for number in range(VIDEOS)),
        proposals=proposals,
    )


def training_step(batch: Batch, settings: dict[str, Any]) -> Callable[[], Tensor]:
    torch.manual_seed(0)
    model: Any = make_method("ssn", settings, CHANNELS, CLASSES).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def run() -> Tensor:
        torch.manual_seed(1)
        loss = total(model.loss(model(batch), batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def judging_all(batch: Batch, settings: dict[str, Any]) -> Callable[[], Tensor]:
    """Of all proposals, in the form of an evaluation, the loss of all examples."""
    torch.manual_seed(0)
    model: Any = make_method("ssn", {**settings, "with_instances": False}, CHANNELS, CLASSES).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def run() -> Tensor:
        loss = total(model.loss(model(batch), batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return run


def steps() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for count in (200, 600, 1000):
        batch = batch_of(count)
        for name, settings in (("SSN", {}), ("SSN + GCM", {"context": {"name": "gcm"}})):
            fast = best_time(training_step(batch, settings), repeat=3)
            slow = best_time(judging_all(batch, settings), repeat=1, warm=0)
            what = f"training step of {name}, {VIDEOS} videos with {count} proposals each, against judging all"
            rows.append({"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast})
    return rows


def maxima() -> dict[str, object]:
    features = torch.randn(VIDEOS, CHANNELS, STEPS, generator=torch.Generator().manual_seed(0))
    segments = torch.rand(VIDEOS, 1000, STEPS + 1).argsort(-1)[..., :2].sort(-1).values
    leaf = features.clone().requires_grad_()
    assert torch.equal(range_maximum(features, segments), range_maximum(leaf, segments).detach())
    fast = best_time(lambda: range_maximum(features, segments), repeat=3)
    slow = best_time(lambda: range_maximum(leaf, segments), repeat=2, warm=0)
    what = "maxima over 32,000 segments without gradient, against keeping their steps"
    return {"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast}


def main() -> None:
    report("two_stage", "Two-stage methods: a training step at the paper's size", [maxima(), *steps()])


if __name__ == "__main__":
    main()
