"""What every benchmark shares: timing, peak memory, the description of the machine, the table and the results file.

A benchmark module has ``main()``, is run as ``python -m benchmarks.NAME`` from the root of the repository, and ends
with :func:`report`, which prints its rows and keeps them in ``benchmarks/results/NAME.json``. All benchmarks, one
after the other: ``python -m benchmarks``.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("untrimmed", "numpy", "numba", "torch")


def best_time(function: Callable[[], object], repeat: int = 5, warm: int = 1) -> float:
    """Seconds the fastest of ``repeat`` calls takes, after ``warm`` calls that are not timed.

    The fastest, not the mean: whatever else runs on the machine can only add time. Where much else does, the
    environment variable ``BENCHMARK_CLOCK=cpu`` counts the time of this process's threads instead (with
    ``OMP_NUM_THREADS=1`` the same thing on an idle machine); the results file says which clock it was.
    """
    clock = time.process_time if _clock() == "cpu" else time.perf_counter
    for _ in range(warm):
        function()
    times = []
    for _ in range(repeat):
        gc.collect()
        begin = clock()
        function()
        times.append(clock() - begin)
    return min(times)


def _clock() -> str:
    return os.environ.get("BENCHMARK_CLOCK", "wall")


def peak_memory(prepare: Callable[..., Callable[[], object]], *args: Any) -> float:
    """MiB by which the resident memory of a fresh process grows at most while a function runs.

    Args:
        prepare: a function of a module (it is imported anew in that process) that makes the inputs, runs whatever
            is needed once (compilation, thread pools) and returns the function to measure.
        args: arguments of ``prepare``.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_peak, (prepare, args))


def _measure_peak(prepare: Callable[..., Callable[[], object]], args: tuple[Any, ...]) -> float:
    function = prepare(*args)
    gc.collect()
    try:
        # Linux: forget the highest mark so far, so that the inputs' preparation does not hide the function.
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_mib("VmRSS")
        function()
        return _status_mib("VmHWM") - before
    except OSError:
        scale = 2**20 if platform.system() == "Darwin" else 2**10
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
        function()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale - before


def _status_mib(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {key}")


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "clock": _clock(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def report(name: str, title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a table and keep them, with the machine, in ``benchmarks/results/NAME.json``.

    Args:
        name: of the benchmark's module.
        title: what was measured, in a line.
        rows: one mapping a line of the table, column -> text or number; units belong into the column's name
            (``"ours ms"``, ``"peak MiB"``), and ``"ratio"`` is others over ours.
    """
    rounded = [{key: _rounded(value) for key, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(column for row in rounded for column in row))
    lines = [columns, *([str(row.get(column, "")) for column in columns] for row in rounded)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"title": title, "machine": machine(), "date": time.strftime("%Y-%m-%d"), "rows": rounded}
    path.write_text(json.dumps(content, indent=1) + "\n")


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
