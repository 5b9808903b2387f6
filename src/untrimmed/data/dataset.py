"""Annotations, features and a windowing, as a data set of windows.

Which windows an epoch has, and in which order they come, is a function of seed, epoch and video id alone: nothing is
drawn from global state, and a training that stopped anywhere can go on at ``(epoch, step)`` with the very windows it
would have seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from untrimmed.data.batch import Sample
from untrimmed.data.load_window import Standardise, load_window
from untrimmed.data.proposals import ProposalSet
from untrimmed.data.windows import Window, Windowing
from untrimmed.errors import InputError, nearest
from untrimmed.formats.features import Features
from untrimmed.types import Annotations, Video

_SHOWN = 5
"""Names that a message lists before it says how many more there are."""

_SLACK_SNIPPETS = 2.0
"""Extractors drop or pad up to this many snippets at the ends of a video."""


@dataclass(frozen=True)
class EpochReport:
    """What an epoch of a data set holds, and what it leaves out.

    Attributes:
        videos: ids of the videos with features.
        missing: ids of those skipped for want of features (``missing="skip"``).
        windows: number of windows.
        empty: ids of the videos that give no window, for they have no instance that fits one.
        instances: number of instances in ``videos``.
        unseen: number of them that are in no window: without length, outside the features, or longer than a window.
    """

    videos: tuple[str, ...]
    missing: tuple[str, ...]
    windows: int
    empty: tuple[str, ...]
    instances: int
    unseen: int

    def __str__(self) -> str:
        parts = [f"{self.windows} windows of {len(self.videos)} videos with {self.instances} instances"]
        if self.unseen:
            parts.append(f"{self.unseen} instances fit no window")
        if self.empty:
            parts.append(f"no window in {_listed(self.empty)}")
        if self.missing:
            parts.append(f"skipped for want of features: {_listed(self.missing)}")
        return "; ".join(parts)


class LocalizationDataset(Dataset[Sample]):
    """The windows of one epoch after the other.

    Args:
        annotations: the videos, of one subset.
        features: hold their snippets.
        windowing: cuts a video into windows, e.g. ``SelfStitching().training``.
        classes: class names; label k is ``classes[k]``. Must hold every label of the annotations.
        seed: of the windowing's random choices.
        missing: what to do about videos without features: ``"error"``, or ``"skip"``, which :meth:`report` tells.
        standardise: applied to the features, e.g. ``Standardise.measure(features, dataset.video_ids)``.
        duration_tolerance: share by which a video's duration and the time its features cover may differ before they
            are taken for features of another grid; None not to look.
        proposals: of every video with features, for methods that judge proposals, e.g. from
            :func:`untrimmed.data.proposals.checked`.

    Raises:
        InputError: for a label that is no class, videos without features, features without snippets, features that do
            not fit the duration of their video, or a video that the proposals say nothing of.
    """

    def __init__(
        self,
        annotations: Annotations,
        features: Features,
        windowing: Windowing,
        classes: Sequence[str],
        *,
        seed: int = 0,
        missing: Literal["error", "skip"] = "error",
        standardise: Standardise | None = None,
        duration_tolerance: float | None = 0.1,
        proposals: ProposalSet | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.features, self.windowing, self.seed, self.standardise = features, windowing, seed, standardise
        numbers, occurring = class_numbers(annotations, self.classes), video_numbers(annotations, self.classes)
        self.missing = tuple(video.id for video in annotations if video.id not in features)
        if self.missing and missing == "error":
            raise InputError(
                f"no features of {_listed(self.missing)}; extract them, or take these videos out of the annotations"
            )
        self._videos = {video.id: video for video in annotations if video.id in features}
        for video in self._videos.values():
            check_features(video, features, duration_tolerance)
        self._labels = {video_id: numbers[video_id] for video_id in self._videos}
        self._occurring = {video_id: occurring[video_id] for video_id in self._videos}
        self._proposals = None
        if proposals is not None:
            ids = [(video.id, video.duration) for video in self._videos.values()]
            self._proposals = {video_id: proposals.of_video(video_id, duration) for video_id, duration in ids}
        self._epoch = 0
        self._windows: tuple[int, tuple[Window, ...]] | None = None

    @property
    def video_ids(self) -> tuple[str, ...]:
        """The videos that windows are cut from."""
        return tuple(self._videos)

    def set_epoch(self, epoch: int) -> None:
        """Let ``len(dataset)`` and ``dataset[index]`` speak of this epoch, from 0 (the first is 0)."""
        self._epoch = epoch

    def windows(self, epoch: int) -> tuple[Window, ...]:
        """The windows of an epoch, video by video; those of the epoch asked for last are kept."""
        if self._windows is None or self._windows[0] != epoch:
            cut = (window for video in self._videos.values() for window in self._cut(video, epoch))
            self._windows = (epoch, tuple(cut))
        return self._windows[1]

    def _cut(self, video: Video, epoch: int) -> list[Window]:
        rng = video_generator(self.seed, epoch, video.id)
        return self.windowing(video, self.features.length(video.id), self.features.grid(video.id), rng)

    def __len__(self) -> int:
        return len(self.windows(self._epoch))

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        """A window by its number in the epoch of :meth:`set_epoch`, or by ``(epoch, number)``.

        The second form is for worker processes, which do not see the :meth:`set_epoch` of the main process.
        """
        epoch, number = index if isinstance(index, tuple) else (self._epoch, index)
        return self.sample(self.windows(epoch)[number])

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(window) for window in self.windows(self._epoch))

    def sample(self, window: Window) -> Sample:
        """The features, targets and proposals of one window of this data set."""
        return load_window(
            window,
            self.features,
            standardise=self.standardise,
            labels=self._labels[window.video_id][window.rows],
            video_labels=multi_hot(self._occurring[window.video_id], len(self.classes)),
            proposals=self._proposals[window.video_id] if self._proposals is not None else None,
        )

    def report(self, epoch: int = 0) -> EpochReport:
        """What an epoch holds and leaves out."""
        windows = self.windows(epoch)
        shown = {(window.video_id, row) for window in windows for row in window.rows.tolist()}
        used = {window.video_id for window in windows}
        instances = sum(len(video.instances) for video in self._videos.values())
        return EpochReport(
            videos=self.video_ids,
            missing=self.missing,
            windows=len(windows),
            empty=tuple(name for name in self._videos if name not in used),
            instances=instances,
            unseen=instances - len(shown),
        )


def video_generator(seed: int, epoch: int, video_id: str) -> np.random.Generator:
    """Random numbers that are the same whenever seed, epoch and video are, whatever was drawn before."""
    digest = hashlib.sha256(video_id.encode()).digest()
    return np.random.default_rng([seed, epoch, int.from_bytes(digest[:8], "little")])


def class_numbers(annotations: Annotations, classes: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The class number of every instance, video by video.

    Raises:
        InputError: if a class occurs twice in the list, or an instance has a label that is not in it.
    """
    number = _numbered(annotations, classes)
    return {
        video.id: np.array([number[label] for label in video.instances.labels], dtype=np.int64) for video in annotations
    }


