"""Operators in a form that other runtimes have too, for export.

Some layers are fast by means that a graph format lacks: bits of floats as integers, blocks in a loop, functions with a
gradient of their own. Inside :func:`portable_operators` they compute the same by plain means, which take more memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

_portable: ContextVar[bool] = ContextVar("portable", default=False)

_DOUBLINGS = 20
"""Of :func:`running_max`: enough for a million steps."""


def portable() -> bool:
    """Whether plain operators are asked for."""
    return _portable.get()


@contextmanager
def portable_operators() -> Iterator[None]:
    """Plain operators inside the ``with`` block."""
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def running_max(values: Tensor, least: float) -> Tensor:
    """The maximum of each step and all before it, on the last axis: ``cummax``, which ONNX lacks, by doubling.

    Args:
        values: any shape and dtype, at least ``least``, at most a million steps.
        least: a value that is never above another.
    """
    steps = values.shape[-1]
    for doubling in range(_DOUBLINGS):
        values = torch.maximum(values, F.pad(values, (2**doubling, 0), value=least)[..., :steps])
    return values


def nearest_steps(distances: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The K lowest of each row, lowest first, ties by index (as ONNX's ``TopK`` breaks them).

    Args:
        distances: (B, N, M) float32; infinite for what is no neighbour.
        k: K; M may be lower.

    Returns:
        (B, N, K) distances, infinite where there are fewer than K, and (B, N, K) int64 indices, M or more there.
    """
    found = F.pad(distances, (0, k), value=torch.inf).topk(k, largest=False)
    return found.values, found.indices
