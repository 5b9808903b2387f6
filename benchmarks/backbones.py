"""Networks on one snippet, with random weights: ``python -m benchmarks.backbones``.

A network's row is its forward pass alone: one snippet on the CPU, a full batch of them on CUDA. *decode* is reading
an H.264 video of 340 x 256 pixels at the size the networks take; *extract* is decoding and I3D together, as ``untrimmed
extract`` does it. Wall time, and CPU time of all threads, which other work on the machine changes less. Random weights
take as long as trained ones. Half a minute on two idle cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import report
from safetensors.torch import save_file

from untrimmed.backbones import make_backbone
from untrimmed.backbones.c3d import C3D
from untrimmed.backbones.i3d import I3D
from untrimmed.backbones.snippets import device_of
from untrimmed.pipeline.extract_job import extract_features
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


def read(path: Path) -> Callable[[], object]:
    def run() -> object:
        with read_frames(path, fps=25, short_side=256) as reading:
            return sum(1 for _ in reading)

    return run


def forward(network: torch.nn.Module, clips: torch.Tensor) -> Callable[[], object]:
    features: Callable[[torch.Tensor], torch.Tensor] = network.features  # type: ignore[assignment]

    def run() -> object:
        with torch.inference_mode():
            return features(clips).cpu()

    return run


def extraction(path: Path, device: torch.device) -> Callable[[], object]:
    weights = path.with_suffix(".safetensors")
    save_file(I3D().state_dict(), weights)
    spec = {"name": "i3d", "options": {"stride": 16, "window": 16}}
    backbone = make_backbone(spec, weights=[weights], device=str(device))
    return lambda: extract_features(path, backbone)


def measure(what: str, device: str, frames: int, function: Callable[[], object]) -> dict[str, object]:
    """A row: the faster of two calls, after one that is not timed."""
    function()
    best = (np.inf, np.inf)
    for _ in range(2):
        wall, used = time.perf_counter(), time.process_time()
        function()
        best = (min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - used))
    row: dict[str, object] = {"what": what, "device": device, "frames": frames, "ms": 1000 * best[0]}
    return row | {"CPU ms": 1000 * best[1], "frames/s": frames / best[0]}


def main() -> None:
    device = device_of("auto")
    on_gpu = device.type == "cuda"
    batch, length = (8, 4000) if on_gpu else (1, 64)
    name = torch.cuda.get_device_name(device) if on_gpu else "cpu"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        render(path, length)
        rows.append(measure("decode", "cpu", length, read(path)))
        for what, (make, channels, frames, side) in CASES.items():
            network = make().eval().to(device)
            clips = torch.zeros(batch, channels, frames, side, side, device=device)
            row = measure(what, name, batch * frames, forward(network, clips))
            rows.append(row | {"parameters": sum(each.numel() for each in network.parameters())})
        rows.append(measure("extract i3d rgb, 16 frames every 16", name, length, extraction(path, device)))
    report("backbones", f"Networks on snippets, {torch.get_num_threads()} threads of torch", rows)


if __name__ == "__main__":
    main()
