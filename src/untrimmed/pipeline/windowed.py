"""Windows of videos through a network, and what it says of them gathered video by video.

Videos are read window by window; windows of different videos share batches. What grows with a video's length is its
features and the candidates that post-processing looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.data.batch import Batch, Sample, collate
from untrimmed.data.load_window import load_window
from untrimmed.data.proposals import ProposalSet
from untrimmed.formats.curves import Curves
from untrimmed.formats.features import Features
from untrimmed.grid import SnippetGrid
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.pipeline.model_file import TrainedModel
from untrimmed.pipeline.streams import Stream, common_length, mean_raw
from untrimmed.postprocess.pipeline import entering, process_window
from untrimmed.postprocess.settings import PostProcess
from untrimmed.timemap import TimeMap
from untrimmed.training.terms import autocast
from untrimmed.types import Video

Answer = TypeVar("Answer")
Streams = list[Batch]
"""One batch of windows, as each stream sees it."""
CurveParts = list[tuple[TimeMap, dict[str, NDArray[np.float32]]]]


class Candidates(NamedTuple):
    """What the network found in one video, before post-processing: (N, 2) seconds, (N,) scores, (N,) labels."""

    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class WindowedNetwork:
    """The network of a model over the windows of some videos.

    Args:
        model: whose network, windows and statistics.
        features: hold the videos.
        video_ids: which, in the order in which answers come.
        proposals: of the videos, for a method that judges them.
        others: what further models say of the same windows, by features of their own, is averaged with what the model
            says.
        weight: of the model in that average.
    """

    model: TrainedModel
    features: Features
    video_ids: Sequence[str]
    proposals: ProposalSet | None = None
    others: Sequence[Stream] = ()
    weight: float = 1.0

    @property
    def streams(self) -> tuple[Stream, ...]:
        """This model and the others, whose outputs are averaged."""
        return Stream(self.model, self.features, self.weight), *self.others

    def candidates(self, settings: PostProcess | None = None) -> Iterator[tuple[str, Candidates]]:
        """Candidates video by video.

        Args:
            settings: of the post-processing that follows: what it would drop first is not kept until the end of the
                video. None: all are kept.
        """

        def run(batches: Streams) -> list[Candidates]:
            parts = self._candidates_of(batches)
            if settings is None:
                return parts
            durations = [lasting(self.features, video_id) for video_id in batches[0].video_ids]
            return [_entering(part, settings, each) for part, each in zip(parts, durations, strict=True)]

        for video_id, parts in self._run(run):
            yield video_id, joined(parts)

    def curves(self) -> Iterator[tuple[str, Curves]]:
        """The method's curves video by video, one value a snippet: the mean over the windows that show it."""
        for video_id, parts in self._run(self._curves_of):
            if parts:
                length, grid = self.features.length(video_id), self.features.grid(video_id)
                yield video_id, mean_curves(parts, length, grid, self.model.classes)

    def windows(self) -> Iterator[Batch]:
        """Every window by itself, as the method of this model is given it."""
        for samples in self._samples({}):
            yield collate(samples[:1]).to(self.model.device)

    def _run(self, run: Callable[[Streams], list[Answer]]) -> Iterator[tuple[str, list[Answer]]]:
        """What ``run`` gives for each window, video by video."""
        waiting: dict[str, list[Answer]] = {}
        left: dict[str, int] = {}
        for batches in _batches(self._samples(left), self.model.recipe.detect.batch_size):
            for video_id, part in zip(batches[0].video_ids, run(batches), strict=True):
                waiting.setdefault(video_id, []).append(part)
            while left and len(waiting.get(first := next(iter(left)), ())) == left[first]:
                del left[first]
                yield first, waiting.pop(first, [])
        for video_id in left:  # videos without any window, after the last that has one
            yield video_id, []

    def _samples(self, left: dict[str, int]) -> Iterator[list[Sample]]:
        """The windows of the videos, as each stream sees them; ``left`` is told how many windows a video has before the
        first of them comes."""
        rng, features, streams = np.random.default_rng(0), self.features, self.streams
        for video_id in self.video_ids:
            video = Video(video_id, duration=features.duration(video_id))
            length = common_length(streams, video_id)
            windows = self.model.recipe.windows.inference(video, length, features.grid(video_id), rng)
            left[video_id] = len(windows)
            own = None if self.proposals is None else self.proposals.of_video(video_id, video.duration)
            for window in windows:
                first, *others = (
                    load_window(window, each.features, standardise=each.model.standardise, proposals=own)
                    for each in streams
                )
                # Which proposals a window has depends on how far features reach: all streams judge those of the first.
                yield [first, *(replace(each, proposals=first.proposals) for each in others)]

    def _raw(self, batches: Streams) -> Raw:
        """What the streams say of a batch together."""
        streams = self.streams
        raws = [raw_of(each.model, batch) for each, batch in zip(streams, batches, strict=True)]
        return mean_raw(raws, [each.weight for each in streams], str(self.model.recipe.method["name"]))

    def _candidates_of(self, batches: Streams) -> list[Candidates]:
        decode: Callable[[Raw, Batch], Sequence[StepDetections]] = self.model.method.decode  # type: ignore[assignment]
        parts, batch = [], batches[0]
        for found, time_map, video_id in zip(
            decode(self._raw(batches), batch.to(self.model.device)), batch.maps, batch.video_ids, strict=True
        ):
            segments, owner = time_map.segments_to_seconds(
                found.segments.cpu().double().numpy(), found.centers.cpu().double().numpy()
            )
            duration = self.features.duration(video_id)
            segments = np.clip(segments, 0.0, np.inf if duration is None else duration)
            keep = (owner >= 0) & (segments[:, 1] > segments[:, 0])
            parts.append(
                Candidates(
                    segments[keep],
                    found.scores.cpu().double().numpy()[keep],
                    found.labels.cpu().numpy()[keep].astype(np.int64),
                )
            )
        return parts

    def _curves_of(self, batches: Streams) -> CurveParts:
        batch = batches[0]
        given = self.model.method.curves(self._raw(batches), batch.to(self.model.device))  # type: ignore[operator]
        return [
            (time_map, {name: values.float().cpu().numpy() for name, values in each.items()})
            for time_map, each in zip(batch.maps, given, strict=True)
        ]