def video_numbers(annotations: Annotations, classes: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The numbers of the classes that occur in each video, each once; raises as :func:`class_numbers`."""
    number = _numbered(annotations, classes)
    return {video.id: np.array([number[label] for label in video.labels], dtype=np.int64) for video in annotations}


def _numbered(annotations: Annotations, classes: Sequence[str]) -> dict[str, int]:
    doubled = [name for name, count in Counter(classes).items() if count > 1]
    if doubled:
        raise InputError(f"class '{doubled[0]}' occurs twice in the list of classes")
    number = {name: index for index, name in enumerate(classes)}
    for video in annotations:
        for label in video.labels:
            if label not in number:
                raise InputError(
                    f"video {video.id}: label '{label}' is not in the list of {len(number)} classes: "
                    f"{nearest(label, classes)}"
                )
    return number


def check_features(video: Video, features: Features, tolerance: float | None = 0.1) -> None:
    """Refuse features that cannot be those of a video.

    Raises:
        InputError: if there is no snippet, or they cover more or less than the video's duration by over ``tolerance``
            of it and more than two snippets: then the grid is usually wrong.
    """
    length, grid = features.length(video.id), features.grid(video.id)
    if length == 0:
        raise InputError(f"video {video.id}: its features have no snippet; extract it again, or leave it out")
    if video.duration is None or tolerance is None:
        return
    covered = grid.steps_to_seconds(length) - max(0.0, grid.start_seconds)
    slack = grid.seconds_per_step * _SLACK_SNIPPETS + float(grid.window / grid.fps)
    if abs(covered - video.duration) > tolerance * video.duration + slack:
        raise InputError(
            f"video {video.id}: {length} snippets of grid {grid.to_dict()} cover {covered:.1f} s, but the video lasts "
            f"{video.duration:.1f} s; expected about {grid.expected_count(video.duration)} snippets: is the grid that "
            "of these features?"
        )


def multi_hot(numbers: NDArray[np.int64], classes: int) -> Tensor:
    """(K,) float32, 1 at the given class numbers."""
    hot = torch.zeros(classes)
    hot[torch.from_numpy(numbers)] = 1.0
    return hot


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f", ... ({len(every)} in all)" if len(every) > _SHOWN else ""
    return f"{len(every)} video{'s' * (len(every) != 1)}: " + ", ".join(every[:_SHOWN]) + more
