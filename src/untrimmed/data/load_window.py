"""From a window to numbers: snippets are read, standardised if wished, and copied or interpolated onto steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from untrimmed.data.batch import Sample, Targets
from untrimmed.data.proposals import VideoProposals, in_window, seen_seconds
from untrimmed.data.windows import Window
from untrimmed.errors import InputError
from untrimmed.formats.features import Features

_CHUNK = 4096
"""Snippets read at once while statistics are measured: bounds the memory."""

_STILL = 1e-6
"""A channel that varies by less than this share of its mean says nothing, and is not blown up."""


@dataclass(frozen=True, eq=False)
class Standardise:
    """Shifts and scales every channel: ``(x - mean) / std``. Belongs to a trained model, and is stored with it.

    Args:
        mean: (C,) float32.
        std: (C,) float32, above 0.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        if self.mean.ndim != 1 or self.mean.shape != self.std.shape:
            raise InputError(f"Standardise: {self.mean.shape = }, {self.std.shape = }, expected (C,) both")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise InputError("Standardise: mean and std must be finite, and std above 0")

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, C) -> (T, C), new rows.

        Raises:
            InputError: if the rows have another number of channels.
        """
        if rows.shape[-1] != len(self.mean):
            raise InputError(
                f"features of {rows.shape[-1]} channels, but the mean and std were measured on {len(self.mean)}; "
                "use the features the model was trained with"
            )
        shifted = rows - self.mean
        shifted /= self.std
        return shifted

    @classmethod
    def measure(cls, features: Features, video_ids: Iterable[str]) -> Standardise:
        """Mean and standard deviation of every channel over all snippets of some videos.

        One pass over the snippets, a few thousand in memory at a time; sums of squares about the mean are merged
        chunk by chunk in float64 (Chan, Golub, LeVeque 1983), so nothing cancels however large the mean is. A channel
        that does not vary gets a std of 1.

        Raises:
            InputError: if the videos have no snippet between them.
        """
        count, mean, squares = 0, np.zeros(features.channels), np.zeros(features.channels)
        for video_id in video_ids:
            length = features.length(video_id)
            for start in range(0, length, _CHUNK):
                rows = features.window(video_id, start, min(start + _CHUNK, length)).astype(np.float64)
                center, total = rows.mean(axis=0), count + len(rows)
                squares += ((rows - center) ** 2).sum(axis=0) + (center - mean) ** 2 * (count * len(rows) / total)
                mean += (center - mean) * (len(rows) / total)
                count = total
        if count == 0:
            raise InputError("no snippet to measure mean and std on: the videos have no features")
        std = np.sqrt(squares / count)
        return cls(mean.astype(np.float32), np.where(std > _STILL * np.abs(mean), std, 1.0).astype(np.float32))


def resample(rows: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Linear interpolation with half-pixel centres: (n, C) snippets -> (steps, C).

    Step ``i`` is taken at snippet ``(i + 0.5) * n / steps - 0.5``, held at the first and last snippet. The same as
    ``F.interpolate(mode="linear", align_corners=False)`` along the first axis, with positions in double precision.
    As many steps as snippets give the rows themselves.
    """
    count = len(rows)
    if steps == count:
        return rows
    place = np.clip((np.arange(steps) + 0.5) * (count / steps) - 0.5, 0, count - 1)
    below = place.astype(np.int64)
    weight = (place - below).astype(np.float32)[:, None]
    mixed: NDArray[np.float32] = rows[np.minimum(below + 1, count - 1)]
    lower = rows[below]
    mixed -= lower
    mixed *= weight
    mixed += lower
    return mixed


def load_window(
    window: Window,
    features: Features,
    *,
    standardise: Standardise | None = None,
    labels: ArrayLike | None = None,
    video_labels: Tensor | None = None,
    proposals: VideoProposals | None = None,
) -> Sample:
    """The features, targets and proposals of a window.

    Args:
        window: of a video that ``features`` holds.
        features: read through ``features.window``; snippets that two parts share are read once.
        standardise: applied to what is read; gaps and padding stay 0.
        labels: (M,) class number of each of ``window.segments``; None for no targets (inference).
        video_labels: (K,) float32 multi-hot, passed on.
        proposals: of the video; None if the data has none.

    Returns:
        a :class:`Sample` of (C, T) float32; its memory is laid out step by step, :func:`~untrimmed.data.batch.collate`
        turns it.

    Raises:
        InputError: if the features cannot be read or do not fit.
    """
    steps = np.zeros((window.length, features.channels), dtype=np.float32)
    read: dict[tuple[int, int], NDArray[np.float32]] = {}
    for part in window.parts:
        source = (part.source_start, part.source_stop)
        if source not in read:
            rows = features.window(window.video_id, *source)
            read[source] = rows if standardise is None else standardise(rows)
        if part.picks is None:
            steps[part.first : part.stop] = resample(read[source], part.steps)
        else:
            steps[part.first : part.stop] = read[source][np.asarray(part.picks) - part.source_start]
    shown = None
    if proposals is not None:
        shown = in_window(proposals, window.map, seen_seconds(features, window.video_id))
    return Sample(
        features=torch.from_numpy(steps).T,
        clip=torch.from_numpy(window.clip),
        targets=_targets(window, labels),
        map=window.map,
        video_id=window.video_id,
        video_labels=video_labels,
        proposals=shown,
    )


def _targets(window: Window, labels: ArrayLike | None) -> Targets:
    if labels is None:
        return Targets.empty()
    numbers = np.asarray(labels, dtype=np.int64)
    if numbers.shape != window.rows.shape:
        raise InputError(
            f"video '{window.video_id}': {numbers.shape = }, expected {window.rows.shape}, one label per target"
        )
    return Targets(torch.from_numpy(window.segments.astype(np.float32)), torch.from_numpy(numbers))
