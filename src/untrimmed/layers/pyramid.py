"""Pyramids over time: the decoder of a feature pyramid, and levels laid side by side for heads they share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from untrimmed._moved import renamed
from untrimmed.layers.conv import masked


def clip_at(clip: Tensor, stride: int) -> Tensor:
    """The clip of pooled steps: that of the step at the centre of each cell.

    A cell of 4 steps has its centre at the edge between its second and third step, which belongs to the third.

    Args:
        clip: (B, T), T a multiple of ``stride``.
        stride: steps in a cell, even or 1.

    Returns:
        (B, T / stride).
    """
    return clip[:, stride // 2 :: stride]


class TopDown(nn.Module):
    """The decoder of a feature pyramid: from the coarsest level down, doubled by deconvolution, joined with the
    encoder's level by a skip connection (FPN, Lin et al., CVPR 2017, in one dimension; section 3.3 of VSGN).

    The coarsest level is ``relu(smooth(encoded))``, every other one
    ``relu(smooth(relu(lateral(encoded)) + relu(deconvolution(the next coarser level's output))))``; lateral and smooth
    are convolutions of kernel 3. The paper shows the connections; these formulas are the released code's.

    Args:
        channels: C of all levels.
        levels: how many.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(levels - 1))
        self.smooth = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(levels))
        self.deconv = nn.ModuleList(
            nn.ConvTranspose1d(channels, channels, 3, stride=2, padding=1, output_padding=1) for _ in range(levels - 1)
        )

    def forward(self, encoded: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Decode.

        Args:
            encoded: features (B, C, T_l) of each level, finest first, each twice as long as the next.
            masks: (B, T_l) bool of each level.

        Returns:
            Features (B, C, T_l) of each level, finest first, zero outside the masks.
        """
        outputs: list[Tensor] = []
        for level in reversed(range(len(encoded))):
            joined = encoded[level]
            if outputs:
                joined = F.relu(self.lateral[level](joined)) + F.relu(self.deconv[level](outputs[-1]))
            smooth = self.smooth[level](masked(joined, masks[level]))
            outputs.append(masked(F.relu(smooth), masks[level]))
        return outputs[::-1]


class PackedLevels:
    """Levels of a pyramid laid side by side on one axis, so that a head they share runs once for all of them.

    An empty step between two levels keeps convolutions of kernel 3 from reaching over, if it is zero again after
    every layer: it is in no set of steps (see :class:`untrimmed.layers.conv.SegmentNorm`)::

        |-------- level 1 --------|0|--- level 2 ---|0|- level 3 -|

    Args:
        masks: (B, T_l) bool of each level.
    """

    def __init__(self, masks: Sequence[Tensor]) -> None:
        lengths = [mask.shape[1] for mask in masks]
        total = sum(lengths) + len(lengths) - 1
        self.sets = torch.zeros(masks[0].shape[0], len(masks), total, device=masks[0].device)
        """(B, S, P) float32: the valid steps of each level, 1 or 0."""
        self._spans = []
        first = 0
        for level, (mask, length) in enumerate(zip(masks, lengths, strict=True)):
            self.sets[:, level, first : first + length] = mask
            self._spans.append((first, first + length))
            first += length + 1

    def join(self, levels: Sequence[Tensor]) -> Tensor:
        """Features (B, C, T_l) of each level -> (B, C, P)."""
        gap = levels[0].new_zeros(*levels[0].shape[:2], 1)
        parts = [part for level in levels for part in (level, gap)]
        return torch.cat(parts[:-1], dim=-1)

    def values(self, joined: Tensor) -> Tensor:
        """(..., P) -> (..., sum of T_l): without the empty steps."""
        return torch.cat([joined[..., first:last] for first, last in self._spans], dim=-1)


__getattr__ = renamed(__name__, {"SideBySide": "PackedLevels"})
