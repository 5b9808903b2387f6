"""GCM at the paper's size (1,000 proposals of 1,024 channels, 512 between layers), float32, in one process.

Run as ``python -m benchmarks.gcm``.

Inference with all edges, the graph found anew each time, against the formulation by matrices of all pairs of proposals.
Then on a graph in which each proposal has exactly four neighbours, against one forward pass for each proposal's tree of
21 nodes (P-GCN), in which proposals that many know are computed many times; both must agree to 1e-5. Then a training
step with four drawn neighbours that looks at 8 proposals of each of 8 windows, against one that computes all. Peak
memory is what a call takes on top of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.common import best_time, peak_memory, report
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.segment_graph import Edges
from untrimmed.methods.plugins.gcm import GCM, Config
from untrimmed.segments import center_width, tiou

CHANNELS, STEPS = 1024, (1, 7, 30, 200)


def proposals(windows: int, count: int) -> tuple[Tensor, Tensor]:
    """Features and segments as a generator gives them: near-copies around 20 places of a video."""
    torch.manual_seed(count)
    place = torch.randint(20, (windows, count))
    look = torch.randn(windows, 20, CHANNELS).gather(1, place[..., None].expand(-1, -1, CHANNELS))
    features = (look + torch.randn(windows, count, CHANNELS)).relu()
    center = 40.0 * place + torch.randn(windows, count)
    width = 10 * torch.exp(0.25 * torch.randn(windows, count))
    return features, torch.stack((center - width / 2, center + width / 2), -1)


def module(config: Config | None = None) -> GCM:
    torch.manual_seed(0)
    return GCM(config, CHANNELS).eval()


def by_matrices(made: GCM, features: Tensor, segments: Tensor) -> Tensor:
    """Eqs. 1 to 8 as they are written, every matrix N x N; one window, (N, C) and (N, 2)."""
    config, own = made.config, torch.eye(len(features), dtype=torch.bool)
    overlap = tiou(segments[:, None], segments)
    centers, widths = center_width(segments)
    distance = (centers[:, None] - centers).abs() / (widths[:, None] + widths)
    unit = F.normalize(features, dim=-1)
    cosines = unit @ unit.T
    apart = overlap == 0
    contextual = (overlap > config.contextual) & ~own
    surrounding = apart & (distance < config.surrounding)
    alike = cosines.masked_fill(own, -torch.inf).topk(config.semantic).indices
    semantic = torch.zeros_like(own).scatter(1, alike, value=True) & apart
    joined = contextual | surrounding | semantic
    adjacency = joined * cosines / joined.sum(1, keepdim=True).clamp(min=1) + own
    current = features
    for layer in made.layers:
        current = F.relu(layer(adjacency @ current))
    return current + features


def inference(form: str, count: int) -> Callable[[], Tensor]:
    made, (features, segments) = module(), proposals(1, count)
    small = proposals(1, 40)

    @torch.no_grad()
    def run(features: Tensor = features, segments: Tensor = segments) -> Tensor:
        if form == "ours":
            return made(features, segments)[0]
        return by_matrices(made, features[0], segments[0])

    run(*small)
    return run


def all_edges(count: int) -> dict[str, object]:
    ours, matrices = inference("ours", count), inference("matrices", count)
    difference = float((ours() - matrices()).abs().max())
    assert difference < 1e-5, f"outputs differ by {difference}"
    graph = module().edges(*proposals(1, count))
    assert graph is not None
    edges = graph.edges()
    slow, fast = best_time(matrices), best_time(ours)
    peaks = {form: peak_memory(inference, form, count) for form in ("ours", "matrices")}
    return {
        "what": f"inference, {count:,} proposals, graph included, against matrices of all pairs",
        "edges": len(edges.neighbours),
        "most of one": int(edges.degrees.max()),
        "others ms": slow * 1e3,
        "ours ms": fast * 1e3,
        "ratio": slow / fast,
        "others peak MiB": peaks["matrices"],
        "ours peak MiB": peaks["ours"],
        "largest difference": difference,
    }


def by_trees(made: GCM, features: Tensor, children: list[list[int]]) -> Tensor:
    """Of every proposal its tree of 1 + 4 + 16 nodes, one forward pass each; the root is what counts."""
    mask = torch.zeros(21, 21)
    for node in range(5):
        mask[node, node], mask[node, 4 * node + 1 : 4 * node + 5] = 1, 0.25
    found = []
    for root, first in enumerate(children):
        tree = features[[root, *first, *(node for child in first for node in children[child])]]
        unit = F.normalize(tree, dim=-1)
        adjacency = mask * (unit @ unit.T)
        current = tree
        for layer in made.layers:
            current = F.relu(layer(adjacency @ current))
        found.append(current[0] + tree[0])
    return torch.stack(found)


def trees(count: int) -> dict[str, object]:
    made, (features, segments) = module(), proposals(1, count)
    rows = (torch.arange(count)[:, None] + torch.tensor(STEPS)) % count
    rows = rows.sort(-1).values
    kinds = torch.ones(rows.numel(), dtype=torch.uint8)
    edges = Edges(rows.flatten(), torch.arange(0, rows.numel() + 1, len(STEPS)), kinds)
    children = rows.tolist()
    with torch.no_grad():
        difference = float(
            (made(features, segments, edges=edges)[0] - by_trees(made, features[0], children)).abs().max()
        )
        assert difference < 1e-5, f"outputs differ by {difference}"
        slow = best_time(lambda: by_trees(made, features[0], children), repeat=3, warm=0)
        fast = best_time(lambda: made(features, segments, edges=edges))
    return {
        "what": f"inference, {count:,} proposals of four neighbours each, against their trees of 21 nodes",
        "edges": rows.numel(),
        "most of one": len(STEPS),
        "others ms": slow * 1e3,
        "ours ms": fast * 1e3,
        "ratio": slow / fast,
        "largest difference": difference,
    }


def training(count: int) -> dict[str, object]:
    made, (features, segments) = module().train(), proposals(8, count)
    wanted = torch.randint(count, (8, 8))
    index = wanted[..., None].expand(-1, -1, CHANNELS)

    def step(ours: bool) -> Callable[[], None]:
        def run() -> None:
            made.zero_grad(set_to_none=True)
            found = made(features, segments, wanted=wanted) if ours else made(features, segments).gather(1, index)
            found.square().sum().backward()

        return run

    slow, fast = best_time(step(False), repeat=3), best_time(step(True))
    return {
        "what": f"training step, 8 of {count:,} proposals of each of 8 windows, against all of them computed",
        "others ms": slow * 1e3,
        "ours ms": fast * 1e3,
        "ratio": slow / fast,
    }


def main() -> None:
    rows = [all_edges(1000), all_edges(2000), trees(1000), training(1000)]
    report("gcm", f"GCM: C = {CHANNELS}, 512 between layers, float32", rows)


if __name__ == "__main__":
    main()
