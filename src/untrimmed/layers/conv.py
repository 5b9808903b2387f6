"""Convolutions over time that respect a mask: what lies in padding or in a gap is zero after every layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F


def masked(features: Tensor, mask: Tensor) -> Tensor:
    """Features (B, C, T) with zeros where the mask (B, T), bool, is false."""
    return features * mask[:, None].to(features.dtype)


class StepEncoder(nn.Conv1d):
    """A convolution over steps and ReLU: what methods that look at features as they are may have first, where these are
    raw signals in which nothing is linear.

    Args:
        channels: C of the features.
        encoded: of the result.
        kernel: odd.
    """

    def __init__(self, channels: int, encoded: int, kernel: int = 1) -> None:
        super().__init__(channels, encoded, kernel, padding=kernel // 2)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C, T), zero outside the mask (B, T), bool -> (B, ``encoded``, T), likewise."""
        return masked(F.relu(super().forward(features)), mask)


def pad_steps(features: Tensor, multiple: int) -> Tensor:
    """The last axis padded with zeros to the next multiple of ``multiple``; any shape and dtype."""
    missing = -features.shape[-1] % multiple
    return F.pad(features, (0, missing)) if missing else features


def widened(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


class SegmentNorm(nn.Module):
    """Group normalisation (Wu and He, ECCV 2018) in which sets of time steps are normalised apart.

    The steps of each set share one mean and variance per sample and group of channels; steps in no set neither count
    nor get a value. With one set of all steps this is group normalisation. It serves masks (the set of valid steps:
    how far a window is padded then changes nothing) and levels of a pyramid laid side by side (one set a level).

    Args:
        groups: of channels; divides ``channels``.
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = groups
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor, sets: Tensor) -> Tensor:
        """Normalise.

        Args:
            features: (B, C, T).
            sets: (B, S, T) float32, 1 where a step belongs to a set and 0 elsewhere; each step is in one set at most.

        Returns:
            (B, C, T), zero at steps in no set; in float32 at least, as the statistics need the precision.
        """
        batch, channels, steps = features.shape
        with torch.autocast(features.device.type, enabled=False):
            wide = widened(features)
            grouped = wide.view(batch, self.groups, -1, steps)
            sets = sets.to(wide.dtype)
            count = (sets.sum(-1) * (channels // self.groups)).clamp(min=1)[:, None]
            mean = grouped.sum(2) @ sets.mT / count
            centred = grouped - (mean @ sets)[:, :, None]
            variance = centred.square().sum(2) @ sets.mT / count
            scaled = centred * ((variance + self.eps).rsqrt() @ sets)[:, :, None]
            flat = scaled.view(batch, channels, steps)
            return torch.addcmul(self.bias[:, None] * sets.sum(1)[:, None], flat, self.weight[:, None])


class Tower(nn.Module):
    """Blocks of convolution (kernel 3), normalisation and ReLU (section 3.4 of VSGN; the towers of RetinaNet).

    Args:
        channels: C, in and out.
        depth: number of blocks.
        groups: of the normalisation.
    """

    def __init__(self, channels: int, depth: int, groups: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(channels, channels, 3, padding=1) for _ in range(depth))
        self.norms = nn.ModuleList(SegmentNorm(groups, channels) for _ in range(depth))

    def forward(self, features: Tensor, sets: Tensor) -> Tensor:
        """(B, C, T) and the sets of steps (B, S, T) of :class:`SegmentNorm` -> (B, C, T), zero at steps in no set."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = F.relu(norm(conv(features), sets))
        return features


def over_processes(values: Tensor) -> Tensor:
    """The sum of a tensor over the processes that train together, with gradient; the tensor itself where there is
    only one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    total: Tensor = _SumOfAll.apply(values)  # type: ignore[no-untyped-call]
    return total


class _SumOfAll(torch.autograd.Function):
    """The sum over all processes: each gets it, so the gradient of what each gave is the sum of all gradients."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


class MaskedBatchNorm(nn.Module):
    """Batch normalisation (Ioffe and Szegedy, ICML 2015) whose statistics are those of the valid steps alone.

    How far windows are padded changes nothing. As in torch, running averages take the unbiased variance, and are what
    normalises in evaluation; they are buffers, so they are saved with the weights and a resumed training has them. A
    training batch with one valid step, which has no variance, is normalised by the running averages. Where several
    processes train together (torch.distributed), the statistics are those of the batches of all of them.

    Args:
        channels: C.
        eps: added to the variance.
        momentum: share of the newest batch in the running averages.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features (B, C, T) and the valid steps (B, T), bool -> (B, C, T), float32 at least, zero at other steps."""
        with torch.autocast(features.device.type, enabled=False):
            wide = masked(widened(features), mask)
            mean, variance = self.mean.to(wide.dtype), self.variance.to(wide.dtype)
            if self.training:
                sums = over_processes(torch.cat((wide.sum((0, 2)), mask.sum().to(wide.dtype)[None])))
                count = sums[-1].detach()
            if self.training and int(count) > 1:
                mean = sums[:-1] / count
                variance = over_processes(masked(wide - mean[:, None], mask).square().sum((0, 2))) / count
                with torch.no_grad():
                    self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
                    self.variance.lerp_((variance * count / (count - 1)).to(self.variance.dtype), self.momentum)
            scale = self.weight * (variance + self.eps).rsqrt()
            return masked((wide - mean[:, None]) * scale[:, None] + self.bias[:, None], mask)
