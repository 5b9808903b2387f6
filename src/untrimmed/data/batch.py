"""What a method is given: a :class:`Batch`, stacked from :class:`Sample` objects by :func:`collate`.

Axis letters: B windows, C channels, T steps, N instances or proposals of one window, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from untrimmed.errors import InputError
from untrimmed.timemap import TimeMap


@dataclass(frozen=True, eq=False)
class Targets:
    """The instances that one window shows, once for each piece that shows them.

    Args:
        segments: (N, 2) float32, steps of the window.
        labels: (N,) int64, class numbers from 0.
    """

    segments: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        count = len(self.labels)
        _expect("Targets", "segments", self.segments, (count, 2), torch.float32)
        _expect("Targets", "labels", self.labels, (count,), torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def empty(cls) -> Targets:
        return cls(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class Proposals:
    """The proposals that one window shows, once for each piece that shows them; the best of each piece first.

    Args:
        segments: (N, 2) float32, steps of the window, cut off at the ends of the piece.
        scores: (N,) float32, what their source thinks of them.
        rows: (N,) int64, the number of each among the proposals of the video, from 0.
    """

    segments: Tensor
    scores: Tensor
    rows: Tensor

    def __post_init__(self) -> None:
        count = len(self.scores)
        _expect("Proposals", "segments", self.segments, (count, 2), torch.float32)
        _expect("Proposals", "scores", self.scores, (count,), torch.float32)
        _expect("Proposals", "rows", self.rows, (count,), torch.int64)

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Proposals:
        return cls(torch.empty(0, 2), torch.empty(0), torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class PaddedProposals:
    """The proposals of B windows, padded at their ends to one number N, which may be 0.

    Args:
        segments: (B, N, 2) float32, steps; zero where ``mask`` is False.
        scores: (B, N) float32; zero where ``mask`` is False.
        rows: (B, N) int64, number among the proposals of the video; -1 where ``mask`` is False.
        mask: (B, N) bool, True for a proposal.
    """

    segments: Tensor
    scores: Tensor
    rows: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        count, most = self.mask.shape if self.mask.ndim == 2 else (len(self.mask), -1)
        _expect("PaddedProposals", "segments", self.segments, (count, most, 2), torch.float32)
        _expect("PaddedProposals", "scores", self.scores, (count, most), torch.float32)
        _expect("PaddedProposals", "rows", self.rows, (count, most), torch.int64)
        _expect("PaddedProposals", "mask", self.mask, (count, most), torch.bool)

    def __len__(self) -> int:
        return len(self.mask)

    def of_window(self, window: int) -> Proposals:
        """Those of one window, without the padding."""
        kept = self.mask[window]
        return Proposals(self.segments[window][kept], self.scores[window][kept], self.rows[window][kept])

    def mapped(self, change: Callable[[Tensor], Tensor]) -> PaddedProposals:
        """The same with every tensor changed, as to another device."""
        return PaddedProposals(change(self.segments), change(self.scores), change(self.rows), change(self.mask))

    @classmethod
    def of(cls, windows: Sequence[Proposals]) -> PaddedProposals:
        """From the proposals of each window."""
        size = (len(windows), max(map(len, windows), default=0))
        segments, scores = torch.zeros(*size, 2), torch.zeros(size)
        rows, mask = torch.full(size, -1), torch.zeros(size, dtype=torch.bool)
        for number, each in enumerate(windows):
            segments[number, : len(each)], scores[number, : len(each)] = each.segments, each.scores
            rows[number, : len(each)], mask[number, : len(each)] = each.rows, True
        return cls(segments, scores, rows, mask)


@dataclass(frozen=True, eq=False)
class Sample:
    """One window of one video.

    Args:
        features: (C, T) float32; zero where ``clip`` is 0.
        clip: (T,) uint8, which clip each step shows: 0 none (gap or padding), 1 original, 2 up-scaled.
        targets: its instances; empty at inference.
        map: where its steps lie in the video.
        video_id: the video.
        video_labels: (K,) float32 multi-hot of the classes that occur anywhere in the video; None if unknown.
        proposals: that it shows; None if the data has none.
    """

    features: Tensor
    clip: Tensor
    targets: Targets
    map: TimeMap
    video_id: str
    video_labels: Tensor | None = None
    proposals: Proposals | None = None

    def __post_init__(self) -> None:
        _expect("Sample", "features", self.features, (None, len(self.clip)), torch.float32)
        _expect("Sample", "clip", self.clip, (len(self.clip),), torch.uint8)


@dataclass(frozen=True, eq=False)
class Batch:
    """B windows, padded at their ends to one length.

    Args:
        features: (B, C, T) float32; zero where ``clip`` is 0.
        clip: (B, T) uint8, which clip each step shows: 0 none (gap or padding), 1 original, 2 up-scaled.
        targets: the instances of each window; B of them, empty ones at inference.
        maps: B time maps.
        video_ids: B names; a video may occur several times.
        video_labels: (B, K) float32 multi-hot of the classes of the whole video; None if unknown.
        proposals: of each window; None if the data has none.

    Raises:
        InputError: if the parts do not fit each other.
    """

    features: Tensor
    clip: Tensor
    targets: tuple[Targets, ...]
    maps: tuple[TimeMap, ...]
    video_ids: tuple[str, ...]
    video_labels: Tensor | None = None
    proposals: PaddedProposals | None = None

    def __post_init__(self) -> None:
        count, steps = self.clip.shape if self.clip.ndim == 2 else (len(self.clip), -1)
        # Half precision is allowed for: autocast and quantised inference hand such features on.
        _expect("Batch", "features", self.features, (count, None, steps), None)
        _expect("Batch", "clip", self.clip, (count, steps), torch.uint8)
        if self.video_labels is not None:
            _expect("Batch", "video_labels", self.video_labels, (count, None), torch.float32)
        if self.proposals is not None and len(self.proposals) != count:
            raise InputError(f"Batch: proposals of {len(self.proposals)} windows for {self.clip.shape = }")
        for name in ("targets", "maps", "video_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if len(getattr(self, name)) != count:
                raise InputError(f"Batch: {len(getattr(self, name))} {name} for {self.clip.shape = }")

    def __len__(self) -> int:
        return len(self.video_ids)

    @property
    def mask(self) -> Tensor:
        """(B, T) bool: True where a step shows something of the video."""
        return self.clip > 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on a device."""
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory (a ``DataLoader`` with ``pin_memory=True`` calls this)."""
        return self._mapped(lambda tensor: tensor.pin_memory())

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            features=change(self.features),
            clip=change(self.clip),
            targets=tuple(Targets(change(each.segments), change(each.labels)) for each in self.targets),
            video_labels=None if self.video_labels is None else change(self.video_labels),
            proposals=None if self.proposals is None else self.proposals.mapped(change),
        )


def collate(samples: Sequence[Sample], multiple: int = 1) -> Batch:
    """Stack windows into a batch; shorter ones are padded at the end with zeros of clip 0.

    Args:
        samples: at least one; all with as many channels.
        multiple: T is the longest window's length, rounded up to a multiple of this (a network that halves the
            steps l times wants ``2 ** l``).

    Raises:
        InputError: if there is none, or they differ in channels or in whether they have video labels or proposals.
    """
    if not samples:
        raise InputError("collate: no window given, expected at least one")
    if multiple < 1:
        raise InputError(f"collate: {multiple = }, expected at least 1")
    channels = samples[0].features.shape[0]
    for sample in samples:
        if sample.features.shape[0] != channels:
            raise InputError(
                f"video '{sample.video_id}': {sample.features.shape[0]} channels, but video "
                f"'{samples[0].video_id}' of the same batch has {channels}; features of two backbones are mixed"
            )
    steps = -(-max(len(sample.clip) for sample in samples) // multiple) * multiple
    # numpy takes large arrays in huge pages, which torch does not: less than half the time for the same memory.
    features = torch.from_numpy(np.zeros((len(samples), channels, steps), dtype=np.float32))
    clip = torch.zeros(len(samples), steps, dtype=torch.uint8)
    for row, sample in enumerate(samples):
        features[row, :, : len(sample.clip)] = sample.features
        clip[row, : len(sample.clip)] = sample.clip
    labels = [sample.video_labels for sample in samples if sample.video_labels is not None]
    proposals = [sample.proposals for sample in samples if sample.proposals is not None]
    for what, some in (("video labels", labels), ("proposals", proposals)):
        if some and len(some) != len(samples):
            raise InputError(f"collate: some windows have {what} and some have none")
    return Batch(
        features=features,
        clip=clip,
        targets=tuple(sample.targets for sample in samples),
        maps=tuple(sample.map for sample in samples),
        video_ids=tuple(sample.video_id for sample in samples),
        video_labels=torch.stack(labels) if labels else None,
        proposals=PaddedProposals.of(proposals) if proposals else None,
    )


def _expect(owner: str, name: str, value: Tensor, shape: tuple[int | None, ...], dtype: torch.dtype | None) -> None:
    """Refuse a tensor of another shape (None is any size) or dtype (None is any)."""
    fits = value.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise InputError(f"{owner}: {name} has shape {tuple(value.shape)}, expected ({wanted})")
    if dtype is not None and value.dtype != dtype:
        raise InputError(f"{owner}: {name} is {value.dtype}, expected {dtype}")
