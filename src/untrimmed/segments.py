"""Arithmetic of temporal segments: the only place where overlap is defined.

A segment is half-open, ``[start, end)``, in any one unit (seconds in public, steps inside a model)::

    first    |---------------)
    second          |-----------------)
                    |<- i  ->|              i = intersection = max(0, min(ends) - max(starts))
             |<-------- hull -------->|     union = length(first) + length(second) - i

Each quantity has two forms that agree to the last bit: a scalar kernel on four numbers, which numba
compiles where a hot loop needs it, and an array form on ``(..., 2)`` arrays that broadcast, which runs on
numpy arrays and on torch tensors alike (with gradients) without importing torch.

A reversed segment (``end < start``) or one of zero length overlaps nothing: its tIoU with anything is 0.
"""

from __future__ import annotations

from typing import Any


def tiou_scalar(start_a: float, end_a: float, start_b: float, end_b: float) -> float:
    """Temporal intersection over union of two segments, in [0, 1]. Compiles with numba."""
    inter = min(end_a, end_b) - max(start_a, start_b)
    if not inter > 0.0:
        return 0.0
    return inter / ((end_a - start_a) + (end_b - start_b) - inter)


def intersection(a: Any, b: Any) -> Any:
    """Length shared by two segments.

    Args:
        a: ``(..., 2)`` numpy array or torch tensor of ``[start, end)``.
        b: likewise; the leading axes of ``a`` and ``b`` broadcast. For all pairs pass ``a[:, None], b[None]``.

    Returns:
        ``(...)`` array of lengths, at least 0, in the unit of the segments.
    """
    shared = a[..., 1].clip(max=b[..., 1]) - a[..., 0].clip(min=b[..., 0])
    return shared.clip(min=0)


def tiou(a: Any, b: Any) -> Any:
    """Temporal intersection over union, in [0, 1]; shapes as for :func:`intersection`.

    0 wherever the segments share no time, also for zero-length and reversed segments.
    """
    inter = intersection(a, b)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    return inter / _positive(union)


def intersection_over_first(a: Any, b: Any) -> Any:
    """Share of the *first* segment that the second covers, in [0, 1]; shapes as for :func:`intersection`.

    0 where the first segment has no length.
    """
    return intersection(a, b) / _positive(a[..., 1] - a[..., 0])


def giou(a: Any, b: Any) -> Any:
    """Generalised temporal intersection over union, in [-1, 1] (Rezatofighi et al., CVPR 2019, in one dimension).

    ``tIoU - (hull - union) / hull``; negative and falling with the distance where the segments are apart, so
    that ``1 - giou`` is a loss with a gradient there too. Shapes as for :func:`intersection`. Segments are
    expected in order (``start <= end``).
    """
    inter = intersection(a, b)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inter
    hull = a[..., 1].clip(min=b[..., 1]) - a[..., 0].clip(max=b[..., 0])
    return inter / _positive(union) - (hull - union) / _positive(hull)


def center_width(segments: Any) -> tuple[Any, Any]:
    """Centres and widths of ``(..., 2)`` segments, each ``(...)``, in the unit of the segments."""
    return (segments[..., 0] + segments[..., 1]) / 2, segments[..., 1] - segments[..., 0]


def from_center_width(center: Any, width: Any) -> tuple[Any, Any]:
    """Starts and ends, each of the shape of ``center``: the inverse of :func:`center_width`.

    Returned as a pair because numpy and torch stack differently.
    """
    half = width / 2
    return center - half, center + half


def _positive(length: Any) -> Any:
    """Lengths to divide by: 1 where there is none, so that a quotient with an empty segment is 0 and never NaN.
    No floor like 1e-30 does that: float16 has none so small, and real lengths may lie below it."""
    return length * (length > 0) + (length <= 0)
