"""Windows of segments, and the edges between them by slow loops over the paper's rules."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from untrimmed.layers.segment_graph import KINDS, Rules

CHANNELS = 6


def windows(counts: tuple[int, ...] = (17, 9, 1, 0), seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features, segments and mask; near-copies, segments that touch, one without length, a zero feature; what is not
    there is not a number."""
    make = torch.Generator().manual_seed(seed)
    most = max(counts)
    features = torch.randn(len(counts), most, CHANNELS, generator=make)
    start = torch.randint(0, 30, (len(counts), most), generator=make).float()
    width = torch.randint(2, 9, (len(counts), most), generator=make).float()
    segments = torch.stack((start, start + width), -1)
    segments[:, 3 % most] = segments[:, 0] + torch.tensor([0.0, 0.25])
    segments[:, 4 % most] = segments[:, 0, [1]] + torch.tensor([0.0, 4.0])
    segments[:, 5 % most] = torch.tensor([11.0, 11.0])
    features[:, 6 % most] = 0
    mask = torch.arange(most) < torch.tensor(counts)[:, None]
    return features.masked_fill(~mask[..., None], torch.nan), segments.masked_fill(~mask[..., None], torch.nan), mask


def overlap(a: list[float], b: list[float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / union if shared else 0.0


def cosine(a: list[float], b: list[float]) -> float:
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 0.0


def slow_kinds(features: list[list[float]], segments: list[list[float]], rules: Rules) -> list[dict[int, int]]:
    """Eqs. 4 to 7 for one window without padding: of each segment its neighbours, and by which kinds."""
    count = len(segments)
    found: list[dict[int, int]] = [{} for _ in range(count)]

    def distance(i: int, j: int) -> float:
        (a, b), (c, d) = segments[i], segments[j]
        by = (b - a) + (d - c) if rules.distance == "union" else max(b, d) - min(a, c)
        gap = abs((a + b) / 2 - (c + d) / 2)
        return gap / by if by else (math.inf if rules.distance == "union" else 0.0)

    for i in range(count):
        others = [j for j in range(count) if j != i]
        apart = [j for j in others if overlap(segments[i], segments[j]) == 0]
        contextual = [j for j in others if overlap(segments[i], segments[j]) > rules.contextual]
        if rules.distance == "union":
            surrounding = [j for j in apart if distance(i, j) < rules.surrounding]
        else:
            surrounding = sorted(apart, key=lambda j: (distance(i, j), j))[: rules.nearest]
        by_likeness = sorted(others, key=lambda j: (-cosine(features[i], features[j]), j))
        if rules.semantic_order == "nearest_first":
            semantic = [j for j in by_likeness[: rules.semantic] if j in apart]
        else:
            semantic = [j for j in by_likeness if j in apart][: rules.semantic]
        for kind, chosen in (("contextual", contextual), ("surrounding", surrounding), ("semantic", semantic)):
            if kind in rules.kinds:
                for j in chosen:
                    found[i][j] = found[i].get(j, 0) + KINDS[kind]
    return found
