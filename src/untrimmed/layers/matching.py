"""Which segments stand for which instances: batched, without loops over segments or instances.

Shapes: B batch, A segments (anchors, proposals), N instances of a sample, padded to the most in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from untrimmed.segments import tiou


class Instances(NamedTuple):
    """The instances of a batch, padded.

    Attributes:
        segments: (B, N, 2) float32 in steps, zeros where padded; N is at least 1.
        labels: (B, N) int64, -1 for an instance without a known label.
        labelled: (B, N) bool: a real instance with a label.
        unlabelled: (B, N) bool: a real instance without one.
    """

    segments: Tensor
    labels: Tensor
    labelled: Tensor
    unlabelled: Tensor


def pad_instances(segments: Sequence[Tensor], labels: Sequence[Tensor]) -> Instances:
    """Put the instances of all samples into one tensor each.

    Args:
        segments: B tensors (N_b, 2), in steps.
        labels: B tensors (N_b,) int64; below 0 for no label.
    """
    device = segments[0].device
    counts = torch.tensor([len(each) for each in labels], device=device)
    # One empty instance is always there, so that maxima over instances are defined.
    room = max(1, max(len(each) for each in labels))
    table = segments[0].new_zeros(len(segments), room, 2, dtype=torch.float32)
    names = torch.full((len(segments), room), -1, device=device)
    padded = pad_sequence(list(segments), batch_first=True)
    table[:, : padded.shape[1]] = padded
    names[:, : padded.shape[1]] = pad_sequence(list(labels), batch_first=True, padding_value=-1)
    real = torch.arange(room, device=device) < counts[:, None]
    return Instances(table, names, real & (names >= 0), real & (names < 0))


class Matches(NamedTuple):
    """What :func:`match` finds.

    Attributes:
        pairs: (B, A, N) bool: the segment is a positive of the instance. It may be one of several instances.
        positive: (B, A) bool: of any instance.
        nearest: (B, A) int64: the instance it is a positive of, the best if there are several (the one of highest
            tIoU; the first if equal); of no meaning where it is no positive.
        ignored: (B, A) bool: no positive, but it reaches the threshold with an instance without label.
    """

    pairs: Tensor
    positive: Tensor
    nearest: Tensor
    ignored: Tensor


@torch.no_grad()
def match(
    segments: Tensor, instances: Instances, allowed: Tensor, threshold: float, *, keep_best: bool = False
) -> Matches:
    """Match segments with instances by tIoU.

    Args:
        segments: (B, A, 2), or (1, A, 2) where all samples have the same, in steps.
        instances: of the batch; those without label make no positives.
        allowed: (B, A) bool: segments that take part.
        threshold: tIoU, in (0, 1], from which on a segment is a positive of an instance.
        keep_best: a segment that no other surpasses in tIoU with some instance, above 0 however low, is a positive
            too: of the instance that is best for the segment, which need not be that one, so that an instance may
            still be without (Faster R-CNN, Ren et al., NeurIPS 2015; the released code of VSGN).
    """
    table = tiou(segments[:, :, None], instances.segments[:, None])
    usable = allowed[..., None]
    overlap = table.where(usable & instances.labelled[:, None], 0)
    pairs = overlap >= threshold
    if keep_best:
        unsurpassed = ((overlap == overlap.amax(1, keepdim=True)) & (overlap > 0)).any(-1)
        own = torch.zeros_like(pairs).scatter(-1, overlap.argmax(-1, keepdim=True), value=True)
        pairs = pairs | (own & unsurpassed[..., None])
    positive = pairs.any(-1)
    ignored = ((table >= threshold) & usable & instances.unlabelled[:, None]).any(-1) & ~positive
    return Matches(pairs, positive, overlap.where(pairs, -1).argmax(-1), ignored)


def take_instances(values: Tensor, nearest: Tensor) -> Tensor:
    """Of values (B, N, ...) per instance, those of the instance (B, A) each segment is assigned to: (B, A, ...)."""
    index = nearest.view(*nearest.shape, *(1,) * (values.ndim - 2)).expand(*nearest.shape, *values.shape[2:])
    return values.gather(1, index)
