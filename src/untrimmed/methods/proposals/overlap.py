"""How well proposals fit the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from untrimmed.layers.matching import Instances
from untrimmed.segments import tiou


@torch.no_grad()
def best_overlap(segments: Tensor, instances: Instances) -> Tensor:
    """(B, M) tIoU of each of some segments, (B, M, 2) or (1, M, 2), with the instance that it overlaps most; with or
    without a label, as proposals know no classes."""
    real = (instances.labelled | instances.unlabelled)[:, None]
    best: Tensor = (tiou(segments[:, :, None], instances.segments[:, None]) * real).amax(-1)
    return best
