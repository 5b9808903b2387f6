"""VSGN at the paper's size (L = 1280, 2048 features, C = 256, K = 10), and how its time grows with L and K.

Run as ``python -m benchmarks.vsgn``; ``benchmarks/results/vsgn.svg`` shows the growth.

The plain form of the network has the plain graph of :mod:`benchmarks.graph`: all pairwise differences for the
distances, and for Eq. 2 every neighbour gathered, joined with the step's own feature, and multiplied with the whole W.
The two must give the same outputs, but for the steps whose K-th and next neighbour are equally far.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import matplotlib.pyplot as plt
import torch
from benchmarks.common import RESULTS, best_time, report
from benchmarks.graph import plain_conv, plain_knn

from untrimmed.data.batch import Batch, Targets
from untrimmed.layers.graph import EdgeConv
from untrimmed.losses import total
from untrimmed.methods.dense import vsgn
from untrimmed.methods.dense.vsgn import VSGN, Config
from untrimmed.timemap import UPSCALED, Piece, TimeMap

FEATURES, CLASSES, GAP = 2048, 20, 30
LENGTHS = (640, 1280, 2560, 5120)
NEIGHBOURS = (2, 5, 10, 20, 40)


def stitched_batch(count: int, length: int) -> Batch:
    """Self-stitched windows of noise, with three instances in each clip."""
    torch.manual_seed(0)
    short = int(0.4 * length)
    clip = torch.full((count, length), UPSCALED, dtype=torch.uint8)
    clip[:, :short] = 1
    clip[:, short : short + GAP] = 0
    features = torch.randn(count, FEATURES, length) * (clip > 0)[:, None]
    time_map = TimeMap((Piece(0, short, 0, 60, 1), Piece(short + GAP, length, 0, 60, UPSCALED)))
    seen, rows, _ = time_map.segments_to_steps([[4.0, 9.0], [20.0, 24.0], [30.0, 50.0]])
    targets = Targets(torch.tensor(seen, dtype=torch.float32), torch.tensor(rows))
    return Batch(features, clip, (targets,) * count, (time_map,) * count, ("noise",) * count)


@contextmanager
def plain_graph() -> Iterator[None]:
    """VSGN with the plain form of its graph."""
    with mock.patch.object(vsgn, "knn_graph", plain_knn), mock.patch.object(EdgeConv, "forward", plain_conv):
        yield


def model(**changes: object) -> VSGN:
    torch.manual_seed(0)
    return VSGN(Config(anchor_sizes=(4.0, 6.0), keep_best=True, **changes), FEATURES, CLASSES)  # type: ignore[arg-type]


def forward(network: VSGN, batch: Batch, repeat: int = 5) -> float:
    with torch.no_grad():
        return best_time(lambda: network(batch), repeat=repeat)


def training_step(network: VSGN, batch: Batch, repeat: int = 3) -> float:
    def step() -> None:
        network.zero_grad(set_to_none=True)
        total(network.loss(network(batch), batch)).backward()

    return best_time(step, repeat=repeat)


def against_plain(batch: Batch) -> list[dict[str, object]]:
    network, without = model(), model(graph_levels=())
    with torch.no_grad():
        ours = network(batch)
        with plain_graph():
            others = network(batch)
    for name in ours:
        share = torch.isclose(ours[name], others[name], rtol=1e-3, atol=1e-3).float().mean()
        assert float(share) > 0.99, f"{name}: only {float(share):.3f} of the values agree"
    rows = []
    for what, measure in (("forward", forward), ("training step", training_step)):
        fast = measure(network, batch)
        with plain_graph():
            slow = measure(network, batch, 2)
        bare = measure(without, batch)
        rows.append(
            {
                "what": f"{what}, B = {len(batch)}, L = {batch.clip.shape[1]}, K = 10",
                "plain ms": slow * 1e3,
                "ours ms": fast * 1e3,
                "ratio": slow / fast,
                "without graph ms": bare * 1e3,
            }
        )
    network.eval()
    with torch.no_grad():
        raw = network(batch)
    rows.append({"what": "decode, likewise", "ours ms": best_time(lambda: network.decode(raw, batch)) * 1e3})
    rows.append({"what": "loss alone, likewise", "ours ms": best_time(lambda: network.loss(raw, batch)) * 1e3})
    return rows


def scaling() -> tuple[dict[int, float], dict[int, float]]:
    """Milliseconds of a forward pass of one window, by L at K = 10, and by K at L = 1280."""
    network = model()
    by_length = {length: forward(network, stitched_batch(1, length), 9) * 1e3 for length in LENGTHS}
    batch = stitched_batch(1, 1280)
    return by_length, {k: forward(model(neighbours=k), batch, 9) * 1e3 for k in NEIGHBOURS}


def plot(by_length: dict[int, float], by_k: dict[int, float]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), sharey=False, layout="constrained")
    for axes, values, label in ((left, by_length, "L, steps (K = 10)"), (right, by_k, "K (L = 1280)")):
        axes.plot(list(values), list(values.values()), marker="o")
        axes.set_xlabel(label)
        axes.set_ylabel("forward, ms a window")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(RESULTS / "vsgn.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    rows = against_plain(stitched_batch(2, 1280))
    by_length, by_k = scaling()
    rows += [{"what": f"forward, B = 1, L = {length}, K = 10", "ours ms": ms} for length, ms in by_length.items()]
    rows += [{"what": f"forward, B = 1, L = 1280, K = {k}", "ours ms": ms} for k, ms in by_k.items()]
    RESULTS.mkdir(exist_ok=True)
    plot(by_length, by_k)
    report("vsgn", "VSGN, 2048 features, C = 256, 20 classes, float32", rows)


if __name__ == "__main__":
    main()
