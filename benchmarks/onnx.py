"""onnxruntime against torch on the CPU, with random weights: ``python -m benchmarks.onnx``.

The networks of VSGN and SegTAD as their configs for ActivityNet-v1.3 make them, one window at a time, network alone:
the methods' decoding is the same code for both. Both compute in one thread. *difference* is the largest between the
two answers; neighbours that are nearly as far may be exchanged in VSGN's graph. Exporting is timed once, by the wall.
Two minutes on an idle core.
"""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from benchmarks.common import best_time, report

from untrimmed.data.batch import Batch, Targets
from untrimmed.methods.catalog import make_method
from untrimmed.pipeline.detector import Detector
from untrimmed.pipeline.export import export_onnx, load_onnx
from untrimmed.pipeline.recipe import load
from untrimmed.timemap import TimeMap

CASES = {"activitynet13/vsgn": 1280, "activitynet13/segtad": 1000}
"""Config -> steps of a window."""
CHANNELS, CLASSES = 2048, 200


def detector_of(config: str) -> Detector:
    recipe = load(config)
    settings = dict(recipe.method)
    torch.manual_seed(0)
    method = make_method(settings.pop("name"), settings, CHANNELS, CLASSES).eval()
    return Detector(method, recipe, tuple(f"class {number}" for number in range(CLASSES)), CHANNELS)


def one_window(steps: int) -> Batch:
    nothing = Targets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    features = torch.randn(1, CHANNELS, steps, generator=torch.Generator().manual_seed(0))
    clip = torch.ones(1, steps, dtype=torch.uint8)
    return Batch(features, clip, (nothing,), (TimeMap.linear(steps, 0.0, 120.0),), ("noise",))


def measure(config: str, steps: int, folder: Path) -> dict[str, object]:
    detector, batch = detector_of(config), one_window(steps)
    begun = time.perf_counter()
    other = load_onnx(export_onnx(detector, folder / "model.onnx"), threads=1)
    exported = time.perf_counter() - begun
    expected, found = detector.raw(batch), other.raw(batch)
    difference = max(float((found[name] - expected[name]).abs().max()) for name in found)
    row: dict[str, object] = {"what": f"{config}, {steps} steps", "export s": exported, "difference": difference}
    alone, onnx = best_time(partial(detector.raw, batch)), best_time(partial(other.raw, batch))
    return row | {"torch ms": 1e3 * alone, "onnxruntime ms": 1e3 * onnx, "ratio": alone / onnx}


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(config, steps, Path(folder)) for config, steps in CASES.items()]
    report("onnx", "Networks in onnxruntime and in torch, one window, one thread each, float32", rows)


if __name__ == "__main__":
    main()