@torch.no_grad()
def raw_of(model: TrainedModel, batch: Batch) -> Raw:
    """What the network of a model says of a batch, in float32."""
    with autocast(model.device, model.recipe.train.precision):
        raw = model.method(batch.to(model.device))
    return {name: value.float() if value.is_floating_point() else value for name, value in raw.items()}


def joined(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of several windows as one."""
    if not parts:
        return Candidates(np.empty((0, 2)), np.empty(0), np.empty(0, dtype=np.int64))
    return Candidates(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def mean_curves(parts: CurveParts, length: int, grid: SnippetGrid, classes: Sequence[str]) -> Curves:
    """Curves of windows as curves of the video that they show.

    Args:
        parts: of each window its time map, and its curves over its steps by name.
        length: snippets of the video.
        grid: of its snippets.
        classes: names of the classes, which methods know by number.
    """
    centres = np.asarray(grid.steps_to_seconds(np.arange(length) + 0.5))
    sums = {name: np.zeros(length) for name in parts[0][1]}
    seen = np.zeros(length)
    for time_map, values in parts:
        for piece in time_map.pieces:
            rows = np.flatnonzero((centres >= piece.start) & (centres < piece.end))
            steps = piece.to_steps(centres[rows]).clip(piece.first + 0.5, piece.last - 0.5) - 0.5
            seen[rows] += 1
            for name, curve in values.items():
                sums[name][rows] += np.interp(steps, np.arange(len(curve)), curve)
    means = {
        _curve_name(name, classes): (total / np.maximum(seen, 1)).astype(np.float32) for name, total in sums.items()
    }
    return Curves(float(grid.steps_to_seconds(0)), grid.seconds_per_step, means)


def _curve_name(name: str, classes: Sequence[str]) -> str:
    """Methods know classes by number: ``class 3``. Where a class has the name of a curve of the method's own, such
    as ``start``, the latter becomes ``start (model)``."""
    kind, _, number = name.partition(" ")
    if kind == "class" and number.isdigit():
        return classes[int(number)]
    while name in classes:
        name += " (model)"
    return name


def lasting(features: Features, video_id: str) -> float:
    """Seconds that a video lasts, or, where that is not known, that its snippets cover."""
    duration = features.duration(video_id)
    covered = float(features.grid(video_id).steps_to_seconds(features.length(video_id)))
    return covered if duration is None else duration


def _entering(found: Candidates, settings: PostProcess, duration: float) -> Candidates:
    """Those candidates of a window that go on to the others of the video."""
    if settings.per_window:
        kept = process_window(found.segments, found.scores, found.labels, settings, duration)
        found = Candidates(kept.segments, kept.scores, kept.labels)
    rows = entering(found.segments, found.scores, settings)
    return Candidates(found.segments[rows], found.scores[rows], found.labels[rows])


def _batches(samples: Iterator[list[Sample]], size: int) -> Iterator[Streams]:
    """Windows stacked stream by stream, some at a time."""
    while group := list(islice(samples, size)):
        yield [collate(windows) for windows in zip(*group, strict=True)]
