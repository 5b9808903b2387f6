"""From a trained model and a video to detections.

A :class:`Detector` is all that detection needs: a trained model (:mod:`untrimmed.pipeline.model_file`), what opens
sources for it (:mod:`untrimmed.pipeline.sources`), and its network run over windows
(:mod:`untrimmed.pipeline.windowed`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.backbones.snippets import device_of
from untrimmed.data.batch import Batch
from untrimmed.data.proposals import ProposalSet
from untrimmed.errors import InputError
from untrimmed.formats.curves import Curves
from untrimmed.formats.features import Features
from untrimmed.formats.media import is_video
from untrimmed.methods.protocol import Raw, needs_proposals
from untrimmed.pipeline.model_file import TrainedModel, read_model
from untrimmed.pipeline.sources import SourceReader, problems_of
from untrimmed.pipeline.streams import Stream, check_alike
from untrimmed.pipeline.windowed import Candidates, WindowedNetwork, joined, lasting, raw_of
from untrimmed.postprocess.pipeline import left_out, process, say_left_out
from untrimmed.postprocess.settings import PostProcess
from untrimmed.types import Detections
from untrimmed.video.decode import VideoWarning


@dataclass(frozen=True)
class SecondStream:
    """The second stream of a detector.

    Attributes:
        detector: of the other stream.
        weights: of the first and of this one in the average.
        folder: where its features are, if the sources are features; None: it extracts them from the videos.
        features: of the source at hand; None before there is one.
    """

    detector: Detector
    weights: tuple[float, float] = (1.0, 1.0)
    folder: Path | None = None
    features: Features | None = None


@dataclass
class Detector(TrainedModel):
    """A trained model that detects.

    Attributes:
        proposals: of the videos to detect in, for a method that judges them, instead of those that the proposal model
            would make.
        second: another detector whose raw is averaged with this one's, see :meth:`with_second`.
    """

    proposals: ProposalSet | None = None
    second: SecondStream | None = None

    @property
    def simulated(self) -> bool:
        """Whether it, its proposal model or its second stream was trained on simulated features."""
        return super().simulated or (self.second is not None and self.second.detector.simulated)

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Ids of the videos that it or its second stream was trained on; None where a model file does not say it."""
        own = super().trained_on
        if self.second is None or own is None:
            return own
        theirs = self.second.detector.trained_on
        return None if theirs is None else tuple(dict.fromkeys((*own, *theirs)))

    def detect(self, source: str | Path | NDArray[np.float32], video_id: str | None = None) -> Detections:
        """The detections in one video, or in all of a folder of features.

        Args:
            source: a video file, a ``.npy`` file of features, an array of them, (T, C), or a folder of features.
            video_id: how the video is called in the result; by default the stem of the file, or ``"video"``. A
                folder knows its videos itself.

        Raises:
            InputError: if the source cannot be read or does not fit the model.

        Warns:
            VideoWarning: if a video could be used only in part.
        """
        features = self.features_of(source, video_id)
        for name, problems in problems_of(features).items():
            warnings.warn(f"{name}: {'; '.join(problems)}", VideoWarning, stacklevel=2)
        ready = self.ready_for(source, features, features.ids)
        return collect(ready.stream(features, features.ids), self.classes, self.trained_on)

    def ready_for(
        self, source: str | Path | NDArray[np.float32], features: Features, video_ids: Sequence[str]
    ) -> Detector:
        """The detector for one source: its second stream, if it has one, with its own features of that source; and,
        where its method judges proposals and none were given, with those that its proposal model makes there, of
        features of its own if it was trained on others.

        Args:
            source: as for :meth:`detect`.
            features: of it, from :meth:`features_of`.
            video_ids: of it, those to detect in.

        Raises:
            InputError: if there is no proposal model, or the source is features that do not fit it; if there are no
                features for the second stream.
        """
        if self.second is not None and self.second.features is None:
            theirs = self._second_features(source, features, video_ids)
            return replace(self, second=replace(self.second, features=theirs)).ready_for(source, features, video_ids)
        if not needs_proposals(self.method) or self.proposals is not None or self.proposer is None:
            return self
        own = features
        if self.proposer.misfit(features) is not None:
            own = self.proposer.features_of(source, video_ids[0] if len(video_ids) == 1 else None)
        return self.judging(self._proposed(own, video_ids))

    def with_second(
        self, second: Detector, weights: tuple[float, float] = (1.0, 1.0), folder: Path | None = None
    ) -> Detector:
        """The same detector in two streams: what both networks say of a window is averaged before it is decoded.

        Args:
            second: of the same method, classes and windows, trained on other features of the same snippets.
            weights: of this detector and of the second in the average, above 0.
            folder: of features for the second; None: where the sources are videos, it extracts them itself.

        Raises:
            InputError: if they do not fit each other, or a weight is not above 0.
        """
        check_alike(self, second, weights)
        return replace(self, second=SecondStream(second, weights, folder))

    def judging(self, proposals: ProposalSet) -> Detector:
        """The same detector, which judges these proposals and makes none."""
        return replace(self, proposals=proposals)

    def keeping(self, most: int) -> Detector:
        """The same detector, which keeps up to this many detections of a video.

        Raises:
            InputError: if it is not above 0.
        """
        settings = replace(self.recipe.postprocess, keep=most)
        return replace(self, recipe=self.recipe.model_copy(update={"postprocess": settings}))

    def features_of(self, source: str | Path | NDArray[np.float32], video_id: str | None = None) -> Features:
        """Features of one source, see :meth:`detect`; computed from its frames if it is a video."""
        return self._sources.open(source, video_id)

    def stream(
        self,
        features: Features,
        video_ids: Iterable[str],
        postprocess: PostProcess | None = None,
        note: Callable[[str], None] = say_left_out,
    ) -> Iterator[tuple[str, Candidates]]:
        """Post-processed candidates, video by video, in the order given.

        Args:
            features: hold the videos.
            video_ids: which.
            postprocess: instead of the recipe's.
            note: is told of each video of which post-processing leaves candidates out; a warning by default.

        Raises:
            InputError: if a video is missing or its features do not fit the model.
        """
        settings = postprocess or self.recipe.postprocess
        for video_id, found in self._network(features, video_ids).candidates(settings):
            for said in left_out([video_id], [len(found.scores)], settings):
                note(said)
            duration = lasting(features, video_id)
            kept = process(found.segments, found.scores, found.labels, settings.merged, duration)
            yield video_id, Candidates(kept.segments, kept.scores, kept.labels)

    def candidates(self, features: Features, video_ids: Iterable[str]) -> Iterator[tuple[str, Candidates]]:
        """What the network finds, video by video, before post-processing.

        Raises:
            InputError: as :meth:`stream`.
        """
        return self._network(features, video_ids).candidates()

    def curves(self, features: Features, video_ids: Iterable[str]) -> Iterator[tuple[str, Curves]]:
        """The method's curves over time, video by video, one value a snippet; nothing for a method without curves.

        Raises:
            InputError: as :meth:`stream`.
        """
        if not hasattr(self.method, "curves"):
            return iter(())
        return self._network(features, video_ids).curves()

    def raw(self, batch: Batch) -> Raw:
        """What the network says of a batch, in float32."""
        return raw_of(self, batch)

    @cached_property
    def _sources(self) -> SourceReader:
        # Apple's GPUs lack some operators of the networks that look at frames.
        device = "cpu" if self.device.type == "mps" else str(self.device)
        return SourceReader(self.backbone, self.grid, device)

    def misfit(self, features: Features) -> str | None:
        """Why the model cannot use these features; None if it can."""
        if features.channels != self.channels:
            return f"the features have {features.channels} channels, but the model was trained on {self.channels}"
        theirs, ours = features.backbone, self.backbone
        if theirs and ours and dict(theirs) != dict(ours):
            return f"the features were extracted by {dict(theirs)}, but the model was trained on those of {dict(ours)}"
        return None

    def _network(self, features: Features, video_ids: Iterable[str]) -> WindowedNetwork:
        """The network on videos whose features are those that the model was trained on."""
        video_ids = tuple(video_ids)
        if (why := self.misfit(features)) is not None:
            whose = f"video '{video_ids[0]}'" if len(video_ids) == 1 else f"{len(video_ids)} videos"
            raise InputError(f"{whose}: {why}; use features of the model's backbone and options")
        proposals = self.to_judge(features, video_ids)
        if self.second is None:
            return WindowedNetwork(self, features, video_ids, proposals)
        theirs, (ours, weight) = self.second.features, self.second.weights
        if theirs is None:
            raise InputError("the second stream has no features of these videos: `ready_for` a source gives it some")
        other = Stream(self.second.detector, theirs, weight)
        return WindowedNetwork(self, features, video_ids, proposals, (other,), ours)

    def _second_features(self, source: str | Path | NDArray[np.float32], own: Features, ids: Sequence[str]) -> Features:
        """What the second stream sees of a source: features of its own folder, or extracted from the video."""
        assert self.second is not None
        second = self.second
        if second.folder is not None:
            found = second.detector.features_of(second.folder)
        elif isinstance(source, str | Path) and is_video(Path(source)):
            found = second.detector.features_of(source, ids[0] if len(ids) == 1 else None)
        elif own.backbone and second.detector.backbone and second.detector.misfit(own) is None:
            found = own  # both are known to be of one backbone: two models of one stream
        else:
            raise InputError(
                f"{'the features' if isinstance(source, np.ndarray) else source}: no video, so the second stream needs "
                "features of its own: --with-features DIR"
            )
        if (why := second.detector.misfit(found)) is not None:
            raise InputError(f"the second stream: {why}; use features of that model's backbone and options")
        return found

    def to_judge(self, features: Features, video_ids: Sequence[str]) -> ProposalSet | None:
        """The proposals of the videos, given or made; None for a method that judges none."""
        if not needs_proposals(self.method):
            return None
        if self.proposals is not None:
            return self.proposals
        if self.proposer is None:
            raise InputError(
                f"method {self.recipe.method['name']} judges proposals, and this model was trained on those of a file, "
                f"{self.recipe.data.proposals}: give those of the videos to detect in (--proposals FILE)"
            )
        return self._proposed(features, video_ids)

    def _proposed(self, features: Features, video_ids: Sequence[str]) -> ProposalSet:
        """What the proposal model finds."""
        assert self.proposer is not None
        if (why := self.proposer.misfit(features)) is not None:
            raise InputError(
                f"the proposal model in this model cannot use these features: {why}; give a video, or its proposals "
                "(--proposals FILE)"
            )
        found = collect(self.proposer.stream(features, video_ids), self.proposer.classes)
        return ProposalSet.of(found, "the proposal model", most=self.recipe.data.proposals_per_video)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> Detector:
    """A detector from a run folder or a model file.

    Raises:
        InputError: if there is none, the file is no model of this program, or its method's network was another when
            it was trained.
    """
    return read_model(Detector, path, device)


def collect(
    found: Iterable[tuple[str, Candidates]], classes: Sequence[str], trained_on: tuple[str, ...] | None = None
) -> Detections:
    """All of a stream as one :class:`Detections`, which know what the model was trained on; a video without any is kept
    by its name."""
    names, parts = [], []
    for video_id, part in found:
        names.append(video_id)
        parts.append(part)
    if not parts:
        return replace(Detections.empty((), classes), trained_on=trained_on)
    whole = joined(parts)
    video = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    columns = (video, whole.labels, whole.segments, whole.scores)
    return Detections(tuple(names), tuple(classes), *columns, trained_on)


def best_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best one present: CUDA, then MPS, then the CPU.

    Raises:
        InputError: if the device asked for is not there.
    """
    if name is None or name == "auto":
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        return torch.device(next(kind for kind, there in present.items() if there))
    return device_of(name)
