"""SegTAD at the paper's size on ActivityNet: 1000 steps, C = 256, 7,875 proposals, 32 bins of four samples, float32.

Run as ``python -m benchmarks.segtad``.

SGAlign and the 1x1 convolution after it, to 256 channels, in three forms with identical samples that must give the same
output: ours projects first; "plain" reads both steps of every sample, interpolates, averages and multiplies, as one
would write it; "compact" aligns by the same sparse product as ours, and multiplies afterwards. The last again with as
many samples as a bin has steps. Then attention of many neighbours against edge after edge, the graph of the proposals
against all pairs, an inference of the whole network, and a training step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.common import best_time, peak_memory, report
from torch import Tensor
from torch.nn import functional as F

from untrimmed.data.batch import Batch, Targets
from untrimmed.layers.align import AlignPattern, align_project, sgalign
from untrimmed.layers.graph import cosine_attention
from untrimmed.layers.proposal_grid import ProposalGrid
from untrimmed.losses import total
from untrimmed.methods.dense.segtad import Config, SegTAD
from untrimmed.segments import tiou
from untrimmed.timemap import TimeMap

STEPS, CHANNELS, BINS, SAMPLES, FEATURES, CLASSES = 1000, 256, 32, 4, 2048, 200


def plain(features: Tensor, segments: Tensor, weight: Tensor) -> Tensor:
    """Every sample read and interpolated on its own, then the convolution; one window."""
    start, length = segments[:, :1], segments[:, 1:] - segments[:, :1]
    share = (torch.arange(BINS * SAMPLES) + 0.5) / (BINS * SAMPLES)
    position = start + (2 * share - 0.5) * length - 0.5
    low = position.floor()
    rows = torch.cat((torch.zeros(1, CHANNELS), features[0].T, torch.zeros(1, CHANNELS)))

    def read(index: Tensor) -> Tensor:
        return rows[(index + 1).long().clamp(0, STEPS + 1)]

    samples = torch.lerp(read(low), read(low + 1), (position - low)[..., None])
    aligned = samples.view(len(segments), BINS, SAMPLES, CHANNELS).mean(2)
    return aligned.flatten(1) @ weight.flatten(0, 1)


def compact(features: Tensor, pattern: AlignPattern, owner: Tensor, weight: Tensor) -> Tensor:
    """The alignment as a sparse product, then the convolution."""
    return sgalign(features, pattern, owner).mT.flatten(1) @ weight.flatten(0, 1)


def alignment(form: str, samples: int | None = SAMPLES) -> Callable[[], Tensor]:
    """One form of the aligned convolution of all proposals of one window, its pattern known."""
    torch.manual_seed(0)
    segments = ProposalGrid(STEPS).segments
    features, weight = torch.randn(1, CHANNELS, STEPS), torch.randn(BINS, CHANNELS, CHANNELS) / 90
    pattern, owner = AlignPattern(segments, BINS, 0.5, samples), torch.zeros(len(segments), dtype=torch.int64)
    few = pattern.select(torch.arange(10))
    align_project(features, few, owner[:10], weight)

    def run() -> Tensor:
        with torch.no_grad():
            if form == "plain":
                return plain(features, segments, weight)
            if form == "compact":
                return compact(features, pattern, owner, weight)
            return align_project(features, pattern, owner, weight)

    return run


def against_plain() -> list[dict[str, object]]:
    ours = alignment("ours")
    expected, rows = ours(), []
    time, memory = best_time(ours), peak_memory(alignment, "ours")
    for form in ("plain", "compact"):
        other = alignment(form)
        difference = (other() - expected).abs().max()
        assert float(difference) < 1e-4, f"{form}: outputs differ by {float(difference)}"
        slow = best_time(other, repeat=2 if form == "plain" else 5, warm=0)
        peak = peak_memory(alignment, form)
        rows.append(
            {
                "what": f"SGAlign with 1x1 convolution, against the {form} form",
                "others ms": slow * 1e3,
                "ours ms": time * 1e3,
                "ratio": slow / time,
                "others peak MiB": peak,
                "ours peak MiB": memory,
                "memory ratio": peak / memory,
            }
        )
    return rows


def adaptive() -> dict[str, object]:
    ours, other = alignment("ours", None), alignment("compact", None)
    torch.testing.assert_close(ours(), other(), rtol=1e-4, atol=1e-4)
    fast, slow = best_time(ours, repeat=2), best_time(other, repeat=2, warm=0)
    what = "SGAlign with 1x1 convolution, one sample a step, against the compact form"
    return {"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast}


def edge_after_edge(features: Tensor, indices: Tensor) -> Tensor:
    """Cosines of every node and one neighbour of each after the other; one window."""
    rows = F.normalize(features[0].T, dim=-1)
    return torch.stack([(rows * rows[column]).sum(-1) for column in indices[0].T], -1)[None]


def attention() -> dict[str, object]:
    torch.manual_seed(0)
    features, indices = torch.randn(1, 1024, 800), torch.randint(0, 800, (1, 800, 400))
    valid = torch.ones_like(indices, dtype=torch.bool)
    torch.testing.assert_close(
        cosine_attention(features, indices, valid), edge_after_edge(features, indices), rtol=0, atol=1e-5
    )
    slow = best_time(lambda: edge_after_edge(features, indices), repeat=2, warm=0)
    fast = best_time(lambda: cosine_attention(features, indices, valid))
    what = "attention of 800 nodes, K = 400, C = 1024, against edge after edge"
    return {"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast}


def full_graph(grid: ProposalGrid) -> Tensor:
    """The four nearest by tIoU from the whole M x M matrix; ties as they come."""
    table = tiou(grid.segments[:, None], grid.segments[None])
    return table.fill_diagonal_(-1).topk(4, dim=1).values


def graph() -> dict[str, object]:
    grid = ProposalGrid(STEPS)
    nodes, present = torch.arange(len(grid)), torch.ones(1, len(grid), dtype=torch.bool)
    found, _ = grid.neighbours(nodes, present, 4)
    overlap = tiou(grid.segments[:, None], grid.segments[found])
    torch.testing.assert_close(overlap, full_graph(grid), rtol=0, atol=0)
    slow, fast = (
        best_time(lambda: full_graph(grid), repeat=2, warm=0),
        best_time(lambda: grid.neighbours(nodes, present, 4)),
    )
    what = "graph of 7,875 proposals, K = 4, against all pairs"
    return {"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast}


def one_video(count: int = 1) -> Batch:
    torch.manual_seed(0)
    targets = Targets(torch.tensor([[100.0, 180.0], [400.0, 700.0]]), torch.tensor([3, 7]))
    return Batch(
        torch.randn(count, FEATURES, STEPS),
        torch.ones(count, STEPS, dtype=torch.uint8),
        (targets,) * count,
        (TimeMap.linear(STEPS, 0.0, 120.0),) * count,
        ("noise",) * count,
    )


def inference(form: str = "ours") -> Callable[[], object]:
    """Network and decoding of one video of ActivityNet's size; its grid and pattern are known after the first."""
    torch.manual_seed(0)
    network, batch = SegTAD(Config(class_agnostic=True), FEATURES, CLASSES).eval(), one_video()

    @torch.no_grad()
    def run() -> object:
        return network.decode(network(batch), batch)

    if form == "warm":
        run()
    return run


def training() -> float:
    torch.manual_seed(0)
    network, batch = SegTAD(Config(class_agnostic=True), FEATURES, CLASSES), one_video(4)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        total(network.loss(network(batch), batch)).backward()

    return best_time(step, repeat=2)


def main() -> None:
    rows = [*against_plain(), adaptive(), attention(), graph()]
    rows.append(
        {
            "what": "inference of one video, network and decoding",
            "ours ms": best_time(inference(), repeat=3) * 1e3,
            "ours peak MiB": peak_memory(inference, "cold"),
        }
    )
    rows.append({"what": "training step, four videos, 1,050 proposals each", "ours ms": training() * 1e3})
    report("segtad", "SegTAD: 1000 steps, C = 256, 7,875 proposals, 32 bins of 4 samples, float32", rows)


if __name__ == "__main__":
    main()
