"""Two yardsticks for a detector: a linear classifier that sees one snippet at a time, and labels without meaning.

The classifier is multinomial logistic regression on standardised snippet features, with the background as a class of
its own. Its probabilities are smoothed over time; runs of steps above each of many thresholds become detections, scored
by how much higher the mean probability is inside than just outside (the outer-inner contrast of Shou et al.,
"AutoLoc", ECCV 2018; the mean inside alone would prefer the core of an action to the whole of it), and class-wise NMS
keeps the best of those that overlap::

    probability    ___/^^^\\__/^^^^^\\___
    threshold .2      |-------------|
    threshold .6       |--|  |----|

So it knows what every instant looks like, and nothing of what comes before and after.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from untrimmed.errors import InputError
from untrimmed.formats.features import Features
from untrimmed.postprocess.nms import nms
from untrimmed.types import Annotations, Detections, Video


@dataclass(frozen=True)
class LinearSettings:
    """Options of the classifier and of the grouping.

    Args:
        decay: weight of the squared coefficients in the loss, at least 0.
        iterations: most steps of L-BFGS.
        smoothing: standard deviation in seconds of the Gaussian that smooths the probabilities; 0 for none.
        thresholds: of the probabilities, each in (0, 1).
        margin: what counts as just outside, on each side, as a share of the detection's length; 0 for the mean
            inside alone.
        shortest: seconds below which a run of steps is no detection.
        tiou: overlap above which NMS drops the lower scored of two detections of a class.
        keep: the most detections of a class in a video.
    """

    decay: float = 1e-3
    iterations: int = 100
    smoothing: float = 0.3
    thresholds: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))
    margin: float = 0.25
    shortest: float = 0.3
    tiou: float = 0.4
    keep: int = 100


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted classifier: ``(C,)`` mean and scale of the features, ``(C + 1, K + 1)`` coefficients with the bias last;
    column 0 is the background, the others are ``labels``."""

    labels: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    def probabilities(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """``(T, C)`` snippet features to ``(T, K + 1)`` probabilities that sum to 1."""
        logits = (rows - self.mean) / self.scale @ self.coefficients[:-1] + self.coefficients[-1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_linear(features: Features, truth: Annotations, settings: LinearSettings | None = None) -> LinearModel:
    """Fit the classifier to the snippets of all videos of ``truth``: a snippet belongs to the class of the instance
    that holds the centre of its step (the last in the file, if several do), else to the background.

    Raises:
        InputError: if there is no instance to learn from, or the features of a video are missing.
    """
    settings = settings or LinearSettings()
    if not truth.labels:
        raise InputError("fit_linear: the annotations hold no instance, expected some of every class to learn from")
    inputs = [features.window(video.id, 0, features.length(video.id)) for video in truth]
    rows = np.concatenate(inputs).astype(np.float64)
    targets = np.concatenate([_step_labels(features, video, truth.labels) for video in truth])
    mean, scale = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    coefficients = _regress((rows - mean) / scale, targets, len(truth.labels) + 1, settings)
    return LinearModel(truth.labels, mean, scale, coefficients)


def detect_linear(
    model: LinearModel, features: Features, video_ids: Iterable[str], settings: LinearSettings | None = None
) -> Detections:
    """Detections of the classifier in the given videos."""
    settings = settings or LinearSettings()
    names = tuple(video_ids)
    found = [_detect_video(model, features, name, settings) for name in names]
    segments, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    owner = np.repeat(np.arange(len(names)), [len(scores) for _, scores, _ in found])
    return Detections(names, model.labels, owner, labels, segments, scores)


def permute_labels(truth: Annotations, seed: int) -> Annotations:
    """Deal the labels of all instances out anew, at random over the whole set: segments, and how often each class
    occurs, stay as they are. What is learnt from the result says how much of a score needs no labels at all."""
    labels = [label for video in truth for label in video.instances.labels]
    order = np.random.default_rng(seed).permutation(len(labels))
    dealt = iter([labels[index] for index in order])
    videos = []
    for video in truth:
        instances = replace(video.instances, labels=tuple(next(dealt) for _ in video.instances.labels))
        videos.append(replace(video, instances=instances))
    return replace(truth, videos={video.id: video for video in videos})


def _step_labels(features: Features, video: Video, labels: tuple[str, ...]) -> NDArray[np.int64]:
    steps = features.length(video.id)
    centres = np.asarray(features.grid(video.id).steps_to_seconds(np.arange(steps) + 0.5))
    targets = np.zeros(steps, dtype=np.int64)
    for (start, end), label in zip(video.instances.segments, video.instances.labels, strict=True):
        targets[(centres >= start) & (centres < end)] = 1 + labels.index(label)
    return targets


def _regress(
    rows: NDArray[np.float64], targets: NDArray[np.int64], classes: int, settings: LinearSettings
) -> NDArray[np.float64]:
    inputs = torch.from_numpy(rows).float()
    wanted = torch.from_numpy(targets)
    weight = torch.zeros(rows.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=settings.iterations, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        fit = torch.nn.functional.cross_entropy(inputs @ weight + bias, wanted)
        total = fit + settings.decay * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return torch.cat([weight, bias[None]]).detach().double().numpy()


def _detect_video(
    model: LinearModel, features: Features, name: str, settings: LinearSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Segments ``(N, 2)`` in seconds, scores and labels ``(N,)`` of one video."""
    grid = features.grid(name)
    curves = model.probabilities(features.window(name, 0, features.length(name)))[:, 1:]
    curves = _smooth(curves, settings.smoothing / grid.seconds_per_step)
    parts = [
        _runs(curves[:, label], threshold) for label in range(curves.shape[1]) for threshold in settings.thresholds
    ]
    labels = np.repeat(np.arange(curves.shape[1]), [len(settings.thresholds)] * curves.shape[1])
    label = np.repeat(labels, [len(part) for part in parts])
    runs = np.concatenate(parts)
    scores = _contrast(curves, runs, label, settings.margin)
    segments = np.asarray(grid.steps_to_seconds(runs))
    last = features.duration(name)
    segments = np.clip(segments, 0, np.inf if last is None else last)
    good = (segments[:, 1] - segments[:, 0] >= settings.shortest) & (scores > 0)
    segments, scores, label = segments[good], scores[good], label[good]
    kept = nms(segments, scores, label, threshold=settings.tiou, keep=settings.keep)
    return segments[kept.rows], kept.scores, label[kept.rows]


def _runs(curve: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """``(N, 2)`` first and last + 1 of the runs of steps at or above the threshold."""
    above = np.concatenate([[False], curve >= threshold, [False]])
    return np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2)


def _contrast(
    curves: NDArray[np.float64], runs: NDArray[np.int64], label: NDArray[np.int64], margin: float
) -> NDArray[np.float64]:
    """Mean of the curve inside each run less that over a margin on both sides; outside the video it is 0."""
    sums = np.concatenate([np.zeros((1, curves.shape[1])), np.cumsum(curves, axis=0)])
    length = runs[:, 1] - runs[:, 0]
    inside = sums[runs[:, 1], label] - sums[runs[:, 0], label]
    width = np.ceil(margin * length).astype(np.int64)
    first, last = np.maximum(runs[:, 0] - width, 0), np.minimum(runs[:, 1] + width, len(curves))
    outside = sums[last, label] - sums[first, label] - inside
    return np.asarray(inside / length - outside / np.maximum(2 * width, 1))


def _smooth(curves: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Gaussian mean along the first axis; where the curve ends, of the steps there are."""
    if sigma <= 0:
        return curves
    reach = min(int(np.ceil(3 * sigma)), (len(curves) - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    total = np.convolve(np.ones(len(curves)), kernel, mode="same")
    smooth = [np.convolve(curves[:, column], kernel, mode="same") for column in range(curves.shape[1])]
    return np.asarray(np.stack(smooth, axis=1) / total[:, None])
