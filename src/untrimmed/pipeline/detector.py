"""From a trained model and a video to detections.

A :class:`Detector` is all that detection needs: the network, the recipe it was trained by, its classes, the statistics
and the extractor of its features. It is one file, ``model.safetensors``: tensors, and a header with the rest as JSON.
Videos are read and detected window by window. What grows with their length is their features and the candidates that
post-processing looks at.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from untrimmed.backbones import Backbone, make_backbone
from untrimmed.backbones.snippets import device_of
from untrimmed.data.batch import Batch, Sample, collate
from untrimmed.data.materialise import Standardise, materialise
from untrimmed.errors import InputError
from untrimmed.formats.activitynet import ResultsExtra
from untrimmed.formats.curves import Curves
from untrimmed.formats.features import INDEX, ArrayFeatures, Features, FeatureStore
from untrimmed.formats.io import atomic_write
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import make_method
from untrimmed.methods.protocol import Raw, StepDetections
from untrimmed.methods.weights import FORMAT, check_format
from untrimmed.pipeline.recipe import Recipe, recipe_of
from untrimmed.postprocess.pipeline import (
    PostProcess,
    entering,
    left_out,
    process,
    process_window,
    say_left_out,
)
from untrimmed.timemap import TimeMap
from untrimmed.training.optim import autocast
from untrimmed.types import Annotations, Detections, Video
from untrimmed.video.decode import VideoWarning

MODEL_FILE = "model.safetensors"
TRAINED_ON = "videos"
"""Key of ``Detector.training_info`` with the ids of the videos it was trained on."""
_FORMAT = "untrimmed model"
SIMULATED = "Trained on simulated features: no result of a real detector."
Found = TypeVar("Found")
_WEIGHTS, _STATISTICS = "weights.", "statistics."


class Candidates(NamedTuple):
    """What the network found in one video, before post-processing: (N, 2) seconds, (N,) scores, (N,) labels."""

    segments: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass
class Detector:
    """A trained method with all that it needs to be applied.

    Attributes:
        method: the network.
        recipe: what it was trained by.
        classes: class names; label k of the network is ``classes[k]``.
        channels: features a snippet.
        standardise: of its features; None if they are taken as they come.
        backbone: spec of the extractor of its features; None if it is not known.
        grid: of its features; None if it differs from video to video.
    """

    method: nn.Module
    recipe: Recipe
    classes: tuple[str, ...]
    channels: int
    standardise: Standardise | None = None
    backbone: Mapping[str, Any] | None = None
    grid: SnippetGrid | None = None
    training_info: Mapping[str, Any] = field(default_factory=dict)
    _backbones: list[Backbone] = field(default_factory=list, init=False, repr=False)
    _stores: dict[Path, FeatureStore] = field(default_factory=dict, init=False, repr=False)

    @property
    def device(self) -> torch.device:
        return next(self.method.parameters()).device

    @property
    def simulated(self) -> bool:
        """Whether it was trained on simulated features."""
        return bool((self.backbone or {}).get("simulated", False))

    @property
    def trained_on(self) -> tuple[str, ...] | None:
        """Ids of the videos it was trained on; None for a model file that does not say it."""
        names = self.training_info.get(TRAINED_ON)
        return None if names is None else tuple(names)

    @property
    def results_extra(self) -> ResultsExtra | None:
        """What its result files say beyond detections."""
        return ResultsExtra({"external_data": {"used": True, "details": SIMULATED}}) if self.simulated else None

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
        return collect(self.stream(features, features.ids), self.classes, self.trained_on)

    def keeping(self, most: int) -> Detector:
        """The same detector, which keeps up to this many detections of a video.

        Raises:
            InputError: if it is not above 0.
        """
        settings = replace(self.recipe.postprocess, keep=most)
        return replace(self, recipe=self.recipe.model_copy(update={"postprocess": settings}))

    def features_of(self, source: str | Path | NDArray[np.float32], video_id: str | None = None) -> Features:
        """Features of one source, see :meth:`detect`; computed from its frames if it is a video."""
        if isinstance(source, np.ndarray):
            return ArrayFeatures({video_id or "video": source}, self._known_grid("an array of features"))
        path = Path(source)
        if path.is_dir():
            return self._store(path)
        if path.suffix == ".npy" and (path.parent / INDEX).is_file():
            return self._stored(path, video_id)
        name = video_id or path.stem
        if path.suffix == ".npy":
            grid = self._known_grid(str(path))
            try:
                rows = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise InputError(f"{path}: no readable .npy file of features ({error})") from None
            return ArrayFeatures({name: rows}, grid)
        if self.backbone is None:
            raise InputError(
                f"{path}: the model was trained on features whose extractor is not known, so it cannot read videos; "
                "give it features (.npy) of the same kind"
            )
        from untrimmed.pipeline.extract import extract_features

        rows, grid, info = extract_features(path, self._extractor(self.backbone))
        durations = {} if info.duration is None else {name: info.duration}
        problems = {name: info.problems} if info.problems else {}
        return ArrayFeatures({name: rows}, grid, durations, self.backbone, problems)

    def _store(self, folder: Path) -> FeatureStore:
        """A folder of features, opened once; one without an index has the grid of the model's features."""
        if folder not in self._stores:
            grid = None if (folder / INDEX).is_file() else self._known_grid(str(folder))
            self._stores[folder] = FeatureStore.open(folder, grid)
        return self._stores[folder]

    def _stored(self, path: Path, video_id: str | None) -> ArrayFeatures:
        """The features of one file of a folder, with what the index beside it says."""
        store, stored = self._store(path.parent), unquote(path.stem)
        name, duration = video_id or stored, store.duration(stored)
        durations = {} if duration is None else {name: duration}
        rows = store.window(stored, 0, store.length(stored))
        return ArrayFeatures({name: rows}, store.grid(stored), durations, store.backbone)

    def _extractor(self, spec: Mapping[str, Any]) -> Backbone:
        """The backbone, made once."""
        if not self._backbones:
            # Apple's GPUs lack some operators of the networks that look at frames.
            device = "cpu" if self.device.type == "mps" else str(self.device)
            self._backbones.append(make_backbone(spec, device=device))
        return self._backbones[0]

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
        """
        settings = postprocess or self.recipe.postprocess

        def run(batch: Batch, features: Features) -> list[Candidates]:
            # What post-processing would drop first is not kept until the end of the video.
            return [_entering(part, settings) for part in self._run(batch, features)]

        for video_id, parts in self._windows(features, video_ids, run):
            found = _joined(parts)
            for said in left_out([video_id], [len(found.scores)], settings):
                note(said)
            kept = process(found.segments, found.scores, found.labels, settings.merged)
            yield video_id, Candidates(kept.segments, kept.scores, kept.labels)

    def candidates(self, features: Features, video_ids: Iterable[str]) -> Iterator[tuple[str, Candidates]]:
        """What the network finds, video by video, before post-processing. Windows of different videos share batches.

        Raises:
            InputError: if a video is missing or its features do not fit the model.
        """
        for video_id, parts in self._windows(features, video_ids, self._run):
            yield video_id, _joined(parts)

    def curves(self, features: Features, video_ids: Iterable[str]) -> Iterator[tuple[str, Curves]]:
        """The method's curves over time, video by video, one value a snippet: the mean over the windows that show it.

        Yields nothing for a method without curves.

        Raises:
            InputError: as :meth:`candidates`.
        """
        if not hasattr(self.method, "curves"):
            return
        for video_id, parts in self._windows(features, video_ids, self._run_curves):
            if parts:
                yield video_id, self._gathered(parts, features.length(video_id), features.grid(video_id))

    def _windows(
        self, features: Features, video_ids: Iterable[str], run: Callable[[Batch, Features], list[Found]]
    ) -> Iterator[tuple[str, list[Found]]]:
        """What ``run`` gives for each window, video by video."""
        video_ids = list(video_ids)
        self._check(features, video_ids)
        waiting: dict[str, list[Found]] = {}
        left: dict[str, int] = {}
        for batch in _batches(self._samples(features, video_ids, left), self.recipe.detect.batch_size):
            for video_id, part in zip(batch.video_ids, run(batch, features), strict=True):
                waiting.setdefault(video_id, []).append(part)
            while left and len(waiting.get(first := next(iter(left)), ())) == left[first]:
                del left[first]
                yield first, waiting.pop(first, [])
        for video_id in left:  # videos without any window, after the last that has one
            yield video_id, []

    @torch.no_grad()
    def raw(self, batch: Batch) -> Raw:
        """What the network says of a batch, in float32."""
        with autocast(self.device, self.recipe.train.precision):
            raw = self.method(batch.to(self.device))
        return {name: value.float() if value.is_floating_point() else value for name, value in raw.items()}

    def save(self, path: Path) -> None:
        """Write the one file, by way of a temporary name."""
        tensors = {_WEIGHTS + name: value.detach().cpu().contiguous() for name, value in _unshared(self.method).items()}
        if self.standardise:
            tensors[_STATISTICS + "mean"] = torch.from_numpy(self.standardise.mean)
            tensors[_STATISTICS + "std"] = torch.from_numpy(self.standardise.std)
        header = {
            "recipe": self.recipe.to_dict(),
            "classes": list(self.classes),
            "channels": self.channels,
            "backbone": dict(self.backbone) if self.backbone else None,
            "grid": self.grid.to_dict() if self.grid else None,
            "training": dict(self.training_info),
        }
        try:
            with atomic_write(path, "wb") as file:
                file.write(save(tensors, {"format": f"{_FORMAT} {FORMAT}", "header": json.dumps(header)}))
        except OSError as error:
            raise InputError(f"{path}: the model could not be written ({error})") from error

    def _samples(self, features: Features, video_ids: Iterable[str], left: dict[str, int]) -> Iterator[Sample]:
        """The windows of the videos; ``left`` is told how many each has before the first of them comes."""
        rng = np.random.default_rng(0)
        for video_id in video_ids:
            grid = features.grid(video_id)
            video = Video(video_id, duration=features.duration(video_id))
            windows = self.recipe.windows.inference(video, features.length(video_id), grid, rng)
            left[video_id] = len(windows)
            for window in windows:
                yield materialise(window, features, standardise=self.standardise)

    def _run(self, batch: Batch, features: Features) -> list[Candidates]:
        decoded: Sequence[StepDetections] = self.method.decode(self.raw(batch), batch.to(self.device))  # type: ignore[operator]
        parts = []
        for found, time_map, video_id in zip(decoded, batch.maps, batch.video_ids, strict=True):
            segments, owner = time_map.segments_to_seconds(
                found.segments.cpu().double().numpy(), found.centers.cpu().double().numpy()
            )
            duration = features.duration(video_id)
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

    def _run_curves(self, batch: Batch, features: Features) -> list[tuple[TimeMap, dict[str, NDArray[np.float32]]]]:
        given = self.method.curves(self.raw(batch), batch.to(self.device))  # type: ignore[operator]
        return [
            (time_map, {name: values.float().cpu().numpy() for name, values in each.items()})
            for time_map, each in zip(batch.maps, given, strict=True)
        ]

    def _gathered(
        self, parts: list[tuple[TimeMap, dict[str, NDArray[np.float32]]]], length: int, grid: SnippetGrid
    ) -> Curves:
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
        means = {self._name(name): (total / np.maximum(seen, 1)).astype(np.float32) for name, total in sums.items()}
        return Curves(float(grid.steps_to_seconds(0)), grid.seconds_per_step, means)

    def _name(self, name: str) -> str:
        """Methods know classes by number: ``class 3``. Where a class has the name of a curve of the method's own, such
        as ``start``, the latter becomes ``start (model)``."""
        kind, _, number = name.partition(" ")
        if kind == "class" and number.isdigit():
            return self.classes[int(number)]
        while name in self.classes:
            name += " (model)"
        return name

    def _check(self, features: Features, video_ids: Sequence[str]) -> None:
        whose = f"video '{video_ids[0]}'" if len(video_ids) == 1 else f"{len(video_ids)} videos"
        if features.channels != self.channels:
            raise InputError(
                f"{whose}: the features have {features.channels} channels, but the model was trained on "
                f"{self.channels}; "
                "use features of the same extractor"
            )
        theirs, ours = features.backbone, self.backbone
        if theirs and ours and dict(theirs) != dict(ours):
            raise InputError(
                f"{whose}: the features were extracted by {dict(theirs)}, but the model was trained on those of "
                f"{dict(ours)}; extract them with the model's backbone and options"
            )

    def _known_grid(self, what: str) -> SnippetGrid:
        if self.grid is None:
            raise InputError(
                f"{what}: the model's features have no common grid, so times are unknown; give a "
                f"folder of features with {INDEX}"
            )
        return self.grid


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
    joined = _joined(parts)
    video = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    columns = (video, joined.labels, joined.segments, joined.scores)
    return Detections(tuple(names), tuple(classes), *columns, trained_on)


def load_model(path: str | Path, device: str | torch.device = "cpu") -> Detector:
    """A detector from a run folder or a model file.

    Raises:
        InputError: if there is none, the file is no model of this program, or its method's network was another when
            it was trained.
    """
    path = Path(path)
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        hint = f"; the folder has no {MODEL_FILE}: its training did not finish" if path.is_dir() else ""
        raise InputError(f"{path}: no trained model there{hint}")
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{file}: no readable safetensors file ({error})") from None
    kind, _, written = metadata.get("format", "").rpartition(" ")
    if kind != _FORMAT or not written.isdigit():
        raise InputError(f"{file}: not a model written by `untrimmed train` (format {metadata.get('format')!r})")
    header = json.loads(metadata["header"])
    way_on = "train again (`untrimmed train CONFIG ... --out RUN`; the run's config.yaml, if kept, is its CONFIG)"
    check_format(header["recipe"]["method"]["name"], int(written), file, way_on)
    recipe = recipe_of(header["recipe"], str(file))
    classes = tuple(header["classes"])
    options = dict(recipe.method)
    method = make_method(options.pop("name"), options, header["channels"], len(classes))
    weights = {name.removeprefix(_WEIGHTS): value for name, value in tensors.items() if name.startswith(_WEIGHTS)}
    try:
        method.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file}: its weights do not fit method {recipe.method['name']}: {error}") from None
    statistics = {
        name: tensors[_STATISTICS + name].numpy() for name in ("mean", "std") if _STATISTICS + name in tensors
    }
    return Detector(
        method.to(device).eval(),
        recipe,
        classes,
        header["channels"],
        Standardise(**statistics) if statistics else None,
        header["backbone"],
        SnippetGrid.from_dict(header["grid"]) if header["grid"] else None,
        header["training"],
    )


def open_features(folder: Path, grid: SnippetGrid | None, annotations: Annotations | None = None) -> FeatureStore:
    """A feature folder; a clear message where it lacks videos of the annotations.

    Raises:
        InputError: listing the missing videos and what to do.
    """
    store = FeatureStore.open(folder, grid)
    missing = [video.id for video in annotations or () if video.id not in store]
    if missing:
        shown = ", ".join(missing[:5]) + (f", ... ({len(missing)} in all)" if len(missing) > 5 else "")
        raise InputError(
            f"feature folder {folder}: has no features of {shown}; extract them, or take these videos out of the "
            "annotations (`untrimmed check TRUTH --features DIR` lists them all)"
        )
    return store


def best_device(name: str | None = None) -> torch.device:
    """The device of that name, or the best one present: CUDA, then MPS, then the CPU.

    Raises:
        InputError: if the device asked for is not there.
    """
    if name is None or name == "auto":
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        return torch.device(next(kind for kind, there in present.items() if there))
    return device_of(name)


def _batches(samples: Iterator[Sample], size: int) -> Iterator[Batch]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield collate(group)
            group = []
    if group:
        yield collate(group)


def problems_of(features: Features) -> Mapping[str, tuple[str, ...]]:
    """Video id -> why its file could be used only in part, where features were computed of one that could not."""
    return features.problems if isinstance(features, ArrayFeatures) else {}


def _entering(found: Candidates, settings: PostProcess) -> Candidates:
    """Those candidates of a window that go on to the others of the video."""
    if settings.per_window:
        kept = process_window(found.segments, found.scores, found.labels, settings)
        found = Candidates(kept.segments, kept.scores, kept.labels)
    rows = entering(found.segments, found.scores, settings)
    return Candidates(found.segments[rows], found.scores[rows], found.labels[rows])


def _joined(parts: Sequence[Candidates]) -> Candidates:
    if not parts:
        return Candidates(np.empty((0, 2)), np.empty(0), np.empty(0, dtype=np.int64))
    return Candidates(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _unshared(method: nn.Module) -> dict[str, torch.Tensor]:
    """The weights; safetensors refuses two names for one memory, so a shared one is stored for each name."""
    seen: set[int] = set()
    weights = {}
    for name, value in method.state_dict().items():
        weights[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return weights
