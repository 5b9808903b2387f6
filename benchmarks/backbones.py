"""Networks on one snippet, with random weights: ``python -m benchmarks.backbones``.

*forward* is the network alone on a snippet of its size; *decode* is reading as many frames of an H.264 video of
340 x 256 pixels at the size the network takes. Random weights take as long as trained ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import best_time, report

from untrimmed.backbones.c3d import C3D
from untrimmed.backbones.i3d import I3D
from untrimmed.backbones.snippets import device_of
from untrimmed.video import VideoWriter, read_frames

CASES: dict[str, tuple[Callable[[], torch.nn.Module], int, int, int]] = {
    "i3d rgb, 64 frames": (I3D, 3, 64, 224),
    "i3d flow, 64 frames": (lambda: I3D(2), 2, 64, 224),
    "i3d rgb, 16 frames": (I3D, 3, 16, 224),
    "c3d fc6, 16 frames": (C3D, 3, 16, 112),
}
"""Name -> network, channels, frames, side."""


def render(path: Path, frames: int) -> None:
    back = np.random.default_rng(0).integers(0, 255, (256, 340, 3), dtype=np.uint8)
    with VideoWriter(path, fps=25, size=(340, 256)) as writer:
        for number in range(frames):
            writer.write(np.roll(back, 2 * number, axis=1))


def read(path: Path, frames: int) -> Callable[[], object]:
    def run() -> object:
        with read_frames(path, fps=25, short_side=256) as reading:
            return sum(1 for _ in islice(reading, frames))

    return run


def forward(network: torch.nn.Module, clips: torch.Tensor) -> Callable[[], object]:
    features: Callable[[torch.Tensor], torch.Tensor] = network.features  # type: ignore[assignment]

    def run() -> object:
        with torch.inference_mode():
            return features(clips).cpu()

    return run


def main() -> None:
    device = device_of("auto")
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "clip.mp4"
        render(path, 64)
        seconds = best_time(read(path, 64), repeat=3)
        rows.append({"what": "decode, 64 frames", "device": "cpu", "ms": 1000 * seconds, "frames/s": 64 / seconds})
        for what, (make, channels, frames, side) in CASES.items():
            network = make().eval().to(device)
            clips = torch.zeros(1, channels, frames, side, side, device=device)
            seconds = best_time(forward(network, clips), repeat=2)
            row = {"what": what, "device": str(device), "ms": 1000 * seconds, "frames/s": frames / seconds}
            rows.append(row | {"parameters": sum(each.numel() for each in network.parameters())})
    report("backbones", f"Networks on one snippet, {torch.get_num_threads()} threads of torch", rows)


if __name__ == "__main__":
    main()
