"""What the weakly supervised methods have in common beside layers and losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from untrimmed.data.batch import Batch
from untrimmed.errors import InputError
from untrimmed.layers.activation import finer
from untrimmed.layers.curve_segments import CurveSegments, Rows, Scoring
from untrimmed.methods.plugins.enhancer import Enhance, Identity
from untrimmed.methods.protocol import StepDetections


class Host(nn.Module):
    """What a network with one enhancer begins with.

    Args:
        config: settings of the method; ``hidden`` is the width behind the features, or None for theirs.
        channels: of the features.
        classes: number of labels.
        enhance: makes the enhancer of the features.

    Attributes:
        channels: of the enhanced features.
        hidden: the width behind them.
    """

    def __init__(self, config: Any, channels: int, classes: int, enhance: Enhance = Identity) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.enhance: Any = enhance(channels)
        self.channels: int = self.enhance.channels
        self.hidden: int = config.hidden or self.channels


def known_labels(batch: Batch, classes: int) -> Tensor:
    """The video labels of a batch, (B, K).

    Raises:
        InputError: if there are none, or of another number of classes.
    """
    if batch.video_labels is None:
        raise InputError(f"no video labels of {', '.join(batch.video_ids[:5])}: they are what is learned from")
    if batch.video_labels.shape[1] != classes:
        raise InputError(f"video labels have shape {tuple(batch.video_labels.shape)}, expected (B, {classes})")
    return batch.video_labels


def refined(curves: Tensor, mask: Tensor, rows: Rows, settings: Scoring) -> tuple[Tensor, Tensor]:
    """The curves (B, K, T) of the classes that occur, and their mask, interpolated to cells: (R, L) each."""
    return finer(curves[rows.windows, rows.labels], mask[rows.windows], settings.finer, settings.align)


def ranked(found: CurveSegments, windows: int) -> list[StepDetections]:
    """All found segments, window by window, in falling order of score; ties keep their order."""
    order = found.scores.argsort(descending=True, stable=True)
    result = []
    for window in range(windows):
        rows = order[found.windows[order] == window]
        segments = found.segments[rows]
        result.append(StepDetections(segments, found.scores[rows], found.labels[rows], segments.mean(1)))
    return result


def number_curves(classes: Tensor, attention: Tensor, mask: Tensor) -> list[dict[str, Tensor]]:
    """Curves of each window by name, zero outside the mask.

    Args:
        classes: (B, K, T) in [0, 1].
        attention: (B, T) in [0, 1].
        mask: (B, T) bool.
    """
    named = {f"class {number}": curve for number, curve in enumerate(classes.unbind(1))} | {"attention": attention}
    shown = {name: (curve.float() * mask).clamp(0, 1) for name, curve in named.items()}
    return [{name: curve[row] for name, curve in shown.items()} for row in range(len(mask))]


def share_of(mask: Tensor, share: int) -> Tensor:
    """(B, T) bool -> (B,) int64: the number of steps divided by ``share``, at least 1."""
    return torch.div(mask.sum(1), share, rounding_mode="floor").clamp(min=1)
