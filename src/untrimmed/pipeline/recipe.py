"""The recipe of a run: every section of a config file, typed and checked before anything starts.

::

    data:         which annotations and features, which subsets
    windows:      how a video is cut into model inputs
    method:       which method, and its settings
    train:        length, optimiser, precision
    detect:       how the network is run
    postprocess:  what happens to the candidates it gives
    fusion:       labels from video-level class scores, for class-agnostic methods
    evaluate:     the rule and thresholds of the score
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, field_validator

from untrimmed import config
from untrimmed.data.settings import WindowSettings
from untrimmed.errors import InputError, nearest
from untrimmed.evaluation.protocols import PROTOCOLS, Protocol, clean_lengths, clean_tious
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import method_config
from untrimmed.postprocess.settings import PostProcess
from untrimmed.training.settings import TrainSettings
from untrimmed.types import Annotations


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GridSettings(_Section):
    """The grid of features that come without an index."""

    fps: str | float
    stride: int
    window: int
    offset: int = 0

    def grid(self) -> SnippetGrid:
        return SnippetGrid(self.fps, self.stride, self.window, self.offset)  # type: ignore[arg-type]


class Holdout(_Section):
    """Videos of the training subset that are kept back for validation."""

    share: float = Field(0.15, gt=0, lt=1, description="of the groups, rounded up")
    by: str | None = Field(None, description="extra key of a video, such as `subject`, whose values stay together")
    part: int = Field(0, ge=0, description="another number keeps other groups back")


class DataSettings(_Section):
    """What is learned from, and what is left for checking and testing."""

    annotations: Path
    features: Path
    grid: GridSettings | None = None
    training: str = "training"
    validation: str | Holdout | None = "validation"
    test: str | None = "test"
    ignore_labels: tuple[str, ...] = Field((), description="labels that are no classes, such as `Ambiguous`")
    proposals: Path | None = Field(
        None, description="of all videos, for methods that judge them: a file, or the run or model that makes them"
    )
    proposal_features: Path | None = Field(
        None, description="what the proposal model looks at, where it was trained on other features"
    )
    proposals_per_video: int | None = Field(None, ge=1, description="the best of a video that are used; null: all")
    standardise: bool = Field(True, description="by mean and deviation of each channel over the training videos")


class DetectSettings(_Section):
    """How the network is run on a video."""

    batch_size: int = Field(8, ge=1, description="windows in one forward pass")


class FusionSettings(_Section):
    """Labels for the proposals of a class-agnostic method, from video-level class scores."""

    class_scores: Path
    top_k: int | None = Field(1, ge=1, description="classes of a video that its proposals may have")
    rule: Literal["product", "geometric"] = "product"
    weight: float = Field(0.5, ge=0, le=1, description="of the class score in the `geometric` mean")


class EvaluateSettings(_Section):
    """How results are scored."""

    protocol: str = "activitynet"
    tiou: tuple[float, ...] | None = Field(None, description="thresholds; those of the protocol by default")
    lengths: tuple[float, ...] | None = Field(
        None, description="rising edges in seconds of the length groups; those of the protocol by default"
    )

    @field_validator("protocol")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PROTOCOLS:
            raise ValueError(f"no such protocol; {nearest(name, PROTOCOLS)}")
        return name

    @field_validator("tiou")
    @classmethod
    def _thresholds(cls, tious: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if tious is None else clean_tious(tious)

    @field_validator("lengths")
    @classmethod
    def _edges(cls, lengths: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if lengths is None else clean_lengths(lengths)


def _post_process(values: Any) -> PostProcess:
    return values if isinstance(values, PostProcess) else PostProcess.from_dict(values)


PostProcessField = Annotated[PostProcess, PlainValidator(_post_process), PlainSerializer(PostProcess.to_dict)]


class Recipe(_Section):
    """All of it. ``method`` is ``{"name": ..., **settings}`` with every setting filled in."""

    data: DataSettings
    windows: WindowSettings
    method: Mapping[str, Any]
    train: TrainSettings = TrainSettings()
    detect: DetectSettings = DetectSettings()
    postprocess: PostProcessField = PostProcess()
    fusion: FusionSettings | None = None
    evaluate: EvaluateSettings = EvaluateSettings()

    @field_validator("method")
    @classmethod
    def _complete(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        rest = dict(values)
        name = rest.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"name is {name!r}, expected the name of a method")
        return {"name": name, **method_config(name, rest).model_dump(mode="json")}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for YAML and JSON; :func:`recipe_of` reads them back to an equal recipe."""
        return self.model_dump(mode="json")


