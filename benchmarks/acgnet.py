"""ACGNet: the graph and the easy-positive-mining loss against the plain formulation, and their share of a step.

Plain: cosines and distances of every pair of segments from a tensor of T x T x D, as the equations are written. It
needs 4.6 GB for a video of T = 750 and D = 2048, so the two are compared at T = 200. The step is that of BaS-Net on
ActivityNet or THUMOS14: T = 750, D = 2048, batch 4, 20 classes, SGD.

    python -m benchmarks.acgnet
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.common import best_time, peak_memory, report
from torch import Tensor

from untrimmed.data.batch import Batch, Targets
from untrimmed.methods.catalog import make_method
from untrimmed.methods.plugins.acgnet import ACGNet, Config, complement_graph, epm, row_normalised, sparsified
from untrimmed.methods.plugins.acgnet import temporal_diffusion as diffusion
from untrimmed.timemap import TimeMap
from untrimmed.training.optim import make_step
from untrimmed.training.settings import OptimSettings, TrainSettings

CHANNELS, CLASSES, STEPS, BATCH = 2048, 20, 750, 4
SMALL_STEPS = 200
GRAPH = Config(neighbours=50, threshold=0.6)
"""Random features are less alike than those of videos: a lower threshold gives as many edges."""


def features(batch: int, steps: int) -> tuple[Tensor, Tensor]:
    """Features at least 0, as those of I3D are, and their mask."""
    drawn = torch.randn(batch, CHANNELS, steps, generator=torch.Generator().manual_seed(0)).relu()
    return drawn, torch.ones(batch, steps, dtype=torch.bool)


def plain_graph(values: Tensor, mask: Tensor) -> Tensor:
    """Eqs. 1 to 4, pair by pair."""
    rows = values.mT
    alike = torch.nn.functional.cosine_similarity(rows[:, :, None], rows[:, None], dim=-1)
    weights = (alike + GRAPH.alpha * diffusion(values.shape[-1], GRAPH.diffusion)) / 2
    return sparsified(weights, mask, GRAPH.threshold, GRAPH.neighbours)


def plain_epm(enhanced: Tensor, original: Tensor, scores: Tensor, adjacency: Tensor) -> Tensor:
    """Eq. 8, pair by pair."""
    apart = enhanced.mT[:, :, None] - original.mT[:, None]
    return (apart.square().sum(-1) * scores[:, None] * (adjacency > 0)).sum((1, 2))


def prepare_epm(kind: str, batch: int, steps: int) -> Callable[[], object]:
    """The loss and its gradient, by ``"plain"`` or ``"ours"``."""
    values, mask = features(batch, steps)
    graph = complement_graph(values, mask, GRAPH)
    enhanced, scores = (values + 1).requires_grad_(), torch.rand(batch, steps)
    loss = plain_epm if kind == "plain" else epm

    def run() -> None:
        enhanced.grad = None
        torch.autograd.backward(loss(enhanced, values, scores, graph).sum())

    return run


def prepare_graph(kind: str, batch: int, steps: int) -> Callable[[], object]:
    """The sparse graph, by ``"plain"`` or ``"ours"``."""
    values, mask = features(batch, steps)
    return lambda: plain_graph(values, mask) if kind == "plain" else complement_graph(values, mask, GRAPH)


def prepare_step(enhance: bool) -> Callable[[], object]:
    """A training step of BaS-Net, alone or with ACGNet."""
    torch.manual_seed(0)
    values, mask = features(BATCH, STEPS)
    options: dict[str, Any] = {"name": "acgnet", "neighbours": 50, "threshold": GRAPH.threshold}
    model = make_method("basnet", {"enhance": options} if enhance else {}, CHANNELS, CLASSES)
    step = make_step(model, TrainSettings(optim=OptimSettings(name="sgd", lr=1e-3)))
    labels = torch.eye(BATCH, CLASSES)
    batch = Batch(
        values,
        mask.to(torch.uint8),
        (Targets.empty(),) * BATCH,
        (TimeMap.linear(STEPS, 0.0, STEPS),) * BATCH,
        tuple(f"v{number}" for number in range(BATCH)),
        labels,
    )
    return lambda: step([batch], 0.0)


def prepare_enhancer() -> Callable[[], object]:
    """ACGNet's share of the step: forward, loss and gradient, without the host."""
    torch.manual_seed(0)
    values, mask = features(BATCH, STEPS)
    model, scores = ACGNet(GRAPH, CHANNELS), torch.rand(BATCH, STEPS)

    def run() -> None:
        enhanced, state = model(values, mask)
        torch.autograd.backward(model.loss(state, scores)["epm"].sum + enhanced.sum())

    return run


def prepare_averages() -> Callable[[], object]:
    values, mask = features(BATCH, STEPS)
    lend = row_normalised(complement_graph(values, mask, GRAPH)).mT
    return lambda: values @ lend


def check() -> None:
    """Both formulations give the same."""
    values, mask = features(1, SMALL_STEPS)
    ours, plain = complement_graph(values, mask, GRAPH), plain_graph(values, mask)
    assert float(((ours > 0) == (plain > 0)).float().mean()) > 0.999, "the graphs differ"
    scores = torch.rand(1, SMALL_STEPS)
    pair = epm(values + 1, values, scores, ours), plain_epm(values + 1, values, scores, ours)
    assert torch.allclose(*pair, rtol=1e-3), "the losses differ"


def main() -> None:
    check()
    rows: list[dict[str, object]] = []
    for what, prepare in (("graph, Eqs. 1 to 4", prepare_graph), ("EPM with gradient, Eq. 8", prepare_epm)):
        slow, fast = (best_time(prepare(kind, 1, SMALL_STEPS), repeat=3) for kind in ("plain", "ours"))
        sizes = [peak_memory(prepare, kind, 1, SMALL_STEPS) for kind in ("plain", "ours")]
        rows.append(
            {
                "what": f"{what}: B = 1, T = {SMALL_STEPS}",
                "plain ms": slow * 1e3,
                "ours ms": fast * 1e3,
                "ratio": slow / fast,
                "plain MiB": sizes[0],
                "ours MiB": sizes[1],
            }
        )
        rows.append(
            {
                "what": f"{what}: B = {BATCH}, T = {STEPS}",
                "ours ms": best_time(prepare("ours", BATCH, STEPS), repeat=2) * 1e3,
                "ours MiB": peak_memory(prepare, "ours", BATCH, STEPS),
            }
        )
    shape = f"B = {BATCH}, T = {STEPS}"
    rows.append({"what": f"average, Eq. 5: {shape}", "ours ms": best_time(prepare_averages(), repeat=2) * 1e3})
    rows.append(
        {"what": f"ACGNet with loss and gradient: {shape}", "ours ms": best_time(prepare_enhancer(), 1, warm=0) * 1e3}
    )
    for name, enhance in (("BaS-Net", False), ("BaS-Net + ACGNet", True)):
        seconds, size = best_time(prepare_step(enhance), repeat=1, warm=0), peak_memory(prepare_step, enhance)
        rows.append({"what": f"step of {name}: {shape}", "ours ms": seconds * 1e3, "ours MiB": size})
    report("acgnet", f"ACGNet, {CHANNELS} features, K = 50, M = 2, float32", rows)


if __name__ == "__main__":
    main()
