"""Generators of proposals: boundary matching at the paper's size, range maxima, watershed; float32.

Run as ``python -m benchmarks.proposals``.

Boundary matching with its convolution over bins (BMN: 100 steps, C = 128, 32 bins, to 512 channels), against the form
of the paper: features times a mask of (100, 32 x 100 x 100), then a convolution in three dimensions, the mask made
before. Ours computes the 5,050 proposals that lie within the window, the plain form the whole map; where there is a
proposal both must give the same. The maximum over 126 segments with its gradient, against a loop over them. Peak memory
is what comes on top of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from benchmarks.common import best_time, peak_memory, report
from torch import Tensor
from torch.nn import functional as F

from untrimmed.layers.boundary_matching import BoundaryMatching, from_map, matching_grid
from untrimmed.layers.range_maximum import range_maximum
from untrimmed.layers.watershed import watershed

STEPS, CHANNELS, OUTPUTS, BINS = 100, 128, 512, 32
CPU = torch.device("cpu")


def layer_and_features() -> tuple[BoundaryMatching, Tensor]:
    torch.manual_seed(0)
    return BoundaryMatching(CHANNELS, OUTPUTS, BINS), torch.randn(1, CHANNELS, STEPS)


def dense_mask(context: float = 0.25) -> Tensor:
    """(T, bins x D x T): what each bin of each proposal reads, as the paper has it."""
    mask = torch.zeros(STEPS, BINS, STEPS, STEPS)
    share = torch.arange(BINS, dtype=torch.float64) / (BINS - 1)
    for d in range(1, STEPS + 1):
        start = torch.arange(STEPS - d + 1)
        position = start[:, None] + (share * (1 + 2 * context) - context) * d - 0.5
        low = position.floor()
        for step, weight in ((low, 1 - (position - low)), (low + 1, position - low)):
            inside = (step >= 0) & (step < STEPS)
            at = step.long().clamp(0, STEPS - 1)
            place = at, torch.arange(BINS).expand_as(at), torch.full_like(at, d - 1), start[:, None].expand_as(at)
            mask.index_put_(place, (weight * inside).float(), accumulate=True)
    return mask.view(STEPS, -1)


def matching(form: str) -> Callable[[], Tensor]:
    """One form of boundary matching of one window: ours gives (5050, 512), dense (1, 512, 100, 100), and "result ..."
    only takes the memory of that."""
    layer, features = layer_and_features()
    grid = matching_grid(STEPS, None, CPU)
    present = grid.present(torch.ones(1, STEPS, dtype=torch.bool))
    sizes = {"result ours": (len(grid), OUTPUTS), "result dense": (1, OUTPUTS, STEPS, STEPS)}
    if form in sizes:
        return lambda: torch.ones(sizes[form])
    if form == "ours":
        layer(features, grid, present[:, :10].new_zeros(1, len(grid)).index_fill(1, torch.arange(10), True))
        return torch.no_grad()(lambda: layer(features, grid, present))
    mask, weight = dense_mask(), layer.project.weight.detach().permute(2, 1, 0)[..., None, None].contiguous()
    bias = layer.project.bias.detach()

    def run() -> Tensor:
        with torch.no_grad():
            matched = (features[0].contiguous() @ mask).view(1, CHANNELS, BINS, STEPS, STEPS)
            return F.conv3d(matched, weight, bias)[:, :, 0]

    return run


def boundary_matching() -> dict[str, object]:
    ours, dense = matching("ours"), matching("dense")
    grid = matching_grid(STEPS, None, CPU)
    present = grid.present(torch.ones(1, STEPS, dtype=torch.bool))
    difference = float((from_map(dense(), grid, present) - ours()).abs().max())
    assert difference < 1e-5, f"outputs differ by {difference}"
    slow, fast = best_time(dense, repeat=3), best_time(ours)
    peaks = {form: peak_memory(matching, form) - peak_memory(matching, f"result {form}") for form in ("ours", "dense")}
    return {
        "what": "boundary matching with its convolution, against the dense mask",
        "others ms": slow * 1e3,
        "ours ms": fast * 1e3,
        "ratio": slow / fast,
        "others peak MiB": peaks["dense"],
        # What the allocator had left over may be all that ours needs.
        "ours peak MiB": max(peaks["ours"], 1.0),
        "memory ratio": peaks["dense"] / max(peaks["ours"], 1.0),
        "largest difference": difference,
    }


def matching_training() -> dict[str, object]:
    layer, features = layer_and_features()
    grid = matching_grid(STEPS, None, CPU)
    present = grid.present(torch.ones(1, STEPS, dtype=torch.bool))
    features.requires_grad_()

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        layer(features, grid, present).square().sum().backward()

    return {"what": "the same with its gradient", "ours ms": best_time(step) * 1e3}


def maximum() -> dict[str, object]:
    torch.manual_seed(0)
    features = torch.randn(2, 512, 256, requires_grad=True)
    segments = torch.rand(2, 126, 257).argsort(-1)[..., :2].sort(-1).values

    def loop() -> Tensor:
        rows = [
            torch.stack([features[b, :, s:e].amax(-1) for s, e in each.tolist()], -1) for b, each in enumerate(segments)
        ]
        return torch.stack(rows)

    def step(pool: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            features.grad = None
            pool().sum().backward()

        return run

    assert torch.equal(loop(), range_maximum(features, segments))
    slow, fast = best_time(step(loop), repeat=3), best_time(step(lambda: range_maximum(features, segments)))
    what = "maximum over 126 segments of 2 x 512 x 256, with its gradient, against a loop"
    return {"what": what, "others ms": slow * 1e3, "ours ms": fast * 1e3, "ratio": slow / fast}


def grouping() -> dict[str, object]:
    noise = np.random.default_rng(0).random(20_000)
    curve = np.convolve(noise, np.ones(5) / 5, mode="same")
    grid = [round(0.05 * k, 2) for k in range(1, 20)]
    groups = len(watershed(curve, grid, grid))
    what = f"watershed of a curve of 20,000 steps at 19 levels and shares, {groups:,} groups"
    return {"what": what, "ours ms": best_time(lambda: watershed(curve, grid, grid), repeat=3) * 1e3}


def main() -> None:
    rows = [boundary_matching(), matching_training(), maximum(), grouping()]
    report("proposals", "Generators of proposals, float32", rows)


if __name__ == "__main__":
    main()
