"""Graph layers at the sizes of VSGN's encoder, against the formulas taken literally, in one process.

Run as ``python -m benchmarks.graph``. C = 256, K = 10, half of the edges cross-scale, two self-stitched windows, levels
of 640 to 40 steps. The plain form builds the tensor of all pairwise differences (B, C, N, N) for the distances; for the
convolution it gathers every neighbour, joins it with the step's own feature, and multiplies by the whole W.

Both must choose the same neighbours wherever the choice is clear (the distances of the last one chosen and of the first
one left differ by more than float32 can blur), and there give the same output to 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from benchmarks.common import best_time, peak_memory, report
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.graph import EdgeConv, knn_graph
from untrimmed.timemap import ORIGINAL, UPSCALED

BATCH, CHANNELS, NEIGHBOURS = 2, 256, 10
LEVELS = (640, 320, 160, 80, 40)
CLEAR = 1e-4
"""Relative difference of squared distances above which their order is clear."""


def windows(steps: int) -> tuple[Tensor, Tensor]:
    """Features after a ReLU, smooth in time, the second clip an interpolation of the first; the clip of each step."""
    torch.manual_seed(steps)
    short = int(0.4 * steps)
    gap = max(1, steps * 30 // 1280)
    original = F.relu(F.avg_pool1d(torch.randn(BATCH, CHANNELS, short + 4), 5, stride=1) * 5**0.5)
    larger = F.interpolate(original, steps - short - gap, mode="linear") + 0.1 * torch.randn(
        BATCH, CHANNELS, steps - short - gap
    )
    features = torch.cat((original, torch.zeros(BATCH, CHANNELS, gap), larger), dim=2)
    clip = torch.full((BATCH, steps), UPSCALED, dtype=torch.uint8)
    clip[:, :short] = ORIGINAL
    clip[:, short : short + gap] = 0
    return features, clip


@torch.no_grad()
def plain_knn(features: Tensor, k: int, mask: Tensor | None, clip: Tensor, kind: str = "half") -> tuple[Tensor, Tensor]:
    """K/2 free and K - K/2 cross-scale edges from all pairwise differences."""
    assert kind == "half"
    distance = (features[:, :, :, None] - features[:, :, None]).square().mean(1)
    takes_part = clip > 0 if mask is None else mask
    other = takes_part[:, :, None] & takes_part[:, None] & ~torch.eye(clip.shape[1], dtype=torch.bool)
    distance = distance.masked_fill(~other, torch.inf)
    first, free = distance.topk(k // 2, largest=False)
    distance = distance.scatter(2, free, torch.inf).masked_fill(clip[:, :, None] == clip[:, None], torch.inf)
    second, cross = distance.topk(k - k // 2, largest=False)
    return torch.cat((free, cross), -1), torch.isfinite(torch.cat((first, second), -1))


def plain_conv(layer: EdgeConv, features: Tensor, indices: Tensor, valid: Tensor) -> Tensor:
    """``max_j [x_j ; x_i] W + b``, every edge on its own."""
    rows = features.mT
    batch, steps, count = indices.shape
    neighbours = rows.gather(1, indices.view(batch, -1, 1).expand(-1, -1, rows.shape[-1]))
    pairs = torch.cat((neighbours.view(batch, steps, count, -1), rows[:, :, None].expand(-1, -1, count, -1)), -1)
    edges = layer.linear(pairs).masked_fill(~valid[..., None], -torch.inf).amax(2)
    return torch.where(valid.any(-1, keepdim=True), edges, torch.zeros_like(edges)).mT


def clear(features: Tensor, clip: Tensor) -> Tensor:
    """(B, N) bool: the steps whose neighbours can be told whatever the order of summation."""
    distance = torch.cdist(features.double().mT, features.double().mT, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance.square()
    takes_part = clip > 0
    other = takes_part[:, :, None] & takes_part[:, None] & ~torch.eye(clip.shape[1], dtype=torch.bool)
    distance = distance.masked_fill(~other, torch.inf)
    half = NEIGHBOURS // 2
    near, free = distance.topk(half + 1, largest=False)
    across = distance.scatter(2, free[..., :half], torch.inf).masked_fill(clip[:, :, None] == clip[:, None], torch.inf)
    far = across.topk(NEIGHBOURS - half + 1, largest=False).values
    gaps = [row[..., -1] > row[..., -2] * (1 + CLEAR) for row in (near, far)]
    return gaps[0] & gaps[1] & takes_part


def agreement(steps: int) -> dict[str, object]:
    """Share of steps with a clear choice, of those that agree among all, and the largest difference of outputs."""
    features, clip = windows(steps)
    layer = EdgeConv(CHANNELS, CHANNELS)
    fast, slow = knn_graph(features, NEIGHBOURS, None, clip, "half"), plain_knn(features, NEIGHBOURS, None, clip)
    same = (fast[0].sort(-1).values == slow[0].sort(-1).values).all(-1) & (fast[1].sum(-1) == slow[1].sum(-1))
    sure = clear(features, clip)
    assert bool(same[sure].all()), "neighbours differ where the choice is clear"
    with torch.no_grad():
        difference = (layer(features, *fast) - plain_conv(layer, features, *slow)).abs().amax(1)[sure].max()
    assert float(difference) < 1e-5, f"outputs differ by {float(difference)}"
    part = clip > 0
    return {
        "clear": float(sure.sum() / part.sum()),
        "same": float(same[part].float().mean()),
        "largest difference": float(difference),
    }


Graph = Callable[..., tuple[Tensor, Tensor]]
Conv = Callable[..., Tensor]
FORMS: dict[str, tuple[Graph, Conv]] = {"plain": (plain_knn, plain_conv), "ours": (knn_graph, EdgeConv.forward)}


def work(form: str, part: str, steps: int) -> Callable[[], object]:
    """One part of the graph branch of one level, to be timed or measured; small inputs are run once before."""
    knn, conv = FORMS[form]
    layer = EdgeConv(CHANNELS, CHANNELS)

    def both(size: int) -> Callable[[], object]:
        features, clip = windows(size)
        edges = knn_graph(features, NEIGHBOURS, None, clip, "half")
        learned = features.clone().requires_grad_()

        def graph() -> object:
            return knn(features, NEIGHBOURS, None, clip, "half")

        @torch.no_grad()
        def convolution() -> object:
            return conv(layer, features, *edges)

        def training() -> None:
            conv(layer, learned, *edges).sum().backward()  # type: ignore[no-untyped-call]

        @torch.no_grad()
        def branch() -> object:
            return conv(layer, features, *knn(features, NEIGHBOURS, None, clip, "half"))

        return {"kNN": graph, "convolution": convolution, "convolution and gradient": training, "branch": branch}[part]

    both(40)()
    return both(steps)


def row(part: str, levels: tuple[int, ...], memory: bool = False) -> dict[str, object]:
    def run(form: str) -> float:
        parts = [work(form, part, steps) for steps in levels]
        return best_time(lambda: [function() for function in parts], repeat=5)

    others, ours = run("plain"), run("ours")
    result: dict[str, object] = {
        "what": part,
        "steps": "640 ... 40" if len(levels) > 1 else str(levels[0]),
        "plain ms": others * 1e3,
        "ours ms": ours * 1e3,
        "ratio": others / ours,
    }
    if memory:
        peaks = [peak_memory(work, form, part, max(levels)) for form in ("plain", "ours")]
        result |= {"plain peak MiB": peaks[0], "ours peak MiB": peaks[1], "memory ratio": peaks[0] / peaks[1]}
    return result


def main() -> None:
    rows = [
        *(row("kNN", (steps,), memory=steps == LEVELS[0]) for steps in LEVELS),
        row("convolution", LEVELS[:1], memory=True),
        row("convolution and gradient", LEVELS[:1]),
        row("branch", LEVELS, memory=True),
    ]
    rows += [{"what": "agreement", "steps": str(steps), **agreement(steps)} for steps in (LEVELS[0], LEVELS[-1])]
    report("graph", f"Graph layers: B = {BATCH}, C = {CHANNELS}, K = {NEIGHBOURS}, half of the edges cross-scale", rows)


if __name__ == "__main__":
    main()