def load(name: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a config file or shipped config, with overrides.

    Raises:
        InputError: if the file, an override or a value is wrong.
    """
    return recipe_of(config.read(name, overrides), str(name))


def recipe_of(values: Mapping[str, Any], source: str) -> Recipe:
    """The recipe that plain values describe; ``source`` stands in messages."""
    return config.check(Recipe, values, source)


def scoring_of(values: Mapping[str, Any], source: str) -> tuple[DataSettings, EvaluateSettings]:
    """The sections ``data`` and ``evaluate`` of a recipe, all that scoring needs; its method is not looked at.

    Raises:
        InputError: if one of them is wrong, or there is no section ``data``.
    """
    if not isinstance(values.get("data"), Mapping):
        raise InputError(f"{source}: is not the config of a run: it has no section 'data'")
    data = config.check(DataSettings, values["data"], f"{source}: data")
    return data, config.check(EvaluateSettings, values.get("evaluate") or {}, f"{source}: evaluate")


def split(annotations: Annotations, data: DataSettings) -> dict[str, Annotations]:
    """The videos to train on, to validate on and to test with, by those names; without the ignored labels.

    A subset that the recipe leaves out is empty. Held-out groups are chosen by the hash of their names, so that the
    choice does not depend on the order of the file.

    Raises:
        InputError: for a subset or an ignored label that the annotations lack, a holdout that leaves nothing to train
            on, or videos that are to be trained on and to test with.
    """
    known = annotations.video_labels
    for label in data.ignore_labels:
        if label not in known:
            raise InputError(
                f"{data.annotations}: data.ignore_labels: no video has the label '{label}': {nearest(label, known)}; "
                "data.ignore_labels=[] does without"
            )
    kept = _without_labels(annotations, data.ignore_labels)
    training = _part(kept, data, "training")
    parts = {"training": training, "validation": Annotations.of(()), "test": Annotations.of(())}
    if isinstance(data.validation, Holdout):
        held = _held_out(training, data.validation)
        parts["training"] = Annotations.of(video for video in training if video.id not in held)
        parts["validation"] = Annotations.of(video for video in training if video.id in held)
        if not len(parts["training"]):
            raise InputError(f"data.validation.share = {data.validation.share} leaves no video to train on")
    elif data.validation is not None:
        parts["validation"] = _part(kept, data, "validation")
    if data.test is not None:
        parts["test"] = _part(kept, data, "test")
        shared = [video_id for video_id in training.videos if video_id in parts["test"].videos]
        if shared:
            raise InputError(
                f"data.test: {len(shared)} videos of subset '{data.test}' are those of data.training: "
                f"{', '.join(shared[:3])}{', ...' if shared[3:] else ''}; name another, or data.test=null"
            )
    return parts


def _part(kept: Annotations, data: DataSettings, setting: str) -> Annotations:
    try:
        return kept.subset(getattr(data, setting))
    except InputError as error:
        way_out = "" if setting == "training" else f"; data.{setting}=null does without"
        raise InputError(f"{data.annotations}: data.{setting}: {error}{way_out}") from None


def _held_out(training: Annotations, holdout: Holdout) -> set[str]:
    groups: dict[str, list[str]] = {}
    for video in training:
        if holdout.by is not None and holdout.by not in video.extra:
            raise InputError(
                f"video {video.id}: has no key '{holdout.by}', by which videos are to be held out: "
                f"{nearest(holdout.by, video.extra)}"
            )
        groups.setdefault(str(video.extra[holdout.by]) if holdout.by else video.id, []).append(video.id)
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{holdout.part}:{name}".encode()).digest())
    count = -(-len(order) * holdout.share // 1)
    return {video_id for name in order[: int(count)] for video_id in groups[name]}


def rules_of(evaluate: EvaluateSettings, data: DataSettings) -> Protocol:
    """The protocol by which a recipe scores; the labels that it ignores are no classes, but the one, if any, by which
    the protocol excuses detections goes on doing so."""
    return PROTOCOLS[evaluate.protocol].ignoring(data.ignore_labels)


def _without_labels(annotations: Annotations, labels: Collection[str]) -> Annotations:
    if not labels:
        return annotations
    videos = {}
    for video in annotations:
        keep = [label not in labels for label in video.instances.labels]
        instances = video.instances if all(keep) else video.instances.select(keep)
        weak = tuple(label for label in video.video_labels if label not in labels)
        videos[video.id] = replace(video, instances=instances, video_labels=weak)
    return replace(annotations, videos=videos)
