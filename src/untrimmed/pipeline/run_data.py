"""What a recipe learns from: its subsets, features and classes, opened and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from untrimmed.data.dataset import LocalizationDataset, check_features
from untrimmed.data.load_window import Standardise
from untrimmed.data.proposals import ProposalSet
from untrimmed.errors import InputError, nearest
from untrimmed.evaluation.text import counted
from untrimmed.formats import read_annotations
from untrimmed.formats.features import Features
from untrimmed.grid import SnippetGrid
from untrimmed.methods.catalog import family_of, of_family
from untrimmed.pipeline.recipe import Recipe, split
from untrimmed.pipeline.sources import open_features
from untrimmed.postprocess.fusion import read_class_scores
from untrimmed.types import Annotations


@dataclass(frozen=True)
class RunData:
    """What a recipe learns from: its subsets, features and classes.

    Attributes:
        truth: the annotations as they are in the file.
        training, validation, test: the videos of each part, without the ignored labels.
        features: of all of them.
        classes: those of the training videos, sorted.
    """

    truth: Annotations
    training: Annotations
    validation: Annotations
    test: Annotations
    features: Features
    classes: tuple[str, ...]


def open_run_data(recipe: Recipe) -> RunData:
    """Read the annotations and open the features of a recipe.

    Raises:
        InputError: if a file, a subset, the features of a video or its class scores are missing, features do not fit
            their video, or there is nothing to validate by.
    """
    truth = read_annotations(recipe.data.annotations)
    parts = split(truth, recipe.data)
    grid = recipe.data.grid.grid() if recipe.data.grid else None
    wanted = Annotations.of({video.id: video for part in parts.values() for video in part}.values())
    features = open_features(recipe.data.features, grid, wanted)
    classes = parts["training"].video_labels
    if not classes:
        raise InputError(
            f"{recipe.data.annotations}: the {len(parts['training'])} videos to train on have no instance of any class"
        )
    _expect_segments(parts["training"], recipe)
    if recipe.train.select == "best" and validates_on_test(recipe):
        raise InputError(
            "train.select=best would choose by the videos to test with: data.validation and data.test are both "
            f"'{recipe.data.test}'; name another subset, hold training videos back "
            "(data.validation={share: 0.2}), or take the last weights (train.select=last)"
        )
    if len(parts["validation"]) and not parts["validation"].instance_count:
        raise InputError(
            f"{recipe.data.annotations}: the {len(parts['validation'])} videos of data.validation have no instances to "
            "validate by; name another subset, or data.validation=null does without"
        )
    _check_features(features, wanted)
    if recipe.fusion is not None:
        _check_class_scores(recipe.fusion.class_scores, parts)
    return RunData(truth, parts["training"], parts["validation"], parts["test"], features, classes)


def _expect_segments(training: Annotations, recipe: Recipe) -> None:
    """Refuse labels without segments where they would be learned from as if nothing occurred."""
    if family_of(recipe.method["name"]) == "weak":
        return
    blind = [video.id for video in training if set(video.video_labels) - set(video.instances.labels)]
    if blind:
        raise InputError(
            f"{recipe.data.annotations}: labels without segments in {counted(len(blind), 'video')} to train on "
            f"({', '.join(blind[:3])}{', ...' if blind[3:] else ''}): method {recipe.method['name']} would learn that "
            "nothing occurs there; add their segments, give these videos another subset, or train one of "
            f"{', '.join(of_family('weak'))}, which learn from labels alone"
        )


def _check_features(features: Features, videos: Annotations) -> None:
    for video in videos:
        features.window(video.id, 0, 0)  # opens the file, and so refuses one of another shape
        check_features(video, features)


def _check_class_scores(path: Path, parts: Mapping[str, Annotations]) -> None:
    scored = read_class_scores(path)
    for name in ("validation", "test"):
        missing = [video_id for video_id in parts[name].videos if video_id not in scored]
        if missing:
            raise InputError(
                f"{path}: fusion.class_scores: has no scores of {len(missing)} videos of data.{name}, such as "
                f"'{missing[0]}': {nearest(missing[0], scored)}"
            )


def validates_on_test(recipe: Recipe) -> bool:
    """Whether validation looks at the videos to test with."""
    # A video has one subset, and those held back are of the training subset, which no test video is in.
    return recipe.data.test is not None and recipe.data.validation == recipe.data.test


def training_set(
    recipe: Recipe, parts: RunData, standardise: Standardise | None, proposals: ProposalSet | None
) -> LocalizationDataset:
    """The windows that are trained on."""
    return LocalizationDataset(
        parts.training,
        parts.features,
        recipe.windows.training,
        parts.classes,
        seed=recipe.train.seed,
        standardise=standardise,
        proposals=proposals,
    )


def common_grid(parts: RunData) -> SnippetGrid | None:
    """The grid that all training videos have; None if they differ."""
    grids = {parts.features.grid(video_id) for video_id in parts.training.videos}
    return grids.pop() if len(grids) == 1 else None
